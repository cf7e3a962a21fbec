# SPDX-License-Identifier: Apache-2.0
"""A scheduler in whose pipelines nothing happens but what a test does: items come and go, their builds run and end."""

from __future__ import annotations

import json
import threading
import time
import uuid as uuids
from collections.abc import Callable
from typing import Any

from zuul.web.backends.rpc.gearman_worker import GearmanWorker, start_server

TENANTS = ("one", "two")
PIPELINES = ("check", "gate")


class Build:
    """One build of a job, from the moment it has a uuid."""

    def __init__(self, zuul: Zuul, job: str, uuid: str, estimated_seconds: float | None) -> None:
        self._zuul = zuul
        self.job = job
        self.uuid = uuid
        self.address: tuple[str, int] | None = None
        self.estimated_seconds = estimated_seconds
        self.execute_time = time.time()
        self.start_time: float | None = None
        self.end_time: float | None = None
        self.result: str | None = None

    def start(self, address: tuple[str, int]) -> None:
        """An executor takes it; its log is at that address."""
        with self._zuul.lock:
            self.address = address
            self.start_time = time.time()

    def finish(self, result: str = "SUCCESS") -> None:
        with self._zuul.lock:
            self.end_time = time.time()
            self.result = result

    def as_status(self, pipeline: str) -> dict[str, Any]:
        elapsed = remaining = None
        if self.start_time is not None:
            elapsed = int(((self.end_time or time.time()) - self.start_time) * 1000)
            if self.estimated_seconds is not None:
                remaining = 0 if self.end_time else max(int(self.estimated_seconds * 1000) - elapsed, 0)
        finger_url = f"finger://executor/{self.uuid}" if self.start_time else None
        return {
            **_waiting(self.job),
            "elapsed_time": elapsed,
            "remaining_time": remaining,
            "url": f"stream/{self.uuid}?logfile=console.log",
            "finger_url": finger_url,
            "report_url": finger_url,
            "result": self.result,
            "uuid": self.uuid,
            "execute_time": self.execute_time,
            "start_time": self.start_time,
            "end_time": self.end_time,
            "estimated_time": self.estimated_seconds,
            "pipeline": pipeline,
            "canceled": False,
            "paused": False,
            "retry": False,
            "tries": 1,
            "worker": {"name": "executor", "hostname": "executor"} if self.start_time else {"name": "Unknown"},
        }


def _waiting(job: str) -> dict[str, Any]:
    empty = ("elapsed_time", "remaining_time", "url", "finger_url", "report_url", "result", "uuid", "execute_time",
             "start_time", "end_time", "estimated_time", "pipeline", "canceled", "paused", "retry", "node_name",
             "worker")  # fmt: skip
    return {
        "name": job,
        "dependencies": [],
        "voting": True,
        "tries": 0,
        "queued": True,
        "node_labels": [],
        **dict.fromkeys(empty),
    }


class Item:
    """A change in a queue, with one job or more."""

    def __init__(self, zuul: Zuul, tenant: str, pipeline: str, queue: str, change: str, jobs: tuple[str, ...]) -> None:
        self._zuul = zuul
        self.tenant, self.pipeline, self.queue = tenant, pipeline, queue
        self.change = change
        self.jobs = jobs
        self.builds: dict[str, Build] = {}
        self.active = True
        self.enqueue_time = time.time()
        self.zuul_ref = f"Z{uuids.uuid4().hex}"

    def build(self, job: str = "", estimated_seconds: float | None = None) -> Build:
        """A build that no executor has taken yet."""
        build = Build(self._zuul, job or self.jobs[0], uuids.uuid4().hex, estimated_seconds)
        with self._zuul.lock:
            self.builds[build.job] = build
        return build

    def activate(self) -> None:
        with self._zuul.lock:
            self.active = True

    def leave(self) -> None:
        with self._zuul.lock:
            self._zuul.items.remove(self)

    def move_to_front(self) -> None:
        with self._zuul.lock:
            self._zuul.items.remove(self)
            self._zuul.items.insert(0, self)

    def as_status(self, ahead: Item | None, behind: Item | None) -> dict[str, Any]:
        number = self.change.partition(",")[0]
        jobs = [self.builds[job].as_status(self.pipeline) if job in self.builds else _waiting(job) for job in self.jobs]
        return {
            "active": self.active,
            "live": True,
            "url": f"https://review.example.com/{number}",
            "ref": f"refs/changes/{self.change.replace(',', '/')}",
            "id": self.change,
            "item_ahead": ahead.change if ahead else None,
            "items_behind": [behind.change] if behind else [],
            "failing_reasons": [],
            "zuul_ref": self.zuul_ref,
            "project": "org/project",
            "project_canonical": "review.example.com/org/project",
            "enqueue_time": int(self.enqueue_time * 1000),
            "jobs": jobs,
            "owner": "ann",
            "remaining_time": max((job["remaining_time"] or 0 for job in jobs), default=0),
        }


class Zuul:
    """A gearman server with the scheduler's worker functions. `calls` has the time and name of each call, by tenant."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.items: list[Item] = []
        self.pipelines = {tenant: list(PIPELINES) for tenant in TENANTS}
        self.last_reconfigured = time.time()
        self.calls: list[tuple[float, str, str]] = []
        self._server = start_server()
        self.port = int(self._server.port)
        functions = (
            self.status_get,
            self.tenant_list,
            self.get_running_jobs,
            self.get_job_log_stream_address,
            self.job_list,
            self.pipeline_list,
        )
        by_name = {f"zuul:{function.__name__}": self._recorded(function) for function in functions}
        self._worker = GearmanWorker("127.0.0.1", self.port, by_name, "Zuul RPC Listener")
        self._worker.start()

    def enqueue(
        self,
        change: str,
        *jobs: str,
        tenant: str = "one",
        pipeline: str = "check",
        queue: str = "",
        active: bool = True,
    ) -> Item:
        """An item at the end of a queue; in one of its own if `queue` is not given."""
        item = Item(self, tenant, pipeline, queue or f"queue of {change}", change, jobs or ("slow",))
        item.active = active
        with self.lock:
            self.items.append(item)
        return item

    def build(self, address: tuple[str, int] | None, tenant: str = "one") -> Build:
        """A build in an item of its own, running there; None: no executor has taken it."""
        build = self.enqueue(f"{len(self.items) + 1000},1", tenant=tenant).build()
        if address is not None:
            build.start(address)
        return build

    def status_get(self, arguments: dict[str, Any]) -> str:
        tenant = arguments.get("tenant", "")
        if tenant not in self.pipelines:
            return json.dumps({"message": "Unknown tenant", "code": 404})
        with self.lock:
            pipelines = [
                {"name": name, "description": "", "change_queues": self._queues(tenant, name)}
                for name in self.pipelines[tenant]
            ]
            return json.dumps(
                {
                    "zuul_version": "3.19.1",
                    "trigger_event_queue": {"length": 0},
                    "result_event_queue": {"length": 0},
                    "management_event_queue": {"length": 0},
                    "last_reconfigured": int(self.last_reconfigured) * 1000,
                    "pipelines": pipelines,
                }
            )

    def _queues(self, tenant: str, pipeline: str) -> list[dict[str, Any]]:
        queues: dict[str, list[Item]] = {}
        for item in self.items:
            if (item.tenant, item.pipeline) == (tenant, pipeline):
                queues.setdefault(item.queue, []).append(item)
        return [
            {
                "name": name,
                "window": 0,
                "heads": [
                    [
                        item.as_status(ahead, behind)
                        for ahead, item, behind in zip([None, *items], items, [*items[1:], None], strict=False)
                    ]
                ],
            }
            for name, items in queues.items()
        ]

    def tenant_list(self, arguments: dict[str, Any]) -> str:
        return json.dumps([{"name": tenant, "projects": 1, "queue": 0} for tenant in self.pipelines])

    def get_running_jobs(self, arguments: dict[str, Any]) -> str:
        with self.lock:
            return json.dumps([item.as_status(None, None) for item in self.items])

    def get_job_log_stream_address(self, arguments: dict[str, Any]) -> str:
        """As the real one: all that is in a pipeline has an address, whose members are null before it is taken."""
        with self.lock:
            for item in self.items:
                for build in item.builds.values():
                    if build.uuid == arguments["uuid"]:
                        server, port = build.address or (None, None)
                        return json.dumps({"server": server, "port": port})
        return json.dumps({})

    def job_list(self, arguments: dict[str, Any]) -> str:
        return json.dumps([] if arguments.get("tenant") in self.pipelines else None)

    def pipeline_list(self, arguments: dict[str, Any]) -> str:
        return json.dumps([{"name": name} for name in self.pipelines.get(arguments.get("tenant", ""), ())])

    def asked(self, function: str, tenant: str = "") -> int:
        return sum(1 for _, *call in list(self.calls) if call == [function, tenant])

    def _recorded(self, function: Callable[[dict[str, Any]], str]) -> Callable[[dict[str, Any]], str]:
        def recorded(arguments: dict[str, Any]) -> str:
            self.calls.append((time.monotonic(), function.__name__, arguments.get("tenant", "")))
            return function(arguments)

        return recorded

    def stop(self) -> None:
        self._worker.stop()
        self._server.shutdown()
