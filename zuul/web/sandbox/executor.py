# SPDX-License-Identifier: Apache-2.0
"""The executors' side of live logs: one finger server for all of them, as Zuul 3.19.1 has it on each.

A client sends the uuid of a build and a newline. It gets the log from its first byte, then what comes, and is
disconnected when the build ends; or it gets one sentence on why there is no log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
import threading

from zuul.web.sandbox.console import Consoles
from zuul.web.sandbox.queues import Build
from zuul.web.sandbox.scheduler import SandboxScheduler

log = logging.getLogger("zuul.web.sandbox")

REQUEST_BYTES = 1024
REQUEST_SECONDS = 10.0
POLL_SECONDS = 0.25
"""How often a reader looks for more; upstream's looks every half second."""
WRITE_BYTES = 16 * 1024
"""How much is handed to a connection at once. What is kept for a reader that does not read is about twice that
here, and as much again in the kernel."""
BACKLOG = 256


class Executor:
    """The log stream of all running builds, on a thread of its own from `start` to `stop`.

    All connections share the thread. It never waits for a reader, and takes the scheduler's lock for a look at
    a build only, not while it sends.
    """

    def __init__(self, scheduler: SandboxScheduler, *, poll_seconds: float = POLL_SECONDS) -> None:
        self._scheduler = scheduler
        self._poll_seconds = poll_seconds
        self._consoles = Consoles()
        self._readers: dict[asyncio.Task[None], socket.socket] = {}

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        host, port = self._listener.getsockname()
        return host, port

    def start(self) -> None:
        """Listen on a free port of this machine."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.setblocking(False)
        # Inherited by the connections. The kernel would keep megabytes for each that does not read.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WRITE_BYTES)
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-executor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect all readers."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Accepts by itself: a server of asyncio's loses connections that come while it is closed."""
        self._loop.add_reader(self._listener, self._accept)
        await self._stopping.wait()
        self._loop.remove_reader(self._listener)
        self._listener.close()
        readers = dict(self._readers)
        for task in readers:
            task.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the next round
        for connection in readers.values():  # those that had not come so far as to have a transport
            connection.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError as error:
            log.debug("a reader of a log was not accepted: %s", error)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._converse(connection))
        self._readers[task] = connection
        task.add_done_callback(self._readers.pop)

    async def _converse(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection, limit=REQUEST_BYTES)
        writer.transport.set_write_buffer_limits(high=WRITE_BYTES)
        try:
            await self._answer(reader, writer)
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, TimeoutError):
            log.debug("a reader of a log has gone")
        except Exception:
            log.exception("streaming a log failed")
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await asyncio.wait_for(reader.readuntil(b"\n"), REQUEST_SECONDS)
            uuid = request.decode().rstrip()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.TimeoutError, UnicodeDecodeError):
            return await self._refuse(writer, "Internal streaming error")
        if not re.fullmatch("[0-9A-Fa-f]+", uuid):
            return await self._refuse(writer, f"Build ID {uuid} is not valid")
        build = self._scheduler.find_build(uuid)
        if build is None:
            return await self._refuse(writer, f"Build ID {uuid} not found")
        if self._scheduler.look_at(build)[1] < build.starts:
            return await self._refuse(writer, f"Log not found for build ID {uuid}")
        await self._follow(build, reader, writer)

    async def _refuse(self, writer: asyncio.StreamWriter, reason: str) -> None:
        writer.write(reason.encode())
        await writer.drain()

    async def _follow(self, build: Build, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Send the log until the build has ended, or the client has ended its side."""
        sent = 0
        while True:
            seen, now = self._scheduler.look_at(build)
            console = self._consoles.of(seen)
            end = console.until(now if seen.end_time is None else seen.end_time)
            while sent < end:
                part = console.part(sent, min(sent + WRITE_BYTES, end))
                writer.write(part)
                await writer.drain()
                sent += len(part)
            if seen.end_time is not None:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                if not await asyncio.wait_for(reader.read(REQUEST_BYTES), self._poll_seconds):
                    return
