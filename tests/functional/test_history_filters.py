# SPDX-License-Identifier: Apache-2.0
"""Filters of builds and buildsets, held to what all rows of the database say (reported.py)."""

from __future__ import annotations

import random
import sqlite3
from datetime import timedelta
from urllib.parse import urlencode

import pytest
from functional.reported import Reported

from zuul.web.backends.rpc.local import LocalTransport

TENANTS = ("example", "widgets", "platform.example")
COMMON = ("project", "pipeline", "branch", "change", "patchset", "ref", "newrev", "event_id", "uuid", "result")
OF_BUILDS = (*COMMON, "job_name", "voting", "node_name")
FLAGS = ("true", "false", "True", "FALSE", "1", "0")

STRANGE = ("100%", "a_b", "a!b", "a?b", "a[b]c", "a\\b", "aXb", "100x", "core/Compute", "Ünïcode", "tail ", "tail",
           "*", "'; --", "line\nbreak", "a]b")  # fmt: skip
"""Names that mean something to one database or another. The real ones of a project are safe, those of a job are not."""


@pytest.fixture(scope="module")
def history_with_strange_names(history_file, tmp_path_factory):
    """A copy of the database in which names are as hard to compare as can be, and some rows have no result."""
    path = tmp_path_factory.mktemp("strange") / "history.db"
    path.write_bytes(history_file.read_bytes())
    connection = sqlite3.connect(path)
    for number, name in enumerate(STRANGE):
        connection.execute("UPDATE zuul_buildset SET project = ?, branch = ? WHERE id % 40 = ?", (name, name, number))
        connection.execute("UPDATE zuul_build SET job_name = ?, node_name = ? WHERE id % 50 = ?", (name, name, number))
    connection.execute("UPDATE zuul_build SET result = NULL WHERE id % 17 = 0")
    connection.execute("UPDATE zuul_buildset SET result = NULL WHERE id % 17 = 0")
    connection.commit()
    connection.close()
    return path


@pytest.fixture(scope="module")
def app(make_apps, functions, history_with_strange_names):
    return make_apps(LocalTransport(functions), history=history_with_strange_names)


@pytest.fixture(scope="module")
def reported(history_with_strange_names):
    return Reported(history_with_strange_names)


@pytest.fixture
def holds(app, reported):
    """Asks for builds or buildsets; the rows must be those that Python finds, newest first."""

    def holds(resource, tenant, *query):
        chosen = reported.chosen_builds if resource == "builds" else reported.chosen_buildsets
        expected = [row["id"] for row in chosen(tenant, query)]
        response = app.get(
            f"/api/tenant/{tenant}/{resource}?" + urlencode([*query, ("fields", "_id"), ("limit", 1000)])
        )
        assert [row["_id"] for row in response.json] == expected[:1000], query
        if len(expected) <= 1000:
            assert response.headers["X-Total"] == str(len(expected))
        return expected

    return holds


def some_value(rng, rows, name):
    """A value to ask for: mostly one that is there, sometimes one that is nowhere or not quite."""
    if name in ("voting", "complete", "final"):
        return rng.choice(FLAGS)
    value = rng.choice(rows)[name]
    if name == "change":
        return str(value if value is not None and rng.random() < 0.9 else rng.choice([0, -1, 2**31, 7]))
    value = value if value is not None else rng.choice(["", "None"])
    change = rng.random()
    if change < 0.1:
        return rng.choice(["nowhere", "", value.upper(), f"{value} ", value[:-1]])
    if change < 0.4 and value:
        at = rng.randrange(len(value))
        return rng.choice([value[:at] + "*", "*" + value[at:], value[: at // 2] + "*" + value[at:], "*"])
    return value


def some_time(rng, rows):
    return (rng.choice(rows)["end_time"] + timedelta(seconds=rng.choice([-1, 0, 1]))).isoformat(sep=rng.choice("T "))


def combinations(reported, resource, seed, count):
    """Tenants and queries of one to four parameters, each given up to three times."""
    rng = random.Random(seed)
    names = [*(OF_BUILDS if resource == "builds" else COMMON), "exclude_result", "complete", "start_time", "end_time"]
    names += ["final"] if resource == "builds" else []
    for number in range(count):
        tenant = rng.choice(TENANTS)
        rows = (reported.builds if resource == "builds" else reported.buildsets)[tenant]
        asked = [names[number]] if number < len(names) else rng.sample(names, rng.choice([1, 2, 2, 3, 4]))
        query = []
        for name in asked:
            if name.endswith("_time"):
                query.append((name, some_time(rng, reported.builds[tenant])))
                continue
            column = "result" if name == "exclude_result" else name
            query += [(name, some_value(rng, rows, column)) for _ in range(rng.choice([1, 1, 2, 3]))]
        yield tenant, query


@pytest.mark.parametrize("resource", ["builds", "buildsets"])
def test_filters_alone_and_together_find_what_a_look_at_each_row_finds(holds, reported, resource):
    found = [len(holds(resource, tenant, *query)) for tenant, query in combinations(reported, resource, 1, 70)]
    assert sum(map(bool, found)) > 20  # of many that ask for what goes together nowhere


@pytest.mark.parametrize("name", STRANGE)
def test_names_are_taken_letter_by_letter_and_only_a_star_stands_for_others(holds, name):
    assert holds("builds", "example", ("project", name))
    assert holds("buildsets", "example", ("branch", name))
    assert holds("builds", "example", ("job_name", f"{name}*"))
    assert holds("builds", "example", ("job_name", f"*{name[1:]}"), ("job_name", "nowhere"))
    holds("builds", "example", ("node_name", name))
    holds("builds", "example", ("project", name.swapcase()), ("project", name.swapcase() + "*"))


def test_a_star_is_one_where_no_name_is_meant(holds):
    assert holds("builds", "example", ("node_name", "*"))
    assert len(holds("builds", "example", ("node_name", "*"))) < len(holds("builds", "example", ("project", "*")))
    assert holds("builds", "example", ("uuid", "*")) == holds("builds", "example", ("result", "S*")) == []


def test_what_has_no_result_is_not_excluded(holds, reported):
    rows = holds("builds", "example", ("exclude_result", "SUCCESS"), ("exclude_result", "FAILURE"))
    without = {build["id"] for build in reported.builds["example"] if build["result"] is None}
    assert without and without <= set(rows)


@pytest.mark.parametrize(
    "asked, voting",
    [(["true"], {True}), (["False"], {False}), (["TRUE"], {True}), (["0"], {False}), (["1", "false"], {True, False})],
)
def test_voting_is_said_in_any_case(app, asked, voting):
    query = urlencode([("voting", text) for text in asked])
    rows = app.get(f"/api/tenant/example/builds?limit=200&fields=voting&{query}").json
    assert {row["voting"] for row in rows} == voting


def test_a_tenant_is_one_letter_by_letter(app):
    for tenant in ("Example", "exampl_", "%", "*", "example%20", "platform_example"):
        app.get(f"/api/tenant/{tenant}/builds", status=404)
