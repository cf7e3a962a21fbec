# SPDX-License-Identifier: Apache-2.0
"""The servers by twisted: all-in-one, everything on one port; and the streamer, streams alone on a port of their own.

The reactor's thread reads requests and writes answers; it never waits. WSGI applications run in a pool
of threads. What can be answered at once from memory does not even get that far: see channel.py. That is
done only while nothing but our own filters stands before the snapshots. Nor do streams get there, which have
the reactor's thread to themselves: see streaming/.
"""

from __future__ import annotations

import logging
import re
import resource as resource_limits
import socket
import threading
import time
from functools import partial
from typing import Any

from twisted.internet import defer, reactor, task, threads
from twisted.python.threadpool import ThreadPool
from twisted.web import http, resource, server, wsgi

from zuul.web import errors
from zuul.web.application import Services, all_ours, services, snapshots_in_front
from zuul.web.channel import Channel, ReadyAnswers
from zuul.web.filters import StatusUrls, WsgiApplication, error_headers
from zuul.web.origins import Origins
from zuul.web.snapshots import Snapshots
from zuul.web.streaming.gate import Gate, gate_of
from zuul.web.streaming.service import Streaming

log = logging.getLogger("zuul.web.server")

STOP_SECONDS = 30.0
"""How long requests under way may take to finish once the server is told to stop."""
IDLE_SECONDS = 75.0
"""How long a connection may stay silent between requests or within one."""


def paste_runner(application: WsgiApplication, global_conf: dict[str, str], **local_conf: str) -> None:
    """`egg:zuul-rest#server`: serve until SIGTERM or SIGINT, on [web] listen_address and port."""
    found = services(global_conf.get("zuul_conf"))
    try:
        serve(application, found)
    finally:
        found.close()


def serve(application: WsgiApplication, found: Services) -> None:
    """Listen and run the reactor; returns after a graceful stop.

    :raises OSError: the address cannot be listened on.
    """
    web, rest = found.settings.web, found.settings.rest
    pool = _pool(rest.threads)
    front = snapshots_in_front(application)
    origins = Origins(rest)
    ready = ReadyAnswers(same_for_all_origins=origins.same_for_all) if all_ours(application) else None
    # Filters that are not ours are asked about streams as about everything else.
    in_pool = partial(threads.deferToThreadPool, reactor, pool)
    streaming = _streaming(found, None if all_ours(application) else gate_of(application, in_pool))
    site = _Site(
        _Everything(
            streaming, wsgi.WSGIResource(reactor, pool, ready.recording(application) if ready else application)
        ),
        snapshots=front.snapshots if front else None,
        urls=front.urls if front else StatusUrls(),
        ready=ready,
        log_requests=rest.access_log,
        max_body_bytes=rest.max_body_bytes,
    )
    _run(site, streaming, pool, web.listen_address, web.port)


def serve_streams(found: Services) -> None:
    """`zuul-rest streamer`: the same for streams alone, on [rest] streamer_address and streamer_port.

    :raises OSError: the address cannot be listened on.
    """
    web, rest = found.settings.web, found.settings.rest
    streaming = _streaming(found)
    site = _Site(
        _Everything(streaming, _Nothing()),
        snapshots=None,
        urls=StatusUrls(),
        ready=None,
        log_requests=rest.access_log,
        max_body_bytes=rest.max_body_bytes,
    )
    _run(site, streaming, _pool(1), rest.streamer_address or web.listen_address, rest.streamer_port)


def _streaming(found: Services, gate: Gate | None = None) -> Streaming:
    return Streaming(found.settings, found.scheduler, found.snapshots, found.guard, reactor, gate)


def _pool(threads: int) -> ThreadPool:
    pool = ThreadPool(0, threads, "wsgi")
    # A request that outlives the deadline of a stop must not hold up the exit.
    pool.threadFactory = lambda *arguments, **named: threading.Thread(*arguments, daemon=True, **named)
    return pool


def _run(site: _Site, streaming: Streaming, pool: ThreadPool, address: str, port: int) -> None:
    _allow_many_connections()
    listener = listen_socket(address, port)
    port_number = listener.getsockname()[1]
    listening = reactor.adoptStreamPort(listener.fileno(), listener.family, site)
    listener.close()  # the reactor has a copy
    pool.start()
    streaming.start()

    @defer.inlineCallbacks
    def drain() -> Any:
        log.info("stopping: %d connections are open", len(site.channels))
        yield listening.stopListening()
        deadline = reactor.seconds() + STOP_SECONDS
        streams_ended = streaming.stop()
        for channel in list(site.channels):
            channel.finish_and_close()
        while (site.channels or not streams_ended.called) and reactor.seconds() < deadline:
            yield task.deferLater(reactor, 0.02, lambda: None)
        # Stopping joins threads, and those may wait for the reactor to take an answer from them.
        stopping = [threading.Thread(target=stop, daemon=True) for stop in (pool.stop, streaming.join)]
        for thread in stopping:
            thread.start()
        while any(thread.is_alive() for thread in stopping) and reactor.seconds() < deadline:
            yield task.deferLater(reactor, 0.02, lambda: None)

    reactor.addSystemEventTrigger("before", "shutdown", drain)
    log.info("listening on %s port %d", address, port_number)
    reactor.run()


def _allow_many_connections() -> None:
    """As many file descriptors as this process may have: each viewer of a stream is one."""
    soft, hard = resource_limits.getrlimit(resource_limits.RLIMIT_NOFILE)
    if soft != hard:
        resource_limits.setrlimit(resource_limits.RLIMIT_NOFILE, (hard, hard))


def listen_socket(address: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4 as well. :raises OSError: it cannot be had."""
    family, _, _, _, target = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if address == "::" else 1)
        listener.bind(target)
        listener.listen(1024)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class _Everything(resource.Resource):  # type: ignore[misc]
    """Streams, and behind them all other URLs, with the path as the client wrote it for one check."""

    isLeaf = True

    def __init__(self, streaming: Streaming, rest: resource.Resource) -> None:
        super().__init__()
        self._streaming = streaming
        self._rest = rest

    def render(self, request: server.Request) -> Any:
        path = request.uri.split(b"?", 1)[0]
        if not path.startswith(b"/"):
            return _error(request, errors.BadRequest("the path must start with a slash"))
        if not _well_encoded(path):
            return _error(request, errors.BadRequest("the path has a % without two hexadecimal digits behind it"))
        if request.clientproto == b"HTTP/1.1" and len(request.requestHeaders.getRawHeaders(b"host", ())) != 1:
            return _error(request, errors.BadRequest("a request has one Host field"))
        stream = self._streaming.find(path)
        if stream is not None:
            return self._streaming.answer(request, stream)
        return self._rest.render(request)


class _Nothing(resource.Resource):  # type: ignore[misc]
    """All other URLs of the streamer."""

    isLeaf = True

    def render(self, request: server.Request) -> Any:
        return _error(request, errors.NotFound("here are only streams; zuul-rest serves everything else"))


_scheme_and_host = re.compile(rb"https?://[^/?]*", re.IGNORECASE).match


def _origin_form(target: bytes) -> bytes:
    """A request target without scheme and host, which every server must take (RFC 9112, 3.2.2)."""
    whole = _scheme_and_host(target)
    if whole is None:
        return target
    path = target[whole.end() :]
    return path if path.startswith(b"/") else b"/" + path


def _well_encoded(path: bytes) -> bool:
    return all(
        len(piece) >= 2 and piece[:2].isalnum() and all(c in b"0123456789abcdefABCDEF" for c in piece[:2])
        for piece in path.split(b"%")[1:]
    )


def _error(request: server.Request, error: errors.RestError) -> bytes:
    body = errors.body(error)
    request.setResponseCode(error.status, error.title.encode())
    for name, value in error_headers(error, body):
        request.setHeader(name, value)
    return body


class _Site(server.Site):  # type: ignore[misc]
    """What all connections share. `snapshots` and `ready` are each None where that short way is closed."""

    def __init__(
        self,
        root: resource.Resource,
        *,
        snapshots: Snapshots | None,
        urls: StatusUrls,
        ready: ReadyAnswers | None,
        log_requests: bool,
        max_body_bytes: int,
    ) -> None:
        super().__init__(root, requestFactory=_Request, timeout=IDLE_SECONDS)
        self.protocol = Channel
        self.snapshots = snapshots
        self.urls = urls
        self.ready = ready
        self.log_requests = log_requests
        self.max_body_bytes = max_body_bytes
        self.channels: set[Channel] = set()
        self._date = (0, b"")

    def date(self) -> bytes:
        """The Date field, made once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, b"Date: " + http.datetimeToString(now) + b"\r\n")
        return self._date[1]

    def log(self, request: Any) -> None:
        """Requests are logged by RequestFilter and by the channel, not by twisted."""


class _Request(server.Request):  # type: ignore[misc]
    """A request on twisted's own way, whose body is bounded before it is read."""

    _received = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length if length is None or length <= self._limit() else 0)
        self._count(length or 0)

    def getHeader(self, key: Any) -> Any:
        if isinstance(key, bytes):
            return super().getHeader(key)
        value = super().getHeader(key.encode())  # twisted takes text for UTF-8, and clients send any bytes
        return None if value is None else value.decode("latin-1")

    def handleContentChunk(self, data: bytes) -> None:
        if self.content_length_unknown:
            self._count(len(data))
        if not self._refused:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if not self._refused:
            super().requestReceived(command, _origin_form(path), version)

    @property
    def content_length_unknown(self) -> bool:
        return bool(self.channel.length is None)

    def _limit(self) -> int:
        return int(self.channel.factory.max_body_bytes)

    def _count(self, size: int) -> None:
        self._received += size
        if self._received > self._limit() and not self._refused:
            self._refused = True
            self.channel.refuse(errors.TooLarge(f"a body may have {self._limit()} bytes"))
