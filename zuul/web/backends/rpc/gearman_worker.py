# SPDX-License-Identifier: Apache-2.0
"""The other end of gearman: a worker that answers calls, and a server, for the sandbox and for tests."""

from __future__ import annotations

import json
import logging
import socket
import threading
from typing import Any

import gear

from zuul.web.backends.rpc.interface import WorkerFunctions, WorkException

log = logging.getLogger("zuul.web.rpc.gearman")


class GearmanWorker:
    """Offers functions at a gearman server, one call at a time as the scheduler does."""

    def __init__(self, host: str, port: int, functions: WorkerFunctions, name: str) -> None:
        self._functions = functions
        self._worker = _PromptWorker(name)
        self._worker.addServer(host, port)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, timeout: float = 10.0) -> None:
        """Connect, register all functions and begin to serve.

        :raises gear.TimeoutError: no server within `timeout` seconds.
        """
        self._worker.waitForServer(timeout)
        for function in self._functions:
            self._worker.registerFunction(function)
        self._thread.start()

    def stop(self) -> None:
        """End after the call at hand."""
        self._worker.stopWaitingForJobs()
        self._thread.join(10)
        self._worker.shutdown()

    def _run(self) -> None:
        while True:
            try:
                job = self._worker.getJob()
            except gear.InterruptedError:
                return
            try:
                self._serve(job)
            except Exception:
                log.exception("could not answer %s", job.name)

    def _serve(self, job: Any) -> None:
        name = job.name.decode() if isinstance(job.name, bytes) else job.name
        try:
            reply = self._functions[name](json.loads(job.arguments))
        except WorkException as error:
            job.sendWorkException(str(error).encode())
        except Exception:
            log.exception("%s failed", name)
            job.sendWorkFail()
        else:
            job.sendWorkComplete(reply.encode() if isinstance(reply, str) else reply or b"")


class _PromptWorker(gear.Worker):  # type: ignore[misc]
    """gear leaves Nagle's algorithm on, which holds every small reply back for 40 ms, and sockets open that it was
    about to connect again."""

    def _onConnect(self, conn: gear.Connection) -> None:
        conn.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super()._onConnect(conn)

    def _cleanup(self) -> None:
        self.poll_thread.join()
        self.connect_thread.join()
        reconnecting = list(self.inactive_connections)  # now that no thread moves a lost one here
        super()._cleanup()
        for connection in reconnecting:
            connection.disconnect()


def start_server(host: str = "127.0.0.1", port: int = 0) -> gear.Server:
    """A gearman server inside this process, for the sandbox. `.port` tells its port, `.shutdown()` ends it."""
    return gear.Server(port=port, host=host)
