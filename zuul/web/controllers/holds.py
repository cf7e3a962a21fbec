# SPDX-License-Identifier: Apache-2.0
"""Holds (autohold requests): keep the nodes of failing builds for inspection."""

from __future__ import annotations

import json
from typing import Any

from zuul.web.backends.replies import as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.controllers.current import Current
from zuul.web.errors import BrokenOff, NotFound, OutcomeUnknown, ServerError
from zuul.web.expose import expose, requires
from zuul.web.resources.hold_orders import HoldOrder, HoldOrderForProject
from zuul.web.resources.holds import Hold, HoldDetail
from zuul.web.snapshots import Snapshots


class HoldsController:
    def __init__(self, scheduler: Scheduler, snapshots: Snapshots, tenant: str) -> None:
        self._scheduler = scheduler
        self._current = Current(scheduler, snapshots, tenant)
        self._tenant = tenant

    @expose([Hold], str, path=0, in_v1=[HoldDetail])
    def get_all(self, project: str | None = None) -> list[HoldDetail]:
        """The holds of the tenant, or those for one project.

        :param project: the end of the project's canonical name.
        :raises NotFound: no such tenant.
        """
        return self._holds(project)

    @expose([Hold], str, in_v1=[HoldDetail])
    def get_of_project(self, project: str) -> list[HoldDetail]:
        """The holds for one project.

        :param project: the end of the project's canonical name.
        :raises NotFound: no such tenant.
        """
        return self._holds(project)

    @expose(Hold, str, in_v1=HoldDetail)
    def get_one(self, request_id: str) -> HoldDetail:
        """One hold.

        :raises NotFound: there is none of this id, or it belongs to another tenant.
        """
        return self._hold(request_id)

    @requires("autohold")
    @expose(bool, str, body=HoldOrder, action="autohold")
    def create_for_project(self, project: str, body: HoldOrder) -> bool:
        """Hold the nodes of the next failing builds of a job for the project.

        :raises NotFound: no such tenant or project.
        """
        self._create(self._current.project(project, NotFound), body)
        return True

    @requires("autohold")
    @expose(None, body=HoldOrderForProject, action="autohold")
    def create(self, body: HoldOrderForProject) -> None:
        """Hold the nodes of the next failing builds of a job.

        :raises NotFound: no such tenant.
        """
        self._create(self._current.project(body.project), body)

    @requires("autohold")
    @expose(None, str, action="autohold-delete")
    def delete(self, request_id: str) -> None:
        """End a hold, and release the nodes that it has kept.

        :raises NotFound: there is none of this id, or it belongs to another tenant.
        """
        self._hold(request_id)
        self._scheduler.autohold_delete(request_id)
        try:  # the scheduler says nothing of what goes wrong
            self._hold(request_id)
        except NotFound:
            return
        except ServerError as error:
            raise OutcomeUnknown("the scheduler has not said whether the hold is gone") from error
        raise BrokenOff("the scheduler has kept the hold; its log has the reason")

    def _create(self, project: dict[str, Any], order: HoldOrder) -> None:
        if order.change:
            self._current.check_has_changes(project)
        self._scheduler.autohold(
            self._tenant,
            project["canonical_name"],
            order.job,
            order.change,
            order.ref,
            order.reason,
            order.count,
            order.node_hold_expiration,
        )

    def _hold(self, request_id: str) -> HoldDetail:
        nothing = NotFound(f"Hold request {request_id} does not exist.")
        if not (request_id.isascii() and request_id.isdigit()):
            raise nothing  # the scheduler would look anything up in ZooKeeper, slashes and dots included
        request = self._scheduler.autohold_info(request_id)
        with as_declared():
            if request["tenant"] != self._tenant:
                raise nothing
            return HoldDetail.from_rpc(request)

    def _holds(self, project: str | None) -> list[HoldDetail]:
        tenants = json.loads(self._scheduler.tenant_list().body)
        with as_declared():
            if self._tenant not in [tenant["name"] for tenant in tenants]:
                raise NotFound(f"Tenant {self._tenant} does not exist.")
            return [
                HoldDetail.from_rpc(request)
                for request in self._scheduler.autohold_list()
                if request["tenant"] == self._tenant and (project is None or request["project"].endswith(project))
            ]
