# SPDX-License-Identifier: Apache-2.0
"""All streams of a process: their URLs, who may come in, and what they share. Read this file first.

    /console-stream  /{tenant}/console-stream            console.py   a log by websocket
    /api/tenant/{tenant}/console-stream
    /v1/tenants/{tenant}/console-stream
    /v1/tenants/{tenant}/builds/{uuid}/log               logs.py      a log by HTTP
    /v1/tenants/{tenant}/events                          events.py    what changes in the pipelines

`hub.py` has the logs: each from one `source.py`, which keeps it in a `spool.py` and writes by `outlet.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote_to_bytes, urlsplit

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from twisted.web.server import NOT_DONE_YET

from zuul.web import errors
from zuul.web.auth import Guard, Identity
from zuul.web.backends.finger import read_log
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import BadRequest, Forbidden, MethodNotAllowed, NotFound, RestError, UpgradeRequired
from zuul.web.origins import Origins
from zuul.web.settings import Settings
from zuul.web.snapshots import Snapshots
from zuul.web.streaming.console import ConsoleStream
from zuul.web.streaming.events import EventsListener, EventsResponse, EventsWebsocket
from zuul.web.streaming.feed import Feeds
from zuul.web.streaming.gate import Gate
from zuul.web.streaming.http import options, refuse
from zuul.web.streaming.hub import Hub
from zuul.web.streaming.logs import EventStream, FollowingText, LogAnswer
from zuul.web.streaming.spool import Room
from zuul.web.streaming.visits import Visit, Visits
from zuul.web.streaming.websockets import Websocket, Websockets

log = logging.getLogger("zuul.web.streaming")

LOOKUP_THREADS = 16
COMPARISON_THREADS = 2
SPOOLING_THREADS = 10
DEAD_SECONDS = 60.0
"""How long a viewer may give no sign of life, beyond the time that it may not read."""
LOOK_SECONDS = 1.0
"""Between two looks for viewers that do not read, or may not any more."""

Handler = Callable[[Any, Visit], "Deferred[None] | None"]


class Stream(NamedTuple):
    """What is at a URL."""

    handle: Handler
    path: str | None
    """Where the same is below /v1; None where there is no such place, as no tenant is named."""
    tenant: str | None
    takes_token: bool = False
    """Whether a websocket there may get a token by its first message."""


class Streaming:
    """The streams of one process. Belongs to the reactor's thread.

    :param gate: None where nobody else has a say in who may come in.
    :param wall: seconds since 1970, in which tokens expire.
    """

    def __init__(
        self,
        settings: Settings,
        scheduler: Scheduler,
        snapshots: Snapshots,
        guard: Guard,
        reactor: Any,
        gate: Gate | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._guard = guard
        self._gate = gate
        self._wall = wall
        self._rest = rest = settings.rest
        self._root = settings.web.root
        self._reactor = reactor
        self._lookups = ThreadPool(0, LOOKUP_THREADS, "streaming")
        self._comparisons = ThreadPool(0, COMPARISON_THREADS, "events")
        # In the reactor's own threads, names of executors that no server answers for would hold all logs up.
        self._spooling = ThreadPool(0, SPOOLING_THREADS, "spools")
        dead_seconds = rest.stream_patience + DEAD_SECONDS
        self._visits = Visits(rest.streams, rest.streams_per_address, dead_seconds, rest.access_log, Origins(rest))
        self._websockets = Websockets(reactor)

        def in_spooling(work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
            return deferToThreadPool(reactor, self._spooling, work, *arguments)

        self._hub = Hub(
            scheduler,
            snapshots,
            read_log=read_log(reactor),
            room=Room(rest.log_spool_dir, rest.log_spool_bytes, rest.log_spool_total_bytes, in_spooling),
            in_thread=lambda work, *arguments: deferToThreadPool(reactor, self._lookups, work, *arguments),
            wait_seconds=rest.log_wait,
            reactor=reactor,
        )
        self._feeds = Feeds(
            snapshots,
            window_seconds=rest.event_window,
            clock=reactor,
            in_thread=lambda work, *arguments: deferToThreadPool(reactor, self._comparisons, work, *arguments),
        )
        self._looking: Any = None

    def start(self) -> None:
        self._lookups.start()
        self._comparisons.start()
        self._spooling.start()
        self._looking = self._reactor.callLater(LOOK_SECONDS, self._look)

    def stop(self) -> Deferred[None]:
        """Say goodbye to all viewers. Fires when they are gone; each has some seconds for that."""
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None
        # Who still waits for an executor may come a little later.
        self._visits.newcomer = lambda viewer: self._reactor.callLater(0, viewer.stop)
        for viewer in list(self._visits.viewers):
            viewer.stop()
        self._feeds.close()
        return self._visits.empty().addCallback(lambda _: self._hub.close())

    def join(self) -> None:
        """Wait for the threads. Not for the reactor's thread."""
        self._lookups.stop()
        self._comparisons.stop()
        self._spooling.stop()

    def find(self, raw_path: bytes) -> Stream | None:
        """What is at a path, given as the client wrote it; None if it is no stream's."""
        if not raw_path.endswith((b"/console-stream", b"/log", b"/events")):
            return None
        try:
            first, *segments = [unquote_to_bytes(segment).decode() for segment in raw_path.split(b"/")]
        except UnicodeDecodeError:
            return None
        if first or "" in segments or any("\0" in segment for segment in segments):
            return None
        if segments[:2] == ["api", "v1"]:
            del segments[0]
        match segments:
            case ["console-stream"]:
                return self._console(self._rest.whitelabel_tenant)
            case ["api", "console-stream"] if self._rest.whitelabel_tenant:
                return self._console(self._rest.whitelabel_tenant)
            case [tenant, "console-stream"] if tenant not in ("api", "v1"):
                return self._console(tenant)
            case ["api", "tenant", tenant, "console-stream"] | ["v1", "tenants", tenant, "console-stream"]:
                return self._console(tenant)
            case ["v1", "tenants", tenant, "builds", uuid, "log"]:
                return self._log(tenant, uuid)
            case ["v1", "tenants", tenant, "events"]:
                return self._events(tenant)
        return None

    def answer(self, request: Any, stream: Stream) -> Any:
        """Answer a request. Returns what twisted's `render` does."""
        path = request.uri.split(b"?", 1)[0].decode("latin-1")
        visit = self._visits.of(request, path)
        answering = maybeDeferred(self._answer, request, stream, visit)
        if not answering.called:
            request.notifyFinish().addErrback(lambda _: answering.cancel())
        answering.addErrback(self._failed, request, visit)
        return NOT_DONE_YET

    def _answer(self, request: Any, stream: Stream, visit: Visit) -> Deferred[None] | None:
        if request.method == b"OPTIONS":
            options(request, visit)
            return None
        if request.method not in (b"GET", b"HEAD"):
            method = request.method.decode("latin-1")
            raise MethodNotAllowed(f"{method} is not possible here", ("GET", "HEAD", "OPTIONS"))
        visit.enter()
        authorization = b",".join(request.requestHeaders.getRawHeaders(b"authorization", ())).decode("latin-1") or None
        if stream.tenant is None and self._guard.protects_any:
            raise NotFound("it takes a token to read logs of some tenants; use the URL of the tenant")
        if not self._guard.needs_threads(authorization, stream.tenant) or self._asks_for_token(request, stream):
            return self._let_through(request, stream, visit)
        admitted = self._admit(authorization, stream.tenant, visit)
        return admitted.addCallback(lambda _: self._let_through(request, stream, visit))

    def _admit(self, authorization: str | None, tenant: str | None, visit: Visit) -> Deferred[None]:
        """Fails, unless whoever sent this field may read the tenant. The guard may wait, so a thread asks it."""

        def admitted(identity: Identity | None) -> None:
            if identity is not None and self._guard.protects(tenant):
                visit.expire_at(self._reactor.seconds() + identity.expires - self._wall())

        asking = deferToThreadPool(self._reactor, self._lookups, self._guard.admit_reader, authorization, tenant)
        return asking.addCallback(admitted)

    def _asks_for_token(self, request: Any, stream: Stream) -> bool:
        """Whether it is a websocket that gets the token by message, as browsers have no other way."""
        return (
            stream.takes_token
            and request.getHeader("authorization") is None
            and (request.getHeader("upgrade") or "").lower() == "websocket"
        )

    def _let_through(self, request: Any, stream: Stream, visit: Visit) -> Deferred[None] | None:
        if self._gate is None:
            return stream.handle(request, visit)
        if stream.path is None:
            raise NotFound("the operator's filters cannot tell whose build this is; use the URL of its tenant")
        return self._gate(request, stream.path).addCallback(
            lambda passed: stream.handle(request, visit) if passed else visit.over(request.code)
        )

    @staticmethod
    def _failed(failure: Failure, request: Any, visit: Visit) -> None:
        if failure.check(CancelledError):
            visit.over(499)
            return
        error = failure.value
        if not isinstance(error, RestError):
            trace = (failure.type, error, failure.getTracebackObject())
            log.error("request %s failed", visit.identifier, exc_info=trace)
            error = errors.ServerError(f"this is a defect; the log has it as {visit.identifier}")
        refuse(request, error, visit)

    # -- the streams

    def _console(self, tenant: str | None) -> Stream:
        def handle(request: Any, visit: Visit) -> None:
            admit = None
            if self._guard.protects(tenant) and request.getHeader("authorization") is None:

                def admit(token: str | None) -> Deferred[Any]:
                    return self._admit(f"Bearer {token}" if token else None, tenant, visit)

            self._accept(request, ConsoleStream(self._hub, tenant, visit, self._reactor, admit))

        path = f"/v1/tenants/{quote(tenant, safe='')}/console-stream" if tenant else None
        return Stream(handle, path, tenant, takes_token=True)

    def _log(self, tenant: str, uuid: str) -> Stream:
        def handle(request: Any, visit: Visit) -> Deferred[None]:
            query = _query(request, "start", "follow")
            position = _offset("start", query.get("start", "0"))
            if "text/event-stream" in (request.getHeader("accept") or "").lower():
                position = _offset("Last-Event-ID", request.getHeader("last-event-id") or str(position))
                answer = self._log_answer(tenant, uuid, position, visit)
                return answer.stream(request, EventStream)
            answer = self._log_answer(tenant, uuid, position, visit)
            if _flag("follow", query.get("follow", "false")):
                return answer.stream(request, FollowingText)
            return answer.present(request)

        return Stream(handle, f"/v1/tenants/{quote(tenant, safe='')}/builds/{quote(uuid, safe='')}/log", tenant)

    def _log_answer(self, tenant: str, uuid: str, position: int, visit: Visit) -> LogAnswer:
        return LogAnswer(self._hub, tenant, uuid, position, visit, self._reactor)

    def _events(self, tenant: str) -> Stream:
        def handle(request: Any, visit: Visit) -> Deferred[None]:
            websocket = (request.getHeader("upgrade") or "").lower() == "websocket"
            query = _query(request, "last_event_id", "state")
            want_state = _flag("state", query.get("state", "true"))
            listener = EventsListener(request.getHeader("last-event-id") or query.get("last_event_id"))
            if websocket:
                self._check_handshake(request)

            def begin(_: None) -> None:
                if websocket:
                    self._websockets.accept(request, EventsWebsocket(listener, visit))
                else:
                    EventsResponse(request, visit, self._reactor, listener).accept(request)

            return listener.join(self._feeds, tenant, want_state).addCallback(begin)

        return Stream(handle, f"/v1/tenants/{quote(tenant, safe='')}/events", tenant)

    def _accept(self, request: Any, websocket: Websocket) -> None:
        if (request.getHeader("upgrade") or "").lower() != "websocket":
            raise UpgradeRequired("there is a websocket here; connect with a client for those")
        self._check_handshake(request)
        self._websockets.accept(request, websocket)

    def _check_handshake(self, request: Any) -> None:
        if request.method != b"GET":
            raise MethodNotAllowed("a websocket begins with GET", ("GET", "HEAD", "OPTIONS"))
        self._check_origin(request)

    def _check_origin(self, request: Any) -> None:
        """Browsers tell whose page opens a websocket, and let any page do it. :raises Forbidden: not that one."""
        origin = (request.getHeader("origin") or "").lower()
        allowed = self._rest.allowed_origins or ()
        if not origin or "*" in allowed or origin in allowed:
            return
        scheme = urlsplit(origin).scheme
        # A proxy may have given us another host than the browser's; a page cannot set such a field.
        hosts = [request.getHeader(name) for name in ("host", "x-forwarded-host")]
        ours = [f"{scheme}://{host}" for host in hosts if host] + ([self._root] if self._root else [])
        if _authority(origin) is None or _authority(origin) not in [_authority(url) for url in ours]:
            raise Forbidden("pages of this origin may not open websockets here")

    def _look(self) -> None:
        self._looking = self._reactor.callLater(LOOK_SECONDS, self._look)
        latest = self._reactor.seconds() - self._rest.stream_patience
        for viewer in list(self._visits.viewers):
            if viewer.outlet.blocked and viewer.outlet.blocked_since < latest:
                viewer.too_slow()
        now = self._reactor.seconds()
        for viewer in [viewer for viewer, expires in self._visits.expiring.items() if expires <= now]:
            del self._visits.expiring[viewer]
            viewer.expired()


def _authority(url: str) -> tuple[str, int | None] | None:
    """Host and port, the default one included; None where there is none."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname else None


def _query(request: Any, *names: str) -> dict[str, str]:
    """The query parameters by name. :raises BadRequest: one is unknown or repeated."""
    found: dict[str, str] = {}
    text = request.uri.partition(b"?")[2]
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise BadRequest("the query is malformed") from None
    for name, value in pairs:
        if name not in names:
            raise BadRequest(f"{name} is no parameter here; there are {', '.join(names)}")
        if name in found:
            raise BadRequest(f"{name} is given more than once")
        found[name] = value
    return found


def _offset(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise BadRequest(f"{name} must be a number of bytes")
    return int(text)


def _flag(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise BadRequest(f"{name} must be true or false")
    return text == "true"
