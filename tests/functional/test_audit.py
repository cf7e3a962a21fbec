# SPDX-License-Identifier: Apache-2.0
"""The audit: an entry and a line for each call that acts or is refused, and who may read them."""

from __future__ import annotations

import logging

import pytest
from functional.admins import authorization

from zuul.web.audit import Audit, Call
from zuul.web.errors import BadReply, Timeout, Unavailable

PROJECT = "/api/tenant/example/project/core/compute"
ENQUEUE = (f"{PROJECT}/enqueue", {"pipeline": "gate", "change": "123,4"})


def audit(acting, query="", admin_of=("example",)):
    return acting.app.get(f"/v1/audit{query}", headers=authorization(*admin_of)).json


@pytest.fixture
def lines(caplog):
    """What the logger of the audit has said so far."""
    caplog.set_level(logging.INFO, "zuul.web.audit")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "zuul.web.audit"]


def test_what_was_done_is_in_the_audit_and_in_the_log(acting, lines):
    acting.post(*ENQUEUE, headers={"X-Request-Id": "one", "X-Forwarded-For": "192.0.2.7"})

    (entry,) = audit(acting)
    assert entry.pop("time") > 1_600_000_000
    assert entry == {
        "id": "1",
        "request_id": "one",
        "user": "ada",
        "realm": "tests.example.com",
        "address": None,
        "forwarded_for": "192.0.2.7",
        "action": "enqueue",
        "tenant": "example",
        "method": "POST",
        "path": f"{PROJECT}/enqueue",
        "asked": {"pipeline": "gate", "change": "123,4"},
        "outcome": "done",
        "status": 200,
        "message": None,
    }
    (line,) = lines()
    assert line == (
        'request_id="one" user="ada" realm="tests.example.com" address=null forwarded_for="192.0.2.7" action="enqueue" '
        'tenant="example" method="POST" path="/api/tenant/example/project/core/compute/enqueue" '
        'asked={"change": "123,4", "pipeline": "gate"} outcome="done" status=200 message=null'
    )


def refused_body(acting):
    return acting.post(ENQUEUE[0], b"{")


def refused_by_zuul(acting):
    item = next(item for queue in acting.status()["gate"] for item in queue if item["project"] != "core/compute")
    return acting.post(ENQUEUE[0], {"pipeline": "check", "change": item["id"]})


BAD = {"Authorization": "Bearer x.y.z"}
WAYS = {
    "done": (lambda acting: acting.post(*ENQUEUE), 200, "done", "ada", "enqueue"),
    "no token": (lambda acting: acting.app.post(ENQUEUE[0], b"", status=401), 401, "refused", None, "enqueue"),
    "a bad token": (
        lambda acting: acting.post(*ENQUEUE, headers=BAD), 401, "refused", None, "enqueue",
    ),
    "not allowed": (lambda acting: acting.post(*ENQUEUE, admin_of=("widgets",)), 403, "refused", "ada", "enqueue"),
    "a bad body": (refused_body, 400, "refused", "ada", "enqueue"),
    "a bad type of body": (
        lambda acting: acting.post(*ENQUEUE, headers={"Content-Type": "text/plain"}), 415, "refused", "ada", "enqueue",
    ),
    "refused by Zuul": (refused_by_zuul, 400, "refused", "ada", "enqueue"),
    "nothing there": (
        lambda acting: acting.send("DELETE", "/v1/tenants/example/holds/0000000099"), 404, "refused", "ada",
        "autohold-delete",
    ),
    "a deleted hold": (
        lambda acting: acting.send("DELETE", "/v1/tenants/example/holds/0000000001"), 204, "done", "ada",
        "autohold-delete",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("act", "status", "outcome", "user", "action"), WAYS.values(), ids=WAYS)
def test_each_outcome_has_its_entry(acting, lines, act, status, outcome, user, action):
    response = act(acting)

    (entry,) = audit(acting)
    assert response.status_int == status
    assert (entry["status"], entry["outcome"], entry["user"], entry["action"]) == (status, outcome, user, action)
    assert entry["message"] == (response.json["faultstring"] if status >= 400 else None)
    assert entry["request_id"] == response.headers["X-Request-Id"]
    assert len(lines()) == 1


TENANT = "/v1/tenants/example"
BEFORE_ACTIONS = {
    "a body that is too large": ("POST", f"{PROJECT}/enqueue", {"CONTENT_LENGTH": str(10**9)}, 413),
    "a length that is none": ("POST", f"{PROJECT}/enqueue", {"CONTENT_LENGTH": "x"}, 400),
    "a URL that is too long": ("DELETE", f"{TENANT}/holds/{'1' * 9000}", {}, 414),
    "a path that is no text": ("DELETE", f"{TENANT}/holds/\xff", {}, 400),
    "too many fields": ("POST", f"{TENANT}/holds", {"HTTP_COOKIE": "x" * 40_000}, 431),
    "no such method": ("PUT", f"{TENANT}/holds", {}, 405),
    "no such URL": ("POST", f"{TENANT}/nope", {}, 404),
    "no such URL at the other place": ("POST", f"/api{TENANT}/nope", {}, 404),
    "a bad token at what cannot be done": (
        "POST",
        "/api/tenant/example/jobs",
        {"HTTP_AUTHORIZATION": "Bearer x.y"},
        405,
    ),
}


@pytest.mark.undeclared("it asks for what is not there")
@pytest.mark.parametrize(("method", "path", "environ", "status"), BEFORE_ACTIONS.values(), ids=BEFORE_ACTIONS)
def test_what_is_refused_before_it_is_clear_what_it_is_to_do(acting, send, lines, method, path, environ, status):
    response = send(acting.app, PATH_INFO=path, REQUEST_METHOD=method, **environ)

    (entry,) = audit(acting)
    assert (response.status_int, entry["status"], entry["outcome"]) == (status, status, "refused")
    assert (entry["action"], entry["user"], entry["tenant"], entry["method"]) == (None, None, "example", method)
    assert entry["request_id"] == response.headers["X-Request-Id"]
    assert entry["message"]
    (line,) = lines()
    assert "x.y" not in line


@pytest.mark.parametrize("url", ["/v1/nope", "/api/tenant/example/nope", "/v1/tenants/example/holds?nope=1"])
def test_reads_that_are_refused_are_not_in_it(acting, lines, url):
    for method in ("GET", "HEAD", "OPTIONS"):
        acting.app.request(url, method=method, status="*")
    acting.app.get(f"/v1/{'x' * 9000}", status=414)

    assert lines() == []


def test_nor_is_what_is_none_of_ours(acting, lines):
    acting.app.post("/nope", b"", status="*")

    assert lines() == []


@pytest.mark.undeclared("the document has all options")
def test_without_tokens_nothing_is_audited(app, lines):
    app.post(*ENQUEUE[:1], b"", status=404)
    app.request("/v1/tenants/example/holds", method="PUT", status=405)

    assert lines() == []


ERRORS = {
    "the scheduler ended": (BadReply("failed without a word"), "unknown"),
    "taken back": (Timeout("taken back"), "failed"),
    "nobody there": (Unavailable("nobody"), "failed"),
}


@pytest.mark.parametrize(("error", "outcome"), ERRORS.values(), ids=ERRORS)
def test_what_did_not_go_well_has_its_outcome(acting, monkeypatch, error, outcome):
    call = acting.transport.call

    def failing(function, arguments, **more):
        if function == "zuul:enqueue":
            raise error
        return call(function, arguments, **more)

    monkeypatch.setattr(acting.transport, "call", failing)
    acting.post(*ENQUEUE)

    assert [entry["outcome"] for entry in audit(acting)] == [outcome]


def test_reads_are_not_in_the_audit_unless_they_are_refused(acting, lines):
    acting.app.get("/v1/tenants/example/holds")
    audit(acting)
    assert lines() == []

    acting.app.get("/v1/audit", status=401)
    (line,) = lines()
    assert 'action="audit"' in line and "status=401" in line


def test_who_administers_one_tenant_sees_nothing_of_another(acting, refusal):
    acting.post(*ENQUEUE)
    acting.post(ENQUEUE[0].replace("example", "widgets"), ENQUEUE[1], admin_of=("widgets",))

    assert [entry["tenant"] for entry in audit(acting)] == ["example"]
    assert [entry["tenant"] for entry in audit(acting, admin_of=("widgets",))] == ["widgets"]
    assert [entry["tenant"] for entry in audit(acting, admin_of=("widgets", "example"))] == ["widgets", "example"]
    assert [entry["tenant"] for entry in audit(acting, "?tenant=example", ("widgets", "example"))] == ["example"]
    assert audit(acting, "?tenant=example", ("widgets",)) == []
    refusal(acting.app.get("/v1/audit", headers=authorization(), status="*"), 403)


def test_it_has_pages_and_filters_as_any_collection(acting):
    for number in range(5):
        acting.post(ENQUEUE[0], {"pipeline": "gate", "change": f"{number},1"})
    acting.post(ENQUEUE[0], {"pipeline": "nope", "change": "1,1"})

    assert [entry["outcome"] for entry in audit(acting, "?outcome=refused")] == ["refused"]
    page = acting.app.get("/v1/audit?action=enqueue&outcome=done&limit=2", headers=authorization("example"))
    assert [entry["asked"]["change"] for entry in page.json] == ["4,1", "3,1"]
    assert (page.headers["X-Total"], page.headers["Cache-Control"]) == ("5", "no-store")
    assert 'rel="next"' in page.headers["Link"]
    assert audit(acting, "?user=ada&fields=id,status&limit=1") == [{"id": "6", "status": 400}]


def test_nothing_that_a_client_sends_makes_another_line_or_field(acting, lines):
    reason = 'x" outcome="done\nrequest_id="forged"'
    acting.post(f"{PROJECT}/autohold", {"job": "j", "reason": reason, "count": 1})
    acting.post(ENQUEUE[0].replace("compute", 'a%0Aoutcome="done"'), ENQUEUE[1])

    assert len(lines()) == 2
    assert not any("\n" in line for line in lines())
    assert [line.count(' outcome="') for line in lines()] == [1, 1]


def test_no_token_is_in_it(acting, lines):
    acting.post(*ENQUEUE)

    token = authorization("example")["Authorization"].split()[1]
    assert token.split(".")[0] not in str(audit(acting)) + str(lines())


def a_call(**changed):
    return Call(
        **{
            "request_id": "r",
            "action": "autohold",
            "method": "POST",
            "path": "/x",
            "tenant": "t",
            "address": None,
            "forwarded_for": None,
            "asked": None,
            "identity": None,
            **changed,
        }
    )


def test_it_is_bounded():
    audit = Audit(most_entries=3)
    for number in range(5):
        audit.add(a_call(path=f"/{number}"), 200, None)

    assert [row["path"] for row in audit.rows()] == ["/4", "/3", "/2"]
    assert [row["id"] for row in audit.rows()] == ["5", "4", "3"]


def test_long_texts_and_lists_are_cut():
    audit = Audit()
    audit.add(a_call(asked={"changes": ["1,1"] * 5000, "reason": "x" * 10_000}, path="/" + "x" * 8000), 200, None)

    (row,) = audit.rows()
    assert len(str(row)) < 2000
    assert row["asked"]["changes"][-1] == "..."
