# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL and MariaDB servers: the same answers from each, and what becomes of ours while one is away or hangs."""

from __future__ import annotations

import collections
import contextlib
import http.client
import json
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import pytest
from databases import MariaDb, Postgres
from server_process import Served
from services import free_port, wait_until
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from zuul.web.backends.history import History, probe
from zuul.web.backends.history.tables import RECOMMENDED
from zuul.web.resources.history_queries import BuildQuery, BuildsetQuery, BuildTimesQuery, StatisticsQuery
from zuul.web.sandbox.history import make_database
from zuul.web.settings import Connection

pytestmark = pytest.mark.timeout(280)

BUILDS = 2000
TENANT = "example"
STRANGE = ("100%", "a_b", "a!b", "a?b", "a[b]c", "a\\b", "aXb", "100x", "core/Compute", "core/compute", "Ünïcode",
           "ünïcode", "Unicode", "straße", "strasse", "tail ", "tail", "'; --", "a*b")  # fmt: skip
MORE_STRANGE = ("日本", "💩", "💩x")
TENANTS = ("Example", "example ", "exämple", "EXAMPLE", "ex%", "exampl_")
"""Of these, databases may take some for the tenant itself."""


class Zuul:
    """All tenants report to the database; nothing is held."""

    def tenant_sql_connection(self, tenant):
        return "database"

    def autohold_list(self):
        return []


@pytest.fixture(scope="module")
def postgres():
    server = Postgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


@pytest.fixture(scope="module")
def mariadb():
    server = MariaDb()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def execute(url, *statements):
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement, *values in statements:
            found = connection.execute(text(statement), *values)
        rows = found.all() if found.returns_rows else None
    engine.dispose()
    return rows


def fill(url, names):
    """The builds of the sandbox, with names that are hard to compare."""
    make_database(url.replace("postgresql://", "postgresql+psycopg://"), builds=BUILDS)
    by_name = enumerate(names)
    tenants = enumerate(TENANTS)
    execute(
        url,
        *((f"UPDATE zuul_buildset SET project = :n, branch = :n WHERE id % 40 = {i}", {"n": n}) for i, n in by_name),
        *((f"UPDATE zuul_build SET job_name = :n WHERE id % 50 = {i}", {"n": n}) for i, n in enumerate(names)),
        *((f"UPDATE zuul_buildset SET tenant = :n WHERE id % 90 = {i + 50}", {"n": n}) for i, n in tenants),
        ("UPDATE zuul_build SET result = NULL WHERE id % 17 = 0",),
        ("UPDATE zuul_build SET end_time = NULL WHERE id % 19 = 0",),
        *((index.statement(""),) for index in RECOMMENDED),
    )
    return url


@contextlib.contextmanager
def history(url):
    found = History([Connection("database", "sql", {"dburi": url})], Zuul(), timeout_seconds=10, connections_each=2)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(scope="module", params=["postgresql", "mariadb-utf8mb4", "mariadb-utf8mb3", "mariadb-latin1"])
def pair(request, tmp_path_factory):
    """Histories of the same rows, in SQLite and in another database."""
    kind, _, charset = request.param.partition("-")
    server = request.getfixturevalue("postgres" if kind == "postgresql" else "mariadb")
    names = STRANGE + (MORE_STRANGE if charset in ("", "utf8mb4") else ())
    name = f"same_{charset or 'utf8'}"
    admin = server.url("postgres" if kind == "postgresql" else "mysql")
    execute(admin, (f"CREATE DATABASE {name}" + (f" CHARACTER SET {charset}" if charset else ""),))
    one = fill(server.url(name), names)
    other = fill(f"sqlite:///{tmp_path_factory.mktemp('same')}/{name}.db", names)
    with history(other) as expected, history(one) as found:
        yield expected, found


def settled(value):
    """Without parts of a second: MariaDB's times have none."""
    if isinstance(value, dict):
        return {name: settled(one) for name, one in value.items() if name != "duration"}
    if isinstance(value, list):
        return [settled(one) for one in value]
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    return value


def queries():
    """Parameters of builds, of which most are those of buildsets too."""
    yield {}
    for name in (*STRANGE, *MORE_STRANGE):
        for asked in (name, name.swapcase(), f"{name} ", f"{name}*", f"{name[:1]}*{name[-1:]}"):
            yield {"project": [asked]}
        yield {"branch": [name, "nowhere"], "exclude_result": ["SUCCESS"]}
        yield {"job_name": [f"{name[:1]}*"], "project": ["core*"]}
    for result in ("SUCCESS", "success", "SUCCESS ", "FAILURE"):
        yield {"result": [result]}
        yield {"exclude_result": [result]}
    yield from ({"pipeline": [value]} for value in ("gate", "GATE", "g*", "*", "", "x' OR '1'='1", "\\", "💩", "a\nb"))
    yield from ({"change": [value]} for value in (699739, 0, -1, 2**31, 10**18))
    yield from ({"voting": flags} for flags in ([True], [False], [True, False]))
    yield from ({"complete": flags, "final": flags} for flags in ([True], [False]))
    yield from ({"held": flags} for flags in ([True], [False]))
    for moment in (datetime(2020, 5, 1), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59)):
        yield {"start_time": moment}
        yield {"end_time": moment}
    yield {"start_time": datetime(2020, 2, 1), "end_time": datetime(2020, 3, 1), "pipeline": ["check", "gate"]}
    yield {"idx_min": 300, "idx_max": 310, "sort_dir": "asc"}
    yield from ({"limit": limit, "skip": skip} for limit in (0, 1, 1000) for skip in (0, 7, 100_000))
    yield {"marker": "700"}


def of_buildsets(query):
    return not {"job_name", "voting", "final", "held", "uuid"} & set(query)


def test_the_same_rows_from_each(pair):
    expected, found = pair
    counts = collections.Counter()
    for query in queries():
        one = BuildQuery.asking(**query)
        rows = found.builds(TENANT, one)
        assert settled(rows.rows) == settled(expected.builds(TENANT, one).rows), query
        assert (rows.total, rows.following) == (
            expected.builds(TENANT, one).total,
            expected.builds(TENANT, one).following,
        )
        counts["builds"] += 1
        counts["with rows"] += bool(rows.rows)
        if of_buildsets(query) and "marker" not in query:
            one = BuildsetQuery.asking(**query)
            assert settled(found.buildsets(TENANT, one).rows) == settled(expected.buildsets(TENANT, one).rows), query
            counts["buildsets"] += 1
    print(dict(counts))
    assert counts["with rows"] > 50


def test_the_same_of_one_and_of_many(pair):
    expected, found = pair
    for one in expected.builds(TENANT, BuildQuery.asking(limit=1000)).rows[::97]:
        if one["uuid"]:
            assert settled(found.build(TENANT, one["uuid"])) == settled(one)
    for one in expected.buildsets(TENANT, BuildsetQuery.asking(limit=1000)).rows[::31]:
        assert settled(found.buildset(TENANT, one["uuid"])) == settled(expected.buildset(TENANT, one["uuid"]))
    for query in ({"limit": 30}, {"limit": 1000, "job_name": ["tox-*"]}, {"skip": 20, "branch": ["master"]}):
        one = BuildTimesQuery.asking(**query)
        times = found.build_times(TENANT, one).rows
        assert len(times) == len(expected.build_times(TENANT, one).rows) > 0
        assert [row["end_time"] for row in times] == sorted((row["end_time"] for row in times), reverse=True)
        latest = {
            row["_id"]: settled(row) for row in found.latest_builds(TENANT, BuildTimesQuery.asking(limit=1000)).rows
        }
        other = expected.latest_builds(TENANT, BuildTimesQuery.asking(limit=1000)).rows
        assert {number: latest[number] for number in latest if number in {row["_id"] for row in other}} == {
            row["_id"]: settled(row) for row in other if row["_id"] in latest
        }
    query = StatisticsQuery.asking(start_time=datetime(2019, 1, 1))
    one, other = (each.job_statistics(TENANT, "tox-py38", query) for each in (found, expected))
    assert (one.results, one.success_rate, one.builds) == (other.results, other.success_rate, other.builds)
    assert one.durations.p90 == pytest.approx(other.durations.p90, abs=1)


def walked(history, query):
    """The numbers of all rows, page by page, as Link leads."""
    more, found = {}, []
    for _ in range(100):
        listing = history.buildsets(TENANT, BuildsetQuery.asking(**query, **more))
        found += [row["_id"] for row in listing.rows]
        if listing.following is None:
            return found
        more = {name: value for name, value in listing.following.items() if value is not None}
        more = {name: int(value) if name.startswith("idx") else value for name, value in more.items()}
    raise AssertionError("there is no end to it")


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("field", ["_id", "change", "newrev", "ref", "uuid"])
def test_pages_in_each_order_lead_to_each_row_once(pair, field, direction):
    expected, found = pair
    query = {"limit": 37, "sort_field": field, "sort_dir": direction}
    rows = walked(found, query)
    assert len(rows) == len(set(rows)) and sorted(rows) == sorted(walked(expected, query))
    if field != "ref":  # in whose order of letters databases differ
        assert rows == walked(expected, query)


@pytest.mark.parametrize("tenant", [*TENANTS, "example  ", "example\t", "\uff45xample", "*", "nope", "e\u0301xample"])
def test_a_tenant_has_its_own_rows_and_no_others(pair, tenant):
    expected, found = pair
    mine = [row["_id"] for row in found.builds(tenant, BuildQuery.asking(limit=1000)).rows]
    assert mine == [row["_id"] for row in expected.builds(tenant, BuildQuery.asking(limit=1000)).rows]
    others = {row["_id"] for row in expected.builds(TENANT, BuildQuery.asking(limit=1000)).rows}
    assert not others & set(mine)
    assert found.builds(tenant, BuildQuery.asking(sort_field="end_time")).rows == [] or tenant in TENANTS


def test_the_recommended_indexes_are_there_once_they_are_made(postgres, mariadb, pair):
    for server, name in ((postgres, "same_utf8"), (mariadb, "same_utf8mb4")):
        with contextlib.suppress(Exception):
            assert probe(server.url(name), 5).advice == ()


# Away.

CLIENTS = 20
SQL_SECONDS = 2.0
CONNECTIONS = 3
BUILDS_URL = f"/api/tenant/{TENANT}/builds?limit=20"
OTHER_URLS = ("/api/tenants", "/api/tenant/example/jobs", "/api/tenant/example/status")


@pytest.fixture(scope="module")
def gearman():
    """The port of the sandbox's scheduler, in a process of its own."""
    script, port = Path(__file__).resolve().parents[1] / "scheduler_process.py", free_port()
    process = subprocess.Popen([sys.executable, str(script), str(port)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    yield port
    process.kill()
    process.wait(10)
    process.stdout.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def database(request):
    """A server with builds, and how to count who is connected to it."""
    server = request.getfixturevalue("postgres" if request.param == "postgresql" else "mariadb")
    admin = server.url("postgres" if request.param == "postgresql" else "mysql")
    execute(admin, ("DROP DATABASE IF EXISTS away",), ("CREATE DATABASE away",))
    make_database(server.url("away").replace("postgresql://", "postgresql+psycopg://"), builds=500)
    counts = {
        "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = 'away'",
        "mariadb": "SELECT count(*) FROM information_schema.processlist WHERE db = 'away'",
    }
    server.connected = lambda: execute(admin, (counts[request.param],))[0][0]
    return server


@pytest.fixture
def served(database, gearman, tmp_path):
    rest = f"sql_timeout = {SQL_SECONDS}\nsql_connections = {CONNECTIONS}\naccess_log = false\n"
    rest += f"[connection database]\ndriver=sql\ndburi={database.url('away')}\n"
    served = Served(tmp_path / "served", gearman, rest=rest)
    try:
        wait_until(lambda: ask(served.port, BUILDS_URL)[0] == 200, what="the first builds")
        yield served
    finally:
        served.kill()


def ask(port, url, seconds=30):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    try:
        connection.request("GET", url)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class Clients:
    """Clients that go on asking, with a note of each answer: when, which URL, its status, after how long, its body."""

    def __init__(self, port):
        self._port = port
        self._over = threading.Event()
        self.answers = []
        urls = [BUILDS_URL] * CLIENTS + list(OTHER_URLS)
        self._threads = [threading.Thread(target=self._go_on, args=(url,)) for url in urls]

    def _go_on(self, url):
        while not self._over.is_set():
            began = time.monotonic()
            try:
                status, body = ask(self._port, url)
            except OSError as error:
                status, body = str(error), b""
            self.answers.append((began, url, status, time.monotonic() - began, body))
            self._over.wait(0.02)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def since(self, moment, of_builds):
        return [answer for answer in self.answers if answer[0] > moment and (answer[1] == BUILDS_URL) == of_builds]


def check_answers(clients, statuses, seconds):
    """All that was said of builds has one of these statuses, in JSON and in time; others are always answered."""
    of_builds, others = clients.since(0, True), clients.since(0, False)
    found = collections.Counter(status for _, _, status, _, _ in of_builds)
    assert set(found) <= statuses, found
    for _, _, status, _, body in of_builds:
        if status != 200:
            error = json.loads(body)
            assert error["faultcode"] == "Server" and error["faultstring"] and b"geheim" not in body
    slowest = max(answer[3] for answer in of_builds)
    slowest_other = max(answer[3] for answer in others)
    assert {answer[2] for answer in others} == {200}
    assert slowest < seconds and slowest_other < seconds / 2, (slowest, slowest_other)
    return f"{dict(found)}; slowest {slowest:.2f} s, of other URLs {slowest_other:.2f} s ({len(others)} answers)"


def test_a_database_that_is_stopped_and_started_under_twenty_clients(database, served):
    with Clients(served.port) as clients:
        wait_until(lambda: len(clients.answers) > 200, 30, "some answers")
        database.stop()
        stopped = time.monotonic()
        wait_until(lambda: len([a for a in clients.since(stopped, True) if a[2] == 503]) > 300, 30, "503s")
        down = clients.since(stopped, True)
        assert {answer[2] for answer in down} == {503}
        slowest_down = max(answer[3] for answer in down)
        before = time.monotonic()
        database.start()
        started = time.monotonic()
        first = wait_until(lambda: [a for a in clients.since(before, True) if a[2] == 200], 30, "builds")[0]
        seconds = first[0] + first[3] - started
        wait_until(lambda: len([a for a in clients.since(started, True) if a[2] == 200]) > 300, 30, "200s")
    words = check_answers(clients, {200, 503}, 5)
    wait_until(lambda: database.connected() <= CONNECTIONS, 10, "connections that are no more than they may be")
    print(f"\n{type(database).__name__} stopped: {words}; while it was down {slowest_down:.2f} s at most; "
          f"recovered {seconds:.2f} s after it answered; {database.connected()} connections")  # fmt: skip
    assert slowest_down < 2 and seconds < 3
    assert ask(served.port, BUILDS_URL)[0] == 200
    assert served.output.count("the database is away") == 1 and "Traceback" not in served.output


def test_a_database_that_hangs_under_twenty_clients(database, served):
    with Clients(served.port) as clients:
        wait_until(lambda: len(clients.answers) > 200, 30, "some answers")
        database.hang()
        hung = time.monotonic()
        try:
            wait_until(lambda: "the database is away" in served.output, 30, "word that it does not answer")
            noticed = time.monotonic()
            wait_until(lambda: len([a for a in clients.since(noticed, True) if a[2] == 503]) > 100, 30, "refusals")
        finally:
            database.go_on()
        went_on = time.monotonic()
        first = wait_until(lambda: [a for a in clients.since(went_on, True) if a[2] == 200], 30, "builds")[0]
        seconds = first[0] + first[3] - went_on
        wait_until(lambda: len([a for a in clients.since(went_on, True) if a[2] == 200]) > 300, 30, "200s")
    words = check_answers(clients, {200, 503, 504}, SQL_SECONDS + 7)
    wait_until(lambda: database.connected() <= CONNECTIONS, 20, "connections that are no more than they may be")
    left = database.connected()
    print(f"\n{type(database).__name__} hung: noticed after {noticed - hung:.2f} s; {words}; "
          f"recovered after {seconds:.2f} s; {left} connections")  # fmt: skip
    assert "Traceback" not in served.output
