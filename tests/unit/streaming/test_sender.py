# SPDX-License-Identifier: Apache-2.0
"""What there is of a log, sent with a length that was promised."""

from __future__ import annotations

import pytest
from deferred_work import DeferredWork
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from zuul.web.streaming.logs import _Sender
from zuul.web.streaming.source import LINGER_SECONDS, Source
from zuul.web.streaming.spool import BLOCK_BYTES, LEAST_BLOCKS, Room

LOG = b"".join(b"line %06d\n" % number for number in range(30000))
SIZE = len(LOG)


class Connection:
    def close(self):
        pass

    def pause(self):
        pass


class Request:
    """A request whose connection takes a few writes before it asks for a pause."""

    def __init__(self, takes=1000):
        self.body = b""
        self.takes = takes
        self.producer = None
        self.aborted = False
        self.transport = self

    def write(self, data):
        self.body += data
        self.takes -= 1
        if self.takes == 0:
            self.producer.pauseProducing()

    def abortConnection(self):
        self.aborted = True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk():
    return DeferredWork()


@pytest.fixture
def source(tmp_path, disk, clock):
    source = Source(
        "abc",
        ("ze01", 7900),
        room=Room(str(tmp_path), LEAST_BLOCKS * BLOCK_BYTES, 1 << 40, disk),
        read_log=lambda *_: Connection(),
        reactor=clock,
        closed=lambda _: None,
    )
    source.received(LOG)
    disk.run_all()
    yield source
    source.close()
    disk.run_all()


def sending(source, request, start=0, end=SIZE):
    request.producer = sender = _Sender(request, source, start, end, source._reactor.seconds)
    sender.resumeProducing()
    return sender


def test_each_byte_is_sent_once_though_the_disk_takes_its_time(source, disk):
    request = Request()
    sender = sending(source, request, 7, SIZE - 9)
    sender.resumeProducing()  # the transport may ask more than once
    while disk.waiting:
        assert len(disk.waiting) == 1
        disk.run()
        sender.resumeProducing()
    assert sender.done.called
    assert request.body == LOG[7:-9]


def test_it_pauses_with_its_connection(source, disk):
    request = Request(takes=2)
    sender = sending(source, request)
    disk.run_all()
    assert request.body == LOG[: 2 * BLOCK_BYTES]
    sender.resumeProducing()
    disk.run_all()
    assert request.body == LOG


def test_what_comes_later_is_not_sent(source, disk):
    request = Request()
    sending(source, request)
    source.received(b"more")
    disk.run_all()
    assert request.body == LOG


def test_the_source_stays_meanwhile(source, disk, clock):
    sending(source, Request())
    clock.advance(LINGER_SECONDS * 2)
    assert not source._is_closed
    disk.run_all()
    clock.advance(LINGER_SECONDS)
    assert source._is_closed


def test_a_promise_that_cannot_be_kept_breaks_the_connection(source, disk):
    request = Request(takes=1)
    sender = sending(source, request)
    disk.run_all()
    source.received(b"x" * BLOCK_BYTES * (LEAST_BLOCKS + 1))
    disk.run_all()
    ends = []
    sender.done.addErrback(lambda failure: ends.append(failure.check(CancelledError)))
    sender.resumeProducing()
    assert request.aborted and ends == [CancelledError]


def test_who_does_not_read_is_a_viewer_that_is_blocked_and_can_be_dropped(source, disk, clock):
    clock.advance(2)
    request = Request(takes=1)
    sender = sending(source, request)
    disk.run()
    clock.advance(5)
    sender.pauseProducing()
    assert sender.outlet.blocked
    assert sender.outlet.blocked_since == 2
    sender.done.addErrback(lambda why: why.trap(CancelledError))
    sender.too_slow()
    assert request.aborted
    clock.advance(LINGER_SECONDS)
    assert source._is_closed
