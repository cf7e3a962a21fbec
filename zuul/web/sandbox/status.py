# SPDX-License-Identifier: Apache-2.0
"""The status document: pipelines, queues, items and builds as Zuul 3.19.1 shows them.

Durations and the times of items are milliseconds, the times of builds are epoch seconds, as upstream has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from zuul.web.sandbox.layout import FrozenJob
from zuul.web.sandbox.queues import Build, ChangeQueue, Item, PipelineQueues
from zuul.web.sandbox.reports import build_log_url

ZUUL_VERSION = "3.19.1"
DEFAULT_FINGER_PORT = 7900


class StatusView:
    """The world as it looks at one moment."""

    def __init__(self, now: float, log_url: str, log_stream: tuple[str, int] | None) -> None:
        self.now = now
        self.log_url = log_url
        self.log_stream = log_stream

    def document(self, pipelines: Iterable[PipelineQueues], last_reconfigured: float) -> dict[str, Any]:
        """The status of one tenant. The lengths of the event queues are made up from the time."""
        second = int(self.now)
        return {
            "zuul_version": ZUUL_VERSION,
            "trigger_event_queue": {"length": second % 3},
            "result_event_queue": {"length": second % 2},
            "management_event_queue": {"length": 0},
            "last_reconfigured": int(last_reconfigured) * 1000,
            "pipelines": [self.pipeline(queues) for queues in pipelines],
        }

    def pipeline(self, queues: PipelineQueues) -> dict[str, Any]:
        return {
            "name": queues.pipeline.name,
            "description": queues.pipeline.description,
            "change_queues": [self.queue(queue) for queue in queues.queues],
        }

    def queue(self, queue: ChangeQueue) -> dict[str, Any]:
        """A new head starts at each item with nothing ahead: after a failing item there are two."""
        heads: list[list[dict[str, Any]]] = []
        for item in queue.items:
            shown = self.item(item)
            if item.item_ahead is None or not heads:
                heads.append([shown])
                continue
            previous = heads[-1][-1]["remaining_time"]
            if previous is not None and shown["remaining_time"] is not None:
                shown["remaining_time"] = max(previous, shown["remaining_time"])
            heads[-1].append(shown)
        return {"name": queue.name, "heads": heads, "window": queue.window}

    def item(self, item: Item) -> dict[str, Any]:
        jobs = [self.job(item, job) for job in item.jobs]
        started = all(job["start_time"] for job in jobs)
        return {
            "active": item.active,
            "live": item.live,
            "url": item.change.url,
            "ref": item.change.ref,
            "id": item.change.id,
            "item_ahead": item.item_ahead.change.id if item.item_ahead else None,
            "items_behind": [behind.change.id for behind in item.items_behind],
            "failing_reasons": ["at least one job failed"] if item.failing else [],
            "zuul_ref": item.zuul_ref,
            "project": item.change.project.name,
            "project_canonical": item.change.project.canonical_name,
            "enqueue_time": int(item.enqueue_time * 1000),
            "jobs": jobs,
            "owner": item.change.owner,
            "remaining_time": max((job["remaining_time"] or 0 for job in jobs), default=0) if started else None,
        }

    def job(self, item: Item, job: FrozenJob) -> dict[str, Any]:
        build = item.builds.get(job.name)
        tries = item.tries.get(job.name, 0)
        if build is None:
            return self._waiting(job, queued=tries > 0, tries=tries)
        if build.execute_time > self.now:
            return self._waiting(job, queued=True, tries=tries - 1)
        return self._executed(item, build, tries)

    def _waiting(self, job: FrozenJob, *, queued: bool, tries: int) -> dict[str, Any]:
        """A job without a build; `queued` once it has asked for nodes."""
        return {
            "name": job.name,
            "dependencies": [dependency.name for dependency in job.dependencies],
            "elapsed_time": None,
            "remaining_time": None,
            "url": None,
            "finger_url": None,
            "report_url": None,
            "result": None,
            "voting": job.voting,
            "uuid": None,
            "execute_time": None,
            "start_time": None,
            "end_time": None,
            "estimated_time": None,
            "pipeline": None,
            "canceled": None,
            "paused": None,
            "retry": None,
            "tries": tries,
            "queued": queued,
            "node_labels": [],
            "node_name": None,
            "worker": None,
        }

    def _executed(self, item: Item, build: Build, tries: int) -> dict[str, Any]:
        """A job with a build, perhaps a skipped one, which has no uuid and never started."""
        job = build.job
        started = build.uuid is not None and build.starts <= self.now
        elapsed = remaining = None
        if started:
            elapsed = int(((build.end_time or self.now) - build.starts) * 1000)
            remaining = 0 if build.end_time else max(int(build.estimated_seconds * 1000) - elapsed, 0)
        ended = started and build.end_time is not None
        finger_url = f"finger://{self._finger_host(build)}/{build.uuid}" if started else None
        log_url = build_log_url(self.log_url, str(build.uuid)) if ended else None
        return {
            "name": job.name,
            "dependencies": [dependency.name for dependency in job.dependencies],
            "elapsed_time": elapsed,
            "remaining_time": remaining,
            "url": f"stream/{build.uuid}?logfile=console.log",
            "finger_url": finger_url,
            "report_url": log_url or finger_url or job.name,
            "result": build.result,
            "voting": job.voting,
            "uuid": build.uuid,
            "execute_time": build.execute_time,
            "start_time": build.starts if started else None,
            "end_time": build.end_time,
            "estimated_time": build.estimated_seconds if build.uuid else None,
            "pipeline": item.pipeline,
            "canceled": False,
            "paused": build.paused,
            "retry": False,
            "tries": tries,
            "queued": build.uuid is not None,
            "node_labels": list(job.labels) if ended else [],
            "node_name": build.nodes[0] if ended and build.nodes else None,
            "worker": {
                "name": build.executor if started else "Unknown",
                "hostname": build.executor if started else None,
            },
        }

    def _finger_host(self, build: Build) -> str:
        """Where the log is, with the port if it is not upstream's default; without logs, the executor's name."""
        if self.log_stream is None:
            return build.executor
        host, port = self.log_stream
        return host if port == DEFAULT_FINGER_PORT else f"{host}:{port}"
