# SPDX-License-Identifier: Apache-2.0
"""The bytes in which a stream goes out: websocket messages, Server-Sent Events, chunks of an HTTP body."""

from __future__ import annotations

import json
from functools import cached_property

from autobahn.websocket.protocol import PreparedMessage

PING_EVENT = b": ping\n\n"
LAST_CHUNK = b"0\r\n\r\n"


def as_frame(data: bytes) -> bytes:
    """A text message of a websocket."""
    return bytes(PreparedMessage(data, isBinary=False, applyMask=False, doNotCompress=True).payloadHybi)


def as_chunk(data: bytes) -> bytes:
    """A chunk of an HTTP body. Not for an empty one, which would be the last."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def as_event(name: str, data: str, identifier: str | None = None) -> bytes:
    """A named Server-Sent Event; its data has no line break."""
    head = f"event: {name}\n" if identifier is None else f"event: {name}\nid: {identifier}\n"
    return f"{head}data: {data}\n\n".encode()


class Text:
    """A piece of a log, whole characters in UTF-8, and its forms. Shared by all readers.

    :param end: the offset behind it.
    """

    def __init__(self, data: bytes, end: int) -> None:
        self.data = data
        self.end = end

    @cached_property
    def frame(self) -> bytes:
        return as_frame(self.data)

    @cached_property
    def chunk(self) -> bytes:
        return as_chunk(self.data)

    @cached_property
    def event(self) -> bytes:
        """A Server-Sent Event. No data of those can have a carriage return, so such a text goes as JSON."""
        if b"\r" in self.data:
            return as_event("json", json.dumps(self.data.decode(), ensure_ascii=False), str(self.end))
        return b"id: %d\ndata: %b\n\n" % (self.end, self.data.replace(b"\n", b"\ndata: "))

    @cached_property
    def event_chunk(self) -> bytes:
        return as_chunk(self.event)
