# SPDX-License-Identifier: Apache-2.0
"""What a tenant has now, looked at before something is done: the scheduler says yes to much that it then ignores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from zuul.web.backends.replies import as_declared
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import BadRequest, Conflict, NotFound, RestError, Unavailable
from zuul.web.snapshots import Snapshots

Item = dict[str, Any]
Queue = list[Item]

WITH_CHANGES = ("gerrit", "github")
"""Drivers that know the ref of a change by its number alone; to ask another one is a crash of the scheduler's."""


class Current:
    """Questions about one tenant. All raise `NotFound` where there is no such tenant."""

    def __init__(self, scheduler: Scheduler, snapshots: Snapshots, tenant: str) -> None:
        self._scheduler = scheduler
        self._snapshots = snapshots
        self._tenant = tenant

    def project(self, name: str, otherwise: type[RestError] = BadRequest) -> dict[str, Any]:
        """The project of a short or canonical name.

        :param otherwise: what to raise if there is none: `NotFound` where the URL names it.
        :raises BadRequest: several have this short name.
        """
        rows = self._scheduler.project_list(self._tenant).data
        with as_declared():
            found = [row for row in rows if name in (row["canonical_name"], row["name"])]
        if not found:
            raise otherwise(f"project: there is none named {name}")
        if len(found) > 1:
            names = ", ".join(sorted(row["canonical_name"] for row in found))
            raise BadRequest(f"project: {name} is ambiguous, use one of {names}")
        return dict(found[0])

    def check_pipeline(self, name: str, otherwise: type[RestError]) -> None:
        """:raises otherwise: the tenant has no pipeline of this name."""
        rows = self._scheduler.pipeline_list(self._tenant).data
        with as_declared():
            if any(row["name"] == name for row in rows):
                return
        raise otherwise(f"pipeline: there is none named {name}")

    def check_has_changes(self, project: dict[str, Any]) -> None:
        """:raises BadRequest: the scheduler cannot tell the refs of this project's changes."""
        rows = self._scheduler.connection_list().data
        with as_declared():
            drivers = {row["name"]: row["driver"] for row in rows}
            connection = project["connection_name"]
        if drivers.get(connection) not in WITH_CHANGES:
            raise BadRequest(f"change: Zuul knows no changes by number of connection {connection}, use ref")

    def check_queued(self, pipeline: str, project: dict[str, Any], change: str | None, ref: str | None) -> None:
        """:raises BadRequest: neither the change nor the ref of the project is in the pipeline."""
        for queues in self._queues(pipeline):
            for item in chain.from_iterable(queues):
                of_project = item["project_canonical"] == project["canonical_name"]
                if of_project and (item["id"] == change if change is not None else item["ref"] == ref):
                    return
        what = f"change: {change}" if change is not None else f"ref: {ref}"
        raise BadRequest(f"{what} of project {project['name']} is not in pipeline {pipeline}")

    def check_one_queue(self, pipeline: str, changes: list[str]) -> None:
        """:raises BadRequest: there is no queue with all of these changes."""
        for queues in self._queues(pipeline):
            live = [{item["id"] for item in queue if item["live"]} for queue in queues]
            if any(ids.issuperset(changes) for ids in live):
                return
        for number, change in enumerate(changes):
            if not any(change in ids for ids in live):
                raise BadRequest(f"changes[{number}]: {change} is not in pipeline {pipeline}")
        raise BadRequest(f"changes: they are not all in one queue of pipeline {pipeline}")

    def item(self, pipeline: str, name: str) -> Item:
        """The live item of an id or a `zuul_ref`.

        :raises NotFound: there is none.
        :raises Conflict: there are several, or the scheduler could not be told that this one is meant.
        """
        conflict: Conflict | None = None
        for queues in self._queues(pipeline):
            items = list(chain.from_iterable(queues))
            found = [item for item in items if item["live"] and name in (item["id"], item["zuul_ref"])]
            if len(found) > 1:
                conflict = Conflict(f"several items of pipeline {pipeline} have the id {name}; use the zuul_ref of one")
            elif found:
                place = _place(found[0])
                rivals = [item for item in items if _place(item) == place]
                # The scheduler takes the first of a ref. Of several, only the newest status can tell which that is.
                if len(rivals) == 1 or (conflict is not None and rivals[0] is found[0]):
                    return found[0]
                conflict = Conflict(f"another item of the same ref is before {name} in pipeline {pipeline}")
        raise conflict or NotFound(f"Item {name} is not in pipeline {pipeline}.")

    def _queues(self, pipeline: str) -> Iterator[list[Queue]]:
        """The queues of a pipeline as of the last status, and then, for who has not found it there, as of now."""
        yield self._of(pipeline, self._snapshots.get(self._tenant).document)
        yield self._of(pipeline, json.loads(self._scheduler.status_get(self._tenant)))

    def _of(self, pipeline: str, status: dict[str, Any]) -> list[Queue]:
        with as_declared():
            if status.get("code") == 204:
                raise Unavailable(f"Tenant {self._tenant} is not loaded yet.")
            return [
                [_declared(item) for head in queue["heads"] for item in head]
                for one in status["pipelines"]
                if one["name"] == pipeline
                for queue in one["change_queues"]
            ]


def _place(item: Item) -> tuple[str, str]:
    return item["project_canonical"], item["ref"]


def _declared(item: Item) -> Item:
    """What is asked of an item here."""
    return {name: item[name] for name in ("id", "ref", "zuul_ref", "project", "project_canonical", "live")}
