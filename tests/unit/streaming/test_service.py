# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
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
    streaming = Streaming(settings, None, None, None, clock)
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


def test_the_spools_have_threads_of_their_own():
    clock = Clock()
    clock.getThreadPool = lambda: pytest.fail("names are looked up in these, and may take all of them for long")
    clock.callFromThread = lambda call, *arguments: call(*arguments)
    streaming = Streaming(SimpleNamespace(rest=Rest(), web=Web()), None, None, None, clock)
    streaming.start()
    written = streaming._hub._room.in_thread(threading.current_thread)
    streaming.stop()
    streaming.join()
    assert written.result.name.startswith("PoolThread-spools")
