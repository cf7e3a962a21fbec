# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import inspect
import random

import pytest
from deferred_work import DeferredWork
from twisted.internet.defer import execute
from twisted.internet.task import Clock

from zuul.web.backends.finger import LogConnection
from zuul.web.streaming.endings import END_OF_LOG, OUT_OF_REACH, REMOTE_ERROR, bad_request, unavailable
from zuul.web.streaming.source import ENDED_LINGER_SECONDS, LINGER_SECONDS, QUIET_SECONDS, Reader, Source
from zuul.web.streaming.spool import BLOCK_BYTES, LEAST_BLOCKS, MOST_PENDING, Room

ADDRESS = ("ze01.example.com", 7900)
TEXT = "PLAY [all] ✓ 漢字 🙂\r\n".encode()


class Connection:
    """A connection to an executor, which the test speaks for."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.paused = self.closed = False

    def pause(self):
        self.paused = True

    def go_on(self):
        self.paused = False

    def close(self):
        self.closed = True


def test_the_connection_is_like_the_real_one():
    for name in ("pause", "go_on", "close"):
        assert inspect.signature(getattr(Connection, name)).parameters.keys() == (
            inspect.signature(getattr(LogConnection, name)).parameters.keys()
        )


class Outlet:
    """The connection of a viewer, which takes all until it is told to take nothing."""

    def __init__(self):
        self.written = b""
        self.blocked = False
        self.takes = None
        """After how many more writes it blocks."""

    def write(self, data):
        assert not self.blocked
        self.written += data
        if self.takes is not None:
            self.takes -= 1
            self.blocked = self.takes < 0
        return not self.blocked


class Viewer(Reader):
    def __init__(self, position=0, whole_characters=True):
        super().__init__(Outlet(), position)
        self.whole_characters = whole_characters
        self.ending = None

    @property
    def text(self):
        return self.outlet.written

    def form(self, text):
        if self.whole_characters:
            text.data.decode()
        return text.data

    def ended(self, ending):
        self.ending = ending

    def reads_again(self):
        self.outlet.blocked = False
        self.outlet.takes = None
        self.drained()


class Executor:
    """Makes sources and keeps their connections."""

    def __init__(self, folder):
        self.clock = Clock()
        self.room = Room(str(folder), LEAST_BLOCKS * BLOCK_BYTES, 1 << 40, execute)
        self.connections = []
        self.asked = []
        self.closed = []

    def read_log(self, address, uuid, receiver):
        self.asked.append((address, uuid))
        self.connections.append(Connection(receiver))
        return self.connections[-1]

    def source(self):
        return Source(
            "abc",
            ADDRESS,
            room=self.room,
            read_log=self.read_log,
            reactor=self.clock,
            closed=self.closed.append,
        )


@pytest.fixture
def executor(tmp_path):
    return Executor(tmp_path)


@pytest.fixture
def source(executor):
    source = executor.source()
    yield source
    if source not in executor.closed:
        source.close()


def joined(source, *arguments, **named):
    viewer = Viewer(*arguments, **named)
    source.attach(viewer)
    return viewer


def finish(source, executor):
    """The end of a log, as an executor tells it: it closes, and then knows nothing of the build."""
    source.ended()
    source.refused("Build ID abc not found")


def test_all_viewers_share_one_connection(executor, source):
    viewers = [joined(source) for _ in range(10)]
    source.received(TEXT)
    viewers += [joined(source) for _ in range(10)]
    source.received(TEXT)
    assert executor.asked == [(ADDRESS, "abc")]
    assert {viewer.text for viewer in viewers} == {TEXT * 2}


def test_a_late_viewer_gets_what_it_has_not(source):
    source.received(TEXT * 3)
    late = joined(source, len(TEXT))
    source.received(b"more")
    assert late.text == TEXT * 2 + b"more"


def test_characters_arrive_whole_wherever_they_are_cut(source):
    viewer = joined(source)
    for at in range(len(TEXT)):
        source.received(TEXT[at : at + 1])
        viewer.text.decode()
    assert viewer.text == TEXT


def test_what_is_no_text_is_replaced_for_all_alike(source):
    whole = random.Random(3).randbytes(5000)
    early = joined(source)
    for at in range(0, len(whole), 7):
        source.received(whole[at : at + 7])
    late = joined(source, whole_characters=False)
    finish(source, None)
    assert early.text == late.text == whole.decode(errors="replace").encode()


def test_a_character_across_two_blocks_is_whole(source):
    source.received(b"x" * (BLOCK_BYTES - 2) + "漢".encode() + b"y" * BLOCK_BYTES * 2)
    for position in (0, BLOCK_BYTES - 3, BLOCK_BYTES - 2, BLOCK_BYTES + 1):
        assert joined(source, position).text.startswith(b"x" * (BLOCK_BYTES - 2 - position))
    assert joined(source).text == b"x" * (BLOCK_BYTES - 2) + "漢".encode() + b"y" * BLOCK_BYTES * 2


def test_an_offset_inside_of_a_character_is_refused_where_text_is_needed(source):
    source.received("漢".encode())
    assert joined(source, 1).ending == bad_request("the offset is inside of a character")
    assert joined(source, 1, whole_characters=False).text == "漢".encode()[1:]


def test_an_offset_ahead_is_waited_for(source):
    ahead = joined(source, len(TEXT) + 2)
    source.received(TEXT)
    assert ahead.text == b""
    source.received(b"abcd")
    assert ahead.text == b"cd"


def test_an_offset_behind_the_end_of_the_log_is_refused(executor, source):
    source.received(TEXT)
    ahead = joined(source, 1000)
    finish(source, executor)
    assert ahead.ending == bad_request(f"the log has {len(TEXT)} bytes")


# A viewer that does not read


def test_who_does_not_read_gets_nothing_more_and_holds_nobody_up(source):
    slow, fast = joined(source), joined(source)
    slow.outlet.takes = 2
    for _ in range(5):
        source.received(TEXT)
    assert slow.text == TEXT * 3
    assert fast.text == TEXT * 5
    slow.reads_again()
    source.received(TEXT)
    assert slow.text == fast.text == TEXT * 6


def test_who_is_blocked_by_a_ping_gets_nothing_twice_and_misses_nothing(source):
    quiet, busy = joined(source), joined(source)
    source.received(TEXT)
    for viewer in (quiet, busy):
        viewer.outlet.blocked = True  # a ping did not go out at once
    quiet.reads_again()
    source.received(TEXT)
    busy.reads_again()
    assert quiet.text == busy.text == TEXT * 2


def test_who_is_too_far_behind_is_dismissed(source):
    slow = joined(source)
    slow.outlet.takes = 0
    source.received(b"x")
    for _ in range(LEAST_BLOCKS + 2):
        source.received(b"x" * BLOCK_BYTES)
    slow.reads_again()
    assert slow.ending == OUT_OF_REACH
    assert not source.covers(0)
    assert source.covers(source.spool.start)


# The end


def test_the_end_of_the_log_is_told_when_the_executor_has_it_no_more(executor, source):
    viewer = joined(source)
    source.received(TEXT)
    source.ended()
    assert viewer.ending is None
    assert len(executor.asked) == 2
    source.refused("Build ID abc not found")
    assert viewer.ending == END_OF_LOG


def test_an_executor_that_sends_the_same_again_and_no_more_is_at_the_end(executor, source):
    viewer = joined(source)
    source.received(TEXT)
    source.ended()
    source.received(TEXT)
    source.ended()
    assert (viewer.text, viewer.ending) == (TEXT, END_OF_LOG)


@pytest.mark.parametrize("broke", ["ended", "lost"])
def test_a_log_that_goes_on_after_a_break_goes_on_for_its_viewers(source, broke):
    viewer = joined(source)
    source.received(TEXT)
    getattr(source, broke)()
    source.received(TEXT[:5])
    source.received(TEXT[5:] + b"more")
    assert viewer.text == TEXT + b"more"
    assert viewer.ending is None


@pytest.mark.parametrize("broke", ["ended", "lost"])
def test_an_executor_that_is_gone_has_not_ended_the_log(source, broke):
    viewer = joined(source)
    source.received(TEXT)
    getattr(source, broke)()
    source.failed("the executor cannot be reached")
    assert viewer.ending == REMOTE_ERROR


def test_a_log_that_breaks_at_the_same_byte_again_is_lost(source):
    viewer = joined(source)
    source.received(TEXT)
    source.lost()
    source.received(TEXT)
    source.lost()
    assert viewer.ending == REMOTE_ERROR


def test_an_executor_without_the_log_is_quoted(source):
    viewer = joined(source)
    source.refused("Log not found for build ID abc")
    assert viewer.ending == unavailable("Log not found for build ID abc", gone=True)
    assert not source.covers(0)


def test_half_a_character_at_the_end_is_not_lost(executor, source):
    viewer = joined(source)
    source.received(b"x\xe6\xbc")
    assert viewer.text == b"x"
    finish(source, executor)
    assert viewer.text == b"x" + "\ufffd".encode()


def test_a_viewer_who_comes_after_the_end_gets_all_of_it(executor, source):
    source.received(TEXT)
    finish(source, executor)
    viewer = joined(source)
    assert (viewer.text, viewer.ending) == (TEXT, END_OF_LOG)


# How long it stays


def test_some_seconds_after_the_last_viewer_the_executor_is_let_go(executor, source):
    first, second = joined(source), joined(source)
    first.leave()
    executor.clock.advance(LINGER_SECONDS * 2)
    assert not executor.connections[0].closed
    second.leave()
    executor.clock.advance(LINGER_SECONDS - 0.1)
    assert not executor.connections[0].closed
    executor.clock.advance(0.2)
    assert executor.connections[0].closed
    assert executor.closed == [source]
    assert not executor.clock.getDelayedCalls()


def test_a_viewer_who_comes_back_in_time_keeps_it(executor, source):
    joined(source).leave()
    executor.clock.advance(LINGER_SECONDS - 0.1)
    joined(source)
    executor.clock.advance(LINGER_SECONDS * 2)
    assert not executor.closed


def test_a_source_that_nobody_came_for_goes(executor, source):
    executor.clock.advance(LINGER_SECONDS)
    assert executor.closed == [source]


def test_an_ended_log_stays_longer_as_nobody_else_has_it(executor, source):
    viewer = joined(source)
    source.received(TEXT)
    finish(source, executor)
    assert viewer.source is None
    executor.clock.advance(ENDED_LINGER_SECONDS - 0.1)
    assert not executor.closed
    executor.clock.advance(0.2)
    assert executor.closed == [source]


def test_a_hold_keeps_it_without_viewers(executor, source):
    source.hold()
    executor.clock.advance(LINGER_SECONDS * 2)
    assert not executor.closed
    source.release()
    executor.clock.advance(LINGER_SECONDS)
    assert executor.closed == [source]


# What there is now


def test_it_has_caught_up_when_the_executor_is_quiet(executor, source):
    caught_up = []
    source.caught_up.addCallback(caught_up.append)
    for _ in range(5):
        source.received(TEXT)
        executor.clock.advance(QUIET_SECONDS * 0.9)
    assert not caught_up
    executor.clock.advance(QUIET_SECONDS)
    assert caught_up and source.caught_up is None


def test_a_disk_that_does_not_keep_up_holds_the_executor(executor, source):
    executor.room.in_thread = disk = DeferredWork()
    source.received(b"x" * BLOCK_BYTES * (MOST_PENDING + 1))
    assert executor.connections[0].paused
    disk.run_all()
    executor.clock.advance(1)
    assert not executor.connections[0].paused


def test_who_left_while_the_disk_was_asked_gets_nothing(executor, source):
    source.received(b"x" * BLOCK_BYTES)
    executor.room.in_thread = disk = DeferredWork()
    viewer = joined(source)
    viewer.leave()
    disk.run_all()
    assert viewer.text == b""


def test_who_waits_for_the_disk_gets_everything_in_order(executor, source):
    source.received(b"x" * BLOCK_BYTES * 2)
    executor.room.in_thread = disk = DeferredWork()
    viewer = joined(source)
    source.received(b"y" * 10)
    disk.run_all()
    assert viewer.text == b"x" * BLOCK_BYTES * 2 + b"y" * 10
