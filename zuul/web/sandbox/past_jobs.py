# SPDX-License-Identifier: Apache-2.0
"""How the jobs of an item went in the past: what each waited for, how long it took, and how it ended."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from zuul.web.sandbox.layout import FrozenJob, Layout
from zuul.web.sandbox.model import Scenario, Tenant
from zuul.web.sandbox.queues import PASSED

FAILURES = ("FAILURE",) * 15 + ("POST_FAILURE", "POST_FAILURE", "TIMED_OUT", "TIMED_OUT")
ACCIDENTS = ("RETRY_LIMIT",) * 4 + ("NODE_FAILURE",) * 4 + ("POST_FAILURE", "MERGER_FAILURE", "DISK_FULL", "ERROR")
ACCIDENT_RATE = 0.006
"""The share of builds that fail through no fault of the job."""
BAD_FAILURE_RATE = 0.4
"""How many of the jobs fail that test a bad patchset."""
FLAKY_RATE = 0.25
"""What is added to the failure rate of the flaky job, in its bad weeks."""
ERROR_DETAIL = "The project tools/gone.git has no branch main, and none to fall back to."
LONGEST = 1.9
"""How long a build may take, as a multiple of the average; then it has timed out."""


@dataclass(slots=True)
class Run:
    """One job of one item. Times are epoch seconds; None: never started, or known when the item is reported."""

    job: FrozenJob
    result: str
    starts: float | None = None
    ends: float | None = None
    error_detail: str | None = None

    @property
    def failed(self) -> bool:
        return self.job.voting and self.result not in PASSED


@dataclass(frozen=True, slots=True)
class _Habit:
    """How the durations of one job are spread, and how they change over the year."""

    spread: float
    slope: float
    step_at: float
    step: float

    def factor(self, passed: float) -> float:
        return 1 + self.slope * passed + (self.step if passed > self.step_at else 0)


class Habits:
    """What is the same in all of a year: each job's habits, and which one is flaky when."""

    def __init__(self, rng: random.Random, scenario: Scenario, begin: float, end: float) -> None:
        self.rng = rng
        self._begin, self._seconds = begin, end - begin
        names = sorted({name for tenant in scenario.tenants.values() for name in tenant.jobs})
        self._habits = {
            name: _Habit(rng.uniform(0.06, 0.3), rng.uniform(-0.2, 0.4), rng.random(), rng.choice((0, 0, -0.25, 0.2)))
            for name in names
        }
        tests = [
            name
            for name in names
            if any((v.failure_rate or 0) > 0 for t in scenario.tenants.values() for v in t.jobs.get(name, ()))
        ]
        self.flaky_job = rng.choice(tests) if tests else None
        self.flaky_weeks = (0.55, 0.7)
        """Shares of the year."""
        durations = (v.duration_seconds or 0 for t in scenario.tenants.values() for vs in t.jobs.values() for v in vs)
        self.longest_seconds = 3600 + 4 * LONGEST * max(durations, default=0)
        """How long an item may take, more or less."""

    def duration(self, job: FrozenJob, moment: float) -> float:
        habit = self._habits[job.name]
        factor = habit.factor((moment - self._begin) / self._seconds) * math.exp(self.rng.gauss(0, habit.spread))
        return job.duration_seconds * min(factor, LONGEST)

    def result(self, job: FrozenJob, moment: float, failure_factor: float, bad: bool) -> str:
        rng = self.rng
        if not job.duration_seconds:
            return "SUCCESS"
        rate = job.failure_rate * failure_factor
        if job.name == self.flaky_job:
            first, last = self.flaky_weeks
            rate += FLAKY_RATE if first < (moment - self._begin) / self._seconds < last else 0
        if bad and job.failure_rate:
            rate += BAD_FAILURE_RATE
        luck = rng.random()
        if luck < rate:
            return rng.choice(FAILURES)
        return rng.choice(ACCIDENTS) if luck > 1 - ACCIDENT_RATE else "SUCCESS"


class Graph:
    """The jobs of a branch of a project in a pipeline, in the order of the configuration."""

    def __init__(self, jobs: tuple[FrozenJob, ...]) -> None:
        self.jobs = jobs
        places = {job.name: place for place, job in enumerate(jobs)}
        self._parents = [
            [(places[dependency.name], dependency.soft) for dependency in job.dependencies if dependency.name in places]
            for job in jobs
        ]
        self._order = list(self._ordered())

    @classmethod
    def all_of(cls, tenant: Tenant) -> dict[tuple[str, str, str], Graph]:
        """By project, branch and pipeline; without those that have no jobs."""
        layout = Layout(tenant)
        graphs = {}
        for project in tenant.config_projects + tenant.untrusted_projects:
            for branch in project.branches:
                for pipeline in tenant.pipelines:
                    jobs = layout.freeze(project, pipeline, branch)
                    if jobs:
                        graphs[project.name, branch, pipeline] = cls(jobs)
        return graphs

    def run(self, habits: Habits, moment: float, failure_factor: float, bad: bool) -> tuple[list[Run], float]:
        """Run the jobs from a moment on. Also gives when the last one was through."""
        rng = habits.rng
        runs: list[Run | None] = [None] * len(self.jobs)
        free: list[float] = [moment] * len(self.jobs)
        """When what depends on a job may start."""
        skipping = set()
        last = moment
        for place in self._order:
            job = self.jobs[place]
            parents = self._parents[place]
            start = max((free[parent] for parent, _ in parents), default=moment)
            free[place] = start
            if any(_blocks(runs[parent], soft or parent not in skipping, soft) for parent, soft in parents):
                runs[place] = Run(job, "SKIPPED")
                continue
            result = habits.result(job, start, failure_factor, bad)
            run = runs[place] = Run(job, result)
            if result == "NODE_FAILURE":
                run.starts = run.ends = start + rng.uniform(60, 600)
            else:
                self._time(habits, run, start)
            assert run.ends is not None
            free[place] = run.ends
            last = max(last, run.ends)
            if result == "SUCCESS" and job.skip_rate and rng.random() < job.skip_rate:
                skipping.add(place)
        for place in reversed(self._order):
            parent = runs[place]
            if parent and parent.job.pauses and parent.ends is not None and parent.result == "SUCCESS":
                behind = [runs[child] for child in self._order if any(p == place for p, _ in self._parents[child])]
                ends = [child.ends for child in behind if child and child.ends is not None]
                parent.ends = max([parent.ends, *(end + rng.uniform(2, 8) for end in ends)])
                last = max(last, parent.ends)
        return [run for run in runs if run], last

    @staticmethod
    def _time(habits: Habits, run: Run, start: float) -> None:
        rng = habits.rng
        if not run.job.duration_seconds:
            run.starts, run.ends = start + 0.01, start + 0.02
            return
        duration = habits.duration(run.job, start)
        if run.result == "TIMED_OUT":
            duration = run.job.duration_seconds * 2
        elif run.result == "RETRY_LIMIT":
            start += duration * 0.2 * (run.job.attempts - 1)
            duration *= 0.1
        elif run.result in ("MERGER_FAILURE", "ERROR"):
            duration = rng.uniform(1, 20)
        elif run.result != "SUCCESS":
            duration *= rng.uniform(0.3, 1)
        if run.result == "ERROR":
            run.error_detail = ERROR_DETAIL
        run.starts = start + min(rng.lognormvariate(2.8, 0.9), 900)
        run.ends = run.starts + duration

    def _ordered(self) -> Iterator[int]:
        """Each job after those that it depends on."""
        done: set[int] = set()
        while len(done) < len(self.jobs):
            for place, parents in enumerate(self._parents):
                if place not in done and all(parent in done for parent, _ in parents):
                    done.add(place)
                    yield place


def _blocks(parent: Run | None, goes_on: bool, soft: bool) -> bool:
    """Whether a job cannot run after this one: it failed, has others skipped, or was skipped and is needed."""
    if parent is None or not goes_on:
        return True
    return parent.result not in PASSED or (parent.result == "SKIPPED" and not soft)
