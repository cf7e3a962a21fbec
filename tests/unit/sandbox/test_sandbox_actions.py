# SPDX-License-Identifier: Apache-2.0
"""The worker functions that act, and each way in which they refuse."""

from __future__ import annotations

import json

import pytest

from zuul.web.backends.rpc.interface import WorkException
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

SCENARIO = load(None)

OLD, NEW = "a" * 40, "b" * 40
UNPACKING = "not enough values to unpack (expected 2, got 1)"


class Sandbox:
    """A scheduler whose clock stands until a test turns it."""

    def __init__(self):
        self.now = 1_600_000_000.0
        self.functions = SandboxScheduler(SCENARIO, clock=lambda: self.now).functions

    def call(self, function, arguments):
        return self.functions[f"zuul:{function}"](arguments)

    def queue(self, pipeline, name):
        status = json.loads(self.call("status_get", {"tenant": "example"}))
        queues = next(entry["change_queues"] for entry in status["pipelines"] if entry["name"] == pipeline)
        return [item for queue in queues if queue["name"] == name for head in queue["heads"] for item in head]

    def ids(self, pipeline, name):
        return [item["id"] for item in self.queue(pipeline, name)]

    def holds(self):
        return json.loads(self.call("autohold_list", {}))


@pytest.fixture
def sandbox():
    return Sandbox()


def enqueue(**changed):
    return {
        "tenant": "example",
        "pipeline": "gate",
        "project": "core/compute",
        "change": "123,4",
        "trigger": None,
        **changed,
    }


def enqueue_ref(**changed):
    return {
        "tenant": "example",
        "pipeline": "post",
        "project": "lib/oslo.config",
        "ref": "refs/heads/master",
        "oldrev": OLD,
        "newrev": NEW,
        "trigger": None,
        **changed,
    }


def dequeue(**changed):
    return {
        "tenant": "example",
        "pipeline": "gate",
        "project": "core/compute",
        "change": "123,4",
        "ref": None,
        **changed,
    }


def hold(**changed):
    return {
        "tenant": "example",
        "project": "core/object.store",
        "job": "functional",
        "change": None,
        "ref": None,
        "reason": "looking",
        "count": 1,
        "node_hold_expiration": None,
        **changed,
    }


def test_an_enqueued_change_joins_its_queue_and_runs(sandbox):
    assert sandbox.call("enqueue", enqueue()) is None
    item = sandbox.queue("gate", "integrated")[-1]
    assert item["id"] == "123,4"
    assert item["ref"] == "refs/changes/23/123/4"
    assert item["url"] == "https://review.example.com/123"
    assert "integration" in [job["name"] for job in item["jobs"]]


def test_an_enqueued_change_is_there_within_the_second(sandbox):
    before = sandbox.ids("check", "core/compute")
    sandbox.call("enqueue", enqueue(pipeline="check"))
    assert sandbox.ids("check", "core/compute") == [*before, "123,4"]


def test_an_enqueued_change_is_worked_on_and_leaves(sandbox):
    sandbox.call("enqueue", enqueue(pipeline="check", project="core/telemetry"))
    sandbox.now += 120
    item = next(item for item in sandbox.queue("check", "core/telemetry") if item["id"] == "123,4")
    assert any(job["start_time"] for job in item["jobs"])
    for _ in range(40):
        sandbox.now += 600
        remaining = sandbox.ids("check", "core/telemetry")
    assert "123,4" not in remaining


def test_the_same_change_is_enqueued_once(sandbox):
    sandbox.call("enqueue", enqueue())
    sandbox.call("enqueue", enqueue())
    assert sandbox.ids("gate", "integrated").count("123,4") == 1


def test_a_newer_patchset_replaces_an_older_one(sandbox):
    sandbox.call("enqueue", enqueue())
    sandbox.call("enqueue", enqueue(change="123,5"))
    ids = sandbox.ids("gate", "integrated")
    assert "123,5" in ids
    assert "123,4" not in ids


def test_a_project_without_jobs_in_the_pipeline_leaves_at_once(sandbox):
    sandbox.call("enqueue", enqueue(pipeline="periodic", project="specs"))
    assert sandbox.ids("periodic", "specs") == []


def test_a_pull_request_is_numbered_with_its_commit(sandbox):
    sandbox.call(
        "enqueue", enqueue(tenant="widgets", project="widgets/widget.js", pipeline="check", change=f"17,{NEW}")
    )
    items = json.loads(sandbox.call("get_running_jobs", {}))
    item = next(item for item in items if item["id"] == f"17,{NEW}")
    assert (item["ref"], item["owner"]) == ("refs/pull/17/head", None)
    assert item["url"] == "https://github.com/widgets/widget.js/pull/17"


@pytest.mark.parametrize("arguments", [enqueue, enqueue_ref])
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tenant": "nope"}, "Invalid tenant: nope\n"),
        ({"project": "nope"}, "Invalid project: nope\n"),
        ({"pipeline": "nope"}, "Invalid pipeline: nope\n"),
        ({"project": "no", "pipeline": "way"}, "Invalid project: no\nInvalid pipeline: way\n"),
    ],
)
def test_enqueue_refuses_unknown_names(sandbox, arguments, changed, said):
    with pytest.raises(WorkException) as caught:
        sandbox.call(arguments.__name__, arguments(**changed))
    assert str(caught.value) == said


@pytest.mark.parametrize("change", ["a,b", "1,", ",1", "-1,1", "1,b"])
def test_enqueue_refuses_what_is_no_change(sandbox, change):
    with pytest.raises(WorkException) as caught:
        sandbox.call("enqueue", enqueue(change=change))
    assert str(caught.value) == f"Invalid change: {change}\n"


def test_enqueue_refuses_a_change_of_another_project(sandbox):
    sandbox.call("enqueue", enqueue())
    with pytest.raises(WorkException) as caught:
        sandbox.call("enqueue", enqueue(project="core/image"))
    assert str(caught.value) == 'Change 123,4 does not belong to project "core/image", '


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"oldrev": "abc"}, "Old rev must be 40 character sha1: abc\n"),
        ({"newrev": "abc"}, "New rev must be 40 character sha1: abc\n"),
        ({"oldrev": "x" * 40}, f"Old rev must be base16 hash: {'x' * 40}\n"),
        (
            {"oldrev": None, "newrev": None},
            "Old rev must be base16 hash: None\nNew rev must be base16 hash: None\n",
        ),
    ],
)
def test_enqueue_ref_refuses_what_is_no_revision(sandbox, changed, said):
    with pytest.raises(WorkException) as caught:
        sandbox.call("enqueue_ref", enqueue_ref(**changed))
    assert str(caught.value) == said


def test_an_enqueued_ref_is_known_by_its_new_revision(sandbox):
    assert sandbox.call("enqueue_ref", enqueue_ref()) is None
    assert NEW in sandbox.ids("post", "lib/oslo.config")


def test_a_dequeued_change_is_gone_and_those_behind_start_again(sandbox):
    ids = sandbox.ids("gate", "integrated")
    first, *behind = sandbox.queue("gate", "integrated")
    sandbox.call("dequeue", dequeue(change=first["id"], project=first["project"]))
    after = sandbox.queue("gate", "integrated")
    assert [item["id"] for item in after] == ids[1:]
    assert after[0]["item_ahead"] is None
    restarted = [old["zuul_ref"] != new["zuul_ref"] for old, new in zip(behind, after, strict=True) if old["active"]]
    assert all(restarted)


def test_a_ref_can_be_dequeued(sandbox):
    sandbox.call("enqueue_ref", enqueue_ref(ref="refs/tags/1.0"))
    sandbox.call("dequeue", dequeue(pipeline="post", project="lib/oslo.config", change=None, ref="refs/tags/1.0"))
    assert NEW not in sandbox.ids("post", "lib/oslo.config")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tenant": "nope"}, "Unknown tenant nope"),
        ({"pipeline": "nope"}, "Unknown pipeline nope"),
        ({"project": "nope"}, "Unknown project nope"),
        ({}, "Unable to find shared change queue for core/compute:123,4"),
        ({"change": None, "ref": "refs/x"}, "Unable to find shared change queue for core/compute:refs/x"),
        ({"change": "123"}, UNPACKING),
    ],
)
def test_dequeue_refuses_what_is_not_there(sandbox, changed, said):
    with pytest.raises(WorkException) as caught:
        sandbox.call("dequeue", dequeue(**changed))
    assert str(caught.value) == said


def test_dequeue_refuses_a_change_of_another_project(sandbox):
    sandbox.call("enqueue", enqueue())
    with pytest.raises(WorkException) as caught:
        sandbox.call("dequeue", dequeue(project="core/image"))
    assert str(caught.value) == 'Change 123,4 does not belong to project "core/image"'


def test_promoted_changes_come_first_in_the_order_given(sandbox):
    before = sandbox.queue("gate", "integrated")
    ids = [item["id"] for item in before]
    wanted = [ids[-1], ids[2]]
    sandbox.call("promote", {"tenant": "example", "pipeline": "gate", "change_ids": wanted})
    after = sandbox.queue("gate", "integrated")
    assert [item["id"] for item in after] == wanted + [name for name in ids if name not in wanted]
    assert [item["item_ahead"] for item in after] == [None, *[item["id"] for item in after[:-1]]]
    times = {item["id"]: item["enqueue_time"] for item in before}
    assert all(item["enqueue_time"] == times[item["id"]] for item in after)


@pytest.mark.parametrize(
    ("changed", "last_line"),
    [
        ({"tenant": "nope"}, "AttributeError: 'NoneType' object has no attribute 'layout'"),
        ({"pipeline": "nope"}, "KeyError: 'nope'"),
        ({"change_ids": ["1,1"]}, "Exception: Unable to find shared change queue for 1,1"),
        ({"change_ids": []}, "IndexError: list index out of range"),
    ],
)
def test_promote_crashes_as_upstream_does(sandbox, changed, last_line):
    with pytest.raises(WorkException) as caught:
        sandbox.call("promote", {"tenant": "example", "pipeline": "gate", "change_ids": ["1,1"], **changed})
    assert str(caught.value).startswith("Traceback (most recent call last):\n")
    assert str(caught.value).endswith(f"{last_line}\n")


def test_promote_says_which_change_is_in_another_queue(sandbox):
    first = sandbox.ids("gate", "integrated")[0]
    with pytest.raises(WorkException, match=r"Unable to find 1,1 in queue <ChangeQueue gate: integrated>"):
        sandbox.call("promote", {"tenant": "example", "pipeline": "gate", "change_ids": [first, "1,1"]})


@pytest.mark.parametrize(
    ("changed", "ref_filter"),
    [
        ({}, ".*"),
        ({"ref": "refs/heads/.*"}, "refs/heads/.*"),
        ({"change": "123"}, "refs/changes/23/123/.*"),
        ({"tenant": "widgets", "project": "widgets/agent", "change": "123"}, "refs/pull/123/head"),
    ],
)
def test_a_hold_is_requested_with_the_filter_of_its_change_or_ref(sandbox, changed, ref_filter):
    assert sandbox.call("autohold", hold(**changed)) is None
    request = sandbox.holds()[-1]
    assert (request["id"], request["ref_filter"]) == ("0000000003", ref_filter)
    assert (request["max_count"], request["current_count"], request["nodes"]) == (1, 0, [])
    assert (request["reason"], request["node_expiration"], request["expired"]) == ("looking", 0, None)


def test_a_hold_names_its_project_canonically(sandbox):
    sandbox.call("autohold", hold())
    assert sandbox.holds()[-1]["project"] == "review.example.com/core/object.store"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"tenant": "nope"}, "Invalid tenant: nope"),
        ({"project": "nope"}, "Invalid project: nope"),
        ({"count": -1}, "Invalid count: -1"),
        ({"change": "1", "ref": "refs/x"}, "Change and ref can't be both used for the same request"),
    ],
)
def test_a_wrong_hold_is_refused(sandbox, changed, said):
    with pytest.raises(WorkException) as caught:
        sandbox.call("autohold", hold(**changed))
    assert str(caught.value) == said
    assert len(sandbox.holds()) == 2


def test_a_deleted_hold_is_gone_and_deleting_it_again_is_no_error(sandbox):
    assert sandbox.call("autohold_delete", {"request_id": "0000000001"}) is None
    assert sandbox.call("autohold_delete", {"request_id": "0000000001"}) is None
    assert [request["id"] for request in sandbox.holds()] == ["0000000002"]


def test_failing_builds_use_a_hold_up(sandbox):
    sandbox.call("autohold", hold(project="core/compute", job="tox-pep8"))
    sandbox.call("autohold", hold(project="core/compute", job="tox-pep8", ref="not a ref"))
    sandbox.call("autohold", hold(project="core/compute", job="tox-pep8", ref="(broken"))
    for _ in range(300):
        sandbox.now += 600
        *_, used, unused, broken = sandbox.holds()
    assert used["current_count"] == 1
    assert used["expired"] is not None
    assert [(len(entry["build"]), len(entry["nodes"])) for entry in used["nodes"]] == [(32, 1)]
    assert unused["current_count"] == broken["current_count"] == 0


@pytest.mark.parametrize(
    ("function", "arguments", "last_line"),
    [
        ("authorize_user", {"claims": {}}, "KeyError: 'tenant'\n"),
        ("autohold_info", {}, "KeyError: 'request_id'\n"),
        ("enqueue", enqueue(change="123"), f"ValueError: {UNPACKING}\n"),
        ("enqueue", enqueue(change=None), "AttributeError: 'NoneType' object has no attribute 'split'\n"),
    ],
)
def test_what_fails_by_accident_answers_with_a_traceback(sandbox, function, arguments, last_line):
    with pytest.raises(WorkException) as caught:
        sandbox.call(function, arguments)
    assert str(caught.value).startswith("Traceback (most recent call last):\n")
    assert str(caught.value).endswith(last_line)
