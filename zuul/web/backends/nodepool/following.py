# SPDX-License-Identifier: Apache-2.0
"""One look at the whole tree, kept up by watches for as long as a connection lasts.

ZooKeeper's watches fire once, so what has fired is read again, which sets it anew. No watch is left behind at a znode
that has gone: only those of the roots are set where there is nothing yet. kazoo's TreeCache would do with three reads
for each znode, five for one with a lock; nodes take two here.
"""

from __future__ import annotations

import collections
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoAuthError, NoNodeError
from kazoo.protocol.states import EventType

from zuul.web.backends.nodepool.branches import LOCK, ROOTS, Branch
from zuul.web.backends.nodepool.interface import Counters
from zuul.web.backends.nodepool.inventory import Inventory

log = logging.getLogger("zuul.web.nodepool")

MOST_UNDER_WAY = 100
"""Reads that are sent and not answered. kazoo wakes its thread by a byte for each, and its sockets hold some 270."""

Ask = tuple[str, str, Branch]
"""`data`, `children` or `exists`; a path; what is followed there."""


class Following:
    """Owned by kazoo's threads: answers come in one, in order, and alone change what is followed; events in another.

    :param loaded: called once, when all of the tree has been read.
    :param broken: called once, if a read failed for no reason of the connection's.
    """

    def __init__(
        self,
        client: KazooClient,
        inventory: Inventory,
        counters: Counters,
        loaded: Callable[[Following], None],
        broken: Callable[[Following], None],
    ) -> None:
        self.inventory = inventory
        self._client = client
        self._counters = counters
        self._tell_loaded = loaded
        self._tell_broken = broken
        self._followed: dict[str, Branch] = {}
        self._children: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()
        # Guarded by the lock, which is held for moments only:
        self._waiting: collections.deque[Ask] = collections.deque()
        self._is_waiting: set[tuple[str, str]] = set()
        self._under_way = 0
        self._is_loaded = False
        self._is_over = False

    def start(self) -> None:
        for path, branch in ROOTS.items():
            self._ask("children", path, branch)
        self._send()

    def stop(self) -> None:
        """Nothing is read or changed any more."""
        with self._lock:
            self._is_over = True
            self._waiting.clear()

    # -- reads

    def _ask(self, what: str, path: str, branch: Branch) -> None:
        with self._lock:
            if not self._is_over and (what, path) not in self._is_waiting:
                self._is_waiting.add((what, path))
                self._waiting.append((what, path, branch))

    def _send(self) -> None:
        """Send what waits, as much as may be under way."""
        while True:
            with self._lock:
                if self._is_over or not self._waiting or self._under_way >= MOST_UNDER_WAY:
                    return
                what, path, branch = self._waiting.popleft()
                self._is_waiting.discard((what, path))
                self._under_way += 1
                self._counters.reads += 1
            watch = functools.partial(self._event, what, path, branch)
            if what == "data":
                result = self._client.get_async(path, watch)
            elif what == "children":
                result = self._client.get_children_async(path, watch)
            else:
                result = self._client.exists_async(path, watch)
            result.rawlink(functools.partial(self._answer, what, path, branch))

    def _answer(self, what: str, path: str, branch: Branch, result: Any) -> None:
        with self._lock:
            self._under_way -= 1
            if self._is_over:
                return
        try:
            self._take(what, path, branch, result.get_nowait())
        except NoNodeError:
            self._nothing_at(what, path, branch)
        except NoAuthError:
            log.warning("ZooKeeper does not let us read %s", path)
            self._forget(path)
        except KazooException as error:
            self._fail(path, error)
            return
        self._send()
        with self._lock:
            if self._is_loaded or self._is_over or self._waiting or self._under_way:
                return
            self._is_loaded = True
        self._tell_loaded(self)

    def _fail(self, path: str, error: KazooException) -> None:
        with self._lock:
            if self._is_over:
                return
        self.stop()
        log.info("reading %s failed: %s", path, type(error).__name__)
        self._tell_broken(self)

    def _event(self, what: str, path: str, branch: Branch, event: Any) -> None:
        if event.type == EventType.NONE:
            return  # the connection is gone; somebody else sees to that
        with self._lock:
            self._counters.events += 1
        self._ask("children" if what == "exists" else what, path, branch)
        self._send()

    # -- what they bring; only in the thread of answers

    def _take(self, what: str, path: str, branch: Branch, found: Any) -> None:
        if what == "data":
            data, stat = found
            self.inventory.data(path, data)
            if branch.locks and f"{path}/lock" not in self._followed:
                if stat.numChildren:
                    self._follow(f"{path}/lock", LOCK)
                else:
                    self._ask("children", path, branch)
        elif what == "children" and branch.lists:
            self._list(path, branch, frozenset(found))
        elif what == "children":
            if "lock" in found and f"{path}/lock" not in self._followed:
                self._follow(f"{path}/lock", LOCK)
        elif found is not None:  # there since a moment ago
            self._ask("children", path, branch)

    def _list(self, path: str, branch: Branch, names: frozenset[str]) -> None:
        self.inventory.children(path, names)
        followed = frozenset(name for name in names if self._follows(path, name, branch))
        for name in self._children.get(path, frozenset()) - followed:
            self._forget(f"{path}/{name}")
        self._children[path] = followed
        for name in sorted(followed):
            child = branch.child(name)
            if child is not None and f"{path}/{name}" not in self._followed:
                self._follow(f"{path}/{name}", child)

    def _follows(self, path: str, name: str, branch: Branch) -> bool:
        if path == "/nodepool/requests-lock":
            return f"/nodepool/requests/{name}" in self._followed
        return branch.child(name) is not None

    def _follow(self, path: str, branch: Branch) -> None:
        self._followed[path] = branch
        if branch.data:
            self._ask("data", path, branch)
        if branch.lists:
            self._ask("children", path, branch)

    def _nothing_at(self, what: str, path: str, branch: Branch) -> None:
        self._forget(path)
        if path in ROOTS:
            self._ask("exists", path, branch)
        elif path.endswith("/lock"):
            parent = path.removesuffix("/lock")
            of_parent = self._followed.get(parent)
            if of_parent is not None and of_parent.locks:
                self._ask("children", parent, of_parent)  # to hear of the next lock

    def _forget(self, path: str) -> None:
        branch = self._followed.pop(path, None)
        for name in self._children.pop(path, ()):
            self._forget(f"{path}/{name}")
        if branch is not None and branch.locks:
            self._forget(f"{path}/lock")
        self.inventory.gone(path)
