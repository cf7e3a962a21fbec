# SPDX-License-Identifier: Apache-2.0
"""The URLs of Zuul 2 and of the first Zuul 3, for the scripts that still ask for them.

doc/legacy-urls.md has the table. They lie at the root, among the pages of a dashboard and whatever else
an operator serves there, so `LegacyUrls` stands in front of that and takes a request only if it is
certainly its own. Of a status the snapshot filter takes most requests before (see filters.py).
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable
from urllib.parse import quote

from wsme.types import text

from zuul.web.auth import Guard
from zuul.web.backends.history import History
from zuul.web.backends.replies import Reply, as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.controllers.builds import BuildsController
from zuul.web.controllers.jobs import JobsController
from zuul.web.controllers.pipelines import StatusController
from zuul.web.controllers.projects import KeysController, without_suffix
from zuul.web.controllers.streams import STREAMS, StreamUrl
from zuul.web.controllers.tenants import TenantsController
from zuul.web.errors import NotFound, RestError, ServerError
from zuul.web.expose import expose
from zuul.web.filters import Environ, StartResponse, WsgiApplication, refuse, varying_by_accept, wants_page
from zuul.web.resources.status import Item
from zuul.web.snapshots import Snapshot, Snapshots
from zuul.web.urls import Url, UrlMap, UrlOf


def url_map(scheduler: Scheduler, snapshots: Snapshots, history: History, guard: Guard) -> UrlMap:
    """Every legacy URL with content. To those of Zuul 2 `LegacyUrls` has added the tenant."""

    def tenant(name: str) -> UrlMap:
        status = Url(get=StatusController(snapshots, name).get)
        change = Url(segments=1, get=LegacyChangeController(snapshots, name).get)

        def keys_of(source: str) -> Url:
            return Url(segments=None, template="{project}.pub", get=SourceKeysController(scheduler, name, source).get)

        return UrlMap(
            {
                "status.json": status,
                "status": UrlMap({"change": change}, index=status),
                "jobs.json": Url(get=JobsController(scheduler, name).get_all),
                "builds.json": Url(get=BuildsController(history, name).get_all),
                "keys": UrlOf("source", keys_of),
                "console-stream": StreamUrl(STREAMS.console),
            },
            other=Url(
                segments=None, template="{project}.pub", get=KeysController(scheduler, name, suffix=".pub").get_secrets
            ),
        )

    return UrlMap(
        {
            "tenants.json": Url(get=TenantsController(scheduler, guard).get_all),
            "console-stream": StreamUrl(STREAMS.console),
        },
        other=UrlOf("tenant", tenant),
    )


_with_content = re.compile(
    r"/(?:status|status\.json|status/change/[^/]+|tenants\.json)"
    r"|/(?P<tenant>[^/]+)/(?:status|status\.json|status/change/[^/]+|jobs\.json|builds\.json|.+\.pub)",
    re.DOTALL,
).fullmatch
_is_stream = re.compile(r"(?:/[^/]+)?/console-stream", re.DOTALL).fullmatch
_html = re.compile(
    r"/(?:(?:t/)?(?P<tenant>[^/]+)/)?(?P<page>status|jobs|builds)\.html|/(?P<tenants>tenants)\.html"
).fullmatch


class LegacyChangeController:
    def __init__(self, snapshots: Snapshots, tenant: str) -> None:
        self._snapshots = snapshots
        self._tenant = tenant

    @expose([Item], str)
    def get(self, change: str) -> Snapshot:
        """The items of one change (`N,P`).

        :raises NotFound: no such tenant, or the change is in no pipeline, for which /api has an empty list.
        """
        status = self._snapshots.get(self._tenant)
        with as_declared():
            items = status.items_by_id.get(change)
        if not items:
            raise NotFound(f"Change {change} is in no pipeline.")
        return Snapshot(json.dumps(items).encode(), status.fetched, status.changed_at, compress=False)


class SourceKeysController:
    """Public keys of the projects of one connection, which early Zuul 3 called a source."""

    def __init__(self, scheduler: Scheduler, tenant: str, source: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant
        self._source = source

    @expose(text, str, content_type="text/plain")
    def get(self, file: str) -> Reply:
        """The key with which secrets for the project are encrypted, in PEM.

        :raises NotFound: no such tenant, or it has no such project of this connection.
        """
        project = without_suffix(file, ".pub")
        projects = self._scheduler.project_list(self._tenant)
        with as_declared():
            names = {(known["connection_name"], known["name"]): known["canonical_name"] for known in projects.data}
        if (self._source, project) not in names:
            raise NotFound(f"Connection {self._source} has no project {project} in tenant {self._tenant}.")
        return self._scheduler.key_get(self._tenant, names[self._source, project], "secrets")


class Tenants:
    """Which names are tenants, and which tenant a URL means that names none."""

    def __init__(self, scheduler: Scheduler, snapshots: Snapshots, whitelabel: str | None) -> None:
        self.whitelabel = whitelabel
        self._scheduler = scheduler
        self._snapshots = snapshots
        self._only: tuple[float, str] | None = None
        """The only tenant, and until when that is fresh, in monotonic seconds."""

    def default(self) -> str:
        """The whitelabel tenant, or the only one there is.

        :raises NotFound: it is not clear which one.
        """
        if self.whitelabel is not None:
            return self.whitelabel
        try:
            reply = self._scheduler.tenant_list()
        except ServerError:
            if self._only is None:
                raise
            return self._only[1]  # whose last status may be had while the scheduler is away
        names = _names(reply)
        if len(names) != 1:
            self._only = None
            raise NotFound(
                f"This URL is about one tenant, and there {'are several' if names else 'is none'}. Put a tenant's "
                "name in front, as in /NAME/status.json, or have whitelabel_tenant = NAME set in section [rest] of "
                "zuul.conf."
            )
        self._only = (reply.fresh_until or 0.0, names[0])
        return names[0]

    def default_at_hand(self) -> str | None:
        """The same without asking the scheduler; None: ask."""
        if self.whitelabel is not None:
            return self.whitelabel
        only = self._only
        return only[1] if only is not None and time.monotonic() < only[0] else None

    def exists(self, name: str) -> bool:
        """Whether this is a tenant."""
        if self.is_at_hand(name):
            return True
        return name in _names(self._scheduler.tenant_list())

    def is_at_hand(self, name: str) -> bool:
        """Whether this is certainly a tenant, as it has a status, without asking the scheduler."""
        return self._snapshots.has(name)


class LegacyUrls:
    """A WSGI filter that answers legacy URLs, and leaves the others to the dashboard behind it.

    Names of tenants, files and pages meet here, so in this order:

    1. what begins with the name of a file or folder in `static_path` is not ours;
    2. the `.html` pages of that time lead to the dashboard's of today, if there is one;
    3. a browser that loads a page (it accepts text/html) gets the dashboard's, if there is one: `/status`
       is such a page where a proxy or `whitelabel_tenant` made it one, `/job/status` a job's of that name.
       Scripts never name text/html, and `.json` is no page;
    4. what names a tenant is ours if there is that tenant.

    :param content: the application over `url_map`.
    :param static_path: its names are read now; a new folder in it counts after a restart.
    """

    def __init__(
        self, inner: WsgiApplication, content: WsgiApplication, tenants: Tenants, static_path: str | None
    ) -> None:
        self.inner = inner
        self.has_pages = bool(static_path)
        self._content = content
        self._tenants = tenants
        files = os.listdir(os.fsencode(static_path)) if static_path else []
        self._of_others = {"api", "v1", *(name.decode("latin-1") for name in files)}

    # -- what the snapshot filter asks, in the characters of WSGI

    def belongs_to_others(self, first_segment: str) -> bool:
        return first_segment in self._of_others

    def default_tenant_at_hand(self) -> str | None:
        return self._tenants.default_at_hand()

    def is_tenant_at_hand(self, name: str) -> bool:
        return name.isascii() and self._tenants.is_at_hand(name)

    # --

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path[1:].partition("/")[0] in self._of_others:
            return self.inner(environ, start_response)
        if _is_stream(path):
            return self._content(environ, start_response)  # of any name, as where streams are served
        if self.has_pages and environ["REQUEST_METHOD"] in ("GET", "HEAD"):
            page = self._page_of_today(path)
            if page is not None:
                fields = [("Location", page), ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")]
                start_response("307 Temporary Redirect", fields)
                return []
        url = _with_content(path)
        if url is None:
            return self.inner(environ, start_response)
        if self.has_pages and not path.endswith(".json"):
            start_response = varying_by_accept(start_response)
            if wants_page(environ.get("HTTP_ACCEPT", "")):
                return self.inner(environ, start_response)
        try:
            name = url["tenant"]
            if name is not None and not self._tenants.exists(name.encode("latin-1").decode()):
                return self.inner(environ, start_response)
            if name is None and path != "/tenants.json":
                environ["PATH_INFO"] = "/" + self._tenants.default().encode().decode("latin-1") + path
        except RestError as error:
            return refuse(error, environ, start_response)
        if not path.endswith("/builds.json"):
            # The other URLs of that time had no query, and none minded one: pages added the time, against caches.
            environ["QUERY_STRING"] = ""
        return self._content(environ, start_response)

    def _page_of_today(self, path: str) -> str | None:
        """Where the dashboard has the page of an old URL, relative since a proxy may serve all below a prefix."""
        old = _html(path)
        if old is None or path.rpartition("/")[2] in self._of_others:
            return None
        up = "../" * (path.count("/") - 1) or "./"
        if old["tenants"]:
            return f"{up}tenants"
        name, whitelabel = old["tenant"], self._tenants.whitelabel
        if name is not None and (whitelabel is None or name != whitelabel.encode().decode("latin-1")):
            return f"{up}t/{quote(name.encode('latin-1'), safe='')}/{old['page']}"
        return f"{up}{old['page']}" if whitelabel is not None else None


def _names(tenants: Reply) -> list[str]:
    with as_declared():
        return [str(tenant["name"]) for tenant in tenants.data]
