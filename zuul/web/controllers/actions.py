# SPDX-License-Identifier: Apache-2.0
"""What administrators do to pipelines: enqueue, dequeue, promote."""

from __future__ import annotations

from typing import Any

from zuul.web.backends.scheduler import Scheduler
from zuul.web.controllers.current import Current
from zuul.web.errors import BadRequest, NotFound
from zuul.web.expose import expose, requires
from zuul.web.resources.actions import CHANGE, Dequeue, Enqueue, Entry, NewItem, Promote, Promotion
from zuul.web.snapshots import Snapshots


class ActionsController:
    """As below /api: the URL names the project, the body the pipeline. The answer is `true`."""

    def __init__(self, scheduler: Scheduler, snapshots: Snapshots, tenant: str) -> None:
        self._scheduler = scheduler
        self._current = Current(scheduler, snapshots, tenant)
        self._tenant = tenant

    @requires("enqueue")
    @expose(bool, str, body=Enqueue, action="enqueue")
    def enqueue(self, project: str, body: Enqueue) -> bool:
        """Enqueue a change or a ref of the project.

        :raises NotFound: no such tenant or project.
        """
        found = self._current.project(project, NotFound)
        self._current.check_pipeline(body.pipeline, BadRequest)
        _enqueue(self._scheduler, self._tenant, body.pipeline, found, body)
        return True

    @requires("dequeue")
    @expose(bool, str, body=Dequeue, action="dequeue")
    def dequeue(self, project: str, body: Dequeue) -> bool:
        """Take a change or a ref of the project out of a pipeline.

        :raises NotFound: no such tenant or project.
        """
        found = self._current.project(project, NotFound)
        self._current.check_pipeline(body.pipeline, BadRequest)
        self._current.check_queued(body.pipeline, found, body.change, body.ref)
        name = _name_to_dequeue(found["name"], found["canonical_name"], body.change)
        self._scheduler.dequeue(self._tenant, body.pipeline, name, body.change, body.ref)
        return True

    @requires("promote")
    @expose(bool, body=Promote, action="promote")
    def promote(self, body: Promote) -> bool:
        """Put changes at the front of their queue. All builds of the queue begin anew.

        :raises NotFound: no such tenant.
        """
        self._current.check_pipeline(body.pipeline, BadRequest)
        self._current.check_one_queue(body.pipeline, body.changes)
        self._scheduler.promote(self._tenant, body.pipeline, body.changes)
        return True


class PipelineActionsController:
    """As below /v1: the URL names the pipeline, the body the project. There is nothing to answer."""

    def __init__(self, scheduler: Scheduler, snapshots: Snapshots, tenant: str, pipeline: str) -> None:
        self._scheduler = scheduler
        self._current = Current(scheduler, snapshots, tenant)
        self._tenant = tenant
        self._pipeline = pipeline

    @requires("enqueue")
    @expose(None, body=NewItem, action="enqueue")
    def enqueue(self, body: NewItem) -> None:
        """Enqueue a change or a ref.

        :raises NotFound: no such tenant or pipeline.
        """
        self._current.check_pipeline(self._pipeline, NotFound)
        project = self._current.project(body.project)
        _enqueue(self._scheduler, self._tenant, self._pipeline, project, body)

    @requires("dequeue")
    @expose(None, str, action="dequeue")
    def dequeue(self, item: str) -> None:
        """Take an item out of the pipeline, by its id (`N,P` of a change) or its `zuul_ref`.

        :raises NotFound: no such tenant or pipeline, or no such item in it.
        :raises Conflict: the scheduler would not know which of several items is meant.
        """
        self._current.check_pipeline(self._pipeline, NotFound)
        found = self._current.item(self._pipeline, item)
        change = found["id"] if _is_change(found["id"]) else None
        ref = found["ref"] if change is None else None
        name = _name_to_dequeue(found["project"], found["project_canonical"], change)
        self._scheduler.dequeue(self._tenant, self._pipeline, name, change, ref)

    @requires("promote")
    @expose(None, body=Promotion, action="promote")
    def promote(self, body: Promotion) -> None:
        """Put changes at the front of their queue. All builds of the queue begin anew.

        :raises NotFound: no such tenant or pipeline.
        """
        self._current.check_pipeline(self._pipeline, NotFound)
        self._current.check_one_queue(self._pipeline, body.changes)
        self._scheduler.promote(self._tenant, self._pipeline, body.changes)


def _enqueue(scheduler: Scheduler, tenant: str, pipeline: str, project: dict[str, Any], entry: Entry) -> None:
    name = project["canonical_name"]
    if entry.change is not None:
        scheduler.enqueue(tenant, pipeline, name, entry.trigger, entry.change)
    else:
        scheduler.enqueue_ref(tenant, pipeline, name, entry.trigger, entry.ref, entry.oldrev, entry.newrev)


def _name_to_dequeue(name: str, canonical_name: str, change: str | None) -> str:
    """Zuul 3.19.1 finds a ref by the short name alone: from the other it makes a project of that name, and keeps it."""
    return name if change is None else canonical_name


def _is_change(identifier: str | None) -> bool:
    """Whether the id of an item is that of a change; that of a ref is a revision, or there is none."""
    return identifier is not None and CHANGE.fits(identifier)
