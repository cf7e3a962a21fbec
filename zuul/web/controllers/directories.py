# SPDX-License-Identifier: Apache-2.0
"""Directories: which URLs there are, for those who start from the top."""

from __future__ import annotations

from collections.abc import Iterable

from zuul.web.expose import expose
from zuul.web.resources.directories import Link
from zuul.web.urls import Route, UrlMap, routes


class DirectoryController:
    """Lists the URLs of a map, by what the map itself says."""

    def __init__(self) -> None:
        self._routes: list[Route] = []

    def list_all(self, url_map: UrlMap) -> None:
        """Have it list this map, which is complete only after its directory is in it."""
        self._routes = [route for route in routes(url_map) if route.method == "GET"]

    @expose([Link], str)
    def get(self, mount: str = "") -> list[Link]:
        """The URLs below this one that can be read, and what each gives."""
        return [
            Link(
                href=f"{mount}{route.template}",
                templated=bool(route.variables),
                title=(route.controller.__doc__ or "").strip().split("\n")[0],
            )
            for route in self._routes
            if route.template
        ]


class RootController:
    """The directory at the very top: what is mounted beside it."""

    def __init__(self, entries: Iterable[tuple[str, str]]) -> None:
        self._entries = tuple(entries)

    @expose([Link], str)
    def get(self, mount: str = "") -> list[Link]:
        """The parts of this service."""
        return [Link(href=f"{mount}{path}", templated=False, title=title) for path, title in self._entries]
