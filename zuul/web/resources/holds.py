# SPDX-License-Identifier: Apache-2.0
"""Autohold requests, from the scheduler's `autohold_list` and `autohold_info`.

The two families of keys are never mixed: `Hold` has those of zuul-web 3.19.1, for /api, which must equal it key by key.
`HoldDetail` adds those of zuul-web 4, which are the scheduler's own.
"""

from __future__ import annotations

from typing import Any, TypeVar

from zuul.web.resources.base import Resource, always

REQUEST: dict[str, Any] = {
    "id": "0000000001",
    "expired": None,
    "tenant": "tenant-one",
    "project": "git.example.com/sandbox",
    "job": "fail-node",
    "ref_filter": ".*",
    "max_count": 2,
    "current_count": 1,
    "reason": "look at the disk",
    "node_expiration": 86400,
    "nodes": [{"build": "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11", "nodes": ["0000000042"]}],
}
"""A hold as the scheduler gives it, which the samples are made of."""

AnyHold = TypeVar("AnyHold", bound="Hold")


class HeldNodes(Resource):
    """The nodes that a hold has kept of one failed build."""

    build = always(str)
    """Its uuid."""

    nodes = always([str])
    """Their ids in Nodepool."""

    @classmethod
    def sample(cls) -> HeldNodes:
        return cls(**REQUEST["nodes"][0])


class Hold(Resource):
    """A request to keep the nodes of the next failing builds of a job for inspection."""

    _key = "id"

    id = always(str)
    """The number of the request, with zeros in front, as ZooKeeper counts."""

    tenant = always(str)
    """The tenant that it was made in."""

    project = always(str)
    """The canonical name."""

    job = always(str)
    """The name of the job whose builds are held."""

    ref_filter = always(str)
    """A regular expression from the start of the ref; `.*` for any change."""

    count = always(int)
    """How many failing builds it may hold altogether, not how many are left."""

    reason = always(str, null=True)
    """Why, in the words of whoever asked for it."""

    node_hold_expiration = always(int, null=True)
    """Seconds that nodes are kept; 0: until somebody releases them."""

    @classmethod
    def from_rpc(cls: type[AnyHold], request: dict[str, Any]) -> AnyHold:
        """From one entry of `autohold_list`."""
        return cls(
            id=request["id"],
            tenant=request["tenant"],
            project=request["project"],
            job=request["job"],
            ref_filter=request["ref_filter"],
            count=request["max_count"],
            reason=request["reason"],
            node_hold_expiration=request["node_expiration"],
        )

    @classmethod
    def sample(cls: type[AnyHold]) -> AnyHold:
        return cls.from_rpc(REQUEST)


class HoldDetail(Hold):
    """A hold and what it has kept so far."""

    max_count = always(int)
    """The same as `count`, by the scheduler's name."""

    current_count = always(int)
    """How many builds it has held."""

    node_expiration = always(int, null=True)
    """The same as `node_hold_expiration`, by the scheduler's name."""

    expired = always(float, null=True)
    """Epoch seconds of the moment when it had held `max_count` builds; null: still active."""

    nodes = always([HeldNodes])
    """One entry per held build."""

    @classmethod
    def from_rpc(cls, request: dict[str, Any]) -> HoldDetail:
        hold = super().from_rpc(request)
        hold.max_count = request["max_count"]
        hold.current_count = request["current_count"]
        hold.node_expiration = request["node_expiration"]
        hold.expired = request["expired"]
        hold.nodes = [HeldNodes(build=held["build"], nodes=held["nodes"]) for held in request["nodes"]]
        return hold
