# SPDX-License-Identifier: Apache-2.0
"""The status of each tenant as bytes that are ready to send: the hot path.

A `Snapshot` never changes. `Snapshots` keeps the newest of each tenant and replaces it by a single
flight: one `status_get` at a time and at most one a second, however many ask. The flight runs in a
thread of its own, so a slow tenant holds nobody up but those who wait for its very first status.

What a reader gets depends on the age of the newest snapshot:

    up to 1 s             that one
    up to 3 s             that one, and a flight begins behind it
    up to status_stale    a new one, if the flight brings it within a second; else the old one
    older, or none        what the flight brings, be it an error
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from email.utils import formatdate
from functools import cached_property
from typing import Any, Protocol

import cachetools

from zuul.web.errors import NotFound, RestError, ServerError, Timeout, Unavailable
from zuul.web.negotiation import accepts_gzip, entity_tags, unchanged_since

log = logging.getLogger("zuul.web.snapshots")

FRESH_SECONDS = 1.0
REFRESH_BEHIND_SECONDS = 3.0
GRACE_SECONDS = 1.0
"""For how long a flight may keep those waiting who could have an old snapshot."""
GZIP_WANTED_SECONDS = 60.0
"""Compression costs a big status 60 ms, so it is done while somebody has asked for it lately."""
PEEK_SECONDS = 0.005
"""Between two looks for what other processes have fetched: a client that meets them by turns must not see
different statuses for long, since each change costs it the whole document. A look costs 4 us."""
UNKNOWN_TENANTS = 1000
"""Names without a status that are remembered for a second, so that they do not reach the scheduler."""


Headers = list[tuple[str, str]]


class Answer:
    """A response that is ready to go out, but for the fields that differ from request to request."""

    def __init__(self, status: str, headers: Headers, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @cached_property
    def head(self) -> bytes:
        """Status line and header fields as HTTP/1.1 has them, without the empty line."""
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.headers)
        return f"HTTP/1.1 {self.status}\r\n{fields}".encode("latin-1")


class Snapshot:
    """One status document.

    :param fetched: the monotonic time at which it was asked for.
    :param changed_at: when it was first seen like this, in epoch seconds.
    :param packed: its compressed form, if there is one already.
    :param etag: its entity tag, if it is known already: a digest of the body, which costs a big one 3 ms.
    :param compress: whether to make a compressed form.
    """

    def __init__(
        self,
        body: bytes,
        fetched: float,
        changed_at: float,
        packed: bytes | None = None,
        etag: str | None = None,
        *,
        compress: bool,
    ) -> None:
        self.body = body
        self.fetched = fetched
        self.changed_at = changed_at
        self._decoding = threading.Lock()
        self._document: dict[str, Any] | None = None
        self.etag = etag or f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
        self.gzip_etag = f'{self.etag[:-1]}-gzip"'
        self.last_modified = formatdate(changed_at, usegmt=True)
        self.expires = ("Expires", formatdate(time.time() + FRESH_SECONDS, usegmt=True))
        """A header field that only URLs of Zuul 2 have; Cache-Control says the same."""
        shared = [
            ("Cache-Control", "public, max-age=1"),
            ("Vary", "Accept-Encoding"),
            ("Access-Control-Allow-Origin", "*"),
        ]
        content = [
            ("Content-Type", "application/json; charset=utf-8"),
            ("Last-Modified", self.last_modified),
            *shared,
        ]
        self.plain = Answer("200 OK", [*content, ("ETag", self.etag), _length(body)], body)
        self.packed: Answer | None = None
        if compress and packed is None:
            packed = gzip.compress(body, 6, mtime=0)
        if packed is not None:
            packed_headers = [*content, ("ETag", self.gzip_etag), ("Content-Encoding", "gzip"), _length(packed)]
            self.packed = Answer("200 OK", packed_headers, packed)
        # No Last-Modified: the tag says it all (RFC 9110, 15.4.5), and servers are paid by the field.
        self.unchanged = {
            etag: Answer("304 Not Modified", [*shared, ("ETag", etag)], b"") for etag in (self.etag, self.gzip_etag)
        }

    @property
    def document(self) -> dict[str, Any]:
        """What the bytes say, decoded once for all who ask; never to be changed."""
        with self._decoding:  # which takes 40 ms of a big one
            if self._document is None:
                self._document = json.loads(self.body)
            return self._document

    @cached_property
    def items_by_id(self) -> dict[str, list[dict[str, Any]]]:
        """The queue items by id (`N,P` of a change), each a list since an item may be in several queues."""
        found: dict[str, list[dict[str, Any]]] = {}
        for pipeline in self.document.get("pipelines", []):
            for queue in pipeline["change_queues"]:
                for head in queue["heads"]:
                    for item in head:
                        found.setdefault(item["id"], []).append(item)
        return found

    def lists_build(self, uuid: str) -> bool:
        """Whether a build is in it. Looks at the bytes: a value in JSON has no bare quotes, so it cannot pretend."""
        return any(b'"uuid":%b"%b"' % (space, uuid.encode()) in self.body for space in (b" ", b""))

    def not_modified(self, if_none_match: str | None, if_modified_since: str | None) -> str | None:
        """The entity tag of the copy that the client holds, if it is this one in either encoding."""
        if if_none_match is not None:
            tags = entity_tags(if_none_match)
            for etag in (self.gzip_etag, self.etag):
                if etag in tags:
                    return etag
            return self.etag if if_none_match.strip() == "*" else None
        if if_modified_since is not None:
            if if_modified_since == self.last_modified:
                return self.etag
            return self.etag if unchanged_since(if_modified_since, self.changed_at) else None
        return None


class Shared(Protocol):
    """See sharing.py."""

    def has_news(self, tenant: str, snapshot: Snapshot) -> bool:
        """Whether somebody else has a newer one that is fresh. Costs some microseconds."""

    def get(self, tenant: str, make: Callable[[], Snapshot], compress: bool) -> Snapshot:
        """A snapshot that somebody else has just made, else the one of `make`."""


class Flight:
    """A `status_get` under way, for one tenant."""

    def __init__(self, began: float) -> None:
        self.began = began
        self.landed: Future[None] = Future()
        self.snapshot: Snapshot | None = None
        """What it brought; like `error`, set before it lands."""
        self.error: RestError | None = None

    def land(self) -> None:
        with contextlib.suppress(InvalidStateError):  # it has been called off by `Snapshots.close`
            self.landed.set_result(None)


class _Tenant:
    """What is known of one tenant. Guarded by the lock of its `Snapshots`."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.flight: Flight | None = None
        self.last_began = float("-inf")
        self.last_peek = float("-inf")
        self.error: RestError | None = None
        self.gzip_wanted = float("-inf")

    def why_nothing(self) -> RestError:
        """The error of the last flight, without the frames of all to whom it has been raised already."""
        return (self.error or Unavailable("the status of this tenant cannot be had")).with_traceback(None)


class Snapshots:
    """The newest snapshot of each tenant. One lock guards all of it and is held for moments only.

    :param fetch: tenant -> status document; raises our errors. Called in threads of this object.
    :param stale_seconds: how old a snapshot may be served when there is no newer one to be had.
    :param flights: how many fetches may be under way, each for another tenant; half of them for tenants
        without a status, so that names which do not exist never hold up those which do.
    :param shared: where the processes of one host share what they fetch.
    """

    def __init__(
        self,
        fetch: Callable[[str], bytes],
        *,
        stale_seconds: float,
        flights: int = 128,
        shared: Shared | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._stale_seconds = stale_seconds
        self._most_first_flights = max(1, flights // 2)
        self._first_flights = 0
        self._shared = shared
        self._clock = clock
        self._closed = False
        self._lock = threading.Lock()
        self._tenants: dict[str, _Tenant] = {}
        self._unknown: cachetools.TTLCache[str, _Tenant] = cachetools.TTLCache(
            UNKNOWN_TENANTS, FRESH_SECONDS, timer=clock
        )
        self._executor = ThreadPoolExecutor(flights, thread_name_prefix="status")

    def look(self, tenant: str, want_gzip: bool = False) -> Snapshot | Flight:
        """What can be served now, else the flight to wait for. Never blocks.

        :raises NotFound: no such tenant, as of a second ago at most.
        :raises Unavailable: the last flight failed less than a second ago, and nothing else is left.
        """
        now = self._clock()
        known = self._tenants.get(tenant)
        if known is not None and (not want_gzip or now - known.gzip_wanted < FRESH_SECONDS):
            # Without the lock: a snapshot never changes, and one that has just been replaced is as fresh as it was.
            snapshot = known.snapshot
            peeked = self._shared is None or now - known.last_peek < PEEK_SECONDS
            if snapshot is not None and peeked and now - snapshot.fetched <= FRESH_SECONDS:
                return snapshot
        with self._lock:
            known = self._tenants.get(tenant) or self._unknown.get(tenant)
            if known is None:
                known = _Tenant()
            if want_gzip:
                known.gzip_wanted = now
            snapshot = known.snapshot
            age = now - snapshot.fetched if snapshot else float("inf")
            if self._shared and known.flight is None and now - known.last_peek >= PEEK_SECONDS and not self._closed:
                known.last_peek = now
                if snapshot and self._shared.has_news(tenant, snapshot):
                    self._take_off(tenant, known, now)
            if snapshot and age <= FRESH_SECONDS:
                return snapshot
            if known.flight is None and now - known.last_began >= FRESH_SECONDS and not self._closed:
                self._take_off(tenant, known, now)
            flight = known.flight
            if snapshot and age <= self._stale_seconds:
                waiting_is_over = flight is None or now - flight.began >= GRACE_SECONDS
                if age <= REFRESH_BEHIND_SECONDS or waiting_is_over:
                    return snapshot
            if flight is None:
                raise known.why_nothing()
            return flight

    def _take_off(self, tenant: str, known: _Tenant, now: float) -> None:
        """Under the lock: begin a flight, of which the tenant is kept until it lands."""
        first = known.snapshot is None
        if first and self._first_flights >= self._most_first_flights:
            raise Unavailable("too many tenants are asked for that have no status yet")
        flight = Flight(now)
        try:
            self._executor.submit(self._fly, tenant, known, flight)
        except RuntimeError as error:
            raise Unavailable("no thread can be had for this status") from error
        self._first_flights += first
        self._tenants[tenant] = known
        self._unknown.pop(tenant, None)
        known.flight = flight
        known.last_began = now

    def landed(self, tenant: str, flight: Flight) -> Snapshot:
        """What to serve after a wait for a flight, however it ended or however long it still takes.

        :raises RestError: why there is nothing to serve.
        """
        if flight.snapshot is not None:
            return flight.snapshot
        with self._lock:
            known = self._tenants.get(tenant)
            snapshot = known.snapshot if known else None
            if snapshot and self._clock() - snapshot.fetched <= self._stale_seconds:
                return snapshot
        raise (flight.error or Unavailable("the status of this tenant cannot be had")).with_traceback(None)

    def patience(self, tenant: str, flight: Flight) -> float | None:
        """How many seconds to wait for the flight: a moment where an old snapshot would do, else till it lands."""
        with self._lock:
            known = self._tenants.get(tenant)
            if known is None or known.snapshot is None:
                return None
            if self._clock() - known.snapshot.fetched > self._stale_seconds:
                return None
            return max(0.0, flight.began + GRACE_SECONDS - self._clock())

    def get(self, tenant: str, want_gzip: bool = False, if_none_match: str | None = None) -> Snapshot:
        """As `look`, and waits for the flight. Not for the reactor's thread.

        :param if_none_match: the field of the client. Where it is not of our snapshot it may be of a newer one,
            which another process has sent. For such a client ours would be the whole of an old document, and the
            next answer the whole of a new one; so first we take in what another process has, if it has any.
        """
        found = self.look(tenant, want_gzip)
        if isinstance(found, Snapshot):
            if if_none_match is None or self._shared is None or if_none_match in found.unchanged:
                return found
            found = self._news(tenant, found)
        if isinstance(found, Flight):
            with contextlib.suppress(FutureTimeout):
                found.landed.result(self.patience(tenant, found))
            found = self.landed(tenant, found)
        return found

    def _news(self, tenant: str, snapshot: Snapshot) -> Snapshot | Flight:
        """The flight that takes in what another process has; the same snapshot if there is no newer one."""
        with self._lock:
            known = self._tenants.get(tenant)
            if known is None or self._closed or not (self._shared and self._shared.has_news(tenant, snapshot)):
                return snapshot
            if known.flight is None and known.snapshot is snapshot:
                self._take_off(tenant, known, self._clock())
            return known.flight or known.snapshot or snapshot

    def has(self, tenant: str) -> bool:
        """Whether there is a snapshot of it, however old. A name that is no tenant's has none."""
        with self._lock:
            known = self._tenants.get(tenant)
            return known is not None and known.snapshot is not None

    def age_seconds(self, snapshot: Snapshot) -> int:
        return int(self._clock() - snapshot.fetched)

    def close(self) -> None:
        """Whoever waits for a flight waits no longer, and no other begins."""
        with self._lock:
            self._closed = True
            flights = [known.flight for known in self._tenants.values() if known.flight]
        self._executor.shutdown(wait=False, cancel_futures=True)
        for flight in flights:
            flight.land()

    def _fly(self, tenant: str, known: _Tenant, flight: Flight) -> None:
        """In a thread of the executor: fetch, then publish."""
        snapshot: Snapshot | None = None
        error: RestError | None = None
        compress = flight.began - known.gzip_wanted < GZIP_WANTED_SECONDS

        def make() -> Snapshot:
            asked = self._clock()
            body = self._fetch(tenant)
            previous = known.snapshot
            if previous is None:
                changed_at = time.time()
            elif previous.body == body:
                # The same object, lest slow readers from different seconds each keep a copy alive.
                body, changed_at = previous.body, previous.changed_at
            else:  # Last-Modified has whole seconds, and two bodies must not share one
                changed_at = max(time.time(), int(previous.changed_at) + 1)
            return Snapshot(body, asked, changed_at, compress=compress)

        try:
            snapshot = self._shared.get(tenant, make, compress) if self._shared else make()
        except Timeout as failure:
            log.warning("status of %s: %s", tenant, failure.message)
            error = Unavailable("the scheduler does not answer", retry_after=5)
        except RestError as failure:
            error = failure
        except Exception:
            log.exception("status of %s", tenant)
            error = ServerError("the status of this tenant cannot be made out")
        flight.snapshot, flight.error = snapshot, error
        with self._lock:
            self._first_flights -= known.snapshot is None
            known.flight = None
            known.error = error
            if snapshot is not None:
                known.snapshot = snapshot
            elif isinstance(error, NotFound):
                known.snapshot = None
            if known.snapshot is None:
                del self._tenants[tenant]
                self._unknown[tenant] = known
        flight.land()


def respond(
    snapshot: Snapshot, accept_encoding: str, if_none_match: str | None, if_modified_since: str | None
) -> Answer:
    """The answer to a GET with these header fields. To it belongs an Age field of its time."""
    if if_none_match is not None or if_modified_since is not None:
        unchanged = snapshot.unchanged.get(if_none_match or "")  # nearly always: the one tag that we sent
        if unchanged is not None:
            return unchanged
        etag = snapshot.not_modified(if_none_match, if_modified_since)
        if etag is not None:
            return snapshot.unchanged[etag]
    if snapshot.packed is not None and accepts_gzip(accept_encoding):
        return snapshot.packed
    return snapshot.plain


def _length(body: bytes) -> tuple[str, str]:
    return ("Content-Length", str(len(body)))
