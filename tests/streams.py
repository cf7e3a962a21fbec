# SPDX-License-Identifier: Apache-2.0
"""Clients of live logs and events: a blocking websocket (RFC 6455), Server-Sent Events, and plain HTTP."""

from __future__ import annotations

import base64
import codecs
import contextlib
import hashlib
import http.client
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
PATIENCE_SECONDS = 25.0


def frame(opcode: int, payload: bytes, final: bool = True) -> bytes:
    """A frame as clients send it, masked."""
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", final << 7 | opcode, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", final << 7 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", final << 7 | opcode, 0x80 | 127, size)
    return head + mask + bytes(byte ^ mask[at & 3] for at, byte in enumerate(payload))


def handshake(path: str, fields: Mapping[str, str | None], key: str, host: str, method: str = "GET") -> bytes:
    """The request of a websocket; a field of None is left out."""
    usual = {"Host": host, "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": key,
             "Sec-WebSocket-Version": "13"}  # fmt: skip
    lines = [f"{name}: {value}" for name, value in {**usual, **fields}.items() if value is not None]
    return "\r\n".join((f"{method} {path} HTTP/1.1", *lines, "", "")).encode("latin-1")


class Refused(Exception):
    """The server's answer to a handshake that it did not take."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        super().__init__(f"{response.status} {response.reason}")
        self.status = response.status
        self.fields = response.headers
        self.body = response.read()


@dataclass(frozen=True)
class Closed:
    """How a websocket ended; code 1006 without a close frame."""

    code: int
    reason: str
    text: str = ""
    """What came before it."""


class WebSocket:
    """One connection. All that the server sends is held to the RFC."""

    def __init__(
        self,
        port: int,
        path: str,
        fields: Mapping[str, str | None] | None = None,
        *,
        method: str = "GET",
        receive_bytes: int | None = None,
        must_hang_up: bool = True,
    ) -> None:
        """:param must_hang_up: the server ends the connection once the close is answered, as upstream's does not.

        :raises Refused: the server does not take it.
        """
        self._must_hang_up = must_hang_up
        self._socket = socket.socket()
        self._socket.settimeout(PATIENCE_SECONDS)
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.connect(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(handshake(path, fields or {}, key, f"127.0.0.1:{port}", method))
        # Only up to the empty line, so that the frames behind it stay in the file.
        line = self._file.readline().decode("latin-1")
        if not line.startswith("HTTP/1.1 101 "):
            with self._socket:
                raise Refused(_rest_of_response(line, self._file))
        headers = http.client.parse_headers(self._file)
        accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        assert headers["Sec-WebSocket-Accept"] == accept.decode()
        assert headers["Upgrade"].lower() == "websocket"
        self.fields = headers
        self.pings = 0
        self.closed: Closed | None = None

    def __enter__(self) -> WebSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def send(self, message: str | bytes) -> None:
        text = isinstance(message, str)
        self.send_frame(TEXT if text else BINARY, message.encode() if isinstance(message, str) else message)

    def send_frame(self, opcode: int, payload: bytes, final: bool = True) -> None:
        self.send_bytes(frame(opcode, payload, final))

    def send_bytes(self, data: bytes) -> None:
        """What may be no frame at all."""
        self._socket.sendall(data)

    def hears_nothing_but_pongs(self, seconds: float) -> bool:
        """Whether it stays open and silent for so long; nothing can be received afterwards."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(TimeoutError):
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if self._frame()[0] not in (PING, PONG):
                    return False
        return True

    def close(self, code: int = 1000) -> Closed:
        """The client's own close; what the server says to it."""
        self.send_frame(CLOSE, struct.pack("!H", code))
        return self.rest()

    def drop(self) -> None:
        """Leave without a word."""
        self._file.close()
        self._socket.close()

    def __del__(self) -> None:
        # Of a test that failed; the warning that it was not closed would be one failure more.
        with contextlib.suppress(AttributeError):
            self.drop()

    def receive(self) -> str | None:
        """The next text message; None once the server has closed, which `closed` tells more of."""
        pieces: list[bytes] = []
        while True:
            opcode, final, payload = self._frame()
            if opcode == CLOSE:
                code = struct.unpack("!H", payload[:2])[0] if payload else 1005
                self.closed = self.closed or Closed(code, payload[2:].decode())
                self._answer_close(payload)
                return None
            if opcode == PING:
                self.pings += 1
                self.send_frame(PONG, payload)
            elif opcode != PONG:
                assert (opcode == TEXT) is not bool(pieces), "a message that is no text, or pieces out of order"
                pieces.append(payload)
                if final:
                    return b"".join(pieces).decode("utf-8", "strict")

    def messages(self) -> Iterator[str]:
        """Text messages up to the close."""
        while (message := self.receive()) is not None:
            yield message

    def json(self) -> Any:
        message = self.receive()
        assert message is not None, self.closed
        return json.loads(message)

    def read(self, text: str) -> None:
        """Just this text, in as many messages as it takes."""
        found = ""
        while len(found) < len(text):
            message = self.receive()
            assert message is not None, (len(found), found[-200:], self.closed)
            found += message
        if found != text:  # pytest's own comparison of long texts takes minutes
            at = next((n for n, pair in enumerate(zip(found, text, strict=False)) if len(set(pair)) > 1), len(text))
            raise AssertionError(f"at {at}: {found[at : at + 100]!r} in place of {text[at : at + 100]!r}")

    def rest(self) -> Closed:
        """All that is left, with how it ended."""
        text = "".join(self.messages())
        assert self.closed is not None
        return Closed(self.closed.code, self.closed.reason, text)

    def _answer_close(self, payload: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_frame(CLOSE, payload[:2])
            assert not self._must_hang_up or self._file.read(1) == b"", "bytes behind the close frame"

    def _frame(self) -> tuple[int, bool, bytes]:
        try:
            head = self._file.read(2)
            if len(head) < 2:
                raise ConnectionResetError
            first, size = head
            assert first & 0x70 == 0, "a reserved bit"
            assert size < 0x80, "a masked frame of a server"
            if size >= 126:
                assert first & 0x8 == 0, "a long control frame"
                extended = self._file.read(2 if size == 126 else 8)
                size = int.from_bytes(extended, "big")
            payload = self._file.read(size)
            if len(payload) < size:
                raise ConnectionResetError
        except ConnectionResetError:
            self.closed = Closed(1006, "")
            return CLOSE, True, struct.pack("!H", 1006)
        return first & 0x0F, bool(first & 0x80), payload


class _Given:
    """A socket for http.client, which wants one, of what was already received."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def makefile(self, *_: Any, **__: Any) -> Any:
        return self._file


class _Prefixed:
    """A file with one line put back."""

    def __init__(self, line: bytes, file: Any) -> None:
        self._line, self._file = line, file

    def readline(self, *arguments: int) -> bytes:
        line, self._line = self._line, b""
        return line or self._file.readline(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _rest_of_response(line: str, file: Any) -> http.client.HTTPResponse:
    assert line.startswith("HTTP/1.1 "), line
    response = http.client.HTTPResponse(_Given(_Prefixed(line.encode("latin-1"), file)))  # type: ignore[arg-type]
    response.begin()
    return response


def console(port: int, uuid: str, offset: int | None = None, *, tenant: str = "one", **options: Any) -> WebSocket:
    """A viewer of a build's log, which has sent its request."""
    viewer = WebSocket(port, f"/api/tenant/{tenant}/console-stream", **options)
    request = {"uuid": uuid, "logfile": "console.log"}
    viewer.send(json.dumps(request if offset is None else {**request, "offset": offset}))
    return viewer


class Get:
    """A GET, or another method, whose answer is read as it comes. It leaves as a context."""

    def __init__(self, port: int, path: str, fields: Mapping[str, str] | None = None, *, method: str = "GET") -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self._connection.request(method, path, headers=dict(fields or {}))
        self.response = self._connection.getresponse()
        self.status = self.response.status
        self.fields = self.response.headers

    def __enter__(self) -> Get:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def drop(self) -> None:
        self.response.close()
        self._connection.close()

    def body(self) -> bytes:
        """All of it. :raises http.client.IncompleteRead: it broke."""
        return self.response.read()

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        found = b""
        while len(found) < size:
            piece = self.response.read1(size - len(found))
            assert piece, (found, "then the end")
            found += piece
        return found

    def pieces(self) -> Iterator[bytes]:
        """What there is, as it comes. :raises http.client.IncompleteRead: it broke."""
        while piece := self.response.read1(65536):
            yield piece


@dataclass(frozen=True)
class Event:
    """One of Server-Sent Events; a comment is one without a name, whose id is None, too."""

    name: str = "message"
    data: str = ""
    id: str | None = None
    comment: str | None = None

    @property
    def text(self) -> str:
        """The piece of a log that it carries."""
        return str(json.loads(self.data)) if self.name == "json" else self.data


class ServerSentEvents(Get):
    """A stream of them, read as the standard has it."""

    def __init__(self, port: int, path: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(port, path, {"Accept": "text/event-stream", **(fields or {})})
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")

    def events(self, comments: bool = False) -> Iterator[Event]:
        """Events up to the end of the answer. :raises http.client.IncompleteRead: it broke before its last chunk."""
        name, data, identity = "message", [], None
        for line in self._lines():
            if not line:
                if data:
                    yield Event(name, "\n".join(data), identity)
                name, data = "message", []
            elif line.startswith(":"):
                if comments:
                    yield Event(comment=line[1:].strip())
            else:
                field, _, value = line.partition(":")
                value = value.removeprefix(" ")
                if field == "event":
                    name = value
                elif field == "data":
                    data.append(value)
                elif field == "id" and "\0" not in value:
                    identity = value
                else:
                    assert field == "retry", line

    def _lines(self) -> Iterator[str]:
        """Lines as browsers split them: at a carriage return also."""
        rest = ""
        while piece := self.response.read1(65536):
            rest += self._decoder.decode(piece)
            held = rest.endswith("\r")
            lines = (rest[:-1] if held else rest).replace("\r\n", "\n").replace("\r", "\n").split("\n")
            rest = lines.pop() + ("\r" if held else "")
            yield from lines
