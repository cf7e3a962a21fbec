# SPDX-License-Identifier: Apache-2.0
"""The responses of a route: their fields, bodies and examples, and how it can fail."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from typing import Any

from apispec import APISpec

from zuul.web import errors
from zuul.web.expose import JSON, XML, Dialect, Exposed
from zuul.web.openapi.schemas import Schema, Schemas, Text, sample_of, sentence
from zuul.web.rendering import render_xml
from zuul.web.urls import Controller, Route

Response = dict[str, Any]

HEADERS: dict[str, tuple[bool, str, str]] = {
    "ETag": (True, "string", "Tells this answer from others of the same URL."),
    "Vary": (True, "string", "The fields of the request that an answer depends on."),
    "Cache-Control": (True, "string", "For how long it may be used again without asking."),
    "X-Request-Id": (True, "string", "Names the request in the log: the client's own X-Request-Id, if it sent one."),
    "Access-Control-Allow-Origin": (False, "string", "`*`: pages of any origin may read it."),
    "Age": (True, "integer", "Seconds since all of it was certainly so."),
    "Last-Modified": (False, "string", "When it was first seen like this. Not where parts of it were asked for."),
    "Expires": (False, "string", "Until when it may be used again without asking."),
    "X-Total": (True, "integer", "How many rows there are, on all pages."),
    "X-Total-If-Known": (False, "integer", "`X-Total`: how many rows there are, on all pages, if this is the last."),
    "X-Limit": (False, "integer", "How many rows a page has at most; not where there is no limit."),
    "X-Marker": (False, "string", "The `marker` of the request."),
    "X-Offset": (False, "integer", "The `offset` of the request."),
    "Link": (False, "string", 'The next page, `<URL>; rel="next"`, if there is one. The URL is relative.'),
    "Accept-Post": (True, "string", "The types that a body may have."),
    "WWW-Authenticate": (True, "string", "What kind of token would do, and what is wrong with the one that was sent."),
    "Retry-After": (True, "integer", "Seconds after which to try again."),
    "X-Text-Size": (False, "integer", "Where the text ends, in bytes of the log: the next `start`. Not in streams."),
    "X-More-Data": (False, "boolean", "Whether there will be more of the log. Not in streams."),
    "Upgrade": (False, "string", "`websocket`. Proxies drop it."),
    "Connection": (False, "string", "`Upgrade`. Proxies drop it."),
}
"""Whether it is always there, its type and meaning."""

OF_ALL = ("ETag", "Vary", "Cache-Control", "X-Request-Id", "Access-Control-Allow-Origin")
OF_ARRAYS = ("X-Total", "X-Limit", "X-Marker", "X-Offset", "Link")
OF_LISTINGS = ("X-Total-If-Known", "X-Limit", "X-Marker", "X-Offset", "Link")
OF_SNAPSHOTS = ("Age", "Last-Modified")
OF_TABLES = ("Last-Modified", "Expires")
OF_ACTION = ("Cache-Control", "X-Request-Id")
OF_ERRORS = ("Cache-Control", "X-Request-Id", "Access-Control-Allow-Origin")

OF_ANY_ROUTE: tuple[type[errors.RestError], ...] = (
    errors.BadRequest,
    errors.Unauthorized,
    errors.Forbidden,
    errors.TooLarge,
    errors.UriTooLong,
    errors.HeadersTooLarge,
    errors.ServerError,
)
"""What the filters can say of any request, what becomes of bad tokens, and defects."""

OF_BACKENDS: tuple[type[errors.RestError], ...] = (errors.BadReply, errors.Unavailable, errors.Timeout)

OF_ACTIONS: tuple[type[errors.RestError], ...] = (
    errors.Unauthorized,
    errors.Forbidden,
    errors.BrokenOff,
    errors.OutcomeUnknown,
)
"""What becomes of an action; of those with one status, the document has the one that says more."""
OF_STREAMS: tuple[type[errors.RestError], ...] = (
    errors.RangeNotSatisfiable,
    errors.Misdirected,
    errors.UpgradeRequired,
)
"""What no other route says."""

ERROR: Schema = {
    "type": "object",
    "description": "How every failure is told, whatever the client accepts.",
    "required": ["faultcode", "faultstring", "debuginfo"],
    "properties": {
        "faultcode": {
            "type": "string",
            "enum": ["Client", "Server"],
            "description": "Who can do something about it: `Client` with statuses from 400, `Server` from 500.",
        },
        "faultstring": {"type": "string", "description": "What went wrong, for people to read."},
        "debuginfo": {"type": "null", "description": "Always null; clients of WSME expect the key."},
        "error": {
            "type": "string",
            "description": "Only of actions, and where a token is the matter: then upstream's name of what is "
            "wrong with it.",
        },
        "description": {"type": "string", "description": "Only with `error`: what went wrong, for people to read."},
        "realm": {
            "type": ["string", "null"],
            "description": "Only where a token is the matter: the realm, of those in `/api/info`, where a better one "
            "is to be had.",
        },
        "outcome": {
            "type": "string",
            "enum": ["unknown"],
            "description": "Only where nobody knows whether what was asked for has been done: with 504, or with 502 "
            "where the scheduler broke off.",
        },
    },
}


def add_components(spec: APISpec) -> None:
    """Fields and failures that routes share, for others to name."""
    for name, (always, of, meaning) in HEADERS.items():
        spec.components.header(name, {"description": meaning, "required": always, "schema": {"type": of}})
    spec.components.schema("Error", ERROR)
    of_some = (errors.NotFound, errors.Conflict, errors.UnsupportedMediaType)
    for error in dict.fromkeys((*OF_ANY_ROUTE, *of_some, *OF_BACKENDS, *OF_STREAMS, *OF_ACTIONS)):
        spec.components.response(error.__name__, _failure(error))
    unchanged = {"description": "What the client has is still good.", "headers": {name: name for name in OF_ALL}}
    spec.components.response("NotModified", unchanged)


def _failure(error: type[errors.RestError]) -> Response:
    meaning = _meaning(error)
    sample = errors.RangeNotSatisfiable(meaning, 0) if error is errors.RangeNotSatisfiable else error(meaning)
    headers = [*OF_ERRORS, *(name for name, _ in sample.headers)]
    return {
        "description": sentence(f"{meaning}."),
        "headers": {name: name for name in headers},
        "content": {JSON: {"schema": "Error", "example": json.loads(errors.body(sample))}},
    }


def _meaning(error: type[errors.RestError]) -> str:
    """What the tree at the top of errors.py says of it."""
    drawn = re.search(rf"\+-- {error.__name__} \d+ +(.+)", errors.__doc__ or "")
    return drawn[1].rstrip(" .") if drawn else error.title


def of_route(
    route: Route, exposed: Exposed, dialect: Dialect, text: Text, schemas: Schemas, *, reads_query: bool
) -> dict[str, Any]:
    """All responses of a route by status."""
    whole = not (reads_query and exposed.collection(dialect).is_object)
    found: dict[str, Any]
    if route.method != "GET":
        found = _done(exposed, dialect, text, schemas)
    else:
        schema = (schemas.of if whole else schemas.of_choice)(exposed.result(dialect))
        found = {"200": _success(route, exposed, dialect, text, schema, schemas), "304": "NotModified"}
    possible = {*OF_ANY_ROUTE}
    if exposed.collection(dialect).key:
        possible.add(errors.NotFound)  # a marker's row
    with_token = hasattr(route.controller, "action")
    if with_token:
        possible.add(errors.NotFound)  # where no zuul.conf section makes tokens
    if with_token or _asks_backends(route.controller):
        possible |= {*OF_BACKENDS}
    if exposed.action:
        possible |= {*OF_ACTIONS}
        possible -= {errors.Timeout, errors.BadReply}
    if exposed.body:
        possible.add(errors.UnsupportedMediaType)
    return found | failures(possible, described_errors(text))


def described_errors(text: Text) -> dict[type[errors.RestError], str]:
    """What a method raises, in its own words."""
    return {getattr(errors, name): words for name, words in text.errors.items()}


def failures(
    possible: Iterable[type[errors.RestError]], described: dict[type[errors.RestError], str]
) -> dict[str, Any]:
    """How a route can fail, by status: as all of them do, or in words of its own."""
    found: dict[str, Any] = {}
    for error in sorted({*possible, *described}, key=lambda error: error.status):
        name = error.__name__
        if error in described:
            found[str(error.status)] = {"$ref": f"#/components/responses/{name}", "description": described[error]}
        else:
            found[str(error.status)] = name
    return found


def _done(exposed: Exposed, dialect: Dialect, text: Text, schemas: Schemas) -> dict[str, Any]:
    """The answer of who has done something."""
    result = exposed.result(dialect)
    fields = {"headers": {name: name for name in OF_ACTION}}
    if exposed.created:
        return {"201": {"description": text.summary, **fields, "content": {JSON: {"schema": {"type": "null"}}}}}
    if result is None:
        return {"204": {"description": text.summary, **fields}}
    return {"200": {"description": text.summary, **fields, "content": {JSON: {"schema": schemas.of(result)}}}}


def _success(
    route: Route, exposed: Exposed, dialect: Dialect, text: Text, schema: Schema, schemas: Schemas
) -> Response:
    result = exposed.result(dialect)
    collection = exposed.collection(dialect)
    from_snapshot = gives_snapshot(route.controller)
    names = [
        *OF_ALL,
        *(OF_ARRAYS if collection.pages and not from_snapshot else ()),
        *(OF_LISTINGS if collection.is_array and not collection.pages else ()),
        *(OF_SNAPSHOTS if from_snapshot else ()),
        *(("Age",) if _gives(route.controller, "Known") else ()),
    ]
    content: dict[str, Any] = {exposed.content_type: {"schema": schema}}
    sample = sample_of(result)
    if exposed.forms is not None:
        content = {name: {"schema": {"type": "string"}} for name in exposed.forms}
        content[JSON] = {"schema": schema, "example": sample}
    elif sample is not None:
        content[exposed.content_type]["example"] = sample
        if dialect.xml:
            content[XML] = {"schema": {"type": "string"}, "example": render_xml(result, sample).decode()}
    if exposed.table is not None:
        content[JSON] = {"schema": schemas.of(exposed.table), "example": sample_of(exposed.table)}
        names += OF_TABLES
    fields = {name.removesuffix("-If-Known"): name for name in names}
    return {"description": text.summary, "headers": fields, "content": content}


def gives_snapshot(controller: Controller) -> bool:
    """Whether it returns a status as it was fetched, with its age."""
    return _gives(controller, "Snapshot")


def _gives(controller: Controller, of: str) -> bool:
    return bool(inspect.signature(inspect.unwrap(controller)).return_annotation == of)


def _asks_backends(controller: Controller) -> bool:
    """Whether its class is made with a way to the scheduler, a database or Nodepool."""
    parameters = inspect.signature(type(controller.__self__)).parameters  # type: ignore[attr-defined]
    return not parameters.keys().isdisjoint({"scheduler", "snapshots", "history", "nodepool"})
