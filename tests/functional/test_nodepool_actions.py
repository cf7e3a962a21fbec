# SPDX-License-Identifier: Apache-2.0
"""What administrators do to nodes and images: what is written, what is refused, and by whom it may be done."""

from __future__ import annotations

import json

import pytest
from functional.tokens import CONF, bearer
from nodepool_tree import ALLOCATED, BUILD, BUILDING, HELD, IN_USE, READY, UPLOAD, USED, Pool, filled

from zuul.web.backends.nodepool.interface import Broke, Changed
from zuul.web.backends.nodepool.memory import MemoryTree
from zuul.web.backends.rpc.local import LocalTransport

NODES = "/v1/nodepool/nodes"
IMAGES = "/v1/nodepool/images"
UPLOADING = UPLOAD[:-1] + "2"
BUILDS_OF_DEBIAN = "images/debian/builds"


@pytest.fixture
def tree():
    return filled()


@pytest.fixture
def pool(tree):
    return Pool(tree)


@pytest.fixture
def sender(make_app, functions):
    """Sends requests of an administrator of these tenants to an application over a tree."""

    def sender(tree, more_conf=""):
        app = make_app(LocalTransport(functions), more_conf + CONF, tree=tree)

        def send(method, url, body=None, *, headers=None, admin_of=("example",)):
            sent = bearer("ada", *admin_of) if headers is None else headers
            payload = b"" if body is None else json.dumps(body).encode()
            sent = {**sent, **({"Content-Type": "application/json"} if body is not None else {})}
            return app.request(url, method=method, headers=sent, body=payload, status="*")

        return send

    return sender


@pytest.fixture
def send(sender, tree):
    return sender(tree)


# -- nodes


@pytest.mark.parametrize("node", [READY, USED])
def test_a_node_that_nobody_uses_can_be_held(send, pool, node):
    before = pool.get(f"nodes/{node}")

    response = send("POST", f"{NODES}/{node}/hold", {"comment": "for ann", "expiration": 600})

    assert (response.status_int, response.body) == (204, b"")
    after = pool.get(f"nodes/{node}")
    assert after.pop("state_time") > before.pop("state_time")
    assert after == {**before, "state": "hold", "comment": "for ann", "hold_expiration": 600}
    assert not pool.tree.children(f"/nodepool/nodes/{node}/lock"), "the lock is let go of"


def test_a_held_node_can_get_another_expiration_and_keeps_its_comment(send, pool):
    assert send("POST", f"{NODES}/{HELD}/hold", {"expiration": 0}).status_int == 204

    after = pool.get(f"nodes/{HELD}")
    assert (after["comment"], after["hold_expiration"]) == ("look", 0)


def test_a_held_node_can_be_released(send, pool):
    assert send("POST", f"{NODES}/{HELD}/release").status_int == 204
    assert pool.get(f"nodes/{HELD}")["state"] == "used"


@pytest.mark.parametrize("node", [READY, HELD, USED])
def test_a_node_can_be_deleted(send, pool, node):
    assert send("DELETE", f"{NODES}/{node}").status_int == 204
    assert pool.get(f"nodes/{node}")["state"] == "deleting"


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("POST", f"{NODES}/{ALLOCATED}/hold", {}),
        ("POST", f"{NODES}/{IN_USE}/hold", {}),
        ("DELETE", f"{NODES}/{IN_USE}", None),
        ("POST", f"{NODES}/{READY}/release", None),
        ("POST", f"{NODES}/{USED}/release", None),
        ("DELETE", f"/v1/nodepool/builds/{BUILDING}", None),
        ("DELETE", f"/v1/nodepool/uploads/{UPLOADING}", None),
    ],
)
def test_what_is_in_the_wrong_state_or_locked_is_409_and_stays(send, refusal, tree, method, url, body):
    before = dict(tree._znodes)

    refusal_ = refusal(send(method, url, body), 409)

    assert refusal_["error"] == "Conflict"
    changed = {path for path in tree._znodes.keys() | before.keys() if tree._znodes.get(path) != before.get(path)}
    assert all(path.endswith("/lock") for path in changed)


def test_what_was_done_cannot_be_done_twice(send, refusal):
    for url in (f"{NODES}/{USED}", f"/v1/nodepool/builds/{BUILD}", f"/v1/nodepool/uploads/{UPLOAD}"):
        assert send("DELETE", url).status_int == 204
        refusal(send("DELETE", url), 409)


@pytest.mark.parametrize(
    ("method", "url"),
    [
        ("POST", f"{NODES}/0000000099/hold"),
        ("POST", f"{NODES}/0000000099/release"),
        ("DELETE", f"{NODES}/0000000099"),
        ("DELETE", f"{NODES}/.."),
        ("DELETE", f"{NODES}/{READY}%2Flock"),
        ("DELETE", f"{NODES}/a%01"),
        ("POST", f"{IMAGES}/nope/builds"),
        ("PUT", f"{IMAGES}/nope/pause"),
        ("DELETE", f"{IMAGES}/nope/pause"),
        ("DELETE", "/v1/nodepool/builds/debian-0000000099"),
        ("DELETE", "/v1/nodepool/uploads/nope"),
    ],
)
def test_what_is_not_there_is_404_and_nothing_is_made(send, refusal, tree, method, url):
    before = dict(tree._znodes)

    refusal(send(method, url, {} if url.endswith("/hold") else None), 404)

    assert tree._znodes == before


def test_a_node_that_is_no_json_is_409(send, refusal, tree):
    tree.put(f"/nodepool/nodes/{READY}", b"{")

    refusal(send("DELETE", f"{NODES}/{READY}"), 409)


@pytest.mark.parametrize(
    "body",
    [
        {"comment": 5},
        {"comment": "x" * 1025},
        {"comment": "a\x1bb"},
        {"expiration": -1},
        {"expiration": "600"},
        {"expiration": 10**9},
        {"reason": "x"},
        [],
    ],
)
def test_a_bad_body_is_400(send, refusal, body):
    refusal(send("POST", f"{NODES}/{READY}/hold", body), 400)


# -- as zuul-client 14 asks


def test_zuul_client_14_holds_and_releases(send, pool):
    held = send("PUT", f"/api/tenant/example/nodes/{READY}", {"state": "hold", "comment": "why"})

    assert (held.status_int, held.json) == (201, None)
    assert (pool.get(f"nodes/{READY}")["state"], pool.get(f"nodes/{READY}")["comment"]) == ("hold", "why")
    assert send("PUT", f"/api/tenant/example/nodes/{READY}", {"state": "used"}).status_int == 201
    assert pool.get(f"nodes/{READY}")["state"] == "used"


@pytest.mark.parametrize("body", [{"state": "ready"}, {}, {"state": None}])
def test_zuul_client_14_has_two_states(send, refusal, body):
    refusal(send("PUT", f"/api/tenant/example/nodes/{READY}", body), 400)


# -- images


def test_a_build_can_be_asked_for(send, pool):
    assert send("POST", f"{IMAGES}/debian/builds").status_int == 204
    assert pool.has("images/debian/request-build")
    assert send("POST", f"{IMAGES}/debian/builds").status_int == 204, "that was asked for already"


def test_an_image_can_be_paused_and_then_no_build_be_asked_for(send, pool, refusal):
    for _ in range(2):
        assert send("PUT", f"{IMAGES}/debian/pause").status_int == 204
    assert pool.has("images/debian/pause")

    refusal(send("POST", f"{IMAGES}/debian/builds"), 409)

    for _ in range(2):
        assert send("DELETE", f"{IMAGES}/debian/pause").status_int == 204
    assert not pool.has("images/debian/pause")


def test_a_build_and_an_upload_can_be_deleted(send, pool):
    assert send("DELETE", f"/v1/nodepool/builds/{BUILD}").status_int == 204
    assert send("DELETE", f"/v1/nodepool/uploads/{UPLOAD}").status_int == 204

    build = pool.get(f"{BUILDS_OF_DEBIAN}/0000000007")
    assert (build["state"], build["formats"]) == ("deleting", "raw,qcow2")
    assert pool.get(f"{BUILDS_OF_DEBIAN}/0000000007/providers/cloud-one/images/0000000001")["state"] == "deleting"


# -- who may


def test_without_a_token_it_is_401_and_without_rights_403(send, refusal):
    refusal(send("DELETE", f"{NODES}/{READY}", headers={}), 401)
    refusal(send("DELETE", f"{NODES}/{READY}", admin_of=()), 403)


def test_who_administers_another_tenant_may_not_touch_what_is_held_for_this_one(send, refusal, pool):
    for method, url, body in (
        ("POST", f"{NODES}/{HELD}/hold", {}),
        ("POST", f"{NODES}/{HELD}/release", None),
        ("DELETE", f"{NODES}/{HELD}", None),
        ("PUT", f"/api/tenant/widgets/nodes/{HELD}", {"state": "used"}),
    ):
        refusal(send(method, url, body, admin_of=("widgets",)), 403)
    assert pool.get(f"nodes/{HELD}")["state"] == "hold"
    assert send("DELETE", f"{NODES}/{READY}", admin_of=("widgets",)).status_int == 204


@pytest.mark.parametrize(("rule", "status"), [("sub=ada", 204), ("sub=ada in example", 403)])
def test_a_rule_without_a_tenant_lets_others_touch_nodes(sender, tree, rule, status):
    send = sender(tree, f"may_nodes={rule}\n")

    assert send("DELETE", f"{NODES}/{READY}", admin_of=()).status_int == status


def test_it_is_in_the_audit_of_administrators(send):
    send("POST", f"{NODES}/{READY}/hold", {"comment": "why"})
    send("DELETE", f"{NODES}/{IN_USE}")

    refused, done = send("GET", "/v1/audit").json

    assert (done["action"], done["outcome"], done["asked"], done["tenant"]) == (
        "node-hold", "done", {"comment": "why"}, None,
    )  # fmt: skip
    assert (refused["action"], refused["outcome"], refused["status"]) == ("node-delete", "refused", 409)


# -- what goes wrong on the way


class BreakingTree(MemoryTree):
    """Fails at its writes, once it is told how."""

    error: Exception | None = None

    def write(self, path, data, version, lock, deadline=0):
        if self.error is not None:
            raise self.error
        super().write(path, data, version, lock, deadline)


@pytest.mark.parametrize(
    ("error", "status", "outcome"),
    [
        (Broke("the connection broke", sent=True), 504, "unknown"),
        (Broke("ZooKeeper is not connected", sent=False), 503, "failed"),
        (Changed("/nodepool/nodes/0"), 409, "refused"),
    ],
)
def test_what_is_told_is_true(sender, refusal, error, status, outcome):
    tree = BreakingTree()
    Pool(tree).node(READY, "ready")
    send = sender(tree)
    tree.error = error

    body = refusal(send("DELETE", f"{NODES}/{READY}"), status)

    assert body.get("outcome") == ("unknown" if outcome == "unknown" else None)
    assert send("GET", "/v1/audit").json[0]["outcome"] == outcome
    assert not tree.children(f"/nodepool/nodes/{READY}/lock")
