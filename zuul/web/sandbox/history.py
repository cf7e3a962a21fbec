# SPDX-License-Identifier: Apache-2.0
"""The database of builds that a sandbox keeps while it runs, in an SQLite file; and databases for tests."""

from __future__ import annotations

import collections
import datetime
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from functools import partial

from sqlalchemy import Connection, Engine, create_engine, event, func, inspect, select
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from zuul.web.sandbox.changes import FIRST_CHANGE
from zuul.web.sandbox.database import ALEMBIC_REVISION, Report, RowWriter, Tables
from zuul.web.sandbox.model import Scenario
from zuul.web.sandbox.past import Past
from zuul.web.sandbox.scenario import load

log = logging.getLogger("zuul.web.sandbox")

REPORTS_AT_ONCE = 500
MAX_WAITING = 10_000
"""Reports that wait while the past is written. What is more is lost."""
LATEST_BUILDS = 100
"""More than a buildset has; one of these was the last to end."""
BUSY_SECONDS = 5.0
"""How long a write waits for that of another process, which only a file that is kept can have."""
STOP_SECONDS = 10.0
CACHE_KIBIBYTES = 65536
SWITCH_SECONDS = 0.0005
"""How long Python's other threads wait for this one, while it makes up the past. With Python's own 5 ms the start of a
sandbox, and each answer, would take several times as long."""
YEARS_END = 1_600_000_000.0
"""When the year of `make_database` ends, unless it is told otherwise."""


class HistoryError(ValueError):
    """A file that cannot be the database, in one sentence for the person who named it."""


class History:
    """Writes a year of builds, then what the simulation reports. Who reads the file is never kept waiting.

    The tables are there when `start` returns. The past comes in one transaction of the thread that it starts, so
    it is seen as a whole or not at all, and what is reported meanwhile waits, as its ids come after.
    """

    def __init__(self, scenario: Scenario, *, builds: int, end: float, file: str | None = None, seed: int = 1) -> None:
        """:param end: when the past ends, epoch seconds.
        :param file: kept, and used as it is if it has builds; None: a file that goes with the sandbox.
        :raises HistoryError: the file is something else, or cannot be written.
        """
        self._make_past = partial(Past, scenario, builds=builds, seed=seed, end=end)
        self._file = file
        self._tables = Tables()
        self._changed = threading.Condition()
        self._waiting: collections.deque[Report] = collections.deque()
        self._lost = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.seed = seed
        """For the simulation: another one than that of former runs, which have left their uuids in the file."""
        self.first_change = FIRST_CHANGE
        """For the simulation: higher than all that there are."""
        self._last_moment = 0.0
        self._has_tables = self._has_builds = False
        if file is not None:
            self._look_at(file)

    @property
    def url(self) -> str:
        """SQLAlchemy's, once there is a file."""
        assert self._file is not None
        return _url(self._file)

    def start(self, folder: str, past_after_seconds: float = 0) -> None:
        """:param folder: for a file that is not to be kept.
        :param past_after_seconds: until then nothing is made up, as others are just starting.
        """
        self._past_after_seconds = past_after_seconds
        self._file = self._file or os.path.join(folder, "zuul.sqlite")
        self._engine = _engine(self._file)
        if not self._has_tables:
            with self._engine.begin() as connection:
                self._tables.create(connection)
        self._thread = threading.Thread(target=self._run, name="sandbox-history", daemon=True)
        self._thread.start()

    def append(self, report: Report) -> None:
        """Have a report written soon. Does not wait; from any thread, also before `start`."""
        if report.moment < self._last_moment:
            return  # of a time that a former run has reported already
        with self._changed:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.append(report)
                self._changed.notify()
                return
            self._lost += 1
            if self._lost == 1:
                log.warning("builds end faster than they can be written; some will not be in the history")

    def stop(self) -> None:
        """Write what waits, unless the past is not there yet; that is given up, and made anew in the next run."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread:
            self._thread.join(STOP_SECONDS)

    def _look_at(self, file: str) -> None:
        folder = os.path.dirname(os.path.abspath(file))
        if any(character in "?%" or not character.isprintable() for character in file):
            raise HistoryError(f"{file!r}: the name of the history file must have no ? and no % in it")
        if not os.path.isdir(folder):
            raise HistoryError(f"{file}: the folder of the history file does not exist")
        self._file = os.path.abspath(file)
        if not os.path.exists(file):
            if not os.access(folder, os.W_OK):
                raise HistoryError(f"{file}: the history file cannot be made: Permission denied")
            return
        if not os.path.isfile(file) or not os.access(file, os.R_OK | os.W_OK):
            raise HistoryError(f"{file}: the history file must be a file that can be written")
        try:
            with create_engine(_url(self._file), poolclass=NullPool).connect() as connection:
                self._has_tables = self._are_ours(connection)
                if self._has_tables:
                    self._go_on_after(connection)
        except DBAPIError as error:
            raise HistoryError(f"{file}: the history file cannot be read: {error.orig}") from error

    def _are_ours(self, connection: Connection) -> bool:
        """False: it is a database without any tables."""
        found = inspect(connection)
        names = set(found.get_table_names())
        if not names:
            return False
        for table in self._tables.metadata.sorted_tables:
            if table.name not in names or {column["name"] for column in found.get_columns(table.name)} != set(
                table.columns.keys()
            ):
                raise HistoryError(f"{self._file}: the history file has other tables than those of Zuul 3.19.1")
        if connection.execute(select(self._tables.alembic_version)).scalars().all() != [ALEMBIC_REVISION]:
            raise HistoryError(f"{self._file}: the history file has the tables of another Zuul than 3.19.1")
        return True

    def _go_on_after(self, connection: Connection) -> None:
        buildset = self._tables.buildset
        last_id, last_change = connection.execute(
            select(func.coalesce(func.max(buildset.c.id), 0), func.coalesce(func.max(buildset.c.change), 0))
        ).one()
        self._has_builds = last_id > 0
        self.seed += last_id
        self.first_change = max(last_change, FIRST_CHANGE)
        build = self._tables.build
        latest = select(build.c.end_time).order_by(build.c.id.desc()).limit(LATEST_BUILDS)
        ends = [end for end in connection.execute(latest).scalars() if end]
        if ends:
            self._last_moment = max(ends).replace(tzinfo=datetime.timezone.utc).timestamp()

    # In the thread

    def _run(self) -> None:
        try:
            if not self._has_builds and not self._write_past():
                return
        except Exception:
            log.exception("the past could not be written")
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                reports = list(self._waiting)
                self._waiting.clear()
            if not reports:
                break
            try:
                with self._engine.begin() as connection:
                    RowWriter(connection, self._tables).write(reports)
            except Exception:
                log.exception("%d buildsets could not be written", len(reports))
        self._engine.dispose()

    def _write_past(self) -> bool:
        """False: nothing was written, as there is no time."""
        with self._changed:
            if self._changed.wait_for(lambda: self._stopping, self._past_after_seconds):
                return False
        began = time.monotonic()
        interval = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            written = self._write_past_at_once()
        finally:
            sys.setswitchinterval(interval)
        log.info("writing the past took %.1f s", time.monotonic() - began)
        return written

    def _write_past_at_once(self) -> bool:
        with self._engine.begin() as connection:
            connection.exec_driver_sql(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
            self._tables.drop_indexes(connection)
            writer = RowWriter(connection, self._tables)
            for reports in _batches(self._make_past().reports()):
                if self._stopping:
                    connection.rollback()
                    return False
                writer.write(reports)
            self._tables.create_indexes(connection)
        return True


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

    The same arguments make the same rows.

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
        for reports in _batches(past.reports()):
            writer.write(reports)
        writer.finish()
        tables.create_indexes(connection)


def _batches(reports: Iterable[Report]) -> Iterator[list[Report]]:
    iterator = iter(reports)
    while batch := list(itertools.islice(iterator, REPORTS_AT_ONCE)):
        yield batch


def _url(file: str) -> str:
    return URL.create("sqlite", database=file).render_as_string()


def _engine(file: str) -> Engine:
    """With a write-ahead log, so that who reads sees what was there before, while somebody writes."""
    engine = create_engine(_url(file), poolclass=NullPool, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def prepare(connection, _):  # type: ignore[no-untyped-def]
        connection.isolation_level = None  # sqlite3 begins no transactions by itself; see "begin"
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
