# SPDX-License-Identifier: Apache-2.0
"""Labels and nodes as a tenant sees them."""

from __future__ import annotations

import hashlib
import json
import re

from zuul.web.auth import Guard, Identity
from zuul.web.backends.nodepool import Nodepool
from zuul.web.backends.nodepool.actions import Actions
from zuul.web.backends.replies import Known, as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import BadReply, NotFound
from zuul.web.expose import expose, requires
from zuul.web.resources.labels import Label, LabelDetail
from zuul.web.resources.nodes import Node, NodeDetail, NodeState


class LabelsController:
    def __init__(self, scheduler: Scheduler, nodepool: Nodepool, tenant: str) -> None:
        self._scheduler = scheduler
        self._nodepool = nodepool
        self._tenant = tenant

    @expose([Label], in_v1=[LabelDetail])
    def get_all(self) -> Known:
        """The labels that jobs of the tenant may use.

        :raises NotFound: no such tenant.
        """
        patterns = self._scheduler.allowed_labels_get(self._tenant)
        allowed, disallowed = (_compiled(texts) for texts in patterns)
        labels = self._nodepool.labels()

        def of_tenant() -> list[dict[str, object]]:
            return [row for row in labels.data if _may_use(row["name"], allowed, disallowed)]

        version = hashlib.blake2b(json.dumps(patterns).encode(), digest_size=16).hexdigest()
        return Known(of_tenant, f"{labels.version} {version}", labels.as_of)


class NodesController:
    """In 3.19, nodes belong to no tenant: each sees all."""

    def __init__(self, scheduler: Scheduler, nodepool: Nodepool, tenant: str) -> None:
        self._scheduler = scheduler
        self._nodepool = nodepool
        self._tenant = tenant

    @expose([Node])
    def get_all(self) -> Known:
        """All nodes of the installation; of whatever tenant, as nodes belong to none."""
        return self._nodepool.nodes()

    @expose([NodeDetail])
    def get_all_of_tenant(self) -> Known:
        """All nodes of the installation, as nodes belong to no tenant.

        :raises NotFound: no such tenant.
        """
        self._check_tenant()
        return self._nodepool.nodes()

    @expose(NodeDetail, str)
    def get_one(self, node: str) -> Known:
        """One node.

        :raises NotFound: no such tenant, or no node of this id.
        """
        self._check_tenant()
        return self._nodepool.one(self._nodepool.nodes(), "id", node, "Node")

    def _check_tenant(self) -> None:
        rows = self._scheduler.tenant_list().data
        with as_declared():
            if self._tenant not in [row["name"] for row in rows]:
                raise NotFound(f"Tenant {self._tenant} does not exist.")


class NodeStateController:
    """As zuul-client 14 asks."""

    def __init__(self, actions: Actions, guard: Guard, tenant: str) -> None:
        self._actions = actions
        self._guard = guard
        self._tenant = tenant

    @requires("nodes")
    @expose(bool, str, body=NodeState, action="node-state", created=True)
    def put(self, node: str, body: NodeState, *, identity: Identity) -> None:
        """Keep a node, or release it.

        :raises NotFound: there is no node of this id.
        :raises Conflict: it is in use, or has another state than it must have.
        """
        check_tenant_of(self._actions, self._guard, identity, node)
        if body.state == "hold":
            self._actions.hold(node, body.comment, None)
        else:
            self._actions.release(node)


def check_tenant_of(actions: Actions, guard: Guard, identity: Identity, node: str) -> None:
    """:raises Forbidden: the node is held for a tenant, and they may do nothing to nodes of that one."""
    tenant = actions.tenant_of(node)
    if tenant is not None:
        guard.check(identity, "nodes", tenant)


def _compiled(patterns: list[str]) -> list[re.Pattern[str]]:
    try:
        return [re.compile(pattern) for pattern in patterns]
    except (re.error, TypeError) as error:
        raise BadReply("the scheduler's patterns of labels are none that we can read") from error


def _may_use(label: str, allowed: list[re.Pattern[str]], disallowed: list[re.Pattern[str]]) -> bool:
    return (not allowed or any(pattern.match(label) for pattern in allowed)) and not any(
        pattern.match(label) for pattern in disallowed
    )
