# SPDX-License-Identifier: Apache-2.0
"""Responses of the streamer: ordinary ones, and those that go on for as long as there is something to say.

The latter take the connection over from twisted's HTTP, whose requests cost some 10 kB each and several calls a
write; such a response is the last on its connection.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from zuul.web import errors
from zuul.web.errors import RestError
from zuul.web.filters import error_headers
from zuul.web.origins import READABLE_FIELDS
from zuul.web.streaming.forms import LAST_CHUNK
from zuul.web.streaming.outlet import Outlet, prepare
from zuul.web.streaming.visits import Visit

PING_SECONDS = 20.0
CLOSE_SECONDS = 5.0
MAX_IGNORED_BYTES = 1 << 16
"""What a client may send that nobody reads, as more requests that will have no answer."""

METHODS = "GET, HEAD, OPTIONS"

Fields = list[tuple[str, str]]


def common_fields(visit: Visit) -> Fields:
    cors = dict(visit.cors)
    return [
        ("Cache-Control", "no-store"),
        ("Vary", ", ".join(["Accept", *filter(None, [cors.pop("Vary", "")])])),
        ("X-Content-Type-Options", "nosniff"),
        *cors.items(),
        ("Access-Control-Expose-Headers", READABLE_FIELDS),
        ("X-Request-Id", visit.identifier),
    ]


def respond(request: Any, status: int, fields: Fields, visit: Visit) -> None:
    """Begin an ordinary response; its body and its finish are the caller's."""
    request.setResponseCode(status)
    for name, value in [*common_fields(visit), *fields]:
        request.setHeader(name, value)
    request.notifyFinish().addBoth(lambda _: visit.over(status))


def options(request: Any, visit: Visit) -> None:
    """Answer OPTIONS, be it a question of a browser before it lets a page of another origin ask."""
    fields = [("Allow", METHODS), ("Access-Control-Allow-Methods", METHODS)]
    fields.append(("Access-Control-Allow-Headers", "Authorization, Last-Event-ID, X-Request-Id"))
    respond(request, 204, fields, visit)
    request.finish()


def refuse(request: Any, error: RestError, visit: Visit) -> None:
    """Answer with an error."""
    body = errors.body(error)
    request.setResponseCode(error.status, error.title.encode())
    fields = [*common_fields(visit), *error_headers(error, body)]
    for name, value in fields:
        request.setHeader(name, value)
    request.notifyFinish().addBoth(lambda _: visit.over(error.status))
    request.write(body)
    request.finish()


class StreamedResponse(Protocol):  # type: ignore[misc]
    """A response without a known length. Belongs to the reactor's thread.

    :param ping: what is sent each 20 seconds, so that nobody takes the silence for the end; b"" for nothing.

    Subclasses are told by `begun`, `drained` and `left`.
    """

    ping = b""
    content_type = "text/plain; charset=utf-8"

    def __init__(self, request: Any, visit: Visit, reactor: Any) -> None:
        self.visit = visit
        self._reactor = reactor
        self.chunked = request.clientproto == b"HTTP/1.1"
        self._only_head = request.method == b"HEAD"
        self._pinging: Any = None
        self._ignored = 0
        self._has_left = False

    def begun(self) -> None:
        """The head of the response has been sent."""

    def drained(self) -> None:
        """The connection takes more."""

    def left(self) -> None:
        """The connection is gone, or about to go. Called once."""

    def accept(self, request: Any) -> None:
        """Take the connection of the request, and begin the response."""
        request.channel.hand_over(self)

    def connectionMade(self) -> None:
        self.visit.by(self)
        prepare(self.transport, self.visit.dead_seconds)
        self.outlet = Outlet(self.transport, self.drained)
        fields = [
            ("Content-Type", self.content_type),
            *common_fields(self.visit),
            ("X-Accel-Buffering", "no"),
            ("Connection", "close"),
            *([("Transfer-Encoding", "chunked")] if self.chunked else []),
        ]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.transport.write(f"HTTP/1.1 200 OK\r\n{head}\r\n".encode("latin-1"))
        if self._only_head:
            self._close(patient=False)
            return
        if self.ping:
            self._pinging = self._reactor.callLater(PING_SECONDS, self._send_ping)
        self.begun()

    def framed(self, data: bytes, chunk: bytes) -> bytes:
        """The one of two forms of the same that this client takes."""
        return chunk if self.chunked else data

    def finish(self) -> None:
        """All has been said."""
        if self.chunked and not self.outlet.amid:
            self.transport.write(LAST_CHUNK)
        self._close(patient=not self.outlet.blocked)

    def break_off(self) -> None:
        """End so that the client knows that something is missing: without the last chunk, or else by a reset."""
        if self.chunked:
            self._close(patient=False)
        else:
            self._leave()
            self.transport.abortConnection()

    def _close(self, *, patient: bool) -> None:
        """:param patient: whether a slow reader has the time to read what it has not yet."""
        self._leave()
        if self.outlet.amid:
            self.transport.abortConnection()
            return
        self.outlet.release()
        self.transport.loseConnection()
        seconds = self.visit.dead_seconds if patient else CLOSE_SECONDS
        self._pinging = self._reactor.callLater(seconds, self._give_up)

    def _give_up(self) -> None:
        """The peer does not take what was left."""
        self._pinging = None
        if self.transport.dataBuffer or self.transport._tempDataBuffer:
            self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._ignored += len(data)
        if self._ignored > MAX_IGNORED_BYTES:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure) -> None:
        self._leave()
        self.visit.over(200)

    def _leave(self) -> None:
        if not self._has_left:
            self._has_left = True
            self.left()
        if self._pinging is not None:
            self._pinging.cancel()
            self._pinging = None

    def _send_ping(self) -> None:
        self._pinging = self._reactor.callLater(PING_SECONDS, self._send_ping)
        if not self.outlet.blocked:
            self.outlet.write(self.framed(self.ping, b"%x\r\n%b\r\n" % (len(self.ping), self.ping)))
