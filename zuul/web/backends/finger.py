# SPDX-License-Identifier: Apache-2.0
"""Log bytes from an executor, by its finger protocol: a build's uuid goes there, its whole log comes back.

The log comes from its first byte and goes on until the build is over; then the executor closes. What is wrong
it says in place of a log, in a few words without a newline.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as Connection
from twisted.python.failure import Failure

CONNECT_SECONDS = 10.0
FIRST_BYTE_SECONDS = 10.0
"""An executor has the log's first line when it takes the build, so it answers at once."""
KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
"""A log may be silent for hours, so the kernels have to tell whether the executor's host is still there."""

BREAKDOWN = b"Internal streaming error"
"""What an executor says in the middle of a log before it closes."""

_complaint = re.compile(
    rb"Build ID [^\n]{0,200} (?:is not valid|not found)|Log not found for build ID [^\n]{0,200}|" + BREAKDOWN
).fullmatch
MOST_WORDS = 512


def _may_become_complaint(data: bytes) -> bool:
    """Whether this may be the beginning of what an executor says in place of a log."""
    beginnings = (b"Build ID ", b"Log not found for build ID ", BREAKDOWN)
    return any(
        beginning.startswith(data) or (data.startswith(beginning) and b"\n" not in data and len(data) <= MOST_WORDS)
        for beginning in beginnings
    )


def _beginning_of_breakdown(data: bytes) -> int:
    """How many bytes at the end of some text may be the beginning of those words, or all of them."""
    most = min(len(data), len(BREAKDOWN))
    return next((size for size in range(most, 0, -1) if data.endswith(BREAKDOWN[:size])), 0)


class Receiver(Protocol):
    """Who reads a log. All calls come in the reactor's thread; the last is one of those without data."""

    def received(self, data: bytes) -> None:
        """Some of the log, at least a byte."""

    def ended(self) -> None:
        """The executor closed the connection, as it does at the end of a log. So does the kernel of one that died."""

    def lost(self) -> None:
        """The connection broke after the first byte, or the executor says that it cannot go on."""

    def refused(self, words: str) -> None:
        """The executor has no such log, in its own words."""

    def failed(self, reason: str) -> None:
        """The executor cannot be asked, and why."""


class LogConnection(Connection):  # type: ignore[misc]
    """One reading of one log. Made by `read_log`; belongs to the reactor's thread."""

    def __init__(self, uuid: str, receiver: Receiver, reactor: Any) -> None:
        self._uuid = uuid
        self._receiver: Receiver | None = receiver
        self._reactor = reactor
        self._held = b""
        """What may be no part of the log: the first bytes, or its last words."""
        self._began = False
        self._deadline: Any = None
        self.attempt: Deferred[Any] | None = None
        """To connect, which may take a while."""

    def connectionMade(self) -> None:
        if self._receiver is None:
            self.transport.abortConnection()
            return
        self.transport.setTcpKeepAlive(True)
        for name, value in KEEPALIVE.items():
            if hasattr(socket, name):
                self.transport.getHandle().setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        self.transport.write(f"{self._uuid}\n".encode())
        self._deadline = self._reactor.callLater(FIRST_BYTE_SECONDS, self._silent)

    def dataReceived(self, data: bytes) -> None:
        if self._receiver is None:
            return
        data, self._held = self._held + data, b""
        if not self._began:
            if _may_become_complaint(data):
                self._held = data
                return
            self._begin()
        held = _beginning_of_breakdown(data)
        data, self._held = data[: len(data) - held], data[len(data) - held :]
        if data:
            self._receiver.received(data)

    def connectionLost(self, reason: Failure) -> None:
        receiver = self._give_up()
        if receiver is None:
            return
        if not self._began and _complaint(self._held):
            receiver.refused(self._held.decode(errors="replace"))
        elif not self._began and not self._held:
            receiver.failed("the executor closed the connection without an answer")
        elif self._began and self._held == BREAKDOWN:
            receiver.lost()
        else:
            if self._held:
                receiver.received(self._held)
            self._tell_end(receiver, reason)

    @staticmethod
    def _tell_end(receiver: Receiver, reason: Failure) -> None:
        if reason.check(ConnectionDone):
            receiver.ended()
        else:
            receiver.lost()

    def connection_failed(self, reason: Failure) -> None:
        """There is no connection. Why is for the log; a viewer needs not know hosts and ports."""
        receiver = self._give_up()
        if receiver is not None:
            receiver.failed("the executor cannot be reached")

    def pause(self) -> None:
        """Read no more until `go_on`."""
        if self.transport is not None:
            self.transport.pauseProducing()

    def go_on(self) -> None:
        if self.transport is not None and self._receiver is not None:
            self.transport.resumeProducing()

    def close(self) -> None:
        """Nothing more is wanted; the receiver is not called any more."""
        self._give_up()
        if self.transport is not None:
            self.transport.abortConnection()
        elif self.attempt is not None:
            self.attempt.cancel()

    def _begin(self) -> None:
        self._began = True
        self._cancel_deadline()

    def _silent(self) -> None:
        self._deadline = None
        receiver = self._give_up()
        self.transport.abortConnection()
        if receiver is not None:
            receiver.failed("the executor does not answer")

    def _give_up(self) -> Receiver | None:
        self._cancel_deadline()
        receiver, self._receiver = self._receiver, None
        return receiver

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


ReadLog = Callable[[tuple[str, int], str, Receiver], LogConnection]


def read_log(reactor: Any) -> ReadLog:
    """The function that begins to read the log of a build: from an address, by uuid, for a receiver."""

    def read(address: tuple[str, int], uuid: str, receiver: Receiver) -> LogConnection:
        connection = LogConnection(uuid, receiver, reactor)
        host, port = address
        endpoint = HostnameEndpoint(reactor, host, port, timeout=CONNECT_SECONDS)
        connection.attempt = endpoint.connect(Factory.forProtocol(lambda: connection))
        connection.attempt.addErrback(connection.connection_failed)
        return connection

    return read
