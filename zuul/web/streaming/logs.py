# SPDX-License-Identifier: Apache-2.0
"""The log of a build over plain HTTP: Server-Sent Events, text that follows the build, and what there is now."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, inlineCallbacks
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from zuul.web.errors import RangeNotSatisfiable
from zuul.web.streaming.endings import END_OF_LOG, EXPIRED, NOT_READING, SERVER_STOPS, Ending, ending_of
from zuul.web.streaming.forms import PING_EVENT, Text, as_chunk, as_event
from zuul.web.streaming.http import StreamedResponse, respond
from zuul.web.streaming.hub import Hub
from zuul.web.streaming.outlet import Outlet
from zuul.web.streaming.source import Reader, Source
from zuul.web.streaming.visits import Visit

Wait = Callable[[], "Deferred[Source]"]


class _LogReader(Reader):
    """Reads for a response."""

    def __init__(self, response: FollowingText, outlet: Outlet, position: int) -> None:
        super().__init__(outlet, position)
        self._response = response
        self.whole_characters = response.whole_characters

    def form(self, text: Text) -> bytes:
        return self._response.form(text)

    def ended(self, ending: Ending) -> None:
        self._response.end(ending)


class FollowingText(StreamedResponse):
    """The log as chunked text, up to its end. Cut off if anything else ends it.

    :param wait: gives the source, which may be known already.
    """

    whole_characters = False

    def __init__(self, request: Any, visit: Visit, reactor: Any, wait: Wait, position: int) -> None:
        super().__init__(request, visit, reactor)
        self._wait = wait
        self._position = position
        self._search: Deferred[Source] | None = None
        self._reader: _LogReader | None = None

    def begun(self) -> None:
        self._search = self._wait()
        self._search.addCallback(self._found).addErrback(self._refused)

    def form(self, text: Text) -> bytes:
        return text.chunk if self.chunked else text.data

    def end(self, ending: Ending) -> None:
        if ending == END_OF_LOG:
            self.finish()
        else:
            self.break_off()

    def stop(self) -> None:
        self.end(SERVER_STOPS)

    def too_slow(self) -> None:
        self.end(NOT_READING)

    def expired(self) -> None:
        self.end(EXPIRED)

    def drained(self) -> None:
        if self._reader is not None:
            self._reader.drained()

    def left(self) -> None:
        if self._search is not None:
            self._search.cancel()
        if self._reader is not None:
            self._reader.leave()

    def _found(self, source: Source) -> None:
        self._search = None
        self._reader = _LogReader(self, self.outlet, self._position)
        source.attach(self._reader)

    def _refused(self, failure: Failure) -> None:
        self._search = None
        if not failure.check(CancelledError):
            self.end(ending_of(failure.value))


class EventStream(FollowingText):
    """The log as Server-Sent Events, with offsets to resume at, and an end that says how it ended."""

    whole_characters = True
    content_type = "text/event-stream; charset=utf-8"
    ping = PING_EVENT

    def form(self, text: Text) -> bytes:
        return text.event_chunk if self.chunked else text.event

    def end(self, ending: Ending) -> None:
        if ending == SERVER_STOPS:
            self.break_off()  # clients connect again by themselves, and another server may be there
            return
        name = "end" if ending == END_OF_LOG else "error"
        event = as_event(name, json.dumps({"code": ending.code, "reason": ending.reason}))
        self.transport.write(as_chunk(event) if self.chunked else event)
        self.finish()


class LogAnswer:
    """The answer to one request for a log, up to where its form has taken over."""

    def __init__(self, hub: Hub, tenant: str, uuid: str, position: int, visit: Visit, reactor: Any) -> None:
        self._hub = hub
        self._build = (tenant, uuid, position)
        self._position = position
        self._visit = visit
        self._reactor = reactor

    @inlineCallbacks
    def stream(self, request: Any, form: type[FollowingText]) -> Any:
        """Follow the log in one of the two streaming forms. :raises RestError: there is nothing to follow."""
        source = yield self._hub.source_now(*self._build)
        if source is not None:
            yield from self._wait_for(source, "began")
            if source.ending is not None and source.ending != END_OF_LOG and not source.spool.end:
                raise source.ending.error
        response = form(request, self._visit, self._reactor, lambda: self._hub.source(*self._build), self._position)
        response.accept(request)

    @inlineCallbacks
    def present(self, request: Any) -> Any:
        """Send what there is now. :raises RestError: there is nothing, nor will there be."""
        source = yield self._hub.source_now(*self._build)
        if source is None:
            _head(request, self._visit, self._position, 0, more=True)
            request.finish()
            return
        yield from self._wait_for(source, "caught_up")
        end = source.spool.end
        if source.ending is not None and source.ending != END_OF_LOG and self._position >= end:
            raise source.ending.error
        if self._position > end:
            raise RangeNotSatisfiable(f"the log has {end} bytes so far", end)
        _head(request, self._visit, end, end - self._position, more=source.ending != END_OF_LOG)
        if end > self._position:
            sender = _Sender(request, source, self._position, end, self._reactor.seconds)
            self._visit.by(sender)
            request.registerProducer(sender, True)
            sender.resumeProducing()
            yield sender.done
            request.unregisterProducer()
        request.finish()

    @staticmethod
    def _wait_for(source: Source, moment: str) -> Any:
        """A source may not go away meanwhile, and who waits may."""
        waiting = getattr(source, moment)
        if waiting is None:
            return
        source.hold()
        mine: Deferred[None] = Deferred()
        waiting.addCallback(lambda _: mine.called or mine.callback(None))
        try:
            yield mine
        finally:
            source.release()


def _head(request: Any, visit: Visit, end: int, size: int, *, more: bool) -> None:
    fields = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(size)),
        ("X-Text-Size", str(end)),
        ("X-More-Data", "true" if more else "false"),
    ]
    respond(request, 200, fields, visit)


@implementer(IPushProducer)
class _Sender:
    """Sends a part of a spool, whose size has been promised already. A viewer, and its own outlet."""

    def __init__(self, request: Any, source: Source, position: int, end: int, seconds: Callable[[], float]) -> None:
        self.outlet = self
        self.blocked = False
        self.blocked_since = 0.0
        self.done: Deferred[None] = Deferred()
        self._request = request
        self._source = source
        self._position = position
        self._end = end
        self._seconds = seconds
        self._reading = False
        source.hold()
        self.done.addBoth(self._release)

    def resumeProducing(self) -> None:
        self.blocked = False
        while not (self.blocked or self._reading or self.done.called):
            if self._position == self._end:
                self.done.callback(None)
            elif self._position < self._source.spool.start:
                self._send(b"")
            else:
                found = self._source.spool.read(self._position)
                if isinstance(found, bytes):
                    self._send(found)
                else:
                    self._reading = True
                    found.addCallback(self._was_read)

    def pauseProducing(self) -> None:
        if not self.blocked:
            self.blocked = True
            self.blocked_since = self._seconds()

    def stopProducing(self) -> None:
        self.done.cancel()

    def stop(self) -> None:
        """Go on: what has been promised has an end, and a server that stops waits for that."""

    def expired(self) -> None:
        """Go on: it was all there while the token held."""

    def too_slow(self) -> None:
        self._break_off()

    def _break_off(self) -> None:
        self.done.cancel()
        self._request.transport.abortConnection()

    def _was_read(self, data: bytes) -> None:
        self._reading = False
        if not self.done.called:
            self._send(data)
            if not self.blocked:
                self.resumeProducing()

    def _send(self, data: bytes) -> None:
        data = data[: self._end - self._position]
        if data:
            self._position += len(data)
            self._request.write(data)
        else:  # overwritten: what was promised cannot be kept
            self._break_off()

    def _release(self, result: Any) -> Any:
        self._source.release()
        return result
