# SPDX-License-Identifier: Apache-2.0
"""Pages, filters, order and choice of attributes, from end to end, with the header fields that tell of them."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from urllib.parse import urljoin

import pytest

from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.resources.holds import REQUEST
from zuul.web.snapshots import Snapshots

EXAMPLE = "/v1/tenants/example"
OLD = "/api/tenant/example"
ITEMS = f"{EXAMPLE}/pipelines/check/items"
PERIODIC = f"{EXAMPLE}/pipelines/periodic/items"

COLLECTIONS = {
    "/v1": "href",
    "/v1/tenants": "name",
    "/v1/connections": "name",
    f"{EXAMPLE}/jobs": "name",
    f"{EXAMPLE}/projects": "canonical_name",
    f"{EXAMPLE}/pipelines": "name",
    f"{EXAMPLE}/holds": "id",
    ITEMS: "id",
    f"{EXAMPLE}/pipelines/gate/projects/core/compute/branches/master/frozen-jobs": "name",
    f"{OLD}/jobs": "name",
    f"{OLD}/projects": "canonical_name",
    f"{OLD}/autohold": "id",
}
PIPELINES = [{"name": name} for name in ("check", "gate", "post", "periodic")]
STALE_SECONDS = 60
KEYLESS = [f"{EXAMPLE}/config-errors", f"{EXAMPLE}/jobs/tox-py38", f"{OLD}/job/tox-py38"]

every_collection = pytest.mark.parametrize("url", [*COLLECTIONS, *KEYLESS])


def next_url(response, url):
    """Where Link leads from here."""
    link = response.headers.get("Link")
    if link is None:
        return None
    target, relation = link.split("; ")
    assert relation == 'rel="next"' and target.startswith("<") and target.endswith(">")
    return urljoin(url, target[1:-1])


def walk(app, url):
    rows = []
    while url is not None:
        response = app.get(url)
        assert len(response.json) <= int(response.headers["X-Limit"])
        rows += response.json
        url = next_url(response, url)
    return rows


@every_collection
@pytest.mark.parametrize("limit", [1, 3])
def test_a_walk_by_links_meets_every_row_once(app, url, limit):
    assert walk(app, f"{url}?limit={limit}") == app.get(url).json


@pytest.mark.parametrize("url", [f"{EXAMPLE}/jobs", f"{EXAMPLE}/projects", ITEMS])
def test_a_walk_keeps_to_filter_order_and_choice(app, url):
    query = f"{url}?sort_field={COLLECTIONS[url]}&sort_dir=desc&fields={COLLECTIONS[url]}"
    whole = app.get(query).json

    assert walk(app, f"{query}&limit=4") == whole
    assert [list(row) for row in whole] == [[COLLECTIONS[url]]] * len(whole)
    names = [row[COLLECTIONS[url]] for row in whole]
    assert names == sorted(names, reverse=True)


def test_rows_that_have_all_the_same_null_for_a_key_are_walked_too(app):
    assert {item["id"] for item in app.get(PERIODIC).json} == {None}
    assert walk(app, f"{PERIODIC}?limit=3") == app.get(PERIODIC).json


@pytest.mark.parametrize("url", COLLECTIONS)
def test_a_marker_may_be_walked_by_hand_as_storyboards_clients_do(app, url):
    key = COLLECTIONS[url]
    whole, found, query = app.get(url).json, [], {"limit": 2}

    while page := app.get(url, query).json:
        found += page
        query = {"limit": 2, "marker": page[-1][key]}

    assert found == whole


@pytest.mark.parametrize("url", COLLECTIONS)
def test_header_fields_tell_of_the_page(app, url):
    whole = app.get(url).json
    marker = whole[0][COLLECTIONS[url]]

    response = app.get(url, {"limit": 1, "offset": 0, "marker": marker})

    assert response.json == whole[1:2]
    told = {name: value for name, value in response.headers.items() if name.startswith("X-") and "Request" not in name}
    assert told == {"X-Total": str(len(whole)), "X-Limit": "1", "X-Offset": "0", "X-Marker": marker}
    assert ("Link" in response.headers) == (len(whole) > 2)


@every_collection
def test_an_unknown_marker_is_404_where_there_are_markers(app, refusal, url):
    refusal(app.get(url, {"marker": "nope"}, status="*"), 404 if url in COLLECTIONS else 400)


@every_collection
@pytest.mark.parametrize("method", ["get", "head"])
def test_a_page_can_be_revalidated(app, url, method):
    ask = getattr(app, method)
    first = ask(f"{url}?limit=1&offset=0")

    again = ask(f"{url}?limit=1&offset=0", headers={"If-None-Match": first.headers["ETag"]})

    assert (again.status_int, again.body) == (304, b"")
    for name in ("ETag", "X-Total", "X-Limit", "X-Offset", "Link", "Vary", "Cache-Control"):
        assert again.headers.get(name) == first.headers.get(name)


@every_collection
@pytest.mark.parametrize(
    "query",
    ["limit=", "limit=0", "limit=2001", "limit=-1", "limit=%D9%A3", "limit=1&limit=1", "limit=1e2", "offset=x",
     "offset=99999999999", "sort_field=", "sort_field=nope", "sort_dir=up", "fields=", "fields=,", "fields=nope",
     "omit=nope", "omit=,,", "limit=1%0A", "fields=" + "nope," * 1500],
)  # fmt: skip
def test_a_bad_value_is_refused_by_the_name_of_its_parameter(app, refusal, url, query):
    body = refusal(app.get(f"{url}?{query}", status="*"), 400)

    assert query.partition("=")[0] in body["faultstring"]


@pytest.mark.parametrize("query", ["limit=2000", "offset=1000000000", "fields=" + ",".join(["name"] * 1600)])
def test_the_largest_values_are_taken(app, query):
    assert app.get(f"{EXAMPLE}/jobs?{query}").status_int == 200


@pytest.mark.parametrize("marker", ["%0D%0AX-Evil:%201", "%E2%82%AC", "%22%3E%3B", "a%20b"])
def test_a_marker_of_any_characters_is_safe(app_with, marker):
    names = ["\r\nX-Evil: 1", "€", '">;', "a b", "z", "zz"]
    app = app_with(job_list=lambda arguments: json.dumps([{"name": name} for name in names]))

    response = app.get(f"{EXAMPLE}/jobs?limit=1&marker={marker}&name=z&name=zz&name={marker}")

    assert response.json == [{"name": "z"}]
    assert "X-Evil" not in response.headers
    assert all(value.isascii() and value.isprintable() for value in response.headers.values())
    assert app.get(next_url(response, f"{EXAMPLE}/jobs")).json == [{"name": "zz"}]


def test_without_a_limit_there_is_one_below_v1_and_none_below_api(app_with):
    rows = [{"name": f"job-{number:04}"} for number in range(2500)]
    app = app_with(job_list=lambda arguments: json.dumps(rows))

    few, all_of_them, most = app.get(f"{EXAMPLE}/jobs"), app.get(f"{OLD}/jobs"), app.get(f"{EXAMPLE}/jobs?limit=2000")

    assert (len(few.json), few.headers["X-Limit"], few.headers["X-Total"]) == (100, "100", "2500")
    assert few.headers["Link"] == '<?limit=100&marker=job-0099>; rel="next"'
    assert (len(all_of_them.json), all_of_them.headers["X-Total"]) == (2500, "2500")
    assert not {"X-Limit", "Link"} & set(all_of_them.headers)
    assert len(most.json) == 2000 and len(walk(app, f"{EXAMPLE}/jobs?limit=2000")) == 2500
    assert len(app.get(f"{OLD}/jobs?offset=1").json) == 2499


@pytest.mark.parametrize(
    ("url", "query", "key", "expected"),
    [
        ("/jobs", "name=tox-py38", "name", ["tox-py38"]),
        ("/jobs", "name=tox-py38&name=base", "name", ["base", "tox-py38"]),
        ("/jobs", "name=tox-py38&name=base&sort_dir=desc", "name", ["tox-py38", "base"]),
        ("/jobs", "name=nope", "name", []),
        ("/jobs", "name=", "name", []),
        ("/projects", "type=config", "type", ["config", "config"]),
        ("/projects", "name=core/compute&type=config", "name", []),
        ("/projects", "name=core%2Fcompute", "name", ["core/compute"]),
        ("/holds", "job=integration-multinode", "id", ["0000000001"]),
        ("/holds", "project=compute", "id", ["0000000001"]),
        ("/holds", "project=py&count=1", "job", ["tox-py38"]),
        ("/holds", "sort_field=id&sort_dir=desc", "id", ["0000000002", "0000000001"]),
        ("/pipelines", "sort_field=name", "name", ["check", "gate", "periodic", "post"]),
        ("/config-errors", "source_context.project=lib/brick", "error", None),
        ("/pipelines/gate/items", "id=700131,6", "queue", ["core/object.store"]),
        ("/pipelines/gate/items", "position=0&queue=lib/brick&queue=deploy", "id", ["700178,10", "700210,4"]),
        ("/pipelines/gate/items", "items_behind=700085,11", "id", ["700069,5"]),
    ],
)
def test_rows_are_chosen_by_their_attributes(app, url, query, key, expected):
    response = app.get(f"{EXAMPLE}{url}?{query}")

    values = [row[key] for row in response.json]
    assert values == expected if expected is not None else len(values) == 1
    assert response.headers["X-Total"] == str(len(values))


@pytest.mark.parametrize("query", ["type=strange", "name=x&type="])
def test_a_value_that_cannot_be_is_refused(app, refusal, query):
    assert (
        "type is one of config, untrusted"
        in refusal(app.get(f"{EXAMPLE}/projects?{query}", status="*"), 400)["faultstring"]
    )


@pytest.mark.parametrize(
    ("url", "query", "expected"),
    [
        (f"{EXAMPLE}/status", "fields=pipelines.name", {"pipelines": PIPELINES}),
        (f"{OLD}/status", "fields=pipelines.name", {"pipelines": PIPELINES}),
        (f"{EXAMPLE}/pipelines/gate", "omit=triggers", {"name": "gate"}),
        (f"{EXAMPLE}/pipelines/gate", "omit=triggers,name", {}),
        (f"{EXAMPLE}/projects/core/compute", "fields=name", {"name": "core/compute"}),
        (f"{EXAMPLE}/holds/0000000001", "fields=id&fields=tenant", {"id": "0000000001", "tenant": "example"}),
        (f"{EXAMPLE}/pipelines/gate/items/700069,5", "fields=id,queue", {"id": "700069,5", "queue": "integrated"}),
        ("/v1/connections/gerrit", "fields=name,driver", {"name": "gerrit", "driver": "gerrit"}),
        (f"{EXAMPLE}/info", "fields=info.tenant", {"info": {"tenant": "example"}}),
    ],
)  # fmt: skip
def test_attributes_of_an_object_are_chosen(app, url, query, expected):
    assert app.get(f"{url}?{query}").json == expected


def test_a_status_without_its_jobs_is_the_rest_of_it(app):
    path = "pipelines.change_queues.heads.jobs"
    status = app.get(f"{EXAMPLE}/status").json
    for pipeline in status["pipelines"]:
        for queue in pipeline["change_queues"]:
            for head in queue["heads"]:
                for item in head:
                    del item["jobs"]

    for url in (f"{EXAMPLE}/status", f"{OLD}/status"):
        response = app.get(url, {"omit": path})
        assert response.json == status
        assert int(response.headers["Age"]) >= 0


def test_items_have_the_chosen_attributes_at_any_depth(app):
    items = app.get(ITEMS).json

    chosen = app.get(ITEMS, {"fields": "id,jobs.name,jobs.worker.name", "omit": "id"}).json

    def expected(job):
        worker = job["worker"] and {"name": job["worker"]["name"]}
        return {"name": job["name"], "worker": worker}

    assert chosen == [{"jobs": [expected(job) for job in item["jobs"]]} for item in items]


# A status that changes.


@pytest.fixture
def changing(make_app, functions):
    """The application over a status with one more key, and what changes it and lets it grow old."""
    late = [0.0]
    more = {"message": "before"}
    made = []

    def status_get(arguments):
        return json.dumps({**json.loads(functions["zuul:status_get"](arguments)), **more})

    def alter(services):
        fetch = services.scheduler.status_get
        made.append(Snapshots(fetch, stale_seconds=STALE_SECONDS, clock=lambda: time.monotonic() + late[0]))
        return replace(services, snapshots=made[0])

    def change(**values):
        more.update(values)
        late[0] += STALE_SECONDS + 1

    yield make_app(LocalTransport({**functions, "zuul:status_get": status_get}), alter=alter), change
    for snapshots in made:
        snapshots.close()


@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
@pytest.mark.parametrize("mount", [EXAMPLE, OLD])
def test_a_choice_of_a_status_changes_when_what_was_chosen_does(changing, mount, accept):
    app, change = changing
    urls = [f"{mount}/status?{query}" for query in ("fields=message", "fields=pipelines.name")]

    def tags(**more):
        return [app.get(url, headers={"Accept": accept, **more}).headers["ETag"] for url in urls]

    before = tags()
    assert before == tags()
    change(message="after")
    after = tags()

    assert before[0] != after[0] and before[1] == after[1]
    held = [
        app.get(url, headers={"Accept": accept, "If-None-Match": tag}) for url, tag in zip(urls, before, strict=True)
    ]
    assert [response.status_int for response in held] == [200, 304]
    assert "after" in held[0].text


def test_items_change_with_the_status(changing):
    app, change = changing
    before = app.get(ITEMS)
    change(pipelines=[{"name": "check", "change_queues": []}])

    after = app.get(ITEMS, headers={"If-None-Match": before.headers["ETag"]})

    assert (after.status_int, after.json, after.headers["X-Total"]) == (200, [], "0")


def test_a_choice_of_a_status_has_a_tag_of_its_own(app):
    url = f"{EXAMPLE}/status"

    tags = [app.get(url + query).headers["ETag"] for query in ("", "?fields=pipelines.name", "?omit=pipelines")]

    assert len(set(tags)) == 3
    assert app.get(f"{url}?fields=pipelines.name", headers={"If-None-Match": tags[0]}).status_int == 200
    assert app.get(f"{url}?fields=pipelines.name", headers={"If-None-Match": tags[1]}).status_int == 304


# Holds, which are read anew each time.


def test_holds_page_over_what_is_there_now(app_with):
    held = [{**REQUEST, "id": f"{number:010}", "tenant": "example"} for number in range(5)]
    app = app_with(autohold_list=lambda arguments: json.dumps(held))

    first = app.get(f"{EXAMPLE}/holds?limit=2&fields=id")
    del held[0], held[1]
    second = app.get(next_url(first, f"{EXAMPLE}/holds"))

    assert [hold["id"] for hold in first.json + second.json] == [f"{number:010}" for number in (0, 1, 3, 4)]
    assert (first.headers["X-Total"], second.headers["X-Total"]) == ("5", "3")


def test_pages_of_one_reply_cost_one_call(app_with, functions):
    calls = []

    def job_list(arguments):
        calls.append(arguments)
        return functions["zuul:job_list"](arguments)

    app = app_with(job_list=job_list)
    queries = ("limit=1", "limit=2", "fields=name", "limit=1", "name=base", "sort_dir=desc", "offset=1")
    for query in queries:
        app.get(f"{EXAMPLE}/jobs?{query}")

    assert len(calls) < len(queries)  # one a second
