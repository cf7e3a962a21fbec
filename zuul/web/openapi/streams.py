# SPDX-License-Identifier: Apache-2.0
"""The operations of streams. Like others they are found in the URL maps and take their words from docstrings; what they
send and how they end is told here, as no types stand behind it.

OpenAPI has no words for websockets and Server-Sent Events, so two fields of our own name the schemas of messages:
`x-websocket`, what client and server send, and `x-item-schema`, the data of each event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from zuul.web import errors
from zuul.web.openapi import parameters, responses
from zuul.web.openapi.schemas import Schema, Schemas, Text, sample_of, text_of
from zuul.web.resources.console import ConsoleRequest
from zuul.web.resources.events import MESSAGES, TenantState
from zuul.web.streaming import endings
from zuul.web.urls import Route

Operation = dict[str, Any]
Errors = tuple[type[errors.RestError], ...]

PLAIN = "text/plain"
EVENT_STREAM = "text/event-stream"
MOST_OFFSET = 10**18 - 1

OF_ALL = ("Cache-Control", "Vary", "X-Request-Id", "Access-Control-Allow-Origin")
OF_LOGS = ("X-Text-Size", "X-More-Data")

NO_TENANT = "The operator's filters cannot tell whose build it is; use the URL of its tenant."
UPGRADED = {"description": "The connection is a websocket from here on."}
OF_WEBSOCKETS: Errors = (
    errors.Misdirected,
    errors.UpgradeRequired,
    errors.Unavailable,
)

TOO_LARGE = 1009
"""Said by autobahn."""

ENDINGS = [
    (endings.NORMAL, f"`{endings.END_OF_LOG.reason}`: this was the whole log."),
    (endings.GOING_AWAY, "The server stops; connect again, and go on where you were."),
    (endings.UNSUPPORTED_DATA, "A binary message came in."),
    (TOO_LARGE, "A message of more than 4096 bytes came in."),
    (endings.BAD_REQUEST, "The request is wrong, and how; or a message came in that nobody had asked for."),
    (endings.TOKEN_EXPIRED, "The token has expired; connect again with another, and go on where you were."),
    (endings.TOO_SLOW, "The client has not read for too long; connect again, and go on where you were."),
    (
        endings.UNAVAILABLE,
        f"`{endings.NO_SUCH_BUILD.reason}`: there is no such thing in this tenant, or the scheduler cannot say. "
        f"`{endings.REMOTE_ERROR.reason}`: the executor was lost before the end of the log. Otherwise the executor "
        "refused, did not answer, or says why not.",
    ),
]
"""Close codes and their meaning, which the Server-Sent Events `end` and `error` of a log have too."""

LINE = "2020-09-13 12:26:43.513742 | Job console starting...\n"


def operation(route: Route, name: str, tag: str, schemas: Schemas) -> Operation:
    """What the document has at the URL of a stream."""
    text = text_of(route.controller)
    kind, make = _KINDS[route.controller.__name__]
    return {
        "operationId": name,
        "tags": [tag],
        "summary": text.summary,
        "description": "\n\n".join(part for part in (text.rest, kind) if part),
        "parameters": parameters.of_path(route, text),
        **make(route, text, schemas),
    }


def _console(route: Route, text: Text, schemas: Schemas) -> Operation:
    more = {} if route.variables else {"NotFound": NO_TENANT}
    return {
        "responses": {"101": UPGRADED, **_failures(text, OF_WEBSOCKETS, **more)},
        "x-websocket": {"client": schemas.of(ConsoleRequest), "server": {"type": "string"}},
    }


def _log(route: Route, text: Text, schemas: Schemas) -> Operation:
    possible = (errors.RangeNotSatisfiable, errors.Misdirected, *responses.OF_BACKENDS)
    start = {"type": "integer", "minimum": 0, "maximum": MOST_OFFSET, "default": 0}
    of_event = LINE.replace("\n", "\ndata: ")
    content = {
        PLAIN: {"schema": {"type": "string"}, "example": LINE},
        EVENT_STREAM: {"schema": {"type": "string"}, "example": f"id: {len(LINE)}\ndata: {of_event}\n\n"},
    }
    return {
        "parameters": [
            *parameters.of_path(route, text),
            parameters.in_query("start", "How many bytes of the log to leave out.", start),
            parameters.in_query(
                "follow", "Whether text goes on up to the end of the log.", {"type": "boolean", "default": False}
            ),
            _last_event_id("The offset to go on at, in place of `start`. Only with Server-Sent Events."),
        ],
        "responses": {
            "200": _success("The log, or what there is now of it.", [*OF_ALL, *OF_LOGS], content),
            **_failures(text, possible),
        },
    }


def _events(route: Route, text: Text, schemas: Schemas) -> Operation:
    possible: Errors = (errors.Misdirected, *responses.OF_BACKENDS)
    message = schemas.one_of("TenantEvent", "One of the messages of a tenant's events.", "type", MESSAGES)
    examples = [_as_event(sample_of(datatype)) for datatype in (TenantState, MESSAGES["build_started"])]
    content = {
        EVENT_STREAM: {"schema": {"type": "string"}, "example": "".join(examples), "x-item-schema": message},
    }
    resume = "The `id` of the last message that the client has; what has happened since comes, in place of the state."
    return {
        "parameters": [
            *parameters.of_path(route, text),
            parameters.in_query("last_event_id", f"{resume} For clients that cannot set fields.", parameters.TEXT),
            parameters.in_query("state", "Whether the state comes first.", {"type": "boolean", "default": True}),
            _last_event_id(resume),
        ],
        "responses": {
            "101": UPGRADED,
            "200": _success("Server-Sent Events, without an end.", list(OF_ALL), content),
            **_failures(text, possible),
        },
        "x-websocket": {"server": message},
    }


def _success(description: str, headers: list[str], content: dict[str, Any]) -> responses.Response:
    return {"description": description, "headers": {name: name for name in headers}, "content": content}


def _failures(text: Text, possible: Iterable[type[errors.RestError]], **more: str) -> dict[str, Any]:
    """:param more: in which words a route has an error, by its class."""
    described = responses.described_errors(text._replace(errors={**text.errors, **more}))
    return responses.failures([*responses.OF_ANY_ROUTE, *possible], described)


def _last_event_id(description: str) -> parameters.Parameter:
    schema: Schema = {"type": "string"}
    return {"name": "Last-Event-ID", "in": "header", "description": description, "schema": schema}


def _as_event(message: dict[str, Any]) -> str:
    return f"event: {message['type']}\nid: {message['id']}\ndata: {json.dumps(message)}\n\n"


def _list_of_endings(*without: int) -> str:
    return "\n".join(f"- `{code}`: {meaning}" for code, meaning in ENDINGS if code not in without)


_CONSOLE = f"""\
A websocket (RFC 6455) and nothing else: a GET without `Upgrade: websocket` is 426, and one from a page of an origin
that may not is 403. The client sends one text message within 10 seconds, a `ConsoleRequest` as JSON, and gets the log
as text messages. A build that no executor has taken yet is waited for. Then the server closes:

{_list_of_endings()}"""

_LOG = f"""\
Of Server-Sent Events, those without a name carry text, and those named `json` text in a JSON string, as it has a
carriage return; their ids are offsets. `end` is the end of the log, and `error` another; the data of both is an object
with `code` and `reason`:

{_list_of_endings(endings.GOING_AWAY, endings.UNSUPPORTED_DATA, TOO_LARGE)}"""

_EVENTS = f"""\
Websocket: a GET with `Upgrade: websocket`, of which a page of another origin may be refused (403). The client sends
nothing. Without that field there are Server-Sent Events. The server closes a websocket with a code:

{_list_of_endings(endings.NORMAL)}"""

_KINDS = {"console": (_CONSOLE, _console), "log": (_LOG, _log), "events": (_EVENTS, _events)}
"""What is said, and made, of a stream by the name of its method."""
