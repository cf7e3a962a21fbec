# SPDX-License-Identifier: Apache-2.0
"""The events of a tenant, for one listener: by websocket, or as Server-Sent Events."""

from __future__ import annotations

import json
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from zuul.web.errors import RestError
from zuul.web.streaming.endings import EXPIRED, NOT_READING, SERVER_STOPS, Ending, bad_request, unavailable
from zuul.web.streaming.feed import Feed, Feeds, Joined
from zuul.web.streaming.forms import PING_EVENT, as_chunk, as_event
from zuul.web.streaming.http import StreamedResponse
from zuul.web.streaming.messages import Lost, Piece
from zuul.web.streaming.outlet import Outlet
from zuul.web.streaming.visits import Visit
from zuul.web.streaming.websockets import Websocket


class Connection(Protocol):
    """What a listener writes to."""

    outlet: Outlet

    def form(self, piece: Piece) -> bytes:
        """What is written of some messages."""

    def end(self, ending: Ending) -> None:
        """There will be no more."""


class EventsListener:
    """One listener's way through the feed of its tenant. Belongs to the reactor's thread.

    It joins before it has a connection, so that a tenant which does not exist can be a 404.
    """

    def __init__(self, last_event_id: str | None) -> None:
        self._last_id = last_event_id
        self._feed: Feed | None = None
        self._piece: Piece | None = None
        """What to begin with, until it is written."""
        self._position = 0
        self._connection: Connection | None = None
        self._joining: Deferred[Any] | None = None

    def join(self, feeds: Feeds, tenant: str, want_state: bool) -> Deferred[None]:
        """Fires when there is something to begin with. :raises RestError: there never will be."""
        return feeds.join(tenant, self, self._last_id, want_state).addCallback(self._joined)

    def begin(self, connection: Connection) -> None:
        """Here is the connection."""
        self._connection = connection
        self.wake()

    def leave(self) -> None:
        """The connection is gone."""
        feed, self._feed = self._feed, None
        self._connection = None
        if self._joining is not None:
            self._joining.cancel()
        if feed is not None:
            feed.leave(self)

    def wake(self) -> None:
        """Write until there is nothing more, or the connection takes no more. For the feed and the outlet."""
        connection = self._connection
        while connection is not None and self._feed is not None and not connection.outlet.blocked:
            try:
                piece = self._piece or self._feed.after(self._position)
            except Lost:
                if self._joining is None:
                    self._joining = self._feed.join(self, self._last_id)
                    self._joining.addCallbacks(self._joined_again, self._not_joined)
                return
            if not piece:
                return
            self._piece = None
            self._position, self._last_id = piece[-1].sequence, piece[-1].id
            connection.outlet.write(connection.form(piece))

    def end(self, error: RestError) -> None:
        """The feed has ended."""
        connection = self._connection
        self._feed = None
        if connection is not None:
            connection.end(unavailable(error.message))

    def _joined(self, joined: Joined) -> None:
        self._feed, self._piece, self._position = joined

    def _joined_again(self, joined: Joined) -> None:
        self._joining = None
        self._joined(joined)
        self.wake()

    def _not_joined(self, failure: Failure) -> None:
        self._joining = None
        if not failure.check(CancelledError):
            self.end(failure.value)


class EventsWebsocket(Websocket):
    """A listener by websocket, which says nothing itself."""

    def __init__(self, listener: EventsListener, visit: Visit) -> None:
        super().__init__()
        self.visit = visit
        self._listener = listener

    def opened(self) -> None:
        self.visit.by(self)
        self._listener.begin(self)

    def form(self, piece: Piece) -> bytes:
        return piece.frame

    def asked(self, text: str) -> None:
        self.end(bad_request("here is nothing to ask for"))

    def drained(self) -> None:
        self._listener.wake()

    def left(self) -> None:
        self._listener.leave()

    def stop(self) -> None:
        self.end(SERVER_STOPS)


class EventsResponse(StreamedResponse):
    """A listener by Server-Sent Events."""

    content_type = "text/event-stream; charset=utf-8"
    ping = PING_EVENT

    def __init__(self, request: Any, visit: Visit, reactor: Any, listener: EventsListener) -> None:
        super().__init__(request, visit, reactor)
        self._listener = listener

    def begun(self) -> None:
        self._listener.begin(self)

    def form(self, piece: Piece) -> bytes:
        return piece.event_chunk if self.chunked else piece.event

    def drained(self) -> None:
        self._listener.wake()

    def left(self) -> None:
        self._listener.leave()

    def end(self, ending: Ending) -> None:
        event = as_event("error", json.dumps({"code": ending.code, "reason": ending.reason}))
        self.transport.write(as_chunk(event) if self.chunked else event)
        self.finish()

    def stop(self) -> None:
        self.break_off()  # clients connect again by themselves, and another server may be there

    def too_slow(self) -> None:
        self.end(NOT_READING)

    def expired(self) -> None:
        self.end(EXPIRED)
