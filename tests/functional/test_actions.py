# SPDX-License-Identifier: Apache-2.0
"""What administrators do, by old and by new URLs, and what of it is then to be seen."""

from __future__ import annotations

import json

import pytest

API = "/api/tenant/example"
V1 = "/v1/tenants/example"
COMPUTE = "core/compute"
OLD, NEW, NONE = "a" * 40, "b" * 40, "0" * 40
UNKNOWN = "123,4"


def enqueued(old_url, acting, pipeline, **what):
    """Enqueue below /api or /v1."""
    project = what.pop("project", COMPUTE)
    if old_url:
        return acting.post(f"{API}/project/{project}/enqueue", {"pipeline": pipeline, **what})
    return acting.post(f"{V1}/pipelines/{pipeline}/items", {"project": project, **what})


def check_done(response, old_url):
    assert response.status_int == (200 if old_url else 204), response.text
    assert response.body == (b"true" if old_url else b"")
    assert response.headers["Cache-Control"] == "no-store"


both = pytest.mark.parametrize("old_url", [True, False], ids=["api", "v1"])


@both
def test_an_enqueued_change_is_in_the_status(acting, old_url):
    check_done(enqueued(old_url, acting, "gate", change=UNKNOWN), old_url)

    assert UNKNOWN in acting.ids("gate")
    (call,) = acting.calls("enqueue")
    assert call == {
        "tenant": "example",
        "pipeline": "gate",
        "project": "review.example.com/core/compute",
        "trigger": None,
        "change": UNKNOWN,
    }


@both
@pytest.mark.parametrize("project", [COMPUTE, "core%2Fcompute", "review.example.com/core/compute"])
def test_a_project_has_any_of_its_names(acting, old_url, project):
    spelt = project if old_url else project.replace("%2F", "/")

    check_done(enqueued(old_url, acting, "check", change=UNKNOWN, project=spelt), old_url)

    assert UNKNOWN in acting.ids("check")


@both
@pytest.mark.parametrize(
    "revisions", [{}, {"oldrev": None, "newrev": None}, {"oldrev": NONE, "newrev": NONE}], ids=["none", "null", "zeros"]
)
def test_a_ref_without_revisions_has_40_zeros_as_zuul_client_14_needs_it(acting, old_url, revisions):
    check_done(enqueued(old_url, acting, "post", ref="refs/heads/master", **revisions), old_url)

    (call,) = acting.calls("enqueue_ref")
    assert (call["oldrev"], call["newrev"]) == (NONE, NONE)
    assert "refs/heads/master" in [item["ref"] for queue in acting.status()["post"] for item in queue]


@both
@pytest.mark.parametrize("trigger", [{}, {"trigger": None}, {"trigger": "gerrit"}, {"trigger": ""}])
def test_an_enqueued_ref_is_in_the_status_whatever_the_trigger(acting, old_url, trigger):
    done = enqueued(old_url, acting, "post", ref="refs/heads/master", oldrev=OLD, newrev=NEW, **trigger)

    check_done(done, old_url)
    assert NEW in acting.ids("post")


def test_a_dequeued_change_is_gone(acting):
    item = next(item for queue in acting.status()["gate"] for item in queue)
    change = item["id"]

    done = acting.post(f"{API}/project/{item['project']}/dequeue", {"pipeline": "gate", "change": change})

    check_done(done, True)
    assert change not in acting.ids("gate")


@pytest.mark.parametrize("key", ["id", "zuul_ref"])
@pytest.mark.parametrize("pipeline", ["check", "gate", "post"])
def test_an_item_is_deleted_by_its_id_or_zuul_ref(acting, pipeline, key):
    item = next(item for queue in acting.status()[pipeline] for item in queue if item["live"])

    check_done(acting.send("DELETE", f"{V1}/pipelines/{pipeline}/items/{item[key]}"), False)

    left = [one["zuul_ref"] for queue in acting.status()[pipeline] for one in queue]
    assert item["zuul_ref"] not in left


@pytest.mark.parametrize("project", [COMPUTE, "review.example.com/core/compute"])
def test_a_dequeued_ref_is_gone_though_zuul_would_not_find_it_by_the_canonical_name(acting, project):
    enqueued(True, acting, "post", ref="refs/heads/stable", oldrev=OLD, newrev=NEW)

    done = acting.post(f"{API}/project/{project}/dequeue", {"pipeline": "post", "ref": "refs/heads/stable"})

    check_done(done, True)
    assert NEW not in acting.ids("post")


def test_what_was_enqueued_a_moment_ago_can_be_dequeued_though_the_last_status_has_it_not(acting):
    acting.app.get(f"{API}/status")
    enqueued(True, acting, "check", change=UNKNOWN)

    done = acting.post(f"{API}/project/{COMPUTE}/dequeue", {"pipeline": "check", "change": UNKNOWN})

    check_done(done, True)
    assert UNKNOWN not in acting.ids("check")


def test_of_several_items_with_one_ref_only_the_first_is_deleted_as_the_scheduler_takes_that(acting, refusal):
    later = "c" * 40
    for newrev in (NEW, later):
        enqueued(True, acting, "post", ref="refs/heads/stable", oldrev=OLD, newrev=newrev)

    body = refusal(acting.send("DELETE", f"{V1}/pipelines/post/items/{later}"), 409)

    assert body["faultstring"] == f"another item of the same ref is before {later} in pipeline post"
    assert acting.calls("dequeue") == []
    check_done(acting.send("DELETE", f"{V1}/pipelines/post/items/{NEW}"), False)
    assert NEW not in acting.ids("post") and later in acting.ids("post")


@both
def test_promoted_changes_come_first(acting, old_url):
    (queue,) = [queue for queue in acting.status()["gate"] if len(queue) >= 3][:1]
    wanted = [queue[2]["id"], queue[1]["id"]]

    if old_url:
        done = acting.post(f"{API}/promote", {"pipeline": "gate", "changes": wanted})
    else:
        done = acting.post(f"{V1}/pipelines/gate/promote", {"changes": wanted})

    check_done(done, old_url)
    now = next(q for q in acting.status()["gate"] if {item["id"] for item in q} >= set(wanted))
    assert [item["id"] for item in now][:3] == [*wanted, queue[0]["id"]]


def test_changes_of_two_queues_are_not_promoted(acting, refusal):
    first, second = [queue[0]["id"] for queue in acting.status()["gate"] if queue][:2]

    body = refusal(acting.post(f"{API}/promote", {"pipeline": "gate", "changes": [first, second]}), 400)

    assert body["faultstring"] == "changes: they are not all in one queue of pipeline gate"
    assert acting.calls("promote") == []


ORDER = {"job": "functional", "reason": "look", "count": 3}
PROJECT_HOLDS = f"{API}/project/{COMPUTE}/autohold"


def test_a_hold_is_listed_found_and_deleted_by_the_old_urls(acting):
    before = acting.app.get(f"{API}/autohold").json

    check_done(acting.post(PROJECT_HOLDS, {**ORDER, "node_hold_expiration": 600}), True)

    (hold,) = [one for one in acting.app.get(f"{API}/autohold").json if one not in before]
    assert {**ORDER, "node_hold_expiration": 600, "ref_filter": ".*"}.items() <= hold.items()
    assert acting.app.get(f"{API}/autohold/{hold['id']}").json == hold
    check_done(acting.send("DELETE", f"{API}/autohold/{hold['id']}"), False)
    assert acting.app.get(f"{API}/autohold").json == before
    assert acting.app.get(f"{API}/autohold/{hold['id']}", status="*").status_int == 404


@pytest.mark.parametrize(
    "keys",
    [
        {"count": 3, "node_hold_expiration": 600, "ref": "refs/heads/.*"},
        {"max_count": 3, "node_expiration": 600, "ref_filter": "refs/heads/.*"},
        {
            "max_count": 3,
            "count": 3,
            "node_expiration": 600,
            "node_hold_expiration": None,
            "ref_filter": "refs/heads/.*",
        },
    ],
    ids=["old keys", "scheduler's keys", "both"],
)
def test_a_hold_is_made_listed_and_deleted_by_the_new_urls_in_either_family_of_keys(acting, keys):
    before = [hold["id"] for hold in acting.holds()]

    check_done(acting.post(f"{V1}/holds", {"project": COMPUTE, "job": "functional", "reason": "look", **keys}), False)

    (hold,) = [one for one in acting.app.get(f"{V1}/holds").json if one["id"] not in before]
    assert (hold["count"], hold["max_count"], hold["node_expiration"]) == (3, 3, 600)
    assert (hold["ref_filter"], hold["project"]) == ("refs/heads/.*", "review.example.com/core/compute")
    check_done(acting.send("DELETE", f"{V1}/holds/{hold['id']}"), False)
    assert [one["id"] for one in acting.holds()] == before


def test_a_hold_as_zuul_client_asks_for_it_is_for_any_ref(acting):
    body = {"reason": "r", "count": 1, "job": "j", "change": "", "ref": "", "node_hold_expiration": None}

    check_done(acting.post(PROJECT_HOLDS, body), True)

    assert acting.holds()[-1]["ref_filter"] == ".*"


def test_a_hold_for_a_change_is_for_all_of_its_patchsets(acting):
    check_done(acting.post(PROJECT_HOLDS, {**ORDER, "change": "1234"}), True)

    assert acting.holds()[-1]["ref_filter"] == "refs/changes/34/1234/.*"


def test_a_hold_for_a_change_is_refused_where_zuul_could_not_tell_its_refs(acting_with, refusal):
    acting = acting_with(connection_list=lambda _: json.dumps([{"name": "gerrit", "driver": "git"}]))

    body = refusal(acting.post(PROJECT_HOLDS, {**ORDER, "change": "1234"}), 400)

    assert body["faultstring"] == "change: Zuul knows no changes by number of connection gerrit, use ref"
    assert acting.calls("autohold") == []


# Without an [auth] section nobody can act.

ROUTES = [
    ("POST", f"{API}/project/{COMPUTE}/enqueue"),
    ("POST", f"{API}/project/{COMPUTE}/dequeue"),
    ("POST", f"{API}/project/{COMPUTE}/autohold"),
    ("POST", f"{API}/promote"),
    ("DELETE", f"{API}/autohold/0000000001"),
    ("POST", f"{V1}/pipelines/gate/items"),
    ("DELETE", f"{V1}/pipelines/gate/items/{UNKNOWN}"),
    ("POST", f"{V1}/pipelines/gate/promote"),
    ("POST", f"{V1}/holds"),
    ("DELETE", f"{V1}/holds/0000000001"),
]

of_actions = pytest.mark.parametrize(("method", "url"), ROUTES)


@pytest.mark.undeclared("the document has all options")
@of_actions
def test_without_tokens_there_are_no_actions(app, refusal, method, url):
    refusal(app.request(url, method=method, status="*"), 404)


@of_actions
def test_and_none_is_offered(app, method, url):
    response = app.options(url, headers={"Origin": "https://zuul.example.com"}, status="*")

    if response.status_int != 404:
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
        assert method not in response.headers["Access-Control-Allow-Methods"]


@of_actions
def test_with_tokens_each_is_offered(acting, method, url):
    assert method in acting.app.options(url).headers["Allow"]


def test_without_tokens_a_project_may_be_named_as_an_action_is(app_with, functions, refusal):
    asked = []
    app = app_with(project_get=lambda arguments: asked.append(arguments["project"]) or "{}")

    refusal(app.get(f"{API}/project/{COMPUTE}/enqueue", status="*"), 404)

    assert asked == [f"{COMPUTE}/enqueue"]


def test_what_is_no_action_anywhere_is_not_possible_still(app, refusal):
    response = app.put(f"{V1}/holds", status="*")

    refusal(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
