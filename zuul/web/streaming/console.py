# SPDX-License-Identifier: Apache-2.0
"""console-stream: the log of a build by websocket, as upstream's clients ask for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from zuul.web.streaming.endings import SERVER_STOPS, Ending, bad_request, ending_of
from zuul.web.streaming.forms import Text
from zuul.web.streaming.hub import Hub
from zuul.web.streaming.outlet import Outlet
from zuul.web.streaming.source import Reader, Source
from zuul.web.streaming.visits import Visit
from zuul.web.streaming.websockets import Websocket

REQUEST_SECONDS = 10.0
"""How long the request may take to come after the handshake."""


Admit = Callable[["str | None"], "Deferred[Any]"]
"""Fails, unless the bearer of this token may read what the stream is about."""


class ConsoleStream(Websocket):
    """One viewer of a log.

    :param tenant: whose builds may be seen; None: everybody's.
    """

    def __init__(self, hub: Hub, tenant: str | None, visit: Visit, reactor: Any, admit: Admit | None = None) -> None:
        super().__init__()
        self._admit = admit
        self.visit = visit
        self._hub = hub
        self._tenant = tenant
        self._reactor = reactor
        self._deadline: Any = None
        self._search: Deferred[Source] | None = None
        self._reader: _FrameReader | None = None
        self._has_asked = False

    def opened(self) -> None:
        self.visit.by(self)
        self._deadline = self._reactor.callLater(REQUEST_SECONDS, self._nothing_asked)

    def asked(self, text: str) -> None:
        if self._has_asked:
            self.end(bad_request("one request is enough for a connection"))
            return
        self._has_asked = True
        self._cancel_deadline()
        request = _request(text)
        if isinstance(request, str):
            self.end(bad_request(request))
            return
        uuid, offset, token = request
        if self._admit is None:
            self._search = self._hub.source(self._tenant, uuid, offset)
        else:
            self._search = self._admit(token).addCallback(lambda _: self._hub.source(self._tenant, uuid, offset))
        self._search.addCallback(self._begin, offset).addErrback(self._refuse)

    def stop(self) -> None:
        self.end(SERVER_STOPS)

    def drained(self) -> None:
        if self._reader is not None:
            self._reader.drained()

    def left(self) -> None:
        self._cancel_deadline()
        if self._search is not None:
            self._search.cancel()
        if self._reader is not None:
            self._reader.leave()

    def _begin(self, source: Source, offset: int) -> None:
        self._search = None
        self._reader = _FrameReader(self, self.outlet, offset)
        source.attach(self._reader)

    def _refuse(self, failure: Failure) -> None:
        self._search = None
        if not failure.check(CancelledError):
            self.end(ending_of(failure.value))

    def _nothing_asked(self) -> None:
        self._deadline = None
        self.end(bad_request(f"no request within {REQUEST_SECONDS:.0f} seconds"))

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class _FrameReader(Reader):
    def __init__(self, console: ConsoleStream, outlet: Outlet, position: int) -> None:
        super().__init__(outlet, position)
        self._console = console

    def form(self, text: Text) -> bytes:
        return text.frame

    def ended(self, ending: Ending) -> None:
        self._console.end(ending)


def _request(text: str) -> tuple[str, int, str | None] | str:
    """Uuid, offset and token that a message asks for, or what is wrong with it."""
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return "the request is not JSON"
    if not isinstance(request, dict):
        return "the request is not a JSON object"
    for key in ("uuid", "logfile"):
        if key not in request:
            return f"'{key}' missing from request payload"
    uuid, offset = request["uuid"], request.get("offset", 0)
    if not isinstance(uuid, str):
        return "'uuid' must be a string"
    if type(offset) is not int or not 0 <= offset < 1 << 63:
        return "'offset' must be a number of bytes"
    token = request.get("token")
    return uuid, offset, token if isinstance(token, str) and token else None
