# SPDX-License-Identifier: Apache-2.0
"""/api: upstream's URLs, those of zuul-web 3.19.1."""

from __future__ import annotations

from typing import Any

from zuul.web.auth import Guard
from zuul.web.backends.history import History
from zuul.web.backends.scheduler import Scheduler
from zuul.web.controllers.actions import ActionsController
from zuul.web.controllers.authorizations import AuthorizationsController
from zuul.web.controllers.badges import BadgesController
from zuul.web.controllers.builds import BuildsController, BuildsetsController
from zuul.web.controllers.holds import HoldsController
from zuul.web.controllers.info import IndexController, InfoController
from zuul.web.controllers.jobs import JobsController
from zuul.web.controllers.pipelines import PipelinesController, StatusController
from zuul.web.controllers.projects import FreezeJobsController, KeysController, ProjectsController
from zuul.web.controllers.streams import STREAMS, StreamUrl
from zuul.web.controllers.tenants import ConfigErrorsController, ConnectionsController, TenantsController
from zuul.web.settings import Settings
from zuul.web.snapshots import Snapshots
from zuul.web.urls import Url, UrlMap, UrlOf, absent

LINKS = {
    "info": "/api/info",
    "connections": "/api/connections",
    "tenants": "/api/tenants",
    "tenant_info": "/api/tenant/{tenant}/info",
    "status": "/api/tenant/{tenant}/status",
    "status_change": "/api/tenant/{tenant}/status/change/{change}",
    "jobs": "/api/tenant/{tenant}/jobs",
    "job": "/api/tenant/{tenant}/job/{job_name}",
    "projects": "/api/tenant/{tenant}/projects",
    "project": "/api/tenant/{tenant}/project/{project:.*}",
    "project_freeze_jobs": (
        "/api/tenant/{tenant}/pipeline/{pipeline}/project/{project:.*}/branch/{branch:.*}/freeze-jobs"
    ),
    "pipelines": "/api/tenant/{tenant}/pipelines",
    "labels": "/api/tenant/{tenant}/labels",
    "nodes": "/api/tenant/{tenant}/nodes",
    "key": "/api/tenant/{tenant}/key/{project:.*}.pub",
    "project_ssh_key": "/api/tenant/{tenant}/project-ssh-key/{project:.*}.pub",
    "console_stream": "/api/tenant/{tenant}/console-stream",
    "badge": "/api/tenant/{tenant}/badge",
    "builds": "/api/tenant/{tenant}/builds",
    "build": "/api/tenant/{tenant}/build/{uuid}",
    "buildsets": "/api/tenant/{tenant}/buildsets",
    "buildset": "/api/tenant/{tenant}/buildset/{uuid}",
    "config_errors": "/api/tenant/{tenant}/config-errors",
    "authorizations": "/api/user/authorizations",
    "autohold": "/api/tenant/{tenant}/project/{project:.*}/autohold",
    "autohold_list": "/api/tenant/{tenant}/autohold",
    "autohold_by_request_id": "/api/tenant/{tenant}/autohold/{request_id}",
    "autohold_delete": "/api/tenant/{tenant}/autohold/{request_id}",
    "enqueue": "/api/tenant/{tenant}/project/{project:.*}/enqueue",
    "dequeue": "/api/tenant/{tenant}/project/{project:.*}/dequeue",
}
"""What upstream's /api lists, whole: clients find templates here by name."""

FROZEN = "{project}/branch/{branch}/freeze-jobs"


def url_map(settings: Settings, scheduler: Scheduler, snapshots: Snapshots, history: History, guard: Guard) -> UrlMap:
    """Every URL below /api, on one screen."""

    def tenant(name: str) -> dict[str, Any]:
        jobs = JobsController(scheduler, name)
        projects = ProjectsController(scheduler, name)
        keys = KeysController(scheduler, name, suffix=".pub")
        holds = HoldsController(scheduler, snapshots, name)
        actions = ActionsController(scheduler, snapshots, name)
        status = StatusController(snapshots, name)
        builds = BuildsController(history, name)
        buildsets = BuildsetsController(history, name)

        hold = Url(segments=1, get=holds.get_one, delete=holds.delete if settings.auth else absent)
        # Upstream has these only where tokens can be checked; elsewhere they are (unknown) projects.
        rights = AuthorizationsController(scheduler, guard, name)
        of_project: dict[str, Url | None] = dict.fromkeys(("autohold", "enqueue", "dequeue"))
        of_tenant: dict[str, Url] = {}
        if settings.auth:
            of_project = {
                "autohold": Url(segments=None, get=holds.get_of_project, post=holds.create_for_project),
                "enqueue": Url(segments=None, post=actions.enqueue),
                "dequeue": Url(segments=None, post=actions.dequeue),
            }
            of_tenant = {"authorizations": Url(get=rights.get_of_tenant), "promote": Url(post=actions.promote)}

        def pipeline(pipeline_name: str) -> UrlMap:
            freeze = FreezeJobsController(scheduler, name, pipeline_name, "branch", "freeze-jobs")
            return UrlMap({"project": Url(segments=None, template=FROZEN, get=freeze.get)})

        return {
            "info": Url(get=InfoController(settings, name).get),
            "status": UrlMap(
                {"change": Url(segments=None, get=status.get_change)},
                index=Url(get=status.get),
            ),
            "jobs": Url(get=jobs.get_all),
            "job": Url(segments=None, get=jobs.get_one),
            "projects": Url(get=projects.get_all),
            "project": Url(segments=None, get=projects.get_one, endings=of_project),
            "pipeline": UrlOf("pipeline", pipeline),
            "pipelines": Url(get=PipelinesController(scheduler, name).get_all),
            "key": Url(segments=None, template="{project}.pub", get=keys.get_secrets),
            "project-ssh-key": Url(segments=None, template="{project}.pub", get=keys.get_ssh),
            "config-errors": Url(get=ConfigErrorsController(scheduler, name).get_all),
            "console-stream": StreamUrl(STREAMS.console),
            "builds": Url(get=builds.get_all),
            "build": Url(segments=1, get=builds.get_one),
            "build-times": Url(get=builds.get_times),
            "buildsets": Url(get=buildsets.get_all),
            "buildset": Url(segments=1, get=buildsets.get_one_as_upstream),
            "badge": Url(get=BadgesController(history, name).get),
            "autohold": UrlMap({}, index=Url(get=holds.get_all), other=hold),
            **of_tenant,
        }

    whitelabel = settings.rest.whitelabel_tenant
    rights = AuthorizationsController(scheduler, guard)
    of_token = {
        "authorizations": Url(get=rights.get_of_root),
        "user": UrlMap({"authorizations": Url(get=rights.get_of_user)}),
    }
    return UrlMap(
        {
            "info": Url(get=InfoController(settings).get),
            **(of_token if settings.auth else {}),
            **(tenant(whitelabel) if whitelabel else {}),
            "tenants": Url(get=TenantsController(scheduler, guard).get_all),
            "connections": Url(get=ConnectionsController(scheduler).get_all),
            "tenant": UrlOf("tenant", lambda name: UrlMap(tenant(name))),
        },
        index=Url(get=IndexController(LINKS).get),
    )
