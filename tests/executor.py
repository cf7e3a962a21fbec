# SPDX-License-Identifier: Apache-2.0
"""The finger port of an executor, whose logs a test writes: in lines or pieces, to their end or to a sudden one."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

PIECE_BYTES = 65536


class Log:
    """The log of one build. Whoever asks for it gets it from its first byte, and then what is written."""

    def __init__(self, executor: Executor, uuid: str) -> None:
        self._executor = executor
        self._readers: set[_Reader] = set()
        self.uuid = uuid
        self.data = bytearray()
        self.ended = self.dead = False
        self.asked = 0
        """How many connections have asked for it so far."""

    @property
    def readers(self) -> int:
        """How many connections read it now."""
        return len(self._readers)

    def write(self, data: bytes) -> None:
        self._executor.run(lambda: self.grow(data))

    def end(self) -> None:
        """The build is over: whoever has read all is hung up on, and who asks later is told that there is no such."""

        def end() -> None:
            self.ended = True
            self._pump()

        self._executor.run(end)

    def reset(self) -> None:
        """Break the connections of those who read it now (RST); the next one gets it from its first byte again."""
        self._executor.run(lambda: [reader.reset() for reader in list(self._readers)])

    def die(self) -> None:
        """As `reset`, and whoever asks later is broken off at once."""
        self.dead = True
        self.reset()

    def hang_up(self) -> None:
        """End the connections of those who read it now (FIN); the next one gets it from its first byte again."""
        self._executor.run(lambda: [reader.transport.close() for reader in list(self._readers)])

    def grow(self, data: bytes) -> None:
        """`write`, for what runs in the executor's own thread."""
        self.data += data
        self._pump()

    def _pump(self) -> None:
        for reader in list(self._readers):
            reader.pump()


class _Reader(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._request = b""
        self._log: Log | None = None
        self._sent = 0
        self._paused = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(PIECE_BYTES)
        self._executor.connections += 1
        self._executor.connected += 1

    def data_received(self, data: bytes) -> None:
        if self._log is not None:
            return  # as the real one
        self._request += data
        line, newline, _ = self._request.partition(b"\n")
        if not newline:
            return
        uuid = line.decode("utf-8", "replace").strip()
        refusal = self._executor.refusals.get(uuid)
        if not re.match("[0-9A-Fa-f]+$", uuid):
            refusal = f"Build ID {uuid} is not valid"
        elif refusal is None and (uuid not in self._executor.logs or self._executor.logs[uuid].ended):
            refusal = f"Build ID {uuid} not found"
        if refusal is not None:
            self.transport.write(refusal.encode())
            self.transport.close()
            return
        self._log = self._executor.logs[uuid]
        self._log.asked += 1
        if self._log.dead:
            self.reset()
            return
        self._log._readers.add(self)
        self.pump()

    def pump(self) -> None:
        assert self._log is not None
        while not self._paused and self._sent < len(self._log.data):
            piece = bytes(self._log.data[self._sent : self._sent + PIECE_BYTES])
            self._sent += len(piece)
            self.transport.write(piece)
        if self._log.ended and self._sent == len(self._log.data):
            self.transport.close()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self.pump()

    def reset(self) -> None:
        connection = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self._executor.connections -= 1
        if self._log is not None:
            self._log._readers.discard(self)


class Executor:
    """It listens from the start; what it does not know is refused in the words of the real one."""

    def __init__(self) -> None:
        self.logs: dict[str, Log] = {}
        self.refusals: dict[str, str] = {}
        """What to say, and hang up, in place of a log, by uuid."""
        self.connections = 0
        self.connected = 0
        """How many connections there have been."""
        self.loop = asyncio.new_event_loop()
        self._server = self.loop.run_until_complete(
            self.loop.create_server(lambda: _Reader(self), "127.0.0.1", 0, backlog=1024)
        )
        self.port = int(self._server.sockets[0].getsockname()[1])
        self._thread = threading.Thread(target=self.loop.run_forever, name="executor", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def log(self, uuid: str) -> Log:
        """A new, empty log."""
        self.logs[uuid] = Log(self, uuid)
        return self.logs[uuid]

    def run(self, function: Callable[[], Any]) -> Any:
        """Its result, from the executor's own thread."""

        async def call() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(20)

    def stop(self) -> None:
        async def close() -> None:
            self._server.close()
            for log in self.logs.values():
                for reader in list(log._readers):
                    reader.transport.abort()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)

        asyncio.run_coroutine_threadsafe(close(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)
        self.loop.close()
