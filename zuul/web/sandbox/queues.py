# SPDX-License-Identifier: Apache-2.0
"""Pipelines with their queues, items and builds: what is where, and how items move."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from zuul.web.sandbox.changes import Change
from zuul.web.sandbox.layout import FrozenJob
from zuul.web.sandbox.model import Pipeline, Project

PASSED = ("SUCCESS", "SKIPPED")


@dataclass(slots=True)
class Build:
    """One execution of a job, planned in full when its nodes are requested. Times are epoch seconds."""

    pipeline: str
    change: Change
    job: FrozenJob
    uuid: str | None
    """None: skipped, never ran."""
    execute_time: float
    """When it has its nodes and is handed to an executor; before, the job is only queued."""
    starts: float
    ends: float
    outcome: str
    """The result to come; `RETRY` means another try."""
    executor: str
    nodes: tuple[str, ...]
    """Node ids, one for each label of the job."""
    estimated_seconds: float
    pauses_at: float | None = None
    """When it will wait, or has waited, for the jobs that depend on it; None: it does not."""
    resumed_at: float | None = None
    """When it went on; `ends` is only then known."""
    result: str | None = None
    end_time: float | None = None
    """When it ended, by itself or since its item needs it no longer."""
    paused: bool = False

    @property
    def failed(self) -> bool:
        return self.result is not None and self.result not in PASSED


@dataclass(slots=True, eq=False)
class Item:
    """A place in a queue: a change, its jobs, and the builds so far."""

    pipeline: str
    change: Change
    jobs: tuple[FrozenJob, ...]
    enqueue_time: float
    zuul_ref: str
    live: bool = True
    """False: only there for the item behind it, which depends on it; runs no jobs."""
    active: bool = True
    item_ahead: Item | None = None
    items_behind: list[Item] = field(default_factory=list)
    builds: dict[str, Build] = field(default_factory=dict)
    tries: dict[str, int] = field(default_factory=dict)
    ready: bool = True
    """Whether jobs may have become ready since somebody last looked."""
    failing: bool = False

    def complete(self) -> bool:
        """Whether every job has a result."""
        return len(self.builds) == len(self.jobs) and all(build.result for build in self.builds.values())

    def succeeded(self) -> bool:
        """As Zuul counts it: nothing voting failed, and not everything was skipped."""
        return not self.failing and any(build.result != "SKIPPED" for build in self.builds.values())

    def dependents(self, name: str, *, soft: bool = True) -> list[FrozenJob]:
        """The jobs that depend on a job, directly or not; without `soft`, through hard dependencies only."""
        found = {name}
        for _ in self.jobs:
            more = {
                job.name for job in self.jobs if any(d.name in found and (soft or not d.soft) for d in job.dependencies)
            }
            if more <= found:
                break
            found |= more
        return [job for job in self.jobs if job.name in found and job.name != name]

    def restart(self, zuul_ref: str) -> None:
        """Forget all builds; the item is tested again on another base."""
        self.zuul_ref = zuul_ref
        self.builds = {}
        self.tries = {}
        self.ready = True
        self.failing = False


@dataclass(slots=True, eq=False)
class ChangeQueue:
    """Items in order, each on top of the one ahead of it."""

    name: str
    window: int = 0
    """How many items are worked on at once; 0: all."""
    window_floor: int = 1
    dynamic: bool = True
    """Goes away when it is empty."""
    items: list[Item] = field(default_factory=list)

    def append(self, item: Item) -> None:
        if self.items:
            item.item_ahead = self.items[-1]
            item.item_ahead.items_behind.append(item)
        self.items.append(item)

    def remove(self, item: Item) -> None:
        """Take an item out; those behind it close up."""
        self.items.remove(item)
        self._close_up(item)
        item.item_ahead = None

    def move(self, item: Item, item_ahead: Item | None) -> None:
        """Put an item behind another one (None: behind nothing); those behind it stay where they were."""
        self._close_up(item)
        item.item_ahead = item_ahead
        if item_ahead:
            item_ahead.items_behind.append(item)

    def resize(self, succeeded: bool) -> None:
        """One more after a success, half after a failure, as Zuul does by default."""
        if self.window:
            self.window = self.window + 1 if succeeded else max(self.window_floor, self.window // 2)

    def _close_up(self, item: Item) -> None:
        if item.item_ahead:
            item.item_ahead.items_behind.remove(item)
            item.item_ahead.items_behind.extend(item.items_behind)
        for behind in item.items_behind:
            behind.item_ahead = item.item_ahead
        item.items_behind = []


class PipelineQueues:
    """The queues of one pipeline of one tenant."""

    def __init__(self, tenant: str, pipeline: Pipeline) -> None:
        self.tenant = tenant
        self.pipeline = pipeline
        self.queues: list[ChangeQueue] = []
        self.live = 0
        """Live items in all queues."""
        self.arriving = 0
        """Items that are due to arrive."""

    def items(self) -> Iterator[Item]:
        for queue in self.queues:
            yield from queue.items

    def add_static_queue(self, name: str) -> None:
        """A queue that stays when it is empty."""
        self.queues.append(ChangeQueue(name, self.pipeline.window, self.pipeline.window_floor, dynamic=False))

    def queue_for(self, change: Change) -> ChangeQueue:
        """The queue that an item about this change has to join."""
        name = change.project.queue or change.project.name
        if self.pipeline.manager == "dependent":
            for queue in self.queues:
                if queue.name == name:
                    return queue
        queue = ChangeQueue(change.project.name)
        self.queues.append(queue)
        return queue

    def find(self, project: Project, ref: str | None) -> tuple[ChangeQueue, Item] | None:
        """The live item about a ref, which may be that of a change."""
        for queue in self.queues:
            for item in queue.items:
                if item.live and item.change.project is project and item.change.ref == ref:
                    return queue, item
        return None

    def add(self, queue: ChangeQueue, item: Item) -> None:
        """Put an item at the end of one of the queues."""
        queue.append(item)
        self.live += item.live

    def drop(self, queue: ChangeQueue, item: Item) -> None:
        """Take a live item out, with whatever was only there for it, and the queue if it is done with."""
        queue.remove(item)
        self.live -= 1
        while queue.items and not queue.items[-1].live:
            queue.remove(queue.items[-1])
        if queue.dynamic and not queue.items:
            self.queues.remove(queue)
