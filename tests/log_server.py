# SPDX-License-Identifier: Apache-2.0
"""A log, and a server of it that does whatever a script says, for tests of its readers.

The server stands on a socket of 127.0.0.1 in a thread.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import struct
import threading

UUID = "3c2d5b0f6b3c4f0e9d1a7c55d0b2a111"
LOG = "".join(
    f"2026-01-01 00:00:{n % 60:02}.000000 | \x1b[3{n % 8}mubuntu\x1b[0m | line {n} äö€🙂 \u2028{' ' * (n % 3)}\n"
    + ("progress 1\rprogress 2\r\n" if n % 7 == 0 else "\n" if n % 11 == 0 else "")
    for n in range(300)
)
BYTES = LOG.encode()

END = b'event: end\ndata: {"code": 1000, "reason": "No more data"}\n\n'
PING = b": ping\n\n"


def error(code, reason):
    return b"event: error\ndata: " + json.dumps({"code": code, "reason": reason}).encode() + b"\n\n"


def text_event(text, end):
    if "\r" in text:
        return f"event: json\nid: {end}\ndata: {json.dumps(text)}\n\n".encode()
    return f"id: {end}\n".encode() + b"".join(f"data: {line}\n".encode() for line in text.split("\n")) + b"\n"


def events(start=0, end=None, seed=0):
    """The log between two offsets as a server of ours sends it, in events of any size."""
    rng = random.Random(seed)
    text = BYTES[start:end].decode()
    sent = []
    while text:
        piece, text = text[: (size := rng.choice([1, 5, 80, 400]))], text[size:]
        start += len(piece.encode())
        sent.append(text_event(piece, start))
    return b"".join(sent)


def head(status="200 OK", content_type="text/event-stream", **fields):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def stream(*parts):
    """A response that ends with its connection."""
    return head(Connection="close") + b"".join(parts)


def chunked(body, size=1000):
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return head(Transfer_Encoding="chunked") + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def refusal(status, words=None, **fields):
    body = json.dumps({"faultcode": "Client", "faultstring": words, "debuginfo": None}).encode() if words else b"<html>"
    kind = "application/json" if words else "text/html"
    return head(status, kind, Content_Length=len(body), **fields) + body


def tenants(*names):
    return head(content_type="application/json") + json.dumps([{"name": name} for name in names]).encode()


class Request:
    def __init__(self, text):
        line, *fields = text.split("\r\n")
        self.path = line.split(" ")[1]
        self.fields = dict(field.split(": ", 1) for field in fields if field)
        self.start = int(self.fields.get("Last-Event-Id", "0"))


class ScriptedServer:
    """Answers each connection with the next part of its script: bytes, or a function of the request; then it closes.

    A part `RESET` resets the connection without an answer. After the script comes what its last part was.
    """

    RESET = object()

    def __init__(self):
        self.script = []
        self.requests = []
        self.hold = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            connection, _ = self._socket.accept()
            with connection:
                received = b""
                while b"\r\n\r\n" not in received:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    received += piece
                self.requests.append(Request(received.decode()))
                part = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if part is self.RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    continue
                with contextlib.suppress(OSError):
                    for piece in [part] if isinstance(part, bytes) else part(self.requests[-1]):
                        connection.sendall(piece)

    def close(self):
        self.hold.set()
        with socket.create_connection(self._socket.getsockname()):
            pass  # the thread ends
        self._thread.join(10)
        self._socket.close()
