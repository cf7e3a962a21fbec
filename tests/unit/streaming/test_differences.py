# SPDX-License-Identifier: Apache-2.0
"""The messages add up: whoever applies them to the state before has the state after."""

from __future__ import annotations

import itertools
import json

import pytest
from dashboard import Dashboard
from histories import NOT_LOADED, START, Mutations, ended, gate, item, job, pipeline, running, simulated, status
from shapes import undeclared

from zuul.web.resources.events import MESSAGES, TYPES
from zuul.web.streaming.differences import differences, state
from zuul.web.streaming.looks import Look


def changes(before, after):
    """The messages between two statuses, once they are seen to keep the rule and to be of the declared types."""
    earlier, later = Look(before), Look(after)
    messages = json.loads(json.dumps(differences(earlier, later), allow_nan=False))
    board = Dashboard(declared(state(earlier)))
    for message in messages:
        board.apply(declared(message))
    assert board.picture() == Dashboard(declared(state(later))).picture()
    return messages


def declared(message):
    whole = {"type": message["type"], "id": "e-1", "time": "2020-09-13T12:27:44Z", **message}
    assert undeclared(MESSAGES[message["type"]], whole) == []
    return message


def summary(before, after):
    """Type of each message, and what it is about."""
    return [
        (m["type"], m["pipeline"], m["change"])
        if "pipeline" in m
        else (
            m["type"],
            *([m["item"]["id"]] if "id" in m["item"] else []),
            *([m["build"]["uuid"]] if "build" in m else []),
        )
        for m in changes(before, after)
    ]


def test_every_type_has_its_resource():
    assert tuple(MESSAGES) == TYPES
    assert all(message.sample().type == type_ for type_, message in MESSAGES.items())


@pytest.mark.parametrize("seed", range(2))
def test_a_simulated_history_adds_up(seed):
    seen = set()
    for before, after in itertools.pairwise(simulated(seed)):
        seen |= {message["type"] for message in changes(before, after)}
    assert seen >= set(TYPES) - {"state", "restart", "pipeline_reconfigured"}


@pytest.mark.parametrize("seed", range(40))
def test_any_history_adds_up(seed):
    for before, after in itertools.pairwise(Mutations(seed).statuses(40)):
        changes(before, after)


def test_nothing_happens_while_only_time_goes_on():
    before = gate(item(jobs=[running(elapsed=10.2), job("docs")]), trigger_event_queue={"length": 1})
    after = gate(item(jobs=[running(elapsed=10.9), job("docs")]), trigger_event_queue={"length": 2})

    assert changes(before, after) == []


# Items.


def test_an_item_comes_with_its_builds():
    (message,) = changes(gate(), gate(item(jobs=[job("unit"), job("docs", queued=True)])))

    assert message["type"] == "item_enqueued"
    assert message["item"]["position"] == 0
    assert [(build["job_name"], build["uuid"], build["queued"]) for build in message["item"]["builds"]] == [
        ("unit", None, False),
        ("docs", None, True),
    ]


def test_builds_of_a_new_item_are_started_and_finished_too():
    new = item(jobs=[running("unit", "u1"), ended("docs", "u2"), job("lint")])

    assert summary(gate(), gate(new)) == [
        ("item_enqueued", "1,1"),
        ("build_started", "1,1", "u1"),
        ("build_finished", "1,1", "u2"),
    ]


def test_the_jobs_of_an_item_become_known():
    (message,) = changes(gate(item(zuul_ref=None)), gate(item(jobs=[job()])))

    assert message["type"] == "item_changed"
    assert message["item"]["zuul_ref"] == "Z1"
    assert [build["job_name"] for build in message["item"]["builds"]] == ["unit"]


def test_an_item_that_fails_comes_without_its_builds():
    (message,) = changes(
        gate(item(jobs=[job()])), gate(item(jobs=[job()], failing_reasons=["at least one job failed"]))
    )

    assert message["type"] == "item_changed"
    assert message["item"]["failing_reasons"] == ["at least one job failed"]
    assert "builds" not in message["item"]


def test_what_stands_behind_one_that_leaves_has_moved_and_the_rest_only_shifts():
    before = gate(item("1,1"), item("2,1", item_ahead="1,1"), item("3,1", item_ahead="2,1"))
    after = gate(item("2,1"), item("3,1", item_ahead="2,1"))

    assert summary(before, after) == [("item_left", "1,1"), ("item_moved", "2,1")]


@pytest.mark.parametrize("change", [{"active": False}, {"item_ahead": "7,1"}])
def test_an_item_moves_where_its_jobs_may_run_or_it_stands_behind_another(change):
    assert summary(gate(item()), gate(item(**change))) == [("item_moved", "1,1")]


def test_a_promoted_item_is_all_that_moves():
    a, b, c, d = (item(f"{n},1") for n in range(4))

    (message,) = changes(gate(a, b, c, d), gate(d, a, b, c))

    assert (message["type"], message["item"]["id"], message["item"]["position"]) == ("item_moved", "3,1", 0)


def test_an_item_moves_to_another_queue():
    a, b, c = (item(f"{n},1") for n in range(3))
    before = status(pipeline("gate", ("one", [a, b]), ("two", [c])))
    after = status(pipeline("gate", ("one", [b]), ("two", [c, a])))

    (message,) = changes(before, after)

    assert message["type"] == "item_moved"
    assert (message["item"]["id"], message["item"]["queue"], message["item"]["position"]) == ("0,1", "two", 1)


def test_an_item_that_is_enqueued_again_is_another():
    before, after = gate(item(jobs=[running()])), gate(item(enqueue_time=int(START * 1000) + 1))

    assert summary(before, after) == [
        ("build_finished", "1,1", "u1"),
        ("item_left", "1,1"),
        ("item_enqueued", "1,1"),
    ]


def test_the_same_change_may_stand_in_many_places():
    dependency = item("1,1", live=False)
    before = status(pipeline("check", ("widget", [dependency, item("2,1")])), pipeline("gate", ("q", [item("1,1")])))
    twice = [dependency, item("3,1")]
    after = status(
        pipeline("check", ("widget", [dependency, item("2,1")]), ("widget", twice)),
        pipeline("gate", ("q", [item("1,1")])),
    )

    messages = changes(before, after)

    assert [(m["type"], m["item"]["id"], m["item"]["live"]) for m in messages] == [
        ("item_enqueued", "1,1", False),
        ("item_enqueued", "3,1", True),
    ]
    keys = [one["key"] for one in state(Look(after))["items"]]
    assert len(keys) == len(set(keys)) == 5


def test_items_without_an_id_are_told_apart_by_project_and_time():
    first, second = item(None), item(None, project="gadget", project_canonical="review.example.com/gadget")
    third = item(None, enqueue_time=5)

    assert [m["item"]["enqueue_time"] for m in changes(gate(first, second, third), gate(first, second))] == [5]


def test_a_key_is_the_same_in_every_process():
    assert state(Look(gate(item())))["items"][0]["key"] == "092cef635bca5ae4"


# Builds.


def test_a_build_starts_progresses_and_ends():
    looks = [[job()], [job(uuid="u1", queued=True)], [running()], [running(elapsed=1)], [ended()]]

    types = [[m["type"] for m in changes(gate(item(jobs=a)), gate(item(jobs=b)))] for a, b in itertools.pairwise(looks)]

    assert types == [["item_changed"], ["build_started"], ["build_progressed"], ["build_finished"]]


def test_progress_is_small():
    (message,) = changes(gate(item(jobs=[running(elapsed=1.99)])), gate(item(jobs=[running(elapsed=2)])))

    assert message["build"] == {"job_name": "unit", "uuid": "u1", "elapsed_time": 2000, "percent": 2, "paused": False}
    assert list(message["item"]) == ["key"]


def test_beyond_its_estimate_a_build_is_not_heard_of():
    assert changes(gate(item(jobs=[running(elapsed=100)])), gate(item(jobs=[running(elapsed=150)]))) == []


@pytest.mark.parametrize(("before", "after", "heard"), [(8, 9.9, False), (9, 10, True), (12, 29, True)])
@pytest.mark.parametrize("estimate", [None, 0])
def test_without_an_estimate_a_build_is_heard_of_every_10_seconds(before, after, heard, estimate):
    looks = [gate(item(jobs=[running(elapsed=at, estimated_time=estimate)])) for at in (before, after)]

    assert [m["type"] for m in changes(*looks)] == ["build_progressed"] * heard


def test_a_build_that_pauses_progresses():
    (message,) = changes(gate(item(jobs=[running()])), gate(item(jobs=[running(paused=True)])))

    assert (message["type"], message["build"]["paused"]) == ("build_progressed", True)


def test_a_build_that_was_never_seen_running_has_finished_only():
    assert summary(gate(item(jobs=[job()])), gate(item(jobs=[ended()]))) == [("build_finished", "1,1", "u1")]


def test_a_skipped_build_has_finished():
    (message,) = changes(gate(item(jobs=[job()])), gate(item(jobs=[job(result="SKIPPED", report_url="unit")])))

    assert (message["type"], message["build"]["result"]) == ("build_finished", "SKIPPED")
    assert "url" not in message["build"]


def test_a_build_that_goes_with_its_item_has_no_result():
    messages = changes(gate(item(jobs=[running(), ended("docs", "u2"), job("lint")])), gate())

    assert [m["type"] for m in messages] == ["build_finished", "item_left"]
    assert (messages[0]["build"]["uuid"], messages[0]["build"]["result"]) == ("u1", None)


def test_a_build_that_is_tried_again_at_once():
    before, after = gate(item(jobs=[running()])), gate(item(jobs=[running(uuid="u2", tries=2)]))

    assert summary(before, after) == [("build_finished", "1,1", "u1"), ("build_started", "1,1", "u2")]


def test_a_build_that_will_be_tried_again():
    before, after = gate(item(jobs=[running()])), gate(item(jobs=[job(tries=1, queued=True)]))

    assert summary(before, after) == [("build_finished", "1,1", "u1"), ("item_changed", "1,1")]


def test_an_item_that_starts_over_loses_its_builds():
    before = gate(item(jobs=[running(), ended("docs", "u2")]))
    after = gate(item(jobs=[running(uuid="u3"), job("docs")], zuul_ref="Z2"))

    assert summary(before, after) == [
        ("build_finished", "1,1", "u1"),
        ("item_changed", "1,1"),
        ("build_started", "1,1", "u3"),
    ]


def test_a_job_that_an_item_no_longer_has():
    before, after = gate(item(jobs=[running(), job("docs")])), gate(item(jobs=[job("docs")]))

    assert summary(before, after) == [("build_finished", "1,1", "u1"), ("item_changed", "1,1")]


# Pipelines, and what is no status.


def test_a_pipeline_comes_and_goes():
    full = status(pipeline("gate", ("q", [])), pipeline("check", ("q", [item()])))
    less = status(pipeline("gate", ("q", [])))

    assert summary(less, full) == [("pipeline_reconfigured", "check", "added"), ("item_enqueued", "1,1")]
    assert summary(full, less) == [("item_left", "1,1"), ("pipeline_reconfigured", "check", "removed")]


def test_a_reconfiguration_loads_all_pipelines_anew():
    before, after = gate(item()), gate(item(), last_reconfigured=5)

    assert summary(before, after) == [("pipeline_reconfigured", "gate", "reloaded")]


def test_a_tenant_is_not_loaded_yet():
    full = gate(item())

    assert summary(NOT_LOADED, full) == [("pipeline_reconfigured", "gate", "added"), ("item_enqueued", "1,1")]
    assert summary(full, NOT_LOADED) == [("item_left", "1,1"), ("pipeline_reconfigured", "gate", "removed")]


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"pipelines": None},
        {"pipelines": [None, {}, {"name": 3, "change_queues": 3}]},
        {"pipelines": [{"name": "p", "change_queues": [None, {"heads": None}, {"heads": [None, [None, 3, {}]]}]}]},
        gate({"jobs": [None, {}, {"name": 3}, {"name": "unit"}]}),
        gate(item(jobs=[{"name": "unit", "start_time": "text", "elapsed_time": [], "estimated_time": True}])),
        gate(item(jobs=[running(start_time=float("inf"), elapsed_time=float("inf"), estimated_time=float("nan"))])),
    ],
)
def test_nonsense_is_made_the_least_that_may_be_said(document):
    changes(document, gate(item(jobs=[running()])))
    changes(gate(item(jobs=[running()])), document)
    changes(document, document)
