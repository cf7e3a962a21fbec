# SPDX-License-Identifier: Apache-2.0
"""The tables are those that the migrations of Zuul 3.19.1 leave; and what is written to them is a history."""

from __future__ import annotations

import collections
import datetime
import itertools
import json

import pytest
from sqlalchemy import create_engine, func, inspect, select
from sqlalchemy.pool import NullPool

from zuul.web.sandbox.database import Tables
from zuul.web.sandbox.history import YEARS_END, make_database
from zuul.web.sandbox.scenario import load

COLUMNS = {
    "zuul_buildset": """
        id INTEGER not null, zuul_ref VARCHAR(255), pipeline VARCHAR(255), project VARCHAR(255), change INTEGER,
        patchset VARCHAR(255), ref VARCHAR(255), message TEXT, tenant VARCHAR(255), result VARCHAR(255),
        ref_url VARCHAR(255), oldrev VARCHAR(255), newrev VARCHAR(255), branch VARCHAR(255), uuid VARCHAR(36),
        event_id VARCHAR(255)""",
    "zuul_build": """
        id INTEGER not null, buildset_id INTEGER, uuid VARCHAR(36), job_name VARCHAR(255), result VARCHAR(255),
        start_time DATETIME, end_time DATETIME, voting BOOLEAN, log_url VARCHAR(255), node_name VARCHAR(255),
        error_detail TEXT""",
    "zuul_artifact": "id INTEGER not null, build_id INTEGER, name VARCHAR(255), url TEXT, metadata TEXT",
    "zuul_provides": "id INTEGER not null, build_id INTEGER, name VARCHAR(255)",
    "alembic_version": "version_num VARCHAR(32) not null",
}
INDEXES = {
    "zuul_buildset": {
        "project_pipeline_idx": ["project", "pipeline"],
        "project_change_idx": ["project", "change"],
        "change_idx": ["change"],
        "uuid_idx": ["uuid"],
    },
    "zuul_build": {
        "job_name_buildset_id_idx": ["job_name", "buildset_id"],
        "uuid_buildset_id_idx": ["uuid", "buildset_id"],
    },
}
FOREIGN_KEYS = {
    "zuul_build": ("buildset_id", "zuul_buildset", "id"),
    "zuul_artifact": ("build_id", "zuul_build", "id"),
    "zuul_provides": ("build_id", "zuul_build", "id"),
}
NEVER_RAN = {"SKIPPED", "NODE_FAILURE"}


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """A year of 3000 builds: its engine."""
    url = f"sqlite:///{tmp_path_factory.mktemp('database')}/zuul.sqlite"
    make_database(url, builds=3000)
    return create_engine(url, poolclass=NullPool)


@pytest.fixture(scope="module")
def rows(database):
    """All rows of a table, by id: `rows("build")`."""
    tables = Tables()

    def rows(name):
        table = getattr(tables, name)
        with database.connect() as connection:
            return [row._mapping for row in connection.execute(select(table).order_by(table.c.id))]

    return {name: rows(name) for name in ("buildset", "build", "artifact", "provides")}


@pytest.fixture(scope="module")
def builds_of(rows):
    """The builds of each buildset by its id."""
    found = collections.defaultdict(list)
    for build in rows["build"]:
        found[build["buildset_id"]].append(build)
    return found


@pytest.mark.parametrize("prefix", ["", "ci_"])
def test_the_schema_is_that_of_the_reporter(tmp_path, prefix):
    url = f"sqlite:///{tmp_path}/zuul.sqlite"
    make_database(url, builds=0, table_prefix=prefix)
    found = inspect(create_engine(url, poolclass=NullPool))

    assert set(found.get_table_names()) == {prefix + name for name in COLUMNS}
    for name, columns in COLUMNS.items():
        shown = [
            f"{column['name']} {column['type']}{'' if column['nullable'] else ' not null'}"
            for column in found.get_columns(prefix + name)
        ]
        assert shown == [" ".join(column.split()) for column in columns.split(",")]
        indexes = {index["name"]: index["column_names"] for index in found.get_indexes(prefix + name)}
        assert indexes == {prefix + index: of for index, of in INDEXES.get(name, {}).items()}
        assert not any(index["unique"] for index in found.get_indexes(prefix + name))
        keys = [
            (*key["constrained_columns"], key["referred_table"], *key["referred_columns"])
            for key in found.get_foreign_keys(prefix + name)
        ]
        column, referred, of = FOREIGN_KEYS.get(name, (None, None, None))
        assert keys == ([(column, prefix + referred, of)] if column else [])
        assert found.get_pk_constraint(prefix + name)["constrained_columns"] == [
            "version_num" if name == "alembic_version" else "id"
        ]


def test_the_database_says_which_migration_was_the_last(database):
    with database.connect() as connection:
        assert connection.execute(select(Tables().alembic_version)).all() == [("16c1dc9054d0",)]


def test_the_same_seed_makes_the_same_year(tmp_path):
    def dump(name, **options):
        url = f"sqlite:///{tmp_path}/{name}"
        make_database(url, builds=300, **options)
        with create_engine(url, poolclass=NullPool).connect() as connection:
            return [connection.execute(select(table)).all() for table in Tables().of_rows]

    assert dump("one") == dump("two", seed=1)
    assert dump("one-more", seed=2) != dump("third", seed=3)


@pytest.mark.parametrize("builds", [0, 1, 7, 100])
def test_there_are_as_many_builds_as_were_asked_for(tmp_path, builds):
    url = f"sqlite:///{tmp_path}/zuul.sqlite"
    make_database(url, builds=builds)
    with create_engine(url, poolclass=NullPool).connect() as connection:
        assert connection.execute(select(func.count()).select_from(Tables().build)).scalar_one() == builds


def test_ids_grow_with_the_time_of_the_report(rows, builds_of):
    ends = [max(build["end_time"] for build in builds) for _, builds in sorted(builds_of.items()) if builds]

    assert ends == sorted(ends)
    assert [build["id"] for build in rows["build"]] == list(range(1, 3001))
    assert [build["buildset_id"] for build in rows["build"]] == sorted(build["buildset_id"] for build in rows["build"])


def test_all_is_within_the_year(rows):
    end = datetime.datetime.fromtimestamp(YEARS_END, datetime.timezone.utc).replace(tzinfo=None)
    times = [build[key] for build in rows["build"] for key in ("start_time", "end_time") if build[key]]

    assert end - datetime.timedelta(days=366) < min(times) < end - datetime.timedelta(days=350)
    assert end - datetime.timedelta(days=7) < max(times) <= end


def test_working_days_are_busier_than_weekends(rows):
    by_weekday = collections.Counter(build["end_time"].weekday() for build in rows["build"])

    assert max(by_weekday[5], by_weekday[6]) < min(by_weekday[day] for day in range(4))


def test_all_builds_of_a_buildset_are_there_in_the_order_of_the_configuration(rows, builds_of):
    scenario = load(None)
    tenant = scenario.tenants["example"]
    compute = tenant.project("core/compute")
    found = [
        tuple(build["job_name"] for build in builds_of[row["id"]])
        for row in rows["buildset"]
        if (row["project"], row["pipeline"], row["branch"]) == (compute.name, "check", "master")
        and row["result"] in ("SUCCESS", "FAILURE")
    ]

    assert found and set(found) == {
        (
            *("tox-pep8", "tox-py38", "tox-py39", "tox-docs", "select-tests", "integration", "integration-multinode"),
            *("integration-arm64", "functional", "functional-ipv6"),
        )
    }


def test_the_result_of_a_buildset_follows_from_its_voting_builds(rows, builds_of):
    for row in rows["buildset"]:
        builds = builds_of[row["id"]]
        if row["result"] in ("MERGER_FAILURE", "CONFIG_ERROR"):
            assert not builds and row["message"]
            continue
        voting = {build["result"] for build in builds if build["voting"]}
        passed = voting <= {"SUCCESS", "SKIPPED"} and any(build["result"] != "SKIPPED" for build in builds)
        assert row["result"] == ("SUCCESS" if passed else "FAILURE")


def test_what_no_executor_has_seen_has_no_uuid_and_no_log(rows):
    by_result = collections.defaultdict(list)
    for build in rows["build"]:
        by_result[build["result"]].append(build)

    assert {"SUCCESS", "FAILURE", "SKIPPED", "TIMED_OUT", "POST_FAILURE", "RETRY_LIMIT", "NODE_FAILURE"} <= set(
        by_result
    )
    for result, builds in by_result.items():
        assert {build["uuid"] is None for build in builds} == {result in NEVER_RAN}
        assert all(build["end_time"] for build in builds)
        assert {build["start_time"] is None for build in builds} == {result == "SKIPPED"}
        assert all(build["log_url"] is None or build["log_url"].endswith(f"/{build['uuid']}/") for build in builds)
    assert all(build["log_url"] for build in by_result["FAILURE"] + by_result["TIMED_OUT"])
    assert not any(build["log_url"] for build in by_result["SKIPPED"] + by_result["NODE_FAILURE"])
    noops = [build for build in rows["build"] if build["job_name"] == "noop"]
    assert noops and all(build["uuid"] and build["start_time"] and build["log_url"] is None for build in noops)
    assert all(build["start_time"] <= build["end_time"] for build in rows["build"] if build["start_time"])


def test_the_jobs_behind_a_failed_one_are_skipped(rows, builds_of):
    images = [{build["job_name"]: build for build in builds} for builds in builds_of.values()]
    failed = [jobs for jobs in images if "test-image" in jobs and jobs["build-image"]["result"] != "SUCCESS"]

    assert failed and all(jobs["test-image"]["result"] == "SKIPPED" for jobs in failed)
    for jobs in images:
        if "test-image" in jobs and jobs["buildset-registry"]["result"] == "SUCCESS":
            assert jobs["buildset-registry"]["end_time"] > jobs["build-image"]["end_time"], "it waits, paused"


def test_changes_have_numbers_that_grow_and_refs_have_revisions(rows):
    first = {}
    for row in rows["buildset"]:
        if row["change"] is None:
            assert row["patchset"] is None and row["ref"].startswith(("refs/heads/", "refs/tags/"))
            assert (row["pipeline"] == "periodic") == (row["newrev"] is None)
            assert row["ref"].startswith("refs/tags/") == (row["branch"] == "")
        else:
            assert row["patchset"] and row["oldrev"] is None and row["newrev"] is None
            first.setdefault(row["change"], row["id"])
        assert row["zuul_ref"] == f"Z{row['uuid']}" and row["event_id"] and row["ref_url"]
    assert max(first) < 700_000, "the simulation goes on from there"
    # Those that were first reported much later started later: a report comes within hours.
    assert all(a < b for a, b in zip(list(first)[::20], list(first)[20::20], strict=False))
    assert any(row["ref"].startswith("refs/tags/") for row in rows["buildset"])


def test_a_patchset_is_checked_before_the_change_is_gated(rows):
    seen = collections.defaultdict(list)
    for row in rows["buildset"]:
        if row["change"]:
            seen[row["tenant"], row["change"]].append(row["pipeline"])

    assert any(len(pipelines) > 3 for pipelines in seen.values())
    assert {pipelines[0] for pipelines in seen.values()} == {"check"}
    gerrit = collections.defaultdict(list)
    for row in rows["buildset"]:
        if row["change"] and len(row["patchset"]) < 4:
            gerrit[row["change"]].append(int(row["patchset"]))
    assert all(patchsets == sorted(patchsets) for patchsets in gerrit.values())
    assert max(itertools.chain(*gerrit.values())) > 3


def test_artifacts_belong_to_builds_with_logs_and_say_what_they_are(rows):
    builds = {build["id"]: build for build in rows["build"]}
    types = collections.Counter()
    for artifact in rows["artifact"]:
        assert builds[artifact["build_id"]]["log_url"]
        types[json.loads(artifact["metadata"] or "{}").get("type")] += 1

    assert set(types) == {"zuul_manifest", "docs_site", "docs_archive", "site", "container_image", None}
    assert {(builds[row["build_id"]]["job_name"], row["name"]) for row in rows["provides"]} == {
        ("buildset-registry", "registry"),
        ("build-image", "image"),
        ("upload-image", "image"),
        ("npm-build", "preview"),
    }
