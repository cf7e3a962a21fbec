# SPDX-License-Identifier: Apache-2.0
"""What a sandbox installation consists of: its connections, projects, jobs, pipelines and tenants."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Connection:
    """A code review system that projects come from."""

    name: str
    driver: str
    server: str
    baseurl: str
    canonical_hostname: str
    port: int | None
    """The ssh port; gerrit only."""


@dataclass(frozen=True)
class SourceContext:
    """The file that a piece of configuration stands in."""

    project: str
    branch: str
    path: str


@dataclass(frozen=True)
class Dependency:
    """A job that another one waits for; a soft one may also be missing or skipped."""

    name: str
    soft: bool


@dataclass(frozen=True)
class JobVariant:
    """One definition of a job, or one mention of it in a project's pipeline. None: inherited."""

    name: str
    source: SourceContext | None
    parent: str | None = None
    base: bool = False
    description: str | None = None
    variant_description: str | None = None
    branches: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    irrelevant_files: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    provides: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    required_projects: tuple[str, ...] = ()
    semaphore: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    voting: bool | None = None
    final: bool = False
    abstract: bool = False
    attempts: int | None = None
    timeout_seconds: int | None = None
    nodes: Mapping[str, str] | None = None
    """Labels by node name."""
    run: tuple[str, ...] = ()
    pre_run: tuple[str, ...] = ()
    post_run: tuple[str, ...] = ()
    duration_seconds: float | None = None
    """What an average build takes; 0 ends at once, as `noop` does."""
    failure_rate: float | None = None
    """The share of builds that fail, from 0 to 1."""
    skip_rate: float | None = None
    """The share of successful builds that have the jobs depending on them skipped."""
    pauses: bool | None = None
    """Whether a build waits, paused, until the jobs that depend on it are through."""


@dataclass(frozen=True)
class Template:
    """The jobs that a project runs, by pipeline; projects share them by name."""

    name: str
    pipelines: Mapping[str, tuple[JobVariant, ...]]


@dataclass(frozen=True)
class Project:
    """A repository, and what runs for it."""

    name: str
    connection: Connection
    branches: tuple[str, ...]
    queue: str | None
    """The shared queue of the dependent pipelines; None: a queue of its own."""
    default_branch: str | None
    merge_mode: str | None
    templates: tuple[Template, ...]
    pipelines: Mapping[str, tuple[JobVariant, ...]]

    @property
    def canonical_name(self) -> str:
        return f"{self.connection.canonical_hostname}/{self.name}"


@dataclass(frozen=True)
class Trigger:
    """What starts a pipeline: a connection, or a driver without one such as `timer`."""

    name: str
    driver: str


@dataclass(frozen=True)
class Pipeline:
    """A pipeline of every tenant."""

    name: str
    description: str | None
    manager: str
    """`dependent` (shared queues, each item on top of those ahead) or `independent`."""
    subject: str
    """What its items are about: a `change`, a merged `commit`, or a `branch` as it is."""
    triggers: tuple[Trigger, ...]
    window: int
    window_floor: int
    failure_factor: float
    """Multiplies the failure rate of jobs; gates see fewer failures than checks."""


@dataclass(frozen=True)
class AdminRule:
    """Claims that make somebody an administrator: any one condition, with all of its claims."""

    name: str
    conditions: tuple[Mapping[str, str], ...]


@dataclass(frozen=True)
class ConfigError:
    """A mistake in the configuration of a tenant."""

    source: SourceContext
    error: str


@dataclass(frozen=True)
class Autohold:
    """A hold request that exists from the start."""

    project: str
    """The canonical name."""
    job: str
    ref_filter: str
    reason: str
    count: int
    node_expiration_seconds: int


@dataclass(frozen=True)
class Tenant:
    """One tenant of the installation."""

    name: str
    config_projects: tuple[Project, ...]
    untrusted_projects: tuple[Project, ...]
    jobs: Mapping[str, tuple[JobVariant, ...]]
    pipelines: Mapping[str, Pipeline]
    depth: Mapping[str, int]
    """How many items each pipeline holds about all the time."""
    default_base_job: str
    admin_rules: tuple[AdminRule, ...]
    sql_connection: str | None
    """Where its builds are reported to; None: nowhere."""
    allowed_labels: tuple[str, ...]
    disallowed_labels: tuple[str, ...]
    config_errors: tuple[ConfigError, ...]
    autoholds: tuple[Autohold, ...]

    def project(self, name: str | None) -> Project | None:
        """The project with this name, which may be canonical; None if the tenant has none."""
        hostname, _, rest = (name or "").partition("/")
        projects = self.config_projects + self.untrusted_projects
        if any(project.connection.canonical_hostname == hostname for project in projects):
            return next((project for project in projects if project.canonical_name == f"{hostname}/{rest}"), None)
        return next((project for project in projects if project.name == name), None)


@dataclass(frozen=True)
class Scenario:
    """A whole installation."""

    connections: tuple[Connection, ...]
    executors: tuple[str, ...]
    """Host names."""
    log_url: str
    """Where the logs of finished builds are, without a slash at the end."""
    tenants: Mapping[str, Tenant]

    @property
    def sql_connections(self) -> list[str]:
        """The names of those that tenants report to."""
        return sorted({tenant.sql_connection for tenant in self.tenants.values() if tenant.sql_connection})
