# SPDX-License-Identifier: Apache-2.0
"""What a controller method takes and returns, declared with WSME's types. Only this module knows WSME's decorators.

`@expose(result, *arguments)` above a method `f(self, ...)` makes a Pecan controller of it. The first
arguments come from the path, in order; the others are query parameters by name. A method returns

    a value of the declared type     WSME renders it
    a `Reply`                        bytes of the scheduler's, which the type only describes
    a `Snapshot`                     the same of a status, with all its header fields

and all answers to GET carry an entity tag, answer `If-None-Match`, and are compressed on demand. They
are to be revalidated each time, unless the controller has a `cache_control` of its own.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import pecan
import webob
import wsme
import wsme.rest.args
import wsme.rest.json
import wsme.types
from pecan.util import _cfg
from wsme.api import FunctionDefinition
from wsme.exc import ClientSideError

from zuul.web.backends.replies import Reply
from zuul.web.errors import BadRequest, MethodNotAllowed, NotFound, RestError
from zuul.web.snapshots import Snapshot, accepts_gzip, entity_tags, respond

JSON = "application/json"
COMPRESS_FROM_BYTES = 1024

Controller = Callable[..., Any]


def expose(
    result: Any,
    *arguments: Any,
    content_type: str = JSON,
    path: int | None = None,
) -> Callable[[Controller], Controller]:
    """Declare a controller method.

    :param result: the WSME type of what it returns; a list of one type for an array.
    :param arguments: the WSME types of its arguments.
    :param path: how many of them come from the path; all of them if not said.
    """
    signature = wsme.signature(result, *arguments)

    def decorate(method: Controller) -> Controller:
        signature(method)
        definition = FunctionDefinition.get(method)
        definition.resolve_types(wsme.types.registry)
        path_names = [argument.name for argument in definition.arguments[:path]]

        @functools.wraps(method)
        def answer(self: Any, request: webob.Request, response: webob.Response, *from_path: str) -> webob.Response:
            given, named = _arguments(definition, path_names, from_path, request)
            value = method(self, *given, **named)
            if isinstance(value, Snapshot):
                return _snapshot_response(request, value)
            if not isinstance(value, Reply):
                value = Reply(wsme.rest.json.encode_result(value, definition.return_type).encode())
            if value.fresh_until is not None:
                request.environ["zuul.fresh_until"] = value.fresh_until
            return _response(request, value, content_type, getattr(self, "cache_control", "no-cache"))

        pecan.expose(generic=False)(answer)
        _cfg(answer)["argspec"] = pecan.util.getargspec(_answer_signature)
        answer.definition = definition  # type: ignore[attr-defined]
        answer.path_names = path_names  # type: ignore[attr-defined]
        return answer

    return decorate


def _answer_signature(self: Any, request: Any, response: Any, *from_path: str) -> None:
    """The arguments as Pecan is to see them: what is left of the path, and no query parameter."""


def _arguments(
    definition: Any, path_names: list[str], from_path: tuple[str, ...], request: webob.Request
) -> tuple[list[Any], dict[str, Any]]:
    several = {argument.name for argument in definition.arguments if wsme.types.isarray(argument.datatype)}
    for name in request.GET:
        # WSME would let the query override the path, and take a parameter __body__ for a body.
        if name in path_names or name == "__body__":
            raise BadRequest(f"unknown query parameter: {name}")
        if name not in several and len(request.GET.getall(name)) > 1:
            raise BadRequest(f"query parameter given more than once: {name}")
    try:
        given, named = wsme.rest.args.get_args(definition, from_path, {}, request.GET, None, b"", None)
    except wsme.exc.UnknownArgument as error:
        raise BadRequest(f"unknown query parameter: {error.argname}") from error
    except ClientSideError as error:
        raise BadRequest(error.faultstring) from error
    return given, named


def _response(request: webob.Request, reply: Reply, content_type: str, cache_control: str) -> webob.Response:
    compress = len(reply.body) >= COMPRESS_FROM_BYTES and accepts_gzip(request.headers.get("Accept-Encoding", ""))
    headers = [
        ("Content-Type", f"{content_type}; charset=utf-8"),
        ("ETag", f'"{reply.etag}{"-gzip" if compress else ""}"'),
        ("Vary", "Accept-Encoding"),
        ("Cache-Control", cache_control),
    ]
    if_none_match = request.headers.get("If-None-Match")
    held = entity_tags(if_none_match) if if_none_match is not None else set()
    if held & {f'"{reply.etag}"', f'"{reply.etag}-gzip"', "*"}:
        return _plain(304, headers[1:], b"")
    if compress:
        return _plain(200, [*headers, ("Content-Encoding", "gzip")], reply.gzipped)
    return _plain(200, headers, reply.body)


def _snapshot_response(request: webob.Request, snapshot: Snapshot) -> webob.Response:
    fields = request.headers
    answer = respond(
        snapshot, fields.get("Accept-Encoding", ""), fields.get("If-None-Match"), fields.get("If-Modified-Since")
    )
    age = ("Age", str(max(0, int(time.monotonic() - snapshot.fetched))))
    return webob.Response(status=answer.status, headerlist=[*answer.headers, age], app_iter=[answer.body])


def _plain(status: int, headers: list[tuple[str, str]], body: bytes) -> webob.Response:
    if status not in (204, 304):
        headers = [*headers, ("Content-Length", str(len(body)))]
    return webob.Response(status=status, headerlist=headers, app_iter=[body])


class Url:
    """The end of a URL: its methods and how much of the path belongs to it.

    :param segments: how many path segments are left; None: all there are, as one argument with its slashes.
    :param endings: where all segments are taken, last segments that lead elsewhere with those before them.
    :param methods: the exposed method by HTTP method: `get`, `post`, `put`, `delete`.
    """

    def __init__(
        self, *, segments: int | None = 0, endings: dict[str, Url] | None = None, **methods: Controller
    ) -> None:
        self._segments = segments
        self._endings = endings or {}
        self._methods = {name.upper(): method for name, method in methods.items()}

    @pecan.expose()  # type: ignore[untyped-decorator]  # Pecan is untyped
    def _route(self, rest: list[str], request: webob.Request) -> tuple[Controller, list[str]]:
        if rest and not rest[-1]:
            rest = rest[:-1]  # a slash at the end means nothing
        if len(rest) > 1 and rest[-1] in self._endings:
            return self._endings[rest[-1]]._route(rest[:-1], request)  # type: ignore[no-any-return]
        if self._segments is None:
            rest = ["/".join(rest)] if any(rest) else []
        if len(rest) != (1 if self._segments is None else self._segments) or "" in rest:
            raise not_here(request)
        method = "GET" if request.method == "HEAD" else request.method
        if method not in self._methods:
            allow = sorted({*self._methods, *({"HEAD"} if "GET" in self._methods else ())})
            raise MethodNotAllowed(f"{request.method} is not possible here", tuple(allow))
        return self._methods[method], rest


class UrlMap:
    """A level of a URL: names and what stands behind them.

    :param index: answers for the level itself.
    :param other: takes every name that is not in the map.
    """

    def __init__(self, urls: dict[str, Any], *, index: Url | None = None, other: Url | UrlOf | None = None) -> None:
        self._urls = urls
        self._index = index
        self._other = other

    @pecan.expose()  # type: ignore[untyped-decorator]  # Pecan is untyped
    def _route(self, rest: list[str], request: webob.Request) -> Any:
        if rest in ([], [""]):
            if self._index is not None:
                return self._index._route([], request)
        elif rest[0] in self._urls:
            return self._urls[rest[0]]._route(rest[1:], request)
        elif self._other is not None:
            return self._other._route(rest, request)
        raise not_here(request)


class UrlOf:
    """A level of a URL that is somebody's name: `make(name)` gives the map below it."""

    def __init__(self, make: Callable[[str], Any]) -> None:
        self._make = make

    @pecan.expose()  # type: ignore[untyped-decorator]  # Pecan is untyped
    def _route(self, rest: list[str], request: webob.Request) -> Any:
        if not rest or not rest[0]:
            raise not_here(request)
        return self._make(rest[0])._route(rest[1:], request)


def not_here(request: webob.Request) -> RestError:
    return NotFound(f"there is nothing at {request.path[:200]}")
