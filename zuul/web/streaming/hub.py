# SPDX-License-Identifier: Apache-2.0
"""Who reads which log: one source for each running build, found through the scheduler.

A build is looked for once for all who wait for it. The tenant's status has to list it, or the scheduler is not even
asked: whoever makes up uuids costs it nothing. The executor's address is the scheduler's for this build and no other.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail, inlineCallbacks, succeed
from twisted.internet.defer import TimeoutError as WaitIsOver
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from zuul.web.backends.finger import ReadLog
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import NoExecutor, NotFound, Unavailable
from zuul.web.snapshots import FRESH_SECONDS, Snapshots
from zuul.web.streaming.source import Source
from zuul.web.streaming.spool import InThread, Room

QUEUED_SECONDS = 1.0
"""Between two looks for the executor of a build that nobody has taken yet."""
AGAIN_SECONDS = 0.1
"""Between two looks for a status that is being fetched."""
NEWS_SECONDS = 10.0
"""How long to look for a status that is new enough to say that a build is not there."""
MOST_REPEATS = 4
"""Sources of one build at once: more than one only where the beginning of a long log is no longer kept."""

is_uuid = re.compile(r"[0-9A-Fa-f]{1,64}").fullmatch

Address = tuple[str, int]


class Hub:
    """All logs that are being read in this process. Belongs to the reactor's thread.

    :param in_thread: calls a function that waits for the scheduler.
    :param wait_seconds: how long an executor is waited for.
    :param now: the clock of the snapshots.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        snapshots: Snapshots,
        *,
        read_log: ReadLog,
        room: Room,
        in_thread: InThread,
        wait_seconds: float,
        reactor: Any,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scheduler = scheduler
        self._snapshots = snapshots
        self._read_log = read_log
        self._room = room
        self._in_thread = in_thread
        self._wait_seconds = wait_seconds
        self._reactor = reactor
        self._now = now
        self._sources: dict[str, list[Source]] = {}
        self._searches: dict[tuple[str | None, str], _Search] = {}

    def source(self, tenant: str | None, uuid: str, position: int) -> Deferred[Source]:
        """The source of a build's log, for somebody who begins at a position; waits for an executor to take it.

        :param tenant: whose build it has to be; None: anybody's.
        :raises NotFound: the scheduler knows no such build in the tenant.
        :raises NoExecutor: nobody has taken it in time.
        :raises RestError: the scheduler cannot say.
        """
        return self._find(tenant, uuid, position, self._wait_seconds)

    def source_now(self, tenant: str | None, uuid: str, position: int) -> Deferred[Source | None]:
        """As `source`, but does not wait: None where no executor has taken the build yet."""
        return self._find(tenant, uuid, position, None)

    def _find(self, tenant: str | None, uuid: str, position: int, wait_seconds: float | None) -> Deferred[Any]:
        if not is_uuid(uuid):
            return fail(NotFound(f"Build {uuid} does not exist."))
        found = self._kept(tenant, uuid, position)
        if found is not None:
            return succeed(found)
        key = (tenant, uuid)
        search = self._searches.get(key)
        if search is None:
            search = _Search(self._locate(tenant, uuid), self._reactor, lambda: self._searches.pop(key))
            self._searches[key] = search
        return search.wait(wait_seconds).addCallback(
            lambda address: address and self._source_at(tenant, uuid, position, address)
        )

    def close(self) -> None:
        """Drop all sources."""
        for search in list(self._searches.values()):
            search.stop()
        for each in list(self._sources.values()):
            for source in list(each):
                source.close()

    def _kept(self, tenant: str | None, uuid: str, position: int) -> Source | None:
        for source in self._sources.get(uuid, ()):
            if tenant in source.tenants and source.covers(position):
                return source
        return None

    def _source_at(self, tenant: str | None, uuid: str, position: int, address: Address) -> Source:
        each = self._sources.setdefault(uuid, [])
        for source in each:
            if source.covers(position):
                source.tenants.add(tenant)
                return source
        if sum(source.ending is None for source in each) >= MOST_REPEATS:
            raise Unavailable("this log is too long to send its beginning to so many at once")
        source = Source(
            uuid, address, room=self._room, read_log=self._read_log, reactor=self._reactor, closed=self._closed
        )
        source.tenants.add(tenant)
        each.append(source)
        return source

    def _closed(self, source: Source) -> None:
        each = self._sources[source.uuid]
        each.remove(source)
        if not each:
            del self._sources[source.uuid]

    def _locate(self, tenant: str | None, uuid: str) -> Callable[[], Deferred[Address | None]]:
        """A look for the executor of a build; None as long as there is none."""

        @inlineCallbacks
        def look() -> Any:
            began = self._now()
            while tenant is not None:
                snapshot = yield self._in_thread(self._snapshots.get, tenant)
                if snapshot.lists_build(uuid):
                    break
                if snapshot.fetched >= began:
                    raise NotFound(f"Build {uuid} does not exist.")
                if self._now() - began > NEWS_SECONDS:
                    raise Unavailable("the status of this tenant cannot be had")
                # Not in a status from before we asked. The next one is on its way once this one is old.
                pause = max(AGAIN_SECONDS, snapshot.fetched + FRESH_SECONDS - self._now())
                yield deferLater(self._reactor, pause)
            address = yield self._in_thread(self._scheduler.get_job_log_stream_address, uuid)
            return address

        return look  # type: ignore[no-any-return]


class _Search:
    """The executor of a build, looked for until somebody takes it, for all who wait. Ends when nobody does."""

    def __init__(self, look: Callable[[], Deferred[Address | None]], reactor: Any, over: Callable[[], Any]) -> None:
        self._look = look
        self._reactor = reactor
        self._over = over
        self._waiting: list[Deferred[Address | None]] = []
        self._asking: list[Deferred[Address | None]] = []
        """Those who do not wait, but want to know the next result, whatever it is."""
        self._timer: Any = None
        self._began = self._looking = self._ended = False

    def wait(self, seconds: float | None) -> Deferred[Address | None]:
        """The address; with None for the seconds, the result of the next look."""
        mine: Deferred[Address | None] = Deferred(self._gone)
        if seconds is None:
            self._asking.append(mine)
        else:
            self._waiting.append(mine)
            mine.addTimeout(seconds, self._reactor)
            mine.addErrback(_no_executor)
        if not self._began:
            self._began = True
            self._try()
        return mine

    def stop(self) -> None:
        self._end(lambda waiting: waiting.errback(Failure(Unavailable("the server stops"))))

    def _try(self) -> None:
        self._timer = None
        self._looking = True
        self._look().addCallbacks(self._found, lambda why: self._end(lambda waiting: waiting.errback(why)))

    def _found(self, address: Address | None) -> None:
        self._looking = False
        if address is not None:
            self._end(lambda waiting: waiting.callback(address))
        elif not self._ended:
            self._timer = self._reactor.callLater(QUEUED_SECONDS, self._try)
            asking, self._asking = self._asking, []
            for each in asking:
                each.callback(None)
            self._end_if_alone()

    def _end(self, tell: Callable[[Deferred[Address | None]], None]) -> None:
        if self._ended:
            return
        self._ended = True
        self._over()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting, self._asking = self._waiting + self._asking, [], []
        for each in waiting:
            tell(each)

    def _gone(self, mine: Deferred[Address | None]) -> None:
        for those in (self._waiting, self._asking):
            if mine in those:
                those.remove(mine)
        self._end_if_alone()

    def _end_if_alone(self) -> None:
        # A look cannot be called back, so it is left to whoever comes next: those who come and go would make a queue.
        if not self._waiting and not self._asking and not self._looking:
            self._end(lambda waiting: None)


def _no_executor(failure: Failure) -> Any:
    if failure.check(WaitIsOver):
        raise NoExecutor("no executor has taken the build")
    return failure
