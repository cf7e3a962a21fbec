# SPDX-License-Identifier: Apache-2.0
"""Which jobs run for a branch of a project in a pipeline: variants matched, inherited and put together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zuul.web.sandbox.model import Dependency, JobVariant, Project, Tenant

DEFAULT_ATTEMPTS = 3
DEFAULT_DURATION_SECONDS = 600.0


class LayoutError(ValueError):
    """A job graph that cannot be built; says which job and why."""


@dataclass(frozen=True, slots=True)
class FrozenJob:
    """A job as it runs for one item, everything inherited and decided."""

    name: str
    dependencies: tuple[Dependency, ...]
    voting: bool
    attempts: int
    nodes: Mapping[str, str]
    """Labels by node name."""
    pre_run: tuple[str, ...]
    run: tuple[str, ...]
    post_run: tuple[str, ...]
    duration_seconds: float
    failure_rate: float
    skip_rate: float
    pauses: bool
    provides: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(self.nodes.values())


class Layout:
    """The jobs of one tenant, frozen on demand."""

    def __init__(self, tenant: Tenant) -> None:
        self.tenant = tenant
        self._frozen: dict[tuple[str, str, str], tuple[FrozenJob, ...]] = {}

    def freeze(self, project: Project, pipeline: str, branch: str) -> tuple[FrozenJob, ...]:
        """The jobs that run, in the order of the configuration; empty if the project is not in the pipeline.

        :raises LayoutError: a job depends on one that is not there, or on itself.
        """
        key = (project.canonical_name, pipeline, branch)
        if key in self._frozen:
            return self._frozen[key]
        jobs = tuple(self._jobs(project, pipeline, branch))
        _check_graph(jobs)
        if branch in project.branches:  # others come from clients, and there is no end of them
            self._frozen[key] = jobs
        return jobs

    def _jobs(self, project: Project, pipeline: str, branch: str) -> Iterable[FrozenJob]:
        mentioned: dict[str, list[JobVariant]] = {}
        for pipelines in (project.pipelines, *(template.pipelines for template in project.templates)):
            for variant in pipelines.get(pipeline, ()):
                mentioned.setdefault(variant.name, []).append(variant)
        for name, mentions in mentioned.items():
            defined = self._defined(name, branch)
            matching = _matching(mentions, branch)
            if defined and matching:
                yield _frozen(name, [*defined, *matching])

    def _defined(self, name: str, branch: str) -> list[JobVariant]:
        """The variants of a job for a branch, those of its ancestors first."""
        variants = _matching(self.tenant.jobs[name], branch)
        if not variants:
            return []
        first = variants[0]
        ancestors = [] if first.base else self._defined(first.parent or self.tenant.default_base_job, branch)
        return [*ancestors, *variants]


def _matching(variants: Iterable[JobVariant], branch: str) -> list[JobVariant]:
    return [
        variant
        for variant in variants
        if not variant.branches or any(re.match(pattern, branch) for pattern in variant.branches)
    ]


def _frozen(name: str, variants: Sequence[JobVariant]) -> FrozenJob:
    """Later variants win, attribute by attribute; a list of dependencies wins as a whole.

    Playbooks before and after the run add up, those of the ancestors outermost. So does what a job provides.
    """

    def last(attribute: str, default: Any) -> Any:
        values = (getattr(variant, attribute) for variant in reversed(variants))
        return next((value for value in values if value not in (None, ())), default)

    return FrozenJob(
        name=name,
        dependencies=last("dependencies", ()),
        voting=last("voting", True),
        attempts=last("attempts", DEFAULT_ATTEMPTS),
        nodes=last("nodes", {}),
        pre_run=tuple(path for variant in variants for path in variant.pre_run),
        run=last("run", ()),
        post_run=tuple(path for variant in reversed(variants) for path in variant.post_run),
        duration_seconds=last("duration_seconds", DEFAULT_DURATION_SECONDS),
        failure_rate=last("failure_rate", 0.0),
        skip_rate=last("skip_rate", 0.0),
        pauses=last("pauses", False),
        provides=tuple(sorted({name for variant in variants for name in variant.provides})),
    )


def _check_graph(jobs: Iterable[FrozenJob]) -> None:
    parents = {job.name: job.dependencies for job in jobs}
    for name, dependencies in parents.items():
        for dependency in dependencies:
            if dependency.name not in parents and not dependency.soft:
                raise LayoutError(f"Job {name} depends on {dependency.name} which was not run.")
        if name in _ancestors(name, parents):
            raise LayoutError(f"Dependency cycle detected in job {name}")


def _ancestors(name: str, parents: Mapping[str, tuple[Dependency, ...]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = {dependency.name for dependency in parents.get(waiting.pop(), ())} - found
        found |= new
        waiting.extend(new)
    return found
