# SPDX-License-Identifier: Apache-2.0
"""Pipelines, and the status of what is in them."""

from __future__ import annotations

import json

from zuul.web.backends.replies import FRESH_SECONDS, Document, Reply, as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import NotFound, Unavailable
from zuul.web.expose import expose
from zuul.web.resources.items import QueueItem
from zuul.web.resources.pipelines import Pipeline
from zuul.web.resources.status import Item, Status
from zuul.web.snapshots import Snapshot, Snapshots


class PipelinesController:
    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant

    @expose([Pipeline])
    def get_all(self) -> Reply:
        """The pipelines of the tenant with their triggers.

        :raises NotFound: no such tenant.
        """
        return self._scheduler.pipeline_list(self._tenant)

    @expose(Pipeline, str)
    def get_one(self, pipeline: str) -> Document:
        """One pipeline with its triggers.

        :raises NotFound: no such tenant or pipeline.
        """
        otherwise = f"Pipeline {pipeline} does not exist."
        return self._scheduler.pipeline_list(self._tenant).entry("name", pipeline, otherwise)


class StatusController:
    """The long way to a status, for requests that the snapshot filter leaves alone."""

    cache_control = "public, max-age=1"

    def __init__(self, snapshots: Snapshots, tenant: str) -> None:
        self._snapshots = snapshots
        self._tenant = tenant

    @expose(Status)
    def get(self) -> Snapshot:
        """Everything in the tenant's pipelines now.

        While the scheduler still loads the tenant, an object with `message` and, below /api, `code` in its place.

        :raises NotFound: no such tenant.
        """
        return self._snapshots.get(self._tenant, want_gzip=True)  # who comes this way may take it

    @expose([Item], str)
    def get_change(self, change: str) -> Reply:
        """The items of one change (`N,P`) or revision; an empty list if it is in no pipeline.

        :raises NotFound: no such tenant.
        """
        snapshot = self._snapshots.get(self._tenant)
        with as_declared():
            items = snapshot.items_by_id.get(change, [])
        return Reply(json.dumps(items).encode())


class ItemsController:
    """The live items of one pipeline, out of the tenant's status."""

    cache_control = "public, max-age=1"

    def __init__(self, snapshots: Snapshots, tenant: str, pipeline: str) -> None:
        self._snapshots = snapshots
        self._tenant = tenant
        self._pipeline = pipeline

    @expose([QueueItem])
    def get_all(self) -> Document:
        """The live items of the pipeline, queue by queue in the order in which they will merge.

        :raises NotFound: no such tenant or pipeline.
        """
        return self._rows()

    @expose(QueueItem, str)
    def get_one(self, item: str) -> Document:
        """One live item, by its id (`N,P` of a change) or the name of its speculative merge (`zuul_ref`).

        :raises NotFound: no such tenant or pipeline, or no such item in it.
        """
        rows = self._rows()
        with as_declared():
            for row in rows.data:
                if item in (row.get("id"), row.get("zuul_ref")):
                    return Document.of(row, f"{rows.version}/{item}", rows.fresh_until)
        raise NotFound(f"Item {item} is not in pipeline {self._pipeline}.")

    def _rows(self) -> Document:
        status = self._snapshots.get(self._tenant)
        with as_declared():
            if status.document.get("code") == 204:
                raise Unavailable(f"Tenant {self._tenant} is not loaded yet.")
            known = status.document.get("pipelines", [])
            pipelines = [pipeline for pipeline in known if pipeline["name"] == self._pipeline]
        if not pipelines:
            raise NotFound(f"Pipeline {self._pipeline} does not exist.")
        version = f"{status.etag}/{self._pipeline}"
        return Document(lambda: QueueItem.rows(pipelines[0]), version, status.fetched + FRESH_SECONDS)
