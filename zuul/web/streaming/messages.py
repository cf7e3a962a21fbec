# SPDX-License-Identifier: Apache-2.0
"""Messages as they go out, rendered once for all listeners, and the window of those that are kept.

Ids are EPOCH-SEQUENCE: the epoch is another for each feed, the sequence counts its messages without gaps. The first
state has 1; 0 is never in a window, so whoever has an id with it has missed everything.
"""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from zuul.web.streaming.forms import as_chunk, as_event, as_frame

NOTHING_YET = 0
FIRST = 1
MOST_MESSAGES = 100_000
MOST_BYTES = 32 << 20
PIECE_BYTES = 1 << 16
"""What goes out at once, so that a connection that does not take it holds no more than that."""
MOST_READ = 64
"""Pieces that are kept for those who will ask for the same."""

_ID = re.compile(r"([0-9a-f]{1,64})-([0-9]{1,18})", re.ASCII)


class Lost(Exception):
    """What comes after a position cannot be told; the listener has to join again. The words are for clients."""


class Message:
    """One message. Never changes, and all listeners share it.

    :param text: the JSON object, in one line.
    """

    def __init__(self, type_: str, epoch: str, sequence: int, text: bytes) -> None:
        self.type = type_
        self.id = f"{epoch}-{sequence}"
        self.sequence = sequence
        self.text = text

    @classmethod
    def of(cls, members: dict[str, Any], epoch: str, sequence: int, time: str) -> Message:
        """:param members: those of its type, without `id` and `time`."""
        type_ = members["type"]
        whole = {"type": type_, "id": f"{epoch}-{sequence}", "time": time, **members}
        return cls(type_, epoch, sequence, json.dumps(whole, separators=(",", ":"), allow_nan=False).encode())


class Piece(tuple[Message, ...]):
    """Successive messages, and the forms in which they go out together. Shared by all who read the same, so that each
    form is made once, and an outlet of thousands has one object to write."""

    @cached_property
    def frame(self) -> bytes:
        """Text messages of a websocket, one for each."""
        return b"".join(as_frame(message.text) for message in self)

    @cached_property
    def event(self) -> bytes:
        """Server-Sent Events."""
        return b"".join(as_event(message.type, message.text.decode(), message.id) for message in self)

    @cached_property
    def event_chunk(self) -> bytes:
        return as_chunk(self.event)


NOTHING = Piece()


class Window:
    """The last messages of a feed, in order and without gaps.

    :param seconds: how long a message is kept.
    """

    def __init__(
        self, epoch: str, seconds: float, *, most_messages: int = MOST_MESSAGES, most_bytes: int = MOST_BYTES
    ) -> None:
        self.epoch = epoch
        self.last = FIRST
        """The sequence of the newest message, or of the first state."""
        self._seconds = seconds
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._messages: list[Message] = []
        self._bytes = 0
        self._ages: deque[tuple[float, int]] = deque()
        """When messages came, and the sequence of the last of them."""
        self._read: dict[int, Piece] = {}
        """What `after` has given since the last message came: nearly all listeners ask for the same."""

    def append(self, messages: Sequence[Message], now: float) -> None:
        """Add the next ones, which came at a monotonic time."""
        self._messages += messages
        self._bytes += sum(len(message.text) for message in messages)
        self.last += len(messages)
        self._ages.append((now, self.last))
        self._read.clear()
        surplus, size = 0, self._bytes
        while size > self._most_bytes or len(self._messages) - surplus > self._most_messages:
            size -= len(self._messages[surplus].text)
            surplus += 1
        self._drop(surplus)
        self.forget(now)

    def forget(self, now: float) -> None:
        """Drop what is too old."""
        while self._ages and now - self._ages[0][0] > self._seconds:
            _, sequence = self._ages.popleft()
            self._drop(sequence - self._before)

    @property
    def _before(self) -> int:
        """The sequence before the first that is kept."""
        return self.last - len(self._messages)

    def _drop(self, count: int) -> None:
        if count > 0:
            self._bytes -= sum(len(message.text) for message in self._messages[:count])
            del self._messages[:count]
            self._read.clear()

    def after(self, sequence: int) -> Piece:
        """What came after a sequence: as much as goes out at once, at least one message if there is one.

        :raises Lost: not all of it is kept.
        """
        read = self._read.get(sequence)
        if read is None:
            first = sequence - self._before
            if first < 0:
                raise Lost("what came after this id is no longer kept")
            if sequence > self.last:
                raise Lost("this id has not been given out")
            if len(self._read) >= MOST_READ:
                self._read.clear()
            read = self._read[sequence] = self._piece(first)
        return read

    def _piece(self, first: int) -> Piece:
        size = 0
        end = first
        while end < len(self._messages) and (end == first or size + len(self._messages[end].text) <= PIECE_BYTES):
            size += len(self._messages[end].text)
            end += 1
        return Piece(self._messages[first:end]) if end > first else NOTHING

    def sequence_of(self, id_: str) -> int:
        """The sequence in an id, be it kept or not.

        :raises Lost: it is no id of this feed.
        """
        match = _ID.fullmatch(id_)
        if match is None:
            raise Lost("this is no id")
        if match[1] != self.epoch:
            raise Lost("this id is of another server, or of a time that nobody listened in")
        return int(match[2])


def rfc3339(epoch_seconds: float) -> str:
    """In UTC, with milliseconds."""
    text = datetime.fromtimestamp(epoch_seconds, timezone.utc).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
