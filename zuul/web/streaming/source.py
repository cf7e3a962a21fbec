# SPDX-License-Identifier: Apache-2.0
"""The log of one running build: one connection to its executor, any number of readers.

Readers that keep up get each piece of text as it comes, rendered once for all of a kind. Whoever does not, or
comes late, reads the spool at a pace of its own. Nobody waits for anybody else.
"""

from __future__ import annotations

import codecs
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from zuul.web.backends.finger import LogConnection, ReadLog
from zuul.web.streaming.endings import END_OF_LOG, OUT_OF_REACH, REMOTE_ERROR, Ending, bad_request, unavailable
from zuul.web.streaming.forms import Text
from zuul.web.streaming.outlet import Outlet
from zuul.web.streaming.spool import Room, Spool

log = logging.getLogger("zuul.web.streaming")

QUIET_SECONDS = 0.05
"""An executor sends all that there is, and then looks every half second for more."""
CATCH_UP_SECONDS = 2.0
"""So long may a log be on its way that never gets quiet."""
LINGER_SECONDS = 3.0
"""How long a source stays when its last reader has gone; those who poll come again."""
ENDED_LINGER_SECONDS = 30.0
"""How long a whole log stays after its end, when the executor has it no more."""


class Reader(ABC):
    """One viewer of a log, at its own position. Belongs to the reactor's thread."""

    whole_characters = True
    """Whether its form can only carry whole characters."""

    def __init__(self, outlet: Outlet, position: int) -> None:
        self.outlet = outlet
        self.position = position
        """The offset of what is to be sent next; out of date while the reader is in step with the source."""
        self.source: Source | None = None
        self.reading = False
        """Whether it waits for the disk."""

    @abstractmethod
    def form(self, text: Text) -> bytes:
        """What is written of a text."""

    @abstractmethod
    def ended(self, ending: Ending) -> None:
        """There will be no more. The reader has left its source."""

    def drained(self) -> None:
        """For the outlet: the connection takes more."""
        if self.source is not None:
            self.source.serve(self)

    def leave(self) -> None:
        """The viewer has gone."""
        if self.source is not None:
            self.source.detach(self)


class Source:
    """The log of a build, from the moment when its executor is known. Belongs to the reactor's thread.

    :param address: host and port of the executor, as the scheduler said.
    :param closed: called when nobody needs it any more.
    """

    def __init__(
        self,
        uuid: str,
        address: tuple[str, int],
        *,
        room: Room,
        read_log: ReadLog,
        reactor: Any,
        closed: Callable[[Source], None],
    ) -> None:
        self.uuid = uuid
        self.tenants: set[str | None] = set()
        """Whose build it is, as far as somebody has asked."""
        self.ending: Ending | None = None
        """How it ended, once it has."""
        self.caught_up: Deferred[None] | None = Deferred()
        """Fires when what was there at the beginning has come; None from then on."""
        self.began: Deferred[None] | None = Deferred()
        """Fires with the first byte, or with the end without any; None from then on."""
        self.spool = Spool(room)
        self._address = address
        self._read_log = read_log
        self._reactor = reactor
        self._closed = closed
        self._in_step: set[Reader] = set()
        self._others: set[Reader] = set()
        """Readers that are behind, or ahead: their offset has not come yet."""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._received = 0
        """Bytes from the executor."""
        self._to_skip = 0
        """How many of them a repeated reading brings again."""
        self._progress = True
        """Whether this reading has brought anything new."""
        self._paused = False
        self._timer = reactor.callLater(CATCH_UP_SECONDS, self._has_caught_up)
        self._quiet: Any = None
        self._linger: Any = None
        self._holds = 0
        self._is_closed = False
        self._linger_if_alone()
        self._connection: LogConnection = read_log(address, uuid, self)

    @property
    def readers(self) -> int:
        return len(self._in_step) + len(self._others)

    def covers(self, position: int) -> bool:
        """Whether a reader can begin at a position."""
        if self.ending is not None and self.ending != END_OF_LOG:
            return False
        return position >= self.spool.start

    # -- readers

    def attach(self, reader: Reader) -> None:
        self._stay()
        reader.source = self
        self._others.add(reader)
        self.serve(reader)

    def hold(self) -> None:
        """Stay, also without a reader, until as many releases."""
        self._holds += 1
        self._stay()

    def release(self) -> None:
        self._holds -= 1
        self._linger_if_alone()

    def _stay(self) -> None:
        if self._linger is not None:
            self._linger.cancel()
            self._linger = None

    def detach(self, reader: Reader) -> None:
        self._in_step.discard(reader)
        self._others.discard(reader)
        reader.source = None
        self._linger_if_alone()

    def serve(self, reader: Reader) -> None:
        """Write to a reader until it is in step, or its connection takes no more, or the disk has to be asked."""
        if reader in self._in_step:
            return  # a ping was what its connection did not take at once
        while reader.source is self and not reader.reading and not reader.outlet.blocked:
            position = reader.position
            if position < self.spool.start:
                self._dismiss(reader, OUT_OF_REACH)
            elif position < self.spool.end:
                found = self.spool.read(position)
                if isinstance(found, bytes):
                    self._give(reader, found)
                else:
                    reader.reading = True
                    found.addCallback(self._was_read, reader)
            elif self.ending == END_OF_LOG and position > self.spool.end:
                self._dismiss(reader, bad_request(f"the log has {self.spool.end} bytes"))
            elif self.ending is not None:
                self._dismiss(reader, self.ending)
            else:
                if position == self.spool.end:
                    self._others.discard(reader)
                    self._in_step.add(reader)
                return

    def _was_read(self, data: bytes, reader: Reader) -> None:
        reader.reading = False
        if reader.source is not self:
            return
        if data:
            self._give(reader, data)
            self.serve(reader)
        else:
            self._dismiss(reader, OUT_OF_REACH)

    def _was_read_further(self, rest: bytes, data: bytes, reader: Reader) -> None:
        self._was_read(data + rest[: _missing(data)] if rest else b"", reader)

    def _give(self, reader: Reader, data: bytes) -> None:
        if reader.whole_characters:
            if data[0] & 0xC0 == 0x80:
                self._dismiss(reader, bad_request("the offset is inside of a character"))
                return
            whole = _whole_characters(data)
            if not whole:  # a character on the border of two blocks
                rest = self.spool.read(reader.position + len(data), 4)
                if not isinstance(rest, bytes):
                    reader.reading = True
                    rest.addCallback(self._was_read_further, data, reader)
                    return
                whole = data + rest[: _missing(data)]
            data = whole
        reader.position += len(data)
        reader.outlet.write(reader.form(Text(data, reader.position)))

    def _dismiss(self, reader: Reader, ending: Ending) -> None:
        self.detach(reader)
        reader.ended(ending)

    def _linger_if_alone(self) -> None:
        if not self.readers and not self._holds and self._linger is None and not self._is_closed:
            seconds = ENDED_LINGER_SECONDS if self.ending == END_OF_LOG else LINGER_SECONDS
            self._linger = self._reactor.callLater(seconds, self.close)

    def close(self) -> None:
        """Let go of the executor and of the spool. There are no readers any more."""
        self._is_closed = True
        self._connection.close()
        for timer in (self._timer, self._quiet, self._linger):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._quiet = self._linger = None
        self._has_begun()
        self._has_caught_up()
        self.spool.close()
        self._closed(self)

    # -- the executor

    def received(self, data: bytes) -> None:
        if self._to_skip:
            known = min(self._to_skip, len(data))
            self._to_skip -= known
            data = data[known:]
        if not data:
            return
        self._received += len(data)
        self._progress = True
        self._publish(self._decoder.decode(data).encode())
        if self.began is not None:
            self._has_begun()
        if self.caught_up is not None:
            if self._quiet is None:
                self._quiet = self._reactor.callLater(QUIET_SECONDS, self._has_caught_up)
            else:
                self._quiet.reset(QUIET_SECONDS)
        if self.spool.busy and not self._paused:
            self._paused = True
            self._connection.pause()
            self._wait_for_disk()

    def _wait_for_disk(self) -> None:
        if self.spool.busy:
            self._reactor.callLater(0.01, self._wait_for_disk)
        else:
            self._paused = False
            self._connection.go_on()

    def _publish(self, data: bytes) -> None:
        if not data:
            return
        self.spool.append(data)
        text = Text(data, self.spool.end)
        behind = []
        for reader in self._in_step:
            if reader.outlet.blocked:  # by a ping
                reader.position = text.end - len(data)
                behind.append(reader)
            elif not reader.outlet.write(reader.form(text)):
                reader.position = text.end
                behind.append(reader)
        for reader in behind:
            self._in_step.discard(reader)
            self._others.add(reader)
        if self._others:
            for reader in list(self._others):
                if not reader.outlet.blocked:
                    self.serve(reader)

    def ended(self) -> None:
        """The end of the log, or of the executor: only the executor itself can tell, so it is asked again."""
        if self._progress:
            self._read_again()
        else:
            self._end(END_OF_LOG)

    def lost(self) -> None:
        if self._progress:
            self._read_again()
        else:
            self._end(REMOTE_ERROR)

    def refused(self, words: str) -> None:
        self._end(END_OF_LOG if self._received else unavailable(words, gone=True))

    def failed(self, reason: str) -> None:
        if self._received:
            log.warning("build %s: the connection to the executor broke, and now %s", self.uuid, reason)
        self._end(REMOTE_ERROR if self._received else unavailable(reason))

    def _read_again(self) -> None:
        self._progress = False
        self._to_skip = self._received
        self._connection = self._read_log(self._address, self.uuid, self)

    def _end(self, ending: Ending) -> None:
        if ending == END_OF_LOG:
            self._publish(self._decoder.decode(b"", final=True).encode())
        self.ending = ending
        self._has_begun()
        self._has_caught_up()
        for reader in self._in_step:
            reader.position = self.spool.end
        self._others |= self._in_step
        self._in_step.clear()
        for reader in list(self._others):
            self.serve(reader)
        self._linger_if_alone()

    def _has_begun(self) -> None:
        waiting, self.began = self.began, None
        if waiting is not None:
            waiting.callback(None)

    def _has_caught_up(self) -> None:
        waiting, self.caught_up = self.caught_up, None
        if waiting is not None:
            waiting.callback(None)


def _missing(data: bytes) -> int:
    """How many bytes the last character of some text still needs."""
    for back in range(1, min(4, len(data)) + 1):
        byte = data[-back]
        if byte & 0xC0 != 0x80:
            size = 1 if byte < 0x80 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return max(0, size - back)
    return 0


def _whole_characters(data: bytes) -> bytes:
    """The text without a character that goes on behind it."""
    missing = _missing(data)
    if not missing:
        return data
    cut = len(data) - 1
    while data[cut] & 0xC0 == 0x80:
        cut -= 1
    return data[:cut]
