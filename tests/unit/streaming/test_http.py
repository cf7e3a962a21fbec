# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from zuul.web.streaming.http import CLOSE_SECONDS, StreamedResponse

DEAD_SECONDS = 90.0


class Transport(StringTransport):
    """A connection whose peer reads nothing any more."""

    dataBuffer = b"what the kernel has not taken"
    _tempDataBuffer: tuple[bytes, ...] = ()
    aborted = False

    def abortConnection(self):
        self.aborted = True


@pytest.fixture
def response():
    visit = SimpleNamespace(
        cors=[], dead_seconds=DEAD_SECONDS, identifier="abc", by=lambda viewer: None, over=lambda status: None
    )
    response = StreamedResponse(SimpleNamespace(clientproto=b"HTTP/1.1", method=b"GET"), visit, Clock())
    response.makeConnection(Transport())
    return response


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
