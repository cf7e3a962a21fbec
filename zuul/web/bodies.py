# SPDX-License-Identifier: Apache-2.0
"""What clients send: JSON, taken for exactly what its type declares.

WSME alone would make 1 of `true`, 5 of `"5"`, and would name no key at many faults. Here each fault is a 400 that names
the key, by its path: `changes[1]`.
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

import webob
from wsme.types import Unset, isarray, iscomplex, isusertype, list_attributes, registry

from zuul.web.errors import BadRequest, UnsupportedMediaType
from zuul.web.resources.base import Body

JSON = "application/json"

KINDS = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a whole number",
         float: "a number", type(None): "null"}  # fmt: skip

AnyBody = TypeVar("AnyBody", bound=Body)


def read(of: type[AnyBody], request: webob.Request, content_type: str) -> AnyBody:
    """The body of a request.

    :param content_type: the field that the request came with.
    :raises UnsupportedMediaType: it is no JSON by that, or compressed.
    :raises BadRequest: it is no JSON, or not as the type declares it.
    """
    _check_type(content_type, request.headers.get("Content-Encoding", ""))
    try:
        sent: bytes = request.body
    except OSError as error:
        raise BadRequest("the body ended before its Content-Length") from error
    if not sent:
        raise BadRequest("there must be a body, a JSON object")
    body = _object(of, _decoded(sent), "")
    assert isinstance(body, of)
    body._settle()
    return body


def _check_type(content_type: str, encoding: str) -> None:
    name, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [value.strip('"') for key, _, value in (one.partition("=") for one in parameters) if key == "charset"]
    if name != JSON or charsets not in ([], ["utf-8"], ["utf8"]):
        raise UnsupportedMediaType(f"a body has the Content-Type {JSON}, in UTF-8")
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedMediaType("a body must not be compressed")


def _decoded(sent: bytes) -> Any:
    try:
        return json.loads(sent.decode(), object_pairs_hook=_without_doubles, parse_constant=_no_number)
    except UnicodeDecodeError as error:
        raise BadRequest("the body is not valid UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadRequest("the body is no JSON") from error


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one key, parsers take this one or that; nobody is to guess what was meant."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRequest(f"{_shown(key)}: there more than once")
        found[key] = value
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _object(of: Any, data: Any, path: str) -> Any:
    if not isinstance(data, dict):
        raise BadRequest(f"{path or 'the body'}: expected an object, not {KINDS[type(data)]}")
    attributes = {attribute.name: attribute for attribute in list_attributes(of)}
    for name in data:
        if name not in attributes:
            raise BadRequest(f"{path}{_shown(name)}: there is no such key; the keys are {', '.join(attributes)}")
    made = of()
    for name, attribute in attributes.items():
        value = data.get(name, Unset)
        if value is Unset and attribute.mandatory:
            raise BadRequest(f"{path}{name}: missing")
        if value is None and not attribute.null:
            raise BadRequest(f"{path}{name}: must not be null")
        given = value is not Unset and value is not None
        setattr(made, attribute.key, _value(attribute.datatype, value, f"{path}{name}") if given else None)
    return made


def _value(datatype: Any, data: Any, path: str) -> Any:
    datatype = registry.resolve_type(datatype)
    if isarray(datatype):
        if not isinstance(data, list):
            raise BadRequest(f"{path}: expected a list, not {KINDS[type(data)]}")
        return [_value(datatype.item_type, entry, f"{path}[{number}]") for number, entry in enumerate(data)]
    if iscomplex(datatype):
        return _object(datatype, data, f"{path}.")
    basetype = datatype.basetype if isusertype(datatype) else datatype
    if type(data) is not basetype:  # to isinstance, true is a whole number
        raise BadRequest(f"{path}: expected {KINDS[basetype]}, not {KINDS[type(data)]}")
    if basetype is str:
        _check_text(data, path)
    try:
        return datatype.validate(data) if isusertype(datatype) else data
    except ValueError as error:
        raise BadRequest(f"{path}: expected {error}") from error


def _check_text(text: str, path: str) -> None:
    """JSON can have half a character, and NUL; neither is for a scheduler that writes it to ZooKeeper."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadRequest(f"{path}: has half a character") from error
    if "\0" in text:
        raise BadRequest(f"{path}: has a NUL")


def _shown(name: str) -> str:
    """A key of the client's own as an error names it."""
    return name if name.isidentifier() and len(name) < 100 else json.dumps(name)[:100]
