# SPDX-License-Identifier: Apache-2.0
"""A year of a sandbox installation, made up: what its SQL reporter would have written, oldest first.

It goes day by day. Each day has its share of the builds by weekday, season and growth. First come the timers, then
what was left from before (a new patchset, a gate, a recheck), then new changes until the share is reached. The
same scenario, seed, number and end make the same year.
"""

from __future__ import annotations

import dataclasses
import datetime
import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

from zuul.web.sandbox import changes
from zuul.web.sandbox.changes import FIRST_CHANGE, Change
from zuul.web.sandbox.database import Report, ReportedBuild
from zuul.web.sandbox.model import Pipeline, Project, Scenario, Tenant
from zuul.web.sandbox.past_jobs import Graph, Habits, Run
from zuul.web.sandbox.reports import MESSAGES, NEVER_RAN, buildset_row, reported_build

MAX_BUILDS = 1_000_000
DAYS = 365
DAY = 86400.0

HOURS = (2, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 9, 8, 9, 10, 10, 9, 8, 7, 6, 5, 4, 3, 2)
"""How much is going on in each hour of a day, UTC."""
WEEKDAYS = (10, 11, 11, 10, 8, 2, 2)
NIGHTLY_HOUR = 2
NIGHTLY_SHARE = 0.1
"""The share of the builds of a day that timers start."""
GROWTH = 0.4
"""How much more there is on the last day than on the first."""

MERGER_FAILURE_RATE = 0.015
CONFIG_ERROR_RATE = 0.003
BAD_RATE = 0.2
"""The share of patchsets that have a mistake, which fails several jobs."""
TAG_RATE = 0.04
"""The share of merges after which a release is tagged."""
MAX_PATCHSETS = 25

CONFIG_ERROR = "Zuul found a mistake in zuul.d/project.yaml: the job {job}-ng is not defined."


@dataclass(slots=True)
class _Work:
    """One change, from its first patchset until it is merged or given up."""

    tenant: Tenant
    project: Project
    branch: str
    number: str
    owner: str
    patchset: str
    patchsets: int = 1
    bad: bool = False
    events: int = 0


class Past:
    """The reports of a year. `reports` may be called once."""

    def __init__(self, scenario: Scenario, *, builds: int, seed: int, end: float) -> None:
        """:param builds: how many, exactly, unless no project has few enough jobs for the last ones.
        :param end: when the year ends, epoch seconds; all reports are before that.
        """
        if not 0 <= builds <= MAX_BUILDS:
            raise ValueError(f"the number of builds must be from 0 to {MAX_BUILDS}, not {builds}")
        self._log_url = scenario.log_url
        self._rng = rng = random.Random(f"{seed} past")
        self._builds = builds
        self._made = 0
        self._begin, self._end = end - DAYS * DAY, end
        self._habits = Habits(rng, scenario, self._begin, end)
        self._graphs = {name: Graph.all_of(tenant) for name, tenant in scenario.tenants.items()}
        self._ready: list[tuple[float, int, Report]] = []
        self._due: list[tuple[float, int, _Work, str]] = []
        self._sequence = itertools.count()
        self._number = 0
        self._places = self._find_places(scenario, "change") or self._find_places(scenario, "commit")
        self._place_weights = list(itertools.accumulate(weight for *_, weight in self._places))
        self._nightly = self._find_places(scenario, "branch")

    def reports(self) -> Iterator[Report]:
        """In the order of their moments."""
        shares = list(itertools.accumulate(self._day_weight(day) for day in range(DAYS)))
        for day, share in enumerate(shares):
            begin = self._begin + day * DAY
            yield from self._out(begin)
            self._live_a_day(begin, round(self._builds * share / shares[-1]))
        self._fill_up()
        yield from self._out(self._end + 1)

    # The calendar

    def _day_weight(self, day: int) -> float:
        noon = datetime.datetime.fromtimestamp(self._begin + (day + 0.5) * DAY, datetime.timezone.utc)
        holidays = 0.3 if (noon.month, noon.day) >= (12, 23) or (noon.month, noon.day) <= (1, 2) else 1
        growth = 1 + GROWTH * (day / DAYS - 0.5)
        return WEEKDAYS[noon.weekday()] * holidays * growth * self._rng.uniform(0.8, 1.2)

    def _moment_of(self, begin: float) -> float:
        """A moment within 24 hours from `begin`, rather in the busy ones."""
        first = int(begin // 3600)
        (hour,) = self._rng.choices(range(24), [HOURS[(first + hour) % 24] for hour in range(24)])
        return begin + (hour + self._rng.random()) * 3600

    def _after(self, moment: float, hours: float) -> float:
        """When somebody gets around to something that takes so many hours on average: hardly at night."""
        rng = self._rng
        moment += rng.expovariate(1 / hours) * 3600
        for _ in range(20):
            weekday = int(moment // DAY + 3) % 7  # 1970 began with a Thursday
            if rng.random() * 100 < HOURS[int(moment % DAY // 3600)] * WEEKDAYS[weekday]:
                break
            moment += rng.uniform(1, 3) * 3600
        return moment

    # A day

    def _live_a_day(self, begin: float, share: int) -> None:
        """:param share: how many builds there are to be by the end of that day."""
        self._run_timers(begin, self._made + (share - self._made) * NIGHTLY_SHARE)
        self._go_on_with_what_is_due(begin + DAY, share)
        while self._places and self._made < share:
            before = self._made
            self._begin_work(self._moment_of(begin))
            self._go_on_with_what_is_due(begin + DAY, share)
            if self._made == before and share == self._builds:
                return

    def _go_on_with_what_is_due(self, before: float, share: int) -> None:
        """What is too much for today is put off until tomorrow."""
        while self._due and self._due[0][0] < before:
            moment, _, work, what = heapq.heappop(self._due)
            if self._made < share:
                self._go_on(work, what, moment)
            else:
                self._later(work, what, moment + DAY)

    def _run_timers(self, begin: float, until: float) -> None:
        night = begin + (NIGHTLY_HOUR * 3600 - begin) % DAY
        candidates = list(self._nightly)
        self._rng.shuffle(candidates)
        for tenant, project, branch, _ in candidates:
            if self._made >= until:
                return
            change = changes.revision(project, f"refs/heads/{branch}", None, None)
            for pipeline in self._pipelines(tenant, "branch"):
                self._run(tenant, pipeline, change, night + self._rng.uniform(0, 1800), self._event_id(None))

    def _fill_up(self) -> None:
        """The last builds, where the jobs of a change are more than are left."""
        options = sorted(
            (len(graph.jobs), tenant, project, branch, pipeline)
            for tenant, graphs in self._graphs.items()
            for (project, branch, pipeline), graph in graphs.items()
        )
        names = {(place[0].name, place[1].name): place for place in self._places + self._nightly}
        while True:
            left = self._builds - self._made
            fitting = [option for option in options if 0 < option[0] <= left and option[1:3] in names]
            if not fitting:
                return
            _, tenant_name, project_name, branch, pipeline_name = fitting[-1]
            tenant, project, *_ = names[tenant_name, project_name]
            pipeline = tenant.pipelines[pipeline_name]
            if pipeline.subject == "change":
                change = self._change_of(self._new_work(tenant, project, branch, self._end))
            elif pipeline.subject == "commit":
                change = changes.revision(project, f"refs/heads/{branch}", self._sha(), self._sha())
            else:
                change = changes.revision(project, f"refs/heads/{branch}", None, None)
            self._run(tenant, pipeline, change, self._end, self._event_id(project))

    # The life of a change

    def _begin_work(self, moment: float) -> None:
        ((tenant, project, branch, _),) = self._rng.choices(self._places, cum_weights=self._place_weights)
        work = self._new_work(tenant, project, branch, moment)
        if any((project.name, branch, p.name) in self._graphs[tenant.name] for p in self._pipelines(tenant, "change")):
            self._check(work, moment)
        else:
            self._merged(work, moment)

    def _new_work(self, tenant: Tenant, project: Project, branch: str, moment: float) -> _Work:
        """Numbers grow with time up to those of the simulation. There are changes in between without builds."""
        span = 2000 + self._builds * 3 // 5
        passed = (moment - self._begin) / (self._end - self._begin)
        self._number = max(self._number + 1, FIRST_CHANGE - span + int(passed * span * 0.95))
        work = _Work(tenant, project, branch, str(self._number), self._rng.choice(changes.OWNERS), "")
        self._new_patchset(work, 1)
        return work

    def _new_patchset(self, work: _Work, patchsets: int) -> None:
        work.patchsets = patchsets
        work.patchset = str(patchsets) if work.project.connection.driver == "gerrit" else self._sha()
        work.bad = self._rng.random() < BAD_RATE

    def _go_on(self, work: _Work, what: str, moment: float) -> None:
        if what == "patchset":
            self._new_patchset(work, work.patchsets + 1)
            self._check(work, moment)
        elif what == "recheck":
            self._check(work, moment)
        else:
            self._gate(work, moment)

    def _later(self, work: _Work, what: str, moment: float) -> None:
        """What would come after the end of the year, or could not end before it, does not come."""
        if moment < self._end - self._habits.longest_seconds:
            heapq.heappush(self._due, (moment, next(self._sequence), work, what))

    def _check(self, work: _Work, moment: float) -> None:
        ended, passed = self._run_all(work, "independent", moment)
        luck = self._rng.random()
        if not passed and luck < 0.2:
            self._later(work, "recheck", self._after(ended, 2))
        elif work.patchsets < MAX_PATCHSETS and luck < (0.35 if passed else 0.9):
            self._later(work, "patchset", self._after(ended, 30 if passed else 6))
        elif passed and luck < 0.92:
            self._later(work, "gate", self._after(ended, 20))

    def _gate(self, work: _Work, moment: float) -> None:
        work.bad = False
        ended, passed = self._run_all(work, "dependent", moment)
        if passed:
            self._merged(work, ended)
        elif self._rng.random() < 0.75:
            self._later(work, "gate", self._after(ended, 2))
        elif work.patchsets < MAX_PATCHSETS:
            self._later(work, "patchset", self._after(ended, 10))

    def _merged(self, work: _Work, moment: float) -> None:
        newrev = self._sha()
        refs = [changes.revision(work.project, f"refs/heads/{work.branch}", self._sha(), newrev)]
        if self._rng.random() < TAG_RATE:
            day = int((moment - self._begin) // DAY)
            tag = changes.revision(work.project, f"refs/tags/{1 + day // 90}.{day % 90}.0", "0" * 40, newrev)
            refs.append(dataclasses.replace(tag, branch=""))
        for change in refs:
            for pipeline in self._pipelines(work.tenant, "commit"):
                event_id = self._event_id(work.project)
                branch = work.branch
                self._run(work.tenant, pipeline, change, moment + self._rng.uniform(1, 20), event_id, branch=branch)

    def _run_all(self, work: _Work, manager: str, moment: float) -> tuple[float, bool]:
        """Run the jobs of a change in all such pipelines. When the last ended, and whether all passed."""
        ended, passed = moment, True
        event_id = self._event_id(work.project)
        for pipeline in self._pipelines(work.tenant, "change"):
            if pipeline.manager == manager:
                report = self._run(
                    work.tenant, pipeline, self._change_of(work), moment, event_id, bad=work.bad, may_break=True
                )
                if report:
                    ended, passed = max(ended, report.moment), passed and report.row["result"] == "SUCCESS"
        return ended, passed

    # One buildset

    def _run(
        self,
        tenant: Tenant,
        pipeline: Pipeline,
        change: Change,
        moment: float,
        event_id: str,
        *,
        branch: str | None = None,
        bad: bool = False,
        may_break: bool = False,
    ) -> Report | None:
        """Run the jobs of an item. None if it has none, or more than there may be.

        :param branch: whose jobs; None: of the change's branch.
        :param may_break: whether it may be that the change cannot be merged, or breaks the configuration.
        """
        graph = self._graphs[tenant.name].get((change.project.name, branch or change.branch, pipeline.name))
        if graph is None or self._made + len(graph.jobs) > self._builds:
            return None
        rng = self._rng
        zuul_ref = f"Z{rng.getrandbits(128):032x}"
        luck = rng.random() if may_break else 1
        if luck < MERGER_FAILURE_RATE + CONFIG_ERROR_RATE:
            result, message = "MERGER_FAILURE", MESSAGES["MERGER_FAILURE"]
            if luck < CONFIG_ERROR_RATE:
                result, message = "CONFIG_ERROR", CONFIG_ERROR.format(job=graph.jobs[0].name)
            row = buildset_row(tenant.name, pipeline.name, change, zuul_ref, result, message, event_id=event_id)
            return self._reported(Report(row, min(moment + rng.uniform(2, 60), self._end)))
        runs, ended = graph.run(self._habits, moment, pipeline.failure_factor, bad)
        early = min(self._end - rng.uniform(0, 600) - ended, 0)
        ended += early
        passed = not any(run.failed for run in runs) and any(run.result != "SKIPPED" for run in runs)
        result = "SUCCESS" if passed else "FAILURE"
        report = Report(
            buildset_row(tenant.name, pipeline.name, change, zuul_ref, result, MESSAGES[result], event_id=event_id),
            ended,
        )
        report.builds = [self._build(run, early, ended) for run in runs]
        self._made += len(runs)
        return self._reported(report)

    def _build(self, run: Run, early: float, ended: float) -> ReportedBuild:
        rng = self._rng
        uuid = None if run.result in NEVER_RAN else f"{rng.getrandbits(128):032x}"
        starts = None if run.starts is None else run.starts + early
        ends = ended if run.ends is None else run.ends + early
        # Executors of 3.19.1 do not tell the name of a node any more; the older half of the year has them.
        old = uuid and run.job.nodes and ended < (self._begin + self._end) / 2
        node_name = f"{int((ended - self._begin) // 40):010d}" if old else None
        return reported_build(
            run.job, uuid, run.result, starts, ends, self._log_url, node_name=node_name, error_detail=run.error_detail
        )

    def _reported(self, report: Report) -> Report:
        heapq.heappush(self._ready, (report.moment, next(self._sequence), report))
        return report

    def _out(self, before: float) -> Iterator[Report]:
        """Nothing that starts from then on can be reported before that."""
        while self._ready and self._ready[0][0] < before:
            yield heapq.heappop(self._ready)[2]

    # What there is

    def _find_places(self, scenario: Scenario, subject: str) -> list[tuple[Tenant, Project, str, float]]:
        """Where something of a kind happens, and how often compared with other places."""
        places: list[tuple[Tenant, Project, str, float]] = []
        for tenant in scenario.tenants.values():
            pipelines = self._pipelines(tenant, subject)
            busy = sum(tenant.depth.get(pipeline.name, 0) for pipeline in pipelines) or 1
            found = [
                (tenant, project, branch, self._rng.paretovariate(1.2) * (4 if branch == project.branches[0] else 1))
                for project in tenant.config_projects + tenant.untrusted_projects
                for branch in project.branches
                if any((project.name, branch, p.name) in self._graphs[tenant.name] for p in pipelines)
            ]
            total = sum(weight for *_, weight in found)
            places += [(tenant, project, branch, busy * weight / total) for _, project, branch, weight in found]
        return places

    @staticmethod
    def _pipelines(tenant: Tenant, subject: str) -> list[Pipeline]:
        return [pipeline for pipeline in tenant.pipelines.values() if pipeline.subject == subject]

    def _change_of(self, work: _Work) -> Change:
        return changes.change(work.project, work.number, work.patchset, work.branch, work.owner)

    def _event_id(self, project: Project | None) -> str:
        """Upstream's own, or the id of GitHub's delivery."""
        digits = f"{self._rng.getrandbits(128):032x}"
        if project and project.connection.driver == "github":
            return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        return digits

    def _sha(self) -> str:
        return f"{self._rng.getrandbits(160):040x}"
