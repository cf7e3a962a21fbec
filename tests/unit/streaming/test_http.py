# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from zuul.web.streaming.events import EventsListener, EventsResponse
from zuul.web.streaming.forms import LAST_CHUNK
from zuul.web.streaming.http import CLOSE_SECONDS, StreamedResponse
from zuul.web.streaming.logs import EventStream, FollowingText

DEAD_SECONDS = 90.0


class Transport(StringTransport):
    """A connection whose peer reads nothing any more."""

    dataBuffer = b"what the kernel has not taken"
    _tempDataBuffer: tuple[bytes, ...] = ()
    aborted = False

    def abortConnection(self):
        self.aborted = True


def begun(kind, *arguments):
    """A response of this kind whose head has been sent."""
    visit = SimpleNamespace(
        cors=[], dead_seconds=DEAD_SECONDS, identifier="abc", by=lambda viewer: None, over=lambda status: None
    )
    response = kind(SimpleNamespace(clientproto=b"HTTP/1.1", method=b"GET"), visit, Clock(), *arguments)
    response.makeConnection(Transport())
    return response


@pytest.fixture
def response():
    return begun(StreamedResponse)


def test_who_reads_slowly_may_read_to_the_end(response):
    response.finish()
    assert response.transport.disconnecting
    response._reactor.advance(DEAD_SECONDS - 1)
    assert not response.transport.aborted
    response._reactor.advance(1)
    assert response.transport.aborted


def test_what_breaks_off_waits_for_no_slow_reader(response):
    response.finish()
    response.break_off()
    response._reactor.advance(CLOSE_SECONDS)
    assert response.transport.aborted


EXPIRED = (
    b'event: error\ndata: {"code": 4001, "reason": "the token has expired; connect again with another, where you are"}'
)


@pytest.mark.parametrize(
    ("kind", "arguments", "said", "whole"),
    [
        (FollowingText, (Deferred, 0), b"", False),
        (EventStream, (Deferred, 0), EXPIRED, True),
        (EventsResponse, (EventsListener(None),), EXPIRED, True),
    ],
)
def test_who_has_only_an_expired_token_is_told_so_as_far_as_the_form_can(kind, arguments, said, whole):
    response = begun(kind, *arguments)
    response.transport.clear()

    response.expired()

    sent = response.transport.value()
    assert said in sent
    assert sent.endswith(LAST_CHUNK) is whole
    assert response.transport.disconnecting
