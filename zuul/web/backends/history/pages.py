# SPDX-License-Identifier: Apache-2.0
"""Pages of a history: which rows, in which order, from where on.

Rows are walked by their number or by the column of an index, from a cursor on (`idx_max`, `idx_min` or the row that
`marker` names), so a page costs the same however deep it is. Only `skip` makes the database count rows off. A page
takes one statement, one more for what a marker means, and one or two for rows without a value in the column sorted by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.engine import Connection

from zuul.web.backends.history.filters import MAX_INTEGER, Conditions
from zuul.web.backends.history.tables import Tables
from zuul.web.backends.replies import Listing
from zuul.web.errors import BadRequest, NotFound
from zuul.web.resources.history_queries import Paged

BY_NUMBER = "_id"


class Place(NamedTuple):
    """A row that others come after: its value in the column sorted by, and its number."""

    value: Any
    number: int


class Walk(Protocol):
    """Finds rows in the order of their numbers. No row that is wanted comes before the cursor."""

    def __call__(
        self, rows: Select[Any], conditions: Conditions, order: Order, wanted: int, skip: int, cursor: int | None
    ) -> list[Any]: ...


class Order:
    """Which rows come first.

    :param table: `zuul_build` or `zuul_buildset`.
    :raises BadRequest: no index serves that order.
    """

    def __init__(self, tables: Tables, table: str, query: Paged) -> None:
        self._table = tables.build if table == "zuul_build" else tables.buildset
        columns = [
            column.name for column in self._table.c if column.name != "id" and _indexed(tables, table, column.name)
        ]
        name = query.sort_field if query.sort_field is not None else BY_NUMBER
        if name not in (BY_NUMBER, *columns):
            raise BadRequest(
                f"sort_field is one of {', '.join([BY_NUMBER, *columns])}; the database has indexes for no others"
            )
        self.descending = query.sort_dir != "asc"
        self.number: ColumnElement[int] = self._table.c.id
        self.column: ColumnElement[Any] | None = None if name == BY_NUMBER else self._table.c[name]

    def by(self, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return column.desc() if self.descending else column.asc()

    def beyond(self, column: ColumnElement[Any], value: Any) -> ColumnElement[bool]:
        found: ColumnElement[bool] = column < value if self.descending else column > value
        return found

    def after(self, place: Place) -> ColumnElement[bool]:
        """Rows that come after this one, of those that have a value, or of those that have none."""
        further = self.beyond(self.number, place.number)
        if self.column is None or place.value is None:
            return further
        # The first part alone is all that the order says; databases find their place in the index by the second.
        at_least = self.column <= place.value if self.descending else self.column >= place.value
        return and_(at_least, or_(self.beyond(self.column, place.value), further))


def _indexed(tables: Tables, table: str, column: str) -> bool:
    """Whether rows can be walked by this column and, where it is the same, by number."""
    return any(index in ((column,), (column, "id")) for index in tables.indexed.get(table, ()))


def page(
    connection: Connection,
    order: Order,
    query: Paged,
    conditions: Conditions,
    rows_of: Callable[[], Select[Any]],
    place_of: Callable[[str], Select[Any]],
    walk: Walk,
) -> tuple[list[Any], Listing]:
    """The rows of a page, and the listing without them.

    :param rows_of: the columns and joins, to which conditions, order and limit are added.
    :param place_of: selects value and number of the row that a marker names.
    :param walk: finds rows in the order of their numbers.
    :raises NotFound: there is no row for the marker to mean.
    """
    assert query.limit is not None
    cursor: int | None = None
    if query.idx_max is not None:
        bound = min(query.idx_max, MAX_INTEGER)
        conditions.add(order.number <= bound, order.number)
        cursor = bound if order.descending else None
    if query.idx_min is not None:
        bound = min(query.idx_min, MAX_INTEGER + 1)
        conditions.add(order.number >= bound, order.number)
        cursor = cursor if order.descending else bound
    place = None
    if query.marker is not None:
        found = connection.execute(place_of(query.marker)).first()
        if found is None:
            raise NotFound(f"there is no row with the uuid or _id {query.marker} for the marker to mean, or no longer")
        place = Place(*found)
    wanted = query.limit + 1 if query.limit else 0
    if not wanted:
        rows = []
    elif order.column is None:
        if place is not None:
            conditions.add(order.after(place), order.number)
            cursor = _further(order, cursor, place.number)
        rows = walk(rows_of(), conditions, order, wanted, query.skip or 0, cursor)
    else:
        rows = _by_column(connection, rows_of().where(*conditions.found), order, place, wanted, query.skip or 0)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    listing = Listing(
        [],
        limit=query.limit,
        offset=query.skip,
        marker=query.marker,
        following=_following(order, rows[-1]) if more and rows else None,
        total=_total(query, len(rows), more),
    )
    return rows, listing


def _further(order: Order, cursor: int | None, number: int) -> int:
    """The one of two places that comes later."""
    if cursor is None:
        return number
    return min(cursor, number) if order.descending else max(cursor, number)


def _by_column(
    connection: Connection, statement: Select[Any], order: Order, place: Place | None, wanted: int, skip: int
) -> list[Any]:
    assert order.column is not None
    valued = statement.where(order.column.is_not(None))
    rows = []
    if place is None or place.value is not None:
        rows = _part(connection, valued, [order.by(order.column), order.by(order.number)], order, place, wanted, skip)
        if len(rows) == wanted:
            return rows
        if skip and not rows:
            passed = valued if place is None else valued.where(order.after(place))
            skip -= connection.execute(select(func.count()).select_from(passed.subquery())).scalar_one()
        else:
            skip = 0
        place = None
    valueless = statement.where(order.column.is_(None))
    return rows + _part(connection, valueless, [order.by(order.number)], order, place, wanted - len(rows), skip)


def _part(
    connection: Connection,
    statement: Select[Any],
    by: list[ColumnElement[Any]],
    order: Order,
    place: Place | None,
    wanted: int,
    skip: int,
) -> list[Any]:
    if place is not None:
        statement = statement.where(order.after(place))
    statement = statement.order_by(*by).limit(wanted)
    return list(connection.execute(statement.offset(skip) if skip else statement).all())


def _following(order: Order, last: Any) -> dict[str, str | None]:
    """The parameters of the next page: from the last row of this one on, however many rows come in meanwhile."""
    if order.column is not None:  # not by uuid, which what never ran has not
        return {"marker": str(last.id), "skip": None, "offset": None}
    bound, number = ("idx_max", last.id - 1) if order.descending else ("idx_min", last.id + 1)
    return {bound: str(number), "marker": None, "skip": None, "offset": None}


def _total(query: Paged, found: int, more: bool) -> int | None:
    """How many rows there are, if this page tells: it is the last, and it is known how many come before it."""
    from_the_first = query.marker is None and query.idx_min is None and query.idx_max is None
    skipped = query.skip or 0
    if more or not from_the_first or not query.limit or (skipped and not found):
        return None
    return skipped + found
