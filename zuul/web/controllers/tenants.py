# SPDX-License-Identifier: Apache-2.0
"""Tenants, the connections they draw from, and what is wrong with their configuration."""

from __future__ import annotations

import json

from zuul.web.auth import Guard, Identity
from zuul.web.backends.replies import Document, Reply, as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.expose import expose
from zuul.web.resources.config_errors import ConfigError
from zuul.web.resources.connections import Connection
from zuul.web.resources.tenants import Tenant


class TenantsController:
    def __init__(self, scheduler: Scheduler, guard: Guard) -> None:
        self._scheduler = scheduler
        self._guard = guard

    @expose([Tenant])
    def get_all(self, *, identity: Identity | None) -> Reply:
        """All tenants, with their number of projects and of live queue items.

        Protected tenants are only listed for those who may read them.
        """
        found = self._scheduler.tenant_list()
        if not self._guard.protects_any:
            return found
        with as_declared():
            readable = self._guard.readable(identity, [tenant["name"] for tenant in found.data])
            rows = [tenant for tenant in found.data if tenant["name"] in readable]
        return Reply(json.dumps(rows).encode(), found.fresh_until)

    @expose(Tenant, str)
    def get_one(self, tenant: str) -> Document:
        """One tenant.

        :raises NotFound: no such tenant.
        """
        return self._scheduler.tenant_list().entry("name", tenant, f"Tenant {tenant} does not exist.")


class ConnectionsController:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    @expose([Connection])
    def get_all(self) -> Reply:
        """The connections from which projects come."""
        return self._scheduler.connection_list()

    @expose(Connection, str)
    def get_one(self, name: str) -> Document:
        """One connection.

        :raises NotFound: no such connection, or one that only reports.
        """
        return self._scheduler.connection_list().entry("name", name, f"Connection {name} does not exist.")


class ConfigErrorsController:
    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant

    @expose([ConfigError])
    def get_all(self) -> Reply:
        """What of the tenant's configuration could not be loaded, and why.

        :raises NotFound: no such tenant.
        """
        return self._scheduler.config_errors_list(self._tenant)
