# SPDX-License-Identifier: Apache-2.0
"""Databases as other Zuuls leave them: with a prefix, with columns of 4.x, with rows of what still runs."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import datetime

import pytest

from zuul.web.backends.history import History
from zuul.web.resources.history_queries import BuildQuery, BuildsetQuery, BuildTimesQuery, StatisticsQuery
from zuul.web.sandbox.history import make_database
from zuul.web.settings import Connection

TENANT = "example"
COLUMNS_OF_4 = """
ALTER TABLE zuul_buildset ADD COLUMN event_timestamp DATETIME;
ALTER TABLE zuul_buildset ADD COLUMN first_build_start_time DATETIME;
ALTER TABLE zuul_buildset ADD COLUMN last_build_end_time DATETIME;
ALTER TABLE zuul_buildset ADD COLUMN updated DATETIME;
ALTER TABLE zuul_build ADD COLUMN final BOOLEAN;
ALTER TABLE zuul_build ADD COLUMN held BOOLEAN;
ALTER TABLE zuul_build ADD COLUMN nodeset VARCHAR(255);
CREATE TABLE zuul_build_event (id INTEGER PRIMARY KEY, build_id INTEGER, event_type VARCHAR(255));
UPDATE zuul_buildset SET first_build_start_time = '2020-01-01 00:00:00.000000';
UPDATE zuul_build SET final = (id % 5 != 0), held = (id % 7 = 0), nodeset = 'ubuntu';
"""
RUNNING = """
UPDATE zuul_build SET result = NULL, end_time = NULL WHERE id % 10 = 1;
UPDATE zuul_buildset SET result = NULL, last_build_end_time = NULL WHERE id % 10 = 1;
"""


class OneConnection:
    """A scheduler that has all tenants report to one database, and no holds."""

    def tenant_sql_connection(self, tenant):
        return "database"

    def autohold_list(self):
        return []


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "history.db"
    make_database(f"sqlite:///{path}", builds=200)
    return path


@pytest.fixture
def history_of(made, tmp_path):
    """A history of a copy of the database, after some SQL."""
    with contextlib.ExitStack() as stack:

        def history_of(script="", path=None, **options):
            if path is None:
                path = tmp_path / "history.db"
                path.write_bytes(made.read_bytes())
            connection = sqlite3.connect(path)
            connection.executescript(script)
            connection.close()
            database = Connection("database", "sql", {"dburi": f"sqlite:///{path}", **options})
            history = History([database], OneConnection(), timeout_seconds=5, connections_each=2)
            stack.callback(history.close)
            return history

        yield history_of


def numbers(listing):
    return [row["_id"] for row in listing.rows]


def builds(history, **asked):
    return numbers(history.builds(TENANT, BuildQuery.asking(**{"limit": 1000, **asked})))


def test_a_prefix_of_the_tables_names(history_of, tmp_path):
    path = tmp_path / "prefixed.db"
    make_database(f"sqlite:///{path}", builds=200, table_prefix="ci_")
    prefixed, plain = history_of(path=path, table_prefix="ci_"), history_of()

    listing = prefixed.builds(TENANT, BuildQuery.asking())
    assert listing == plain.builds(TENANT, BuildQuery.asking()) and len(listing.rows) == 50
    uuid = prefixed.buildsets(TENANT, BuildsetQuery.asking()).rows[0]["uuid"]
    assert prefixed.buildset(TENANT, uuid) == plain.buildset(TENANT, uuid)


def test_what_3_19_1_has_not_is_not_in_its_rows(history_of):
    row = history_of().builds(TENANT, BuildQuery.asking(limit=1)).rows[0]
    assert not {"final", "held", "nodeset"} & set(row)
    row = history_of().buildsets(TENANT, BuildsetQuery.asking(limit=1)).rows[0]
    assert not {"updated", "event_timestamp"} & set(row)


def test_columns_of_4_are_read_and_asked_for(history_of):
    plain, history = builds(history_of()), history_of(COLUMNS_OF_4)
    everything = history.builds(TENANT, BuildQuery.asking(limit=1000)).rows

    assert [row["_id"] for row in everything] == plain
    assert {row["nodeset"] for row in everything} == {"ubuntu"}
    assert all(row["final"] is (row["_id"] % 5 != 0) and row["held"] is (row["_id"] % 7 == 0) for row in everything)
    assert builds(history, final=[True]) == [number for number in plain if number % 5]
    assert builds(history, final=[False]) == [number for number in plain if not number % 5]
    assert builds(history, held=[True]) == [number for number in plain if not number % 7]
    assert builds(history, held=[False], final=[True]) == [n for n in plain if n % 7 and n % 5]
    row = history.buildsets(TENANT, BuildsetQuery.asking(limit=1)).rows[0]
    assert row["first_build_start_time"] == datetime(2020, 1, 1) and row["last_build_end_time"] is None
    assert "event_timestamp" not in row and "updated" not in row
    found = history.buildset(TENANT, row["uuid"])
    assert found["first_build_start_time"] == datetime(2020, 1, 1)
    assert {build["nodeset"] for build in found["builds"]} == {"ubuntu"}
    times = history.build_times(TENANT, BuildTimesQuery.asking(limit=1000)).rows
    assert {row["_id"]: row["final"] for row in times} == {number: number % 5 != 0 for number in plain}


def test_what_still_runs_is_told_from_what_is_complete(history_of):
    history = history_of(COLUMNS_OF_4 + RUNNING)
    everything = builds(history)
    running = [number for number in everything if number % 10 == 1]

    assert running and builds(history, complete=[False]) == running
    assert builds(history, complete=[True]) == [number for number in everything if number % 10 != 1]
    assert builds(history, complete=[True, False]) == everything
    (row,) = [row for row in history.builds(TENANT, BuildQuery.asking(limit=1000)).rows if row["_id"] == running[0]]
    assert (row["result"], row["end_time"], row["duration"]) == (None, None, None)
    sets = numbers(history.buildsets(TENANT, BuildsetQuery.asking(limit=1000)))
    complete = numbers(history.buildsets(TENANT, BuildsetQuery.asking(limit=1000, complete=[True])))
    assert complete == [number for number in sets if number % 10 != 1] != sets
    for query in (BuildTimesQuery.asking(limit=1000), BuildTimesQuery.asking(limit=1000, complete=[True, False])):
        assert not {row["_id"] for row in history.build_times(TENANT, query).rows} & set(running)
        assert not {row["_id"] for row in history.latest_builds(TENANT, query).rows} & set(running)


def test_flags_that_nobody_has_set_are_neither(history_of):
    history = history_of(COLUMNS_OF_4 + "UPDATE zuul_build SET final = NULL, held = NULL, voting = NULL")
    assert builds(history, final=[True]) == builds(history, held=[False]) == builds(history, voting=[True]) == []
    row = history.builds(TENANT, BuildQuery.asking(limit=1)).rows[0]
    assert (row["final"], row["held"], row["voting"]) == (None, None, None)


def test_before_4_all_builds_are_final_and_complete(history_of):
    history = history_of()
    assert builds(history, final=[True], complete=[True]) == builds(history) != []
    assert builds(history, final=[False]) == builds(history, complete=[False]) == []


def test_statistics_by_hand(history_of):
    minutes = {"SUCCESS": (1, 2, 3, 4, 10), "FAILURE": (7, 8), "SKIPPED": (0,), "CANCELED": (1,), None: (1,)}
    rows = [(result, minute) for result, found in minutes.items() for minute in found]
    values = ",".join(
        f"(1, 'by-hand', {'NULL' if result is None else repr(result)}, '2020-01-01 00:00:00.000000',"
        f" '2020-01-01 00:{minute:02}:00.000000', 1)"
        for result, minute in rows
    )
    history = history_of(
        f"UPDATE zuul_buildset SET tenant = '{TENANT}' WHERE id = 1;"
        f"INSERT INTO zuul_build (buildset_id, job_name, result, start_time, end_time, voting) VALUES {values}"
    )
    query = StatisticsQuery.asking(start_time=datetime(2019, 12, 31))
    found = history.job_statistics(TENANT, "by-hand", query)

    assert (found.builds, found.complete, found.success_rate) == (10, True, round(5 / 7, 4))
    assert found.results == {"SUCCESS": 5, "FAILURE": 2, "SKIPPED": 1, "CANCELED": 1}
    durations = found.durations
    assert (durations.count, durations.shortest, durations.mean, durations.longest) == (5, 60.0, 240.0, 600.0)
    # Of 60, 120, 180, 240, 600: between the fourth and the fifth from the 75th percentile on.
    assert (durations.p50, durations.p75, durations.p90, durations.p95) == (180.0, 240.0, 456.0, 528.0)
    assert durations.p99 == 585.6
    one = history.job_statistics(TENANT, "by-hand", StatisticsQuery.asking(start_time=datetime(2020, 1, 2)))
    assert (one.builds, one.durations.p50) == (0, None)


@pytest.mark.parametrize(
    "metadata", ["", "no JSON", "{", "[" * 100_000, "NaN", '"text"', "[1]", "12", "null", "\ufeff{}", "NaN}"]
)
def test_what_a_job_wrote_of_an_artifact_need_be_no_object(history_of, metadata):
    quoted = metadata.replace("'", "''")
    history = history_of(f"UPDATE zuul_artifact SET metadata = '{quoted}'")
    rows = history.builds(TENANT, BuildQuery.asking(limit=1000)).rows
    artifacts = [artifact for row in rows for artifact in row["artifacts"]]
    assert artifacts and not [artifact for artifact in artifacts if "metadata" in artifact]


def test_what_json_does_not_know_is_null_in_metadata(history_of):
    metadata = '{"a": NaN, "b": -Infinity, "c": [1e999, 1.5], "d": 1e400, "e": "NaN"}'
    history = history_of(f"UPDATE zuul_artifact SET metadata = '{metadata}'")
    artifact = history.builds(TENANT, BuildQuery.asking(limit=1)).rows[0]["artifacts"][0]
    assert artifact["metadata"] == {"a": None, "b": None, "c": [None, 1.5], "d": None, "e": "NaN"}


def test_a_uuid_that_two_have_is_the_last_one(history_of):
    history = history_of("UPDATE zuul_build SET uuid = 'twice'; UPDATE zuul_buildset SET uuid = 'twice'")
    assert history.build(TENANT, "twice")["_id"] == builds(history)[0]
    sets = numbers(history.buildsets(TENANT, BuildsetQuery.asking()))
    assert history.buildset(TENANT, "twice")["_id"] == sets[0]
    assert builds(history, marker="twice") == builds(history)[1:]
