# SPDX-License-Identifier: Apache-2.0
"""Loads a scenario: the YAML description of a sandbox installation.

The packaged `scenarios/default.yaml` is also the reference for the format.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped, unused-ignore]

from zuul.web.sandbox.layout import Layout, LayoutError
from zuul.web.sandbox.model import (
    AdminRule,
    Autohold,
    ConfigError,
    Connection,
    Dependency,
    JobVariant,
    Pipeline,
    Project,
    Scenario,
    SourceContext,
    Template,
    Tenant,
    Trigger,
)
from zuul.web.sandbox.section import ScenarioError, Section

__all__ = ["ScenarioError", "load"]

MAX_ITEMS = 20_000
MAX_SECONDS = 30 * 86400
JOBS_FILE = "zuul.d/jobs.yaml"
PROJECTS_FILE = "zuul.d/projects.yaml"

# Every Zuul layout contains it; it ends as soon as it starts.
NOOP = JobVariant(
    name="noop",
    source=None,
    base=True,
    description="A job that will always succeed, no operation.",
    run=("noop.yaml",),
    duration_seconds=0,
)


def load(path: str | None, items: int | None = None) -> Scenario:
    """The scenario of a file; None for the packaged default.

    :param items: scales the pipelines of all tenants to about this many items in total.
    :raises ScenarioError: the file is missing or wrong; one sentence says where and what is allowed.
    """
    file = "default.yaml" if path is None else path
    scenario = _Reader(Section(file, "", _document(path, file))).scenario()
    if items is None:
        return scenario
    if not 1 <= items <= MAX_ITEMS:
        raise ScenarioError(f"{file}: the number of items must be from 1 to {MAX_ITEMS}, not {items}")
    return _scaled(scenario, items)


def _document(path: str | None, file: str) -> object:
    try:
        if path is None:
            text = importlib.resources.files(__package__).joinpath("scenarios").joinpath(file).read_text("utf-8")
        else:
            text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ScenarioError(f"{file}: cannot be read: {reason}") from error
    # The C loader reads the default scenario in a tenth of the time; builds of PyYAML without it exist.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ScenarioError(f"{file}: not valid YAML{where}: {getattr(error, 'problem', error)}") from error


def _scaled(scenario: Scenario, items: int) -> Scenario:
    """A branch is in a pipeline only once, so growing is left to the pipelines of changes and commits."""
    sizes = {(tenant.name, name): depth for tenant in scenario.tenants.values() for name, depth in tenant.depth.items()}
    total = sum(sizes.values())
    fixed = 0
    if items > total:
        fixed = sum(
            depth
            for (tenant, name), depth in sizes.items()
            if scenario.tenants[tenant].pipelines[name].subject == "branch"
        )
    factor = (items - fixed) / ((total - fixed) or 1)

    def scale(tenant: Tenant, name: str, depth: int) -> int:
        if not depth or (fixed and tenant.pipelines[name].subject == "branch"):
            return depth
        return max(round(depth * factor), 1)

    tenants = {
        tenant.name: dataclasses.replace(
            tenant, depth={name: scale(tenant, name, depth) for name, depth in tenant.depth.items()}
        )
        for tenant in scenario.tenants.values()
    }
    return dataclasses.replace(scenario, tenants=tenants)


class _Reader:
    """Turns the document into a `Scenario`, top to bottom, so that names are known before they are used."""

    def __init__(self, document: Section) -> None:
        self.document = document

    def scenario(self) -> Scenario:
        document = self.document
        executors = document.texts("executors")
        if not executors:
            raise document.error("executors", "must name at least one host")
        log_url = document.text("log_url").rstrip("/")
        self.connections = _named(map(self._connection, document.sections("connections")), document, "connections")
        self.pipelines = _named(map(self._pipeline, document.sections("pipelines")), document, "pipelines")
        self.rules = _named(map(self._admin_rule, document.sections("admin_rules")), document, "admin_rules")
        job_sections = document.sections("jobs")
        self.job_names = {"noop", *(str(section.text("name")) for section in _peek(job_sections))}
        self.config_project = document.text("config_project")
        self.default_base_job = document.one_of("default_base_job", self.job_names - {"noop"})
        jobs: dict[str, tuple[JobVariant, ...]] = {"noop": (NOOP,)}
        for section in job_sections:
            variant = self._job(section, JOBS_FILE)
            jobs[variant.name] = (*jobs.get(variant.name, ()), variant)
        self.jobs = jobs
        self._check_parents()
        self.templates = _named(map(self._template, document.sections("templates")), document, "templates")
        self.projects = _named(map(self._project, document.sections("projects")), document, "projects")
        tenants = _named(map(self._tenant, document.sections("tenants")), document, "tenants")
        if not tenants:
            raise document.error("tenants", "must have at least one entry")
        document.close()
        return Scenario(tuple(self.connections.values()), executors, log_url, tenants)

    def _connection(self, section: Section) -> Connection:
        driver = section.one_of("driver", ("gerrit", "github", "git"))
        connection = Connection(
            name=section.text("name"),
            driver=driver,
            server=section.text("server"),
            baseurl=section.text("baseurl").rstrip("/"),
            canonical_hostname=section.text("canonical_hostname"),
            port=int(section.number("port", 1, 65535, 29418)) if driver == "gerrit" else None,
        )
        section.close()
        return connection

    def _pipeline(self, section: Section) -> Pipeline:
        triggers = section.texts("triggers", {*self.connections, "timer", "zuul"})
        pipeline = Pipeline(
            name=section.text("name"),
            description=section.optional("description"),
            manager=section.one_of("manager", ("dependent", "independent")),
            subject=section.one_of("subject", ("change", "commit", "branch")),
            triggers=tuple(
                Trigger(name, self.connections[name].driver if name in self.connections else name) for name in triggers
            ),
            window=int(section.number("window", 1, 1000, 20)),
            window_floor=int(section.number("window_floor", 1, 1000, 3)),
            failure_factor=section.number("failure_factor", 0, 100, 1),
        )
        section.close()
        return pipeline

    def _admin_rule(self, section: Section) -> AdminRule:
        name = section.text("name")
        conditions = section.entries("conditions")
        for condition in conditions:
            if not isinstance(condition, dict) or not all(
                isinstance(part, str) for pair in condition.items() for part in pair
            ):
                raise section.error("conditions", "must be a list of mappings from a claim to its text")
        section.close()
        return AdminRule(name, tuple(conditions))

    def _job(self, section: Section, file: str) -> JobVariant:
        name = section.one_of("name", self.job_names)
        base = section.flag("base") or False
        parent = section.optional("parent")
        if parent is not None and (base or parent not in self.job_names):
            raise section.error("parent", f"is {parent!r}; allowed: {', '.join(sorted(self.job_names))}, no base job")
        nodes = section.mapping("nodes")
        if not all(isinstance(label, str) for label in nodes.values()):
            raise section.error("nodes", "must map node names to labels")
        attempts = section.optional_number("attempts", 1, 10)
        timeout_seconds = section.optional_number("timeout", 1, MAX_SECONDS)
        variant = JobVariant(
            name=name,
            source=SourceContext(self.config_project, "master", file),
            parent=parent,
            base=base,
            description=section.optional("description"),
            variant_description=section.optional("variant_description"),
            branches=_patterns(section, "branches"),
            files=section.texts("files"),
            irrelevant_files=section.texts("irrelevant_files"),
            tags=section.texts("tags"),
            provides=section.texts("provides"),
            requires=section.texts("requires"),
            dependencies=tuple(self._dependency(section, entry) for entry in section.entries("dependencies")),
            required_projects=section.texts("required_projects"),
            semaphore=section.optional("semaphore"),
            variables=section.mapping("vars"),
            voting=section.flag("voting"),
            final=section.flag("final") or False,
            abstract=section.flag("abstract") or False,
            attempts=None if attempts is None else int(attempts),
            timeout_seconds=None if timeout_seconds is None else int(timeout_seconds),
            nodes=nodes or None,
            run=section.texts("run"),
            pre_run=section.texts("pre_run"),
            post_run=section.texts("post_run"),
            duration_seconds=section.optional_number("duration", 0, 86400),
            failure_rate=section.optional_number("failure_rate", 0, 1),
            skip_rate=section.optional_number("skip_rate", 0, 1),
            pauses=section.flag("pauses"),
        )
        section.close()
        return variant

    def _dependency(self, job: Section, entry: Any) -> Dependency:
        """A job name, or a mapping with `name` and `soft`."""
        section = Section(job.file, f"{job.path}.dependencies", {"name": entry} if isinstance(entry, str) else entry)
        dependency = Dependency(section.one_of("name", self.job_names), section.flag("soft") or False)
        section.close()
        return dependency

    def _check_parents(self) -> None:
        for name, variants in self.jobs.items():
            seen = [name]
            first = variants[0]
            while not first.base:
                parent = first.parent or self.default_base_job
                if parent in seen:
                    raise self.document.error("jobs", f"must not inherit in a circle, as {name!r} does")
                seen.append(parent)
                first = self.jobs[parent][0]

    def _template(self, section: Section) -> Template:
        template = Template(section.text("name"), self._project_pipelines(section))
        section.close()
        return template

    def _project_pipelines(self, section: Section) -> dict[str, tuple[JobVariant, ...]]:
        """Lists of jobs by pipeline; a job is its name or a mapping with attributes as in `jobs`."""
        pipelines = section.section("pipelines")
        found = {}
        for name in pipelines.unread():
            if name not in self.pipelines:
                raise pipelines.error(name, f"is no pipeline; allowed: {', '.join(sorted(self.pipelines))}")
            found[name] = tuple(
                self._job(
                    Section(
                        section.file,
                        f"{pipelines.path}.{name}[{n}]",
                        {"name": entry} if isinstance(entry, str) else entry,
                    ),
                    PROJECTS_FILE,
                )
                for n, entry in enumerate(pipelines.entries(name))
            )
        return found

    def _project(self, section: Section) -> Project:
        project = Project(
            name=section.text("name"),
            connection=self.connections[section.one_of("connection", self.connections)],
            branches=section.texts("branches") or ("master",),
            queue=section.optional("queue"),
            default_branch=section.optional("default_branch"),
            merge_mode=section.one_of(
                "merge_mode", ("merge", "merge-resolve", "cherry-pick", "squash-merge"), "merge-resolve"
            ),
            templates=tuple(self.templates[name] for name in section.texts("templates", self.templates)),
            pipelines=self._project_pipelines(section),
        )
        section.close()
        return project

    def _tenant(self, section: Section) -> Tenant:
        depth = section.section("depth")
        tenant = Tenant(
            name=section.text("name"),
            config_projects=tuple(self.projects[n] for n in section.texts("config_projects", self.projects)),
            untrusted_projects=tuple(self.projects[n] for n in section.texts("projects", self.projects)),
            jobs=self.jobs,
            pipelines=self.pipelines,
            depth={name: int(depth.number(name, 0, MAX_ITEMS, 0)) for name in self.pipelines},
            default_base_job=self.default_base_job,
            admin_rules=tuple(self.rules[name] for name in section.texts("admin_rules", self.rules)),
            sql_connection=section.text_or_null("sql_connection", "database"),
            allowed_labels=section.texts("allowed_labels"),
            disallowed_labels=section.texts("disallowed_labels"),
            config_errors=tuple(map(self._config_error, section.sections("config_errors"))),
            autoholds=tuple(map(self._autohold, section.sections("autoholds"))),
        )
        depth.close()
        section.close()
        self._check_layout(section, tenant)
        return tenant

    def _check_layout(self, section: Section, tenant: Tenant) -> None:
        layout = Layout(tenant)
        for name, depth in tenant.depth.items():
            busy = False
            for project in tenant.config_projects + tenant.untrusted_projects:
                for branch in project.branches:
                    try:
                        busy = bool(layout.freeze(project, name, branch)) or busy
                    except LayoutError as error:
                        raise ScenarioError(f"{section.file}: projects: {project.name} in {name}: {error}") from error
            if depth and not busy:
                raise section.error(f"depth.{name}", "must be 0, since no project has a job there")

    def _config_error(self, section: Section) -> ConfigError:
        source = SourceContext(
            section.one_of("project", self.projects), section.text("branch", "master"), section.text("path")
        )
        error = ConfigError(source, section.text("error"))
        section.close()
        return error

    def _autohold(self, section: Section) -> Autohold:
        autohold = Autohold(
            project=self.projects[section.one_of("project", self.projects)].canonical_name,
            job=section.one_of("job", self.job_names),
            ref_filter=section.text("ref_filter", ".*"),
            reason=section.text("reason"),
            count=int(section.number("count", 0, 1000, 1)),
            node_expiration_seconds=int(section.number("node_expiration", 0, MAX_SECONDS, 0)),
        )
        section.close()
        return autohold


def _patterns(section: Section, key: str) -> tuple[str, ...]:
    patterns = section.texts(key)
    for pattern in patterns:
        try:
            re.compile(pattern)
        except re.error as error:
            raise section.error(key, f"must be regular expressions, and {pattern!r} is none: {error}") from error
    return patterns


def _peek(sections: list[Section]) -> Iterable[Section]:
    """Copies of the sections, so that reading a name early leaves the originals unread."""
    return (Section(section.file, section.path, section.unread()) for section in sections)


def _named(entries: Iterable[Any], document: Section, key: str) -> dict[str, Any]:
    """By name, in the order of the file; a name may be used once."""
    found: dict[str, Any] = {}
    for entry in entries:
        if entry.name in found:
            raise document.error(key, f"must have one entry named {entry.name!r}, not two")
        found[entry.name] = entry
    return found
