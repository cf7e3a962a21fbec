# SPDX-License-Identifier: Apache-2.0
"""What is known of Nodepool: rows by kind, kept up to date znode by znode.

A tree tells an `Inventory` what it sees (`data`, `children`, `gone`), and readers take rows of a kind, which are the
same objects until something of that kind changes. Each such state has a version of its own.
"""

from __future__ import annotations

import collections
import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from zuul.web.backends.nodepool import records
from zuul.web.backends.nodepool.records import Row

log = logging.getLogger("zuul.web.nodepool")

KINDS = ("launchers", "nodes", "requests", "images", "builds", "uploads", "holds")
LOCKABLE = ("nodes", "requests", "builds", "uploads")

MOST_PAST_REQUESTS = 10_000
"""Requests end when their nodes are handed over. The last ones are remembered, as nodes still name them."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Look:
    """The state of some kinds at one moment. Nothing in it is ever changed."""

    version: str
    rows: dict[str, list[Row]]
    """In the order of their names."""
    past: dict[str, tuple[str | None, str | None]]
    """Requestor and event of the last requests, those included that are there no longer."""


class Inventory:
    """Safe for threads. One lock guards all of it, and is held for moments only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._name = next(_numbers)
        self._rows: dict[str, dict[str, Row]] = {kind: {} for kind in KINDS}
        self._versions = dict.fromkeys(KINDS, 0)
        self._locked: set[str] = set()
        """Paths of the znodes whose locks are held."""
        self._flags: dict[str, frozenset[str]] = {}
        """By image, the names of its children."""
        self._past: collections.OrderedDict[str, tuple[str | None, str | None]] = collections.OrderedDict()
        self._past_version = 0
        self._sorted: dict[str, tuple[int, list[Row]]] = {}
        """The rows of a kind in order, and of which version."""
        self._unreadable: set[str] = set()

    # -- what a tree tells

    def data(self, path: str, data: bytes) -> None:
        """A znode has this content now."""
        place = _place(path)
        if place is None:
            return
        kind, key, make = place
        try:
            found = records.decoded(data)
        except records.Unreadable as error:
            with self._lock:
                if path not in self._unreadable:
                    log.warning("%s is left out: %s", path, error)
                self._unreadable.add(path)
                self._drop(kind, key)
            return
        with self._lock:
            self._unreadable.discard(path)
            if found is None:
                self._drop(kind, key)
                return
            row = make(found)
            if kind in LOCKABLE:
                row["locked"] = _lock_of(path) in self._locked
            if kind == "requests":
                self._remember(key, row["requestor"], row["event_id"])
            self._put(kind, key, row)

    def children(self, path: str, names: Iterable[str]) -> None:
        """A znode has these children now."""
        parts = path.split("/")[1:]
        if parts[:2] == ["nodepool", "images"] and len(parts) == 3:
            with self._lock:
                self._flags[parts[2]] = flags = frozenset(names)
                row = {"name": parts[2], "paused": "pause" in flags, "build_requested": "request-build" in flags}
                if self._rows["images"].get(parts[2]) != row:
                    self._put("images", parts[2], row)
        elif parts[-1] == "lock" or parts[:2] == ["nodepool", "requests-lock"]:
            self._set_locked(path, any("__lock__" in name for name in names))

    def gone(self, path: str) -> None:
        """A znode is there no longer."""
        parts = path.split("/")[1:]
        if parts[-1] == "lock" or parts[:2] == ["nodepool", "requests-lock"]:
            self._set_locked(path, False)
        with self._lock:
            self._unreadable.discard(path)
            if parts[:2] == ["nodepool", "images"] and len(parts) == 3:
                self._flags.pop(parts[2], None)
                self._drop("images", parts[2])
            place = _place(path)
            if place is not None:
                self._drop(place[0], place[1])

    def _set_locked(self, path: str, locked: bool) -> None:
        with self._lock:
            if locked == (path in self._locked):
                return
            (self._locked.add if locked else self._locked.discard)(path)
            place = _place(_owner_of(path))
            if place is not None:
                row = self._rows[place[0]].get(place[1])
                if row is not None:
                    self._put(place[0], place[1], {**row, "locked": locked})

    def _put(self, kind: str, key: str, row: Row) -> None:
        self._rows[kind][key] = row
        self._versions[kind] += 1

    def _drop(self, kind: str, key: str) -> None:
        if self._rows[kind].pop(key, None) is not None:
            self._versions[kind] += 1

    def _remember(self, request: str, requestor: str | None, event_id: str | None) -> None:
        if self._past.get(request) != (requestor, event_id):
            self._past[request] = requestor, event_id
            self._past_version += 1
        while len(self._past) > MOST_PAST_REQUESTS:
            self._past.popitem(last=False)

    def inherit(self, former: Inventory) -> None:
        """Remember the past requests of another one, whose place this one takes."""
        with former._lock:
            past = list(former._past.items())
        with self._lock:
            mine, self._past = self._past, collections.OrderedDict(past)
            for request, of in mine.items():
                self._remember(request, *of)

    # -- what readers take

    @property
    def unreadable(self) -> int:
        """How many znodes were left out."""
        with self._lock:
            return len(self._unreadable)

    def counts(self) -> dict[str, int]:
        """How many rows there are, by kind."""
        with self._lock:
            return {kind: len(rows) for kind, rows in self._rows.items()}

    def has(self, kind: str, key: str) -> bool:
        with self._lock:
            return key in self._rows[kind]

    def version(self, *kinds: str) -> str:
        """Of the state of these kinds, which no other state in this process has."""
        with self._lock:
            return self._version(kinds)

    def look(self, *kinds: str) -> Look:
        """The state of these kinds now. `past` is a kind here, too."""
        with self._lock:
            rows = {kind: self._in_order(kind) for kind in kinds if kind != "past"}
            return Look(self._version(kinds), rows, dict(self._past) if "past" in kinds else {})

    def _version(self, kinds: Iterable[str]) -> str:
        of_kinds = {**self._versions, "past": self._past_version}
        return " ".join([f"nodepool {self._name}", *(f"{kind} {of_kinds[kind]}" for kind in kinds)])

    def _in_order(self, kind: str) -> list[Row]:
        version, rows = self._sorted.get(kind, (-1, []))
        if version != self._versions[kind]:
            of_kind = self._rows[kind]
            rows = [of_kind[key] for key in sorted(of_kind)]
            self._sorted[kind] = self._versions[kind], rows
        return rows


def _place(path: str) -> tuple[str, str, Callable[[Row], Row]] | None:
    """What the znode at a path is: its kind, its key, and what makes a row of what it says."""
    match path.split("/")[1:]:
        case ["nodepool", "launchers", name]:
            return "launchers", name, lambda data: records.launcher(name, data)
        case ["nodepool", "nodes", name]:
            return "nodes", name, lambda data: records.node(name, data)
        case ["nodepool", "requests", name]:
            return "requests", name, lambda data: records.request(name, data)
        case ["nodepool", "images", image, "builds", number] if number != "lock":
            return "builds", f"{image}-{number}", lambda data: records.build(image, number, data)
        case ["nodepool", "images", image, "builds", build, "providers", provider, "images", number] if (
            number != "lock"
        ):
            return (
                "uploads",
                f"{image}-{build}-{provider}-{number}",
                lambda data: records.upload(image, build, provider, number, data),
            )
        case ["zuul", "hold-requests", name]:
            return "holds", name, lambda data: {"id": name, "builds": records.held_builds(data)}
    return None


def _lock_of(path: str) -> str:
    """Where the lock of a znode is."""
    request = path.removeprefix("/nodepool/requests/")
    return f"/nodepool/requests-lock/{request}" if request != path else f"{path}/lock"


def _owner_of(lock: str) -> str:
    """The znode that a lock is of."""
    request = lock.removeprefix("/nodepool/requests-lock/")
    return f"/nodepool/requests/{request}" if request != lock else lock.removesuffix("/lock")
