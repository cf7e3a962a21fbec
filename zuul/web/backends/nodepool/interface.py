# SPDX-License-Identifier: Apache-2.0
"""What Nodepool's tree of znodes is to us: something to look at, and a few writes. ZooKeeper's, or one in memory."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from zuul.web.backends.nodepool.inventory import Inventory


class NoZnode(Exception):
    """There is no znode at the path."""


class Changed(Exception):
    """The znode has another version than the one that was read."""


class Locked(Exception):
    """Somebody else has the lock, and has not let go of it in time."""


class Broke(Exception):
    """The connection broke, or there was no answer in time.

    :param sent: whether it may have been done.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


@dataclass(frozen=True)
class Connection:
    """How we are connected.

    :param state: `never` until the first time, `connected`, `suspended` (we try again, and the session may still be
        there), `lost` (it certainly is not), or `none` where there is no ZooKeeper to connect to.
    :param since: since when, in epoch seconds.
    :param as_of: the last moment of which we know everything, in monotonic seconds; None: there was none.
    """

    state: str
    since: float
    as_of: float | None


@dataclass
class Counters:
    """What has been done since the process began."""

    reads: int = 0
    """Znodes read, or their children listed."""
    events: int = 0
    """Changes that ZooKeeper told us of."""
    loads: int = 0
    """Times that the whole tree was read."""
    losses: int = 0
    """Times that the connection broke."""
    writes: int = 0
    """Znodes made, written and deleted, but for those of locks."""
    load_seconds: float = 0.0
    """How long it took to read the whole tree, the last time."""


class Tree(Protocol):
    """Safe for threads. Waits end at a deadline, in monotonic seconds.

    Reads and writes raise `Broke` and, but for `exists` and `create`, `NoZnode`.
    """

    counters: Counters

    def start(self) -> None:
        """Begin to follow the tree, if that has not begun. Returns at once."""

    def close(self) -> None: ...

    def connection(self) -> Connection: ...

    def inventory(self, deadline: float) -> Inventory | None:
        """What is known, newest and whole; None: nothing yet, and it will not be soon."""

    def read(self, path: str, deadline: float) -> tuple[bytes, int]:
        """Content and version, as they are now."""

    def exists(self, path: str, deadline: float) -> bool: ...

    def write(self, path: str, data: bytes, version: int, lock: str, deadline: float) -> None:
        """Write a znode, if a lock is still there at that moment: it ends with our session.

        :param lock: as `locked` gives it.
        :raises Changed: it has not the version any more, or the lock is gone.
        """

    def create(self, path: str, deadline: float) -> None:
        """Make an empty znode, if there is none yet.

        :raises NoZnode: there is none to make it in.
        """

    def delete(self, path: str, deadline: float) -> None:
        """Delete a znode without children, if there is one."""

    def locked(self, path: str, deadline: float) -> AbstractContextManager[str]:
        """Have the lock of a znode, as kazoo's `Lock` at `path` would; inside it is the path of our part of that.

        :raises Locked: somebody else has it.
        """
