# SPDX-License-Identifier: Apache-2.0
"""The worker functions that only read the configuration, which never changes while the sandbox runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from zuul.web.sandbox import configuration, keys
from zuul.web.sandbox.authorization import is_admin
from zuul.web.sandbox.layout import Layout
from zuul.web.sandbox.model import Scenario, Tenant

Arguments = dict[str, Any]


class ConfigurationFunctions:
    """Answers about tenants, projects, jobs, keys and rights; `null` for a tenant that does not exist."""

    def __init__(self, scenario: Scenario, layouts: Mapping[str, Layout]) -> None:
        self._scenario = scenario
        self._layouts = layouts

    def all(self) -> list[Callable[[Arguments], str]]:
        """The functions, each called as its gearman function is without the `zuul:`."""
        return [
            self.allowed_labels_get,
            self.authorize_user,
            self.config_errors_list,
            self.connection_list,
            self.get_admin_tenants,
            self.job_get,
            self.job_list,
            self.key_get,
            self.pipeline_list,
            self.project_freeze_jobs,
            self.project_get,
            self.project_list,
            self.tenant_sql_connection,
        ]

    def tenant_sql_connection(self, arguments: Arguments) -> str:
        tenant = self._scenario.tenants.get(arguments["tenant"])
        return json.dumps(tenant.sql_connection or "" if tenant else "")

    def allowed_labels_get(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        if not tenant:
            return json.dumps(None)
        return json.dumps(
            {
                "allowed_labels": list(tenant.allowed_labels),
                "disallowed_labels": list(tenant.disallowed_labels),
            }
        )

    def config_errors_list(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        if not tenant:
            return json.dumps(None)
        return json.dumps([configuration.config_error(e.source, e.error) for e in tenant.config_errors])

    def connection_list(self, arguments: Arguments) -> str:
        return json.dumps([configuration.connection(connection) for connection in self._scenario.connections])

    def pipeline_list(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        if not tenant:
            return json.dumps(None)
        return json.dumps(
            [
                {
                    "name": pipeline.name,
                    "triggers": [{"name": t.name, "driver": t.driver} for t in pipeline.triggers],
                }
                for pipeline in tenant.pipelines.values()
            ]
        )

    def job_list(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        if not tenant:
            return json.dumps(None)
        return json.dumps(
            [configuration.job_summary(name, variants, tenant) for name, variants in sorted(tenant.jobs.items())]
        )

    def job_get(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        if not tenant:
            return json.dumps(None)
        variants = tenant.jobs.get(arguments.get("job", ""), ())
        return json.dumps([configuration.job(variant, tenant) for variant in variants])

    def project_list(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        if not tenant:
            return json.dumps(None)
        projects = [(project, "config") for project in tenant.config_projects]
        projects += [(project, "untrusted") for project in tenant.untrusted_projects]
        projects.sort(key=lambda entry: entry[0].name)
        return json.dumps([{**configuration.project_summary(project), "type": kind} for project, kind in projects])

    def project_get(self, arguments: Arguments) -> str:
        tenant = self._scenario.tenants.get(arguments["tenant"])
        if not tenant:
            return json.dumps(None)
        project = tenant.project(arguments["project"])
        return json.dumps(configuration.project_details(project, tenant) if project else {})

    def project_freeze_jobs(self, arguments: Arguments) -> str:
        tenant = self._tenant(arguments)
        project = tenant.project(arguments.get("project")) if tenant else None
        pipeline = arguments.get("pipeline", "")
        if not tenant or not project or pipeline not in tenant.pipelines:
            return json.dumps(None)
        layout = self._layouts[tenant.name]
        jobs = layout.freeze(project, pipeline, arguments.get("branch", "master"))
        return json.dumps([configuration.frozen_job(job) for job in jobs])

    def key_get(self, arguments: Arguments) -> str:
        """The key as it is, not as JSON; the empty text for everything unknown."""
        tenant = self._tenant(arguments)
        if not tenant or not tenant.project(arguments.get("project")):
            return ""
        kinds = {"secrets": keys.secrets_key, "ssh": keys.ssh_key}
        kind = kinds.get(arguments.get("key", "secrets"))
        return kind() if kind else ""

    def authorize_user(self, arguments: Arguments) -> str:
        tenant = self._scenario.tenants.get(arguments["tenant"])
        return json.dumps(tenant is not None and is_admin(tenant, arguments["claims"]))

    def get_admin_tenants(self, arguments: Arguments) -> str:
        claims = arguments["claims"]
        return json.dumps([t.name for t in self._scenario.tenants.values() if is_admin(t, claims)])

    def _tenant(self, arguments: Arguments) -> Tenant | None:
        return self._scenario.tenants.get(arguments.get("tenant", ""))
