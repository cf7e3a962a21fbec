# SPDX-License-Identifier: Apache-2.0
"""Writing to one of thousands of connections, cheaply and within bounds.

twisted's `transport.write` only notes what is to be written and waits for the reactor to find the socket
writable: two system calls and a turn of the reactor more than the one that does the work. A line of a log for
500 viewers pays that 500 times. So an outlet writes at once, and leaves to twisted what the kernel did not take;
of something large a slice at a time, as what is written is shared by all and what twisted holds is not.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer

SLICE_BYTES = 1 << 16
KERNEL_BYTES = 1 << 18
"""What the kernel holds for a viewer at most. For a slow one it would take megabytes, and a ping comes behind them."""


def prepare(transport: Any, dead_seconds: float) -> None:
    """Set the socket of a viewer up.

    :param dead_seconds: after how long without any sign of life the kernel is to give it up.
    """
    handle = getattr(transport, "getHandle", None)
    if handle is None:
        return
    handle().setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
    if hasattr(socket, "TCP_USER_TIMEOUT") and handle().family in (socket.AF_INET, socket.AF_INET6):
        handle().setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(dead_seconds * 1000))


@implementer(IPullProducer)
class Outlet:
    """One connection, as its writer sees it. Belongs to the reactor's thread.

    :param drained: called when all of a write that did not go out at once has gone out.
    """

    __slots__ = ("_drained", "_registering", "_rest", "_transport", "_write_some", "blocked", "blocked_since")

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._drained = drained
        self._write_some = getattr(transport, "writeSomeData", None)
        self._registering = False
        self._rest: memoryview | None = None
        """What twisted has not been given yet."""
        self.blocked = False
        """Whether something waits for the peer to read. Then nothing more should be written."""
        self.blocked_since = 0.0
        """Since when the peer has taken nothing, in the reactor's seconds."""

    @property
    def amid(self) -> bool:
        """Whether twisted has only a part of what was written, so that nothing may be put behind it."""
        return self._rest is not None

    def write(self, data: bytes) -> bool:
        """Whether all of it is with the kernel. The rest is kept, and `drained` will be called."""
        transport = self._transport
        sent = 0
        if self._write_some is not None and not (
            transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting
        ):
            sent = self._write_some(data)
            if sent == len(data):
                return True
            if not isinstance(sent, int):
                return False  # lost, as twisted will soon find out and say
        self._rest = memoryview(data)[sent:]
        self._write_slice()
        if not self.blocked:
            self.blocked = self._registering = True
            transport.registerProducer(self, False)
            self._registering = False
        return False

    def _write_slice(self) -> None:
        rest = self._rest
        assert rest is not None
        self.blocked_since = self._transport.reactor.seconds()
        self._transport.write(bytes(rest[:SLICE_BYTES]))
        self._rest = rest[SLICE_BYTES:] if len(rest) > SLICE_BYTES else None

    def resumeProducing(self) -> None:
        """twisted has written all that it had; and says so too when it gets to know us."""
        if self._registering or not self.blocked:
            return
        if self._rest is not None:
            self._write_slice()
            return
        self.release()
        self._drained()

    def stopProducing(self) -> None:
        self.blocked = False
        self._rest = None

    def release(self) -> None:
        """Let twisted close the connection once it has written what it has."""
        self._rest = None
        if self.blocked:
            self.blocked = False
            self._transport.unregisterProducer()
