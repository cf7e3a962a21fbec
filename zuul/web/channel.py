# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 connection of the all-in-one server, with a short way for what memory can answer.

twisted's own way through a request costs about 0.1 ms, and a WSGI application in a thread several times
that. A plain GET whose answer is ready is known by its first bytes here and answered within some 30 us:
a status, from the snapshots; and what an application answered less than a second ago, from
`ReadyAnswers`. Everything else, and every request that is in the least unusual, goes twisted's way.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Iterable
from typing import Any

import cachetools
from twisted.internet import defer, reactor
from twisted.web import http

from zuul.web import errors
from zuul.web.filters import (
    MAX_HEADER_BYTES,
    Environ,
    StartResponse,
    WsgiApplication,
    access_log,
    error_headers,
    log_access,
    request_id,
)
from zuul.web.negotiation import accepts_gzip, entity_tags
from zuul.web.snapshots import Answer, Flight, Snapshot, respond

LINGER_SECONDS = 2.0
"""How long a refused client may go on sending."""
MAX_HEADERS = 100
MAX_HEAD_BYTES = 65536
"""Above what GuardFilter allows, which can say more; beyond this a request is not taken in at all."""
WRITE_BYTES = 1 << 18
READY_BYTES = 16 << 20

_Key = tuple[str, bool, str]
"""Path, whether gzip is taken, and the Accept field."""


class ReadyAnswers:
    """Answers of the application to plain GETs, for as long as what they were made of is fresh.

    An application marks an answer by `zuul.fresh_until` in its environ, in monotonic seconds. Written by
    the threads of the application, read by the reactor's; one lock guards the answers.
    """

    def __init__(self, *, same_for_all_origins: bool = True) -> None:
        self._same_for_all_origins = same_for_all_origins
        self._lock = threading.Lock()
        self._answers: cachetools.LRUCache[_Key, tuple[float, set[str], Answer, Answer]]
        self._answers = cachetools.LRUCache(READY_BYTES, getsizeof=lambda kept: 1024 + len(kept[2].body))

    def answer(self, request: _ShortRequest) -> Answer | None:
        """The answer to a request, if there is one that is still fresh."""
        if not self._same_for_all_origins and b"origin" in request.fields:
            return None
        key = (request.path, request.accepts_gzip, request.fields.get(b"accept", ""))
        with self._lock:
            kept = self._answers.get(key)
        if kept is None or time.monotonic() >= kept[0]:
            return None
        _, tags, full, unchanged = kept
        if_none_match = request.fields.get(b"if-none-match")
        return unchanged if if_none_match is not None and tags & entity_tags(if_none_match) else full

    def recording(self, application: WsgiApplication) -> WsgiApplication:
        """The application, whose marked answers are kept from now on."""

        def record(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
            began: list[Any] = []
            key = _key(environ)  # now: on its way the path is taken apart
            if not self._same_for_all_origins and "HTTP_ORIGIN" in environ:
                key = None

            def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
                began[:] = [status, headers]
                return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

            body = application(environ, start)
            fresh_until = environ.get("zuul.fresh_until")
            if key and fresh_until and began and began[0] == "200 OK" and isinstance(body, list):
                self._keep(key, fresh_until, began[1], b"".join(body))
            return body

        return record

    def _keep(self, key: _Key, fresh_until: float, headers: list[tuple[str, str]], body: bytes) -> None:
        headers = [field for field in headers if field[0] != "X-Request-Id"]
        etag = next((value for name, value in headers if name == "ETag"), "")
        less = [field for field in headers if field[0] not in ("Content-Type", "Content-Length", "Content-Encoding")]
        plain = etag.removesuffix('"').removesuffix("-gzip")
        tags = {f'{plain}"', f'{plain}-gzip"', "*"}  # the client may hold it in the other encoding
        kept = (fresh_until, tags, Answer("200 OK", headers, body), Answer("304 Not Modified", less, b""))
        if len(body) < READY_BYTES // 4:
            with self._lock:
                self._answers[key] = kept


def _key(environ: Environ) -> _Key | None:
    """What tells one ready answer from another; None for a request that is not plain."""
    if environ["REQUEST_METHOD"] != "GET" or environ.get("QUERY_STRING") or "HTTP_AUTHORIZATION" in environ:
        return None
    path, accept = environ["PATH_INFO"], environ.get("HTTP_ACCEPT", "")
    if len(path) + len(accept) > 1024:
        return None  # not worth keeping, and the bound of the cache does not count it
    return (path, accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")), accept)


class Channel(http.HTTPChannel):  # type: ignore[misc]
    """One HTTP/1.1 connection. Belongs to the reactor's thread."""

    maxHeaders = MAX_HEADERS
    MAX_LENGTH = MAX_HEAD_BYTES
    totalHeadersSize = MAX_HEAD_BYTES

    transport: Any
    _buffer: bytes
    _dataBuffer: list[bytes]
    _closing = False
    _refused = False
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
        """Close after the request under way, at once if there is none or it has not come in full."""
        self._closing = True
        if self.requests and self._handlingRequest:
            self.requests[-1].notifyFinish().addBoth(lambda _: self.loseConnection())
        elif not self._answering:
            self.loseConnection()

    def hand_over(self, protocol: Any, first: bytes = b"") -> None:
        """Give the connection of the request under way, which is answered no more, to another protocol.

        :param first: what the protocol is to read before anything that the client sends.
        """
        transport = self.transport
        self.transport = None
        self.setTimeout(None)
        self.factory.channels.discard(self)
        early = b"".join(self._dataBuffer) + self._buffer  # what came while the request was waited for, and with it
        self._dataBuffer, self._buffer = [], b""
        transport.unregisterProducer()
        transport.protocol = protocol
        protocol.makeConnection(transport)
        transport.resumeProducing()
        if first or early:
            protocol.dataReceived(first + early)

    def dataReceived(self, data: bytes) -> None:
        if self._answering or (self._waitingForTransport and not self._handlingRequest):
            self._behind += data  # the client first reads what it has asked for
            if len(self._behind) > MAX_HEAD_BYTES:
                self._networkProducer.pauseProducing()
            return
        if (
            self.factory.snapshots is not None
            and data.startswith(b"GET /")
            and not self._midway()
            and self._short_way(data)
        ):
            return
        super().dataReceived(data)
        if self.line_mode and not self._busyReceiving and b"\n" in self._buffer and not self.transport.disconnecting:
            # All up to the last CRLF has been taken out, and without another the parser would wait in vain.
            self._respondToBadRequestAndDisconnect()

    def _midway(self) -> bool:
        """Whether twisted's parser has seen the beginning of a request that is not done."""
        return bool(self.requests or self._buffer or self._dataBuffer)

    def refuse(self, error: errors.RestError) -> None:
        """Answer and close, but let the client finish what it sends: a reset would lose the answer."""
        if self._refused:
            return
        self._refused = True
        body = errors.body(error)
        fields = "".join(f"{name}: {value}\r\n" for name, value in error_headers(error, body))
        head = f"HTTP/1.1 {error.status} {error.title}\r\n{fields}Connection: close\r\n\r\n"
        self.transport.write(head.encode("latin-1") + body)
        self.dataReceived = lambda data: None  # type: ignore[method-assign]
        self.lineReceived = lambda line: None
        self._send100Continue = lambda: None
        self.setTimeout(None)
        self.transport.loseWriteConnection()
        reactor.callLater(LINGER_SECONDS, self.transport.abortConnection)

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > 18:
            return bool(self._failChooseTransferDecoder())  # twisted's int() refuses thousands of digits loudly
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def _respondToBadRequestAndDisconnect(self) -> None:
        """twisted's only hook for a request that it cannot parse; it answers without a body."""
        self.refuse(errors.BadRequest("this is not a valid HTTP request, or its head is too large"))

    def lineLengthExceeded(self, line: bytes) -> None:
        """A single line beyond all limits; twisted would close without a word."""
        limit = f"may have {MAX_HEAD_BYTES} bytes"
        in_head = bool(self.requests)
        self.refuse(errors.HeadersTooLarge(f"a head {limit}") if in_head else errors.UriTooLong(f"a URL {limit}"))

    # -- the short way, for a GET that memory can answer

    def _short_way(self, data: bytes) -> bool:
        """Answer, and say so; False for anything that is not the plain case."""
        end_of_path = data.find(b" HTTP/1.1\r\n", 4, 2048)
        if end_of_path < 0 or data.find(b"\r\n\r\n") != len(data) - 4 or len(data) > MAX_HEADER_BYTES:
            return False
        raw_path = data[4:end_of_path]
        if not _plain_path(raw_path):
            return False
        path = raw_path.decode()
        fields = _fields(data[end_of_path + 11 : -4])
        if fields is None:
            return False
        request = _ShortRequest(path, fields)
        urls = self.factory.urls
        tenant = urls.tenant(path, fields.get(b"accept", ""))
        if tenant is not None and not (b"origin" in fields and "HTTP_ORIGIN" in urls.long_way):
            self.resetTimeout()
            self._status(request, tenant)
            return True
        answer = self.factory.ready.answer(request) if self.factory.ready else None
        if answer is None:
            return False
        self.resetTimeout()
        self._send(request, answer.status, answer.head, answer.body)
        return True

    def _status(self, request: _ShortRequest, tenant: str) -> None:
        try:
            found = self.factory.snapshots.look(tenant, request.accepts_gzip)
        except errors.RestError as error:
            self._fail(request, error)
            return
        if isinstance(found, Flight):
            self._wait_for(request, tenant, found)
        else:
            self._answer(request, found)

    def _wait_for(self, request: _ShortRequest, tenant: str, flight: Flight) -> None:
        snapshots = self.factory.snapshots
        self._answering = True
        idle_seconds = self.setTimeout(None)
        waiting = defer.Deferred()  # the flight may land after the patience, when a callback does nothing any more
        flight.landed.add_done_callback(lambda _: reactor.callFromThread(waiting.callback, None))
        patience = snapshots.patience(tenant, flight)
        if patience is not None:
            waiting.addTimeout(patience, reactor, onTimeoutCancel=lambda *_: None)

        def over(_: Any) -> None:
            if not self._answering:
                return  # the client left
            self._answering = False
            self.setTimeout(idle_seconds)
            try:
                self._answer(request, snapshots.landed(tenant, flight))
            except errors.RestError as error:
                self._fail(request, error)

        waiting.addCallback(over)

    def _answer(self, request: _ShortRequest, snapshot: Snapshot) -> None:
        fields = request.fields
        answer = respond(
            snapshot,
            fields.get(b"accept-encoding", ""),
            fields.get(b"if-none-match"),
            fields.get(b"if-modified-since"),
        )
        age = b"Age: %d\r\n" % self.factory.snapshots.age_seconds(snapshot)
        more = self.factory.urls.more_fields(request.path, snapshot)
        rest = "".join(f"{name}: {value}\r\n" for name, value in more).encode() if more else b""
        self._send(request, answer.status, answer.head + age + rest, answer.body)

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
        elif self._behind and not self._waitingForTransport:
            self._networkProducer.resumeProducing()
            self._catch_up()

    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self._behind and not self._answering and not self._handlingRequest and not self._waitingForTransport:
            self._catch_up()

    def _catch_up(self) -> None:
        data, self._behind = self._behind, b""
        self.dataReceived(data)


_plain_path = re.compile(rb"[!-$&->@-~]+").fullmatch
_plain_field = re.compile(rb"([!#-'*+.0-9A-Z^-z|~-]+):[ \t]*([^\r\n\0]*)").fullmatch


class _ShortRequest:
    """What of a request matters on the short way. Field names are lower case bytes, values text."""

    def __init__(self, path: str, fields: dict[bytes, str]) -> None:
        self.began = time.perf_counter()
        self.path = path
        self.fields = fields
        self.identifier = request_id(fields.get(b"x-request-id"))

    @property
    def accepts_gzip(self) -> bool:
        return accepts_gzip(self.fields.get(b"accept-encoding", ""))


_LONG_WAY_FIELDS = frozenset((b"content-length", b"transfer-encoding", b"upgrade", b"expect", b"authorization"))


def _fields(head: bytes) -> dict[bytes, str] | None:
    """The header fields; None where only twisted's parser will do."""
    fields: dict[bytes, str] = {}
    for line in head.split(b"\r\n"):
        field = _plain_field(line)
        name = field[1].lower() if field else b""
        if not field or name in fields:
            return None
        fields[name] = field[2].rstrip(b" \t").decode("latin-1")
    if b"host" not in fields or len(fields) > MAX_HEADERS:
        return None
    # Browsers and wrk say keep-alive, which is what HTTP/1.1 means anyway.
    if fields.pop(b"connection", "keep-alive").lower() != "keep-alive" or not _LONG_WAY_FIELDS.isdisjoint(fields):
        return None
    return fields


class _Sender:
    """Writes a large body piece by piece, as fast as the client reads. All clients share the bytes."""

    def __init__(self, channel: Channel, body: bytes) -> None:
        self._channel = channel
        self._rest = memoryview(body)
        self._paused = False
        channel.registerProducer(self, True)

    def resumeProducing(self) -> None:
        self._paused = False
        self._channel.resetTimeout()  # a client may be slow, but not stand still
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
