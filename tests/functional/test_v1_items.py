# SPDX-License-Identifier: Apache-2.0
"""The items of pipelines against the status that they come from."""

from __future__ import annotations

import json
from itertools import chain

import pytest

EXAMPLE = "/v1/tenants/example"
PIPELINES = ["check", "gate", "post", "periodic"]
OF_ITEMS = {"pipeline", "queue", "position"}


def items_url(pipeline, tenant="example"):
    return f"/v1/tenants/{tenant}/pipelines/{pipeline}/items"


def heads(status, pipeline_name):
    """The queues of a pipeline with their items, live or not, in order."""
    (pipeline,) = (pipeline for pipeline in status["pipelines"] if pipeline["name"] == pipeline_name)
    return [(queue["name"], list(chain.from_iterable(queue["heads"]))) for queue in pipeline["change_queues"]]


def item(number, **values):
    return {"id": f"{number},1", "live": True, "zuul_ref": f"Z{number}", "item_ahead": None, "project": "p", **values}


def status_of(*queues, name="gate"):
    """A `status_get` of one pipeline, whose queues are lists of heads."""
    change_queues = [{"name": f"queue {n}", "heads": heads, "window": 0} for n, heads in enumerate(queues)]
    status = {"zuul_version": "3.19.1", "pipelines": [{"name": name, "change_queues": change_queues}]}
    return lambda arguments: json.dumps(status)


every_pipeline = pytest.mark.parametrize("pipeline", PIPELINES)


@every_pipeline
def test_items_are_the_live_ones_of_the_status_in_its_order(app, pipeline):
    status, items = app.get(f"{EXAMPLE}/status").json, app.get(items_url(pipeline)).json

    live = [item for _, items in heads(status, pipeline) for item in items if item["live"]]
    assert [{name: item[name] for name in item if name not in OF_ITEMS} for item in items] == live
    assert live


@every_pipeline
def test_an_item_tells_its_pipeline_queue_and_position(app, pipeline):
    status, items = app.get(f"{EXAMPLE}/status").json, app.get(items_url(pipeline)).json

    places = [
        (pipeline, queue, position)
        for queue, items in heads(status, pipeline)
        for position, _ in enumerate(item for item in items if item["live"])
    ]
    assert [(item["pipeline"], item["queue"], item["position"]) for item in items] == places


def test_an_item_names_the_one_ahead_of_it(app):
    ahead = {item["id"]: item["item_ahead"] for item in app.get(items_url("gate")).json}

    assert ahead["700069,5"] is None
    assert ahead["700085,11"] == "700069,5"
    assert all(before in ahead for before in ahead.values() if before)


def test_the_pipelines_of_a_status_have_all_its_live_items(app):
    total = sum(int(app.get(items_url(pipeline)).headers["X-Total"]) for pipeline in PIPELINES)

    assert total == app.get(EXAMPLE).json["queue"]


@pytest.mark.undeclared("items of a few keys")
def test_what_is_only_there_for_others_is_no_item(app_with):
    app = app_with(status_get=status_of([[item(1, live=False), item(2)], [item(3)]], [], [[item(4, live=False)]]))

    rows = app.get(items_url("gate")).json

    assert [(row["id"], row["queue"], row["position"]) for row in rows] == [
        ("2,1", "queue 0", 0),
        ("3,1", "queue 0", 1),
    ]
    assert app.get(f"{items_url('gate')}/1,1", status="*").status_int == 404


def test_an_empty_pipeline_has_an_empty_array(app_with):
    response = app_with(status_get=status_of()).get(items_url("gate"))

    assert (response.json, response.headers["X-Total"]) == ([], "0")


@every_pipeline
def test_every_item_is_found_by_its_id_and_its_ref(app, pipeline):
    for row in app.get(items_url(pipeline)).json:
        for name in {row["id"], row["zuul_ref"]} - {None}:
            assert app.get(f"{items_url(pipeline)}/{name}").json == row


@pytest.mark.undeclared("items of a few keys")
def test_of_two_with_one_id_the_first_is_given(app_with):
    app = app_with(status_get=status_of([[item(1, zuul_ref="Z1")]], [[item(1, zuul_ref="Z2")]]))

    assert app.get(f"{items_url('gate')}/1,1").json["queue"] == "queue 0"
    assert app.get(f"{items_url('gate')}/Z2").json["queue"] == "queue 1"


@pytest.mark.parametrize(
    "name", ["nope", "None", "null", "700069", "700069,6", "0", "700069,5/jobs", "%20700069,5", "True"]
)
def test_an_unknown_item_is_404(app, refusal, name):
    refusal(app.get(f"{items_url('gate')}/{name}", status="*"), 404)
    refusal(app.get(f"{items_url('periodic')}/{name}", status="*"), 404)


def test_an_item_of_another_pipeline_is_404(app, refusal):
    found = app.get(items_url("check")).json[0]["id"]

    refusal(app.get(f"{items_url('gate')}/{found}", status="*"), 404)


@pytest.mark.parametrize(
    "url", [items_url("nope"), items_url("Gate"), items_url("gate", tenant="nope"), items_url("%20gate")]
)
@pytest.mark.parametrize("tail", ["", "/700069,5"])
def test_items_of_nothing_are_404(app, refusal, url, tail):
    refusal(app.get(f"{url}{tail}", status="*"), 404)


def test_pipelines_of_one_name_in_two_tenants_are_two(app):
    here, there = (app.get(items_url("gate", tenant)).json for tenant in ("example", "widgets"))

    assert here and there and here != there


@pytest.mark.undeclared("items of a few keys")
def test_pipelines_and_items_are_kept_apart_whatever_their_names(app_with):
    status = {
        "pipelines": [
            {"name": name, "change_queues": [{"name": name, "heads": [[{**item(1), "id": item_id}]]}]}
            for name, item_id in (("a", "b c"), ("a b", "c"))
        ]
    }
    app = app_with(status_get=lambda arguments: json.dumps(status))

    assert app.get(f"{items_url('a')}/b%20c").json["pipeline"] == "a"
    assert app.get(f"{items_url('a%20b')}/c").json["pipeline"] == "a b"


def test_items_may_be_kept_as_long_as_the_status(app):
    assert app.get(items_url("gate")).headers["Cache-Control"] == "public, max-age=1"


def test_items_and_status_share_one_call(app_with, functions):
    calls = []

    def status_get(arguments):
        calls.append(arguments)
        return functions["zuul:status_get"](arguments)

    app = app_with(status_get=status_get)
    urls = [f"{EXAMPLE}/status", *map(items_url, PIPELINES), f"{EXAMPLE}/status?fields=pipelines.name"]
    for url in urls:
        app.get(url)

    assert len(calls) < len(urls)  # one a second
