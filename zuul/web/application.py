# SPDX-License-Identifier: Apache-2.0
"""The only place where objects are built and wired, and the factories that Paste's file names.

Everything that a process shares (the connection to the scheduler, the snapshots) is in `Services`,
made once for each zuul.conf when the first application or filter asks for it. Nothing connects or
starts a thread before the first request, so an application may be loaded before a server forks.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from types import MappingProxyType

from paste.deploy import loadapp
from paste.urlmap import URLMap

from zuul.web.audit import Audit
from zuul.web.auth import Guard
from zuul.web.backends.history import History
from zuul.web.backends.rpc.gearman import GearmanTransport
from zuul.web.backends.rpc.interface import Transport
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.backends.scheduler import Scheduler
from zuul.web.controllers import api, legacy, root, v1
from zuul.web.controllers.root import is_pecan_application, pecan_application
from zuul.web.documentation import Documentation
from zuul.web.expose import API, LEGACY, V1
from zuul.web.filters import (
    CorsFilter,
    GuardFilter,
    RequestFilter,
    SnapshotFilter,
    StatusUrls,
    WsgiApplication,
)
from zuul.web.openapi.document import Document, Part, as_json, as_yaml, describe
from zuul.web.origins import Origins
from zuul.web.settings import AuthSection, Gearman, Rest, Settings, Web, read
from zuul.web.sharing import SharedSnapshots
from zuul.web.site import Site
from zuul.web.snapshots import Snapshots

OUR_FILTERS = (RequestFilter, CorsFilter, GuardFilter, SnapshotFilter, legacy.LegacyUrls, Documentation)

DEFAULT_PASTE_FILE = os.path.join(os.path.dirname(__file__), "zuul-rest-paste.ini")

GlobalConf = dict[str, str]


@dataclass(frozen=True)
class Services:
    """What the applications of one process share. All of it is safe for threads."""

    settings: Settings
    scheduler: Scheduler
    snapshots: Snapshots
    history: History
    guard: Guard
    audit: Audit

    @classmethod
    def build(
        cls, settings: Settings, transport: Transport | None = None, *, share_snapshots: bool = False
    ) -> Services:
        """Wire everything up.

        :param transport: another than the settings', for tests.
        :param share_snapshots: with the other processes of this host that serve the same zuul.conf.
        """
        scheduler = Scheduler(
            transport or _transport(settings.gearman),
            timeout_seconds=settings.rest.rpc_timeout,
            cache_bytes=settings.rest.cache_bytes,
        )
        snapshots = Snapshots(
            scheduler.status_get,
            stale_seconds=settings.rest.status_stale,
            shared=SharedSnapshots(f"{settings.path} {settings.gearman}") if share_snapshots else None,
        )
        history = History(
            settings.connections,
            scheduler,
            timeout_seconds=settings.rest.sql_timeout,
            connections_each=settings.rest.sql_connections,
        )
        return cls(settings, scheduler, snapshots, history, Guard(settings.auth, settings.rest, scheduler), Audit())

    def close(self) -> None:
        self.snapshots.close()
        self.history.close()
        self.scheduler.transport.close()


def _transport(gearman: Gearman | None) -> Transport:
    if gearman is None:
        return LocalTransport({})  # a Nodepool without Zuul: whatever needs the scheduler is 503
    tls = (gearman.ssl_key, gearman.ssl_cert, gearman.ssl_ca)
    complete = (tls[0], tls[1], tls[2]) if tls[0] and tls[1] and tls[2] else None
    return GearmanTransport(gearman.servers, tls=complete)


_services: dict[str, Services] = {}
_services_lock = threading.Lock()


def services(zuul_conf: str | None, *, share_snapshots: bool = False) -> Services:
    """The services of this process for a zuul.conf; None: `$ZUUL_CONF`, then upstream's places.

    Made with the first call, which also decides about sharing.

    :raises ConfigError: the file is wrong.
    """
    path = zuul_conf or os.environ.get("ZUUL_CONF") or None
    with _services_lock:
        found = _services.get(path or "")
        if found is None:
            found = _services[path or ""] = Services.build(read(path), share_snapshots=share_snapshots)
        return found


def provide(zuul_conf: str, found: Services) -> None:
    """Have `load` use these services for a zuul.conf, in place of those that its settings ask for."""
    with _services_lock:
        _services[zuul_conf] = found


def load(zuul_conf: str | None, paste_file: str | None = None) -> WsgiApplication:
    """The whole application as Paste's file composes it; None: the packaged one."""
    application: WsgiApplication = loadapp(
        f"config:{os.path.abspath(paste_file or DEFAULT_PASTE_FILE)}",
        global_conf={"zuul_conf": zuul_conf or ""},
    )
    return application


# -- named in zuul-rest-paste.ini


def api_app(global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    found = services(global_conf.get("zuul_conf"))
    url_map = api.url_map(found.settings, found.scheduler, found.snapshots, found.history, found.guard)
    return pecan_application(url_map, API, found.guard, found.audit)


def v1_app(global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    found = services(global_conf.get("zuul_conf"))
    url_map = v1.url_map(found.settings, found.scheduler, found.snapshots, found.history, found.guard, found.audit)
    return pecan_application(url_map, V1, found.guard, found.audit)


def site_app(global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    web = services(global_conf.get("zuul_conf")).settings.web
    return Site(web.static_path, web.static_cache_expiry_seconds, pecan_application(root.url_map(), V1))


def request_filter(app: WsgiApplication, global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    return RequestFilter(app, services(global_conf.get("zuul_conf")).settings.rest.access_log)


def cors_filter(app: WsgiApplication, global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    return CorsFilter(app, Origins(services(global_conf.get("zuul_conf")).settings.rest))


def guard_filter(app: WsgiApplication, global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    found = services(global_conf.get("zuul_conf"))
    return GuardFilter(app, found.settings.rest.max_body_bytes, found.audit if found.guard.enabled else None)


def snapshots_filter(app: WsgiApplication, global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    found = services(global_conf.get("zuul_conf"))
    return SnapshotFilter(app, found.snapshots, _status_urls(app, found))


def legacy_filter(app: WsgiApplication, global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    found = services(global_conf.get("zuul_conf"))
    tenants = legacy.Tenants(found.scheduler, found.snapshots, found.settings.rest.whitelabel_tenant)
    url_map = legacy.url_map(found.scheduler, found.snapshots, found.history, found.guard)
    content = pecan_application(url_map, LEGACY, found.guard)
    return legacy.LegacyUrls(app, content, tenants, found.settings.web.static_path)


def documentation_filter(app: WsgiApplication, global_conf: GlobalConf, **local_conf: str) -> WsgiApplication:
    found = services(global_conf.get("zuul_conf"))

    def both_forms() -> tuple[str, str]:
        document = document_of(found)
        return as_json(document), as_yaml(document)

    return Documentation(app, both_forms, found.settings.web.static_path)


def _status_urls(application: object, found: Services) -> StatusUrls:
    """Where a status is to be found in what stands behind the snapshot filter.

    Its legacy URLs only if they are there, with nobody else's filter before them and outside of what is
    mounted beside them. Otherwise they go the long way like everything else.
    """
    whitelabel_tenant, guard = found.settings.rest.whitelabel_tenant, found.guard
    is_protected = guard.protects if guard.protects_any else None
    origins = Origins(found.settings.rest)
    if not origins.anybody_reads:
        is_protected = lambda tenant: True  # noqa: E731  # what is ready lets anybody's page read it
    long_way = frozenset(
        [
            *(["HTTP_AUTHORIZATION"] if guard.enabled else []),
            *([] if origins.same_for_all else ["HTTP_ORIGIN"]),
        ]
    )
    while isinstance(application, (RequestFilter, CorsFilter, GuardFilter)):
        application = application.inner
    if not isinstance(application, URLMap) or any(domain for (domain, _), _ in application.applications):
        return StatusUrls(whitelabel_tenant, is_protected=is_protected, long_way=long_way)
    mounted = {path: inner for (_, path), inner in application.applications}
    v1 = tuple(path for path in ("/v1", "/api/v1") if is_pecan_application(mounted.get(path)))
    outside = mounted.pop("", None)
    while isinstance(outside, Documentation):
        outside = outside.inner
    return StatusUrls(
        whitelabel_tenant,
        outside if isinstance(outside, legacy.LegacyUrls) else None,
        frozenset(path.split("/")[1] for path in mounted),
        v1,
        is_protected,
        long_way,
    )


# -- what the OpenAPI document describes


def parts(found: Services) -> list[Part]:
    """The URL maps of these services."""
    settings, scheduler, snapshots = found.settings, found.scheduler, found.snapshots
    of_former_zuuls = legacy.url_map(scheduler, snapshots, found.history, found.guard)
    return [
        Part("/v1", v1.url_map(settings, scheduler, snapshots, found.history, found.guard, found.audit), V1),
        Part("/api", api.url_map(settings, scheduler, snapshots, found.history, found.guard), API, prefix="api_"),
        Part("", root.url_map(), V1, prefix="root_"),
        Part("", of_former_zuuls, API, prefix="legacy_", reads_query=False),
    ]


def document_of(found: Services) -> Document:
    """The OpenAPI document of these services."""
    return describe(parts(found))


def with_all_options() -> Services:
    """Services of no installation, with every option that adds URLs, for the document that we hand out."""
    realm = AuthSection("any", "HS256", "any", False, "any", "any", "sub", MappingProxyType({"secret": "any"}))
    return Services.build(Settings("", None, None, Web(), None, (realm,), (), Rest()))


# -- for a server that can answer from memory


def snapshots_in_front(application: object) -> SnapshotFilter | None:
    """The snapshot filter, if nothing but our own filters stands before it.

    Then a server may take status requests to it directly. With a filter of the operator's before it
    (authentication, say) all requests must go through the whole pipeline.
    """
    while isinstance(application, (RequestFilter, CorsFilter, GuardFilter)):
        application = application.inner
    return application if isinstance(application, SnapshotFilter) else None


def all_ours(application: object) -> bool:
    """Whether nobody else's filter or application is in it, so that equal requests have equal answers."""
    while isinstance(application, OUR_FILTERS):
        application = application.inner
    if isinstance(application, URLMap):
        return all(domain is None and all_ours(inner) for (domain, _), inner in application.applications)
    return isinstance(application, Site) or is_pecan_application(application)
