# SPDX-License-Identifier: Apache-2.0
"""What has been read of a log, for those who come later or read more slowly.

The end of it is in memory, up to a block. Whole blocks go to a file without a name, written and read by threads,
and gone with its last descriptor. When a log reaches its limit, or all logs theirs, its oldest blocks are
overwritten: `start` moves on.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, fail

log = logging.getLogger("zuul.web.streaming")

BLOCK_BYTES = 1 << 16
MOST_PENDING = 16
"""Blocks that are being written; with more than that, the source should wait for the disk."""
LEAST_BLOCKS = 2 * MOST_PENDING
"""Of each log, whatever the room: never is a block overwritten that is still being written."""

InThread = Callable[..., "Deferred[Any]"]
"""Calls a function with arguments in another thread."""


class Room:
    """The space on disk that all spools of a process share. Belongs to the reactor's thread."""

    def __init__(self, folder: str | None, log_bytes: int, total_bytes: int, in_thread: InThread) -> None:
        self.folder = folder
        self.in_thread = in_thread
        self._log_blocks = log_bytes // BLOCK_BYTES
        self._free_blocks = total_bytes // BLOCK_BYTES

    def take_block(self, held: int) -> bool:
        """Whether a log that holds so many blocks may have one more."""
        if held >= LEAST_BLOCKS and (held >= self._log_blocks or self._free_blocks <= 0):
            return False
        self._free_blocks -= 1
        return True

    def give_back(self, blocks: int) -> None:
        self._free_blocks += blocks


class Spool:
    """The bytes of one log from `start` to `end`. Belongs to the reactor's thread."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.start = 0
        self.end = 0
        self._last = bytearray()
        """The block that is not full yet."""
        self._pending: dict[int, bytes] = {}
        """Blocks that are being written, by number."""
        self._file: Any = None
        self._slots = 0
        """How many blocks the file has; once it may not grow, block n is where n - slots was."""
        self._full = False
        self._users = 0
        self._closed = False

    @property
    def busy(self) -> bool:
        """Whether the disk does not keep up."""
        return len(self._pending) > MOST_PENDING

    def append(self, data: bytes) -> None:
        self._last += data
        self.end += len(data)
        while len(self._last) >= BLOCK_BYTES:
            block = bytes(self._last[:BLOCK_BYTES])
            del self._last[:BLOCK_BYTES]
            self._store((self.end - len(self._last)) // BLOCK_BYTES - 1, block)

    def read(self, position: int, most: int = BLOCK_BYTES) -> bytes | Deferred[bytes]:
        """Some bytes from a position that is not below `start`, at least one if there is one.

        A deferred result is empty where the bytes were overwritten meanwhile, or could not be read.
        """
        number, offset = divmod(position, BLOCK_BYTES)
        if number == (self.end - len(self._last)) // BLOCK_BYTES:
            return bytes(self._last[offset : offset + most])
        most = min(most, BLOCK_BYTES - offset)
        block = self._pending.get(number)
        if block is not None:
            return block[offset : offset + most]
        return self._in_thread(self._read_file, self._place(number) + offset, most).addBoth(self._was_read, position)

    def close(self) -> None:
        """Forget all of it; the disk space is free when the last reading or writing is through."""
        self._closed = True
        self._last.clear()
        self._pending.clear()
        self._room.give_back(self._slots)
        self._slots = 0
        self._close_file()

    def _store(self, number: int, block: bytes) -> None:
        if not self._full:
            if self._room.take_block(self._slots):
                self._slots += 1
            else:
                self._full = True
        if self._full:
            self.start = max(self.start, (number - self._slots + 1) * BLOCK_BYTES)
        self._pending[number] = block
        self._in_thread(self._write_file, self._place(number), block).addBoth(self._was_written, number)

    def _place(self, number: int) -> int:
        return (number % self._slots if self._full else number) * BLOCK_BYTES

    def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self._file is None:
            try:
                self._file = tempfile.TemporaryFile(dir=self._room.folder, prefix="zuul-rest-log-", buffering=0)  # noqa: SIM115
            except OSError:
                return fail()
        self._users += 1

        def done(result: Any) -> Any:
            self._users -= 1
            if self._closed:
                self._close_file()
            return result

        return self._room.in_thread(work, self._file.fileno(), *arguments).addBoth(done)

    @staticmethod
    def _write_file(descriptor: int, place: int, block: bytes) -> None:
        rest = memoryview(block)
        while rest:
            written = os.pwrite(descriptor, rest, place)
            place, rest = place + written, rest[written:]

    @staticmethod
    def _read_file(descriptor: int, place: int, most: int) -> bytes:
        return os.pread(descriptor, most, place)

    def _was_written(self, result: Any, number: int) -> None:
        self._pending.pop(number, None)
        if result is not None and not self._closed:
            log.error("a part of a log could not be kept: %s", result.getErrorMessage())
            self.start = max(self.start, (number + 1) * BLOCK_BYTES)

    def _was_read(self, result: Any, position: int) -> bytes:
        if self._closed or position < self.start:
            return b""
        if not isinstance(result, bytes):
            log.error("a part of a log could not be read: %s", result.getErrorMessage())
            return b""
        return result

    def _close_file(self) -> None:
        if self._file is not None and not self._users:
            self._file.close()
            self._file = None
