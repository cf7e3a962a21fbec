# SPDX-License-Identifier: Apache-2.0
"""Jobs: the definitions, not what ran (that is builds)."""

from __future__ import annotations

from zuul.web.backends.replies import Reply
from zuul.web.backends.scheduler import Scheduler
from zuul.web.expose import expose
from zuul.web.resources.jobs import Job, JobVariant


class JobsController:
    def __init__(self, scheduler: Scheduler, tenant: str) -> None:
        self._scheduler = scheduler
        self._tenant = tenant

    @expose([Job])
    def get_all(self) -> Reply:
        """All jobs of the tenant by name, their variants in short.

        :raises NotFound: no such tenant.
        """
        return self._scheduler.job_list(self._tenant)

    @expose([JobVariant], str)
    def get_one(self, job: str) -> Reply:
        """The variants of one job in full, in the order in which they apply.

        :raises NotFound: no such tenant or job.
        """
        return self._scheduler.job_get(self._tenant, job)
