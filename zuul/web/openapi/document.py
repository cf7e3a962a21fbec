# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document of this service, made of its URL maps, types, docstrings and samples.

Nothing is listed here route by route: a new URL is in the document when it is in its map. `names.py` has the rule for
the names of operations, `parameters.py` what they take, `responses.py` what they send, `schemas.py` the types.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from collections.abc import Iterable
from typing import Any, NamedTuple

import yaml
from apispec import APISpec

from zuul.web.controllers.streams import is_stream
from zuul.web.expose import JSON, Dialect
from zuul.web.openapi import parameters, responses, streams
from zuul.web.openapi.names import operation_ids
from zuul.web.openapi.schemas import Schemas, sample_of, text_of
from zuul.web.urls import Controller, Route, UrlMap, routes

Document = dict[str, Any]

TITLE = "Zuul REST"
DESCRIPTION = """\
The REST tier for the Zuul CI system.

**URLs.** Below `/v1` are plural nested collections; `/api/v1` is the same as `/v1`. Below `/api` are the URLs of
zuul-web 3.19.1, whose answers have all that the scheduler sends, perhaps more than is declared here. At the root are a
directory, which is a page for browsers, and the URLs of former Zuuls. Those of Zuul 2, which had no tenants, are the
same without the tenant in front (`/status.json`), where there is one tenant or a whitelabel tenant.

**Methods.** Every URL with GET has HEAD, which sends the header fields alone, and OPTIONS, which is 204 with the
methods in `Allow`. Another method is 405.

**Errors** are JSON with the keys `faultcode`, `faultstring` and `debuginfo`, at all URLs and whatever the client
accepts. An unknown query parameter is an error. `X-Request-Id` names the request in the log.

**Streams** (live logs, events) are there only in `zuul-rest serve` and `zuul-rest streamer`; other servers say 421.
They are never cached, and their websockets take any query.

**Conditional requests.** Every answer that is no stream has an `ETag`. With it in `If-None-Match`, the answer is 304
without a body until something has changed. Answers of 1 KiB and more are compressed for who accepts gzip.

**Collections** are bare arrays. `limit`, `marker` and `offset` choose a page; `X-Total` tells the number of all rows
and `Link` leads to the next page. `sort_field` and `sort_dir` sort. A parameter with the name of an attribute chooses
rows with that value. `fields` and `omit` choose attributes, of single objects too.

**XML.** Below `/v1` there is XML for who prefers it by `Accept`. Everything else is JSON; public keys are text."""


BEARER = {
    "type": "http",
    "scheme": "bearer",
    "bearerFormat": "JWT",
    "description": "A JSON Web Token of one of the realms that `/api/info` lists, or of `zuul-rest token`. A bad one "
    "is refused even where none is needed. Tenants may be protected, so that reading takes one too.",
}


class Part(NamedTuple):
    """A URL map, and how it is to be described."""

    mount: str
    """The path that all its URLs begin with."""
    url_map: UrlMap
    dialect: Dialect
    prefix: str = ""
    """What the names of its operations begin with."""
    reads_query: bool = True
    """Whether anybody looks at the query of a request."""


def describe(parts: Iterable[Part]) -> Document:
    """The OpenAPI document of these maps, in their order."""
    spec = APISpec(
        TITLE,
        importlib.metadata.version("zuul-rest"),
        "3.1.0",
        info={
            "description": DESCRIPTION,
            "license": {"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        },
        servers=[{"url": "/"}],
        security=[{}, {"bearer": []}],
    )
    parameters.add_components(spec)
    responses.add_components(spec)
    spec.components.security_scheme("bearer", BEARER)
    schemas = Schemas(spec)
    tags: dict[str, str] = {}
    for part in parts:
        found = routes(part.url_map)
        names = operation_ids([(route, _result(route, part)) for route in found])
        for route, name in zip(found, names, strict=True):
            tag, text = _tag(route.controller)
            tags.setdefault(tag, text)
            name = f"{part.prefix}{name}"
            if is_stream(route):
                operation = streams.operation(route, name, tag, schemas)
            else:
                operation = _operation(part, route, name, tag, schemas)
            spec.path(f"{part.mount}{route.template}" or "/", operations={route.method.lower(): operation})
    for tag in sorted(tags):
        spec.tag({"name": tag, "description": tags[tag]})
    return _in_order(spec.to_dict())


def _in_order(document: Document) -> Document:
    """The same as people read it, from the general down, with the types by name; no two places share an object."""
    document["components"]["schemas"] = dict(sorted(document["components"]["schemas"].items()))
    document["info"] = {name: document["info"][name] for name in ("title", "version", "description", "license")}
    names = ("openapi", "info", "servers", "security", "tags", "paths", "components")
    return json.loads(json.dumps({name: document[name] for name in names}))  # type: ignore[no-any-return]


def _operation(part: Part, route: Route, name: str, tag: str, schemas: Schemas) -> Document:
    exposed = route.controller.exposed  # type: ignore[attr-defined]
    text = text_of(route.controller)
    operation: Document = {"operationId": name, "tags": [tag], "summary": text.summary}
    if text.rest:
        operation["description"] = text.rest
    if hasattr(route.controller, "action"):
        operation["security"] = [{"bearer": []}]
    conditions = []
    if route.method == "GET":
        conditions = ["IfNoneMatch", *(["IfModifiedSince"] if responses.gives_snapshot(route.controller) else [])]
    operation["parameters"] = [
        *parameters.of_path(route, text),
        *(parameters.of_query(exposed, part.dialect, text, schemas) if part.reads_query else []),
        *conditions,
    ]
    if exposed.body:
        content = {"schema": schemas.of(exposed.body), "example": sample_of(exposed.body)}
        operation["requestBody"] = {"required": True, "content": {JSON: content}}
    operation["responses"] = responses.of_route(
        route, exposed, part.dialect, text, schemas, reads_query=part.reads_query
    )
    return operation


def _result(route: Route, part: Part) -> Any:
    """The type of what a route sends; None for a stream."""
    return None if is_stream(route) else route.controller.exposed.result(part.dialect)  # type: ignore[attr-defined]


def _tag(controller: Controller) -> tuple[str, str]:
    """The module of a controller: its name, and what it says it is about."""
    module = type(controller.__self__).__module__  # type: ignore[attr-defined]
    return module.rpartition(".")[2], text_of(sys.modules[module]).summary


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, and lists inside of what they belong to."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def as_yaml(document: Document) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def as_json(document: Document) -> str:
    return json.dumps(document, indent=2) + "\n"
