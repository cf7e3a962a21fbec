# SPDX-License-Identifier: Apache-2.0
"""What all our websockets have in common, on autobahn.

autobahn's own defaults drop a faulty connection without a close code, take messages of any size, never ping, and
answer a bad handshake with HTML.
"""

from __future__ import annotations

from typing import Any

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol

from zuul.web import errors
from zuul.web.filters import error_headers
from zuul.web.streaming.endings import EXPIRED, NOT_READING, SERVER_STOPS, UNSUPPORTED_DATA, Ending, bad_request
from zuul.web.streaming.http import common_fields
from zuul.web.streaming.outlet import Outlet, prepare
from zuul.web.streaming.visits import Visit

MAX_MESSAGE_BYTES = 4096
PING_SECONDS = 20.0
PONG_SECONDS = 60.0
"""How long a pong may take: to a slow reader, the ping comes behind what it has not read yet."""
HANDSHAKE_SECONDS = 5.0
CLOSE_SECONDS = 5.0
"""How long a viewer may take to answer a close frame before the connection is dropped, unless it is still reading."""
MAX_REASON_BYTES = 123
PONG = 10

_HANDSHAKE_FIELDS = (b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version")


class Websocket(WebSocketServerProtocol):  # type: ignore[misc]
    """A viewer that came by websocket. Belongs to the reactor's thread.

    Subclasses are told by `opened`, `asked`, `drained` and `left`.
    """

    outlet: Outlet
    visit: Visit
    is_open = None
    _dropping: Any = None
    _patient_until = 0.0
    _unanswered: bytes | None = None
    """The last ping that came while the connection was blocked."""

    def opened(self) -> None:
        """The handshake is done."""

    def asked(self, text: str) -> None:
        """A text message came in."""

    def drained(self) -> None:
        """The connection takes more."""

    def left(self) -> None:
        """The connection is gone, or about to go. Called once."""

    def end(self, ending: Ending) -> None:
        """Say goodbye with a close code; nothing is sent after that."""
        self._leave()
        patient = not self.outlet.blocked and ending != SERVER_STOPS
        self._patient_until = self.factory.reactor.seconds() + self.visit.dead_seconds if patient else 0.0
        if self.outlet.amid:  # a message goes on, and nothing can be put into it
            self.wasNotCleanReason = ending.reason
            self.dropConnection(abort=True)
            return
        self.sendCloseFrame(ending.code, ending.reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore").encode())
        self.outlet.release()

    def too_slow(self) -> None:
        """The viewer has not read for too long."""
        self.end(NOT_READING)

    def expired(self) -> None:
        """The viewer's token has expired."""
        self.end(EXPIRED)

    # -- autobahn's callbacks

    def onConnect(self, request: Any) -> tuple[None, dict[str, str]]:
        return None, {"X-Request-Id": self.visit.identifier}

    def onOpen(self) -> None:
        prepare(self.transport, self.visit.dead_seconds)
        self.outlet = Outlet(self.transport, self._takes_more)
        for name in ("http_request_data", "http_response_data", "http_headers"):
            setattr(self, name, None)  # autobahn keeps them for as long as the connection lasts
        self.opened()

    def onMessage(self, payload: bytes, isBinary: bool) -> None:
        if self._has_left:
            return  # autobahn goes on telling of messages while it waits for the answer to a close frame
        if isBinary:
            self.end(Ending(UNSUPPORTED_DATA, "the request must be a text message"))
        else:
            self.asked(payload.decode())

    def onCloseFrame(self, code: int | None, reasonRaw: bytes | None) -> Any:
        self._leave()
        return super().onCloseFrame(code, reasonRaw)

    def dropConnection(self, abort: bool = False) -> None:
        # autobahn takes a faulty close frame for the answer to the close frame that it has just written for it.
        abort = abort and not self.wasClean
        if not abort and self.state != self.STATE_CLOSED:  # waits for the peer to read, who may have stopped that
            self._dropping = self.factory.reactor.callLater(CLOSE_SECONDS, self.transport.abortConnection)
        super().dropConnection(abort)

    def onClose(self, wasClean: bool, code: int | None, reason: str | None) -> None:
        if self._dropping is not None and self._dropping.active():
            self._dropping.cancel()
        self._leave()
        self.visit.over(101)

    def failHandshake(self, reason: str, code: int = 400, responseHeaders: Any = None) -> None:
        error = errors.BadRequest(f"this is no websocket handshake: {reason}")
        body = errors.body(error)
        of_error = {**dict(common_fields(self.visit)), **dict(error_headers(error, body))}
        fields = [*of_error.items(), *(responseHeaders or ()), ("Connection", "close")]
        head = "".join(f"{name}: {value}\r\n" for name, value in fields)
        self.transport.write(f"HTTP/1.1 400 Bad Request\r\n{head}\r\n".encode("latin-1") + body)
        self.wasNotCleanReason = reason
        self._leave()
        self.visit.over(400)
        self.dropConnection(abort=False)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: bytes | None = None, isReply: bool = False) -> None:
        self._leave()  # autobahn closes by itself too, for a violation of the protocol; nothing may follow
        super().sendCloseFrame(code, reasonUtf8, isReply)

    def sendData(self, data: bytes, sync: bool = False, chopsize: int | None = None) -> None:
        # All that autobahn sends by itself: the handshake, and control frames.
        if self.state == self.STATE_OPEN and self.outlet.amid:
            return  # nothing can be put into a message, and a peer that is sent one needs no sign of life
        super().sendData(data, sync, chopsize)

    def sendPong(self, payload: bytes | None = None) -> None:
        # For who sends pings and does not read, they must not pile up; the last one is enough (RFC 6455, 5.5.3).
        payload = payload or b""
        if self.outlet.blocked:
            self._unanswered = payload
        elif self.state == self.STATE_OPEN:
            self.outlet.write(bytes((0x80 | PONG, len(payload))) + payload)

    def _takes_more(self) -> None:
        payload, self._unanswered = self._unanswered, None
        if payload is not None:
            self.sendPong(payload)
        if not self.outlet.blocked:
            self.drained()

    def _sendAutoPing(self) -> None:
        if self.outlet.amid:
            self.autoPingPendingCall = self.factory._batched_timer.call_later(PING_SECONDS, self._sendAutoPing)
        else:
            super()._sendAutoPing()

    def onCloseHandshakeTimeout(self) -> None:
        # What the kernel has taken may still be on its way to a slow reader, and an abort would lose it.
        transport = self.transport
        if self.state != self.STATE_CLOSED and (transport.dataBuffer or transport._tempDataBuffer):
            if self.factory.reactor.seconds() < self._patient_until:  # the close frame is behind what it still reads
                again = self.factory._batched_timer.call_later(CLOSE_SECONDS, self.onCloseHandshakeTimeout)
                self.closeHandshakeTimeoutCall = again
            else:
                super().onCloseHandshakeTimeout()
        else:
            self.wasClean = True
            self.dropConnection(abort=False)

    _has_left = False

    def _leave(self) -> None:
        if not self._has_left:
            self._has_left = True
            self.left()


class Websockets(WebSocketServerFactory):  # type: ignore[misc]
    """The options of all our websockets."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(reactor=reactor)
        self.server = None
        self.setProtocolOptions(
            versions=[13],
            webStatus=False,
            failByDrop=False,
            maxFramePayloadSize=MAX_MESSAGE_BYTES,
            maxMessagePayloadSize=MAX_MESSAGE_BYTES,
            openHandshakeTimeout=HANDSHAKE_SECONDS,
            closeHandshakeTimeout=CLOSE_SECONDS,
            autoPingInterval=PING_SECONDS,
            autoPingTimeout=PONG_SECONDS,
        )

    def accept(self, request: Any, websocket: Websocket) -> None:
        """Hand the connection of a request for an upgrade over, after all our own questions are answered."""
        websocket.factory = self
        fields = {name: b",".join(request.requestHeaders.getRawHeaders(name, ())) for name in _HANDSHAKE_FIELDS}
        head = b"".join(b"%b: %b\r\n" % field for field in fields.items() if field[1])
        request.channel.hand_over(websocket, b"GET / HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % head)


__all__ = ["Websocket", "Websockets", "bad_request"]
