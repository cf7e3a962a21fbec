# SPDX-License-Identifier: Apache-2.0
"""What the bearer of a token may do."""

from __future__ import annotations

from zuul.web.auth import GRANTED, Guard, Identity
from zuul.web.backends.replies import as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import NotFound
from zuul.web.expose import expose, requires
from zuul.web.resources.authorizations import (
    AdminTenants,
    Authorizations,
    ScopedAuthorizations,
    ScopedRights,
    TenantRights,
    UserAuthorizations,
)

PERMISSIONS = {**{action: action for action in GRANTED}, "nodes": "modify-node"}
"""Upstream's words for actions."""


class AuthorizationsController:
    """Of one tenant, or of all."""

    cache_control = "private, no-cache"

    def __init__(self, scheduler: Scheduler, guard: Guard, tenant: str | None = None) -> None:
        self._scheduler = scheduler
        self._guard = guard
        self._tenant = tenant

    @requires("authenticated")
    @expose(UserAuthorizations)
    def get_of_user(self, *, identity: Identity) -> UserAuthorizations:
        """The tenants of which the bearer of the token is an administrator, in the form of Zuul 3."""
        return UserAuthorizations(zuul=AdminTenants(admin=self._guard.admin_tenants(identity)))

    @requires("authenticated")
    @expose(ScopedAuthorizations)
    def get_of_root(self, *, identity: Identity) -> ScopedAuthorizations:
        """What the bearer of the token may do in all tenants, in the form of later Zuuls."""
        tenants = self._tenants()
        admin = bool(tenants) and set(tenants) <= {*self._guard.admin_tenants(identity)}
        return self._scoped(identity, admin, None)

    @requires("authenticated")
    @expose(ScopedAuthorizations)
    def get_of_tenant(self, *, identity: Identity) -> ScopedAuthorizations:
        """What the bearer of the token may do in the tenant, in the form of later Zuuls.

        :raises NotFound: no such tenant.
        """
        if self._tenant not in self._tenants():
            raise NotFound(f"Tenant {self._tenant} does not exist.")
        return self._scoped(identity, self._guard.is_admin(identity, self._tenant), self._tenant)

    @requires("authenticated")
    @expose(Authorizations)
    def get(self, *, identity: Identity) -> Authorizations:
        """Who the bearer of the token is, and what they may do in which tenants."""
        tenants = []
        of_admin = self._guard.admin_tenants(identity)
        for tenant in self._tenants():
            admin = tenant in of_admin
            actions = [action for action in GRANTED if admin or self._guard.grants(identity, action, tenant)]
            if actions:
                tenants.append(TenantRights(tenant=tenant, admin=admin, actions=actions))
        return Authorizations(
            uid=identity.uid, realm=identity.realm, expires=float(identity.claims["exp"]), tenants=tenants
        )

    def _tenants(self) -> list[str]:
        with as_declared():
            return [str(tenant["name"]) for tenant in self._scheduler.tenant_list().data]

    def _scoped(self, identity: Identity, admin: bool, tenant: str | None) -> ScopedAuthorizations:
        protected = self._guard.protects_any if tenant is None else self._guard.protects(tenant)
        readable = admin or not protected or self._guard.grants(identity, "read", tenant)
        may = {"admin": admin, "read": readable}
        may |= {PERMISSIONS[action]: admin or self._guard.grants(identity, action, tenant) for action in GRANTED}
        permissions = {name: True for name, allowed in may.items() if allowed}
        return ScopedAuthorizations(zuul=ScopedRights(admin=admin, permissions=permissions, scope=[tenant or "*"]))
