# SPDX-License-Identifier: Apache-2.0
"""What listeners get, from the first status to the last."""

from __future__ import annotations

import itertools
import json
import logging

import pytest
from dashboard import Dashboard
from histories import NOT_LOADED, gate, item, job, running, simulated
from listening import WINDOW_SECONDS, Reader, World
from twisted.internet.defer import CancelledError, maybeDeferred
from twisted.internet.task import Clock

from zuul.web.errors import NotFound, ServerError, Timeout, Unavailable
from zuul.web.snapshots import Snapshot
from zuul.web.streaming.feed import Feeds
from zuul.web.streaming.messages import Lost


@pytest.fixture
def world():
    made = World()
    yield made
    made.snapshots.settle()
    made.feeds.close()
    made.snapshots.close()
    assert made.clock.getDelayedCalls() == []


def test_the_state_comes_first_and_then_what_changes(world):
    world.status = gate(item("1,1", [job()]))
    reader = world.listener()
    world.show(gate(item("1,1", [running()])))

    state, started = reader.said()
    assert (state["type"], [one["id"] for one in state["items"]]) == ("state", ["1,1"])
    assert (started["type"], started["build"]["uuid"]) == ("build_started", "u1")
    epoch, sequence = state["id"].split("-")
    assert started["id"] == f"{epoch}-{int(sequence) + 1}"
    assert state["time"].startswith("2020-09-13T12:26:40.") and state["time"] < started["time"]


def test_a_listener_that_wants_no_state_gets_what_changes_only(world):
    reader = world.listener(want_state=False)
    assert reader.messages == []
    world.show(gate(item()))

    assert reader.types == ["item_enqueued"]


def test_messages_and_states_are_shared_by_all(world):
    readers = [world.listener() for _ in range(3)]
    world.show(gate(item()))

    first, *others = (reader.messages for reader in readers)
    assert [message.type for message in first] == ["state", "item_enqueued"]
    assert all(ours is theirs for other in others for ours, theirs in zip(first, other, strict=True))
    assert world.thread.done.count("_State") == 1


def test_nobody_is_woken_while_nothing_happens(world):
    reader = world.listener()
    world.go_on(20)

    assert reader.wakes == 0
    assert world.thread.done == ["_compare", "_State"]


def test_a_tenant_is_fetched_and_compared_once_a_second_at_most_however_many_listen(world):
    for _ in range(50):
        world.listener()
    world.calls.clear()
    world.thread.done.clear()
    for n in range(100):
        world.status = gate(item(f"{n},1"))
        world.go_on(0.1)

    assert 7 <= len(world.calls) <= 10
    assert 7 <= len(world.thread.done) <= 10


def test_each_tenant_has_its_own_feed(world):
    one, other = world.listener(tenant="one"), world.listener(tenant="other")

    assert one.feed is not other.feed
    assert one.last_id.split("-")[0] != other.last_id.split("-")[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_who_listens_sees_what_is_there(world, seed):
    statuses = simulated(seed, steps=12)
    world.status = next(statuses)
    early = world.listener()
    for status in statuses:
        world.show(status)
    late = world.listener()

    board = Dashboard(early.said()[0])
    for message in early.said()[1:]:
        board.apply(message)
    assert board.picture() == Dashboard(late.said()[0]).picture()


# Joining.


def test_a_joiner_waits_for_the_first_status(world):
    reader = Reader(world.feeds)
    assert reader.feed is None
    world.go_on(0.5)

    assert reader.types == ["state"]


def test_a_tenant_that_does_not_exist(world):
    world.error = NotFound("no such tenant")
    reader = world.listener()

    assert (type(reader.error), reader.error.message) == (NotFound, "no such tenant")
    world.error = None
    world.go_on(2)
    assert world.listener().types == ["state"]


def test_a_scheduler_that_does_not_answer(world):
    world.error = Timeout("no")

    assert isinstance(world.listener().error, Unavailable)


@pytest.mark.parametrize("status", [b"no json", b"\xff"])
def test_a_status_that_is_none(world, caplog, status):
    world.status = status

    assert type(world.listener().error) is ServerError
    assert caplog.records
    world.status = gate()
    world.go_on(4)
    assert world.listener().types == ["state"]


def test_a_tenant_that_is_not_loaded_yet_has_nothing_in_it(world):
    world.status = NOT_LOADED
    reader = world.listener()
    world.show(gate(item()))

    assert reader.said()[0]["items"] == []
    assert reader.types == ["state", "pipeline_reconfigured", "item_enqueued"]


def test_a_joiner_that_leaves_before_there_is_a_status(world):
    reader = Reader(world.feeds)
    reader.joined.cancel()
    world.go_on(1)

    assert isinstance(reader.error, CancelledError)
    assert reader.messages == []


def test_what_happens_while_a_state_is_rendered_comes_after_it(world):
    first = world.listener()
    world.show(gate(item("1,1")))
    world.thread.hold()
    late = Reader(world.feeds)
    (rendering,) = world.thread.held
    world.thread.held = None
    world.show(gate(item("1,1"), item("2,1")))
    assert late.messages == [] and late.wakes == 0
    world.thread.held = [rendering]
    world.thread.let_go()
    world.go_on(0.1)

    assert late.types == ["state", "item_enqueued"]
    assert [one["id"] for one in late.said()[0]["items"]] == ["1,1"]
    assert late.messages[-1] is first.messages[-1]
    assert [one["id"] for one in world.listener().said()[0]["items"]] == ["1,1", "2,1"]


def test_who_begins_at_the_same_place_shares_all_that_is_written(world):
    world.listener()
    new, old = ([], [])
    for _ in range(2):
        for found, last_event_id in ((new, None), (old, "0-1")):
            world.feeds.join("t", Reader(world.feeds), last_event_id).addCallback(
                lambda j, to=found: to.append(j.piece)
            )

    assert new[0] is new[1] and old[0] is old[1]
    assert old[0].event.endswith(new[0].event)


# Resuming.


def test_what_was_missed_comes_in_pieces(world):
    reader = world.listener()
    world.show(gate(*(item(f"{n},1", [job("x" * 9000)]) for n in range(20))))
    again = Reader(world.feeds, reader.messages[0].id)

    assert 0 < len(again.messages) < 20 and again.wakes == 0
    world.go_on(0.1)
    assert again.messages == reader.messages[1:] and again.wakes == 1


def test_a_listener_that_was_cut_off_gets_what_it_missed_and_nothing_twice(world):
    stays, goes = world.listener(), world.listener()
    goes.feed.leave(goes)
    world.show(gate(item("1,1")))
    world.show(gate(item("1,1"), item("2,1")))
    again = world.listener(goes.last_id)

    assert again.types == ["item_enqueued", "item_enqueued"]
    assert goes.messages + again.messages == stays.messages
    world.show(gate(item("1,1"), item("2,1"), item("3,1")))
    assert goes.messages + again.messages == stays.messages


def test_who_has_missed_nothing_gets_nothing(world):
    reader = world.listener()

    assert world.listener(reader.last_id).messages == []


def test_what_happens_while_nobody_listens_is_kept_for_the_window(world):
    reader = world.listener()
    reader.feed.leave(reader)
    world.go_on(WINDOW_SECONDS - 10)
    world.show(gate(item()))

    assert world.listener(reader.last_id).types == ["item_enqueued"]


def test_after_the_window_the_feed_has_ended(world):
    reader = world.listener()
    reader.feed.leave(reader)
    world.go_on(WINDOW_SECONDS + 1)
    world.calls.clear()
    world.go_on(10)
    assert world.calls == [] and world.clock.getDelayedCalls() == []
    again = world.listener(reader.last_id)

    assert again.types == ["restart", "state"]
    assert again.feed is not reader.feed
    assert again.said()[0]["reason"] == "this id is of another server, or of a time that nobody listened in"


def test_an_id_that_is_no_longer_kept(world):
    reader, stays = world.listener(), world.listener()
    old_id = reader.last_id
    world.show(gate(item()))
    world.go_on(WINDOW_SECONDS + 1)
    again = world.listener(old_id, want_state=False)

    assert again.types == ["restart", "state"]
    assert again.said()[0]["reason"] == "what came after this id is no longer kept"
    world.show(gate())
    assert again.messages[-1] is stays.messages[-1]


@pytest.mark.parametrize("id_", ["", "nonsense\r\ndata: x", "{epoch}-999", "{epoch}-0"])
def test_an_id_that_was_never_given_out(world, id_):
    reader = world.listener()
    again = world.listener(id_.format(epoch=reader.last_id.split("-")[0]))

    assert again.types == ["restart", "state"]
    assert again.messages[1] is reader.messages[0]


def test_who_was_cut_off_after_a_restart_starts_again(world):
    world.listener()
    restart = world.listener("other-1").messages[0]

    assert world.listener(restart.id).types == ["restart", "state"]


def test_a_listener_that_does_not_read_holds_nothing_and_joins_anew(world):
    slow = world.listener()
    slow.read = lambda: None
    world.show(gate(item()))
    world.go_on(WINDOW_SECONDS + 1)
    with pytest.raises(Lost):
        slow.feed.after(slow.position)
    slow.feed.join(slow, slow.last_id).addCallback(slow._begin)
    del slow.read
    world.show(gate())

    assert slow.types == ["state", "restart", "state", "item_left"]


# While the world is not as it should be.


def test_a_scheduler_that_is_away_for_a_while(world):
    reader = world.listener()
    world.error = Timeout("no")
    world.go_on(60)
    assert reader.error is None
    assert world.listener().types == ["state"]
    world.error = None
    world.show(gate(item()))

    assert reader.types == ["state", "item_enqueued"]


def test_a_tenant_that_disappears(world):
    readers = [world.listener() for _ in range(3)]
    world.error = NotFound("no such tenant")
    world.go_on(10)

    assert [type(reader.error) for reader in readers] == [NotFound] * 3
    assert world.clock.getDelayedCalls() == []
    with pytest.raises(Unavailable):
        raise _failure(readers[0].feed.join(readers[0]))


def _failure(deferred):
    found = []
    deferred.addErrback(found.append)
    return found[0].value


def test_a_status_that_cannot_be_compared_is_passed_over(world, caplog):
    reader = world.listener()
    world.show(b"no json")
    world.show(gate(item()))

    assert reader.types == ["state", "item_enqueued"]
    assert "JSONDecodeError" in caplog.text


class Replayed:
    """Snapshots as several processes may have them: the newer one first."""

    def __init__(self, *snapshots):
        self._snapshots = itertools.chain(snapshots, itertools.repeat(snapshots[-1]))

    def look(self, tenant):
        return next(self._snapshots)


def test_an_older_status_does_not_take_events_back():
    clock = Clock()
    empty, full = (
        Snapshot(json.dumps(status).encode(), fetched, 0, compress=False)
        for status, fetched in ((gate(), 10.0), (gate(item()), 11.0))
    )
    older = Snapshot(json.dumps(gate(item("9,1"))).encode(), 10.5, 0, compress=False)
    feeds = Feeds(Replayed(empty, full, older), window_seconds=1, clock=clock, in_thread=maybeDeferred)
    reader = Reader(feeds)
    clock.pump([0.1] * 50)

    assert reader.types == ["state", "item_enqueued"]
    feeds.close()


def test_a_defect_of_one_listener_is_not_the_others(world, caplog):
    broken, other = world.listener(), world.listener()
    broken.raises = RuntimeError("a defect")
    with caplog.at_level(logging.ERROR):
        world.show(gate(item()))

    assert other.types == ["state", "item_enqueued"]
    assert "a defect" in caplog.text


def test_a_listener_that_leaves_while_others_are_woken_is_not(world):
    first, second = world.listener(), world.listener()
    first.read = lambda: first.feed.leave(second)
    world.show(gate(item()))

    assert (first.wakes, second.wakes) == (1, 0)


def test_all_are_told_when_the_server_stops(world):
    reader = world.listener()
    waiting = Reader(world.feeds, tenant="other")
    world.feeds.close()

    assert isinstance(reader.error, Unavailable) and isinstance(waiting.error, Unavailable)
    assert isinstance(Reader(world.feeds).error, Unavailable)


def test_what_a_thread_brings_after_the_end_is_dropped(world):
    reader = world.listener()
    world.thread.hold()
    world.show(gate(item()))
    world.feeds.close()
    world.thread.let_go()

    assert reader.types == ["state"]
