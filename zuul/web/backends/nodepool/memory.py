# SPDX-License-Identifier: Apache-2.0
"""A tree of znodes in memory: for a sandbox without ZooKeeper, and for tests."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator

from zuul.web.backends.nodepool.interface import Changed, Connection, Counters, Locked, NoZnode
from zuul.web.backends.nodepool.inventory import Inventory


class MemoryTree:
    """The `Tree` of a dictionary, always connected. It can be filled with anything that ZooKeeper could hold."""

    def __init__(self) -> None:
        self.counters = Counters()
        self._lock = threading.RLock()
        self._znodes: dict[str, tuple[bytes, int]] = {"": (b"", 0)}
        self._children: dict[str, set[str]] = {"": set()}
        self._inventory = Inventory()
        self._since = time.time()

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass

    def connection(self) -> Connection:
        return Connection("none", self._since, time.monotonic())

    def inventory(self, deadline: float) -> Inventory:
        return self._inventory

    def read(self, path: str, deadline: float = 0) -> tuple[bytes, int]:
        with self._lock:
            if path not in self._znodes:
                raise NoZnode(path)
            return self._znodes[path]

    def exists(self, path: str, deadline: float = 0) -> bool:
        with self._lock:
            return path in self._znodes

    def write(self, path: str, data: bytes, version: int, lock: str, deadline: float = 0) -> None:
        with self._lock:
            if self.read(path)[1] != version or lock not in self._znodes:
                raise Changed(path)
            self._set(path, data, version + 1)

    def create(self, path: str, deadline: float = 0) -> None:
        with self._lock:
            if path in self._znodes:
                return
            self._add(path, b"")

    def delete(self, path: str, deadline: float = 0) -> None:
        with self._lock:
            if path not in self._znodes or self._children[path]:
                return
            self.counters.writes += 1
            del self._znodes[path], self._children[path]
            parent, _, name = path.rpartition("/")
            self._children[parent].discard(name)
            self._inventory.gone(path)
            if parent:
                self._inventory.children(parent, self._children[parent])

    @contextlib.contextmanager
    def locked(self, path: str, deadline: float = 0) -> Iterator[str]:
        lock = f"{path}/mine__lock__0000000000"
        with self._lock:
            self.create(path)
            if self._children[path]:
                raise Locked(path)
            self._add(lock, b"")
        try:
            yield lock
        finally:
            self.delete(lock)

    # -- for those who fill it

    def put(self, path: str, data: bytes = b"") -> None:
        """Write a znode, made with those above it if it is not there."""
        with self._lock:
            if path in self._znodes:
                self._set(path, data, self._znodes[path][1] + 1)
                return
            parent = path.rpartition("/")[0]
            if parent not in self._znodes:
                self.put(parent)
            self._add(path, data)

    def remove(self, path: str) -> None:
        """Delete a znode with all below it."""
        with self._lock:
            for name in sorted(self._children.get(path, ())):
                self.remove(f"{path}/{name}")
            self.delete(path)

    def get(self, path: str) -> bytes | None:
        with self._lock:
            return self._znodes[path][0] if path in self._znodes else None

    def children(self, path: str) -> list[str]:
        with self._lock:
            return sorted(self._children.get(path, ()))

    def _add(self, path: str, data: bytes) -> None:
        parent, _, name = path.rpartition("/")
        if parent not in self._znodes:
            raise NoZnode(parent)
        self._children[path] = set()
        self._children[parent].add(name)
        self._set(path, data, 0)
        self._inventory.children(path, ())
        if parent:
            self._inventory.children(parent, self._children[parent])

    def _set(self, path: str, data: bytes, version: int) -> None:
        self.counters.writes += 1
        self._znodes[path] = data, version
        self._inventory.data(path, data)
