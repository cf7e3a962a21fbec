# SPDX-License-Identifier: Apache-2.0
"""The events of a tenant, computed once however many listen.

    Snapshots --look--> Feed --in a thread: decode, compare, render--> Window --wake, after--> listeners

Listeners pull. A feed holds nothing for any of them but its place in a table: it calls `wake`, and a listener that can
write reads on from its own position, `feed.after(position)`. One that cannot write for a while leaves it there, and one
that was away for too long joins again.

Feeds, windows and the table of listeners belong to the thread of the reactor, and all that is here is called there.
Only `_compare` runs in other threads, and a `_State` is made there, of looks and snapshots, which never change. No
method waits.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from twisted.internet.defer import Deferred, fail

from zuul.web.errors import NotFound, RestError, ServerError, Unavailable
from zuul.web.snapshots import Flight, Snapshot, Snapshots
from zuul.web.streaming.differences import differences, state
from zuul.web.streaming.looks import Look
from zuul.web.streaming.messages import NOTHING, NOTHING_YET, Lost, Message, Piece, Window, rfc3339
from zuul.web.streaming.spool import InThread

log = logging.getLogger("zuul.web.streaming.feed")

PEEK_SECONDS = 0.1
"""Between two questions whether there is a newer snapshot, which cost 5 us."""
COMPARE_SECONDS = 1.0
"""Between two comparisons, at least."""
EPOCH_BYTES = 4


class Listener(Protocol):
    """One connection. Told apart by identity."""

    def wake(self) -> None:
        """There is something after your position, or after what you have joined with. Must not wait."""

    def end(self, error: RestError) -> None:
        """There will be no more, and you have been left out already."""


class Joined(NamedTuple):
    """What a listener begins with."""

    feed: Feed
    piece: Piece
    """To be sent first: the state; or a restart and the state; or the beginning of what was missed; or nothing. Where
    it has a state it may be large, some MB."""
    position: int
    """To read on from; `wake` is called soon if there is more."""


class _Joiner(NamedTuple):
    """A listener that has nothing yet."""

    listener: Listener
    last_event_id: str | None
    want_state: bool
    deferred: Deferred[Joined]


class Feed:
    """The events of one tenant, from its first listener until `window_seconds` after the last has gone.

    :param wall: epoch seconds, for the times in messages.
    :param ended: called once, when it has ended for whatever reason.
    """

    def __init__(
        self,
        tenant: str,
        snapshots: Snapshots,
        *,
        window_seconds: float,
        clock: Any,
        in_thread: InThread,
        wall: Callable[[], float],
        ended: Callable[[Feed], None],
    ) -> None:
        self.tenant = tenant
        self._snapshots = snapshots
        self._window_seconds = window_seconds
        self._clock = clock
        self._in_thread = in_thread
        self._wall = wall
        self._on_end = ended
        self._ended = False
        self._window = Window(secrets.token_hex(EPOCH_BYTES), window_seconds)
        self._listeners: dict[Listener, None] = {}
        self._joiners: dict[Listener, _Joiner] = {}
        self._alone_since = clock.seconds()
        self._next_tick: Any = None
        self._flight: Flight | None = None
        """The one that is waited for, while there is nothing else to have."""
        self._snapshot: Snapshot | None = None
        """The newest that was taken in, be it compared or not."""
        self._comparing = False
        self._compared_at = float("-inf")
        self._look: Look | None = None
        """What the listeners know: the state at the last sequence of the window."""
        self._look_time = ""
        self._state: _State | None = None
        """The state at the last sequence, once somebody has wanted it."""
        self._rendering_state = False

    # What listeners call.

    def join(self, listener: Listener, last_event_id: str | None = None, want_state: bool = True) -> Deferred[Joined]:
        """Begin to listen, or begin anew after `Lost`. `wake` is first called after the Deferred has fired.

        :param last_event_id: of the last message that the client has got, however it looks.
        :param want_state: without an id, whether to begin with the state. What was lost is always made up for by one.
        :returns: fails with one of our errors where there is no such tenant, or nothing known of it yet and the
            scheduler does not answer. To cancel it is to leave.
        """
        if self._ended:
            return fail(Unavailable("these events have ended"))
        self._listeners.pop(listener, None)
        deferred: Deferred[Joined] = Deferred(lambda _: self.leave(listener))
        joiner = self._joiners[listener] = _Joiner(listener, last_event_id, want_state, deferred)
        if self._look is not None:
            self._answer(joiner)
        return deferred

    def leave(self, listener: Listener) -> None:
        """Listen no more; a Deferred of `join` that has not fired will not, unless it is being cancelled."""
        self._listeners.pop(listener, None)
        self._joiners.pop(listener, None)
        if not self._listeners and not self._joiners:
            self._alone_since = self._clock.seconds()

    def after(self, position: int) -> Piece:
        """The next messages after a position, which is the `sequence` of the last one read; empty if there are none.

        A piece is what to write at once. Who has written it all asks again, until there is nothing.

        :raises Lost: they are no longer kept. To go on, join again with the id of the last message.
        """
        return self._window.after(position)

    # What goes on by itself.

    def tick(self) -> None:
        """See what there is to do, and again in a moment. Called once, by who made it."""
        now = self._clock.seconds()
        self._window.forget(now)
        if not self._listeners and not self._joiners and now - self._alone_since >= self._window_seconds:
            self.end(Unavailable("nobody listens"))
            return
        if not self._comparing and now - self._compared_at >= COMPARE_SECONDS:
            try:
                self._peek(now)
            except Exception:
                log.exception("events of %s", self.tenant)
                self.end(ServerError("the status of this tenant cannot be made out"))
        if not self._ended:
            self._next_tick = self._clock.callLater(PEEK_SECONDS, self.tick)

    def _peek(self, now: float) -> None:
        try:
            snapshot = self._newest()
        except NotFound as error:
            self.end(error)
            return
        except RestError as error:
            if self._look is None:
                self.end(error)
            return  # else it goes on once the scheduler is back
        last = self._snapshot
        if snapshot is None or snapshot is last or (last is not None and snapshot.fetched <= last.fetched):
            return  # what another process asked for earlier would have things happen backwards
        self._snapshot = snapshot
        if last is not None and snapshot.etag == last.etag:
            return
        self._comparing = True
        self._compared_at = now
        window, seen = self._window, rfc3339(self._wall())
        comparison = self._in_thread(_compare, self._look, snapshot, window.epoch, window.last, seen)
        comparison.addCallbacks(self._compared, self._not_compared, callbackArgs=(seen,))
        comparison.addErrback(_log_failure)

    def _newest(self) -> Snapshot | None:
        """The newest snapshot; None while the flight that brings it is under way."""
        if self._flight is None:
            found = self._snapshots.look(self.tenant)
        elif self._flight.landed.done():
            flight, self._flight = self._flight, None
            found = self._snapshots.landed(self.tenant, flight)
        else:
            return None
        if isinstance(found, Flight):
            self._flight = found
            return None
        return found

    def _compared(self, result: tuple[Look, list[Message]], seen: str) -> None:
        if self._ended:
            return
        self._comparing = False
        self._look, messages = result
        self._look_time = seen
        if messages:
            self._state = None
            self._window.append(messages, self._clock.seconds())
            for listener in tuple(self._listeners):
                self._wake(listener)
        self._answer_all()

    def _not_compared(self, failure: Any) -> None:
        """A status that is none, or a defect of ours. The next one is compared with what is known."""
        self._comparing = False
        log.error("events of %s: %s", self.tenant, failure.getTraceback())
        if self._look is None:
            self.end(ServerError("the status of this tenant cannot be made out"))

    def _answer(self, joiner: _Joiner, state: _State | None = None) -> None:
        """Give a joiner what it begins with; where that is a state that nobody has rendered, have it rendered first.

        :param state: the one that has just been rendered, which may be behind the window by now.
        """
        reason = None
        if joiner.last_event_id is not None:
            try:
                missed = self.after(self._window.sequence_of(joiner.last_event_id))
            except Lost as lost:
                reason = str(lost)
            else:
                self._welcome(joiner, missed)
                return
        elif not joiner.want_state:
            self._welcome(joiner, NOTHING)
            return
        state = state or self._state
        if state is not None:
            self._welcome(joiner, state.piece(reason))
        elif not self._rendering_state:
            self._rendering_state = True
            window = self._window
            rendering = self._in_thread(_State, self._look, window.epoch, window.last, self._look_time)
            rendering.addCallbacks(self._state_rendered, self._state_not_rendered)
            rendering.addErrback(_log_failure)

    def _state_rendered(self, state: _State) -> None:
        self._rendering_state = False
        if state.message.sequence == self._window.last:
            self._state = state
        self._answer_all(state)

    def _state_not_rendered(self, failure: Any) -> None:
        self._rendering_state = False
        log.error("state of %s: %s", self.tenant, failure.getTraceback())
        self._refuse_all(ServerError("the state of this tenant cannot be made out"))

    def _answer_all(self, state: _State | None = None) -> None:
        for joiner in tuple(self._joiners.values()):
            if self._joiners.get(joiner.listener) is joiner:  # it may have left meanwhile
                self._answer(joiner, state)

    def _refuse_all(self, error: RestError) -> None:
        joiners, self._joiners = self._joiners, {}
        for joiner in joiners.values():
            joiner.deferred.errback(error.with_traceback(None))

    def _welcome(self, joiner: _Joiner, piece: Piece) -> None:
        listener = joiner.listener
        del self._joiners[listener]
        self._listeners[listener] = None
        position = piece[-1].sequence if piece else self._window.last
        joiner.deferred.callback(Joined(self, piece, position))
        if position != self._window.last:
            self._clock.callLater(0, self._wake, listener)  # who called `join` has not seen its result yet

    def _wake(self, listener: Listener) -> None:
        if listener in self._listeners:  # else it has left meanwhile
            _tell(listener.wake)

    def end(self, error: RestError) -> None:
        """Tell everybody that there will be no more, and why."""
        if self._ended:
            return
        self._ended = True
        if self._next_tick is not None and self._next_tick.active():
            self._next_tick.cancel()
        self._on_end(self)
        listeners, self._listeners = self._listeners, {}
        for listener in listeners:
            _tell(listener.end, error)
        self._refuse_all(error)


class Feeds:
    """The feed of each tenant that somebody listens to, or did a moment ago. Belongs to the reactor's thread.

    :param window_seconds: how long messages are kept, and a feed that nobody listens to.
    :param clock: the reactor, or what has its `seconds` and `callLater`.
    :param in_thread: calls a function with its arguments in another thread. That takes some 0.1 s of each second for
        each large tenant, so one or two threads do.
    """

    def __init__(
        self,
        snapshots: Snapshots,
        *,
        window_seconds: float,
        clock: Any,
        in_thread: InThread,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._snapshots = snapshots
        self._window_seconds = window_seconds
        self._clock = clock
        self._in_thread = in_thread
        self._wall = wall
        self._feeds: dict[str, Feed] = {}
        self._closed = False

    def join(
        self, tenant: str, listener: Listener, last_event_id: str | None = None, want_state: bool = True
    ) -> Deferred[Joined]:
        """Begin to listen to a tenant; see `Feed.join`. From then on everything is asked of `Joined.feed`."""
        if self._closed:
            return fail(Unavailable("the server stops"))
        feed = self._feeds.get(tenant)
        if feed is not None:
            return feed.join(listener, last_event_id, want_state)
        feed = self._feeds[tenant] = Feed(
            tenant,
            self._snapshots,
            window_seconds=self._window_seconds,
            clock=self._clock,
            in_thread=self._in_thread,
            wall=self._wall,
            ended=self._forget,
        )
        joined = feed.join(listener, last_event_id, want_state)
        feed.tick()
        return joined

    def _forget(self, feed: Feed) -> None:
        del self._feeds[feed.tenant]

    def close(self) -> None:
        """End all feeds, and let nobody join any more."""
        self._closed = True
        for feed in tuple(self._feeds.values()):
            feed.end(Unavailable("the server stops"))


def _compare(before: Look | None, snapshot: Snapshot, epoch: str, last: int, seen: str) -> tuple[Look, list[Message]]:
    """In a thread: the look at a snapshot, and the messages that lead there, if there is something to start from."""
    look = Look(snapshot.document)
    happened = [] if before is None else differences(before, look)
    return look, [Message.of(members, epoch, n, seen) for n, members in enumerate(happened, last + 1)]


class _State:
    """A state, and what begins with it, shared by all who begin there; after a restart of ours that is everybody."""

    def __init__(self, look: Look, epoch: str, sequence: int, seen: str) -> None:
        self.message = Message.of(state(look), epoch, sequence, seen)
        self._epoch = epoch
        self._seen = seen
        self._pieces: dict[str | None, Piece] = {}

    def piece(self, reason: str | None) -> Piece:
        """:param reason: why it is a restart, one of those that a `Window` has."""
        if reason not in self._pieces:
            restart = {"type": "restart", "reason": reason}
            # Not of the window: its id is one that everything has been missed after.
            before = () if reason is None else (Message.of(restart, self._epoch, NOTHING_YET, self._seen),)
            self._pieces[reason] = Piece((*before, self.message))
        return self._pieces[reason]


def _tell(method: Callable[..., None], *arguments: object) -> None:
    """Call a listener, whose defects are no other's business."""
    try:
        method(*arguments)
    except Exception:
        log.exception("a listener")


def _log_failure(failure: Any) -> None:
    log.error("events: %s", failure.getTraceback())
