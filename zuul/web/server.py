# SPDX-License-Identifier: Apache-2.0
"""The all-in-one server: everything on one port, by twisted.

The reactor's thread reads requests and writes answers; it never waits. WSGI applications run in a pool
of threads. A plain GET of a status does not even get that far: `_Channel` knows it by its first bytes
and answers from the snapshots, which costs a tenth of twisted's own way through a request. That is
done only while nothing but our own filters stands before the snapshots.
"""

from __future__ import annotations

import logging
import socket
import time
from typing import Any

from twisted.internet import defer, reactor, task
from twisted.python.threadpool import ThreadPool
from twisted.web import http, resource, server, wsgi

from zuul.web import errors
from zuul.web.application import services, snapshots_in_front
from zuul.web.filters import (
    WsgiApplication,
    access_log,
    error_headers,
    log_access,
    request_id,
    status_tenant,
)
from zuul.web.settings import Settings
from zuul.web.snapshots import Answer, Flight, Snapshot, Snapshots, accepts_gzip, respond

log = logging.getLogger("zuul.web.server")

STOP_SECONDS = 30.0
"""How long requests under way may take to finish once the server is told to stop."""
IDLE_SECONDS = 75.0
"""How long a connection may stay silent between requests or within one."""
LINGER_SECONDS = 2.0
"""How long a refused client may go on sending."""
MAX_HEADERS = 100
MAX_HEAD_BYTES = 65536
"""Above what GuardFilter allows, which can say more; beyond this a request is not taken in at all."""
WRITE_BYTES = 1 << 18


def paste_runner(application: WsgiApplication, global_conf: dict[str, str], **local_conf: str) -> None:
    """`egg:zuul-rest#server`: serve until SIGTERM or SIGINT, on [web] listen_address and port."""
    found = services(global_conf.get("zuul_conf"))
    try:
        serve(application, found.settings)
    finally:
        found.close()


def serve(application: WsgiApplication, settings: Settings, on_ready: Any = None) -> None:
    """Listen and run the reactor; returns after a graceful stop. `on_ready(port)` runs once it listens.

    :raises OSError: the address cannot be listened on.
    """
    listener = listen_socket(settings.web.listen_address, settings.web.port)
    pool = ThreadPool(0, settings.rest.threads, "wsgi")
    front = snapshots_in_front(application)
    site = _Site(
        _Everything(pool, application),
        front.snapshots if front else None,
        settings.rest.access_log,
        settings.rest.max_body_bytes,
    )
    port_number = listener.getsockname()[1]
    family = listener.family
    listening = reactor.adoptStreamPort(listener.fileno(), family, site)
    listener.close()  # the reactor has a copy
    pool.start()

    @defer.inlineCallbacks
    def drain() -> Any:
        log.info("stopping: %d connections are open", len(site.channels))
        yield listening.stopListening()
        deadline = reactor.seconds() + STOP_SECONDS
        for channel in list(site.channels):
            channel.finish_and_close()
        while site.channels and reactor.seconds() < deadline:
            yield task.deferLater(reactor, 0.02, lambda: None)
        pool.stop()

    reactor.addSystemEventTrigger("before", "shutdown", drain)
    log.info("listening on %s port %d", settings.web.listen_address, port_number)
    if on_ready is not None:
        reactor.callWhenRunning(on_ready, port_number)
    reactor.run()


def listen_socket(address: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4 as well. :raises OSError: it cannot be had."""
    family, _, _, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        listener.bind(target)
        listener.listen(1024)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class _Everything(resource.Resource):  # type: ignore[misc]
    """All URLs go to the WSGI application, with the path as the client wrote it for one check."""

    isLeaf = True

    def __init__(self, pool: ThreadPool, application: WsgiApplication) -> None:
        super().__init__()
        self._wsgi = wsgi.WSGIResource(reactor, pool, application)

    def render(self, request: server.Request) -> Any:
        path = request.uri.split(b"?", 1)[0]
        if not _well_encoded(path):
            return _error(request, errors.BadRequest("the path has a % without two hexadecimal digits behind it"))
        return self._wsgi.render(request)


def _well_encoded(path: bytes) -> bool:
    return all(
        len(piece) >= 2 and piece[:2].isalnum() and all(c in b"0123456789abcdefABCDEF" for c in piece[:2])
        for piece in path.split(b"%")[1:]
    )


def _error(request: server.Request, error: errors.RestError) -> bytes:
    body = errors.body(error)
    request.setResponseCode(error.status, error.title.encode())
    for name, value in error_headers(error, body):
        request.setHeader(name, value)
    return body


class _Site(server.Site):  # type: ignore[misc]
    def __init__(
        self, root: resource.Resource, snapshots: Snapshots | None, log_requests: bool, max_body_bytes: int
    ) -> None:
        super().__init__(root, requestFactory=_Request, timeout=IDLE_SECONDS)
        self.protocol = _Channel
        self.snapshots = snapshots
        self.log_requests = log_requests
        self.max_body_bytes = max_body_bytes
        self.channels: set[_Channel] = set()
        self._date = (0, b"")

    def date(self) -> bytes:
        """The Date field, made once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, b"Date: " + http.datetimeToString(now) + b"\r\n")
        return self._date[1]

    def log(self, request: Any) -> None:
        """Requests are logged by RequestFilter and by the channel, not by twisted."""


class _Request(server.Request):  # type: ignore[misc]
    """A request on twisted's own way, whose body is bounded before it is read."""

    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length if length is None or length <= self._limit() else 0)
        self._count(length or 0)

    def handleContentChunk(self, data: bytes) -> None:
        if self.content_length_unknown:
            self._count(len(data))
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            super().requestReceived(command, path, version)

    @property
    def content_length_unknown(self) -> bool:
        return bool(self.channel.length is None)

    def _limit(self) -> int:
        return int(self.channel.factory.max_body_bytes)

    def _count(self, size: int) -> None:
        self._received += size
        if self._received > self._limit() and not self._refused:
            self._refused = True
            self.channel.refuse(errors.TooLarge(f"a body may have {self._limit()} bytes"))


class _Channel(http.HTTPChannel):  # type: ignore[misc]
    """One HTTP/1.1 connection. Belongs to the reactor's thread."""

    maxHeaders = MAX_HEADERS
    MAX_LENGTH = MAX_HEAD_BYTES
    totalHeadersSize = MAX_HEAD_BYTES

    _midway = False
    """Whether twisted's parser has seen the beginning of a request that is not done."""
    _closing = False
    _answering = False
    """Whether the short way waits for a flight or for the client to read."""
    _behind = b""
    """What the client sent meanwhile."""

    def connectionMade(self) -> None:
        super().connectionMade()
        self.factory.channels.add(self)

    def connectionLost(self, reason: Any) -> None:
        self.factory.channels.discard(self)
        self._answering = False
        super().connectionLost(reason)

    def finish_and_close(self) -> None:
        """Close after the request under way, at once if there is none."""
        self._closing = True
        if self.requests:
            self.requests[-1].notifyFinish().addBoth(lambda _: self.loseConnection())
        elif not self._answering:
            self.loseConnection()

    def dataReceived(self, data: bytes) -> None:
        if self._answering:
            self._behind += data
            if len(self._behind) > MAX_HEAD_BYTES:
                self.transport.abortConnection()
            return
        if not self._midway and data.startswith(b"GET /api/tenant/") and self._short_way(data):
            return
        self._midway = True
        super().dataReceived(data)

    def requestDone(self, request: Any) -> None:
        more_came = bool(self._dataBuffer)
        super().requestDone(request)
        if not more_came and not self.requests:
            self._midway = False

    def refuse(self, error: errors.RestError) -> None:
        """Answer and close, but let the client finish what it sends: a reset would lose the answer."""
        body = errors.body(error)
        fields = "".join(f"{name}: {value}\r\n" for name, value in error_headers(error, body))
        head = f"HTTP/1.1 {error.status} {error.title}\r\n{fields}Connection: close\r\n\r\n"
        self.transport.write(head.encode("latin-1") + body)
        self.dataReceived = lambda data: None
        self.lineReceived = lambda line: None
        self.setTimeout(None)
        self.transport.loseWriteConnection()
        reactor.callLater(LINGER_SECONDS, self.transport.abortConnection)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """twisted's only hook for a request that it cannot parse; it answers without a body."""
        self.refuse(errors.BadRequest("this is not a valid HTTP request, or its head is too large"))

    # -- the short way, for GET of a status

    def _short_way(self, data: bytes) -> bool:
        """Answer, and say so; False for anything that is not the plain case."""
        snapshots = self.factory.snapshots
        end_of_path = data.find(b" HTTP/1.1\r\n", 16, 2048)
        if snapshots is None or end_of_path < 0 or data.find(b"\r\n\r\n") != len(data) - 4:
            return False
        path = data[4:end_of_path]
        if not path.endswith(b"/status") or b"%" in path or b"?" in path or not path.isascii():
            return False
        tenant = status_tenant(path.decode())
        fields = _fields(data[end_of_path + 11 : -4])
        if tenant is None or fields is None:
            return False
        self.resetTimeout()
        request = _ShortRequest(path.decode(), tenant, fields)
        try:
            found = snapshots.look(tenant, request.accepts_gzip)
        except errors.RestError as error:
            self._fail(request, error)
            return True
        if isinstance(found, Flight):
            self._wait_for(request, found, snapshots)
        else:
            self._answer(request, found, snapshots)
        return True

    def _wait_for(self, request: _ShortRequest, flight: Flight, snapshots: Snapshots) -> None:
        self._answering = True
        self.setTimeout(None)
        waiting = defer.Deferred()
        flight.landed.add_done_callback(lambda _: reactor.callFromThread(waiting.called or waiting.callback, None))
        patience = snapshots.patience(request.tenant, flight)
        if patience is not None:
            waiting.addTimeout(patience, reactor, onTimeoutCancel=lambda *_: None)

        def over(_: Any) -> None:
            if not self._answering:
                return  # the client left
            self._answering = False
            self.setTimeout(self.timeOut)
            try:
                self._answer(request, snapshots.landed(request.tenant), snapshots)
            except errors.RestError as error:
                self._fail(request, error)

        waiting.addCallback(over)

    def _answer(self, request: _ShortRequest, snapshot: Snapshot, snapshots: Snapshots) -> None:
        fields = request.fields
        answer = respond(
            snapshot,
            fields.get(b"accept-encoding", ""),
            fields.get(b"if-none-match"),
            fields.get(b"if-modified-since"),
        )
        age = b"Age: %d\r\n" % snapshots.age_seconds(snapshot)
        self._send(request, answer.status, answer.head + age, answer.body)

    def _fail(self, request: _ShortRequest, error: errors.RestError) -> None:
        body = errors.body(error)
        answer = Answer(f"{error.status} {error.title}", error_headers(error, body), body)
        self._send(request, answer.status, answer.head + b"Access-Control-Allow-Origin: *\r\n", body)

    def _send(self, request: _ShortRequest, status: str, head: bytes, body: bytes) -> None:
        if self.factory.log_requests and access_log.isEnabledFor(logging.INFO):
            client = self.transport.getPeer().host
            log_access(request.identifier, client, "GET", request.path, status[:3], str(len(body)), request.began)
        last = b"Connection: close\r\n\r\n" if self._closing else b"\r\n"
        head = b"%b%bX-Request-Id: %b\r\n%b" % (head, self.factory.date(), request.identifier.encode(), last)
        if len(body) <= WRITE_BYTES:
            self.transport.write(head + body)
            self._sent()
            return
        self._answering = True
        self.transport.write(head)
        _Sender(self, body).resumeProducing()

    def _sent(self) -> None:
        self._answering = False
        if self._closing:
            self.loseConnection()
        elif self._behind:
            data, self._behind = self._behind, b""
            self.dataReceived(data)


class _ShortRequest:
    """What of a request matters on the short way. Field names are lower case bytes, values text."""

    def __init__(self, path: str, tenant: str, fields: dict[bytes, str]) -> None:
        self.began = time.perf_counter()
        self.path = path
        self.tenant = tenant
        self.fields = fields
        self.identifier = request_id(fields.get(b"x-request-id"))

    @property
    def accepts_gzip(self) -> bool:
        return accepts_gzip(self.fields.get(b"accept-encoding", ""))


_LONG_WAY_FIELDS = (b"content-length", b"transfer-encoding", b"connection", b"upgrade", b"expect")


def _fields(head: bytes) -> dict[bytes, str] | None:
    """The header fields; None where only twisted's parser will do."""
    fields: dict[bytes, str] = {}
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        name = name.lower()
        if not colon or not name or name in fields or name[0] in b" \t" or name[-1] in b" \t":
            return None
        fields[name] = value.strip(b" \t").decode("latin-1")
    if b"\0" in head or b"host" not in fields or len(fields) > MAX_HEADERS:
        return None
    if any(name in fields for name in _LONG_WAY_FIELDS):
        return None if fields.get(b"connection", "").lower() != "keep-alive" else _keep_alive(fields)
    return fields


def _keep_alive(fields: dict[bytes, str]) -> dict[bytes, str] | None:
    """Browsers and wrk say what HTTP/1.1 means anyway."""
    others = [name for name in _LONG_WAY_FIELDS if name in fields and name != b"connection"]
    return None if others else fields


class _Sender:
    """Writes a large body piece by piece, as fast as the client reads. All clients share the bytes."""

    def __init__(self, channel: _Channel, body: bytes) -> None:
        self._channel = channel
        self._rest = memoryview(body)
        self._paused = False
        channel.registerProducer(self, True)

    def resumeProducing(self) -> None:
        self._paused = False
        while self._rest and not self._paused:
            self._channel.transport.write(bytes(self._rest[:WRITE_BYTES]))
            self._rest = self._rest[WRITE_BYTES:]
        if not self._rest:
            self._channel.unregisterProducer()
            self._channel._sent()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._rest = memoryview(b"")
