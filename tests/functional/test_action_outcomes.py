# SPDX-License-Identifier: Apache-2.0
"""An answer of success means that it was done, one of failure that it was not and will not be; else it says so."""

from __future__ import annotations

import json
import logging
import threading

import pytest
from functional.admins import Acting
from functional.tokens import CONF

from zuul.web.backends.rpc.interface import WorkException
from zuul.web.errors import BadReply, OutcomeUnknown, Refused, Timeout, Unavailable

PROJECT = "/api/tenant/example/project/core/compute"
V1 = "/v1/tenants/example"
HOLD = {"job": "functional", "reason": "look", "count": 1}
WRITES = ("enqueue", "enqueue_ref", "dequeue", "promote", "autohold", "autohold_delete")


def gate(acting):
    """Two changes of one queue of the gate, and the project of the first."""
    queue = next(queue for queue in acting.status()["gate"] if len(queue) > 1)
    return queue[0]["id"], queue[1]["id"], queue[0]["project"]


def actions(acting):
    """Each action as a request, by the old and the new URL."""
    first, second, project = gate(acting)
    return {
        "enqueue": ("POST", f"{PROJECT}/enqueue", {"pipeline": "gate", "change": "123,4"}),
        "enqueue-ref": ("POST", f"{PROJECT}/enqueue", {"pipeline": "post", "ref": "refs/heads/master"}),
        "dequeue": (
            "POST",
            f"/api/tenant/example/project/{project}/dequeue",
            {"pipeline": "gate", "change": first},
        ),
        "promote": ("POST", "/api/tenant/example/promote", {"pipeline": "gate", "changes": [second]}),
        "hold": ("POST", f"{PROJECT}/autohold", HOLD),
        "delete hold": ("DELETE", "/api/tenant/example/autohold/0000000001", None),
        "v1 enqueue": ("POST", f"{V1}/pipelines/gate/items", {"project": "core/compute", "change": "123,4"}),
        "v1 dequeue": ("DELETE", f"{V1}/pipelines/gate/items/{first}", None),
        "v1 promote": ("POST", f"{V1}/pipelines/gate/promote", {"changes": [second]}),
        "v1 hold": ("POST", f"{V1}/holds", {**HOLD, "project": "core/compute"}),
        "v1 delete hold": ("DELETE", f"{V1}/holds/0000000001", None),
    }


NAMES = ("enqueue", "enqueue-ref", "dequeue", "promote", "hold", "delete hold", "v1 enqueue", "v1 dequeue",
         "v1 promote", "v1 hold", "v1 delete hold")  # fmt: skip
every_action = pytest.mark.parametrize("action", NAMES)


class FailingAtWrites:
    """A transport whose reads are answered, and whose writes end in an error."""

    def __init__(self, inner, error):
        self._inner = inner
        self._error = error

    def call(self, function, arguments, *, timeout, retry):
        if function.removeprefix("zuul:") in WRITES:
            assert retry is False
            raise self._error
        return self._inner.call(function, arguments, timeout=timeout, retry=retry)

    def connected(self):
        return True

    def close(self):
        self._inner.close()


@pytest.fixture
def failing_at_writes(make_app):
    def failing_at_writes(error):
        acting = Acting(lambda transport, conf: make_app(FailingAtWrites(transport, error), conf))
        return acting

    return failing_at_writes


CRASH = "Traceback (most recent call last):\n  ...\nKeyError: 'secret'\n"
ERRORS = {
    "not started in time": (Timeout("taken back"), 504, None),
    "not finished in time": (OutcomeUnknown("not finished"), 504, "unknown"),
    "the scheduler ended": (BadReply("failed without a word"), 504, "unknown"),
    "the scheduler crashed": (Refused(CRASH), 502, "unknown"),
    "nobody is there": (Unavailable("nobody"), 503, None),
    "refused": (Refused("Invalid change: 123,4\n"), 400, None),
}


@every_action
@pytest.mark.parametrize(("error", "status", "outcome"), ERRORS.values(), ids=ERRORS)
def test_each_way_to_fail_tells_whether_it_may_have_been_done(
    failing_at_writes, refusal, caplog, action, error, status, outcome
):
    acting = failing_at_writes(error)
    with caplog.at_level(logging.WARNING, "zuul.web"):
        response = acting.send(*actions(acting)[action], headers={"X-Request-Id": "look-for-me"})

    body = refusal(response, status)
    assert body.get("outcome") == outcome
    assert "secret" not in response.text
    assert response.headers["X-Request-Id"] == "look-for-me"
    if status >= 500:
        assert any("look-for-me" in record.getMessage() for record in caplog.records if record.name == "zuul.web")


@every_action
def test_what_cannot_be_looked_at_beforehand_is_not_done(make_app, raising_transport, refusal, action):
    acting = Acting(make_app)
    requested = actions(acting)[action]
    acting.app = make_app(raising_transport(Timeout("slow")), CONF)

    body = refusal(acting.send(*requested), 504)

    assert "outcome" not in body


@pytest.fixture
def busy(make_app):
    """An application with a deadline of half a second over a scheduler of one thread that can be held up."""
    release = threading.Event()
    began = threading.Event()

    def hold_up(arguments):
        began.set()
        release.wait(20)
        return None

    acting = Acting(lambda transport, conf: make_app(transport, f"rpc_timeout = 0.5\n{conf}"), enqueue=hold_up)
    acting.began, acting.release = began, release
    yield acting
    release.set()


ENQUEUE = (f"{PROJECT}/enqueue", {"pipeline": "gate", "change": "123,4"})


def test_what_the_scheduler_has_begun_is_unknown_when_the_deadline_passes(busy, refusal):
    body = refusal(busy.post(*ENQUEUE), 504)

    assert body["outcome"] == "unknown"
    assert busy.began.is_set()


def test_what_the_scheduler_has_not_begun_when_the_deadline_passes_is_never_done(busy, refusal):
    busy.app.get("/api/tenant/example/projects")
    busy.app.get("/api/tenant/example/pipelines")
    held_up = threading.Thread(target=busy.post, args=ENQUEUE)
    held_up.start()
    assert busy.began.wait(10)

    body = refusal(busy.post(f"{PROJECT}/autohold", HOLD), 504)
    busy.release.set()
    held_up.join(10)
    busy.app.get("/api/tenant/example/labels", status="*")
    busy.transport.call("zuul:tenant_list", {}, timeout=5, retry=False)

    assert "outcome" not in body
    assert busy.calls("autohold") == []


def test_a_hold_that_the_scheduler_has_kept_is_no_success(acting_with, refusal):
    acting = acting_with(autohold_delete=lambda _: None)

    body = refusal(acting.send("DELETE", "/api/tenant/example/autohold/0000000001"), 502)

    assert body["outcome"] == "unknown"


def test_a_hold_of_which_nobody_says_that_it_is_gone_is_unknown(acting_with, refusal):
    asked = iter([True])

    def info(arguments):
        if next(asked, False):
            return json.dumps(hold)
        raise WorkException(CRASH)

    acting = acting_with(autohold_info=info)
    (hold,) = [hold for hold in acting.holds() if hold["id"] == "0000000001"]

    assert refusal(acting.send("DELETE", f"{V1}/holds/0000000001"), 504)["outcome"] == "unknown"


# Two tenants.


@pytest.mark.parametrize("tenant", ["widgets", "platform"])
@every_action
def test_who_administers_another_tenant_can_do_nothing(acting, refusal, action, tenant):
    method, url, body = actions(acting)[action]

    refusal(acting.send(method, url, body, admin_of=(tenant,)), 403)

    assert not set(WRITES).intersection(name for name, _ in acting.called)


@every_action
def test_without_a_token_nothing_is_done(acting, refusal, action):
    method, url, body = actions(acting)[action]
    sent = json.dumps(body).encode() if body else b""

    response = acting.app.request(url, method=method, body=sent, status="*")

    assert refusal(response, 401)["error"]
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")
    assert acting.called == []


@every_action
def test_through_the_urls_of_another_tenant_nothing_of_this_one_is_found(acting, refusal, action):
    method, url, body = actions(acting)[action]
    before = (acting.status(), acting.holds())

    response = acting.send(method, url.replace("/example/", "/widgets/"), body, admin_of=("widgets",))

    assert response.status_int in (400, 404), response.text
    assert (acting.status(), acting.holds()) == before


@pytest.mark.parametrize("url", ["/api/tenant/widgets/autohold/0000000001", "/v1/tenants/widgets/holds/0000000001"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_hold_of_another_tenant_is_404(acting, refusal, url, method):
    body = refusal(acting.send(method, url, admin_of=("widgets",)), 404)

    assert body["faultstring"] == "Hold request 0000000001 does not exist."
    assert "0000000001" in [hold["id"] for hold in acting.holds()]


@every_action
def test_a_tenant_that_does_not_exist_is_404_for_who_may_do_everything(acting, refusal, action):
    method, url, body = actions(acting)[action]

    refusal(acting.send(method, url.replace("/example/", "/nope/"), body, admin_of=("nope",)), 404)
