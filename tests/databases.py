# SPDX-License-Identifier: Apache-2.0
"""Database servers of a test's own, from Debian's packages, in a folder of their own and on a free port."""

from __future__ import annotations

import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from shutil import which
from typing import Any

from services import free_port, listening, missing, wait_until

PASSWORD = "geheim"


class DatabaseServer:
    """A server that can be stopped, killed, made to hang, and started again with its data."""

    user = ""
    """Who runs it where the tests run as root, which such servers refuse."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{type(self).__name__.lower()}-"))
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        if os.getuid() == 0:
            shutil.chown(self.folder, self.user, self.user)
            self._as = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        self._log = (self.folder / "log").open("wb")

    def _once(self, *command: str) -> None:
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._as)
        assert done.returncode == 0, done.stdout.decode()

    def _run(self, *command: str) -> None:
        self._process = subprocess.Popen(command, cwd=self.folder, stdout=self._log, stderr=self._log, **self._as)

    def start(self) -> None:
        self._begin()
        wait_until(lambda: listening(self.port), 60, f"the port of {type(self).__name__}")
        wait_until(self._answers, 60, f"{type(self).__name__}'s first answer")

    def _begin(self) -> None:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def stop(self) -> None:
        """End it; whoever is connected is thrown out."""
        process, self._process = self._process, None
        if process is not None:
            self._signal(process, signal.SIGCONT)
            process.send_signal(signal.SIGINT if isinstance(self, Postgres) else signal.SIGTERM)
            process.wait(60)

    def hang(self) -> None:
        """Have it keep its connections and take new ones, and do nothing."""
        assert self._process is not None
        self._signal(self._process, signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._signal(self._process, signal.SIGCONT)

    @staticmethod
    def _signal(process: subprocess.Popen[bytes], number: int) -> None:
        """To it and to the processes that it has made for its connections."""
        for pid in [process.pid, *_children(process.pid)]:
            os.kill(pid, number)

    def remove(self) -> None:
        self.stop()
        self._log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(DatabaseServer):
    user = "postgres"

    def __init__(self) -> None:
        folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not folders:
            missing("PostgreSQL (Debian's postgresql)")
        super().__init__()
        self._bin = folders[-1]
        data = str(self.folder / "data")
        self._once(f"{self._bin}/initdb", "-D", data, "-U", "zuul", "--auth=trust", "-E", "UTF8", "--no-sync")

    def _begin(self) -> None:
        options = {"listen_addresses": "127.0.0.1", "unix_socket_directories": self.folder, "fsync": "off"}
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._run(f"{self._bin}/postgres", "-D", str(self.folder / "data"), "-p", str(self.port), *settings)

    def _answers(self) -> bool:
        return not subprocess.run([f"{self._bin}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]).returncode

    def url(self, name: str) -> str:
        return f"postgresql://zuul:{PASSWORD}@127.0.0.1:{self.port}/{name}"


class MariaDb(DatabaseServer):
    user = "mysql"

    def __init__(self) -> None:
        server = which("mariadbd", path="/usr/sbin:/usr/bin:/usr/local/bin")
        if server is None or which("mariadb-install-db") is None:
            missing("MariaDB (Debian's mariadb-server)")
        super().__init__()
        self._server = str(server)
        self._usual = ("--no-defaults", f"--datadir={self.folder}/data")
        (self.folder / "init.sql").write_text(
            f"CREATE USER zuul IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO zuul;\n"
        )
        self._once("mariadb-install-db", *self._usual, "--auth-root-authentication-method=normal", "--skip-test-db")
        self._first = True

    def _begin(self) -> None:
        here = ("--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder}/socket")
        first = (f"--init-file={self.folder}/init.sql",) if self._first else ()
        self._first = False
        self._run(
            self._server, *self._usual, *here, *first, "--innodb-flush-log-at-trx-commit=0", "--skip-name-resolve"
        )

    def _answers(self) -> bool:
        import pymysql

        try:
            pymysql.connect(host="127.0.0.1", port=self.port, user="zuul", password=PASSWORD).close()
        except pymysql.Error:
            return False
        return True

    def url(self, name: str) -> str:
        return f"mysql+pymysql://zuul:{PASSWORD}@127.0.0.1:{self.port}/{name}"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
