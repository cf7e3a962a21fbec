# SPDX-License-Identifier: Apache-2.0
"""The databases of bench/history.py: the same rows in SQLite, PostgreSQL and MariaDB, kept in a folder between runs.

Each has two of them: one with the indexes of upstream's schema and no others, and one that also has those which
`zuul-rest check` recommends. Servers that listen already are used as they are; others are started.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.pool import NullPool

from zuul.web.backends.history.tables import Tables as Found
from zuul.web.sandbox.database import Tables
from zuul.web.sandbox.history import make_database

DATABASES = ("postgresql", "mariadb", "sqlite")
PLAIN, INDEXED = "builds", "builds_indexed"
"""The names of the two databases of each server."""
USER = "bench"
AT_ONCE = 10_000


class Databases:
    """All of them, in one folder.

    :param builds: how many rows there are in `zuul_build`.
    """

    def __init__(self, folder: Path, builds: int, postgresql_port: int, mariadb_port: int) -> None:
        self._folder = folder
        self._builds = builds
        self._ports = {"postgresql": postgresql_port, "mariadb": mariadb_port}
        self._started: list[tuple[subprocess.Popen[bytes], signal.Signals]] = []

    def file(self, name: str = PLAIN) -> Path:
        """The SQLite file, from which the other databases are filled."""
        return self._folder / f"{name}_{self._builds}.db"

    def url(self, database: str, name: str = PLAIN) -> str:
        """Of a database, without its driver."""
        if database == "sqlite":
            return f"sqlite:///{self.file(name)}"
        if database == "postgresql":
            return f"postgresql://{USER}@127.0.0.1:{self._ports[database]}/{name}_{self._builds}"
        return f"mysql://{USER}:{USER}@127.0.0.1:{self._ports[database]}/{name}_{self._builds}"

    def prepare(self, databases: list[str]) -> None:
        """Make those that are not there yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._folder.chmod(0o755)  # the servers have users of their own
        self._fill_sqlite()
        for database in databases:
            if database == "postgresql":
                self._start_postgresql()
            elif database == "mariadb":
                self._start_mariadb()
            if database != "sqlite":
                self._fill(database, PLAIN)
                self._fill(database, INDEXED)

    def stop(self) -> None:
        """Those servers that were started here."""
        for process, word in self._started:
            process.send_signal(word)
            process.wait(60)
        self._started = []

    # -- rows

    def _fill_sqlite(self) -> None:
        if not self.file().exists():
            with _told(f"making {self._builds} builds"):
                making = self.file("making")
                making.unlink(missing_ok=True)
                make_database(f"sqlite:///{making}", builds=self._builds)
                with contextlib.closing(sqlite3.connect(making)) as database:
                    database.execute("ANALYZE")
                making.rename(self.file())
        if not self.file(INDEXED).exists():
            with _told("making indexes in SQLite"):
                making = self.file("making")
                shutil.copy(self.file(), making)
                _recommended(create_engine(f"sqlite:///{making}", poolclass=NullPool))
                making.rename(self.file(INDEXED))

    def _fill(self, database: str, name: str) -> None:
        schema = f"{name}_{self._builds}"
        server = _engine(self.url(database).rpartition("/")[0] + ("/postgres" if database == "postgresql" else ""))
        with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            there = (
                "SELECT datname FROM pg_database"
                if database == "postgresql"
                else "SELECT schema_name FROM information_schema.schemata"
            )
            if schema in connection.execute(text(there)).scalars().all():
                return
            connection.execute(text(f"CREATE DATABASE {schema}"))
        try:
            with _told(f"filling {schema} of {database}"):
                engine = _engine(self.url(database, name))
                tables = Tables()
                with engine.begin() as connection:
                    tables.create(connection, indexes=False)
                for table in tables.of_rows:
                    file = self._text_of(table.name, [column.name for column in table.columns])
                    (_copy if database == "postgresql" else _load)(engine, table.name, file)
                with engine.begin() as connection:
                    tables.create_indexes(connection)
                if name == INDEXED:
                    _recommended(engine)
                _analyze(engine)
        except BaseException:
            with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text(f"DROP DATABASE {schema}"))
            raise

    def _text_of(self, table: str, columns: list[str]) -> Path:
        """The rows of a table in the form that both PostgreSQL and MariaDB read."""
        path = self._folder / f"{table}_{self._builds}.txt"
        if not path.exists():
            making = path.with_suffix(".making")
            with making.open("w", encoding="utf-8") as file, contextlib.closing(sqlite3.connect(self.file())) as rows:
                for row in rows.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY id"):
                    file.write("\t".join(map(_written, row)) + "\n")
            making.rename(path)
        return path

    # -- servers

    def _start_postgresql(self) -> None:
        port, folder = self._ports["postgresql"], self._folder / "pg"
        if _listens(port):
            return
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
        if programs is None:
            raise SystemExit("PostgreSQL is not installed")
        user = _user(folder, "postgres")
        if not (folder / "data").exists():
            words: list[Any] = [programs / "initdb", "-D", folder / "data", "-U", USER, "--auth=trust", "-E", "UTF8"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, cwd=folder, **user)
        settings = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off",
                    "shared_buffers=512MB", "max_wal_size=4GB"]  # fmt: skip
        words = [programs / "postgres", "-D", folder / "data", "-p", str(port)]
        self._run([*words, *(word for setting in settings for word in ("-c", setting))], folder, port, signal.SIGINT)

    def _start_mariadb(self) -> None:
        port, folder = self._ports["mariadb"], self._folder / "maria"
        if _listens(port):
            return
        _user(folder, "mysql")
        of_root = ["--user=mysql"] if os.getuid() == 0 else []
        data = f"--datadir={folder / 'data'}"
        if not (folder / "data").exists():
            words = ["mariadb-install-db", "--no-defaults", *of_root, data, "--auth-root-authentication-method=normal"]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            first = [
                f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{USER}';",
                f"GRANT ALL ON *.* TO {USER}@'127.0.0.1';",
            ]
            (folder / "first.sql").write_text("\n".join(first))
            of_root.append(f"--init-file={folder / 'first.sql'}")
        words = ["/usr/sbin/mariadbd", "--no-defaults", *of_root, data, "--bind-address=127.0.0.1", f"--port={port}",
                 f"--socket={folder / 'sock'}", f"--pid-file={folder / 'pid'}", "--innodb-buffer-pool-size=1G",
                 "--innodb-flush-log-at-trx-commit=2", "--innodb-log-file-size=512M", "--local-infile=1",
                 "--skip-log-bin"]  # fmt: skip
        self._run(words, folder, port, signal.SIGTERM, as_it_is=True)

    def _run(self, words: list[Any], folder: Path, port: int, end: signal.Signals, *, as_it_is: bool = False) -> None:
        user = {} if as_it_is else _user(folder, "postgres")
        with (self._folder / f"{folder.name}.log").open("a") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log, cwd=folder, start_new_session=True, **user)
        self._started.append((process, end))
        for _ in range(600):
            if process.poll() is not None:
                raise SystemExit(f"{words[0]} ended; see {log.name}")
            if _listens(port):
                break
            time.sleep(0.1)
        time.sleep(1)


def _written(value: Any) -> str:
    if value is None:
        return "\\N"
    return str(value).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _engine(url: str) -> Engine:
    if url.startswith("mysql"):
        return create_engine(
            url.replace("mysql:", "mysql+pymysql:"), poolclass=NullPool, connect_args={"local_infile": True}
        )
    return create_engine(url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)


def _copy(engine: Engine, table: str, file: Path) -> None:
    with engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        with driver.cursor().copy(f"COPY {table} FROM STDIN") as copy, file.open("rb") as rows:
            while block := rows.read(1 << 20):
                copy.write(block)
        connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))


def _load(engine: Engine, table: str, file: Path) -> None:
    with engine.begin() as connection:
        for name in ("foreign_key_checks", "unique_checks"):
            connection.execute(text(f"SET {name} = 0"))
        connection.exec_driver_sql(f"LOAD DATA LOCAL INFILE '{file}' INTO TABLE {table} CHARACTER SET utf8mb4")


def _recommended(engine: Engine) -> None:
    """Make the indexes that the database lacks."""
    with engine.begin() as connection:
        for index in Found.of(connection, "").missing():
            connection.execute(text(index.statement("")))
    if engine.dialect.name == "sqlite":
        _analyze(engine)


def _analyze(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("VACUUM ANALYZE"))
        elif engine.dialect.name == "sqlite":
            connection.execute(text("ANALYZE"))
        else:
            connection.execute(text("ANALYZE TABLE zuul_buildset, zuul_build, zuul_artifact, zuul_provides"))


def _user(folder: Path, name: str) -> dict[str, Any]:
    """Who runs a server, as neither wants to be root; its folder is theirs."""
    folder.mkdir(exist_ok=True)
    if os.getuid():
        return {}
    shutil.chown(folder, name, name)
    return {"user": name, "group": pwd.getpwnam(name).pw_gid}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)
