# SPDX-License-Identifier: Apache-2.0
"""Badges: pictures for other people's pages that tell how the newest buildset or build came out."""

from __future__ import annotations

from zuul.web.backends.history import History
from zuul.web.expose import expose
from zuul.web.resources.badges import FORMS, Badge, BadgeQuery
from zuul.web.resources.history_queries import BuildQuery, BuildsetQuery


class BadgesController:
    def __init__(self, history: History, tenant: str) -> None:
        self._history = history
        self._tenant = tenant

    @expose(Badge, query=BadgeQuery, forms=FORMS)
    def get(self, query: BadgeQuery) -> Badge:
        """How the newest buildset came out, or the newest build of a job.

        An SVG picture, or text or JSON for who prefers that by `Accept`. Where nothing has been reported yet, the
        picture says `unknown`, and the others are 404.

        :raises NotFound: no such tenant, it reports to no database, or there is nothing to tell of.
        """
        chosen = {"project": query.project, "pipeline": query.pipeline, "branch": query.branch}
        if query.job_name is not None:
            of_job = BuildQuery.asking(**chosen, job_name=[query.job_name], complete=[True], limit=1)
            found = self._history.builds(self._tenant, of_job).rows
            return Badge.of(query.job_name, found[0] if found else None)
        of_item = BuildsetQuery.asking(**chosen, complete=[True], limit=1)
        found = self._history.buildsets(self._tenant, of_item).rows
        one_pipeline = query.pipeline is not None and len(query.pipeline) == 1
        label = query.pipeline[0] if one_pipeline else "build"
        return Badge.of(label, found[0] if found else None)
