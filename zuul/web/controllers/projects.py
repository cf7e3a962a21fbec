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
        """All projects of the tenant by name.

        :raises NotFound: no such tenant.
        """
        return self._scheduler.project_list(self._tenant)

    @expose(ProjectDetail, str)
    def get_one(self, project: str) -> Reply:
        """One project with its configuration, by short or canonical name.

        :raises NotFound: no such tenant or project.
        """
        return self._scheduler.project_get(self._tenant, project)


class KeysController:
    """Public keys of projects, as text.

    :param suffix: what URLs have behind the project's name.
    """

    def __init__(self, scheduler: Scheduler, tenant: str, *, suffix: str = "") -> None:
        self._scheduler = scheduler
        self._tenant = tenant
        self._suffix = suffix

    @expose(text, str, content_type="text/plain")
    def get_secrets(self, project: str) -> Reply:
        """The key with which secrets for the project are encrypted, in PEM.

        :raises NotFound: no such tenant or project.
        """
        return self._scheduler.key_get(self._tenant, without_suffix(project, self._suffix), "secrets")

    @expose(text, str, content_type="text/plain")
    def get_ssh(self, project: str) -> Reply:
        """The project's SSH key, one line as in authorized_keys.

        :raises NotFound: no such tenant or project.
        """
        key = self._scheduler.key_get(self._tenant, without_suffix(project, self._suffix), "ssh")
        return Reply(key.body + b"\n")


class FreezeJobsController:
    """:param words: what stands before the branch in the URL, and at its end."""

    def __init__(self, scheduler: Scheduler, tenant: str, pipeline: str, *words: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant
        self._pipeline = pipeline
        self._words = words

    @expose([FrozenJob], str)
    def get(self, project_and_branch: str) -> Reply:
        """The jobs that would run for a change to the branch, with what each depends on.

        :raises NotFound: no such tenant, pipeline or project.
        """
        before, end = self._words
        not_found = NotFound(f"the URL of frozen jobs goes on with {{project}}/{before}/{{branch}}/{end}")
        for project, branch in islice(_projects_and_branches(project_and_branch, before, end), MOST_READINGS):
            try:
                return self._scheduler.project_freeze_jobs(self._tenant, self._pipeline, project, branch)
            except NotFound as error:
                not_found = error
        raise not_found


def without_suffix(name: str, suffix: str) -> str:
    """The project in `{project}.pub`, say. :raises NotFound: it is no such name."""
    project = name.removesuffix(suffix)
    if not project or not name.endswith(suffix):
        raise NotFound(f"the URL of a public key ends in {suffix}")
    return project


def _projects_and_branches(path: str, before: str, end: str) -> Iterator[tuple[str, str]]:
    """Every way to read `{project}/branch/{branch}/freeze-jobs`, longest project first as upstream reads it."""
    between = f"/{before}/"
    middle = path.removesuffix(f"/{end}")
    at = len(middle)
    if middle == path:
        return
    while (at := middle.rfind(between, 0, at + len(between) - 1)) >= 0:
        project, branch = middle[:at], middle[at + len(between) :]
        if project and branch:
            yield project, branch
