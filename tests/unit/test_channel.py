# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from zuul.web.filters import StatusUrls
from zuul.web.server import _Site


class Waiting(Resource):
    """Has not made up its mind."""

    isLeaf = True

    def render(self, request):
        return NOT_DONE_YET


class Taker(Protocol):
    received = b""

    def dataReceived(self, data):
        self.received += data


@pytest.mark.parametrize("body", [b"", b"Content-Length: 3\r\n"])
def test_who_takes_a_connection_over_gets_all_that_came_behind_the_request(body):
    site = _Site(Waiting(), snapshots=None, urls=StatusUrls(), ready=None, log_requests=False, max_body_bytes=1000)
    site.timeOut = None
    channel = site.buildProtocol(None)
    channel.makeConnection(StringTransport())
    channel.dataReceived(b"GET / HTTP/1.1\r\nHost: x\r\n" + body + b"\r\n" + (b"abc" if body else b"") + b"one ")
    channel.dataReceived(b"two")
    taker = Taker()
    channel.hand_over(taker, b"first ")
    assert taker.received == b"first one two"
