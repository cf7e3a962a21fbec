# SPDX-License-Identifier: Apache-2.0
"""Pipelines, and the status of what is in them."""

from __future__ import annotations

import json

from zuul.web.backends.replies import Reply
from zuul.web.backends.scheduler import Scheduler
from zuul.web.expose import expose
from zuul.web.resources.pipelines import Pipeline
from zuul.web.resources.status import Item, Status
from zuul.web.snapshots import Snapshot, Snapshots


class PipelinesController:
    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant

    @expose([Pipeline])
    def get_all(self) -> Reply:
        """The pipelines of the tenant with their triggers."""
        return self._scheduler.pipeline_list(self._tenant)


class StatusController:
    """The long way to a status, for requests that the snapshot filter leaves alone."""

    cache_control = "public, max-age=1"

    def __init__(self, snapshots: Snapshots, tenant: str) -> None:
        self._snapshots = snapshots
        self._tenant = tenant

    @expose(Status)
    def get(self) -> Snapshot:
        """Everything in the tenant's pipelines now."""
        return self._snapshots.get(self._tenant, want_gzip=True)  # who comes this way may take it

    @expose([Item], str)
    def get_change(self, change: str) -> Reply:
        """The items of one change (`N,P`) or revision; an empty list if it is in no pipeline."""
        items = self._snapshots.get(self._tenant).items_by_id.get(change, [])
        return Reply(json.dumps(items).encode())
