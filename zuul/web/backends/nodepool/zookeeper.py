# SPDX-License-Identifier: Apache-2.0
"""Nodepool's tree in ZooKeeper, by kazoo."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import re
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import (
    BadVersionError,
    KazooException,
    NodeExistsError,
    NoNodeError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.protocol.states import KazooState

from zuul.web.backends.nodepool.following import Following
from zuul.web.backends.nodepool.interface import Broke, Changed, Connection, Counters, Locked, NoZnode
from zuul.web.backends.nodepool.inventory import Inventory
from zuul.web.backends.nodepool.reach import client_of
from zuul.web.settings import ZooKeeper

log = logging.getLogger("zuul.web.nodepool")

FIRST_SECONDS = 5.0
"""How long readers wait for the first connection of a process. Later ones are told at once that there is none."""
LOCK_SECONDS = 2.0
"""How long a lock is waited for: launchers take and drop those of all nodes to list them."""
AGAIN_SECONDS = 1.0
"""After which the tree is read again, if that failed."""
MOST_LITTER = 1000
ANY_VERSION = -1

_sequence_of_lock = re.compile(r"__lock__(-?[0-9]{10})$").search


class ZooKeeperTree:
    """The `Tree` of an ensemble.

    Threads start and connections are made with the first use, so that an application may be loaded before a server
    forks; a child of a fork starts its own.
    """

    def __init__(self, zookeeper: ZooKeeper, make_client: Callable[[ZooKeeper], KazooClient] = client_of) -> None:
        self._zookeeper = zookeeper
        self._make_client = make_client
        self._closed = False
        self._begin_anew()
        method = weakref.WeakMethod(self._begin_anew)
        os.register_at_fork(after_in_child=lambda: (begin := method()) and begin())

    def _begin_anew(self) -> None:
        """In the child of a fork the threads of the parent do not exist, and its socket is not ours to use."""
        self.counters = Counters()
        self._of_parent = getattr(self, "_client", None)  # kept: collected, it would close what the parent uses
        self._changed = threading.Condition()
        # Guarded by the condition's lock, which is held for moments only:
        self._client: KazooClient | None = None
        self._started = 0.0
        self._state = "never"
        self._since = time.time()
        self._following: Following | None = None
        self._inventory: Inventory | None = None
        self._as_of: float | None = None
        """When what we know was all that there was; None while it still is, or if it never was."""
        self._litter: list[tuple[str, str]] = []
        """Locks that could not be let go of: where, and the beginning of their names."""

    # -- the connection

    def start(self) -> None:
        with self._changed:
            if self._client is not None or self._closed:
                return
            self._client = client = self._make_client(self._zookeeper)
            self._started = time.monotonic()
        client.add_listener(functools.partial(self._listen, client))
        client.start_async()

    def close(self) -> None:
        with self._changed:
            self._closed = True
            client, self._client = self._client, None
            if self._following is not None:
                self._following.stop()
            self._changed.notify_all()
        if client is not None:
            client.stop()
            client.close()

    def connection(self) -> Connection:
        with self._changed:
            state, since = self._state, self._since
            as_of = self._as_of
            if self._inventory is not None and as_of is None:
                as_of = time.monotonic()
            # kazoo hears of the end of a session only when it has another.
            lost_at = since + self._zookeeper.session_timeout_seconds
            if state == "suspended" and time.time() > lost_at:
                state, since = "lost", lost_at
            return Connection(state, since, as_of)

    def _listen(self, client: KazooClient, state: str) -> None:
        """In kazoo's thread of the connection, which must not wait for anything."""
        with self._changed:
            if client is not self._client:
                return
            if self._following is not None:
                self._following.stop()
                self._following = None
            if state == KazooState.CONNECTED:
                self._set_state("connected")
            else:
                self.counters.losses += self._state == "connected"
                if self._inventory is not None and self._as_of is None:
                    self._as_of = time.monotonic()
                if self._state != "never":
                    self._set_state("lost" if state == KazooState.LOST else "suspended")
                return
        self._load(client)
        self._clear_away(client)

    def _set_state(self, state: str) -> None:
        if state != self._state:
            log.info("ZooKeeper: %s", state)
            self._state, self._since = state, time.time()
            self._changed.notify_all()

    def _load(self, client: KazooClient) -> None:
        """Read the whole tree, and take that in place of what we know."""
        began = time.monotonic()

        def loaded(following: Following) -> None:
            with self._changed:
                if following is not self._following:
                    return
                if self._inventory is not None:
                    following.inventory.inherit(self._inventory)
                self._inventory, self._as_of = following.inventory, None
                self.counters.loads += 1
                self.counters.load_seconds = time.monotonic() - began
                self._changed.notify_all()

        def broken(following: Following) -> None:
            with self._changed:
                if following is not self._following:
                    return
                if self._inventory is following.inventory and self._as_of is None:
                    self._as_of = time.monotonic()
            again = threading.Timer(AGAIN_SECONDS, load_again, [following])
            again.daemon = True
            again.start()

        def load_again(following: Following) -> None:
            with self._changed:
                if following is not self._following:
                    return
            self._load(client)

        following = Following(client, Inventory(), self.counters, loaded, broken)
        with self._changed:
            if client is not self._client:
                return
            self._following = following
        following.start()

    # -- reading

    def inventory(self, deadline: float) -> Inventory | None:
        self.start()

        def wait_no_longer() -> bool:
            if self._inventory is not None or self._closed:
                return True
            return self._state != "connected" and time.monotonic() >= self._started + FIRST_SECONDS

        with self._changed:
            while not wait_no_longer():
                until = deadline if self._state == "connected" else min(deadline, self._started + FIRST_SECONDS)
                left = until - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return self._inventory

    def read(self, path: str, deadline: float) -> tuple[bytes, int]:
        data, stat = self._wait(self._connected(deadline).get_async(path), deadline, "reading")
        return data, stat.version

    def exists(self, path: str, deadline: float) -> bool:
        return self._wait(self._connected(deadline).exists_async(path), deadline, "reading") is not None

    # -- writing

    def write(self, path: str, data: bytes, version: int, lock: str, deadline: float) -> None:
        client = self._connected(deadline)
        self.counters.writes += 1
        both = client.transaction()
        both.check(lock, ANY_VERSION)
        both.set_data(path, data, version)
        for outcome in self._wait(both.commit_async(), deadline, "writing", sent=True):
            if isinstance(outcome, BadVersionError):
                raise Changed(path) from outcome
            if isinstance(outcome, NoNodeError):
                self.read(path, deadline)  # either that is gone, or the lock
                raise Changed(path) from outcome
            if isinstance(outcome, Exception) and not isinstance(outcome, (RolledBackError, RuntimeInconsistency)):
                raise Broke(f"ZooKeeper refused the write ({type(outcome).__name__})", sent=False) from outcome

    def create(self, path: str, deadline: float) -> None:
        client = self._connected(deadline)
        self.counters.writes += 1
        with contextlib.suppress(NodeExistsError):
            self._wait(client.create_async(path), deadline, "writing", sent=True)

    def delete(self, path: str, deadline: float) -> None:
        client = self._connected(deadline)
        self.counters.writes += 1
        with contextlib.suppress(NoZnode):
            self._wait(client.delete_async(path), deadline, "deleting", sent=True)

    @contextlib.contextmanager
    def locked(self, path: str, deadline: float) -> Iterator[str]:
        client = self._connected(deadline)
        # Not with those above it: that would make a node anew that has just gone.
        with contextlib.suppress(NodeExistsError):
            self._wait(client.create_async(path), deadline, "locking")
        prefix = f"{uuid.uuid4().hex}__lock__"
        try:
            result = client.create_async(f"{path}/{prefix}", b"zuul-rest", ephemeral=True, sequence=True)
            mine = self._wait(result, deadline, "locking")
            self._wait_for_turn(client, path, mine.rpartition("/")[2], min(deadline, time.monotonic() + LOCK_SECONDS))
            yield mine
        finally:
            self._unlock(client, path, prefix)

    def _wait_for_turn(self, client: KazooClient, path: str, mine: str, deadline: float) -> None:
        while True:
            changed = threading.Event()
            names = self._wait(client.get_children_async(path, functools.partial(_set, changed)), deadline, "locking")
            if mine not in names:
                raise Broke("the lock was lost", sent=False)
            if min(number for number in map(_sequence, names) if number is not None) == _sequence(mine):
                return
            if not changed.wait(max(0.0, deadline - time.monotonic())):
                raise Locked(path)

    def _unlock(self, client: KazooClient, path: str, prefix: str) -> None:
        """Let go of a lock, now or when ZooKeeper is back. It would last as long as our session does."""
        with self._changed:
            self._litter = [*self._litter, (path, prefix)][-MOST_LITTER:]
        self._clear_away(client)

    def _clear_away(self, client: KazooClient) -> None:
        """Have all of our locks deleted that nobody uses, without waiting for that."""
        with self._changed:
            litter = list(self._litter)
        for path, prefix in litter:
            client.get_children_async(path).rawlink(functools.partial(self._delete_lock, client, path, prefix))

    def _delete_lock(self, client: KazooClient, path: str, prefix: str, result: Any) -> None:
        try:
            names = [name for name in result.get_nowait() if name.startswith(prefix)]
        except NoNodeError:
            names = []
        except KazooException:
            return  # with the next connection
        if not names:
            self._is_clear(path, prefix)
        for name in names:
            client.delete_async(f"{path}/{name}").rawlink(functools.partial(self._deleted_lock, path, prefix))

    def _deleted_lock(self, path: str, prefix: str, result: Any) -> None:
        if result.successful() or isinstance(result.exception, NoNodeError):
            self._is_clear(path, prefix)

    def _is_clear(self, path: str, prefix: str) -> None:
        with self._changed:
            self._litter = [one for one in self._litter if one != (path, prefix)]

    # --

    def _connected(self, deadline: float) -> KazooClient:
        """The client, once it is connected."""
        self.start()
        with self._changed:
            until = min(deadline, max(time.monotonic(), self._started + FIRST_SECONDS))
            self._changed.wait_for(
                lambda: self._state == "connected" or self._closed, max(0.0, until - time.monotonic())
            )
            if self._client is None or self._state != "connected":
                raise Broke("ZooKeeper is not connected", sent=False)
            return self._client

    def _wait(self, result: Any, deadline: float, doing: str, *, sent: bool = False) -> Any:
        try:
            return result.get(timeout=max(0.001, deadline - time.monotonic()))
        except NoNodeError as error:
            raise NoZnode from error
        except (BadVersionError, NodeExistsError):
            raise
        except KazooTimeoutError as error:
            raise Broke(f"ZooKeeper did not answer in time while {doing}", sent=sent) from error
        except KazooException as error:
            raise Broke(f"ZooKeeper failed while {doing} ({type(error).__name__})", sent=sent) from error


def _sequence(name: str) -> int | None:
    """The number of somebody who wants a lock; None for what else may be there."""
    found = _sequence_of_lock(name)
    return int(found[1]) if found else None


def _set(event: threading.Event, _: Any) -> None:
    event.set()
