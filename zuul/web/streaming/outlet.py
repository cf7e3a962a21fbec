# SPDX-License-Identifier: Apache-2.0
"""Writing to one of thousands of connections, cheaply and within bounds.

twisted's `transport.write` only notes what is to be written and waits for the reactor to find the socket
writable: two system calls and a turn of the reactor more than the one that does the work. A line of a log for
500 viewers pays that 500 times. So an outlet writes at once, and leaves to twisted what the kernel did not take.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IPullProducer
from zope.interface import implementer


@implementer(IPullProducer)
class Outlet:
    """One connection, as its writer sees it. Belongs to the reactor's thread.

    :param drained: called when all of a write that did not go out at once has gone out.
    """

    __slots__ = ("_drained", "_registering", "_transport", "_write_some", "blocked", "blocked_since")

    def __init__(self, transport: Any, drained: Callable[[], None]) -> None:
        self._transport = transport
        self._drained = drained
        self._write_some = getattr(transport, "writeSomeData", None)
        self._registering = False
        self.blocked = False
        """Whether something waits for the peer to read. Then nothing more should be written."""
        self.blocked_since = 0.0

    def write(self, data: bytes) -> bool:
        """Whether all of it is with the kernel. The rest is kept, and `drained` will be called."""
        transport = self._transport
        if self._write_some is not None and not (
            self.blocked or transport.dataBuffer or transport._tempDataBuffer or transport.disconnecting
        ):
            sent = self._write_some(data)
            if sent == len(data):
                return True
            if not isinstance(sent, int):
                return False  # lost, as twisted will soon find out and say
            data = data[sent:]
        transport.write(data)
        if not self.blocked:
            self.blocked = self._registering = True
            self.blocked_since = transport.reactor.seconds()
            transport.registerProducer(self, False)
            self._registering = False
        return False

    def resumeProducing(self) -> None:
        """twisted has written all that it had; and says so too when it gets to know us."""
        if self._registering or not self.blocked:
            return
        self.release()
        self._drained()

    def stopProducing(self) -> None:
        self.blocked = False

    def release(self) -> None:
        """Let twisted close the connection once it has written what it has."""
        if self.blocked:
            self.blocked = False
            self._transport.unregisterProducer()
