# SPDX-License-Identifier: Apache-2.0
"""Who is connected to a stream: counted, bounded and logged."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred, succeed

from zuul.web.errors import Unavailable
from zuul.web.filters import access_log, log_access, request_id
from zuul.web.origins import Origins

RETRY_SECONDS = 10


class Blockable(Protocol):
    """What may wait for the peer to read, and since when. See `Outlet`."""

    blocked: bool
    blocked_since: float


class Viewer(Protocol):
    """A connection that streams."""

    @property
    def outlet(self) -> Blockable:
        """What it is written by."""

    def stop(self) -> None:
        """The server stops: say so and close."""

    def too_slow(self) -> None:
        """It has not read for too long: say so and close."""

    def expired(self) -> None:
        """The token that it was let in with has expired: say so and close."""


class Visits:
    """All streams of this process. Belongs to the reactor's thread.

    :param most: how many there may be.
    :param most_per_address: of one client address; 0 for no limit.
    :param dead_seconds: how long a viewer may give no sign of life.
    """

    def __init__(
        self, most: int, most_per_address: int, dead_seconds: float, log_requests: bool, origins: Origins
    ) -> None:
        self.dead_seconds = dead_seconds
        self._most = most
        self._most_per_address = most_per_address
        self.log_requests = log_requests
        self._origins = origins
        self._addresses: Counter[str] = Counter()
        self.viewers: set[Viewer] = set()
        self.expiring: dict[Viewer, float] = {}
        """Those that may stay until a time only, in the reactor's seconds."""
        self.newcomer: Callable[[Viewer], object] = lambda viewer: None
        """Is told of each connection that begins to stream."""
        self._count = 0
        self._when_empty: Deferred[None] | None = None

    def of(self, request: Any, path: str) -> Visit:
        """The visit that a request is."""
        identifier = request_id(request.getHeader("x-request-id"))
        cors = self._origins.allowing(request.getHeader("origin"))
        return Visit(self, request.getClientAddress().host, identifier, request.method.decode("latin-1"), path, cors)

    def enter(self, address: str) -> None:
        """Count one more. :raises Unavailable: there are too many."""
        if self._count >= self._most:
            raise Unavailable("this server has as many streams as it may", RETRY_SECONDS)
        if self._most_per_address and self._addresses[address] >= self._most_per_address:
            raise Unavailable("your address has as many streams as it may", RETRY_SECONDS)
        self._count += 1
        self._addresses[address] += 1

    def empty(self) -> Deferred[None]:
        """Fires when nobody is left."""
        if not self._count:
            return succeed(None)
        self._when_empty = Deferred()
        return self._when_empty

    def ended(self, address: str) -> None:
        self._count -= 1
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]
        if not self._count and self._when_empty is not None:
            self._when_empty.callback(None)
            self._when_empty = None


class Visit:
    """One request for a stream, up to its end."""

    __slots__ = (
        "_address",
        "_began",
        "_entered",
        "_expires",
        "_method",
        "_path",
        "_viewer",
        "_visits",
        "cors",
        "dead_seconds",
        "identifier",
    )

    def __init__(
        self, visits: Visits, address: str, identifier: str, method: str, path: str, cors: list[tuple[str, str]]
    ) -> None:
        self.cors = cors
        """Fields that let a page of another origin read it."""
        self._visits: Visits | None = visits
        self.dead_seconds = visits.dead_seconds
        self._address = address
        self.identifier = identifier
        self._method = method
        self._path = path
        self._began = time.perf_counter()
        self._entered = False
        self._expires: float | None = None
        self._viewer: Viewer | None = None

    def enter(self) -> None:
        """Count it, until it is over. :raises Unavailable: there are too many."""
        assert self._visits is not None
        self._visits.enter(self._address)
        self._entered = True

    def by(self, viewer: Viewer) -> None:
        """It is answered by this connection, which will be told if the server stops."""
        self._viewer = viewer
        if self._visits is not None:
            self._visits.viewers.add(viewer)
            self._watch()
            self._visits.newcomer(viewer)

    def expire_at(self, seconds: float) -> None:
        """It may last until then, in the reactor's seconds."""
        self._expires = seconds
        self._watch()

    def _watch(self) -> None:
        if self._visits is not None and self._viewer is not None and self._expires is not None:
            self._visits.expiring[self._viewer] = self._expires

    def over(self, status: int) -> None:
        """The response is complete, or the connection gone. Only the first call counts."""
        visits, self._visits = self._visits, None
        if visits is None:
            return
        if self._viewer is not None:
            visits.viewers.discard(self._viewer)
            visits.expiring.pop(self._viewer, None)
            self._viewer = None
        if visits.log_requests and access_log.isEnabledFor(logging.INFO):
            log_access(self.identifier, self._address, self._method, self._path, str(status), "-", self._began)
        if self._entered:
            visits.ended(self._address)
