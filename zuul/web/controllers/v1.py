# SPDX-License-Identifier: Apache-2.0
"""/v1: plural nested collections, as Storyboard's consumers know them. Also mounted at /api/v1."""

from __future__ import annotations

from typing import Any

from zuul.web.audit import Audit
from zuul.web.auth import Guard
from zuul.web.backends.history import History
from zuul.web.backends.scheduler import Scheduler
from zuul.web.controllers.actions import PipelineActionsController
from zuul.web.controllers.audit import AuditController
from zuul.web.controllers.authorizations import AuthorizationsController
from zuul.web.controllers.badges import BadgesController
from zuul.web.controllers.builds import BuildsController, BuildsetsController, JobStatisticsController
from zuul.web.controllers.directories import DirectoryController
from zuul.web.controllers.holds import HoldsController
from zuul.web.controllers.info import InfoController, TenantInfoController
from zuul.web.controllers.jobs import JobsController
from zuul.web.controllers.pipelines import ItemsController, PipelinesController, StatusController
from zuul.web.controllers.projects import FreezeJobsController, KeysController, ProjectsController
from zuul.web.controllers.streams import STREAMS, StreamUrl
from zuul.web.controllers.tenants import ConfigErrorsController, ConnectionsController, TenantsController
from zuul.web.settings import Settings
from zuul.web.snapshots import Snapshots
from zuul.web.urls import Controller, Url, UrlMap, UrlOf, absent

FROZEN = "{project}/branches/{branch}/frozen-jobs"


def url_map(
    settings: Settings, scheduler: Scheduler, snapshots: Snapshots, history: History, guard: Guard, audit: Audit
) -> UrlMap:
    """Every URL below /v1, on one screen."""
    tenants = TenantsController(scheduler, guard)
    connections = ConnectionsController(scheduler)
    directory = DirectoryController()
    of_token = {
        "authorizations": Url(get=AuthorizationsController(scheduler, guard).get),
        "audit": Url(get=AuditController(audit, guard).get_all),
    }

    def with_token(controller: Controller) -> Controller:
        """A method that needs a token: there where tokens can be checked."""
        return controller if settings.auth else absent

    def tenant(name: str) -> UrlMap:
        pipelines = PipelinesController(scheduler, name)
        jobs = JobsController(scheduler, name)
        projects = ProjectsController(scheduler, name)
        keys = KeysController(scheduler, name)
        holds = HoldsController(scheduler, snapshots, name)
        hold = Url(segments=1, get=holds.get_one, delete=with_token(holds.delete))
        builds = BuildsController(history, name)
        buildsets = BuildsetsController(history, name)
        stats = {"stats": Url(segments=None, get=JobStatisticsController(history, name).get)}

        def build(uuid: str) -> UrlMap:
            return UrlMap({"log": StreamUrl(STREAMS.log)}, index=Url(given=(uuid,), get=builds.get_one))

        def pipeline(pipeline_name: str) -> UrlMap:
            items = ItemsController(snapshots, name, pipeline_name)
            frozen = FreezeJobsController(scheduler, name, pipeline_name, "branches", "frozen-jobs")
            actions = PipelineActionsController(scheduler, snapshots, name, pipeline_name)
            one = Url(segments=1, get=items.get_one, delete=with_token(actions.dequeue))
            more = {"promote": Url(post=actions.promote)} if settings.auth else {}
            return UrlMap(
                {
                    "items": collection(items, one, post=with_token(actions.enqueue)),
                    **more,
                    "projects": Url(segments=None, template=FROZEN, get=frozen.get),
                },
                index=Url(given=(pipeline_name,), get=pipelines.get_one),
            )

        keys_of_project = {
            "keys/secrets": Url(segments=None, get=keys.get_secrets),
            "keys/ssh": Url(segments=None, get=keys.get_ssh),
        }
        return UrlMap(
            {
                "info": Url(get=TenantInfoController(settings, scheduler, name).get),
                "status": Url(get=StatusController(snapshots, name).get),
                "pipelines": collection(pipelines, UrlOf("pipeline", pipeline)),
                "jobs": collection(jobs, Url(segments=None, get=jobs.get_one, endings=stats)),
                "projects": collection(projects, Url(segments=None, get=projects.get_one, endings=keys_of_project)),
                "config-errors": Url(get=ConfigErrorsController(scheduler, name).get_all),
                "holds": collection(holds, hold, post=with_token(holds.create)),
                "builds": collection(builds, UrlOf("uuid", build)),
                "build-times": Url(get=builds.get_times),
                "latest-builds": Url(get=builds.get_latest),
                "buildsets": collection(buildsets, Url(segments=1, get=buildsets.get_one)),
                "badge": Url(get=BadgesController(history, name).get),
                "console-stream": StreamUrl(STREAMS.console),
                "events": StreamUrl(STREAMS.events),
            },
            index=Url(given=(name,), get=tenants.get_one),
        )

    whole = UrlMap(
        {
            "info": Url(get=InfoController(settings).get),
            "connections": collection(connections, Url(segments=1, get=connections.get_one)),
            **(of_token if settings.auth else {}),
            "tenants": collection(tenants, UrlOf("tenant", tenant)),
        },
        index=Url(with_mount=True, get=directory.get),
    )
    directory.list_all(whole)
    return whole


def collection(controller: Any, one: Url | UrlOf, post: Controller | None = None) -> UrlMap:
    """All of a resource at its name, one of them below it."""
    return UrlMap({}, index=Url(get=controller.get_all, post=post), other=one)
