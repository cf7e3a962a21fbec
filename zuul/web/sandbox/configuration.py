# SPDX-License-Identifier: Apache-2.0
"""Jobs, projects and connections of a scenario as Zuul 3.19.1 puts them into its answers."""

from __future__ import annotations

from typing import Any

from zuul.web.sandbox.layout import DEFAULT_ATTEMPTS, FrozenJob
from zuul.web.sandbox.model import Connection, JobVariant, Project, SourceContext, Template, Tenant


def job(variant: JobVariant, tenant: Tenant) -> dict[str, Any]:
    """One variant with what it says itself; nothing inherited is filled in."""
    roles = [_role(project) for project in tenant.config_projects] if variant.source and not variant.base else []
    return {
        "name": variant.name,
        "branches": list(variant.branches),
        "override_checkout": None,
        "files": list(variant.files),
        "irrelevant_files": list(variant.irrelevant_files),
        "variant_description": variant.variant_description,
        "source_context": _source(variant.source),
        "description": variant.description,
        "required_projects": [
            {"project_name": name, "override_branch": None, "override_checkout": None}
            for name in variant.required_projects
        ],
        "semaphore": variant.semaphore,
        "variables": dict(variant.variables),
        "extra_variables": {},
        "host_variables": {},
        "group_variables": {},
        "final": variant.final,
        "abstract": variant.abstract,
        "protected": None,
        "voting": variant.voting is not False,
        "timeout": variant.timeout_seconds,
        "tags": list(variant.tags),
        "provides": list(variant.provides),
        "requires": list(variant.requires),
        "dependencies": [{"name": d.name, "soft": d.soft} for d in variant.dependencies],
        "attempts": variant.attempts or DEFAULT_ATTEMPTS,
        "roles": roles,
        "run": [_playbook(path, variant, roles) for path in variant.run],
        "pre_run": [_playbook(path, variant, roles) for path in variant.pre_run],
        "post_run": [_playbook(path, variant, roles) for path in variant.post_run],
        "cleanup_run": [],
        "post_review": None,
        "match_on_config_updates": True,
        "parent": None if variant.base else variant.parent or tenant.default_base_job,
        "nodeset": {"name": "", "nodes": _nodes(variant), "groups": []},
        "ansible_version": None,
    }


def job_summary(name: str, variants: tuple[JobVariant, ...], tenant: Tenant) -> dict[str, Any]:
    """One entry of the job list; description, variants and tags are left out where there are none."""
    summary: dict[str, Any] = {"name": name}
    description = next((variant.description for variant in variants if variant.description), None)
    if description:
        summary["description"] = description.split("\n")[0]
    shown = []
    for variant in variants:
        entry: dict[str, Any] = {}
        if not variant.base:
            entry["parent"] = variant.parent or tenant.default_base_job
        if variant.branches:
            entry["branches"] = list(variant.branches)
        if entry:
            shown.append(entry)
    if shown:
        summary["variants"] = shown
    tags = sorted({tag for variant in variants for tag in variant.tags})
    if tags:
        summary["tags"] = tags
    return summary


def frozen_job(frozen: FrozenJob) -> dict[str, Any]:
    return {
        "name": frozen.name,
        "dependencies": [{"name": d.name, "soft": d.soft} for d in frozen.dependencies],
    }


def project_summary(project: Project) -> dict[str, Any]:
    return {
        "name": project.name,
        "connection_name": project.connection.name,
        "canonical_name": project.canonical_name,
    }


def project_details(project: Project, tenant: Tenant) -> dict[str, Any]:
    """A project with its own configuration and that of each of its templates."""
    own = {
        "default_branch": project.default_branch,
        "merge_mode": project.merge_mode,
        "templates": [template.name for template in project.templates],
        "pipelines": _project_pipelines(project, project, tenant),
    }
    templates = [
        {
            "default_branch": None,
            "merge_mode": None,
            "templates": [],
            "pipelines": _project_pipelines(template, project, tenant),
        }
        for template in project.templates
    ]
    return {**project_summary(project), "configs": [own, *templates]}


def connection(connection: Connection) -> dict[str, Any]:
    """What each driver tells about a connection."""
    shown: dict[str, Any] = {
        "name": connection.name,
        "driver": connection.driver,
        "baseurl": connection.baseurl,
        "canonical_hostname": connection.canonical_hostname,
    }
    if connection.driver in ("gerrit", "github"):
        shown["server"] = connection.server
    if connection.driver == "gerrit":
        shown["port"] = connection.port
    return shown


def config_error(source: SourceContext, error: str) -> dict[str, Any]:
    return {"source_context": _source(source), "error": error}


def _project_pipelines(config: Project | Template, project: Project, tenant: Tenant) -> list[dict[str, Any]]:
    """Each job is a list of its variants, as upstream has it."""
    shown = []
    for name, variants in sorted(config.pipelines.items()):
        by_job: dict[str, list[dict[str, Any]]] = {}
        for variant in variants:
            by_job.setdefault(variant.name, []).append(job(variant, tenant))
        dependent = tenant.pipelines[name].manager == "dependent"
        queue_name = project.queue if dependent else None
        shown.append({"queue_name": queue_name, "name": name, "jobs": list(by_job.values())})
    return shown


def _source(source: SourceContext | None) -> dict[str, Any] | None:
    return {"project": source.project, "branch": source.branch, "path": source.path} if source else None


def _role(project: Project) -> dict[str, Any]:
    return {
        "target_name": project.name.rpartition("/")[2],
        "type": "zuul",
        "project_canonical_name": project.canonical_name,
        "implicit": True,
    }


def _playbook(path: str, variant: JobVariant, roles: list[dict[str, Any]]) -> dict[str, Any]:
    return {"path": path, "roles": roles, "secrets": [], "source_context": _source(variant.source)}


def _nodes(variant: JobVariant) -> list[dict[str, Any]]:
    return [
        {"state": "unknown", "hold_job": None, "comment": None, "name": name, "aliases": [], "label": label}
        for name, label in (variant.nodes or {}).items()
    ]
