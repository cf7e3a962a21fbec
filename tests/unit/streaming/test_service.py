# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from services import wait_until
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from zuul.web.settings import Rest, Web
from zuul.web.streaming.service import Streaming


class Viewer:
    stopped = False
    has_expired = 0
    outlet = SimpleNamespace(blocked=False)

    def stop(self):
        self.stopped = True

    def expired(self):
        self.has_expired += 1


def visit_of(streaming):
    request = SimpleNamespace(
        getHeader=lambda name: None,
        getClientAddress=lambda: IPv4Address("TCP", "127.0.0.1", 40000),
        method=b"GET",
    )
    return streaming._visits.of(request, "/v1/tenants/one/builds/abc/log")


def test_who_begins_to_stream_while_the_server_stops_is_told_so():
    clock = Clock()
    settings = SimpleNamespace(rest=Rest(), web=Web())
    streaming = Streaming(settings, None, None, None, clock)
    visit = visit_of(streaming)
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


class Admitting:
    """A guard that lets everybody in for 600 seconds, as of the second 1000."""

    def admit_reader(self, authorization, tenant):
        return SimpleNamespace(expires=1600.0)

    def protects(self, tenant):
        return tenant == "protected"


@pytest.fixture
def admitting():
    """A running service, by whose clock it is the second 1000."""
    clock = Clock()
    clock.callFromThread = lambda call, *arguments: call(*arguments)
    settings = SimpleNamespace(rest=Rest(), web=Web())
    streaming = Streaming(settings, None, None, Admitting(), clock, wall=lambda: 1000.0)
    streaming.start()
    yield streaming, clock
    streaming.stop()
    streaming.join()


@pytest.mark.parametrize("token_first", [True, False], ids=["at the handshake", "by message"])
def test_who_has_a_token_may_stay_until_it_expires(admitting, token_first):
    streaming, clock = admitting
    visit, viewer = visit_of(streaming), Viewer()
    if not token_first:
        visit.by(viewer)
    admitted = streaming._admit("Bearer token", "protected", visit)
    wait_until(lambda: admitted.called)
    if token_first:
        visit.by(viewer)

    clock.pump([1] * 599)
    assert not viewer.has_expired
    clock.pump([1] * 3)
    assert viewer.has_expired == 1


def test_where_none_is_needed_it_may_expire(admitting):
    streaming, clock = admitting
    visit, viewer = visit_of(streaming), Viewer()
    admitted = streaming._admit("Bearer token", "open", visit)
    wait_until(lambda: admitted.called)
    visit.by(viewer)

    clock.pump([1] * 700)
    assert not viewer.has_expired


def test_who_has_gone_is_not_watched_any_more(admitting):
    streaming, clock = admitting
    visit, viewer = visit_of(streaming), Viewer()
    visit.expire_at(clock.seconds() + 5)
    visit.by(viewer)
    visit.over(200)

    clock.pump([1] * 7)
    assert not viewer.has_expired
    assert streaming._visits.expiring == {}
