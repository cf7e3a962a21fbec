# SPDX-License-Identifier: Apache-2.0
"""Builds, buildsets, times and statistics as they are sent, to whom, and what is refused."""

from __future__ import annotations

import json
import math
import sqlite3
from datetime import datetime, timedelta
from xml.etree import ElementTree

import pytest
from functional.reported import Reported, build_json, buildset_json, result_json, time_json
from functional.routes import EXAMPLES
from functional.tokens import CONF, bearer

from zuul.web.backends.rpc.local import LocalTransport

OLD, V1 = "/api/tenant/example", "/v1/tenants/example"
LISTS = [f"{OLD}/builds", f"{V1}/builds", f"{OLD}/buildsets", f"{V1}/buildsets", f"{OLD}/build-times",
         f"{V1}/build-times", f"{V1}/latest-builds"]  # fmt: skip
HISTORY = ("builds", "build", "buildsets", "buildset", "build-times", "latest-builds", "badge", "stats")
URLS = [
    url
    for url in EXAMPLES.values()
    if url.startswith(("/api/", "/v1/")) and url.rpartition("/")[2] != "log" and {*HISTORY} & {*url.split("/")}
]


@pytest.fixture(scope="module")
def app(make_apps, functions):
    return make_apps(LocalTransport(functions))


@pytest.fixture(scope="module")
def reported(history_file):
    return Reported(history_file)


@pytest.fixture(scope="module")
def guarded(make_apps, functions):
    """The application where the tenant is not for everybody."""
    return make_apps(LocalTransport(functions), f"protected_tenants = example\n{CONF}")


# One of them.


def test_one_build_is_the_row_that_the_list_has(app, reported):
    for build in reported.builds["example"][::97]:
        if build["uuid"] is not None:
            assert app.get(f"{OLD}/build/{build['uuid']}").json == build_json(build)
            assert app.get(f"{V1}/builds/{build['uuid']}").json == build_json(build, rfc3339=True)


def test_one_buildset_has_its_builds_in_the_order_of_their_numbers(app, reported):
    for buildset in reported.buildsets["example"][::41]:
        builds = buildset["builds"]
        ends = [build["end_time"] for build in builds]
        starts = [build["start_time"] for build in builds if build["start_time"]]
        times = {
            "first_build_start_time": time_json(min(starts, default=None), True),
            "last_build_end_time": time_json(max(ends, default=None), True),
        }
        plain = {"builds": [result_json(build) for build in builds]} if builds else {}
        detailed = {"builds": [result_json(build, rfc3339=True) for build in builds]}

        found = app.get(f"{OLD}/buildset/{buildset['uuid']}").json
        assert found.pop("builds", []) == plain.get("builds", [])
        assert found == buildset_json(buildset)
        assert app.get(f"{V1}/buildsets/{buildset['uuid']}").json == buildset_json(buildset) | times | detailed


def test_a_buildset_without_builds_has_no_key_for_them_below_api(app, reported):
    uuid = next(one["uuid"] for one in reported.buildsets["example"] if not one["builds"])
    assert "builds" not in app.get(f"{OLD}/buildset/{uuid}").json
    assert app.get(f"{V1}/buildsets/{uuid}").json["builds"] == []


@pytest.mark.parametrize("url", [f"{OLD}/build", f"{V1}/builds", f"{OLD}/buildset", f"{V1}/buildsets"])
def test_what_was_not_reported_here_is_404(app, reported, refusal, url):
    rows = reported.builds if "/build/" in f"{url}/" or "builds" in url else reported.buildsets
    others = rows["widgets"][0]["uuid"]
    for uuid in ("nowhere", others, others.upper(), f"{rows['example'][0]['uuid']}*", rows["example"][0]["id"]):
        words = refusal(app.get(f"{url}/{uuid}", status="*"), 404)["faultstring"]
        assert "has not been reported yet" in words


@pytest.mark.parametrize("url", LISTS)
def test_a_tenant_that_is_none_is_404(app, refusal, url):
    words = refusal(app.get(url.replace("example", "nope"), status="*"), 404)["faultstring"]
    assert words == "Tenant nope does not exist, or reports to no database."


def test_while_the_database_is_away_all_else_goes_on(make_app, functions, refusal, tmp_path):
    app = make_app(LocalTransport(functions), history=tmp_path / "away.db")
    for url in URLS:
        response = app.get(url, status="*")
        words = refusal(response, 503)["faultstring"]
        assert "Retry-After" in response.headers and str(tmp_path) not in words
    for url in ("/api/tenants", f"{OLD}/jobs", f"{V1}/status", "/v1/info"):
        app.get(url)
    refusal(app.get(f"{OLD}/builds?limit=x", status="*"), 400)  # for which no database is needed
    refusal(app.get("/api/tenant/nope/builds", status="*"), 404)


# Forms.


@pytest.mark.parametrize("url", [url for url in URLS if url.startswith("/v1") and "badge" not in url])
def test_xml_says_what_json_says(app, url):
    data = app.get(url).json
    root = ElementTree.fromstring(app.get(url, headers={"Accept": "application/xml"}).body)

    if isinstance(data, dict):
        assert root.findtext("uuid") == data.get("uuid") and root.findtext("job_name") == data.get("job_name")
        return
    assert len(root) == len(data) > 0
    for item, row in zip(root, data, strict=True):
        for name in ("uuid", "result", "end_time", "project"):
            assert item.findtext(name, "") == (row.get(name) or ""), name
        assert len(item.findall("artifacts/item")) == len(row.get("artifacts", []))


@pytest.mark.parametrize("url", LISTS)
def test_fields_and_omit_choose_attributes(app, url):
    assert {tuple(row) for row in app.get(f"{url}?fields=uuid,result&limit=5").json} == {("uuid", "result")}
    whole = app.get(f"{url}?limit=5").json
    without = app.get(f"{url}?limit=5&omit=uuid").json
    assert without == [{name: value for name, value in row.items() if name != "uuid"} for row in whole]
    assert app.get(f"{url}?fields=nope", status="*").status_int == 400


def test_a_nested_attribute_can_be_chosen(app, reported):
    rows = app.get(f"{V1}/builds?fields=buildset.uuid,artifacts.name&limit=3").json
    assert rows == [
        {
            "artifacts": [{"name": one["name"]} for one in build["artifacts"]],
            "buildset": {"uuid": build["buildset"]["uuid"]},
        }
        for build in reported.chosen_builds("example", [])[:3]
    ]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
def test_what_has_not_changed_is_not_sent_again(app, url):
    response = app.get(url)
    again = app.get(url, headers={"If-None-Match": response.headers["ETag"]}, status="*")

    assert (again.status_int, again.body) == (304, b"")
    assert response.headers["Cache-Control"] == "no-cache"


def test_xml_is_well_formed_whatever_was_written(make_app, functions, history_file, tmp_path):
    path = tmp_path / "history.db"
    path.write_bytes(history_file.read_bytes())
    words = "".join(map(chr, range(1, 256))) + "\ufffe\uffff <![CDATA[ ]]> & \U0001f4a9"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE zuul_build SET error_detail = ?, job_name = ?", (words, words))
    connection.execute("UPDATE zuul_buildset SET message = ?", (words,))
    connection.execute("UPDATE zuul_artifact SET name = ?, metadata = ?", (words, json.dumps({words: "\ud800"})))
    connection.commit()
    connection.close()
    app = make_app(LocalTransport(functions), history=path)
    for resource in ("builds", "buildsets", "build-times", "latest-builds"):
        response = app.get(f"{V1}/{resource}?limit=2", headers={"Accept": "application/xml"})
        assert len(ElementTree.fromstring(response.body)) == 2
        row = app.get(f"{V1}/{resource}?limit=2").json[0]
        assert words in (row.get("message"), row.get("job_name"))


# What is refused.

REFUSED = {
    "limit": ["abc", "-1", "1001", "", "1.5", "1e2", "\u0661"],
    "skip": ["x", "-1", "1000000001", ""],
    "start_time": ["yesterday", "2020-13-01", "2020-01-01T25:00", "", "1600000000", "2020-01-01T00:00:00+9",
                   "2020-01-01+1:00"],
    "end_time": ["now", "2020-02-30", "0001-01-01T00:00:00+14:00", "2020-01-01T00:00:00+99:00",
                 "2020-01-01T00:00:00+00:60"],
    "change": ["abc", "", "1.0", "9" * 20, "1,2"],
    "complete": ["yes", "", "2", "None"],
}  # fmt: skip
OF_PAGES = {
    "offset": ["x", "-1"],
    "idx_min": ["x", "-1", "9" * 19],
    "idx_max": ["x", "", "-5"],
    "sort_dir": ["up", "ASC", ""],
    "sort_field": ["nope"],
}
OF_BUILDS = {"voting": ["yes", ""], "held": ["maybe"], "final": ["2"]}


@pytest.mark.parametrize("url", LISTS)
def test_a_bad_value_is_refused_with_the_name_of_its_parameter(app, refusal, url):
    paged = url.endswith(("builds", "buildsets")) and "latest" not in url
    more = {**(OF_PAGES if paged else {}), **(OF_BUILDS if paged and url.endswith("/builds") else {})}
    for name, texts in (REFUSED | more).items():
        for text in texts:
            words = refusal(app.get(url, {name: text}, status="*"), 400)["faultstring"]
            assert words.startswith(f"{name} is "), (name, text)


@pytest.mark.parametrize("name", ["limit", "skip", "start_time"])
def test_what_can_be_given_once_is_refused_twice(app, refusal, name):
    words = refusal(app.get(f"{OLD}/builds?{name}=1&{name}=2", status="*"), 400)["faultstring"]
    assert words == f"query parameter given more than once: {name}"


def test_skip_and_offset_do_not_go_together(app, refusal):
    refusal(app.get(f"{OLD}/builds?skip=1&offset=1", status="*"), 400)


# Who may.


@pytest.mark.parametrize("url", URLS)
def test_a_protected_tenant_takes_a_token_and_a_bad_one_is_refused_anywhere(guarded, refusal, url):
    refusal(guarded.get(url, status="*"), 401)
    refusal(guarded.get(url, headers={"Authorization": "Bearer nonsense"}, status="*"), 401)
    others = url.replace("example", "widgets")
    refusal(guarded.get(others, headers={"Authorization": "Bearer nonsense"}, status="*"), 401)
    response = guarded.get(url, headers=bearer("ann", "example"))
    assert response.headers["Cache-Control"] == "private, no-cache"


def test_nobody_gets_round_the_protection_by_another_spelling(guarded):
    for tenant in ("Example", "EXAMPLE", "example%20", "%20example", "example%00", "exampl*", "example%09"):
        for resource in ("builds", "buildsets", "build-times", "badge"):
            response = guarded.get(f"/api/tenant/{tenant}/{resource}", status="*")
            assert response.status_int in (400, 404), tenant


# Builds that are held.


def test_held_are_those_of_the_holds_that_there_are(make_app, functions, reported):
    kept = [build["uuid"] for build in reported.builds["example"][100:103]]
    others = reported.builds["widgets"][5]["uuid"]

    def hold(tenant, *uuids):
        nodes = [{"build": uuid, "nodes": ["0000000001"]} for uuid in uuids]
        return {"id": "1", "tenant": tenant, "nodes": nodes}

    holds = [hold("example", *kept[:2]), hold("example"), hold("example", kept[2], "gone"), hold("widgets", others)]
    app = make_app(LocalTransport({**functions, "zuul:autohold_list": lambda _: json.dumps(holds)}))

    def found(query):
        return {row["uuid"] for row in app.get(f"{OLD}/builds?fields=uuid&limit=1000&{query}").json}

    everything = {build["uuid"] for build in reported.chosen_builds("example", [("pipeline", "periodic")])}
    assert found("held=true") == set(kept)
    assert found("held=True&job_name=nowhere") == set()
    assert found("held=0&pipeline=periodic") == everything - set(kept)
    assert found("held=true&held=false&pipeline=periodic") == everything


# Times and statistics.


def test_build_times_are_those_of_the_builds(app, reported):
    rows = app.get(f"{OLD}/build-times?job_name=tox-*&limit=30&skip=2").json
    names = ("uuid", "job_name", "result", "project", "branch", "pipeline", "ref")
    builds = reported.chosen_builds("example", [("job_name", "tox-*")])[2:32]

    assert [{name: row[name] for name in ("_id", "duration", *names)} for row in rows] == [
        {"_id": build["id"], "duration": result_json(build)["duration"], **{name: build[name] for name in names}}
        for build in builds
    ]
    assert {row["final"] for row in rows} == {True}
    assert [row["end_time"] for row in rows] == [time_json(build["end_time"], False) for build in builds]


def test_the_newest_build_of_each_job_project_branch_and_pipeline(app, reported):
    latest = {}
    for build in reported.builds["example"]:
        latest[tuple(build[name] for name in ("job_name", "project", "branch", "pipeline"))] = build_json(
            build, rfc3339=True
        )
    expected = [build for _, build in sorted(latest.items())]

    assert app.get(f"{V1}/latest-builds?limit=1000").json == expected
    assert app.get(f"{V1}/latest-builds?limit=10&skip=20").json == expected[20:30]
    chosen = [build for build in expected if build["job_name"].startswith("tox") and build["pipeline"] == "gate"]
    assert app.get(f"{V1}/latest-builds?limit=1000&job_name=tox*&pipeline=gate").json == chosen


def percentile(values, percent):
    """What `percentile_cont` of SQL says."""
    at = (len(values) - 1) * percent / 100
    low, high = math.floor(at), math.ceil(at)
    return values[low] * (high - at) + values[high] * (at - low) if high > low else values[low]


@pytest.mark.parametrize("query", [[], [("pipeline", "gate")], [("branch", "stable/*"), ("exclude_result", "FAILURE")]])
def test_statistics_are_those_of_the_builds_in_the_window(app, reported, query):
    first, last = datetime(2020, 3, 1), datetime(2020, 9, 1)
    window = [("start_time", first.isoformat()), ("end_time", last.isoformat())]
    stats = app.get(f"{V1}/jobs/tox-py38/stats", dict([*query, *window])).json
    builds = reported.chosen_builds("example", [("job_name", "tox-py38"), *query, *window])
    seconds = sorted(result_json(build)["duration"] for build in builds if build["result"] == "SUCCESS")
    results = [build["result"] for build in builds]

    assert stats["builds"] == len(builds) > 10 and stats["complete"] is True
    assert stats["results"] == {result: results.count(result) for result in sorted(set(results))}
    decided = [result for result in results if result not in ("SKIPPED", "CANCELED", "ABORTED")]
    assert stats["success_rate"] == round(results.count("SUCCESS") / len(decided), 4)
    durations = stats["durations"]
    assert (durations["count"], durations["shortest"], durations["longest"]) == (len(seconds), seconds[0], seconds[-1])
    assert durations["mean"] == pytest.approx(sum(seconds) / len(seconds), abs=0.001)
    for percent in (50, 75, 90, 95, 99):
        assert durations[f"p{percent}"] == pytest.approx(percentile(seconds, percent), abs=0.001)


def test_statistics_of_nothing_are_none(app):
    for query in ("", "?end_time=0001-01-02", "?end_time=2019-01-01&start_time=2018-01-01", "?complete=false"):
        stats = app.get(f"{V1}/jobs/unheard-of/stats{query}").json
        assert (stats["builds"], stats["results"], stats["success_rate"]) == (0, {}, None)
        assert stats["durations"].pop("count") == 0 and set(stats["durations"].values()) == {None}


def test_the_window_of_statistics_is_thirty_days_before_its_end(app, reported):
    last = reported.builds["example"][-1]["end_time"]
    window = [("start_time", (last - timedelta(days=30)).isoformat()), ("end_time", last.isoformat())]
    counts = {build["job_name"] for build in reported.chosen_builds("example", window)}
    job = sorted(counts)[0]

    stats = app.get(f"{V1}/jobs/{job}/stats", {"end_time": last.isoformat()}).json
    assert stats["builds"] == len(reported.chosen_builds("example", [("job_name", job), *window]))


@pytest.mark.parametrize(
    "text",
    ["2020-06-01T12:00:00Z", "2020-06-01 12:00", "2020-06-01T14:00:00+02:00", "2020-06-01T07:30:00-0430",
     "2020-06-01t12:00:00.000000z"],
)  # fmt: skip
def test_a_moment_can_be_said_in_several_ways(app, reported, text):
    expected = reported.chosen_builds("example", [("start_time", "2020-06-01 12:00:00"), ("result", "FAILURE")])
    rows = app.get(f"{OLD}/builds", {"start_time": text, "result": "FAILURE", "limit": 1000}).json
    assert [row["_id"] for row in rows] == [build["id"] for build in expected]
