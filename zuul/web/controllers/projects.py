# SPDX-License-Identifier: Apache-2.0
"""Projects: what they configure, their public keys, and the jobs that would run for a branch.

A project's name has slashes and dots, so URLs are taken apart here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from wsme.types import text

from zuul.web.backends.replies import Reply
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import NotFound
from zuul.web.expose import expose
from zuul.web.resources.jobs import FrozenJob
from zuul.web.resources.projects import Project, ProjectDetail

MOST_READINGS = 4
"""How many ways to read one URL are tried. Each is a call to the scheduler, so a URL must not name hundreds."""


class ProjectsController:
    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant

    @expose([Project])
    def get_all(self) -> Reply:
        """All projects of the tenant by name."""
        return self._scheduler.project_list(self._tenant)

    @expose(ProjectDetail, str)
    def get_one(self, project: str) -> Reply:
        """One project with its configuration, by short or canonical name."""
        return self._scheduler.project_get(self._tenant, project)


class KeysController:
    """Public keys of projects, as text. URLs end in `.pub`."""

    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant

    @expose(text, str, content_type="text/plain")
    def get_secrets(self, file: str) -> Reply:
        """The key with which secrets for the project are encrypted, in PEM."""
        return self._scheduler.key_get(self._tenant, project_of_key(file), "secrets")

    @expose(text, str, content_type="text/plain")
    def get_ssh(self, file: str) -> Reply:
        """The project's SSH key, one line as in authorized_keys."""
        key = self._scheduler.key_get(self._tenant, project_of_key(file), "ssh")
        return Reply(key.body + b"\n")


class FreezeJobsController:
    def __init__(self, scheduler: Scheduler, tenant: str, pipeline: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant
        self._pipeline = pipeline

    @expose([FrozenJob], str)
    def get(self, project_and_branch: str) -> Reply:
        """The jobs that would run for a change to the branch, with what each depends on."""
        not_found = NotFound("the URL of frozen jobs is project/{project}/branch/{branch}/freeze-jobs")
        for project, branch in islice(_projects_and_branches(project_and_branch), MOST_READINGS):
            try:
                return self._scheduler.project_freeze_jobs(self._tenant, self._pipeline, project, branch)
            except NotFound as error:
                not_found = error
        raise not_found


def project_of_key(file: str) -> str:
    """The project in `{project}.pub`. :raises NotFound: it is no such name."""
    project = file.removesuffix(".pub")
    if project == file or not project:
        raise NotFound("the URL of a public key ends in .pub")
    return project


def _projects_and_branches(path: str) -> Iterator[tuple[str, str]]:
    """Every way to read `{project}/branch/{branch}/freeze-jobs`, longest project first as upstream reads it."""
    middle = path.removesuffix("/freeze-jobs")
    at = len(middle)
    if middle == path:
        return
    while (at := middle.rfind("/branch/", 0, at + len("/branch/") - 1)) >= 0:
        project, branch = middle[:at], middle[at + len("/branch/") :]
        if project and branch:
            yield project, branch
