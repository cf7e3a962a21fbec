# SPDX-License-Identifier: Apache-2.0
"""The pieces of a URL map: `UrlMap` (a level with fixed names), `UrlOf` (a level that is somebody's name) and
`Url` (the end: HTTP methods and their controllers). Pecan asks a map where a request goes; `routes` lists all
that it leads to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pecan
import webob

from zuul.web.errors import MethodNotAllowed, NotFound, RestError

Controller = Callable[..., Any]

PREFLIGHT_SECONDS = 3600


def absent(*arguments: Any) -> None:
    """In the place of a method that other installations have at a URL: here, there is nothing that it could act on."""


@dataclass(frozen=True)
class Route:
    """One method of one URL of a map."""

    template: str
    """The path below the map, its variable parts in braces; they may contain slashes only if percent-encoded."""

    method: str

    controller: Controller
    """The exposed method, bound to a controller whose names are the template's variables."""

    @property
    def variables(self) -> list[str]:
        """The names of the variable parts, from left to right."""
        return re.findall(r"{(\w+)}", self.template)


class Url:
    """The end of a URL: its methods and how much of the path belongs to it.

    :param segments: how many path segments are left; None: all there are, as one argument with its slashes.
    :param template: how documents write those segments, if not as the names of the method's arguments.
    :param endings: where all segments are taken, last segments (`keys/ssh`) that lead elsewhere with those before
        them; None in the place of a `Url`: they do elsewhere, and here nothing but reading is possible.
    :param given: the first arguments of the method, where the map knows them already.
    :param with_mount: whether the first argument is the path at which the whole map is mounted.
    :param methods: the exposed method by HTTP method: `get`, `post`, `put`, `delete`; None: not possible (405);
        `absent`: as if the URL were not there (404).
    """

    def __init__(
        self,
        *,
        segments: int | None = 0,
        template: str | None = None,
        endings: Mapping[str, Url | None] | None = None,
        given: tuple[str, ...] = (),
        with_mount: bool = False,
        **methods: Controller | None,
    ) -> None:
        self._segments = segments
        self._template = template
        self._endings = [(ending.split("/"), url) for ending, url in (endings or {}).items()]
        self._given = list(given)
        self._with_mount = with_mount
        self._methods = {name.upper(): method for name, method in methods.items() if method not in (None, absent)}
        self._absent = {name.upper() for name, method in methods.items() if method is absent}

    @pecan.expose()  # type: ignore[untyped-decorator]  # Pecan is untyped
    def _route(self, rest: list[str], request: webob.Request) -> tuple[Controller, list[str]]:
        if rest and not rest[-1]:
            rest = rest[:-1]  # a slash at the end means nothing
        for ending, url in self._endings:
            if len(rest) <= len(ending) or rest[-len(ending) :] != ending:
                continue
            if url is not None:
                return url._route(rest[: -len(ending)], request)  # type: ignore[no-any-return]
            if request.method not in ("GET", "HEAD", "OPTIONS"):
                raise not_here(request)
        if self._segments is None:
            rest = ["/".join(rest)] if any(rest) else []
        if len(rest) != (1 if self._segments is None else self._segments) or "" in rest:
            raise not_here(request)
        rest = [*([request.script_name] if self._with_mount else self._given), *rest]
        method = "GET" if request.method == "HEAD" else request.method
        if method in self._methods:
            if method != "GET":
                # Pecan would take a body apart by its type, with every fault of it a defect.
                request.environ["zuul.content_type"] = request.environ.get("CONTENT_TYPE", "")
                request.environ["CONTENT_TYPE"] = "application/octet-stream"
            return self._methods[method], rest
        if method in self._absent:
            raise not_here(request)
        allowed = sorted({*self._methods, "OPTIONS", *({"HEAD"} if "GET" in self._methods else ())})
        if method == "OPTIONS":
            request.environ["CONTENT_TYPE"] = "application/octet-stream"  # else Pecan would read its body as a form
            return _OPTIONS.answer, allowed
        raise MethodNotAllowed(f"{request.method} is not possible here", tuple(allowed))

    def _routes(self, base: str) -> Iterator[Route]:
        for ending, url in self._endings:
            if url is None:
                continue
            yield from url._routes_before(base, "/".join(ending))
        yield from self._routes_before(base, "")

    def _routes_before(self, base: str, ending: str) -> Iterator[Route]:
        for method, controller in self._methods.items():
            names = controller.exposed.path_names[self._with_mount + len(self._given) :]  # type: ignore[attr-defined]
            rest = self._template or "/".join(f"{{{name}}}" for name in names)
            yield Route("/".join(part for part in (base, rest, ending) if part), method, controller)


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

    def _routes(self, base: str) -> Iterator[Route]:
        if self._index is not None:
            yield from self._index._routes(base)
        for name, below in self._urls.items():
            yield from below._routes(f"{base}/{name}")
        if self._other is not None:
            yield from self._other._routes(base)


class UrlOf:
    """A level of a URL that is somebody's name: `make(name)` gives the map below it.

    :param variable: what the name is of, for documents.
    """

    def __init__(self, variable: str, make: Callable[[str], Any]) -> None:
        self._variable = variable
        self._make = make

    @pecan.expose()  # type: ignore[untyped-decorator]  # Pecan is untyped
    def _route(self, rest: list[str], request: webob.Request) -> Any:
        if not rest or not rest[0]:
            raise not_here(request)
        request.environ[f"zuul.{self._variable}"] = rest[0]
        return self._make(rest[0])._route(rest[1:], request)

    def _routes(self, base: str) -> Iterator[Route]:
        name = f"{{{self._variable}}}"
        return self._make(name)._routes(f"{base}/{name}")  # type: ignore[no-any-return]


def routes(url_map: UrlMap) -> list[Route]:
    """All that a map leads to, but for HEAD and OPTIONS, which every URL with GET has."""
    return list(url_map._routes(""))


def not_here(request: webob.Request) -> RestError:
    return NotFound(f"there is nothing at {request.path[:200]}")


class _Options:
    """Answers OPTIONS of every URL, be it a question of a browser before it lets a page of another origin ask."""

    @pecan.expose(generic=False)  # type: ignore[untyped-decorator]  # Pecan is untyped
    def answer(self, request: webob.Request, response: webob.Response, *allowed: str) -> webob.Response:
        headers = [("Allow", ", ".join(allowed))]
        if "Origin" in request.headers:
            headers += [
                ("Access-Control-Allow-Methods", ", ".join(allowed)),
                ("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, X-Request-Id"),
                ("Access-Control-Max-Age", str(PREFLIGHT_SECONDS)),
            ]
        return webob.Response(status=204, headerlist=headers, app_iter=[])


_OPTIONS = _Options()
