# SPDX-License-Identifier: Apache-2.0
"""What the bearer of a token may do."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class AdminTenants(Resource):
    """What Zuul 3 says of a token."""

    admin = always([str])
    """The tenants of which the bearer is an administrator."""

    @classmethod
    def sample(cls) -> AdminTenants:
        return cls(admin=["tenant-one"])


class UserAuthorizations(Resource):
    """The envelope that `AdminTenants` is sent in."""

    zuul = always(AdminTenants)
    """All there is to say; the envelope is upstream's."""

    @classmethod
    def sample(cls) -> UserAuthorizations:
        return cls(zuul=AdminTenants.sample())


class ScopedRights(Resource):
    """What later Zuuls say of a token."""

    admin = always(bool)
    """Whether the bearer is an administrator: of the tenant, or of all tenants where none is named."""

    permissions = always({str: bool})
    """What the bearer may do: `admin`, `read`, `enqueue`, `dequeue`, `promote`, `autohold`, `modify-node`. What is
    missing may not be done."""

    scope = always([str])
    """The tenant, or `*` for all."""

    @classmethod
    def sample(cls) -> ScopedRights:
        return cls(admin=False, permissions={"read": True, "autohold": True}, scope=["tenant-one"])


class ScopedAuthorizations(Resource):
    """The envelope that `ScopedRights` are sent in."""

    zuul = always(ScopedRights)
    """All there is to say; the envelope is upstream's."""

    @classmethod
    def sample(cls) -> ScopedAuthorizations:
        return cls(zuul=ScopedRights.sample())


class TenantRights(Resource):
    """What the bearer of a token may do in one tenant."""

    tenant = always(str)
    """Its name."""

    admin = always(bool)
    """Whether the bearer is an administrator of it, who may do everything."""

    actions = always([str])
    """What the bearer may do, of `enqueue`, `dequeue`, `promote`, `autohold` and `nodes`."""

    @classmethod
    def sample(cls) -> TenantRights:
        return cls(tenant="tenant-one", admin=False, actions=["autohold"])


class Authorizations(Resource):
    """Who the bearer of a token is, and what they may do."""

    uid = always(str)
    """Who it is, as Zuul's rules and logs name them."""

    realm = always(str, null=True)
    """Where the token comes from; null where the section of zuul.conf names no realm."""

    expires = always(float)
    """When the token ends, in seconds since 1970."""

    tenants = always([TenantRights])
    """The tenants in which the bearer may do anything."""

    @classmethod
    def sample(cls) -> Authorizations:
        return cls(uid="ann", realm="zuul.example.com", expires=1600000600.0, tenants=[TenantRights.sample()])
