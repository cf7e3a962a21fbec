# SPDX-License-Identifier: Apache-2.0
"""What can be done to nodes and images: the writes of Nodepool's own commands, under the locks of its daemons.

Each looks at the znode anew once it has the lock, changes only what it is about, and writes only if nobody else has
written meanwhile. Nodepool does the rest when it sees the new state.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

from zuul.web.backends.nodepool import records
from zuul.web.backends.nodepool.facade import Nodepool
from zuul.web.backends.nodepool.interface import Broke, Changed, Locked, NoZnode, Tree
from zuul.web.errors import Conflict, NotFound, OutcomeUnknown, Unavailable

KEPT_FROM = ("ready", "in-use", "used", "hold")
"""States of nodes that can be held: if they are in use, only after Zuul has let go of them."""

_is_name = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,255}").fullmatch

Znode = dict[str, Any]


class Actions:
    """All of them raise

        NotFound        there is no such node, image, build or upload
        Conflict        it is in the wrong state, or locked, or somebody else was faster; nothing was done
        Unavailable     ZooKeeper is away; nothing was done
        OutcomeUnknown  the connection broke in the middle; nobody can say whether it was done

    :param timeout_seconds: the deadline of each.
    """

    def __init__(self, nodepool: Nodepool, *, timeout_seconds: float) -> None:
        self._nodepool = nodepool
        self._timeout_seconds = timeout_seconds

    # -- nodes

    def tenant_of(self, node: str) -> str | None:
        """The tenant for which a node is held, if it is, and that is known.

        :raises NotFound: there is no such node.
        """
        path = _node_path(node)
        with self._told(f"Node {node}") as (tree, deadline):
            row = records.node(node, _decoded(tree.read(path, deadline)[0]))
        held_for = records.held_for(row["hold_job"]) if row["state"] == "hold" else None
        return str(held_for["tenant"]) if held_for is not None else None

    def hold(self, node: str, comment: str | None, expiration_seconds: int | None) -> None:
        """Keep a node that nobody uses.

        :param comment: None leaves the one that there is; so does `expiration_seconds`, where 0 is for ever.
        """

        def check(znode: Znode, tree: Tree, deadline: float) -> None:
            self._check_state(node, znode, KEPT_FROM)
            request = znode.get("allocated_to")
            if znode.get("state") != "ready" or not isinstance(request, str) or not _is_name(request):
                return
            if tree.exists(f"/nodepool/requests/{request}", deadline):
                raise Conflict(f"Node {node} is about to be used by request {request}.")

        given = {"comment": comment, "hold_expiration": expiration_seconds}
        more = {key: value for key, value in given.items() if value is not None}
        self._set_state(f"Node {node}", _node_path(node), "hold", check, more)

    def release(self, node: str) -> None:
        """Let Nodepool delete a node that is held: it counts as used, and is never given to anybody else."""
        self._set_state(f"Node {node}", _node_path(node), "used", self._only_from(node, ("hold",)))

    def delete_node(self, node: str) -> None:
        """Have a node deleted, unless somebody has it locked: Zuul, whose build runs on it, or a launcher."""

        def check(znode: Znode, tree: Tree, deadline: float) -> None:
            if znode.get("state") in ("deleting", "deleted"):
                raise Conflict(f"Node {node} is being deleted already.")

        self._set_state(f"Node {node}", _node_path(node), "deleting", check)

    # -- images

    def request_build(self, image: str) -> None:
        """Ask builders for a build of an image. Nothing happens if that was asked for already."""
        path = _image_path(image)
        with self._told(f"Image {image}") as (tree, deadline):
            if not tree.exists(path, deadline):
                raise NoZnode
            if tree.exists(f"{path}/pause", deadline):
                raise Conflict(f"Image {image} is paused.")
            tree.create(f"{path}/request-build", deadline)

    def pause(self, image: str) -> None:
        """Have no more builds of an image made."""
        path = _image_path(image)
        with self._told(f"Image {image}") as (tree, deadline):
            tree.create(f"{path}/pause", deadline)

    def unpause(self, image: str) -> None:
        path = _image_path(image)
        with self._told(f"Image {image}") as (tree, deadline):
            if not tree.exists(path, deadline):
                raise NoZnode
            tree.delete(f"{path}/pause", deadline)

    def delete_build(self, build: str) -> None:
        """Have a build of an image deleted, and with it its uploads."""
        row = self._row("builds", build, "Build")
        path = f"{_image_path(row['image'])}/builds/{row['number']}"
        self._delete_made(f"Build {build}", path, "building")

    def delete_upload(self, upload: str) -> None:
        """Have an upload deleted at its provider."""
        row = self._row("uploads", upload, "Upload")
        path = f"{_image_path(row['image'])}/builds/{row['build_number']}"
        path = f"{path}/providers/{row['provider']}/images/{row['number']}"
        self._delete_made(f"Upload {upload}", path, "uploading")

    def _delete_made(self, what: str, path: str, being_made: str) -> None:
        def check(znode: Znode, tree: Tree, deadline: float) -> None:
            state = znode.get("state")
            if state == being_made:
                raise Conflict(f"{what} is not complete yet: its state is {state}.")
            if state == "deleting":
                raise Conflict(f"{what} is being deleted already.")

        self._set_state(what, path, "deleting", check)

    def _row(self, kind: str, name: str, what: str) -> records.Row:
        inventory, _ = self._nodepool.known()
        for row in inventory.look(kind).rows[kind]:
            if row["id"] == name:
                return row
        raise NotFound(f"{what} {name} does not exist.")

    # -- how it is done

    def _set_state(
        self,
        what: str,
        path: str,
        state: str,
        check: Callable[[Znode, Tree, float], None],
        more: Znode | None = None,
    ) -> None:
        """Under its lock, give a znode another state, if it is as it must be."""
        with self._told(what) as (tree, deadline):
            tree.read(path, deadline)  # a lock would make a part of what is not there
            with tree.locked(f"{path}/lock", deadline) as lock:
                data, version = tree.read(path, deadline)
                znode = _decoded(data)
                check(znode, tree, deadline)
                changed = {**znode, **(more or {}), "state": state, "state_time": self._nodepool.clock()}
                tree.write(path, json.dumps(changed).encode(), version, lock, deadline)

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[tuple[Tree, float]]:
        """What goes wrong in there, as our errors."""
        if self._nodepool.tree is None:
            self._nodepool.known()
        assert self._nodepool.tree is not None
        try:
            yield self._nodepool.tree, time.monotonic() + self._timeout_seconds
        except NoZnode as error:
            raise NotFound(f"{what} does not exist.") from error
        except records.Unreadable as error:
            raise Conflict(f"What ZooKeeper has of {what} is no JSON object.") from error
        except Changed as error:
            raise Conflict(f"{what} has changed at this moment; look at it again.") from error
        except Locked as error:
            raise Conflict(f"{what} is locked by somebody else.") from error
        except Broke as error:
            if error.sent:
                raise OutcomeUnknown(f"{error}; it may have been done") from error
            raise Unavailable(f"{error}; nothing was done.") from error

    def _only_from(self, node: str, states: tuple[str, ...]) -> Callable[[Znode, Tree, float], None]:
        return lambda znode, tree, deadline: self._check_state(node, znode, states)

    def _check_state(self, node: str, znode: Znode, states: tuple[str, ...]) -> None:
        state = znode.get("state")
        if state not in states:
            raise Conflict(f"Node {node} has the state {state}; it must be {' or '.join(states)}.")


def _decoded(data: bytes) -> Znode:
    """:raises NoZnode: it is empty, which is as good as not there."""
    found = records.decoded(data)
    if found is None:
        raise NoZnode
    return found


def _node_path(node: str) -> str:
    return f"/nodepool/nodes/{_name(node, 'Node')}"


def _image_path(image: str) -> str:
    return f"/nodepool/images/{_name(image, 'Image')}"


def _name(name: str, what: str) -> str:
    """:raises NotFound: it can be no znode's, and perhaps leads elsewhere."""
    if not _is_name(name):
        raise NotFound(f"{what} {name} does not exist.")
    return name
