# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from deferred_work import DeferredWork
from twisted.internet.defer import CancelledError, execute
from twisted.internet.task import Clock

from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import NoExecutor, NotFound, Unavailable
from zuul.web.snapshots import Snapshots
from zuul.web.streaming.hub import MOST_REPEATS, QUEUED_SECONDS, Hub
from zuul.web.streaming.spool import Room

ADDRESS = {"server": "ze01.example.com", "port": 7900}
QUEUED = {"server": None, "port": None}


class Zuul:
    """A scheduler with builds, and a hub in front of it."""

    def __init__(self, folder):
        self.addresses = {}
        self.builds = {"one": [], "two": []}
        self.calls = []
        self.connections = []
        self.clock = Clock()
        self.now = 1000.0
        self.functions = {"zuul:get_job_log_stream_address": self.address, "zuul:status_get": self.status}
        scheduler = Scheduler(LocalTransport(self.functions), timeout_seconds=5, cache_bytes=1 << 20)
        self.snapshots = Snapshots(scheduler.status_get, stale_seconds=60, clock=lambda: self.now)
        self.hub = Hub(
            scheduler,
            self.snapshots,
            read_log=self.read_log,
            room=Room(str(folder), 1 << 40, 1 << 40, execute),
            in_thread=execute,
            wait_seconds=60,
            reactor=self.clock,
            now=lambda: self.now,
        )

    def add(self, uuid, tenant="one", address=ADDRESS):
        self.addresses[uuid] = address
        self.builds[tenant].append(uuid)

    def address(self, arguments):
        self.calls.append(arguments["uuid"])
        return json.dumps(self.addresses.get(arguments["uuid"], {}))

    def status(self, arguments):
        if arguments["tenant"] not in self.builds:
            return json.dumps({"message": "Unknown tenant", "code": 404})
        jobs = [{"uuid": uuid} for uuid in self.builds[arguments["tenant"]]]
        return json.dumps({"pipelines": [{"change_queues": [{"heads": [[{"jobs": jobs}]]}]}]})

    def read_log(self, address, uuid, receiver):
        self.connections.append((address, uuid))
        return Connection()

    def until(self, condition):
        """Let time pass, step by step, with flights of the snapshots that land in no time."""
        for _ in range(200):
            if condition():
                return
            self.advance(0.1)
            for known in self.snapshots._tenants.values():
                if flight := known.flight:
                    flight.landed.result(5)
        raise AssertionError("it never came true")

    def advance(self, seconds):
        self.now += seconds
        self.clock.advance(seconds)


class Connection:
    def close(self):
        pass


@pytest.fixture
def zuul(tmp_path):
    zuul = Zuul(tmp_path)
    yield zuul
    zuul.hub.close()
    zuul.snapshots.close()
    assert not zuul.clock.getDelayedCalls()


def outcome(deferred):
    """What a deferred has fired with, an error as itself; None if it has not."""
    found = []
    deferred.addBoth(lambda result: found.append(getattr(result, "value", result)))
    return found[0] if found else None


def test_viewers_of_a_build_get_the_same_source(zuul):
    zuul.add("abc")
    first, second = (outcome(zuul.hub.source("one", "abc", 0)) for _ in range(2))
    assert first is second
    assert zuul.connections == [(("ze01.example.com", 7900), "abc")]
    assert zuul.calls == ["abc"]


def test_those_who_come_and_go_while_the_scheduler_is_slow_ask_it_once(zuul):
    zuul.add("abc")
    zuul.hub._in_thread = scheduler = DeferredWork()
    for _ in range(100):
        gone = zuul.hub.source(None, "abc", 0)
        gone.cancel()
        assert isinstance(outcome(gone), CancelledError)
    last = zuul.hub.source(None, "abc", 0)
    assert len(scheduler.waiting) == 1
    scheduler.run()
    assert outcome(last) is not None
    assert not zuul.hub._searches


@pytest.mark.parametrize("uuid", ["", "abc\n", "ab-c", "../x", "a" * 65, "zz", "\u0660"])
def test_what_is_no_uuid_is_not_looked_for(zuul, uuid):
    assert isinstance(outcome(zuul.hub.source("one", uuid, 0)), NotFound)
    assert not zuul.calls


def test_an_unknown_build_does_not_exist_and_costs_the_scheduler_nothing(zuul):
    for number in range(100):
        assert isinstance(outcome(zuul.hub.source("one", f"{number:032x}", 0)), NotFound)
    assert not zuul.calls and not zuul.connections


def test_a_build_that_has_just_left_does_not_exist(zuul):
    zuul.builds["one"].append("abc")
    assert isinstance(outcome(zuul.hub.source("one", "abc", 0)), NotFound)
    assert zuul.calls == ["abc"]


def test_an_unknown_tenant_has_no_builds(zuul):
    zuul.add("abc")
    assert isinstance(outcome(zuul.hub.source("three", "abc", 0)), NotFound)


def test_a_build_of_another_tenant_does_not_exist_even_while_it_is_read(zuul):
    zuul.add("abc", tenant="two")
    assert outcome(zuul.hub.source("two", "abc", 0)).uuid == "abc"
    looking = zuul.hub.source("one", "abc", 0)
    zuul.until(lambda: looking.called)
    assert isinstance(outcome(looking), NotFound)


def test_without_a_tenant_anybodys_build_will_do(zuul):
    zuul.add("abc", tenant="two")
    assert outcome(zuul.hub.source(None, "abc", 0)).uuid == "abc"


def test_a_build_newer_than_the_status_is_found_in_the_next(zuul):
    zuul.snapshots.get("one")
    zuul.now += 0.5
    zuul.add("abc")
    looking = zuul.hub.source("one", "abc", 0)
    assert not looking.called
    zuul.until(lambda: looking.called)
    assert outcome(looking).uuid == "abc"
    assert zuul.calls == ["abc"]


def test_whether_a_build_is_there_is_not_said_without_a_scheduler(zuul):
    zuul.snapshots.get("one")
    zuul.now += 0.5
    zuul.add("abc", tenant="two")
    del zuul.functions["zuul:status_get"]
    looking = zuul.hub.source("one", "abc", 0)
    zuul.until(lambda: looking.called)
    assert isinstance(outcome(looking), Unavailable)


def test_a_queued_build_is_waited_for_by_one_question_a_second(zuul):
    zuul.add("abc", address=QUEUED)
    waiting = [zuul.hub.source("one", "abc", 0) for _ in range(5)]
    for _ in range(3):
        zuul.advance(QUEUED_SECONDS)
    assert len(zuul.calls) == 4
    zuul.addresses["abc"] = ADDRESS
    zuul.advance(QUEUED_SECONDS)
    found = [outcome(each) for each in waiting]
    assert found[0].uuid == "abc" and len(set(found)) == 1


def test_who_does_not_wait_is_told_that_the_build_is_queued(zuul):
    zuul.add("abc", address=QUEUED)
    results = []
    zuul.hub.source_now("one", "abc", 0).addBoth(results.append)
    assert results == [None]
    assert not zuul.clock.getDelayedCalls()


def test_the_patience_ends(zuul):
    zuul.add("abc", address=QUEUED)
    waiting = zuul.hub.source("one", "abc", 0)
    zuul.advance(61)
    assert isinstance(outcome(waiting), NoExecutor)


def test_nobody_is_asked_for_viewers_that_left(zuul):
    zuul.add("abc", address=QUEUED)
    waiting = [zuul.hub.source("one", "abc", 0) for _ in range(2)]
    for each in waiting:
        each.cancel()
        assert isinstance(outcome(each), CancelledError)
    assert not zuul.clock.getDelayedCalls()


def test_a_build_that_vanishes_while_it_is_waited_for_does_not_exist(zuul):
    zuul.add("abc", address=QUEUED)
    waiting = zuul.hub.source("one", "abc", 0)
    del zuul.addresses["abc"]
    zuul.advance(QUEUED_SECONDS)
    assert isinstance(outcome(waiting), NotFound)


def test_who_wants_what_is_no_longer_kept_has_it_sent_anew(zuul):
    zuul.add("abc")
    sources = []
    for _ in range(MOST_REPEATS):
        source = outcome(zuul.hub.source("one", "abc", 0))
        source.spool.start = 100
        sources.append(source)
    assert len(set(sources)) == len(zuul.connections) == MOST_REPEATS
    assert outcome(zuul.hub.source("one", "abc", 100)) is sources[0]
    assert isinstance(outcome(zuul.hub.source("one", "abc", 0)), Unavailable)


def test_a_source_that_is_closed_is_forgotten(zuul):
    zuul.add("abc")
    first = outcome(zuul.hub.source("one", "abc", 0))
    zuul.advance(10)
    assert outcome(zuul.hub.source("one", "abc", 0)) is not first
