# SPDX-License-Identifier: Apache-2.0
"""Tenants, the connections they draw from, and what is wrong with their configuration."""

from __future__ import annotations

from zuul.web.backends.replies import Document, Reply
from zuul.web.backends.scheduler import Scheduler
from zuul.web.expose import expose
from zuul.web.resources.config_errors import ConfigError
from zuul.web.resources.connections import Connection
from zuul.web.resources.tenants import Tenant


class TenantsController:
    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    @expose([Tenant])
    def get_all(self) -> Reply:
        """All tenants, with their number of projects and of live queue items."""
        return self._scheduler.tenant_list()

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
