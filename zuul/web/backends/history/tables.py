# SPDX-License-Identifier: Apache-2.0
"""The tables that Zuul's SQL reporter writes, as far as we read them.

Declared are the columns of 3.19.1. Later releases, up to 4.12, have more of them; `Tables.of` looks which are there.
What else a database holds is none of our business, and nothing here is ever written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Boolean, Column, DateTime, Integer, MetaData, String, Table, Text, inspect
from sqlalchemy.engine import Connection

BUILDSET = "zuul_buildset"
BUILD = "zuul_build"
ARTIFACT = "zuul_artifact"
PROVIDES = "zuul_provides"

LATER = {
    BUILDSET: (
        ("event_timestamp", DateTime),
        ("first_build_start_time", DateTime),
        ("last_build_end_time", DateTime),
    ),
    BUILD: (("final", Boolean), ("held", Boolean), ("nodeset", String)),
}
"""Columns that came after 3.19.1."""


class Index(NamedTuple):
    """An index that makes reading fast, and which answers want it."""

    table: str
    columns: tuple[str, ...]
    purpose: str

    def statement(self, prefix: str) -> str:
        """The SQL that makes it, on all databases alike."""
        name = f"{prefix}{self.table.removeprefix('zuul_')}_{'_'.join(self.columns)}_rest_idx"
        return f"CREATE INDEX {name} ON {prefix}{self.table} ({', '.join(self.columns)})"


RECOMMENDED = (
    Index(ARTIFACT, ("build_id",), "all lists of builds"),
    Index(PROVIDES, ("build_id",), "all lists of builds"),
    Index(BUILD, ("buildset_id",), "builds of a project or change; a buildset"),
    Index(BUILD, ("end_time",), "builds by time; statistics"),
    Index(BUILDSET, ("ref",), "builds of a ref"),
    Index(BUILDSET, ("newrev",), "builds of a commit"),
)
"""What upstream's schema lacks. PostgreSQL and SQLite make no index for a foreign key; MariaDB and MySQL do."""


@dataclass(frozen=True)
class Tables:
    """The tables of one database.

    :param later: the columns beyond those of 3.19.1 that it has, by table without its prefix.
    :param indexed: the columns of each of its indexes, in their order, by table without its prefix.
    """

    buildset: Table
    build: Table
    artifact: Table
    provides: Table
    prefix: str = ""
    later: dict[str, frozenset[str]] = field(default_factory=dict)
    indexed: dict[str, tuple[tuple[str, ...], ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, connection: Connection, prefix: str) -> Tables:
        """The tables as this database has them."""
        inspector = inspect(connection)
        later = {}
        indexed = {}
        for table in (BUILDSET, BUILD, ARTIFACT, PROVIDES):
            name = f"{prefix}{table}"
            there = {column["name"] for column in inspector.get_columns(name)}
            later[table] = frozenset(column for column, _ in LATER.get(table, ()) if column in there)
            key = tuple(inspector.get_pk_constraint(name)["constrained_columns"])
            indexed[table] = (
                key,
                *(tuple(str(column) for column in index["column_names"]) for index in inspector.get_indexes(name)),
            )
        return cls.declared(prefix, later, indexed)

    @classmethod
    def declared(
        cls,
        prefix: str = "",
        later: dict[str, frozenset[str]] | None = None,
        indexed: dict[str, tuple[tuple[str, ...], ...]] | None = None,
    ) -> Tables:
        """The tables without a look at a database."""
        later = later or {}
        metadata = MetaData()

        def table(name: str, *columns: Column[object]) -> Table:
            more: list[Column[Any]] = [
                Column(column, of) for column, of in LATER.get(name, ()) if column in later.get(name, ())
            ]
            return Table(f"{prefix}{name}", metadata, Column("id", Integer, primary_key=True), *columns, *more)

        return cls(
            table(BUILDSET, *_text("uuid", "zuul_ref", "pipeline", "project", "branch"), Column("change", Integer),
                  *_text("patchset", "ref", "oldrev", "newrev", "ref_url", "result", "tenant", "event_id"),
                  Column("message", Text)),
            table(BUILD, Column("buildset_id", Integer), *_text("uuid", "job_name", "result"),
                  Column("start_time", DateTime), Column("end_time", DateTime), Column("voting", Boolean),
                  *_text("log_url", "node_name"), Column("error_detail", Text)),
            table(ARTIFACT, Column("build_id", Integer), *_text("name"), Column("url", Text), Column("metadata", Text)),
            table(PROVIDES, Column("build_id", Integer), *_text("name")),
            prefix,
            later,
            indexed or {},
        )  # fmt: skip

    def has(self, table: str, column: str) -> bool:
        """Whether it has a column that came after 3.19.1."""
        return column in self.later.get(table, ())

    def serves(self, table: str, *columns: str) -> bool:
        """Whether an index begins with these columns."""
        return any(index[: len(columns)] == columns for index in self.indexed.get(table, ()))

    def missing(self) -> list[Index]:
        """The recommended indexes that it has not, and nothing like them."""
        return [index for index in RECOMMENDED if not self.serves(index.table, *index.columns)]


def _text(*names: str) -> Iterable[Column[object]]:
    return [Column(name, String) for name in names]
