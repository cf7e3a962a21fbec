# SPDX-License-Identifier: Apache-2.0
"""Pages of the history: where they begin and end, in which order, what leads to the next, and what they cost."""

from __future__ import annotations

import sqlite3
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
from functional.reported import Reported, build_json, buildset_json
from sqlalchemy import Engine, event

from zuul.web.backends.history.tables import RECOMMENDED
from zuul.web.backends.rpc.local import LocalTransport

TENANT = "example"
URLS = {"builds": f"/api/tenant/{TENANT}/builds", "buildsets": f"/v1/tenants/{TENANT}/buildsets"}
both = pytest.mark.parametrize("resource", URLS)


@pytest.fixture(scope="module")
def app(make_apps, functions):
    return make_apps(LocalTransport(functions))


@pytest.fixture(scope="module")
def reported(history_file):
    return Reported(history_file)


@pytest.fixture(scope="module")
def indexed_file(history_file, tmp_path_factory):
    """A copy with the indexes that we recommend, in which a part of the rows has no value to sort by."""
    path = tmp_path_factory.mktemp("indexed") / "history.db"
    path.write_bytes(history_file.read_bytes())
    connection = sqlite3.connect(path)
    for index in RECOMMENDED:
        connection.execute(index.statement(""))
    connection.execute("UPDATE zuul_build SET end_time = NULL WHERE id % 13 = 0")
    connection.commit()
    connection.close()
    return path


@pytest.fixture(scope="module")
def indexed_app(make_apps, functions, indexed_file):
    return make_apps(LocalTransport(functions), history=indexed_file)


@pytest.fixture(scope="module")
def in_indexed(indexed_file):
    return Reported(indexed_file)


@pytest.fixture
def statements():
    """The statements that are sent to databases meanwhile."""
    sent = []

    def note(connection, cursor, statement, *_):
        sent.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield sent
    event.remove(Engine, "before_cursor_execute", note)


def rows_of(reported, resource):
    """All rows of the tenant, the newest first."""
    return [*reversed((reported.builds if resource == "builds" else reported.buildsets)[TENANT])]


def ids(response):
    return [row["_id"] for row in response.json]


def next_url(response, url):
    link = response.headers.get("Link")
    if link is None:
        return None
    assert link.startswith("<?") and link.endswith('>; rel="next"')
    return urljoin(url, link[1:].partition(">")[0])


def walked(app, url, each=lambda: None):
    """The ids on all pages that links lead to."""
    found = []
    while url is not None:
        response = app.get(url)
        found += ids(response)
        url = next_url(response, url)
        each()
    return found


@both
def test_the_first_page_has_fifty_of_the_newest_and_no_more(app, reported, resource):
    response = app.get(URLS[resource])

    expected = rows_of(reported, resource)[:50]
    assert ids(response) == [row["id"] for row in expected]
    assert response.headers["X-Limit"] == "50"
    assert "X-Total" not in response.headers  # it is not known


def test_a_row_has_all_that_was_reported(app, reported):
    builds, buildsets = rows_of(reported, "builds")[:40], rows_of(reported, "buildsets")[:40]
    below, v1 = f"/api/tenant/{TENANT}", f"/v1/tenants/{TENANT}"

    assert app.get(f"{below}/builds?limit=40").json == [build_json(build) for build in builds]
    assert app.get(f"{v1}/builds?limit=40").json == [build_json(build, rfc3339=True) for build in builds]
    assert app.get(f"{below}/buildsets?limit=40").json == [buildset_json(one) for one in buildsets]


@both
@pytest.mark.parametrize("limit", [0, 1, 2, 49, 1000])
@pytest.mark.parametrize("skip", [None, ("skip", 0), ("skip", 3), ("offset", 480), ("skip", 10**9)])
def test_limit_and_skip_cut_out_so_many(app, reported, resource, limit, skip):
    everything = rows_of(reported, resource)
    query = [("limit", limit), ("fields", "_id"), *([skip] if skip else [])]
    response = app.get(f"{URLS[resource]}?{urlencode(query)}")

    begin = skip[1] if skip else 0
    assert ids(response) == [row["id"] for row in everything[begin : begin + limit]]
    assert response.headers.get("X-Total", str(len(everything))) == str(len(everything))
    assert response.headers.get("X-Offset") == (str(begin) if skip else None)
    assert ("Link" in response.headers) == (limit > 0 and begin + limit < len(everything))


@both
def test_a_page_that_ends_with_the_last_row_tells_how_many_there_are(app, reported, resource):
    total = len(rows_of(reported, resource))
    response = app.get(f"{URLS[resource]}?limit=7&skip={total - 7}&fields=_id")

    assert len(response.json) == 7 and "Link" not in response.headers
    assert response.headers["X-Total"] == str(total)


@both
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_rows_from_and_to_a_number_and_after_a_marker(app, reported, resource, direction):
    everything = rows_of(reported, resource)[:: -1 if direction == "asc" else 1]
    first, last = everything[20], everything[30]
    low, high = sorted((first["id"], last["id"]))
    marker = next(row for row in everything[20:30] if row["uuid"])

    def found(**query):
        query |= {"sort_dir": direction, "fields": "_id", "limit": 1000}
        return ids(app.get(f"{URLS[resource]}?{urlencode(query)}"))

    assert found(idx_min=low, idx_max=high) == [row["id"] for row in everything[20:31]]
    after = [row["id"] for row in everything[everything.index(marker) + 1 :]][:1000]
    assert found(marker=marker["uuid"]) == after
    assert found(marker=marker["id"]) == after
    assert found(marker=marker["uuid"], skip=3)[:990] == after[3:993]
    assert found(idx_min=2**63 - 1) == found(idx_max=0) == []


@both
def test_a_marker_that_means_nothing_here_is_404(app, reported, refusal, resource):
    others = reported.builds["widgets"] if resource == "builds" else reported.buildsets["widgets"]
    for marker in ("nowhere", "", "\u20ac", "0", "9" * 30, others[0]["uuid"], others[0]["id"]):
        response = app.get(f"{URLS[resource]}?{urlencode({'marker': marker})}", status="*")
        assert "marker" in refusal(response, 404)["faultstring"]


@both
@pytest.mark.parametrize("query", ["sort_dir=desc", "sort_dir=asc", "result=FAILURE&pipeline=g*"])
def test_links_lead_to_each_row_once(app, reported, resource, query):
    whole = ids(app.get(f"{URLS[resource]}?{query}&limit=1000&fields=_id"))
    limit = 7 if "result" in query else 150
    found = walked(app, f"{URLS[resource]}?{query}&limit={limit}&fields=_id")

    assert found[: len(whole)] == whole and len(found) == len(set(found))
    if "result" not in query:
        assert len(found) == len(rows_of(reported, resource))


def test_links_lead_to_each_row_once_while_others_come_in(make_apps, functions, indexed_file, tmp_path):
    path = tmp_path / "growing.db"
    path.write_bytes(indexed_file.read_bytes())
    before = Reported(path).builds[TENANT]
    app = make_apps(LocalTransport(functions), history=path)
    writer = sqlite3.connect(path)

    def more():
        writer.execute(
            "INSERT INTO zuul_build (buildset_id, uuid, job_name, result, end_time, voting)"
            " SELECT buildset_id, hex(randomblob(16)), job_name, result, '2020-10-01 00:00:00.000000', 1"
            " FROM zuul_build WHERE id = ? OR id = ?",
            (before[-1]["id"], before[-2]["id"]),
        )
        writer.commit()

    for query in ("limit=200", "limit=300&sort_field=end_time"):
        found = walked(app, f"{URLS['builds']}?{query}&fields=_id", more)
        old = [number for number in found if number <= before[-1]["id"]]
        assert len(found) == len(set(found)) and sorted(old) == [row["id"] for row in before]
    writer.close()


def sorted_rows(rows, field, direction):
    """By value and number, those without a value last."""
    down = direction == "desc"
    known = sorted((row for row in rows if row[field] is not None), key=lambda r: (r[field], r["id"]), reverse=down)
    return known + sorted((row for row in rows if row[field] is None), key=lambda r: r["id"], reverse=down)


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize(
    "resource, field", [("builds", "end_time"), ("buildsets", "change"), ("buildsets", "newrev"), ("buildsets", "uuid")]
)
def test_an_order_that_an_index_serves(indexed_app, in_indexed, resource, field, direction):
    expected = [row["id"] for row in sorted_rows(rows_of(in_indexed, resource), field, direction)]
    url = f"{URLS[resource]}?sort_field={field}&sort_dir={direction}&fields=_id"

    assert walked(indexed_app, f"{url}&limit=301") == expected
    for skip in (0, 7, len(expected) - 3, len(expected), len(expected) + 5):
        response = indexed_app.get(f"{url}&limit=10&skip={skip}")
        assert ids(response) == expected[skip : skip + 10]
        assert response.headers.get("X-Total", str(len(expected))) == str(len(expected))
    for place in (3, len(expected) // 2, len(expected) - 20):
        for skip in (0, 5, len(expected) - place - 4):
            marked = f"{url}&limit=10&marker={expected[place]}&skip={skip}"
            assert ids(indexed_app.get(marked)) == expected[place + 1 + skip :][:10], (place, skip)


def test_rows_without_a_value_are_met_wherever_a_page_ends(indexed_app, in_indexed):
    expected = [row["id"] for row in sorted_rows(rows_of(in_indexed, "builds"), "end_time", "desc")]
    valued = sum(row["end_time"] is not None for row in rows_of(in_indexed, "builds"))
    url = f"{URLS['builds']}?sort_field=end_time&fields=_id"

    for place in range(valued - 2, valued + 2):
        for skip in (0, 1, 2, 5):
            found = ids(indexed_app.get(f"{url}&limit=3&marker={expected[place]}&skip={skip}"))
            assert found == expected[place + 1 + skip :][:3], (place, skip)


@both
def test_an_order_without_an_index_is_refused_with_those_that_have_one(app, refusal, resource):
    for field in ("result", "message", "end_time", "id", "buildset", "nope", ""):
        response = app.get(f"{URLS[resource]}?sort_field={field}", status="*")
        assert refusal(response, 400)["faultstring"].startswith("sort_field is one of _id")
    app.get(f"{URLS[resource]}?sort_field=_id")


def test_the_next_page_keeps_to_what_was_asked(app):
    url = f"{URLS['builds']}?pipeline=ch*&pipeline=gate&result=SUCCESS&limit=2&skip=4&fields=_id&voting=True"
    link = next_url(app.get(url), url)
    query = parse_qsl(urlsplit(link).query)

    assert [pair for pair in query if pair[0] != "idx_max"] == [
        ("pipeline", "ch*"), ("pipeline", "gate"), ("result", "SUCCESS"), ("limit", "2"), ("fields", "_id"),
        ("voting", "True"),
    ]  # fmt: skip
    assert ids(app.get(link)) == ids(app.get(url.replace("skip=4", "skip=6")))


def test_a_page_takes_a_few_statements_however_long_it_is(app, indexed_app, statements):
    """Of builds one to four that find them, and two for what they left; one more for a marker, or times of builds."""
    marker = app.get(f"{URLS['builds']}?limit=1&skip=300&voting=1").json[0]["uuid"]
    app.get(URLS["buildsets"])
    indexed_app.get(URLS["buildsets"])

    def count(app, url):
        statements.clear()
        assert app.get(f"{url}{'&' if '?' in url else '?'}fields=_id").json
        return len(statements)

    for limit in (1, 10, 100):
        assert count(app, f"{URLS['builds']}?limit={limit}") == 4
        assert count(app, f"{URLS['builds']}?limit={limit}&skip=40&project=core/*&held=false&complete=true") == 4
        assert count(app, f"{URLS['builds']}?limit={limit}&marker={marker}") == 5
        assert count(app, f"{URLS['buildsets']}?limit={limit}") == 1
        assert count(indexed_app, f"{URLS['buildsets']}?limit={limit}") == 2
        assert count(indexed_app, f"{URLS['builds']}?limit={limit}&sort_field=end_time") == 3
    for query in ("limit=1000", "limit=1000&project=core/compute", "project=core/compute&result=SKIPPED", "skip=1690"):
        assert count(app, f"{URLS['builds']}?{query}") <= 6
    assert count(indexed_app, f"{URLS['builds']}?limit=1000&sort_field=end_time&skip=1600") <= 5


def test_so_does_one_build_and_one_buildset(app, reported, statements):
    most = max(reported.buildsets[TENANT], key=lambda one: len(one["builds"]))
    for url in (f"/api/tenant/{TENANT}/build/{most['builds'][0]['uuid']}", f"{URLS['buildsets']}/{most['uuid']}"):
        app.get(url)
        statements.clear()
        app.get(url)
        assert len(statements) == (3 if "/build/" in url else 4)


def test_build_times_by_an_index_are_in_one_order(indexed_app, in_indexed):
    """What never ran ends with its buildset, so there are many of one time; those that never ended are left out."""
    builds = [build for build in in_indexed.builds[TENANT] if build["end_time"]]
    expected = [build["id"] for build in sorted_rows(builds, "end_time", "desc")]
    found = [
        row["_id"]
        for skip in range(0, len(expected), 200)
        for row in indexed_app.get(f"/api/tenant/{TENANT}/build-times?limit=200&skip={skip}&fields=_id").json
    ]
    assert found == expected
