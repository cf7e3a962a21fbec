# SPDX-License-Identifier: Apache-2.0
"""A scheduler of our own: the worker functions of Zuul 3.19.1 over a simulated installation.

Arguments, replies and refusals are those of upstream's `rpclistener.py`; callers cannot tell them apart.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from zuul.web.backends.rpc.interface import WorkerFunction, WorkException
from zuul.web.sandbox import changes
from zuul.web.sandbox.configuration_functions import Arguments, ConfigurationFunctions
from zuul.web.sandbox.database import Report
from zuul.web.sandbox.holds import HoldRequests
from zuul.web.sandbox.model import Pipeline, Project, Scenario, Tenant
from zuul.web.sandbox.queues import Build, Item
from zuul.web.sandbox.reports import report_of
from zuul.web.sandbox.simulation import Simulation
from zuul.web.sandbox.status import StatusView

log = logging.getLogger("zuul.web.sandbox")

CHANGE_ID = re.compile(r"[0-9]+,([0-9]+|[0-9a-f]{40})")
REVISION_LENGTH = 40


class SandboxScheduler:
    """Answers the worker functions of a scheduler, in this process and without any thread of its own.

    The functions may be called from any thread. One lock is held for the whole of each call, so calls run
    one after another; the slowest, a status of thousands of items, holds it for a fraction of a second, and
    is rendered once a second at most.
    """

    def __init__(
        self,
        scenario: Scenario,
        *,
        speed: float = 1.0,
        seed: int = 1,
        clock: Callable[[], float] = time.time,
        log_stream: tuple[str, int] | None = None,
        report_to: Callable[[Report], None] | None = None,
        first_change: int = changes.FIRST_CHANGE,
    ) -> None:
        """A scheduler whose pipelines are already busy.

        :param speed: how much faster than in a real installation builds run and items arrive.
        :param clock: epoch seconds.
        :param log_stream: host and port of the log stream of running builds; None: there is none.
        :param report_to: is given what is to be kept of each item that is through, in the order of time; it is called
            while the lock is held, first for those that were through before anybody looked.
        :param first_change: where the numbers of changes go on from.
        """
        if not speed > 0:
            raise ValueError(f"the speed must be greater than 0, not {speed}")
        self.scenario = scenario
        self._clock = clock
        self.log_stream = log_stream
        self._lock = threading.Lock()
        self._holds = HoldRequests()
        self._rendered: dict[str, tuple[int, str]] = {}
        now = clock()
        self._last_reconfigured = now
        self._report_to = report_to
        self._simulation = Simulation(
            scenario,
            speed=speed,
            seed=seed,
            now=now,
            on_failure=self._hold_nodes,
            on_report=self._report,
            first_change=first_change,
        )
        for tenant in scenario.tenants.values():
            for hold in tenant.autoholds:
                self._holds.add(
                    tenant.name,
                    hold.project,
                    hold.job,
                    hold.ref_filter,
                    hold.reason,
                    hold.count,
                    hold.node_expiration_seconds,
                )

    @property
    def tenants(self) -> list[str]:
        """The names of the tenants."""
        return list(self.scenario.tenants)

    @property
    def functions(self) -> dict[str, WorkerFunction]:
        """The worker functions by their gearman name."""
        functions = (
            *ConfigurationFunctions(self.scenario, self._simulation.layouts).all(),
            self.autohold,
            self.autohold_delete,
            self.autohold_info,
            self.autohold_list,
            self.dequeue,
            self.enqueue,
            self.enqueue_ref,
            self.get_job_log_stream_address,
            self.get_running_jobs,
            self.promote,
            self.status_get,
            self.tenant_list,
        )
        return {f"zuul:{function.__name__}": self._guarded(function) for function in functions}

    # What is going on

    def tenant_list(self, arguments: Arguments) -> str:
        simulation = self._advanced()
        return json.dumps(
            [
                {
                    "name": name,
                    "projects": len(tenant.untrusted_projects),
                    "queue": sum(queues.live for queues in simulation.pipelines[name].values()),
                }
                for name, tenant in self.scenario.tenants.items()
            ]
        )

    def status_get(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        if not tenant:
            return json.dumps({"message": "Unknown tenant", "code": 404})
        name = tenant.name

        def document(view: StatusView) -> object:
            return view.document(self._simulation.pipelines[name].values(), self._last_reconfigured)

        return self._rendered_once_a_second(name, document)

    def get_running_jobs(self, arguments: Arguments) -> str:
        """The items of all tenants, each as in the status."""

        def items(view: StatusView) -> object:
            return [
                view.item(item)
                for pipelines in self._simulation.pipelines.values()
                for queues in pipelines.values()
                for item in queues.items()
            ]

        return self._rendered_once_a_second("", items)

    def get_job_log_stream_address(self, arguments: Arguments) -> str:
        """Null until the executor has told its address; a build keeps it as long as its item is there."""
        simulation = self._advanced()
        build = simulation.builds.get(arguments["uuid"])
        if not self.log_stream or not build or build.execute_time > simulation.now:
            return json.dumps({})
        server, port = self.log_stream if build.starts <= simulation.now else (None, None)
        return json.dumps({"server": server, "port": port})

    # For others in this process

    def last_to_end(self, tenant: str) -> Build | None:
        """Of the builds of a tenant that run now, the one whose log can be watched the longest."""
        with self._lock:
            simulation = self._advanced()
            items = (item for queues in simulation.pipelines[tenant].values() for item in queues.items())
            builds = (build for item in items for build in item.builds.values() if build.uuid)
            running = (build for build in builds if build.starts <= simulation.now < build.ends)
            return max(running, key=lambda build: build.ends, default=None)

    def find_build(self, uuid: str) -> Build | None:
        """The build that an executor has at this moment; None if there is no such one."""
        with self._lock:
            simulation = self._advanced()
            build = simulation.builds.get(uuid)
            handed_out = build is not None and build.execute_time <= simulation.now and build.end_time is None
            return build if handed_out else None

    def look_at(self, build: Build) -> tuple[Build, float]:
        """The build as it is now, a copy, and the time; its `end_time` says whether it is over."""
        with self._lock:
            simulation = self._advanced()
            return dataclasses.replace(build), simulation.now

    # Actions

    def enqueue(self, arguments: Arguments) -> None:
        """Enqueue a change; every `N,P` exists, with the first branch of its project."""
        tenant, project, pipeline = self._participants(arguments)
        change_id = arguments["change"]
        number, patchset = self._split_change(change_id)
        simulation = self._advanced()
        if not CHANGE_ID.fullmatch(change_id):
            raise WorkException(f"Invalid change: {change_id}\n")
        if self._is_of_another_project(tenant, project, change_id):
            raise WorkException(f'Change {change_id} does not belong to project "{project.name}", ')
        change = changes.change(project, number, patchset, project.branches[0], owner=changes.OWNERS[0])
        simulation.enqueue(tenant.name, pipeline.name, change)
        self._rendered.clear()

    def enqueue_ref(self, arguments: Arguments) -> None:
        tenant, project, pipeline = self._participants(arguments)
        ref, oldrev, newrev = arguments["ref"], arguments["oldrev"], arguments["newrev"]
        complaints = _complaints("Old", oldrev) + _complaints("New", newrev)
        if complaints:
            raise WorkException(complaints)
        change = changes.revision(project, ref, oldrev, newrev)
        self._advanced().enqueue(tenant.name, pipeline.name, change)
        self._rendered.clear()

    def dequeue(self, arguments: Arguments) -> None:
        """Remove the item of a change or ref; unlike in `enqueue`, upstream says "unknown" here."""
        tenant_name, pipeline_name, project_name = (arguments[key] for key in ("tenant", "pipeline", "project"))
        change_id, ref = arguments["change"], arguments["ref"]
        tenant = self.scenario.tenants.get(tenant_name)
        if not tenant:
            raise WorkException(f"Unknown tenant {tenant_name}")
        if pipeline_name not in tenant.pipelines:
            raise WorkException(f"Unknown pipeline {pipeline_name}")
        project = tenant.project(project_name)
        if not project:
            raise WorkException(f"Unknown project {project_name}")
        simulation = self._advanced()
        if change_id is not None:
            parts = change_id.split(",")
            if len(parts) != 2:
                raise WorkException(_unpacking_error(parts))
            if self._is_of_another_project(tenant, project, change_id):
                raise WorkException(f'Change {change_id} does not belong to project "{project.name}"')
            ref = changes.change_ref(project, *parts)
        elif project_name != project.name:  # upstream takes the canonical name of a ref's project for another project
            raise WorkException(f'Ref {ref} does not belong to project "{project.name}"')
        queues = simulation.pipelines[tenant.name][pipeline_name]
        found = queues.find(project, ref)
        if not found:
            wanted = arguments["change"] or arguments["ref"]
            raise WorkException(f"Unable to find shared change queue for {project_name}:{wanted}")
        simulation.dequeue(queues, *found)
        self._rendered.clear()

    def promote(self, arguments: Arguments) -> None:
        """Move changes to the front of their queue. Upstream crashes where it cannot, and so do we."""
        tenant_name, pipeline_name = arguments["tenant"], arguments["pipeline"]
        change_ids = arguments["change_ids"]
        simulation = self._advanced()
        pipelines = simulation.pipelines.get(tenant_name)
        if pipelines is None:
            raise _crash("AttributeError: 'NoneType' object has no attribute 'layout'")
        if pipeline_name not in pipelines:
            raise _crash(f"KeyError: {pipeline_name!r}")
        if not change_ids:
            raise _crash("IndexError: list index out of range")
        queues = pipelines[pipeline_name]
        for queue in queues.queues:
            items = {item.change.id: item for item in queue.items if item.change.number}
            if change_ids[0] in items:
                break
        else:
            raise _crash(f"Exception: Unable to find shared change queue for {change_ids[0]}")
        for change_id in change_ids:
            if change_id not in items:
                where = f"<ChangeQueue {pipeline_name}: {queue.name}>"
                raise _crash(f"Exception: Unable to find {change_id} in queue {where}")
        simulation.promote(queues, queue, [items[change_id] for change_id in dict.fromkeys(change_ids)])
        self._rendered.clear()

    # Holds

    def autohold(self, arguments: Arguments) -> None:
        """Request a hold. Upstream refuses a change and a ref together, but then adds it; we do not."""
        tenant = self.scenario.tenants.get(arguments["tenant"])
        if not tenant:
            raise WorkException(f"Invalid tenant: {arguments['tenant']}")
        project = tenant.project(arguments["project"])
        if not project:
            raise WorkException(f"Invalid project: {arguments['project']}")
        change_number, ref = arguments["change"], arguments["ref"]
        if change_number and ref:
            raise WorkException("Change and ref can't be both used for the same request")
        if arguments["count"] < 0:
            raise WorkException(f"Invalid count: {arguments['count']}")
        ref_filter = changes.change_ref_filter(project, str(change_number)) if change_number else ref or ".*"
        self._holds.add(
            tenant.name,
            project.canonical_name,
            arguments["job"],
            ref_filter,
            arguments["reason"],
            arguments["count"],
            arguments["node_hold_expiration"] or 0,
        )

    def autohold_list(self, arguments: Arguments) -> str:
        self._advanced()
        return json.dumps(self._holds.all())

    def autohold_info(self, arguments: Arguments) -> str:
        self._advanced()
        return json.dumps(self._holds.info(arguments["request_id"]))

    def autohold_delete(self, arguments: Arguments) -> None:
        self._holds.delete(arguments["request_id"])

    def _guarded(self, function: Callable[[Arguments], str | None]) -> WorkerFunction:
        """One call at a time; what fails by accident answers with a traceback, as upstream."""

        def guarded(arguments: Arguments) -> str | None:
            with self._lock:
                try:
                    return function(arguments)
                except WorkException:
                    raise
                except Exception as error:
                    log.exception("%s failed", function.__name__)
                    raise WorkException(traceback.format_exc()) from error

        return guarded

    def _advanced(self) -> Simulation:
        self._simulation.advance(self._clock())
        return self._simulation

    def _rendered_once_a_second(self, key: str, render: Callable[[StatusView], object]) -> str:
        now = self._clock()
        second, text = self._rendered.get(key, (None, ""))
        if second != int(now):
            self._simulation.advance(now)
            text = json.dumps(render(StatusView(self._simulation.now, self.scenario.log_url, self.log_stream)))
            self._rendered[key] = (int(now), text)
        return text

    def _tenant(self, arguments: Arguments) -> Tenant | None:
        return self.scenario.tenants.get(arguments.get("tenant", ""))

    def _participants(self, arguments: Arguments) -> tuple[Tenant, Project, Pipeline]:
        """Tenant, project and pipeline of an enqueue request, or one complaint about all that is wrong."""
        tenant = self.scenario.tenants.get(arguments["tenant"])
        if not tenant:
            raise WorkException(f"Invalid tenant: {arguments['tenant']}\n")
        complaints = ""
        project = tenant.project(arguments["project"])
        if not project:
            complaints += f"Invalid project: {arguments['project']}\n"
        pipeline = tenant.pipelines.get(arguments["pipeline"])
        if not pipeline:
            complaints += f"Invalid pipeline: {arguments['pipeline']}\n"
        if not project or not pipeline:
            raise WorkException(complaints)
        return tenant, project, pipeline

    def _split_change(self, change_id: str) -> list[str]:
        parts = change_id.split(",")
        if len(parts) != 2:
            raise _crash(f"ValueError: {_unpacking_error(parts)}")
        return parts

    def _is_of_another_project(self, tenant: Tenant, project: Project, change_id: str) -> bool:
        """Whether a change is enqueued for another project; only Gerrit numbers changes across projects."""
        if project.connection.driver != "gerrit":
            return False
        return any(
            item.change.id == change_id
            and item.change.project.connection is project.connection
            and item.change.project is not project
            for queues in self._simulation.pipelines[tenant.name].values()
            for item in queues.items()
        )

    def _report(self, tenant: Tenant, item: Item, moment: float) -> None:
        """Tell the history, if there is one. Upstream's reporter is not told of items without jobs."""
        if self._report_to and tenant.sql_connection and item.jobs:
            self._report_to(report_of(tenant.name, item, self.scenario.log_url, moment))

    def _hold_nodes(self, tenant: Tenant, item: Item, build: Build) -> None:
        project = item.change.project.canonical_name
        assert build.uuid and build.end_time
        self._holds.hold(
            tenant.name,
            project,
            build.job.name,
            item.change.ref,
            build.uuid,
            list(build.nodes),
            build.end_time,
        )


def _crash(last_line: str) -> WorkException:
    """What arrives when a function of upstream's fails by accident: a traceback."""
    return WorkException(f"Traceback (most recent call last):\n  ...\n{last_line}\n")


def _unpacking_error(parts: list[str]) -> str:
    """What Python says about a change that is not `N,P`."""
    if len(parts) > 2:
        return "too many values to unpack (expected 2)"
    return f"not enough values to unpack (expected 2, got {len(parts)})"


def _complaints(which: str, revision: Any) -> str:
    """What upstream says about a revision; empty if it is fine."""
    try:
        int(revision, 16)
    except (TypeError, ValueError):
        return f"{which} rev must be base16 hash: {revision}\n"
    if len(revision) != REVISION_LENGTH:
        return f"{which} rev must be 40 character sha1: {revision}\n"
    return ""
