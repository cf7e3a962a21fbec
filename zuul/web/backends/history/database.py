# SPDX-License-Identifier: Apache-2.0
"""One database: its connections, how long anything may take, and what is said while it is away.

Connections belong to SQLAlchemy's pool, each to one thread at a time. All else here is guarded by one lock, which
nobody holds while they wait for the database. A child of a fork makes connections of its own.

Nothing waits without an end. A connection is given `CONNECT_SECONDS`, a statement what `[rest] sql_timeout` says, and
the database itself is told so where it can be (PostgreSQL, MariaDB, MySQL). While it is away, one request a second
tries it, and all others are told at once; so threads are left for what needs no database.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchTableError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from zuul.web.backends.history.tables import Tables
from zuul.web.errors import Timeout, Unavailable

log = logging.getLogger("zuul.web.history")

T = TypeVar("T")

CONNECT_SECONDS = 5
RECYCLE_SECONDS = 300
"""The age from which a connection is made anew: firewalls forget them."""
AWAY_SECONDS = 1.0
"""How long a database that was away is taken to be still away."""
LOOK_SECONDS = 600.0
"""How long we trust a look at columns and indexes; somebody may add some."""
WAITING = 4
"""How many requests may wait for each connection. More are told to come back."""
SQLITE_STEPS = 20_000
"""Of SQLite's virtual machine, between two looks at the clock: about a millisecond."""

POSTGRESQL_CANCELED = "57014"
MARIADB_TIMEOUT, MYSQL_TIMEOUT = 1969, 3024

PACKAGES = {
    "mysqldb": "mysqlclient",
    "pymysql": "PyMySQL",
    "psycopg": "psycopg[binary]",
    "psycopg2": "psycopg2-binary",
}
"""What to install for a driver of SQLAlchemy's, where it is not called the same."""

DRIVERS = {"postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
"""What reads a URL that names no driver: those that come with us. SQLAlchemy's own choice changes with its versions."""


class Database:
    """Reads from one database. Safe for threads.

    :param dburi: as `[connection] dburi` has it.
    :param timeout_seconds: for each statement, and for a free connection.
    :param connections: how many there are at most.
    """

    def __init__(self, dburi: str, *, table_prefix: str = "", timeout_seconds: float, connections: int) -> None:
        self._dburi = dburi
        self._prefix = table_prefix
        self._timeout_seconds = timeout_seconds
        self._connections = connections
        self._start_anew()
        method = weakref.WeakMethod(self._start_anew)
        os.register_at_fork(after_in_child=lambda: (anew := method()) and anew())

    def _start_anew(self) -> None:
        """As if nobody had asked yet. The connections of a parent are left to it."""
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._tables: Tables | None = None
        self._look_again = 0.0
        self._inside = 0
        self._away: str | None = None
        self._try_again = 0.0
        self._trying = False
        self._since = time.time()
        self._asked = False

    def read(self, work: Callable[[Connection, Tables], T]) -> T:
        """What `work` makes of a connection and the tables. It may be called twice, so it only reads.

        :raises Unavailable: the database is away, or has too much to do.
        :raises Timeout: a statement took too long.
        """
        began = time.monotonic()
        with self._turn():
            try:
                return self._try(work)
            except DBAPIError as error:
                # One that hangs would hang again.
                if not error.connection_invalidated or time.monotonic() - began > self._timeout_seconds:
                    raise self._translated(error) from None
            try:  # the connection was of a database that has been restarted, and so were all others
                return self._try(work)
            except DBAPIError as error:
                raise self._translated(error) from None

    def _try(self, work: Callable[[Connection, Tables], T]) -> T:
        try:
            with self._connected() as connection:
                tables = self._tables_of(connection)
                _deadline(connection, self._timeout_seconds)
                return work(connection, tables)
        except PoolTimeout:
            raise Unavailable("the database has too much to do; try again") from None
        except NoSuchTableError as error:
            raise Unavailable(f"the database has no table {error}; is it Zuul's?") from None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            engine = self._made_engine()
        except Unavailable as error:
            raise self._gone(str(error)) from None
        try:
            connection = engine.connect()
        except DBAPIError as error:
            # Not `from error`: it may quote the password.
            raise self._gone(without_password(str(error.orig), engine.url)) from None
        with connection:
            self._there()
            yield connection

    def _made_engine(self) -> Engine:
        with self._lock:
            if self._engine is None:
                self._engine = make_engine(
                    self._dburi, timeout_seconds=self._timeout_seconds, connections=self._connections
                )
            return self._engine

    def _tables_of(self, connection: Connection) -> Tables:
        with self._lock:
            if self._tables is not None and time.monotonic() < self._look_again:
                return self._tables
        _deadline(connection, self._timeout_seconds)
        found = Tables.of(connection, self._prefix)
        with self._lock:
            self._tables, self._look_again = found, time.monotonic() + LOOK_SECONDS
        return found

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Bounds those who are inside, and lets one of them try a database that was away."""
        with self._lock:
            self._asked = True
            if self._away is not None and (self._trying or time.monotonic() < self._try_again):
                raise Unavailable(self._away)
            if self._inside >= self._connections * (1 + WAITING):
                raise Unavailable("the database has too much to do; try again")
            mine = self._trying = self._away is not None
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if mine:
                    self._trying = False

    def _gone(self, words: str) -> Unavailable:
        with self._lock:
            if self._away is None:
                self._since = time.time()
                log.warning("the database is away: %s", words)
            self._away = "the database does not answer; the log of zuul-rest has the reason"
            self._try_again = time.monotonic() + AWAY_SECONDS
            self._look_again = 0.0
            return Unavailable(self._away)

    def _there(self) -> None:
        with self._lock:
            if self._away is not None:
                self._since = time.time()
                log.info("the database is there again")
            self._away = None

    def _translated(self, error: DBAPIError) -> Unavailable | Timeout:
        words = without_password(str(error.orig), make_url(self._dburi))
        if error.connection_invalidated:
            return self._gone(words)
        if _took_too_long(error):
            return Timeout(
                f"the database has not found it within {self._timeout_seconds:g} s; ask for less, or see "
                "`zuul-rest check` for indexes that it lacks"
            )
        log.warning("the database refused a statement: %s", words)
        with self._lock:
            self._look_again = 0.0  # a column may be gone
        return Unavailable("the database refused to answer; the log of zuul-rest has the reason")

    def state(self) -> dict[str, Any]:
        """How it was when it was asked last: `state` is up, down or unknown; `since`, in epoch seconds."""
        with self._lock:
            state = "down" if self._away is not None else "up" if self._asked else "unknown"
            return {"state": state, "since": self._since, "reason": self._away}

    def close(self) -> None:
        """Close what nobody uses now, and the rest when it comes back."""
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()


def make_engine(dburi: str, *, timeout_seconds: float, connections: int) -> Engine:
    """An engine that only reads, whose connections know their deadlines.

    :raises Unavailable: the URL is none, its file does not exist, or its driver is not installed.
    """
    url = read_url(dburi)
    driver = url.get_driver_name()
    if url.get_backend_name() == "sqlite":
        # Asking for a URI keeps SQLite from making the file.
        url = URL.create(
            url.drivername, database=f"file:{quote(url.database or '')}", query={"mode": "rw", "uri": "true"}
        )
    try:
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=timeout_seconds,
            pool_use_lifo=True,
            pool_recycle=RECYCLE_SECONDS,
            isolation_level="AUTOCOMMIT",
            connect_args=_connect_options(driver, timeout_seconds),
        )
    except ImportError:
        package = PACKAGES.get(driver, driver)
        raise Unavailable(f"the driver {driver} is not installed here; pip install '{package}'") from None
    if driver == "psycopg":
        # First of all, since SQLAlchemy asks each new connection for something of its own.
        event.listen(
            engine, "connect", lambda connection, _: _have_patience(connection, timeout_seconds + 2), insert=True
        )
    event.listen(engine, "connect", _preparation(url.get_backend_name(), timeout_seconds))
    return engine


def read_url(dburi: str) -> URL:
    """The URL of a dburi.

    :raises Unavailable: it is none that SQLAlchemy knows, or of a file that does not exist.
    """
    try:
        url = make_url(dburi)
        if url.drivername in DRIVERS:
            url = url.set(drivername=f"{url.drivername}+{DRIVERS[url.drivername]}")
        url.get_dialect()
    except (ArgumentError, ValueError, SQLAlchemyError):
        # Not `from error`: these errors may quote the password.
        raise Unavailable("dburi must be the URL of a database that SQLAlchemy knows; correct it") from None
    if url.get_backend_name() == "sqlite" and not os.path.exists(url.database or ""):
        raise Unavailable(f"there is no file {url.database}; correct dburi")
    return url


def _connect_options(driver: str, timeout_seconds: float) -> dict[str, Any]:
    """Of the drivers that know such options; others have the deadlines of their own."""
    patience = int(timeout_seconds) + 2
    if driver in ("psycopg2", "psycopg"):
        # psycopg would prepare a statement from its sixth execution on, and PostgreSQL then plan it for any values.
        custom_plans = {"prepare_threshold": None} if driver == "psycopg" else {}
        alive = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 2}
        return {"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": patience * 1000, **alive, **custom_plans}
    if driver in ("pymysql", "mysqldb"):
        deadlines = {"connect_timeout": CONNECT_SECONDS, "read_timeout": patience, "write_timeout": patience}
        return {**deadlines, "charset": "utf8mb4"}  # so that any letter can be asked for
    if driver == "pysqlite":
        return {"timeout": timeout_seconds, "check_same_thread": False}
    return {}


def _have_patience(connection: Any, seconds: float) -> None:
    """Have a connection of psycopg's close itself when a database that hangs does not answer.

    The database keeps the time of statements, and the kernel that of a network; nobody keeps that of a process which
    has stopped.
    """
    wait = connection.wait

    def patiently(generator: Generator[Any, Any, T], *arguments: Any, **more: Any) -> T:
        found: T = wait(until(generator, time.monotonic() + seconds), *arguments, **more)
        return found

    def until(generator: Generator[Any, Any, T], deadline: float) -> Generator[Any, Any, T]:
        try:
            state = next(generator)
            while True:
                ready = yield state  # each tenth of a second, whether there is anything or not
                if time.monotonic() > deadline:
                    connection.pgconn.finish()
                    raise connection.OperationalError(f"no answer within {seconds:g} s")
                state = generator.send(ready)
        except StopIteration as end:
            found: T = end.value
            return found

    connection.wait = patiently


def _preparation(backend: str, timeout_seconds: float) -> Callable[[Any, Any], None]:
    """What a new connection is told first."""
    milliseconds = int(timeout_seconds * 1000)

    def prepare(connection: Any, record: Any) -> None:
        if backend == "sqlite":
            connection.execute("PRAGMA query_only = ON")
            record.info["deadline"] = deadline = [float("inf")]
            connection.set_progress_handler(lambda: time.monotonic() > deadline[0], SQLITE_STEPS)
            return
        cursor = connection.cursor()
        if backend == "postgresql":
            cursor.execute(f"SET statement_timeout = {milliseconds}")
            cursor.execute("SET default_transaction_read_only = on")
        else:
            cursor.execute("SELECT VERSION()")
            if "mariadb" in cursor.fetchone()[0].lower():
                cursor.execute(f"SET SESSION max_statement_time = {timeout_seconds:g}")
            else:
                cursor.execute(f"SET SESSION max_execution_time = {milliseconds}")
            cursor.execute("SET SESSION TRANSACTION READ ONLY")
        cursor.close()

    return prepare


def _deadline(connection: Connection, seconds: float) -> None:
    """SQLite keeps no time; its connections look at ours."""
    deadline = connection.info.get("deadline")
    if deadline is not None:
        deadline[0] = time.monotonic() + seconds


def _took_too_long(error: DBAPIError) -> bool:
    cause: Any = error.orig
    if getattr(cause, "pgcode", None) == POSTGRESQL_CANCELED or getattr(cause, "sqlstate", None) == POSTGRESQL_CANCELED:
        return True
    number = cause.args[0] if cause is not None and cause.args else None
    return number in (MARIADB_TIMEOUT, MYSQL_TIMEOUT, "interrupted")


def without_password(words: str, url: URL) -> str:
    """A driver's error on one line."""
    for secret in (url.password, url.query.get("password")):
        if isinstance(secret, str) and secret:
            words = words.replace(secret, "***")
    return " ".join(words.split())
