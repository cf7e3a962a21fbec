# SPDX-License-Identifier: Apache-2.0
"""Databases of builds: `make_database` for tests and measurements."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from sqlalchemy import create_engine, event
from sqlalchemy.pool import NullPool

from zuul.web.sandbox.database import Report, RowWriter, Tables
from zuul.web.sandbox.model import Scenario
from zuul.web.sandbox.past import Past
from zuul.web.sandbox.scenario import load

REPORTS_AT_ONCE = 1000
YEARS_END = 1_600_000_000.0
"""When the year of `make_database` ends, unless it is told otherwise."""


def make_database(
    url: str,
    *,
    builds: int,
    seed: int = 1,
    table_prefix: str = "",
    end: float = YEARS_END,
    scenario: Scenario | None = None,
) -> None:
    """Make the tables of Zuul 3.19.1, with a year of builds, in a database that does not have them.

    :param url: SQLAlchemy's, of SQLite, PostgreSQL or MySQL.
    """
    engine = create_engine(url, poolclass=NullPool)
    tables = Tables(table_prefix)
    past = Past(scenario or load(None), builds=builds, seed=seed, end=end)
    if engine.dialect.name == "sqlite":
        # Whoever loses the power meanwhile makes it anew.
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    with engine.begin() as connection:
        tables.create(connection, indexes=False)
        writer = RowWriter(connection, tables)
        for reports in batches(past.reports()):
            writer.write(reports)
        writer.finish()
        tables.create_indexes(connection)
    engine.dispose()


def batches(reports: Iterable[Report]) -> Iterator[list[Report]]:
    iterator = iter(reports)
    while batch := list(itertools.islice(iterator, REPORTS_AT_ONCE)):
        yield batch
