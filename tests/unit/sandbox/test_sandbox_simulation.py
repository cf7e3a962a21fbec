# SPDX-License-Identifier: Apache-2.0
"""The world over time, under a clock that the tests turn."""

from __future__ import annotations

import itertools
import json

import pytest

from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

SCENARIO = load(None)

START = 1_600_000_000.0


class Clock:
    def __init__(self):
        self.now = START

    def __call__(self):
        return self.now


class World:
    """A scheduler under a clock, and what its status shows."""

    def __init__(self, **options):
        self.clock = Clock()
        self.scheduler = SandboxScheduler(options.pop("scenario", SCENARIO), clock=self.clock, **options)

    def text(self, tenant="example"):
        return self.scheduler.functions["zuul:status_get"]({"tenant": tenant})

    def queues(self, *pipelines):
        """The queues of these pipelines, of all if none is named."""
        shown = json.loads(self.text())["pipelines"]
        return [queue for p in shown if not pipelines or p["name"] in pipelines for queue in p["change_queues"]]

    def items(self, *pipelines):
        return [item for queue in self.queues(*pipelines) for head in queue["heads"] for item in head]

    def jobs(self, *pipelines):
        return [job for item in self.items(*pipelines) for job in item["jobs"]]

    def moments(self, step=60, count=120):
        """Walk through time, a step at a time."""
        for _ in range(count):
            self.clock.now += step
            yield self.clock.now


@pytest.fixture
def world():
    return World()


def test_the_same_seed_makes_the_same_world():
    one, other, third = World(seed=7), World(seed=7), World(seed=8)
    for world in (one, other, third):
        world.clock.now += 500
    assert one.text() == other.text() != third.text()


def test_who_asked_when_makes_no_difference():
    often, once = World(), World()
    for _ in often.moments(step=10, count=60):
        often.text()
    once.clock.now += 600
    assert often.text() == once.text()


def test_nothing_moves_while_the_clock_stands(world):
    assert world.text() == world.text()


def test_a_clock_set_back_is_harmless(world):
    world.clock.now -= 1000
    assert world.items()


def test_the_world_is_busy_from_the_start(world):
    results = {job["result"] for job in world.jobs()}
    assert {None, "SUCCESS"} <= results
    assert any(job["start_time"] and not job["end_time"] for job in world.jobs())


def test_running_builds_progress_and_finish(world):
    running = {job["uuid"]: job for job in world.jobs() if job["start_time"] and not job["end_time"]}
    world.clock.now += 60
    later = {job["uuid"]: job for job in world.jobs()}
    both = running.keys() & later.keys()
    assert both
    assert all(later[uuid]["elapsed_time"] > running[uuid]["elapsed_time"] for uuid in both)
    finished = set()
    for _ in world.moments():
        finished |= {job["uuid"] for job in world.jobs() if job["result"]}
    assert len(finished & running.keys()) > len(running) / 2


def test_items_leave_and_others_arrive_and_the_depth_stays(world):
    before = {item["zuul_ref"] for item in world.items()}
    sizes = []
    for _ in world.moments(step=120, count=60):
        sizes.append(len([item for item in world.items() if item["live"]]))
    assert before.isdisjoint({item["zuul_ref"] for item in world.items()})
    depth = sum(world.scheduler.scenario.tenants["example"].depth.values())
    assert max(sizes) <= depth
    assert min(sizes) > depth * 0.7


def test_speed_shortens_durations_but_keeps_the_clocks_time():
    normal, fast = World(), World(speed=20)
    assert max(job["estimated_time"] or 0 for job in fast.jobs()) * 20 == pytest.approx(
        max(job["estimated_time"] or 0 for job in normal.jobs())
    )
    assert all(item["enqueue_time"] <= START * 1000 for item in fast.items())
    before = {item["zuul_ref"] for item in fast.items()}
    fast.clock.now += 120
    assert len(before & {item["zuul_ref"] for item in fast.items()}) < len(before) / 2


@pytest.mark.parametrize("gap", [3600, 86_400, 10**8])
def test_a_long_sleep_is_caught_up_cheaply(world, gap):
    world.clock.now += gap
    assert len(world.items()) > 50
    assert all(world.clock.now - item["enqueue_time"] / 1000 < 3600 for item in world.items())


def test_nothing_piles_up(world):
    simulation = world.scheduler._simulation
    sizes = []
    for _ in world.moments(step=600, count=100):
        world.text()
        sizes.append((len(simulation._events), len(simulation.builds)))
    assert max(sizes[-20:])[0] < 2 * max(sizes[:20])[0]
    assert max(sizes[-20:], key=lambda size: size[1])[1] < 2 * max(sizes[:20], key=lambda size: size[1])[1]


def test_everything_that_zuul_does_happens_now_and_then(world):
    seen = set()
    for _ in world.moments():
        for item in world.items():
            seen |= {"non-live item"} if not item["live"] else set()
            seen |= {"failing item"} if item["failing_reasons"] == ["at least one job failed"] else set()
            seen |= {"inactive item"} if not item["active"] else set()
            for job in item["jobs"]:
                seen.add(job["result"])
                seen |= {"paused"} if job["paused"] else set()
                seen |= {"retried"} if job["tries"] > 1 else set()
                seen |= {"queued"} if job["queued"] and not job["uuid"] else set()
                seen |= {"non-voting failure"} if not job["voting"] and job["result"] == "FAILURE" else set()
    assert seen >= {
        *("SUCCESS", "FAILURE", "POST_FAILURE", "TIMED_OUT", "SKIPPED", None),
        *("paused", "retried", "queued", "non-live item", "failing item", "inactive item", "non-voting failure"),
    }


def test_jobs_wait_for_what_they_depend_on(world):
    for _ in world.moments(count=60):
        for item in world.items():
            jobs = {job["name"]: job for job in item["jobs"]}
            for job in jobs.values():
                for dependency in job["dependencies"]:
                    parent = jobs.get(dependency)
                    if parent and job["start_time"]:
                        assert parent["paused"] or parent["result"] in ("SUCCESS", "SKIPPED")


def test_a_paused_build_never_waits_for_ever(world):
    since = {}
    for now in world.moments(step=60, count=200):
        paused = {job["uuid"] for job in world.jobs() if job["paused"]}
        since = {uuid: since.get(uuid, now) for uuid in paused}
        assert all(now - start < 7200 for start in since.values())


def test_a_paused_build_waits_for_all_that_depend_on_it(world):
    for _ in world.moments(step=60, count=60):
        for item in world.items("check"):
            jobs = {job["name"]: job for job in item["jobs"]}
            registry = jobs.get("buildset-registry")
            if registry and registry["result"] == "SUCCESS":
                assert all(jobs[name]["result"] for name in ("build-image", "test-image"))


def test_a_gate_is_a_chain_within_its_window(world):
    for _ in world.moments(count=60):
        for queue in world.queues("gate"):
            position = 0
            for head in queue["heads"]:
                assert head[0]["item_ahead"] is None
                for ahead, behind in itertools.pairwise(head):
                    assert behind["item_ahead"] in [item["id"] for item in head]
                    assert ahead["live"]
                for item in head:
                    assert item["active"] == (position < queue["window"])
                    position += 1


def test_a_failure_in_the_gate_resets_the_items_behind_it(world):
    """They are tested again on the nearest item ahead that does not fail, and the failing one is left alone."""
    resets = 0
    before = {}
    for _ in world.moments(step=15, count=400):
        now = {item["id"]: item for item in world.items("gate")}
        for item in now.values():
            previous = before.get(item["id"])
            if item["failing_reasons"] and previous and not previous["failing_reasons"]:
                assert item["items_behind"] == []
                for behind in previous["items_behind"]:
                    if behind in now and previous["id"] == before[behind]["item_ahead"]:
                        assert now[behind]["item_ahead"] != item["id"]
                        assert now[behind]["zuul_ref"] != before[behind]["zuul_ref"] or not before[behind]["active"]
                        resets += 1
        before = now
    assert resets


def test_a_branch_is_enqueued_only_once():
    world = World(scenario=load(None, items=2000))
    refs = [(item["project"], item["ref"]) for item in world.items("periodic")]
    assert refs
    assert len(refs) == len(set(refs))
    assert all(item["id"] is None for item in world.items("periodic"))


def test_two_thousand_items_are_there():
    scheduler = World(scenario=load(None, items=2000)).scheduler
    tenants = json.loads(scheduler.functions["zuul:tenant_list"]({}))
    assert sum(tenant["queue"] for tenant in tenants) == pytest.approx(2000, rel=0.1)
