# SPDX-License-Identifier: Apache-2.0
"""What this installation is and can do: `/api` and `/api/info`."""

from __future__ import annotations

from zuul.web.auth.guard import default_realm
from zuul.web.backends.scheduler import Scheduler
from zuul.web.expose import expose
from zuul.web.resources.base import JsonObject
from zuul.web.resources.info import Authentication, Capabilities, Info, InfoDocument, Realm, Stats
from zuul.web.settings import Settings


class IndexController:
    """The link map of /api: name of a resource to its URL template, as upstream's clients know it."""

    def __init__(self, links: dict[str, str]) -> None:
        self._links = links

    @expose(JsonObject)
    def get(self) -> dict[str, str]:
        """URL templates by name, upstream's whole list."""
        return self._links


class InfoController:
    """Of the whole installation; or of a tenant, whose name is repeated as it was asked for."""

    def __init__(self, settings: Settings, tenant: str | None = None) -> None:
        seconds = settings.web.static_cache_expiry_seconds
        self.cache_control = f"public, max-age={seconds}" if seconds else "no-cache"
        self._settings = settings
        self._tenant = tenant

    @expose(InfoDocument, public=True)
    def get(self) -> InfoDocument:
        """What this installation can do, and where its websockets and statistics are.

        An unknown tenant has an answer too, as with upstream.
        """
        return self._info()

    def _info(self) -> InfoDocument:
        web = self._settings.web
        info = Info(
            capabilities=Capabilities(job_history=True, auth=_authentication(self._settings)),
            websocket_url=web.websocket_url,
            stats=Stats(prefix=self._settings.statsd_prefix, type=web.stats_type, url=web.stats_url),
        )
        if self._tenant is not None:
            info.tenant = self._tenant
        return InfoDocument(info=info)


class TenantInfoController(InfoController):
    """Of a tenant that exists."""

    def __init__(self, settings: Settings, scheduler: Scheduler, tenant: str) -> None:
        super().__init__(settings, tenant)
        self._scheduler = scheduler
        self._name = tenant

    @expose(InfoDocument, public=True)
    def get(self) -> InfoDocument:
        """What this installation can do for the tenant, and where its websockets and statistics are.

        :raises NotFound: no such tenant.
        """
        self._scheduler.tenant_list().entry("name", self._name, f"Tenant {self._name} does not exist.")
        return self._info()


def _authentication(settings: Settings) -> Authentication:
    """How to get a token, by realm; of several sections for one realm the last counts."""
    realms = {}
    for section in settings.auth:
        openid = section.driver in ("OpenIDConnect", "RS256withJWKS")  # the second is the old name of the first
        realm = Realm(
            authority=section.issuer_id,
            client_id=section.client_id,
            type="JWT",
            driver="OpenIDConnect" if openid else section.driver,
        )
        if openid:
            realm.scope = section.options.get("scope", "openid profile")
        realms[str(section.realm)] = realm
    return Authentication(realms=realms, default_realm=default_realm(settings.auth))
