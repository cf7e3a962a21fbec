# SPDX-License-Identifier: Apache-2.0
"""What a client asks for, as conditions of SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BINARY, ColumnElement, String, and_, cast, exists, false, not_, or_, type_coerce
from sqlalchemy.dialects.mysql import VARCHAR
from sqlalchemy.engine import Dialect

from zuul.web.backends.history.tables import BUILD, BUILDSET, Tables
from zuul.web.errors import BadRequest

MAX_INTEGER = 2**31 - 1
"""Of the columns that hold numbers."""
WILDCARD = "*"
ESCAPE = "!"
MOST_WILD = 100
"""Of values with a wildcard: each is looked at with each row, and SQLite takes no expression of a thousand parts."""

OF_BUILDSETS = ("project", "pipeline", "change", "branch", "patchset", "ref", "newrev", "event_id")
"""What a build has of its buildset."""
OF_BUILDS = ("uuid", "job_name", "node_name", "result")
WITH_WILDCARDS = frozenset({"project", "branch", "pipeline", "job_name"})


class Conditions:
    """What rows must be like. Each filter is a list of values, of which any will do; None asks for nothing."""

    def __init__(self, tables: Tables, dialect: Dialect) -> None:
        self.tables = tables
        self._dialect = dialect
        self._takes_capitals_for_small = dialect.name in ("mysql", "mariadb")
        self.on_build: list[ColumnElement[bool]] = []
        self._on_buildset: list[ColumnElement[bool]] = []
        self._tenant: list[ColumnElement[bool]] = []
        self.columns: set[str] = set()
        """The columns of which values are asked for exactly, so that an index may find them."""
        self.chooses_buildsets = False
        """Whether there is more about buildsets than their tenant."""
        self.of_column: dict[str, ColumnElement[bool]] = {}
        """What is asked for exactly of buildsets, by column."""
        self.chooses_builds = False
        """Whether there is more about builds than their number."""
        self.tenant_only: ColumnElement[bool] | None = None
        """For MariaDB and MySQL, what an index finds the tenant by. Most rows may be of one tenant, and then that index
        is the longest way, which they take all the same; so it is only for who asks for the tenant alone."""

    @property
    def on_buildset(self) -> list[ColumnElement[bool]]:
        """The tenant comes last: it excludes the least, and costs the most where capitals are taken for small."""
        return [*self._on_buildset, *self._tenant]

    @property
    def found(self) -> list[ColumnElement[bool]]:
        """All of them."""
        return [*self.on_build, *self.on_buildset]

    def add(self, condition: ColumnElement[bool], column: Any) -> None:
        """A condition on a column."""
        if column.table is self.tables.build:
            self.on_build.append(condition)
            self.chooses_builds = self.chooses_builds or column.name != "id"
        else:
            self._on_buildset.append(condition)
            self.chooses_buildsets = True

    def tenant(self, name: str) -> None:
        """Rows of this tenant alone."""
        column = self.tables.buildset.c.tenant
        if self._takes_capitals_for_small and _possible(name):
            self.tenant_only = column == name if name.isascii() else None
            self._tenant = [_closely(column) == name]
        else:
            self._tenant = [self._same(column, [name])]

    def filter(self, column: Any, values: Sequence[Any] | None, *, wildcards: bool = True) -> None:
        """Rows with any of these values there; of some columns, a `*` in a value stands for any text.

        :raises BadRequest: too many have one.
        """
        if values is None:
            return
        values = list(dict.fromkeys(values))
        if column.name == "change":
            self.columns.add("change")
            numbers = [value for value in values if 0 <= value <= MAX_INTEGER]
            self.add(column.in_(numbers) if numbers else false(), column)
            return
        of_any = wildcards and column.name in WITH_WILDCARDS
        values = list(dict.fromkeys(values))
        wild = [value for value in values if of_any and WILDCARD in value]
        if len(wild) > MOST_WILD:
            raise BadRequest(f"{column.name} has at most {MOST_WILD} values with a {WILDCARD}")
        exact = [value for value in values if not of_any or WILDCARD not in value]
        if not wild:
            self.columns.add(column.name)
        choices = [self._like(column, value) for value in wild if _possible(value)]
        choices += [self._same(column, exact)] if exact else []
        condition = or_(*choices) if choices else false()
        self.add(condition, column)
        if not wild and column.table is self.tables.buildset:
            self.of_column[column.name] = condition

    def exclude(self, column: Any, values: Sequence[str] | None) -> None:
        """Rows without these values; those without any value are kept."""
        if values:
            self.add(or_(column.is_(None), not_(self._same(column, values))), column)

    def flag(self, column: Any, values: Collection[bool] | None) -> None:
        """Rows where it is so, or not so."""
        if values is not None and len(set(values)) == 1:
            (wanted,) = set(values)
            self.add(column.is_(wanted) if self._dialect.name == "postgresql" else column == wanted, column)

    def ended(self, of: str, first: datetime | None, last: datetime | None) -> None:
        """Builds that ended within these times, or buildsets whose last build did."""
        build, buildset = self.tables.build, self.tables.buildset
        if of == BUILD:
            if first is not None:
                self.add(build.c.end_time >= first, build.c.end_time)
            if last is not None:
                self.add(build.c.end_time <= last, build.c.end_time)
            return
        mine = build.c.buildset_id == buildset.c.id
        if first is not None:
            self.add(exists().where(mine, build.c.end_time >= first), buildset.c.id)
        if last is not None:
            self.add(exists().where(mine, build.c.end_time <= last), buildset.c.id)
            self.add(not_(exists().where(mine, build.c.end_time > last)), buildset.c.id)

    def completed(self, of: str, wanted: Collection[bool] | None) -> None:
        """Those that have a result, or none yet. 3.19.1 writes a row when all is over."""
        if wanted is None or len(set(wanted)) != 1:
            return
        column = (self.tables.build if of == BUILD else self.tables.buildset).c.result
        if self._writes_early():
            self.add(column.is_not(None) if True in wanted else column.is_(None), column)
        elif True not in wanted:
            self.add(false(), column)

    def final(self, wanted: Collection[bool] | None) -> None:
        """Builds that no other of their job in the buildset came after. 3.19.1 writes down no others."""
        if wanted is None:
            return
        if self.tables.has(BUILD, "final"):
            self.flag(self.tables.build.c.final, wanted)
        elif True not in wanted:
            self.add(false(), self.tables.build.c.id)

    def held(self, wanted: Collection[bool] | None, uuids: Collection[str]) -> None:
        """Builds whose nodes are held.

        :param uuids: of those, by the scheduler's holds, where the database does not have it.
        """
        if wanted is None or len(set(wanted)) != 1:
            return
        if self.tables.has(BUILD, "held"):
            self.flag(self.tables.build.c.held, wanted)
            return
        column = self.tables.build.c.uuid
        if True in wanted:
            self.columns.add("uuid")
            self.add(column.in_(sorted(uuids)) if uuids else false(), column)
        elif uuids:
            self.add(or_(column.is_(None), column.not_in(sorted(uuids))), column)

    def _writes_early(self) -> bool:
        """Whether there are rows of what is still going on, as from 4.x on."""
        return self.tables.has(BUILD, "final") or self.tables.has(BUILDSET, "event_timestamp")

    def _same(self, column: Any, values: Sequence[str]) -> ColumnElement[bool]:
        possible = [value for value in values if _possible(value)]
        if not possible:
            return false()
        found: ColumnElement[bool] = column == possible[0] if len(possible) == 1 else column.in_(possible)
        if not self._takes_capitals_for_small:
            return found
        # There `=` takes capitals for small letters, and does not mind spaces at the end. It finds rows by an index;
        # the second comparison looks closely. Columns that are not in Unicode refuse to be compared with all letters.
        closely = _closely(column).in_(possible)
        return and_(found, closely) if all(value.isascii() for value in possible) else closely

    def _like(self, column: Any, value: str) -> ColumnElement[bool]:
        if self._dialect.name == "sqlite":  # whose LIKE takes capitals for small letters
            pattern = "".join(f"[{c}]" if c in "?[" else c for c in value)
            return column.op("GLOB", is_comparison=True)(pattern)  # type: ignore[no-any-return]
        pattern = value
        for special in (ESCAPE, "%", "_"):
            pattern = pattern.replace(special, ESCAPE + special)
        if self._takes_capitals_for_small:
            column = _closely(column)
        return column.like(pattern.replace(WILDCARD, "%"), escape=ESCAPE)  # type: ignore[no-any-return]


def _closely(column: Any) -> Any:
    """The bytes of its letters, whatever the column's own order of letters takes for the same."""
    return type_coerce(cast(cast(column, VARCHAR(255, charset="utf8mb4")), BINARY), String)


def _possible(value: str) -> bool:
    """Whether a database can have the text: not with a NUL, nor with half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value
