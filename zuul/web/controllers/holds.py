# SPDX-License-Identifier: Apache-2.0
"""Holds (autohold requests): keep the nodes of failing builds for inspection."""

from __future__ import annotations

import json

from zuul.web.backends.replies import as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import NotFound
from zuul.web.expose import expose
from zuul.web.resources.holds import Hold, HoldDetail


class HoldsController:
    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler = scheduler
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
