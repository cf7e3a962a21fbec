# SPDX-License-Identifier: Apache-2.0
"""The top of the URL maps; read this file first.

    /api/...     controllers/api.py      upstream's URLs           }  all name the same controllers,
    /v1/...      controllers/v1.py       Storyboard-style URLs     }  one per resource (next to
    /status.json, ...
                 controllers/legacy.py   URLs of former Zuuls      }  this file)
    /                                    the directory below, for those who want no page
    everything else                      site.py: an operator's dashboard, or our own page

A map is made of three pieces from urls.py: `UrlMap` (a level with fixed names), `UrlOf` (a level that
is somebody's name) and `Url` (the end: HTTP methods and their controllers). Pecan asks the map where a
request goes and calls the controller that it names.
"""

from __future__ import annotations

import pecan
from pecan.middleware.recursive import RecursiveMiddleware

from zuul.web.audit import Audit
from zuul.web.auth import Guard
from zuul.web.controllers.directories import RootController
from zuul.web.expose import Dialect
from zuul.web.filters import WsgiApplication
from zuul.web.hooks import AuditHook, DialectHook, ErrorsHook
from zuul.web.urls import Url, UrlMap

PARTS = (
    ("/v1", "Tenants and all that they have, as typed collections."),
    ("/api", "The URLs of zuul-web 3.19.1."),
    ("/docs/", "The documentation of all URLs, for people."),
    ("/openapi.json", "The same for programs: OpenAPI 3.1."),
)


def url_map() -> UrlMap:
    """The very top, for those who want no page."""
    return UrlMap({}, index=Url(with_mount=True, get=RootController(PARTS).get))


def pecan_application(
    url_map: UrlMap, dialect: Dialect, guard: Guard | None = None, audit: Audit | None = None
) -> WsgiApplication:
    """A Pecan application over one URL map, all of whose controllers speak one dialect."""
    hooks = [DialectHook(dialect, guard), ErrorsHook()]
    if audit is not None and guard is not None and guard.enabled:
        hooks.append(AuditHook(audit))
    application: WsgiApplication = pecan.make_app(
        url_map,
        use_context_locals=False,
        guess_content_type_from_ext=False,  # names of projects and keys have dots
        force_canonical=False,
        hooks=hooks,
        debug=False,
    )
    return application


def is_pecan_application(application: object) -> bool:
    """Whether it is one of these, with nothing around it."""
    return isinstance(application, RecursiveMiddleware)  # which Pecan puts around each of its applications
