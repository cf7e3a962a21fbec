# SPDX-License-Identifier: Apache-2.0
"""A database that is away, busy, slow or none, and what those are told who ask it."""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import sys
import threading
import time

import pytest
from services import wait_until
from sqlalchemy import text

from zuul.web.backends.history import database as module
from zuul.web.backends.history import probe
from zuul.web.backends.history.database import CONNECT_SECONDS, WAITING, Database
from zuul.web.errors import Timeout, Unavailable
from zuul.web.sandbox.history import make_database

FOR_EVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
PASSWORD = "ge:he@im"


def count(connection, tables):
    return connection.execute(text("SELECT count(*) FROM zuul_build")).scalar_one()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "history.db"
    make_database(f"sqlite:///{path}", builds=10)
    return path


@pytest.fixture
def database_of():
    """Databases that are closed at the end."""
    with contextlib.ExitStack() as stack:

        def database_of(dburi, timeout_seconds=5.0, connections=2):
            database = Database(dburi, timeout_seconds=timeout_seconds, connections=connections)
            stack.callback(database.close)
            return database

        yield database_of


@pytest.fixture
def away_for(monkeypatch):
    """Sets for how long a database is taken to be away."""
    return lambda seconds: monkeypatch.setattr(module, "AWAY_SECONDS", seconds)


class Refuser:
    """Takes connections, counts them, and closes them, or keeps them without a word while it `keeps`."""

    def __init__(self):
        self.keeps = False
        self.count = 0
        self._kept = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self._kept.append(connection)
                self.count += 1
                if not self.keeps:
                    self.let_go()

    def let_go(self):
        while self._kept:
            self._kept.pop().close()

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self.let_go()


@pytest.fixture
def refuser():
    refuser = Refuser()
    yield refuser
    refuser.close()


def in_thread(call, *arguments):
    """A thread and the list that its result or error comes to."""
    results = []

    def run():
        try:
            results.append(call(*arguments))
        except Exception as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def test_a_database_comes_goes_and_comes_again(database_of, away_for, made, tmp_path, caplog):
    away_for(0)
    path = tmp_path / "history.db"
    database = database_of(f"sqlite:///{path}")
    assert database.state()["state"] == "unknown"
    with caplog.at_level(logging.INFO, "zuul.web.history"):
        for _ in range(2):
            with pytest.raises(Unavailable, match="does not answer"):
                database.read(count)
            assert database.state()["state"] == "down"
        path.write_bytes(made.read_bytes())
        assert database.read(count) == 10
    assert (database.state()["state"], database.state()["reason"]) == ("up", None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]  # once, however many ask
    assert str(path) in caplog.text  # where the operator looks


def test_while_it_is_away_nobody_tries_for_a_second(database_of, refuser):
    database = database_of(f"postgresql://u@127.0.0.1:{refuser.port}/d")
    for _ in range(50):
        with pytest.raises(Unavailable):
            database.read(count)
    assert refuser.count == 1


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_one_tries_and_the_others_do_not_wait_for_it(database_of, away_for, refuser, scheme):
    away_for(0)
    database = database_of(f"{scheme}://u@127.0.0.1:{refuser.port}/d", timeout_seconds=20)
    with pytest.raises(Unavailable):
        database.read(count)
    refuser.keeps = True
    before = refuser.count
    prober, result = in_thread(database.read, count)
    wait_until(lambda: refuser.count > before, 5, "the one that tries")
    began = time.monotonic()
    for _ in range(30):
        with pytest.raises(Unavailable):
            database.read(count)
    assert time.monotonic() - began < CONNECT_SECONDS / 2
    assert refuser.count == before + 1
    refuser.let_go()
    prober.join(10)
    assert [type(error) for error in result] == [Unavailable]


def test_so_many_may_wait_and_no_more(database_of, made):
    database = database_of(f"sqlite:///{made}", timeout_seconds=30, connections=1)
    go_on = threading.Event()
    inside = [in_thread(database.read, lambda *_: go_on.wait(20)) for _ in range(1 + WAITING)]
    wait_until(lambda: database._inside == 1 + WAITING, 5, "the waiting")
    with pytest.raises(Unavailable, match="too much to do"):
        database.read(count)
    go_on.set()
    for thread, _ in inside:
        thread.join(10)
    assert [result for _, result in inside] == [[True]] * (1 + WAITING)
    assert database.read(count) == 10


def test_who_waits_for_a_connection_does_so_for_the_timeout(database_of, made):
    database = database_of(f"sqlite:///{made}", timeout_seconds=0.2, connections=1)
    go_on = threading.Event()
    thread, _ = in_thread(database.read, lambda *_: go_on.wait(20))
    wait_until(lambda: database._inside == 1, 5, "the first")
    with pytest.raises(Unavailable, match="too much to do"):
        database.read(count)
    go_on.set()
    thread.join(10)
    assert database.state()["state"] == "up"  # it is only busy


def test_a_statement_that_takes_too_long_is_ended(database_of, made):
    database = database_of(f"sqlite:///{made}", timeout_seconds=0.2)
    began = time.monotonic()
    with pytest.raises(Timeout, match=r"within 0\.2 s"):
        database.read(lambda connection, _: connection.execute(text(FOR_EVER)).all())
    assert time.monotonic() - began < 5
    assert database.read(count) == 10


def test_nothing_is_ever_written(database_of, made):
    database = database_of(f"sqlite:///{made}")
    for statement in ("DELETE FROM zuul_build", "INSERT INTO zuul_build (id) VALUES (99)", "DROP TABLE zuul_build"):
        with pytest.raises(Unavailable, match="refused"):
            database.read(lambda connection, _, statement=statement: connection.execute(text(statement)))
    assert database.read(count) == 10


def test_a_file_without_zuuls_tables(database_of, tmp_path):
    (tmp_path / "other.db").touch()
    with pytest.raises(Unavailable, match="has no table zuul_buildset; is it Zuul's"):
        database_of(f"sqlite:///{tmp_path}/other.db").read(count)


def test_a_file_that_is_no_database(database_of, tmp_path):
    (tmp_path / "other.db").write_text("x" * 4096)
    with pytest.raises(Unavailable):
        database_of(f"sqlite:///{tmp_path}/other.db").read(count)


@pytest.mark.parametrize(
    "dburi",
    ["postgresql://u:ge%%3Ahe%%40im@127.0.0.1:%d/d", "mysql://u:ge%%3Ahe%%40im@127.0.0.1:%d/d", "mariadb://u:ge%%3Ahe%%40im@[::1]:%d/d",
     "postgresql://u@127.0.0.1:%d/d?password=ge%%3Ahe%%40im", "postgresql+psycopg://u:ge%%3Ahe%%40im@127.0.0.1:%d/d",
     "nodriver://u:ge%%3Ahe%%40im@h:%d/d", "postgresql://u:ge:he@im@h:x%d/d", "postgresql+nodriver://u:ge%%3Ahe%%40im@h:%d/d"],
)  # fmt: skip
def test_a_password_is_nowhere(database_of, refuser, caplog, dburi):
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as refusal:
        database_of(dburi % refuser.port).read(count)
    with pytest.raises(Unavailable) as answer:
        probe(dburi % refuser.port, 1)
    words = f"{refusal.value} {answer.value} {caplog.text}"
    for secret in (PASSWORD, "ge%3Ahe%40im", "ge:he"):
        assert secret not in words


def test_without_a_dburi(database_of):
    with pytest.raises(Unavailable):
        database_of("").read(count)


FORKS = """
import os, sys
from sqlalchemy import text
from zuul.web.backends.history.database import Database
database = Database(sys.argv[1], timeout_seconds=5, connections=2)
numbers = lambda connection, tables: (id(connection.connection.dbapi_connection),
                                      connection.execute(text("SELECT count(*) FROM zuul_build")).scalar_one())
before = database.read(numbers)
child = os.fork()
if not child:
    again = database.read(numbers)
    os._exit(0 if again[1] == 10 and again[0] != before[0] else 1)
status = os.waitpid(child, 0)[1]
assert database.read(numbers) == before
database.close()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_child_of_a_fork_makes_connections_of_its_own(made):
    done = subprocess.run(
        [sys.executable, "-c", FORKS, f"sqlite:///{made}"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
