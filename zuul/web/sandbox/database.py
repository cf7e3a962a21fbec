# SPDX-License-Identifier: Apache-2.0
"""The tables of Zuul 3.19.1's SQL reporter, as its migrations leave them, and rows for them.

A `Report` is what the reporter writes about one item. Its builds are in the order of the configuration, and
reports are written in the order of their times, so ids grow with time as they do in a real database.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    func,
    insert,
    select,
    text,
)

ALEMBIC_REVISION = "16c1dc9054d0"
"""The last migration of 3.19.1."""

Row = dict[str, Any]


@dataclass(slots=True)
class ReportedBuild:
    """A row of `zuul_build` without its ids, and what hangs on it."""

    row: Row
    artifacts: Sequence[Row] = ()
    provides: Sequence[str] = ()


@dataclass(slots=True)
class Report:
    """A row of `zuul_buildset` without its id, and its builds."""

    row: Row
    moment: float
    """When it was written, epoch seconds."""
    builds: list[ReportedBuild] = field(default_factory=list)


class Tables:
    """The tables of one database, which may share it with others by a prefix."""

    def __init__(self, prefix: str = "") -> None:
        self.metadata = MetaData()
        self.buildset = Table(
            f"{prefix}zuul_buildset",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("zuul_ref", String(255)),
            Column("pipeline", String(255)),
            Column("project", String(255)),
            Column("change", Integer),
            Column("patchset", String(255)),
            Column("ref", String(255)),
            Column("message", Text),
            Column("tenant", String(255)),
            Column("result", String(255)),
            Column("ref_url", String(255)),
            Column("oldrev", String(255)),
            Column("newrev", String(255)),
            Column("branch", String(255)),
            Column("uuid", String(36)),
            Column("event_id", String(255)),
            Index(f"{prefix}project_pipeline_idx", "project", "pipeline"),
            Index(f"{prefix}project_change_idx", "project", "change"),
            Index(f"{prefix}change_idx", "change"),
            Index(f"{prefix}uuid_idx", "uuid"),
        )
        self.build = Table(
            f"{prefix}zuul_build",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("buildset_id", Integer, ForeignKey(self.buildset.c.id)),
            Column("uuid", String(36)),
            Column("job_name", String(255)),
            Column("result", String(255)),
            Column("start_time", DateTime),
            Column("end_time", DateTime),
            Column("voting", Boolean),
            Column("log_url", String(255)),
            Column("node_name", String(255)),
            Column("error_detail", Text),
            Index(f"{prefix}job_name_buildset_id_idx", "job_name", "buildset_id"),
            Index(f"{prefix}uuid_buildset_id_idx", "uuid", "buildset_id"),
        )
        self.artifact = Table(
            f"{prefix}zuul_artifact",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("build_id", Integer, ForeignKey(self.build.c.id)),
            Column("name", String(255)),
            Column("url", Text),
            Column("metadata", Text),
        )
        self.provides = Table(
            f"{prefix}zuul_provides",
            self.metadata,
            Column("id", Integer, primary_key=True),
            Column("build_id", Integer, ForeignKey(self.build.c.id)),
            Column("name", String(255)),
        )
        self.alembic_version = Table(
            f"{prefix}alembic_version",
            self.metadata,
            Column("version_num", String(32), nullable=False),
            PrimaryKeyConstraint("version_num", name=f"{prefix}alembic_version_pkc"),
        )

    @property
    def of_rows(self) -> tuple[Table, ...]:
        """Those that reports go to, each after the one that it refers to."""
        return self.buildset, self.build, self.artifact, self.provides

    def create(self, connection: Connection, *, indexes: bool = True) -> None:
        """Make the tables, which must not be there. Without indexes, rows are written faster."""
        late = [] if indexes else self._take_indexes()
        self.metadata.create_all(connection, checkfirst=False)
        connection.execute(insert(self.alembic_version), [{"version_num": ALEMBIC_REVISION}])
        for table, found in late:
            table.indexes.update(found)

    def create_indexes(self, connection: Connection) -> None:
        for table in self.of_rows:
            for index in sorted(table.indexes, key=lambda index: str(index.name)):
                index.create(connection)

    def drop_indexes(self, connection: Connection) -> None:
        for table in self.of_rows:
            for index in table.indexes:
                index.drop(connection)

    def _take_indexes(self) -> list[tuple[Table, set[Index]]]:
        taken = [(table, set(table.indexes)) for table in self.of_rows]
        for table in self.of_rows:
            table.indexes.clear()
        return taken


class RowWriter:
    """Writes reports within one transaction. Nobody else may write to the tables before that ends."""

    def __init__(self, connection: Connection, tables: Tables) -> None:
        self._connection = connection
        self._tables = tables
        self._last_ids = [
            connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one() for table in tables.of_rows
        ]

    def write(self, reports: Iterable[Report]) -> None:
        """One statement for each table, so there may be thousands of reports but not all of a million."""
        buildset_id, build_id, artifact_id, provides_id = self._last_ids
        rows: tuple[list[Row], ...] = ([], [], [], [])
        buildsets, builds, artifacts, provided = rows
        for report in reports:
            buildset_id += 1
            report.row["id"] = buildset_id
            buildsets.append(report.row)
            for build in report.builds:
                build_id += 1
                build.row["id"] = build_id
                build.row["buildset_id"] = buildset_id
                builds.append(build.row)
                for artifact in build.artifacts:
                    artifact_id += 1
                    artifacts.append({"id": artifact_id, "build_id": build_id, **artifact})
                for name in build.provides:
                    provides_id += 1
                    provided.append({"id": provides_id, "build_id": build_id, "name": name})
        for table, found in zip(self._tables.of_rows, rows, strict=True):
            if found:
                self._connection.execute(insert(table), found)
        self._last_ids = [buildset_id, build_id, artifact_id, provides_id]

    def finish(self) -> None:
        """Let the database count on from the ids that were written. Only PostgreSQL does not do so by itself."""
        if self._connection.dialect.name != "postgresql":
            return
        for table, last_id in zip(self._tables.of_rows, self._last_ids, strict=True):
            sequence = f"{table.name}_id_seq"
            self._connection.execute(
                text("SELECT setval(:sequence, :last_id, :used)"),
                {"sequence": sequence, "last_id": max(last_id, 1), "used": last_id > 0},
            )


def utc(moment: float | None) -> datetime.datetime | None:
    """As times are in the tables: UTC, without saying so."""
    if moment is None:
        return None
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).replace(tzinfo=None)
