# SPDX-License-Identifier: Apache-2.0
"""What the facade makes of a tree of znodes, odd ones included. The tree is one in memory."""

from __future__ import annotations

import json
import time

import pytest

from zuul.web.backends.nodepool import Nodepool
from zuul.web.backends.nodepool.interface import Connection
from zuul.web.backends.nodepool.memory import MemoryTree
from zuul.web.errors import NotFound, Unavailable

NODE = {"state": "ready", "state_time": 1.5, "type": ["small"], "provider": "one", "pool": "main"}
LAUNCHER = {"id": "host-1-PoolWorker.one-main", "provider_name": "one", "supported_labels": ["small", "large"]}


@pytest.fixture
def tree():
    return MemoryTree()


@pytest.fixture
def nodepool(tree):
    return Nodepool(tree, stale_seconds=300, timeout_seconds=1)


@pytest.fixture
def put(tree):
    """Writes a znode below /nodepool: `put("nodes/1", {...})`; bytes are written as they are."""

    def put(path, data=b""):
        tree.put(f"/nodepool/{path}", data if isinstance(data, bytes) else json.dumps(data).encode())

    return put


def only(document):
    [row] = document.data
    return row


# -- odd data


@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"7", b'"ready"', b"{", b"\xff\xfe", b"\x00", b"[" * 100_000, b'{"state": ' + b"9" * 5000],
)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("nodes/1", "nodes"),
        ("requests/1", "requests"),
        ("launchers/1", "launchers"),
        ("images/i/builds/1", "builds"),
        ("images/i/builds/1/providers/p/images/1", "uploads"),
    ],
)
def test_what_is_no_object_is_left_out(nodepool, put, path, kind, data):
    put(path, data)

    assert getattr(nodepool, kind)().data == []


def test_what_is_left_out_is_counted_but_for_empty_znodes(nodepool, put):
    put("nodes/1", b"")
    put("nodes/2", b"{")
    put("nodes/3", b"[]")

    assert nodepool.state().unreadable == 2

    put("nodes/2", NODE)

    assert nodepool.state().unreadable == 1
    assert only(nodepool.nodes())["id"] == "2"


@pytest.mark.parametrize(
    ("key", "value", "shown"),
    [
        ("type", "small", ["small"]),
        ("type", None, []),
        ("type", ["a", 3, None, {}], ["a", "3"]),
        ("state", "no-such-state", "no-such-state"),
        ("state", None, None),
        ("state", ["ready"], None),
        ("state_time", "12.5", 12.5),
        ("state_time", "yesterday", None),
        ("state_time", True, None),
        ("state_time", 10**400, None),
        ("comment", 12, "12"),
        ("comment", {"a": 1}, None),
        ("connection_port", 22222, 22222),
        ("connection_port", "5986", 5986),
        ("connection_port", {"token": "secret"}, None),
        ("connection_port", '{"token": "secret"}', None),
        ("host_keys", "ssh-rsa A", ["ssh-rsa A"]),
        ("hold_expiration", "3600", 3600),
        ("hold_expiration", "soon", None),
        ("resources", [1], None),
        ("resources", {"cores": 2}, {"cores": 2}),
    ],
)
def test_values_have_the_declared_types(nodepool, put, key, value, shown):
    put("nodes/1", {**NODE, key: value})

    assert only(nodepool.nodes())[key] == shown


def test_what_is_no_number_in_json_is_null(nodepool, put):
    put("nodes/1", b'{"state_time": NaN, "resources": {"cores": Infinity}}')

    row = only(nodepool.nodes())

    assert row["state_time"] is None
    assert row["resources"] == {"cores": None}


@pytest.mark.parametrize("kind", ["nodes", "requests", "launchers", "builds", "uploads"])
def test_an_object_without_keys_is_a_row_with_all_of_them(nodepool, put, kind):
    paths = {"builds": "images/i/builds/1", "uploads": "images/i/builds/1/providers/p/images/1"}
    put(paths.get(kind, f"{kind}/1"), NODE)
    full = only(getattr(nodepool, kind)())
    put(paths.get(kind, f"{kind}/1"), {})

    assert only(getattr(nodepool, kind)()).keys() == full.keys()


def test_user_data_and_unknown_keys_are_not_shown(nodepool, put):
    put("nodes/1", {**NODE, "user_data": "secret", "driver_data": {"password": "secret"}})

    assert "secret" not in json.dumps(nodepool.nodes().data)


# -- launchers and builders


def test_a_launcher_is_taken_apart(nodepool, put):
    put("launchers/nl01.example.com-42-PoolWorker.one-main", LAUNCHER)

    assert only(nodepool.launchers()) == {
        "id": "nl01.example.com-42-PoolWorker.one-main",
        "hostname": "nl01.example.com",
        "pid": 42,
        "provider_name": "one",
        "pool": "main",
        "supported_labels": ["large", "small"],
    }


@pytest.mark.parametrize("name", ["launcher", "a-b-PoolWorker.one-main", "h-1-PoolWorker.other"])
def test_a_launcher_of_another_name_is_one_too(nodepool, put, name):
    put(f"launchers/{name}", {})

    row = only(nodepool.launchers())

    assert (row["id"], row["provider_name"], row["pool"]) == (name, "unknown", None)


def test_builders_are_those_of_builds(nodepool, put):
    put("images/i/builds/1", {"state": "ready", "state_time": 5, "builder": "nb01", "builder_id": "x"})
    put("images/i/builds/2", {"state": "building", "state_time": 9, "builder": "nb01", "builder_id": "x"})
    put("images/i/builds/3", {"state": "ready"})

    assert only(nodepool.builders()) == {
        "hostname": "nb01",
        "builder_id": "x",
        "builds": 2,
        "building": ["i-2"],
        "last_state_time": 9,
    }


# -- what belongs together


def test_labels_count_their_nodes_and_those_who_wait(nodepool, put):
    put("launchers/a", LAUNCHER)
    put("nodes/1", NODE)
    put("nodes/2", {**NODE, "state": "in-use"})
    put("nodes/3", {**NODE, "type": "other"})
    put("requests/100-1", {"state": "requested", "node_types": ["small", "small"]})
    put("requests/100-2", {"state": "fulfilled", "node_types": ["small"]})

    large, small = nodepool.labels().data

    assert (large["name"], large["nodes"], large["waiting"]) == ("large", 0, 0)
    assert (small["nodes"], small["ready"], small["in_use"], small["waiting"]) == (2, 1, 1, 2)
    assert small["providers"] == ["one"]


def test_a_provider_is_known_from_nodes_or_uploads_alone(nodepool, put):
    put("nodes/1", {**NODE, "provider": "of-nodes"})
    put("images/i/builds/1/providers/of-uploads/images/1", {"state": "ready"})

    names = {row["name"]: (row["nodes"], row["images"]) for row in nodepool.providers().data}

    assert names == {"of-nodes": (1, []), "of-uploads": (0, ["i"])}


def test_images_have_their_flags(nodepool, put, tree):
    put("images/i")

    assert only(nodepool.images())["paused"] is False

    put("images/i/pause")
    put("images/i/request-build")

    assert (only(nodepool.images())["paused"], only(nodepool.images())["build_requested"]) == (True, True)

    tree.delete("/nodepool/images/i/pause")

    assert only(nodepool.images())["paused"] is False


def test_the_newest_ready_build_of_an_image(nodepool, put):
    put("images/i/builds/1", {"state": "ready", "state_time": 5})
    put("images/i/builds/2", {"state": "ready", "state_time": 7})
    put("images/i/builds/3", {"state": "failed", "state_time": 9})

    row = only(nodepool.images())

    assert (row["newest_ready"], row["builds"]) == ("i-2", 3)


@pytest.mark.parametrize(
    ("kind", "path", "lock"),
    [
        ("nodes", "nodes/1", "nodes/1/lock"),
        ("requests", "requests/1", "requests-lock/1"),
        ("builds", "images/i/builds/1", "images/i/builds/1/lock"),
        ("uploads", "images/i/builds/1/providers/p/images/1", "images/i/builds/1/providers/p/images/1/lock"),
    ],
)
def test_locks_are_seen_in_their_children(nodepool, put, tree, kind, path, lock):
    put(path, NODE)

    def locked():
        return only(getattr(nodepool, kind)())["locked"]

    put(lock)
    assert locked() is False

    put(f"{lock}/0123__lock__0000000001")
    assert locked() is True

    put(path, {**NODE, "state": "other"})
    assert locked() is True

    tree.remove(f"/nodepool/{lock}")
    assert locked() is False


def test_lock_directories_of_images_are_no_builds(nodepool, put):
    put("images/i/builds/lock/x__lock__0000000001", b"{}")
    put("images/i/builds/1/providers/p/images/lock", b"{}")

    assert nodepool.uploads().data == []
    assert nodepool.builds().data == []


def test_a_node_says_whom_it_serves_even_if_the_request_is_gone(nodepool, put, tree):
    put("requests/100-7", {"requestor": "scheduler-1", "event_id": "abc"})
    put("nodes/1", {**NODE, "allocated_to": "100-7"})
    tree.remove("/nodepool/requests/100-7")

    row = only(nodepool.nodes())

    assert (row["requestor"], row["event_id"]) == ("scheduler-1", "abc")


def test_a_held_node_says_what_for(nodepool, put, tree):
    put("nodes/1", {**NODE, "state": "hold", "hold_job": "tenant example.com/project job .*"})
    tree.put("/zuul/hold-requests/0", json.dumps({"nodes": [{"build": "0123", "nodes": ["1"]}]}).encode())

    row = only(nodepool.nodes())

    assert row["held_build"] == "0123"
    assert row["held_for"] == {"tenant": "tenant", "project": "example.com/project", "job": "job", "ref_filter": ".*"}


@pytest.mark.parametrize("nodes", [None, 3, [3], [{"build": 3}], [{"build": "x", "nodes": 7}], {"a": 1}])
def test_odd_hold_requests_do_no_harm(nodepool, put, tree, nodes):
    put("nodes/1", {**NODE, "state": "hold", "hold_job": "by hand"})
    tree.put("/zuul/hold-requests/0", json.dumps({"nodes": nodes}).encode())

    assert only(nodepool.nodes())["held_for"] is None


# -- versions


def test_rows_and_version_are_the_same_until_something_changes(nodepool, put):
    put("nodes/1", NODE)
    before = nodepool.nodes()
    put("images/i/builds/1", {"state": "ready"})

    assert nodepool.nodes().version == before.version
    assert nodepool.nodes().data is before.data

    rows = list(before.data)
    put("nodes/2", NODE)

    assert nodepool.nodes().version != before.version
    assert before.data == rows, "what a reader has does not change"


def test_one_that_is_not_there_is_not_found(nodepool, put):
    with pytest.raises(NotFound, match="Node 1 does not exist"):
        nodepool.one(nodepool.nodes(), "id", "1", "Node")


# -- without ZooKeeper


def test_without_zookeeper_it_is_unavailable():
    nodepool = Nodepool(None, stale_seconds=300, timeout_seconds=1)

    assert nodepool.state().connection == "none"
    with pytest.raises(Unavailable, match=r"\[zookeeper\]"):
        nodepool.nodes()


class AwayTree(MemoryTree):
    """One whose connection was lost some time ago."""

    def __init__(self, age_seconds):
        super().__init__()
        self.age_seconds = age_seconds

    def connection(self):
        as_of = None if self.age_seconds is None else time.monotonic() - self.age_seconds
        return Connection("lost", 0.0, as_of)


@pytest.mark.parametrize("age_seconds", [None, 301])
def test_what_is_too_old_is_unavailable(age_seconds):
    with pytest.raises(Unavailable):
        Nodepool(AwayTree(age_seconds), stale_seconds=300, timeout_seconds=1).nodes()


def test_what_is_not_too_old_says_its_age():
    nodepool = Nodepool(AwayTree(100), stale_seconds=300, timeout_seconds=1)

    as_of = nodepool.nodes().as_of

    assert 100 <= time.monotonic() - as_of < 110
    assert 100 <= nodepool.state().age_seconds < 110
