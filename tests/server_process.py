# SPDX-License-Identifier: Apache-2.0
"""`zuul-rest serve` as a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from services import wait_until

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class ServerProcess:
    """A command of zuul-rest that is running, with its output in a file. `port` is known once it listens."""

    def __init__(self, folder: Path, *command: str) -> None:
        self._output = folder / "output"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "zuul.web.cli", *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for_output(self, pattern: str) -> re.Match[str]:
        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.output)
            assert match or self._process.poll() is None, self.output
            return match

        return wait_until(found, 30, f"{pattern!r} in the output")

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def ended(self, seconds: float = 40) -> int:
        """The exit status."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)

    def resident_bytes(self) -> int:
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def cpu_seconds(self) -> float:
        with open(f"/proc/{self.pid}/stat") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND

    def sockets(self) -> int:
        """How many sockets it has open."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:")
        return count


class Served(ServerProcess):
    """`zuul-rest serve` in front of a scheduler; ready when it is made."""

    def __init__(self, folder: Path, gearman_port: int, *, web: str = "", rest: str = "", port: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        conf = folder / "zuul.conf"
        conf.write_text(
            f"[gearman]\nserver=127.0.0.1\nport={gearman_port}\n[web]\nport={port}\n{web}\n[rest]\n{rest}\n"
        )
        super().__init__(folder, "serve", "-c", str(conf))
        try:
            self.port = int(self.wait_for_output(r"listening on \S+ port (\d+)")[1])
        except BaseException:
            self.kill()
            raise
