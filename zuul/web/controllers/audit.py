# SPDX-License-Identifier: Apache-2.0
"""The audit: who did what, and what came of it."""

from __future__ import annotations

from zuul.web.audit import Audit
from zuul.web.auth import Guard, Identity
from zuul.web.backends.replies import Document
from zuul.web.expose import expose, requires
from zuul.web.resources.audit import AuditEntry


class AuditController:
    cache_control = "no-store"

    _tenant = None
    """It takes an administrator of any tenant; which calls they see depends on whose they are."""

    def __init__(self, audit: Audit, guard: Guard) -> None:
        self._audit = audit
        self._guard = guard

    @requires("audit")
    @expose([AuditEntry], str, path=0)
    def get_all(self, tenant: str | None = None, *, identity: Identity) -> Document:
        """The last calls that did something in your tenants or tried to, the newest first.

        Those that the one process which answers has served since it began, 1000 at most: where there are several, each
        has its own. The log has all of them.

        :param tenant: only calls in this tenant.
        """
        mine = set(self._guard.admin_tenants(identity))
        rows = [row for row in self._audit.rows() if row["tenant"] in mine and tenant in (None, row["tenant"])]
        return Document.of(rows)
