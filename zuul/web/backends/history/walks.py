# SPDX-License-Identifier: Apache-2.0
"""How each database is brought to find builds by their number, the newest or oldest of those that were asked for.

PostgreSQL weighs by its statistics whether to walk the builds or to gather them by an index and sort. Nothing is to be
added, but that numbers are found first and then what belongs to them, as wide rows are dear to skip and to sort.

MariaDB, MySQL and SQLite take the wrong way more often than not, by factors of a hundred (measured with a million
builds; see bench/history.py). So they are led: first over the builds next to the cursor, where all that is not rare is
found at once, and what is not too rare by looking farther. The rest is gathered, from the buildsets if a filter is
about these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, exists, func, select
from sqlalchemy.engine import Connection

from zuul.web.backends.history.filters import Conditions
from zuul.web.backends.history.pages import Order
from zuul.web.backends.history.tables import BUILD, BUILDSET, Tables

NEAR = 20_000
"""How many builds next to the cursor are looked at first: 20 to 30 ms, if none of them will do."""
FARTHER = 10
"""How much more of them may be looked at, if those next to the cursor had some."""
SELECTIVE = ("uuid", "change", "ref", "newrev")
"""Columns whose values few rows have: if an index has them, it is asked at once."""


def find_builds(
    connection: Connection,
    tables: Tables,
    columns: Select[Any],
    conditions: Conditions,
    order: Order,
    wanted: int,
    skip: int,
    cursor: int | None,
) -> list[Any]:
    """Rows of builds, in order of their numbers.

    :param columns: of a join of builds and buildsets.
    :param cursor: no row that is wanted comes before this number.
    """
    if connection.dialect.name == "postgresql":
        return _planned(connection, tables, columns, conditions, order, wanted, skip)
    led = _Led(connection, tables, conditions, order, wanted, skip)
    numbers = led.near(cursor)
    if numbers is None:
        numbers = led.rest()
    if not numbers:
        return []
    rows = columns.where(tables.build.c.id.in_(numbers)).order_by(order.by(order.number))
    return list(connection.execute(rows).all())


def find_buildsets(
    connection: Connection,
    columns: Select[Any],
    conditions: Conditions,
    order: Order,
    wanted: int,
    skip: int,
    cursor: int | None,
) -> list[Any]:
    """Rows of buildsets, in order of their numbers: of one table, which all databases walk as they should."""
    statement = columns.where(*conditions.found).order_by(order.by(order.number)).limit(wanted)
    return list(connection.execute(statement.offset(skip) if skip else statement).all())


def _planned(
    connection: Connection,
    tables: Tables,
    columns: Select[Any],
    conditions: Conditions,
    order: Order,
    wanted: int,
    skip: int,
) -> list[Any]:
    build, buildset = tables.build, tables.buildset
    numbers = select(build.c.id).select_from(build.join(buildset, buildset.c.id == build.c.buildset_id))
    numbers = numbers.where(*conditions.found).order_by(order.by(order.number)).limit(wanted)
    found = (numbers.offset(skip) if skip else numbers).subquery()
    rows = columns.join(found, found.c.id == build.c.id).order_by(order.by(order.number))
    return list(connection.execute(rows).all())


class _Led:
    """The statements for databases that have to be led."""

    def __init__(
        self, connection: Connection, tables: Tables, conditions: Conditions, order: Order, wanted: int, skip: int
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._conditions = conditions
        self._order = order
        self._wanted = wanted
        self._skip = skip
        self._is_sqlite = connection.dialect.name == "sqlite"

    def near(self, cursor: int | None) -> list[int] | None:
        """The numbers, if they are all among the builds next to the cursor; None: perhaps they are not."""
        if self._skip + self._wanted > NEAR or self._is_selective():
            return None
        number, build = self._order.number, self._tables.build
        first: Any = cursor
        if cursor is None:
            extreme = func.max if self._order.descending else func.min
            other = build.alias()
            first = select(extreme(other.c.id)).scalar_subquery()
        reach = NEAR
        for _ in range(2):
            last = first - reach if self._order.descending else first + reach
            within = [number > last, number <= first] if self._order.descending else [number < last, number >= first]
            found = self._numbers(self._walking().where(*within, *self._there_are_some()))
            if len(found) == self._wanted:
                return found
            if self._skip or len(found) * FARTHER < self._wanted:
                return None
            reach = 2 * NEAR * self._wanted // len(found)  # where there should be enough of them
        return None

    def rest(self) -> list[int]:
        """The numbers, wherever they are."""
        conditions = self._conditions
        from_buildsets = conditions.chooses_buildsets or not conditions.chooses_builds
        if self._skip > NEAR or (self._is_sqlite and not from_buildsets):
            return self._numbers(self._walking())
        build, buildset = self._tables.build, self._tables.buildset
        if self._is_sqlite:
            chosen = select(buildset.c.id).where(*conditions.on_buildset)
            # Without an index of its own, SQLite would take one that has it second, and look into all of that.
            link = build.c.buildset_id if self._tables.serves(BUILD, "buildset_id") else build.c.buildset_id + 0
            return self._numbers(select(build.c.id).where(*conditions.on_build, link.in_(chosen)))
        if "uuid" in conditions.columns:
            from_buildsets = False
        first, second = (buildset, build) if from_buildsets else (build, buildset)
        joined = first.join(second, buildset.c.id == build.c.buildset_id)
        statement = select(build.c.id).prefix_with("STRAIGHT_JOIN").select_from(joined).where(*conditions.found)
        if conditions.tenant_only is not None and not conditions.chooses_buildsets:
            statement = statement.where(conditions.tenant_only)
        # `+ 0` keeps it from walking all builds by their number, in the hope of finding some soon.
        return self._numbers(statement, by=self._order.number + 0)

    def _there_are_some(self) -> list[Any]:
        """That there are such buildsets at all, as far as an index knows: asked once, before anything is walked."""
        buildset = self._tables.buildset
        return [
            exists(select(buildset.c.id).where(condition).correlate(None))
            for name, condition in self._conditions.of_column.items()
            if any(index[0] == name for index in self._tables.indexed.get(BUILDSET, ()))
        ]

    def _is_selective(self) -> bool:
        return any(
            name in self._conditions.columns
            and (self._tables.serves(BUILD, name) or self._tables.serves(BUILDSET, name))
            for name in SELECTIVE
        )

    def _walking(self) -> Select[Any]:
        build, buildset = self._tables.build, self._tables.buildset
        if self._is_sqlite:
            # Of a join it would first make a filter of all buildsets.
            mine = exists().where(buildset.c.id == build.c.buildset_id, *self._conditions.on_buildset)
            return select(build.c.id).where(*self._conditions.on_build, mine)
        walked = select(build.c.id).prefix_with("STRAIGHT_JOIN")
        walked = walked.select_from(build.join(buildset, buildset.c.id == build.c.buildset_id))
        for dialect in ("mysql", "mariadb"):
            walked = walked.with_hint(build, "USE INDEX (PRIMARY)", dialect)
        return walked.where(*self._conditions.found)

    def _numbers(self, statement: Select[Any], by: Any = None) -> list[int]:
        column = self._order.number if by is None else by
        statement = statement.order_by(self._order.by(column)).limit(self._wanted)
        found: Sequence[int] = (
            self._connection.execute(statement.offset(self._skip) if self._skip else statement).scalars().all()
        )
        return list(found)
