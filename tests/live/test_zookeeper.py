# SPDX-License-Identifier: Apache-2.0
"""Nodepool's tree in a real ZooKeeper: watched, written under its locks, and while it goes away and comes back."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from shutil import which

import pytest
from kazoo.client import KazooClient
from services import free_port, listening, missing, wait_until
from zookeeper_server import ZooKeeperServer

from zuul.web.backends.nodepool import Nodepool
from zuul.web.backends.nodepool.actions import Actions
from zuul.web.backends.nodepool.zookeeper import ZooKeeperTree
from zuul.web.errors import Conflict, NotFound, OutcomeUnknown, Unavailable
from zuul.web.settings import ZooKeeper

pytestmark = pytest.mark.timeout(120)

NODE = {"state": "ready", "state_time": 1.0, "type": ["small"], "provider": "one"}
SESSION_SECONDS = 2.0


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = ZooKeeperServer(tmp_path_factory.mktemp("zookeeper"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def zookeeper(running):
    """A ZooKeeper that answers and is empty."""
    running.resume()
    if not running.answers():
        running.stop()
        running.start()
    with Client(running) as client:
        for root in ("/nodepool", "/zuul", "/chroot"):
            client.delete(root, recursive=True)
    return running


class Client:
    """A client of the tests' own."""

    def __init__(self, server, **more) -> None:
        self._client = KazooClient(server.hosts, **more)

    def __enter__(self):
        self._client.start(20)
        return self._client

    def __exit__(self, *_):
        self._client.stop()
        self._client.close()


@pytest.fixture
def client(zookeeper):
    with Client(zookeeper) as client:
        yield client


@pytest.fixture
def put(client):
    def put(path, data=None):
        raw = data if isinstance(data, bytes) else b"" if data is None else json.dumps(data).encode()
        if client.exists(f"/nodepool/{path}"):
            client.set(f"/nodepool/{path}", raw)
        else:
            client.create(f"/nodepool/{path}", raw, makepath=True)

    return put


@pytest.fixture
def follow(zookeeper):
    """Makes facades over trees of it."""
    made = []

    def follow(chroot="", stale_seconds=300.0, timeout_seconds=10.0, server=zookeeper):
        tree = ZooKeeperTree(ZooKeeper(server.hosts, chroot, SESSION_SECONDS))
        made.append(Nodepool(tree, stale_seconds=stale_seconds, timeout_seconds=timeout_seconds))
        return made[-1]

    yield follow
    zookeeper.resume()
    for nodepool in made:
        nodepool.close()


@pytest.fixture
def nodepool(follow):
    return follow()


@pytest.fixture
def actions(nodepool):
    return Actions(nodepool, timeout_seconds=10)


def ids(nodepool, kind="nodes", key="id"):
    return [row[key] for row in getattr(nodepool, kind)().data]


def soon(condition, what="the change"):
    wait_until(condition, 1.0, what)


def threads():
    return {thread.ident for thread in threading.enumerate()}


# -- following


def test_nothing_starts_before_the_first_use(zookeeper, follow):
    before = threads()
    nodepool = follow()

    assert nodepool.state().connection == "never"
    assert threads() == before

    assert ids(nodepool) == []
    assert nodepool.state().connection == "connected"


def test_all_kinds_are_seen_and_their_changes_within_a_second(nodepool, put, client):
    assert ids(nodepool) == []  # there is not even a root
    put("launchers/l", {"provider_name": "one", "supported_labels": ["small"]})
    soon(lambda: ids(nodepool, "labels", "name") == ["small"])
    put("nodes/1", NODE)
    soon(lambda: ids(nodepool) == ["1"])
    put("requests/100-1", {"state": "requested"})
    soon(lambda: ids(nodepool, "requests") == ["100-1"])
    put("images/i/builds/1/providers/p/images/1", {"state": "uploading"})
    soon(lambda: ids(nodepool, "uploads") == ["i-1-p-1"])
    put("images/i/builds/1", {"state": "ready"})
    soon(lambda: ids(nodepool, "builds") == ["i-1"])
    put("images/i/pause")
    soon(lambda: nodepool.images().data[0]["paused"])

    put("nodes/1", {**NODE, "state": "hold"})
    soon(lambda: nodepool.nodes().data[0]["state"] == "hold")
    client.delete("/nodepool/images/i", recursive=True)
    soon(lambda: not ids(nodepool, "images", "name") and not ids(nodepool, "builds") and not ids(nodepool, "uploads"))
    for path in ("nodes/1", "requests/100-1", "launchers/l"):
        client.delete(f"/nodepool/{path}", recursive=True)
    soon(lambda: not ids(nodepool) and not ids(nodepool, "requests") and not ids(nodepool, "labels", "name"))


@pytest.mark.parametrize(
    ("path", "lock", "kind"),
    [
        ("nodes/1", "nodes/1/lock", "nodes"),
        ("requests/1", "requests-lock/1", "requests"),
        ("images/i/builds/1", "images/i/builds/1/lock", "builds"),
        ("images/i/builds/1/providers/p/images/1", "images/i/builds/1/providers/p/images/1/lock", "uploads"),
    ],
)
def test_locks_are_seen_come_and_go_again_and_again(nodepool, put, client, path, lock, kind):
    put(path, NODE)

    def is_locked():
        return [row["locked"] for row in getattr(nodepool, kind)().data]

    soon(lambda: is_locked() == [False])
    for _ in range(3):
        held = client.Lock(f"/nodepool/{lock}")
        held.acquire(timeout=5)
        soon(lambda: is_locked() == [True])
        held.release()
        soon(lambda: is_locked() == [False])
    client.delete(f"/nodepool/{lock}", recursive=True)
    held = client.Lock(f"/nodepool/{lock}")
    held.acquire(timeout=5)
    soon(lambda: is_locked() == [True])
    held.release()


def test_what_is_seen_is_what_is_there_however_fast_it_changes(nodepool, client):
    client.ensure_path("/nodepool/nodes")
    ids(nodepool)
    for number in range(2000):
        path = f"/nodepool/nodes/{number % 50:02}"
        if number % 7 == 3:
            client.delete_async(path)
        elif number % 7 == 5:
            client.create_async(f"{path}/lock").wait()
            client.create_async(f"{path}/lock/x__lock__0000000001")
        elif number % 7 == 6:
            client.delete_async(f"{path}/lock/x__lock__0000000001")
        else:
            client.create_async(path, b"{}")
            client.set_async(path, json.dumps({**NODE, "comment": str(number)}).encode()).wait()

    def there():
        names = sorted(client.get_children("/nodepool/nodes"))
        locked = []
        for name in names:
            lock = f"/nodepool/nodes/{name}/lock"
            locked.append(bool(client.exists(lock) and client.get_children(lock)))
        comments = [json.loads(client.get(f"/nodepool/nodes/{name}")[0]).get("comment") for name in names]
        return list(zip(names, comments, locked, strict=True))

    expected = there()
    assert len(expected) > 10
    soon(lambda: [(row["id"], row["comment"], row["locked"]) for row in nodepool.nodes().data] == expected)


def test_no_watch_is_left_behind_at_nodes_that_are_gone(nodepool, put, client, zookeeper):
    put("nodes/0", NODE)
    ids(nodepool)
    before = zookeeper.counters()["zk_watch_count"]
    for number in range(1, 100):
        put(f"nodes/{number}", NODE)
        put(f"nodes/{number}/lock")
    soon(lambda: len(ids(nodepool)) == 100)
    for number in range(1, 100):
        client.delete(f"/nodepool/nodes/{number}", recursive=True)
    soon(lambda: len(ids(nodepool)) == 1)

    wait_until(lambda: zookeeper.counters()["zk_watch_count"] == before, 5, "watches as many as before")


def test_reads_cost_zookeeper_nothing(nodepool, put, zookeeper):
    put("nodes/1", NODE)
    soon(lambda: ids(nodepool) == ["1"])
    reads = nodepool.state().reads
    before = zookeeper.counters()
    for _ in range(1000):
        nodepool.nodes().data, nodepool.labels().data, nodepool.images().data
    after = zookeeper.counters()

    assert nodepool.state().reads == reads
    assert after["zk_packets_received"] - before["zk_packets_received"] <= 6  # pings, and our own question


def test_below_a_chroot(follow, client):
    client.create("/chroot/nodepool/nodes/7", json.dumps(NODE).encode(), makepath=True)
    nodepool = follow("/chroot")

    assert ids(nodepool) == ["7"]
    Actions(nodepool, timeout_seconds=5).delete_node("7")
    assert json.loads(client.get("/chroot/nodepool/nodes/7")[0])["state"] == "deleting"
    soon(lambda: nodepool.nodes().data[0]["state"] == "deleting")


@pytest.fixture
def behind_tls(zookeeper, tls, tmp_path):
    """A port that speaks TLS, wants a certificate of who comes, and has this ZooKeeper behind it."""
    if which("haproxy") is None:
        missing("haproxy")
    port = free_port()
    both = tmp_path / "both.pem"
    both.write_text(Path(tls.cert).read_text() + Path(tls.key).read_text())
    config = tmp_path / "haproxy.cfg"
    config.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen zookeeper\n bind 127.0.0.1:{port} ssl crt {both} ca-file {tls.ca} verify required\n"
        f" server zookeeper {zookeeper.hosts}\n"
    )
    process = subprocess.Popen(["haproxy", "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    wait_until(lambda: listening(port), what="haproxy's port")
    yield f"127.0.0.1:{port}"
    process.kill()
    process.wait(10)


def test_with_tls(behind_tls, tls, put):
    put("nodes/1", NODE)
    tree = ZooKeeperTree(ZooKeeper(behind_tls, "", SESSION_SECONDS, tls.cert, tls.key, tls.ca))
    nodepool = Nodepool(tree, stale_seconds=60, timeout_seconds=10)
    try:
        assert ids(nodepool) == ["1"]
        put("nodes/2", NODE)
        soon(lambda: ids(nodepool) == ["1", "2"])
    finally:
        nodepool.close()


def test_a_child_of_a_fork_follows_it_too(nodepool, put):
    put("nodes/1", NODE)
    soon(lambda: ids(nodepool) == ["1"])
    child = os.fork()
    if child == 0:
        try:
            found = ids(nodepool) == ["1"] and nodepool.state().loads == 1
            os._exit(0 if found else 1)
        finally:
            os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    put("nodes/2", NODE)
    soon(lambda: ids(nodepool) == ["1", "2"])


# -- away


def test_away_at_the_start_it_is_503_and_then_at_once(zookeeper, follow):
    zookeeper.stop()
    nodepool = follow()
    with pytest.raises(Unavailable):
        nodepool.nodes()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        nodepool.nodes()
    assert time.monotonic() - began < 0.5
    assert nodepool.state().connection == "never"

    zookeeper.start()
    wait_until(lambda: nodepool.state().age_seconds is not None, 20, "a first look")
    assert ids(nodepool) == []


def test_stopped_and_back_it_tells_the_age_and_then_what_changed_meanwhile(zookeeper, follow, put):
    put("nodes/1", NODE)
    nodepool = follow(stale_seconds=3.0)
    assert ids(nodepool) == ["1"]
    zookeeper.stop()
    wait_until(lambda: nodepool.state().connection != "connected", 10)

    assert ids(nodepool) == ["1"]
    assert nodepool.state().age_seconds < 3

    wait_until(lambda: nodepool.state().connection == "lost", 10, "the end of the session")
    wait_until(lambda: nodepool.state().age_seconds > 3, 10)
    with pytest.raises(Unavailable):
        nodepool.nodes()

    zookeeper.start()
    with Client(zookeeper) as client:
        client.create("/nodepool/nodes/2", json.dumps(NODE).encode())
    wait_until(lambda: nodepool.state().age_seconds == pytest.approx(0, abs=0.1), 20, "a new look")
    assert ids(nodepool) == ["1", "2"]
    with Client(zookeeper) as client:
        client.create("/nodepool/nodes/3", json.dumps(NODE).encode())
        soon(lambda: ids(nodepool) == ["1", "2", "3"])
    assert nodepool.state().losses >= 1


def test_a_zookeeper_that_hangs_is_found_out(zookeeper, nodepool, put):
    put("nodes/1", NODE)
    soon(lambda: ids(nodepool) == ["1"])
    zookeeper.pause()
    wait_until(lambda: nodepool.state().connection != "connected", 10, "the silence to be heard")
    assert ids(nodepool) == ["1"]
    zookeeper.resume()
    wait_until(lambda: nodepool.state().connection == "connected", 20)
    wait_until(lambda: nodepool.state().age_seconds == pytest.approx(0, abs=0.1), 20, "a new look")


# -- actions


def test_a_lock_is_kazoos(nodepool, actions, put, client):
    put("nodes/1", NODE)
    theirs = client.Lock("/nodepool/nodes/1/lock")
    theirs.acquire(timeout=5)

    with pytest.raises(Conflict, match="locked"):
        actions.delete_node("1")
    assert json.loads(client.get("/nodepool/nodes/1")[0])["state"] == "ready"

    letting_go = threading.Timer(0.5, theirs.release)
    letting_go.start()
    actions.delete_node("1")
    letting_go.join()

    assert json.loads(client.get("/nodepool/nodes/1")[0])["state"] == "deleting"
    soon(lambda: client.get_children("/nodepool/nodes/1/lock") == [], "letting go of the lock")


def test_they_wait_for_our_lock(nodepool, put, client):
    put("nodes/1", NODE)
    with nodepool.tree.locked("/nodepool/nodes/1/lock", time.monotonic() + 5):
        theirs = client.Lock("/nodepool/nodes/1/lock")
        assert theirs.acquire(blocking=False) is False
    soon(lambda: theirs.acquire(blocking=False), "their turn")
    theirs.release()


def test_nothing_is_written_once_the_lock_is_gone(nodepool, actions, put, client):
    put("nodes/1", NODE)
    soon(lambda: ids(nodepool) == ["1"])
    tree = nodepool.tree

    class LosingTheLock:
        counters = tree.counters

        def __getattr__(self, name):
            if name == "write":  # as when our session ends, and Zuul is next
                for child in client.get_children("/nodepool/nodes/1/lock"):
                    client.delete(f"/nodepool/nodes/1/lock/{child}")
            return getattr(tree, name)

    nodepool.tree = LosingTheLock()
    with pytest.raises(Conflict, match="has changed"):
        actions.delete_node("1")
    nodepool.tree = tree
    assert json.loads(client.get("/nodepool/nodes/1")[0])["state"] == "ready"


def test_only_one_of_many_at_once_has_its_way(actions, put, client):
    put("nodes/1", NODE)
    outcomes = []

    def delete():
        try:
            actions.delete_node("1")
            outcomes.append("done")
        except Conflict:
            outcomes.append("conflict")

    many = [threading.Thread(target=delete) for _ in range(8)]
    for thread in many:
        thread.start()
    for thread in many:
        thread.join()

    assert sorted(outcomes) == ["conflict"] * 7 + ["done"]
    soon(lambda: client.get_children("/nodepool/nodes/1/lock") == [])


def test_images_are_paused_and_built(actions, put, client):
    put("images/i/builds/1", {"state": "ready"})
    actions.request_build("i")
    actions.pause("i")

    assert sorted(client.get_children("/nodepool/images/i")) == ["builds", "pause", "request-build"]
    with pytest.raises(Conflict):
        actions.request_build("i")
    with pytest.raises(NotFound):
        actions.pause("nope")
    assert client.exists("/nodepool/images/nope") is None


def test_what_is_not_there_is_not_made(actions, client):
    client.ensure_path("/nodepool/nodes")
    with pytest.raises(NotFound):
        actions.delete_node("1")

    assert client.get_children("/nodepool/nodes") == []


def test_while_zookeeper_is_away_nothing_is_done(zookeeper, actions, nodepool, put):
    put("nodes/1", NODE)
    soon(lambda: ids(nodepool) == ["1"])
    zookeeper.stop()
    wait_until(lambda: nodepool.state().connection != "connected", 10)

    with pytest.raises(Unavailable, match="nothing was done"):
        actions.delete_node("1")


def test_a_write_without_an_answer_has_an_unknown_outcome(zookeeper, nodepool, put):
    put("nodes/1", NODE)
    soon(lambda: ids(nodepool) == ["1"])
    actions = Actions(nodepool, timeout_seconds=1.0)
    tree = nodepool.tree

    class HangingAtTheWrite:
        counters = tree.counters

        def __getattr__(self, name):
            if name == "write":
                zookeeper.pause()
            return getattr(tree, name)

    nodepool.tree = HangingAtTheWrite()
    try:
        with pytest.raises(OutcomeUnknown):
            actions.delete_node("1")
    finally:
        nodepool.tree = tree
        zookeeper.resume()
    with Client(zookeeper) as client:
        wait_until(lambda: client.get_children("/nodepool/nodes/1/lock") == [], 15, "letting go of the lock")
