# SPDX-License-Identifier: Apache-2.0
"""Nodepool as we see it. Reads are answered from memory: they cost ZooKeeper nothing."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass

from zuul.web.backends.nodepool import views
from zuul.web.backends.nodepool.interface import Tree
from zuul.web.backends.nodepool.inventory import Inventory, Look
from zuul.web.backends.nodepool.records import Row
from zuul.web.backends.replies import Known
from zuul.web.errors import NotFound, Unavailable

Make = Callable[[Look], list[Row]]


@dataclass(frozen=True)
class State:
    """How we are connected to ZooKeeper, and what we know. Asking for it neither waits nor connects."""

    connection: str
    """`none` (there is no ZooKeeper in zuul.conf), `never` (not connected yet), `connected`, `suspended`, `lost`."""

    since: float
    """Since when that is so, in epoch seconds."""

    age_seconds: float | None
    """How old what we know is; 0 while it is kept up to date, None if there is nothing yet."""

    counts: dict[str, int]
    """How many launchers, nodes, requests, images, builds, uploads and holds we know."""

    unreadable: int
    """Znodes that were left out, as they have no JSON object."""

    reads: int
    """Znodes that were read from ZooKeeper so far."""

    events: int
    """Changes that ZooKeeper told us of."""

    loads: int
    """Times that the whole tree was read."""

    load_seconds: float
    """How long that took, the last time."""

    losses: int
    """Times that the connection broke."""

    writes: int
    """Znodes that we made, wrote and deleted."""


class Nodepool:
    """The facade. Its reads return a `Known` each: rows of plain data that are never changed, and their version.

    :param tree: None where zuul.conf has no ZooKeeper: then all of it is `Unavailable`.
    :param stale_seconds: how old what we know may be.
    :param timeout_seconds: how long the first load is waited for.
    :param hides: whether what tells of a tenant is left out.
    :param clock: in epoch seconds: the ages of nodes are counted to it, and actions are dated by it.

    Reads raise `Unavailable`, and nothing else but what they say.
    """

    def __init__(
        self,
        tree: Tree | None,
        *,
        stale_seconds: float,
        timeout_seconds: float,
        hides: Callable[[str], bool] = lambda tenant: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.tree = tree
        self.clock = clock
        self._hides = hides
        self._stale_seconds = stale_seconds
        self._timeout_seconds = timeout_seconds
        self._made: dict[str, tuple[str, list[Row]]] = {}
        """The last rows of each view, with the version that they were made of. Entries are replaced as a whole, so it
        takes no lock."""

    @property
    def configured(self) -> bool:
        return self.tree is not None

    def start(self) -> None:
        """Connect and begin to follow Nodepool, if that has not begun. Returns at once; any read does it too."""
        if self.tree is not None:
            self.tree.start()

    def close(self) -> None:
        if self.tree is not None:
            self.tree.close()

    def state(self) -> State:
        if self.tree is None:
            return State("none", 0.0, None, {}, 0, 0, 0, 0, 0.0, 0, 0)
        connection, counters = self.tree.connection(), self.tree.counters
        known = self.tree.inventory(0.0) if connection.as_of is not None else None
        return State(
            connection=connection.state,
            since=connection.since,
            age_seconds=max(0.0, time.monotonic() - connection.as_of) if connection.as_of is not None else None,
            counts=known.counts() if known is not None else {},
            unreadable=known.unreadable if known is not None else 0,
            reads=counters.reads,
            events=counters.events,
            loads=counters.loads,
            load_seconds=counters.load_seconds,
            losses=counters.losses,
            writes=counters.writes,
        )

    # -- collections, in the order of names

    def launchers(self) -> Known:
        """`id`, `hostname`, `pid`, `provider_name`, `pool` and `supported_labels` of each."""
        return self._view("launchers", ("launchers",), lambda look: look.rows["launchers"])

    def nodes(self) -> Known:
        return self._view("nodes", ("nodes", "holds", "past"), lambda look: views.nodes(look, self._hides))

    def requests(self) -> Known:
        return self._view("requests", ("requests",), lambda look: look.rows["requests"])

    def labels(self) -> Known:
        return self._view("labels", ("launchers", "nodes", "requests"), views.labels)

    def providers(self) -> Known:
        return self._view("providers", ("launchers", "nodes", "uploads"), views.providers)

    def images(self) -> Known:
        return self._view("images", ("images", "builds", "uploads"), views.images)

    def builds(self) -> Known:
        return self._view("builds", ("builds",), lambda look: look.rows["builds"])

    def uploads(self) -> Known:
        return self._view("uploads", ("uploads",), lambda look: look.rows["uploads"])

    def builders(self) -> Known:
        """`hostname`, `builder_id`, `builds`, `building` and `last_state_time` of each, as image builds name them."""
        return self._view("builders", ("builds",), views.builders)

    def one(self, rows: Known, key: str, value: str, what: str) -> Known:
        """The row of a collection that has this value.

        :param what: it is, for the error.
        :raises NotFound: there is none.
        """
        for row in rows.data:
            if row[key] == value:
                return Known(functools.partial(_itself, row), f"{rows.version} {value}", rows.as_of)
        raise NotFound(f"{what} {value} does not exist.")

    def known(self) -> tuple[Inventory, float]:
        """What is known, and as of when in monotonic seconds.

        :raises Unavailable: nothing, or it is too old.
        """
        if self.tree is None:
            raise Unavailable("This installation has no [zookeeper] in its zuul.conf, where Nodepool would be.", 60)
        inventory = self.tree.inventory(time.monotonic() + self._timeout_seconds)
        as_of = self.tree.connection().as_of
        if inventory is None or as_of is None:
            raise Unavailable("ZooKeeper has not let us read Nodepool yet.")
        age = time.monotonic() - as_of
        if age > self._stale_seconds:
            raise Unavailable(f"ZooKeeper is away since {int(age)} seconds.")
        return inventory, as_of

    def _view(self, name: str, kinds: tuple[str, ...], make: Make) -> Known:
        inventory, as_of = self.known()
        version = inventory.version(*kinds)

        def rows() -> list[Row]:
            made_of, made = self._made.get(name, ("", []))
            if made_of == version:
                return made
            look = inventory.look(*kinds)
            made = make(look)
            self._made[name] = look.version, made
            return made

        return Known(rows, f"{name} {version}", as_of)


def _itself(row: Row) -> Row:
    return row
