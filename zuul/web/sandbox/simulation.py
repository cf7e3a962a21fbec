# SPDX-License-Identifier: Apache-2.0
"""A CI system that lives: items arrive, builds run, fail, are skipped or retried, and items leave.

Nothing runs in the background. `Simulation.advance` plays the events between the last call and now, in the
order of their times, so what is there at a moment depends on the seed only and not on who asked when. The
one exception: after a gap longer than `WARM_UP_SECONDS` nearly everything that ran before is over, and the
world starts anew instead, so a call never has more than that much to catch up.

Durations are divided by the speed; the times of builds and items stay those of the clock.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterable

from zuul.web.sandbox.changes import FIRST_CHANGE, Change, ChangeSource
from zuul.web.sandbox.layout import FrozenJob, Layout, LayoutError
from zuul.web.sandbox.model import Project, Scenario, Tenant
from zuul.web.sandbox.queues import PASSED, Build, ChangeQueue, Item, PipelineQueues

WARM_UP_SECONDS = 3000.0
"""How long the world has been running when it is first seen."""

ARRIVAL_SECONDS = 25.0
"""The mean time until an item that left is replaced."""

NODE_WAIT_SECONDS = (2.0, 45.0)
START_SECONDS = (1.0, 8.0)
RETRY_RATE = 0.015
NON_LIVE_RATE = 0.06
FAILURES = ("FAILURE",) * 8 + ("POST_FAILURE", "TIMED_OUT")

FailureListener = Callable[[Tenant, Item, Build], None]
ReportListener = Callable[[Tenant, Item, float], None]
"""Is told the moment as well, epoch seconds."""


def warm_up_begin(now: float, speed: float) -> float:
    """Since when a world has been running that is first seen now. Nothing is reported that ended before."""
    return now - WARM_UP_SECONDS / speed


class Simulation:
    """The pipelines of all tenants, brought forward by `advance`. Not safe to use from several threads."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        speed: float,
        seed: int,
        now: float,
        on_failure: FailureListener,
        on_report: ReportListener,
        first_change: int = FIRST_CHANGE,
    ) -> None:
        self.scenario = scenario
        self.pipelines: dict[str, dict[str, PipelineQueues]] = {}
        self.builds: dict[str, Build] = {}
        """The builds of the items in the pipelines, by uuid."""
        self._speed = speed
        self._on_failure = on_failure
        self._on_report = on_report
        self._rng = random.Random(seed)
        self._changes = ChangeSource(self._rng, first_change)
        self.layouts = {name: Layout(tenant) for name, tenant in scenario.tenants.items()}
        self._candidates = {
            (tenant.name, pipeline): self._choices(tenant, pipeline)
            for tenant in scenario.tenants.values()
            for pipeline in tenant.pipelines
        }
        self._now = now
        self._begin(now)

    @property
    def now(self) -> float:
        """The moment that the world has been brought to."""
        return self._now

    def advance(self, now: float) -> None:
        """Bring the world to a moment; one in the past changes nothing."""
        if now - self._now > WARM_UP_SECONDS / self._speed:
            self._begin(now)
        self._play(now)

    def enqueue(self, tenant: str, pipeline: str, change: Change) -> None:
        """Add an item. The same change or ref is left alone; an older patchset makes room."""
        queues = self.pipelines[tenant][pipeline]
        for queue in tuple(queues.queues):
            for item in tuple(queue.items):
                other = item.change
                if not item.live or other.project is not change.project:
                    continue
                if (other.ref, other.id) == (change.ref, change.id):
                    return
                if change.number and other.number == change.number:
                    self.dequeue(queues, queue, item)
        self._enqueue(queues, change, queues.queue_for(change))

    def dequeue(self, queues: PipelineQueues, queue: ChangeQueue, item: Item) -> None:
        """Remove an item; those behind it are tested again without it."""
        self._reset_behind(item)
        self._leave(queues, queue, item)
        self._process(queues, queue)

    def promote(self, queues: PipelineQueues, queue: ChangeQueue, first: list[Item]) -> None:
        """Put items at the front of their queue; all of them are tested again."""
        ordered = first + [item for item in queue.items if item not in first]
        for item in ordered:
            self._reset(item)
            item.item_ahead, item.items_behind = None, []
        queue.items = []
        for item in ordered:
            queue.append(item)
        self._process(queues, queue)

    def _choices(self, tenant: Tenant, pipeline: str) -> list[tuple[Project, str]]:
        """Projects and branches that have jobs in a pipeline; the first branch counts three times."""
        layout = self.layouts[tenant.name]
        return [
            (project, branch)
            for project in tenant.config_projects + tenant.untrusted_projects
            for branch in (project.branches[0], project.branches[0], *project.branches)
            if layout.freeze(project, pipeline, branch)
        ]

    def _begin(self, now: float) -> None:
        """A world that looks as if it had been running for a while."""
        self._forget_builds(tuple(self.builds.values()))
        self._now = warm_up_begin(now, self._speed)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0
        for tenant in self.scenario.tenants.values():
            self.pipelines[tenant.name] = {}
            for name, pipeline in tenant.pipelines.items():
                queues = PipelineQueues(tenant.name, pipeline)
                self.pipelines[tenant.name][name] = queues
                if pipeline.manager == "dependent":
                    projects = [project for project, _ in self._candidates[tenant.name, name]]
                    for queue_name in dict.fromkeys(project.queue or project.name for project in projects):
                        queues.add_static_queue(queue_name)
                self._refill(queues, lambda: self._rng.uniform(0, WARM_UP_SECONDS))
        self._play(now)

    def _play(self, now: float) -> None:
        while self._events and self._events[0][0] <= now:
            self._now, _, event = heapq.heappop(self._events)
            event()
        self._now = max(now, self._now)

    def _at(self, moment: float, event: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._events, (moment, self._sequence, event))

    def _zuul_ref(self) -> str:
        return f"Z{self._rng.getrandbits(128):032x}"

    def _arrive(self, queues: PipelineQueues) -> None:
        queues.arriving -= 1
        candidates = self._candidates[queues.tenant, queues.pipeline.name]
        if queues.pipeline.subject == "branch":
            enqueued = {(item.change.project.name, item.change.branch) for item in queues.items()}
            candidates = [(project, branch) for project, branch in candidates if (project.name, branch) not in enqueued]
            if not candidates:
                return
        project, branch = self._rng.choice(candidates)
        change = self._changes.make(queues.pipeline.subject, project, branch)
        queue = queues.queue_for(change)
        if queue.dynamic and change.number and self._rng.random() < NON_LIVE_RATE:
            needed = self._changes.make(queues.pipeline.subject, project, branch)
            queues.add(queue, Item(queues.pipeline.name, needed, (), self._now, self._zuul_ref(), live=False))
        self._enqueue(queues, change, queue)

    def _refill(self, queues: PipelineQueues, delay: Callable[[], float]) -> None:
        """Have items arrive until the pipeline is as deep as the scenario wants it.

        A branch is in a pipeline only once, so their number is a limit there.
        """
        depth = self.scenario.tenants[queues.tenant].depth[queues.pipeline.name]
        if queues.pipeline.subject == "branch":
            candidates = self._candidates[queues.tenant, queues.pipeline.name]
            depth = min(depth, len({(project.name, branch) for project, branch in candidates}))
        for _ in range(depth - queues.live - queues.arriving):
            queues.arriving += 1
            self._at(self._now + delay() / self._speed, lambda: self._arrive(queues))

    def _enqueue(self, queues: PipelineQueues, change: Change, queue: ChangeQueue) -> None:
        try:
            jobs = self.layouts[queues.tenant].freeze(change.project, queues.pipeline.name, change.branch)
        except LayoutError:
            jobs = ()  # Zuul reports the mistake and is done with the item
        queues.add(queue, Item(queues.pipeline.name, change, jobs, self._now, self._zuul_ref()))
        self._process(queues, queue)

    def _process(self, queues: PipelineQueues, queue: ChangeQueue) -> None:
        """Let a queue settle: reset what stands on something failing, start jobs, report finished items.

        `nearest` is the nearest item ahead that does not fail; everything has to be tested on top of that.
        """
        reported = True
        while reported:
            reported = False
            nearest: Item | None = None
            for position, item in enumerate(queue.items):
                item.active = not queue.window or position < queue.window
                if not item.live:
                    continue
                ahead = item.item_ahead if item.item_ahead and item.item_ahead.live else None
                if ahead is not nearest:
                    queue.move(item, nearest)
                    self._reset(item)
                    ahead = nearest
                if item.active and item.ready:
                    self._request_jobs(queues, queue, item)
                if not ahead and item.active and item.complete():
                    queue.resize(item.succeeded())
                    self._on_report(self.scenario.tenants[queues.tenant], item, self._now)
                    self._leave(queues, queue, item)
                    reported = True
                    break
                if not item.failing:
                    nearest = item

    def _leave(self, queues: PipelineQueues, queue: ChangeQueue, item: Item) -> None:
        self._forget_builds(item.builds.values())
        queues.drop(queue, item)
        self._refill(queues, lambda: self._rng.expovariate(1 / ARRIVAL_SECONDS))

    def _reset_behind(self, item: Item) -> None:
        waiting = [item]
        while waiting:
            behind = waiting.pop().items_behind
            for one in behind:
                self._reset(one)
            waiting.extend(behind)

    def _reset(self, item: Item) -> None:
        if item.builds or item.tries:
            self._forget_builds(item.builds.values())
            item.restart(self._zuul_ref())

    def _forget_builds(self, builds: Iterable[Build]) -> None:
        """The builds go with their item; those that still run are canceled."""
        for build in builds:
            self.builds.pop(build.uuid or "", None)
            if build.end_time is None:
                build.end_time = self._now

    def _request_jobs(self, queues: PipelineQueues, queue: ChangeQueue, item: Item) -> None:
        item.ready = False
        for job in item.jobs:
            if job.name not in item.builds and _may_run(item, job):
                build = self._plan(queues, item, job)
                item.builds[job.name] = build
                item.tries[job.name] = item.tries.get(job.name, 0) + 1
                assert build.uuid
                self.builds[build.uuid] = build
                self._at_end(queues, queue, item, build)

    def _at_end(self, queues: PipelineQueues, queue: ChangeQueue, item: Item, build: Build) -> None:
        self._at(build.ends, lambda: self._finish(queues, queue, item, build))

    def _plan(self, queues: PipelineQueues, item: Item, job: FrozenJob) -> Build:
        rng = self._rng
        tries = item.tries.get(job.name, 0) + 1
        duration = job.duration_seconds * rng.uniform(0.8, 1.2)
        outcome = "SUCCESS"
        luck = rng.random()
        if job.duration_seconds and luck < RETRY_RATE:
            outcome = "RETRY" if tries < job.attempts else "RETRY_LIMIT"
            duration *= 0.2
        elif luck < RETRY_RATE + job.failure_rate * queues.pipeline.failure_factor:
            outcome = rng.choice(FAILURES)
            duration *= rng.uniform(0.3, 1)
        wait = rng.uniform(*NODE_WAIT_SECONDS) if job.duration_seconds else 0.0
        execute_time = self._now + wait / self._speed
        starts = execute_time + (rng.uniform(*START_SECONDS) if job.duration_seconds else 0.0) / self._speed
        ends = starts + duration / self._speed
        return Build(
            pipeline=item.pipeline,
            change=item.change,
            job=job,
            uuid=f"{rng.getrandbits(128):032x}",
            execute_time=execute_time,
            starts=starts,
            ends=ends,
            outcome=outcome,
            executor=rng.choice(self.scenario.executors),
            nodes=tuple(f"{rng.randrange(10**7):010d}" for _ in job.labels),
            estimated_seconds=job.duration_seconds / self._speed,
            pauses_at=ends if job.pauses and outcome == "SUCCESS" and item.dependents(job.name) else None,
        )

    def _finish(self, queues: PipelineQueues, queue: ChangeQueue, item: Item, build: Build) -> None:
        """A build reaches its end, or the point where it pauses; nothing happens if it was canceled."""
        if build.end_time is not None:
            return
        item.ready = True
        if build.outcome == "RETRY":
            self._forget_builds([item.builds.pop(build.job.name)])
        elif build.pauses_at is not None and not build.paused:
            build.paused = True
        else:
            self._complete(queues, item, build)
        self._resume_parents(queues, queue, item)
        self._process(queues, queue)

    def _complete(self, queues: PipelineQueues, item: Item, build: Build) -> None:
        build.result, build.end_time, build.paused = build.outcome, self._now, False
        if build.failed:
            item.failing = item.failing or build.job.voting
            self._skip(item, item.dependents(build.job.name))
            self._on_failure(self.scenario.tenants[queues.tenant], item, build)
        elif self._rng.random() < build.job.skip_rate:
            self._skip(item, item.dependents(build.job.name, soft=False))

    def _skip(self, item: Item, jobs: list[FrozenJob]) -> None:
        for job in jobs:
            if job.name not in item.builds:
                now = self._now
                item.builds[job.name] = Build(
                    pipeline=item.pipeline,
                    change=item.change,
                    job=job,
                    uuid=None,
                    execute_time=now,
                    starts=now,
                    ends=now,
                    outcome="SKIPPED",
                    executor="",
                    nodes=(),
                    estimated_seconds=0,
                    result="SKIPPED",
                )

    def _resume_parents(self, queues: PipelineQueues, queue: ChangeQueue, item: Item) -> None:
        """Paused builds go on once everything that depends on them is through."""
        for build in item.builds.values():
            if build.paused and build.ends <= self._now:
                dependents = (item.builds.get(job.name) for job in item.dependents(build.job.name))
                if all(dependent and dependent.result for dependent in dependents):
                    build.resumed_at = self._now
                    build.ends = self._now + START_SECONDS[1] / self._speed
                    self._at_end(queues, queue, item, build)


def _may_run(item: Item, job: FrozenJob) -> bool:
    """Whether what a job depends on has passed or is paused; if soft, it may be missing or skipped."""
    for dependency in job.dependencies:
        build = item.builds.get(dependency.name)
        if build is None:
            if dependency.soft and all(other.name != dependency.name for other in item.jobs):
                continue
            return False
        if not build.paused and (build.result not in PASSED or (build.result == "SKIPPED" and not dependency.soft)):
            return False
    return True
