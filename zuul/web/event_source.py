# SPDX-License-Identifier: Apache-2.0
"""The reader's half of Server-Sent Events, as the HTML standard has it (9.2.6, "Interpreting an event stream").

Bytes go in as they come, cut anywhere; events come out. The same bytes give the same events for any cutting.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    type: str
    data: str
    id: str
    """The last id that the stream has named, in this event or before; "" if none."""


class EventParser:
    """For one connection; the next one needs another."""

    def __init__(self) -> None:
        self.retry_seconds: float | None = None
        """How long the server wants us to wait before we connect again, if it has said so."""
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("replace").decode  # drops a byte order mark
        self._line: list[str] = []
        """The pieces of a line whose end has not come yet."""
        self._after_cr = False
        self._id = ""
        self._begin()

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that these bytes complete. What has begun and not ended is no event."""
        text = self._decode(chunk)
        if not text:
            return []
        if self._after_cr:  # and a line has ended with that already
            text = text.removeprefix("\n")
        self._after_cr = text.endswith("\r")
        first, *others = _line_ends.split(text)
        self._line.append(first)
        if not others:
            return []
        ended = ["".join(self._line), *others[:-1]]
        self._line = [others[-1]]
        return [event for line in ended if (event := self._take(line)) is not None]

    def _begin(self) -> None:
        self._type = ""
        self._data: list[str] = []

    def _take(self, line: str) -> Event | None:
        if not line:
            event = Event(self._type or "message", "\n".join(self._data), self._id) if self._data else None
            self._begin()
            return event
        field, _, value = line.partition(":")  # of a comment, the field is ""
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._type = value
        elif field == "id" and "\0" not in value:
            self._id = value
        elif field == "retry" and value.isascii() and value.isdigit():
            self.retry_seconds = int(value) / 1000
        return None


_line_ends = re.compile("\r\n|\n|\r")
