# SPDX-License-Identifier: Apache-2.0
"""Real services for the live tests. A missing one is a skip at a newcomer's, a failure in CI."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path
from shutil import which

import gear
import pytest


def missing(what: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is not installed")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition, seconds: float = 10.0, what: str = "the condition"):
    """The condition's first true value, asked for every 10 ms."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class GearServer:
    """gear's own server, in a thread of this process."""

    def __init__(self, tls=None, port: int = 0) -> None:
        self.tls = tls
        self.port = port
        self._server = None

    def start(self) -> None:
        keys = (self.tls.key, self.tls.cert, self.tls.ca) if self.tls else (None, None, None)
        self._server = gear.Server(self.port, *keys, host="127.0.0.1")
        self.port = self._server.port

    def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        connections = list(server.active_connections)
        server.shutdown()
        for connection in connections:
            connection.disconnect()


class Gearmand:
    """Debian's gearmand, a process of its own. Its build takes --ssl and ignores it, so haproxy does TLS."""

    def __init__(self, tls=None, folder=None) -> None:
        if which("gearmand") is None:
            missing("gearmand (Debian's gearman-job-server)")
        if tls and which("haproxy") is None:
            missing("haproxy")
        self.tls = tls
        self.port = free_port()
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        plain_port = free_port() if self.tls else self.port
        self._run("gearmand", "--listen=127.0.0.1", f"--port={plain_port}", "--log-file=stderr")
        wait_until(lambda: listening(plain_port), what="gearmand's port")
        if self.tls:
            both = self._folder / "both.pem"
            both.write_text(Path(self.tls.cert).read_text() + Path(self.tls.key).read_text())
            config = self._folder / "haproxy.cfg"
            config.write_text(
                "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
                f"listen gearman\n bind 127.0.0.1:{self.port} ssl crt {both} ca-file {self.tls.ca} verify required\n"
                f" server gearmand 127.0.0.1:{plain_port}\n"
            )
            self._run("haproxy", "-db", "-f", str(config))
            wait_until(lambda: listening(self.port), what="haproxy's port")

    def _run(self, *command: str) -> None:
        self._processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def stop(self) -> None:
        while self._processes:
            process = self._processes.pop()
            process.kill()
            process.wait(10)
