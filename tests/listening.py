# SPDX-License-Identifier: Apache-2.0
"""Feeds over real snapshots, with a scheduler that says what a test wants, under a clock that the tests turn."""

from __future__ import annotations

import json
import threading

from histories import gate
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from zuul.web.snapshots import Snapshots
from zuul.web.streaming.feed import Feeds

PATIENCE_SECONDS = 20
WINDOW_SECONDS = 30
WALL = 1_600_000_000.0


class Airport(Snapshots):
    """Tells when all flights have landed."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self._begun = 0
        self._landings = threading.Semaphore(0)

    def _take_off(self, *arguments):
        super()._take_off(*arguments)
        self._begun += 1

    def _fly(self, *arguments):
        super()._fly(*arguments)
        self._landings.release()

    def settle(self):
        while self._begun:
            assert self._landings.acquire(timeout=PATIENCE_SECONDS)
            self._begun -= 1


class Thread:
    """Does what is asked at once, or when it is let go."""

    def __init__(self):
        self.held = None
        self.done = []

    def __call__(self, function, *arguments):
        self.done.append(function.__name__)
        if self.held is None:
            return maybeDeferred(function, *arguments)
        result = Deferred()
        self.held.append((result, function, arguments))
        return result

    def hold(self):
        self.held = []

    def let_go(self):
        held, self.held = self.held, None
        for result, function, arguments in held:
            maybeDeferred(function, *arguments).chainDeferred(result)


class World:
    """One tenant, `t`, unless a test says otherwise."""

    def __init__(self):
        self.clock = Clock()
        self.status = gate()
        self.error = None
        self.calls = []
        self.thread = Thread()
        self.snapshots = Airport(self._fetch, stale_seconds=5, clock=self.clock.seconds)
        self.feeds = Feeds(
            self.snapshots,
            window_seconds=WINDOW_SECONDS,
            clock=self.clock,
            in_thread=self.thread,
            wall=lambda: WALL + self.clock.seconds(),
        )

    def _fetch(self, tenant):
        self.calls.append(tenant)
        if self.error is not None:
            raise self.error
        return self.status if isinstance(self.status, bytes) else json.dumps(self.status).encode()

    def go_on(self, seconds=3.0):
        """Long enough for a new status to be seen, unless told otherwise."""
        self.snapshots.settle()
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.snapshots.settle()

    def show(self, status):
        self.status = status
        self.go_on()

    def listener(self, *arguments, **named):
        made = Reader(self.feeds, *arguments, **named)
        self.go_on(0.5)
        return made


class Reader:
    """A listener that reads whatever there is as soon as it is told."""

    def __init__(self, feeds, last_event_id=None, want_state=True, tenant="t"):
        self.messages = []
        self.wakes = 0
        self.error = None
        self.feed = None
        self.raises = None
        self.joined = feeds.join(tenant, self, last_event_id, want_state)
        self.joined.addCallbacks(self._begin, self._refused)

    def _begin(self, joined):
        self.feed, piece, self.position = joined
        self.messages += piece

    def _refused(self, failure):
        self.error = failure.value

    def wake(self):
        self.wakes += 1
        if self.raises:
            raise self.raises
        self.read()

    def read(self):
        while piece := self.feed.after(self.position):
            self.messages += piece
            self.position = piece[-1].sequence

    def end(self, error):
        self.error = error

    @property
    def types(self):
        return [message.type for message in self.messages]

    @property
    def last_id(self):
        return self.messages[-1].id

    def said(self):
        return [json.loads(message.text) for message in self.messages]
