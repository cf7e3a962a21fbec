# SPDX-License-Identifier: Apache-2.0
"""What is read of one database: builds and buildsets as plain dicts, in a fixed number of statements.

A page of builds takes three to six, whatever its length: one to four for the builds with what they have of their
buildsets (walks.py), one for their artifacts, and one for what they provide. Times stay datetimes, naive and UTC as the
scheduler's SQL reporter writes them.
"""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.engine import Connection

from zuul.web.backends.history.filters import MAX_INTEGER, OF_BUILDS, OF_BUILDSETS, Conditions
from zuul.web.backends.history.pages import Order, page
from zuul.web.backends.history.tables import BUILD, BUILDSET, LATER, Tables
from zuul.web.backends.history.walks import find_builds, find_buildsets
from zuul.web.backends.replies import Listing
from zuul.web.resources.history_queries import BuildQuery, BuildsetQuery, BuildTimesQuery, OfItems

Record = dict[str, Any]

BUILD_COLUMNS = ("uuid", "job_name", "result", "start_time", "end_time", "voting", "log_url", "node_name",
                 "error_detail")  # fmt: skip
ITEM_COLUMNS = ("project", "branch", "pipeline", "change", "patchset", "ref", "newrev", "ref_url", "event_id")

NUMBER_DIGITS = len(str(MAX_INTEGER))


class Reading:
    """Questions to one database on behalf of one tenant, over a connection that is lent for a moment."""

    def __init__(self, connection: Connection, tables: Tables, tenant: str) -> None:
        self._connection = connection
        self._tables = tables
        self._tenant = tenant

    def builds(self, query: BuildQuery, held: Collection[str] = ()) -> Listing:
        """A page of builds.

        :param held: the uuids of builds that holds keep now.
        """
        tables = self._tables
        conditions = self._conditions(BUILD, query)
        for name in OF_BUILDS:
            if name != "result":
                conditions.filter(tables.build.c[name], getattr(query, name))
        conditions.flag(tables.build.c.voting, query.voting)
        conditions.final(query.final)
        conditions.held(query.held, held)
        order = Order(tables, BUILD, query)
        rows, listing = page(
            self._connection,
            order,
            query,
            conditions,
            self._builds,
            lambda marker: self._place(order, marker),
            partial(find_builds, self._connection, tables),
        )
        listing.rows.extend(self._with_what_they_left(rows))
        return listing

    def build(self, uuid: str) -> Record | None:
        """One build; of several with this uuid, the last."""
        conditions = self._conditions(BUILD)
        conditions.filter(self._tables.build.c.uuid, [uuid])
        statement = self._builds().where(*conditions.found).order_by(self._tables.build.c.id.desc()).limit(1)
        found = self._with_what_they_left(self._connection.execute(statement).all())
        return found[0] if found else None

    def latest(self, query: BuildTimesQuery) -> list[Record]:
        """The newest build of each job, project, branch and pipeline, in the order of their names."""
        tables = self._tables
        names = (tables.build.c.job_name, *(tables.buildset.c[name] for name in ("project", "branch", "pipeline")))
        numbers = self._joined(select(func.max(tables.build.c.id)), BUILD)
        numbers = numbers.where(*self._build_conditions(query).found).group_by(*names).order_by(*names)
        numbers = numbers.limit(query.limit).offset(query.skip or 0)
        chosen = self._connection.execute(numbers).scalars().all()
        rows = self._connection.execute(self._builds().where(tables.build.c.id.in_(chosen))).all() if chosen else []
        by_number = {row.id: row for row in rows}
        return self._with_what_they_left([by_number[number] for number in chosen if number in by_number])

    def build_times(self, query: BuildTimesQuery) -> list[Record]:
        """Builds in few words; those that ended last come first."""
        tables = self._tables
        buildset = tables.buildset.c
        columns = [tables.build.c[name] for name in ("id", "uuid", "job_name", "result", "start_time", "end_time")]
        columns += [buildset[name] for name in ("project", "branch", "pipeline", "ref")]
        if tables.has(BUILD, "final"):
            columns.append(tables.build.c.final)
        statement = self._joined(select(*columns), BUILD).where(*self._build_conditions(query).found)
        # Without an index, rows come in the order in which they were reported, which is about the same.
        by = tables.build.c.end_time if tables.serves(BUILD, "end_time") else tables.build.c.id
        if by is tables.build.c.end_time:
            statement = statement.where(by.is_not(None))
        # By number too, so that pages are in one order: what never ran ends with its buildset.
        order = dict.fromkeys((by, tables.build.c.id))
        statement = statement.order_by(*(column.desc() for column in order)).limit(query.limit).offset(query.skip or 0)
        rows = self._connection.execute(statement).all() if query.limit else []
        return [{"final": True, **_record(row), "duration": _duration(row)} for row in rows]

    def durations(self, job: str, query: OfItems, most: int) -> list[tuple[str | None, float | None]]:
        """Result and seconds of the newest builds of a job, at most so many."""
        build = self._tables.build.c
        conditions = self._conditions(BUILD, query)
        conditions.filter(build.job_name, [job], wildcards=False)
        statement = self._joined(select(build.result, build.start_time, build.end_time), BUILD)
        statement = statement.where(*conditions.found).order_by(build.id.desc()).limit(most)
        return [(row.result, _duration(row)) for row in self._connection.execute(statement)]

    def buildsets(self, query: BuildsetQuery) -> Listing:
        """A page of buildsets."""
        buildset = self._tables.buildset
        conditions = self._conditions(BUILDSET, query)
        conditions.filter(buildset.c.uuid, query.uuid)
        order = Order(self._tables, BUILDSET, query)
        rows, listing = page(
            self._connection,
            order,
            query,
            conditions,
            self._buildsets,
            lambda marker: self._place(order, marker),
            partial(find_buildsets, self._connection),
        )
        listing.rows.extend(self._with_times([_record(row) for row in rows]))
        return listing

    def buildset(self, uuid: str) -> Record | None:
        """One buildset with its builds; of several with this uuid, the last."""
        tables = self._tables
        conditions = self._conditions(BUILDSET)
        conditions.filter(tables.buildset.c.uuid, [uuid])
        statement = self._buildsets().where(*conditions.found).order_by(tables.buildset.c.id.desc()).limit(1)
        row = self._connection.execute(statement).first()
        if row is None:
            return None
        columns = [tables.build.c[name] for name in ("id", *BUILD_COLUMNS, *sorted(tables.later[BUILD]))]
        of_it = select(*columns).where(tables.build.c.buildset_id == row.id).order_by(tables.build.c.id)
        found = _record(row)
        found["builds"] = self._with_what_they_left(self._connection.execute(of_it).all())
        found.setdefault("first_build_start_time", _extreme(min, found["builds"], "start_time"))
        found.setdefault("last_build_end_time", _extreme(max, found["builds"], "end_time"))
        return found

    # -- statements

    def _conditions(self, of: str, query: OfItems | None = None) -> Conditions:
        conditions = Conditions(self._tables, self._connection.dialect)
        conditions.tenant(self._tenant)
        if query is not None:
            for name in OF_BUILDSETS:
                conditions.filter(self._tables.buildset.c[name], getattr(query, name))
            table = self._tables.build if of == BUILD else self._tables.buildset
            conditions.filter(table.c.result, query.result)
            conditions.exclude(table.c.result, query.exclude_result)
            conditions.completed(of, query.complete)
            conditions.ended(of, query.start_time, query.end_time)
        return conditions

    def _build_conditions(self, query: BuildTimesQuery) -> Conditions:
        conditions = self._conditions(BUILD, query)
        conditions.filter(self._tables.build.c.job_name, query.job_name)
        conditions.final(query.final)
        conditions.completed(BUILD, [True])
        return conditions

    def _builds(self) -> Select[Any]:
        tables = self._tables
        columns = [tables.build.c[name] for name in ("id", *BUILD_COLUMNS, *sorted(tables.later[BUILD]))]
        columns += [tables.buildset.c[name] for name in ITEM_COLUMNS]
        return self._joined(select(*columns, tables.buildset.c.uuid.label("buildset_uuid")), BUILD)

    def _buildsets(self) -> Select[Any]:
        buildset = self._tables.buildset
        names = ("id", "uuid", "result", "message", *ITEM_COLUMNS)
        later = [name for name, _ in LATER[BUILDSET] if name != "event_timestamp" and self._tables.has(BUILDSET, name)]
        return select(*(buildset.c[name] for name in (*names, *later)))

    def _joined(self, statement: Select[Any], table: str) -> Select[Any]:
        build, buildset = self._tables.build, self._tables.buildset
        return statement.select_from(build.join(buildset, buildset.c.id == build.c.buildset_id))

    def _place(self, order: Order, marker: str) -> Select[Any]:
        """Of the row with this uuid or number; uuids are longer, even one of digits alone."""
        table = order.number.table
        value = order.column if order.column is not None else order.number
        statement = select(value, order.number)
        if table is self._tables.build:
            statement = self._joined(statement, BUILD)
        conditions = self._conditions(BUILD)
        if re.fullmatch(f"[0-9]{{1,{NUMBER_DIGITS}}}", marker):
            conditions.add(order.number == min(int(marker), MAX_INTEGER), order.number)
        else:
            conditions.filter(table.c.uuid, [marker])
        return statement.where(*conditions.found).order_by(order.number.desc()).limit(1)

    def _with_what_they_left(self, rows: Sequence[Any]) -> list[Record]:
        """Records of builds, with artifacts and what they provide."""
        numbers = [row.id for row in rows]
        artifacts, provides = self._artifacts(numbers), self._provides(numbers)
        found = []
        for row in rows:
            record = _record(row)
            number = record["_id"]
            record["duration"] = _duration(row)
            record["artifacts"] = artifacts[number]
            record["provides"] = provides[number]
            if "buildset_uuid" in record:
                record["buildset"] = {"uuid": record.pop("buildset_uuid")}
            found.append(record)
        return found

    def _artifacts(self, numbers: Sequence[int]) -> dict[int, list[Record]]:
        artifact = self._tables.artifact.c
        found: dict[int, list[Record]] = defaultdict(list)
        if numbers:
            statement = select(artifact.build_id, artifact.name, artifact.url, artifact.metadata)
            for row in self._connection.execute(statement.where(artifact.build_id.in_(numbers)).order_by(artifact.id)):
                record = {"name": row.name, "url": row.url}
                metadata = _decoded(row.metadata)
                if metadata is not None:
                    record["metadata"] = metadata
                found[row.build_id].append(record)
        return found

    def _provides(self, numbers: Sequence[int]) -> dict[int, list[Record]]:
        provides = self._tables.provides.c
        found: dict[int, list[Record]] = defaultdict(list)
        if numbers:
            statement = select(provides.build_id, provides.name).where(provides.build_id.in_(numbers))
            for row in self._connection.execute(statement.order_by(provides.id)):
                found[row.build_id].append({"name": row.name})
        return found

    def _with_times(self, records: list[Record]) -> list[Record]:
        """Buildsets with when their builds began and ended, where that is quickly found."""
        build = self._tables.build.c
        if not records or "last_build_end_time" in records[0] or not self._tables.serves(BUILD, "buildset_id"):
            return records
        numbers = [record["_id"] for record in records]
        statement = select(build.buildset_id, func.min(build.start_time), func.max(build.end_time))
        statement = statement.where(build.buildset_id.in_(numbers)).group_by(build.buildset_id)
        times = {number: (first, last) for number, first, last in self._connection.execute(statement)}
        for record in records:
            first, last = times.get(record["_id"], (None, None))
            record.update(first_build_start_time=first, last_build_end_time=last)
        return records


def _record(row: Any) -> Record:
    record = dict(row._mapping)
    record["_id"] = record.pop("id")
    return record


def _duration(row: Any) -> float | None:
    """Seconds that a build took."""
    if row.start_time is None or row.end_time is None:
        return None
    return float((row.end_time - row.start_time).total_seconds())


def _decoded(metadata: str | None) -> Record | None:
    """The object that a job wrote of an artifact; None for what is none. JSON knows no NaN and no infinity."""
    try:
        found = json.loads(metadata, parse_constant=lambda _: None, parse_float=_finite) if metadata else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _extreme(choose: Any, builds: Iterable[Record], name: str) -> Any:
    times = [build[name] for build in builds if build[name] is not None]
    return choose(times) if times else None
