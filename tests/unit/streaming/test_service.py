# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from types import SimpleNamespace

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from zuul.web.settings import Rest, Web
from zuul.web.streaming.service import Streaming


class Viewer:
    stopped = False

    def stop(self):
        self.stopped = True


def test_who_begins_to_stream_while_the_server_stops_is_told_so():
    clock = Clock()
    settings = SimpleNamespace(rest=Rest(), web=Web())
    streaming = Streaming(settings, None, None, clock)
    request = SimpleNamespace(
        getHeader=lambda name: None,
        getClientAddress=lambda: IPv4Address("TCP", "127.0.0.1", 40000),
        method=b"GET",
    )
    visit = streaming._visits.of(request, "/v1/tenants/one/builds/abc/log")
    visit.enter()
    gone = streaming.stop()
    viewer = Viewer()
    visit.by(viewer)
    assert not viewer.stopped  # its connection is not set up yet
    clock.advance(0)
    assert viewer.stopped
    visit.over(200)
    assert gone.called
