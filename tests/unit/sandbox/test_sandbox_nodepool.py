# SPDX-License-Identifier: Apache-2.0
"""The sandbox's Nodepool: its nodes follow the builds, its images what is asked for, as seen through the facade."""

from __future__ import annotations

import json

import pytest

from zuul.web.backends.nodepool import Nodepool
from zuul.web.backends.nodepool.actions import Actions
from zuul.web.backends.nodepool.memory import MemoryTree
from zuul.web.sandbox.nodepool import Need, SandboxNodepool, Use
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

BUILD = "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11"
NOW = 1_600_000_000.0


class World:
    """A Nodepool that a test tells what is needed."""

    def __init__(self) -> None:
        self.now = NOW
        self.uses: list[Use] = []
        self.holds: list[dict] = []
        self.tree = MemoryTree()
        self.nodepool = Nodepool(self.tree, stale_seconds=60, timeout_seconds=1, clock=lambda: self.now)
        self.actions = Actions(self.nodepool, timeout_seconds=1)
        self._sandbox = SandboxNodepool(self._need, self.tree)
        self.step()

    def _need(self):
        return Need(self.now, ("debian", "ubuntu"), tuple(self.uses), tuple(self.holds))

    def step(self, seconds=1.0):
        self.now += seconds
        self._sandbox.step()

    def nodes(self, **wanted):
        rows = self.nodepool.nodes().data
        return [row for row in rows if all(row[key] == value for key, value in wanted.items())]

    def image(self):
        return self.nodepool.images().data[0]


@pytest.fixture
def world():
    return World()


def hold(node):
    return {
        "id": "0000000001", "tenant": "t", "project": "p", "job": "j", "ref_filter": ".*", "reason": "look",
        "node_expiration": 0, "nodes": [{"build": BUILD, "nodes": [node]}],
    }  # fmt: skip


def test_a_build_waits_for_its_nodes_has_them_and_gives_them_back(world):
    world.uses = [Use(BUILD, ("debian",), ("0000000007",), NOW, True)]
    world.step()
    (request,) = world.nodepool.requests().data
    assert (request["state"], request["node_types"]) == ("pending", ["debian"])
    assert not world.nodes(id="0000000007")

    world.uses = [Use(BUILD, ("debian",), ("0000000007",), NOW, False)]
    world.step()
    world.step()
    (node,) = world.nodes(id="0000000007")
    assert (node["state"], node["locked"], node["type"]) == ("in-use", True, ["debian"])
    assert (node["allocated_to"], node["requestor"]) == (request["id"], "zuul-scheduler")
    assert world.nodepool.requests().data == []

    world.uses = []
    world.step()
    assert not world.nodes(id="0000000007")


def test_there_is_a_ready_node_of_each_label_also_when_one_is_held(world):
    assert sorted(node["type"][0] for node in world.nodes(state="ready")) == ["debian", "ubuntu"]

    (node,) = world.nodes(type=["debian"])
    world.actions.hold(node["id"], "mine", 60)
    world.step()

    assert [one["comment"] for one in world.nodes(state="hold")] == ["mine"]
    assert len(world.nodes(state="ready")) == 2

    world.step(61)
    assert not world.nodes(state="hold"), "it has expired"


@pytest.mark.parametrize("action", ["release", "delete_node"])
def test_nodes_of_an_autohold_stay_until_somebody_lets_go(world, action):
    world.uses = [Use(BUILD, ("debian",), ("0000000007",), NOW, False)]
    world.step()
    world.uses, world.holds = [], [hold("0000000007")]
    world.step()

    (node,) = world.nodes(state="hold")
    assert (node["id"], node["locked"], node["comment"]) == ("0000000007", False, "look")
    assert (node["held_for"]["job"], node["held_build"]) == ("j", BUILD)

    getattr(world.actions, action)("0000000007")
    for _ in range(3):
        world.step()
    assert not world.nodes(id="0000000007")


def test_nodes_of_a_hold_that_ends_are_released(world):
    world.holds = [hold("0000000007")]
    world.step()
    world.holds = []
    world.step()

    assert not world.nodes(id="0000000007")


def test_images_are_built_when_asked_for_unless_paused(world):
    world.step()
    world.step(15)
    assert (world.image()["builds"], len(world.image()["providers"])) == (1, 2)

    world.actions.request_build(world.image()["name"])
    world.step()
    assert world.image()["building"] and not world.image()["build_requested"]
    world.step(30)
    assert world.image()["newest_ready"].endswith("-0000000002")

    world.actions.pause(world.image()["name"])
    world.step(4000)
    assert world.image()["builds"] == 2
    world.actions.unpause(world.image()["name"])
    world.step()
    assert world.image()["building"]


def test_builds_and_uploads_can_be_deleted(world):
    world.step()
    world.step(15)
    upload = world.nodepool.uploads().data[0]["id"]
    world.actions.delete_upload(upload)
    world.step()
    assert upload not in [row["id"] for row in world.nodepool.uploads().data]

    build = world.nodepool.builds().data[0]["id"]
    world.actions.delete_build(build)
    world.step()
    assert "deleting" not in [row["state"] for row in world.nodepool.builds().data]


def test_it_does_with_what_others_write(world):
    world.tree.put("/nodepool/nodes/odd", b"{")
    world.tree.put("/nodepool/nodes/0000000007", json.dumps({"state": "ready", "type": ["none"]}).encode())
    world.step()

    assert not world.tree.exists("/nodepool/nodes/odd")


def test_a_busy_scheduler_has_nodes_in_use():
    scheduler = SandboxScheduler(load(None), clock=lambda: NOW)
    tree = MemoryTree()
    nodepool = Nodepool(tree, stale_seconds=60, timeout_seconds=1)
    sandbox = SandboxNodepool(scheduler.need_of_nodes, tree)
    sandbox.step()
    writes = tree.counters.writes
    sandbox.step()
    sandbox.step()

    rows = nodepool.nodes().data
    status = json.loads(scheduler.functions["zuul:status_get"]({"tenant": "example"}))
    assert len([row for row in rows if row["state"] == "in-use"]) > 10
    assert status["pipelines"]
    assert tree.counters.writes - writes < 2000
    assert {row["name"] for row in nodepool.labels().data} >= {"ubuntu-focal"}
