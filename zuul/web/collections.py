# SPDX-License-Identifier: Apache-2.0
"""What a client may ask of an array: which rows of it, in which order, with which attributes.

    limit=N         at most so many rows
    marker=KEY      those after the row with this key
    offset=N        without the first N of them
    sort_field=PATH and sort_dir=asc|desc
    PATH=VALUE      rows with this value; given several times, with any of these
    fields=PATH,... only these attributes; omit=PATH,... all but these

A path leads to an attribute, through others if need be: `source_context.project`. All collections have these
parameters by their type alone (its class names the key of a row); other objects have `fields` and `omit`. The answer
is a bare array, and header fields tell the rest: X-Total, X-Limit, X-Marker, X-Offset, and Link to the next rows.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from wsme.types import Enum, isarray, iscomplex, isusertype, list_attributes, registry

from zuul.web.backends.replies import Listing
from zuul.web.errors import BadRequest, NotFound
from zuul.web.rendering import Tree, chosen
from zuul.web.resources.base import key_of

DEFAULT_LIMIT = 100
"""Rows of an answer where the client names no limit, below /v1."""
MAX_LIMIT = 2000
MAX_OFFSET = 10**9
MAX_DIGITS = 18
"""Of a whole number that rows are chosen by."""
DIRECTIONS = ("asc", "desc")

ROW_PARAMETERS = ("limit", "marker", "offset", "sort_field", "sort_dir")
ATTRIBUTE_PARAMETERS = ("fields", "omit")

Row = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """What one request asks for. `key` tells it from others in few bytes: equal choices have equal answers."""

    key: str
    tree: Tree = None
    limit: int | None = None
    marker: str | None = None
    offset: int | None = None
    sort_path: str | None = None
    descending: bool = False
    filters: tuple[tuple[str, frozenset[Any]], ...] = ()
    query: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    """The parameters that the next page repeats."""


@dataclass(frozen=True)
class Page:
    """Some rows of a collection."""

    rows: list[Row]
    headers: list[tuple[str, str]]


class Collection:
    """The parameters that a type gives to those who ask for it.

    :param datatype: of what is sent: `[Job]`, `JobDetail`; anything else has no parameters.
    :param taken: names that mean something else in these URLs.
    :param paged_elsewhere: whether whoever has the rows chooses among them, so that only attributes are left to choose.
    """

    def __init__(self, datatype: Any, taken: Iterable[str] = (), paged_elsewhere: bool = False) -> None:
        datatype = registry.resolve_type(datatype)
        self.is_array = isarray(datatype) and iscomplex(registry.resolve_type(datatype.item_type))
        self.row_type = registry.resolve_type(datatype.item_type) if self.is_array else datatype
        self.is_object = iscomplex(self.row_type)
        self.pages = self.is_array and not paged_elsewhere
        """Whether the rows of a page are chosen here."""
        self.key: str | None = key_of(self.row_type) if self.pages else None
        """The attribute by which a marker names a row; None where rows have no name."""
        self.filters = {path: of for path, of in _scalars(self.row_type) if self.pages and path not in taken}
        """The paths that rows can be chosen by, each with the type of its values."""
        self.sortable = [path for path, _ in _scalars(self.row_type, lists=False)] if self.pages else []
        self.parameters: tuple[str, ...] = (
            *((name for name in ROW_PARAMETERS if name != "marker" or self.key) if self.pages else ()),
            *(ATTRIBUTE_PARAMETERS if self.is_object else ()),
            *self.filters,
        )

    def choice(self, query: list[tuple[str, str]], default_limit: int | None) -> Choice:
        """Read the parameters of a request, which are all of this collection's.

        :raises BadRequest: a value is malformed or out of range, or given twice where one is possible.
        """
        given: dict[str, list[str]] = {}
        for name, value in query:
            given.setdefault(name, []).append(value)
        for name in ROW_PARAMETERS:
            if len(given.get(name, ())) > 1:
                raise BadRequest(f"query parameter given more than once: {name}")
        limit = _number(given, "limit", 1, MAX_LIMIT)
        sort_path, direction = (given.get(name, [""])[0] for name in ("sort_field", "sort_dir"))
        if "sort_field" in given and sort_path not in self.sortable:
            raise BadRequest(f"sort_field is one of {', '.join(self.sortable)}")
        if "sort_dir" in given and direction not in DIRECTIONS:
            raise BadRequest("sort_dir is asc or desc")
        filters = [
            (path, frozenset(_value(path, datatype, text) for text in given[path]))
            for path, datatype in self.filters.items()
            if path in given
        ]
        return Choice(
            key=hashlib.blake2b(urlencode(sorted(query)).encode(), digest_size=16).hexdigest(),
            tree=self._tree(given) if "fields" in given or "omit" in given else None,
            limit=limit if limit is not None or not self.pages else default_limit,
            marker=given.get("marker", [None])[0],
            offset=_number(given, "offset", 0, MAX_OFFSET),
            sort_path=sort_path or None,
            descending=direction == "desc",
            filters=tuple(filters),
            query=tuple((name, value) for name, value in query if name not in ("limit", "marker", "offset")),
        )

    def _tree(self, given: dict[str, list[str]]) -> Tree:
        paths = {}
        for name in ATTRIBUTE_PARAMETERS:
            paths[name] = [path for text in given.get(name, ()) for path in text.split(",")]
        return chosen(self.row_type, paths["fields"], paths["omit"])

    def page(self, rows: list[Row], choice: Choice) -> Page:
        """The rows that were asked for, and the header fields that tell of the others.

        :raises NotFound: there is no row for the marker to mean.
        """
        for path, values in choice.filters:
            rows = [row for row in rows if _has(_get(row, path), values)]
        if choice.sort_path is not None:
            rows = _sorted(rows, choice.sort_path, choice.descending)
        elif choice.descending:
            rows = rows[::-1]
        total = len(rows)
        begin = (choice.offset or 0) + (0 if choice.marker is None else self._after(rows, choice.marker))
        page = rows[begin:] if choice.limit is None else rows[begin : begin + choice.limit]
        headers = [("X-Total", str(total))]
        if choice.limit is not None:
            headers.append(("X-Limit", str(choice.limit)))
        if choice.marker is not None:
            headers.append(("X-Marker", _in_header(choice.marker)))
        if choice.offset is not None:
            headers.append(("X-Offset", str(choice.offset)))
        if page and begin + len(page) < total:
            headers.append(("Link", f'<?{self._next(rows, begin + len(page), choice)}>; rel="next"'))
        return Page(page, headers)

    def _after(self, rows: list[Row], marker: str) -> int:
        for number, row in enumerate(rows):
            if row.get(self.key or "") == marker:
                return number + 1
        raise NotFound(f"there is no {self.key} {marker} for the marker to mean, or no longer")

    def _next(self, rows: list[Row], begin: int, choice: Choice) -> str:
        """The query of the rows that follow: by marker, which holds while rows come and go, if the last row has
        a name of its own."""
        key = self.key or ""
        name = rows[begin - 1].get(key)
        usable = isinstance(name, str) and _in_url(name) and sum(row.get(key) == name for row in rows) == 1
        place = ("marker", str(name)) if usable else ("offset", str(begin))
        return urlencode([*choice.query, ("limit", str(choice.limit)), place])


def headers_of(listing: Listing, query: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The header fields that tell of the rows that are not on a page which a backend has chosen."""
    headers = [("X-Limit", str(listing.limit))]
    if listing.total is not None:
        headers.append(("X-Total", str(listing.total)))
    if listing.marker is not None:
        headers.append(("X-Marker", _in_header(listing.marker)))
    if listing.offset is not None:
        headers.append(("X-Offset", str(listing.offset)))
    if listing.following is not None:
        following = [(name, text) for name, text in query if name not in listing.following]
        following += [(name, text) for name, text in listing.following.items() if text is not None]
        headers.append(("Link", f'<?{urlencode(following)}>; rel="next"'))
    return headers


def _scalars(datatype: Any, lists: bool = True) -> Iterator[tuple[str, Any]]:
    """Paths that lead to one value (or to a list of such, each of which counts), with the type of the value.

    The tenant is left out: the URL has said it.
    """
    if not iscomplex(datatype):
        return
    for attribute in list_attributes(datatype):
        of = registry.resolve_type(attribute.datatype)
        if lists and isarray(of):
            of = registry.resolve_type(of.item_type)
            if iscomplex(of):
                continue
        if iscomplex(of):
            yield from ((f"{attribute.name}.{path}", below) for path, below in _scalars(of, lists))
        elif _basetype(of) in (str, int, float, bool) and attribute.name != "tenant":
            yield attribute.name, of


def _basetype(datatype: Any) -> Any:
    return datatype.basetype if isusertype(datatype) else datatype


def _number(given: dict[str, list[str]], name: str, least: int, most: int) -> int | None:
    if name not in given:
        return None
    text = given[name][0]
    if not re.fullmatch("[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise BadRequest(f"{name} is a number from {least} to {most}")
    return int(text)


def _value(path: str, datatype: Any, text: str) -> Any:
    """A value to look for, of the attribute's type."""
    basetype = _basetype(datatype)
    if isinstance(datatype, Enum) and text not in datatype.values:
        raise BadRequest(f"{path} is one of {', '.join(sorted(datatype.values))}")
    if basetype is bool:
        if text.lower() not in ("true", "false"):
            raise BadRequest(f"{path} is true or false")
        return text.lower() == "true"
    if basetype is str:
        return text
    number = f"-?[0-9]{{1,{MAX_DIGITS}}}" if basetype is int else r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?"
    if not re.fullmatch(number, text, re.IGNORECASE):
        raise BadRequest(f"{path} is {'a whole' if basetype is int else 'a'} number")
    return basetype(text)


def _get(row: Row, path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _has(value: Any, wanted: frozenset[Any]) -> bool:
    return not wanted.isdisjoint(value) if isinstance(value, list) else value in wanted


def _sorted(rows: list[Row], path: str, descending: bool) -> list[Row]:
    """By the value at the path; rows without one come last, whatever the direction."""
    value: Callable[[Row], Any] = functools.partial(_get, path=path)
    known = [row for row in rows if value(row) is not None]
    unknown = [row for row in rows if value(row) is None]
    return [*sorted(known, key=value, reverse=descending), *unknown]


def _in_url(text: str) -> bool:
    """Whether a URL can have it and get past the guard: JSON can have half a character, and NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _in_header(text: str) -> str:
    """A client's own text as a header field can have it: what is not plain ASCII is percent-encoded."""
    return urlencode({"": text})[1:] if not (text.isascii() and text.isprintable()) else text
