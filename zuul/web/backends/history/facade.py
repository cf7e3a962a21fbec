# SPDX-License-Identifier: Apache-2.0
"""The history of each tenant, wherever its database is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

import cachetools

from zuul.web.backends.history.database import Database
from zuul.web.backends.history.reading import Reading, Record
from zuul.web.backends.history.statistics import MOST_BUILDS, statistics_of
from zuul.web.backends.replies import Listing, as_declared
from zuul.web.errors import NotFound, Timeout, Unavailable
from zuul.web.resources.history_queries import BuildQuery, BuildsetQuery, BuildTimesQuery, OfItems
from zuul.web.resources.job_statistics import JobStatistics
from zuul.web.settings import Connection

T = TypeVar("T")

KNOWN_SECONDS = 60.0
"""How long the scheduler's word on the connection of a tenant counts. While nobody is there to ask, it goes on."""
MAX_TENANTS = 10_000


class Zuul(Protocol):
    """What the history has to ask the scheduler."""

    def tenant_sql_connection(self, tenant: str) -> str | None: ...

    def autohold_list(self) -> list[dict[str, Any]]: ...


class History:
    """Reads what has been reported. Safe for threads; one lock guards which tenant is in which database.

    All of it raises `NotFound` for a tenant that is none or has no SQL reporter, `Unavailable` while the database is
    away, and `Timeout` for what takes it too long. Times are naive and UTC.
    """

    def __init__(
        self, connections: Iterable[Connection], scheduler: Zuul, *, timeout_seconds: float, connections_each: int
    ) -> None:
        self._scheduler = scheduler
        self._databases = {
            connection.name: Database(
                connection.options.get("dburi") or "",
                table_prefix=connection.options.get("table_prefix") or "",
                timeout_seconds=timeout_seconds,
                connections=connections_each,
            )
            for connection in connections
            if connection.driver == "sql"
        }
        self._lock = threading.Lock()
        self._known: cachetools.LRUCache[str, tuple[float, str]] = cachetools.LRUCache(MAX_TENANTS)

    def builds(self, tenant: str, query: BuildQuery) -> Listing:
        """A page of builds.

        :raises BadRequest: no index serves that order, or too many values have a `*`.
        """
        held = self._held(tenant) if query.held is not None else ()
        return self._read(tenant, lambda reading: reading.builds(query, held))

    def build(self, tenant: str, uuid: str) -> Record:
        """One build."""
        found = self._read(tenant, lambda reading: reading.build(uuid))
        if found is None:
            raise NotFound(f"Build {uuid} does not exist, or has not been reported yet.")
        return found

    def buildsets(self, tenant: str, query: BuildsetQuery) -> Listing:
        """A page of buildsets.

        :raises BadRequest: no index serves that order, or too many values have a `*`.
        """
        return self._read(tenant, lambda reading: reading.buildsets(query))

    def buildset(self, tenant: str, uuid: str) -> Record:
        """One buildset with its `builds`."""
        found = self._read(tenant, lambda reading: reading.buildset(uuid))
        if found is None:
            raise NotFound(f"Buildset {uuid} does not exist, or has not been reported yet.")
        return found

    def latest_builds(self, tenant: str, query: BuildTimesQuery) -> Listing:
        """The newest build of each job, project, branch and pipeline, by their names."""
        rows = self._read(tenant, lambda reading: reading.latest(query))
        return Listing(rows, limit=query.limit, offset=query.skip)

    def build_times(self, tenant: str, query: BuildTimesQuery) -> Listing:
        """How long builds took; what ended last comes first."""
        rows = self._read(tenant, lambda reading: reading.build_times(query))
        return Listing(rows, limit=query.limit, offset=query.skip)

    def job_statistics(self, tenant: str, job: str, query: OfItems) -> JobStatistics:
        """How a job has done."""
        rows = self._read(tenant, lambda reading: reading.durations(job, query, MOST_BUILDS + 1))
        return statistics_of(job, rows)

    def states(self) -> dict[str, dict[str, Any]]:
        """How each database was when it was asked last, by the name of its connection: see `Database.state`."""
        return {name: database.state() for name, database in self._databases.items()}

    def close(self) -> None:
        for database in self._databases.values():
            database.close()

    def _read(self, tenant: str, ask: Callable[[Reading], T]) -> T:
        database = self._database_of(tenant)
        return database.read(lambda connection, tables: ask(Reading(connection, tables, tenant)))

    def _held(self, tenant: str) -> set[str]:
        """The builds whose nodes are held now."""
        with as_declared():
            return {
                held["build"]
                for request in self._scheduler.autohold_list()
                if request["tenant"] == tenant
                for held in request["nodes"]
                if held["build"] is not None
            }

    def _database_of(self, tenant: str) -> Database:
        if not self._databases:
            raise NotFound("zuul.conf has no [connection NAME] with driver=sql, so there is no history.")
        name = self._connection_of(tenant)
        if name is None:
            raise NotFound(f"Tenant {tenant} does not exist, or reports to no database.")
        if name not in self._databases:
            raise Unavailable(f"the history of tenant {tenant} is in [connection {name}], which this server has not")
        return self._databases[name]

    def _connection_of(self, tenant: str) -> str | None:
        """The name of the connection that the tenant reports to, by the scheduler or by what it said last."""
        with self._lock:
            asked, known = self._known.get(tenant, (float("-inf"), None))
        if known is not None and time.monotonic() - asked < KNOWN_SECONDS:
            return known
        try:
            name = self._scheduler.tenant_sql_connection(tenant)
        except (Unavailable, Timeout):
            if known is not None:
                return known
            if len(self._databases) == 1:
                return next(iter(self._databases))
            raise
        with self._lock:
            if name is None:
                self._known.pop(tenant, None)
            else:
                self._known[tenant] = (time.monotonic(), name)
        return name
