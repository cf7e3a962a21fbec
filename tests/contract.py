# SPDX-License-Identifier: Apache-2.0
"""Holds responses to the OpenAPI document: their status, fields, type and body.

Functional tests get a `CheckedApp`, so all that they see is checked. A test whose scheduler makes up what it sends says
so: `@pytest.mark.undeclared("reason")`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import pytest
import webtest
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from zuul.web.application import document_of, with_all_options

WITH_SLASHES = {"project", "branch", "job", "change"}
"""Variables that take all of a path that is left, slashes included."""

PartValidator = extend(Draft202012Validator, {"required": lambda *arguments: ()})
"""For answers to `fields` and `omit`, in which any key may be missing."""


class Operation(NamedTuple):
    template: str
    method: str
    described: dict[str, Any]


class Contract:
    """The document, ready to be asked. Bodies that have been found good are not looked at again."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self._patterns = [(_pattern(template), template) for template in sorted(document["paths"], key=_generality)]
        self._validators: dict[tuple[str, bool], Any] = {}
        self._good: set[tuple[str, bool, bytes]] = set()

    def operation(self, path: str, method: str = "GET") -> Operation | None:
        """What the document has at a decoded path: of several templates that fit, the most specific one."""
        path = re.sub(r"^/api(/v1(/|$))", r"\1", path.rstrip("/") or "/")
        no_tenant = path.split("/")[1] in ("api", "v1")
        fitting = [template for pattern, template in self._patterns if pattern(path)]
        template = next((one for one in fitting if not (no_tenant and one.startswith("/{tenant}"))), None)
        if template is None:
            return None
        described = self._document["paths"][template].get("get" if method == "HEAD" else method.lower())
        return Operation(template, method, described)

    def check(self, path: str, method: str, query: str, response: Any) -> None:
        """Fail the test if the response is none that the document has for this request."""
        found = self.operation(path, method)
        if found is None or found.described is None:
            self._check_other(found, method, response)
            return
        if (found.template, response.content_type) == ("/", "text/html"):
            return  # the page for browsers
        status = str(response.status_int)
        assert status in found.described["responses"], f"{method} {found.template} has no documented {status}"
        described = self._resolved(found.described["responses"][status])
        for name, header in described.get("headers", {}).items():
            required = self._resolved(header)["required"]
            assert not required or name in response.headers, f"{status} of {found.template} has no field {name}"
        content = described.get("content")
        if content is None:
            assert response.body == b"", f"{status} of {found.template} has a body"
            return
        assert response.content_type in content, f"{status} of {found.template} is {response.content_type}"
        if response.content_type == "application/json" and method != "HEAD":
            schema = content["application/json"]["schema"]
            in_part = re.search(r"(^|&)(fields|omit)=", query) is not None
            self._check_body(_whole(schema), in_part, _body(response))

    def _check_other(self, found: Operation | None, method: str, response: Any) -> None:
        """What the document says of all URLs: the shape of errors, OPTIONS, and methods that are not possible."""
        reads = found is not None and "get" in self._document["paths"][found.template]
        if reads and response.status_int in (204, 405):
            assert "GET, HEAD" in response.headers["Allow"]
        if response.status_int >= 400 and response.content_type == "application/json" and method != "HEAD":
            self._check_body({"$ref": "#/components/schemas/Error"}, False, _body(response))

    def _check_body(self, schema: dict[str, Any], in_part: bool, body: bytes) -> None:
        name = json.dumps(schema)
        key = (name, in_part, hashlib.blake2b(body).digest())
        if key in self._good:
            return
        if (name, in_part) not in self._validators:
            validator = PartValidator if in_part else Draft202012Validator
            self._validators[name, in_part] = validator({**schema, "components": self._document["components"]})
        try:
            self._validators[name, in_part].validate(json.loads(body))
        except ValidationError as error:
            raise AssertionError(f"{error.json_path} is not as the document has it: {error.message:.300}") from None
        self._good.add(key)

    def _resolved(self, described: dict[str, Any]) -> dict[str, Any]:
        if "$ref" not in described:
            return described
        found = self._document
        for name in described["$ref"].split("/")[1:]:
            found = found[name]
        return found


@cache
def contract() -> Contract:
    """Of the document that we hand out."""
    return Contract(document_of(with_all_options()))


class CheckedApp(webtest.TestApp):
    """An application and the promise that its responses are those of the document.

    :param node: the test, which may be marked as one of undeclared answers.
    :param shares_root: whether a dashboard or an application of the operator's has URLs such as /NAME/status too.
    """

    def __init__(self, app: Any, node: pytest.Item, *, shares_root: bool = False) -> None:
        super().__init__(app)
        self.is_declared = node.get_closest_marker("undeclared") is None
        self.shares_root = shares_root

    def do_request(self, req: Any, status: Any = None, expect_errors: Any = None) -> Any:
        check = checking(self, req.environ)
        response = super().do_request(req, status, expect_errors)
        check(response)
        return response


def checking(app: CheckedApp, environ: dict[str, Any]) -> Callable[[Any], None]:
    """What checks the response to a request, whose path is taken now: on its way it is taken apart."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    path = path.encode("latin-1", "replace").decode(errors="replace")
    method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")

    def check(response: Any) -> None:
        if app.is_declared and not (app.shares_root and not path.startswith(("/api", "/v1"))):
            contract().check(path, method, query, response)

    return check


def _whole(schema: dict[str, Any]) -> dict[str, Any]:
    """What is sent without `fields` and `omit`, where they would make it some of the attributes."""
    if "items" in schema:
        return {**schema, "items": _whole(schema["items"])}
    return schema["anyOf"][0] if "anyOf" in schema else schema


def _body(response: Any) -> bytes:
    return gzip.decompress(response.body) if response.headers.get("Content-Encoding") == "gzip" else response.body


def _generality(template: str) -> tuple[int, int]:
    """Sorts templates that say more before those that would take the same paths."""
    fixed = re.sub(r"{\w+}", "", template)
    return -fixed.count("/"), -len(fixed)


def _pattern(template: str) -> Any:
    parts = re.split(r"{(\w+)}", template)
    variables = [r".+" if name in WITH_SLASHES else r"[^/]+" for name in parts[1::2]]
    pattern = "".join(re.escape(text) + variable for text, variable in zip(parts[::2], [*variables, ""], strict=True))
    return re.compile(pattern, re.DOTALL).fullmatch
