# SPDX-License-Identifier: Apache-2.0
"""The database of a running sandbox: first a year, then what the simulation reports."""

from __future__ import annotations

import contextlib
import json
import sqlite3

import pytest
from services import wait_until
from sqlalchemy import create_engine, func, select
from sqlalchemy.pool import NullPool

from zuul.web.cli import main
from zuul.web.sandbox.database import Report, Tables, utc
from zuul.web.sandbox.history import MAX_WAITING, History, HistoryError, make_database
from zuul.web.sandbox.past import MAX_BUILDS, Past
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

SCENARIO = load(None)
START = 1_600_000_000.0
TABLES = Tables()


class Recorded:
    """A world under a clock, with what it reports."""

    def __init__(self, **options):
        self.now = START
        self.reports: list[Report] = []
        self.scheduler = SandboxScheduler(SCENARIO, clock=lambda: self.now, report_to=self.reports.append, **options)

    def status(self):
        return json.loads(self.scheduler.functions["zuul:status_get"]({"tenant": "example"}))

    def items(self):
        queues = (queue for pipeline in self.status()["pipelines"] for queue in pipeline["change_queues"])
        return {item["zuul_ref"]: item for queue in queues for head in queue["heads"] for item in head if item["live"]}


@pytest.fixture(scope="module")
def world():
    """Two hours of it, and each item as it was seen last."""
    world = Recorded()
    world.seen = {}
    for _ in range(360):
        world.seen.update(world.items())
        world.now += 20
    world.status()
    return world


@pytest.fixture
def history(tmp_path):
    """Starts histories, and stops them at the end: `history(builds=0)`."""
    started = []

    def history(builds=0, **options):
        made = History(SCENARIO, builds=builds, end=START, **options)
        made.start(str(tmp_path))
        started.append(made)
        return made

    yield history
    for one in started:
        one.stop()


def rows(history, table):
    with create_engine(history.url, poolclass=NullPool).connect() as connection:
        return [row._mapping for row in connection.execute(select(table).order_by(table.c.id))]


def count(history, table=TABLES.build):
    with create_engine(history.url, poolclass=NullPool).connect() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def a_report():
    """One of a buildset with two builds or more."""
    return next(report for report in Past(SCENARIO, builds=50, seed=5, end=START).reports() if len(report.builds) > 1)


# What the simulation reports


def test_an_item_is_reported_with_the_uuids_and_times_that_its_status_had(world):
    compared = 0
    for report in world.reports:
        item = world.seen.get(report.row["zuul_ref"])
        if item is None or report.row["tenant"] != "example":
            continue
        assert report.row["uuid"] == item["zuul_ref"][1:]
        assert [build.row["job_name"] for build in report.builds] == [job["name"] for job in item["jobs"]]
        for build, job in zip(report.builds, item["jobs"], strict=True):
            assert build.row["voting"] == job["voting"]
            if job["result"] is None:
                continue
            compared += 1
            assert (build.row["uuid"], build.row["result"]) == (job["uuid"], job["result"])
            assert build.row["start_time"] == utc(job["start_time"])
            assert build.row["log_url"] in (job["report_url"], None)
            if job["end_time"]:
                assert build.row["end_time"] == utc(job["end_time"])

    assert compared > 300


def test_reports_come_in_the_order_of_time_and_only_of_what_is_through(world):
    moments = [report.moment for report in world.reports]

    assert moments == sorted(moments) and len(moments) > 300
    assert {report.row["result"] for report in world.reports} == {"SUCCESS", "FAILURE"}
    for report in world.reports:
        assert report.builds and all(build.row["result"] and build.row["end_time"] for build in report.builds)
        assert max(build.row["end_time"] for build in report.builds) <= utc(report.moment)


def test_what_ended_before_anybody_looked_is_reported_too():
    world = Recorded()

    assert world.reports and all(START - 3000 <= report.moment <= START for report in world.reports)


def test_an_item_that_is_dequeued_is_not_reported():
    world = Recorded()
    item = next(item for item in world.items().values() if item["id"] and "," in item["id"])
    reported = len(world.reports)
    world.scheduler.functions["zuul:dequeue"](
        {"tenant": "example", "pipeline": "check", "project": item["project"], "change": item["id"], "ref": None}
    )

    assert item["zuul_ref"] not in world.items()
    assert len(world.reports) == reported


def test_a_tenant_without_an_sql_connection_is_not_reported(tmp_path):
    path = tmp_path / "scenario.yaml"
    path.write_text(
        "executors: [ze]\nlog_url: http://logs\nconfig_project: c\ndefault_base_job: base\n"
        "connections: [{name: g, driver: git, server: s, baseurl: b, canonical_hostname: s}]\n"
        "pipelines: [{name: check, manager: independent, subject: change, triggers: [g]}]\n"
        "jobs: [{name: base, base: true, duration: 5}]\n"
        "projects: [{name: c, connection: g, pipelines: {check: [base]}}]\n"
        "tenants:\n"
        "  - {name: silent, config_projects: [c], depth: {check: 3}, sql_connection: null}\n"
        "  - {name: loud, config_projects: [c], depth: {check: 3}, sql_connection: other}\n"
    )
    reports = []
    scheduler = SandboxScheduler(load(str(path)), clock=lambda: START, report_to=reports.append)
    ask = scheduler.functions["zuul:tenant_sql_connection"]

    assert {report.row["tenant"] for report in reports} == {"loud"}
    assert [json.loads(ask({"tenant": tenant})) for tenant in ("silent", "loud", "nope")] == ["", "other", ""]
    assert load(str(path)).sql_connections == ["other"]


# The file


def test_the_past_comes_first_and_reports_after_it(tmp_path):
    history = History(SCENARIO, builds=500, end=START)
    history.append(a_report())
    history.start(str(tmp_path))
    wait_until(lambda: count(history) > 500, what="the report")
    history.stop()

    builds = rows(history, TABLES.build)
    assert [row["id"] for row in builds] == list(range(1, len(builds) + 1))
    last = rows(history, TABLES.buildset)[-1]["id"]
    assert {row["buildset_id"] for row in builds[500:]} == {last}
    assert last not in {row["buildset_id"] for row in builds[:500]}


def test_who_reads_meanwhile_sees_all_of_the_past_or_nothing(history):
    made = history(builds=2000)
    counts = [count(made)]
    wait_until(lambda: counts.append(count(made)) or counts[-1] == 2000, what="the past")

    assert set(counts) <= {0, 2000}


def test_without_a_past_there_is_only_what_is_reported(history):
    made = history()
    assert count(made) == 0
    report = a_report()
    made.append(report)
    wait_until(lambda: count(made), what="the report")

    (buildset,) = rows(made, TABLES.buildset)
    assert buildset["uuid"] == report.row["uuid"]
    assert [row["uuid"] for row in rows(made, TABLES.build)] == [build.row["uuid"] for build in report.builds]
    artifacts = {row["build_id"] for row in rows(made, TABLES.artifact)}
    assert artifacts <= {row["id"] for row in rows(made, TABLES.build)} and artifacts


def test_who_reads_does_not_keep_the_writer_waiting_nor_the_other_way_round(history):
    made = history()
    reader = sqlite3.connect(made.url.removeprefix("sqlite:///"), isolation_level=None)
    reader.execute("BEGIN")
    assert reader.execute("SELECT count(*) FROM zuul_build").fetchone() == (0,)
    made.append(a_report())
    wait_until(lambda: count(made), what="the report")

    assert reader.execute("SELECT count(*) FROM zuul_build").fetchone() == (0,)
    reader.close()


def test_what_waits_when_it_stops_is_written(history):
    made = history()
    for _ in range(50):
        made.append(a_report())
    made.stop()

    assert count(made, TABLES.buildset) == 50


def test_a_past_that_is_not_finished_does_not_hold_up_the_end(history, tmp_path):
    path = str(tmp_path / "kept.sqlite")
    made = history(builds=MAX_BUILDS, file=path)
    made.append(a_report())
    made.stop()

    assert count(made) == 0, "what was reported would else come before the past of the next run"
    again = history(builds=30, file=path)
    wait_until(lambda: count(again) == 30, what="the past of the next run")


def test_what_waits_is_bounded():
    history = History(SCENARIO, builds=0, end=START)
    report = a_report()
    for _ in range(MAX_WAITING + 10):
        history.append(report)

    assert len(history._waiting) == MAX_WAITING


def test_a_file_is_kept_and_gone_on_with(history, tmp_path):
    path = str(tmp_path / "kept.sqlite")
    first = history(builds=100, file=path)
    wait_until(lambda: count(first) == 100, what="the past")
    first.stop()

    again = history(builds=100, file=path)
    earlier, later = a_report(), a_report()
    earlier.moment = START - 360 * 86400
    later.moment = START
    again.append(earlier)
    again.append(later)
    wait_until(lambda: count(again) > 100, what="the report")
    assert count(again) == 100 + len(later.builds), "there is one past, and one present"
    assert again.seed != first.seed
    assert again.first_change >= 700_000


def test_numbers_of_changes_go_on_from_those_of_the_file(tmp_path):
    path = tmp_path / "kept.sqlite"
    make_database(f"sqlite:///{path}", builds=50)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE zuul_buildset SET change = 700123 WHERE id = 1")
    made = History(SCENARIO, builds=0, end=START, file=str(path))
    world = Recorded(seed=made.seed, first_change=made.first_change)

    numbers = [int(item["id"].split(",")[0]) for item in world.items().values() if item["id"] and "," in item["id"]]
    assert numbers and min(numbers) > 700_123


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda path: path.write_text("notes " * 1000), "file is not a database"),
        (lambda path: _sql(path, "CREATE TABLE bookmarks (id INTEGER)"), "other tables"),
        (lambda path: _altered(path, "ALTER TABLE zuul_build DROP COLUMN error_detail"), "other tables"),
        (lambda path: _altered(path, "UPDATE alembic_version SET version_num = 'c57e9e76b812'"), "another Zuul"),
        (lambda path: path.mkdir(), "must be a file"),
    ],
)
def test_a_file_that_is_something_else_is_refused_and_left_alone(tmp_path, make, complaint):
    path = tmp_path / "zuul.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(HistoryError, match=complaint) as refusal:
        History(SCENARIO, builds=10, end=START, file=str(path))
    assert str(path) in str(refusal.value)
    assert before is None or path.read_bytes() == before


@pytest.mark.parametrize("name", ["missing/zuul.sqlite", "what?.sqlite", "100%.sqlite", "a\nb.sqlite"])
def test_a_name_that_cannot_be_used_is_refused(tmp_path, name):
    with pytest.raises(HistoryError):
        History(SCENARIO, builds=10, end=START, file=f"{tmp_path}/{name}")


def test_a_wrong_size_or_file_is_refused_in_one_sentence(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    notes.write_text("no database " * 100)

    assert main(["sandbox", "--history", "1000001"]) == 2
    assert capsys.readouterr().err == "zuul-rest: --history must be from 0 to 1000000\n"
    assert main(["sandbox", "--history-file", str(notes)]) == 2
    assert capsys.readouterr().err == f"zuul-rest: {notes}: the history file cannot be read: file is not a database\n"


def _sql(path, statement):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def _altered(path, statement):
    make_database(f"sqlite:///{path}", builds=0)
    _sql(path, statement)
