# SPDX-License-Identifier: Apache-2.0
"""A ZooKeeper of the tests' own, as Debian has it, on a free port of 127.0.0.1."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from pathlib import Path
from shutil import which

from services import free_port, missing, wait_until

JAR = Path("/usr/share/java/zookeeper.jar")
OWN_LOGGING = "/etc/zookeeper/conf"


class ZooKeeperServer:
    """`start`, `stop` and `kill` as a test likes; what it holds stays in its folder."""

    def __init__(self, folder: Path) -> None:
        if not JAR.exists() or which("java") is None:
            missing("ZooKeeper (Debian's zookeeper)")
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            "tickTime=500",
            "minSessionTimeout=1000",
            f"dataDir={folder}/data",
            f"clientPort={self.port}",
            "clientPortAddress=127.0.0.1",
            "maxClientCnxns=0",
            "admin.enableServer=false",
            "4lw.commands.whitelist=*",
        ]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "zoo.cfg").write_text("\n".join(lines) + "\n")

    @property
    def hosts(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["java", "-Xmx512m", f"-Dzookeeper.log.dir={self._folder}", "-cp", f"{OWN_LOGGING}:{JAR}",
                 "org.apache.zookeeper.server.quorum.QuorumPeerMain", str(self._folder / "zoo.cfg")],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_until(self.answers, 60, "ZooKeeper's first answer")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """Have it hang: its port takes connections, and nobody answers."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self._process is not None:
            os.kill(self._process.pid, signal.SIGCONT)

    def answers(self) -> bool:
        try:
            return self.ask("ruok", 1) == "imok"
        except OSError:
            return False

    def ask(self, word: str, seconds: float = 10) -> str:
        """What it says to one of its four letter words."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as connection:
            connection.sendall(word.encode())
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer.decode()

    def counters(self) -> dict[str, float]:
        """Its own numbers: packets received, watches, znodes ..."""
        pairs = (line.split("\t", 1) for line in self.ask("mntr").splitlines() if "\t" in line)
        return {name: float(value) for name, value in pairs if value.replace(".", "", 1).isdigit()}
