# SPDX-License-Identifier: Apache-2.0
"""Builds and buildsets that have been reported: the history, from the database of Zuul's SQL reporter."""

from __future__ import annotations

from zuul.web.backends.history import History
from zuul.web.backends.replies import Document, Listing
from zuul.web.expose import expose
from zuul.web.resources.builds import Build, BuildDetail, BuildTime, BuildTimeDetail
from zuul.web.resources.buildsets import Buildset, BuildsetDetail, BuildsetWithBuilds, BuildsetWithBuildsDetail
from zuul.web.resources.history_queries import BuildQuery, BuildsetQuery, BuildTimesQuery, StatisticsQuery
from zuul.web.resources.job_statistics import JobStatistics


class BuildsController:
    def __init__(self, history: History, tenant: str) -> None:
        self._history = history
        self._tenant = tenant

    @expose([Build], in_v1=[BuildDetail], query=BuildQuery)
    def get_all(self, query: BuildQuery) -> Listing:
        """Builds that have been reported, the newest first.

        A build is there when its buildset has been reported; what runs now is in the status.

        :raises NotFound: no such tenant, it reports to no database, or there is no row for the marker to mean.
        """
        return self._history.builds(self._tenant, query)

    @expose(Build, str, in_v1=BuildDetail)
    def get_one(self, uuid: str) -> Document:
        """One build.

        :raises NotFound: no such tenant, or the build has not been reported.
        """
        return Document.of(self._history.build(self._tenant, uuid))

    @expose([BuildTime], in_v1=[BuildTimeDetail], query=BuildTimesQuery)
    def get_times(self, query: BuildTimesQuery) -> Listing:
        """How long builds took; what ended last comes first.

        :raises NotFound: no such tenant, or it reports to no database.
        """
        return self._history.build_times(self._tenant, query)

    @expose([BuildDetail], query=BuildTimesQuery)
    def get_latest(self, query: BuildTimesQuery) -> Listing:
        """The newest build of each job in each project, branch and pipeline, by those names.

        Without `start_time` it takes the whole history to know them.

        :raises NotFound: no such tenant, or it reports to no database.
        """
        return self._history.latest_builds(self._tenant, query)


class JobStatisticsController:
    def __init__(self, history: History, tenant: str) -> None:
        self._history = history
        self._tenant = tenant

    @expose(JobStatistics, str, path=1, query=StatisticsQuery)
    def get(self, job: str, query: StatisticsQuery) -> JobStatistics:
        """How a job has done: its results, its success rate, and how long it took.

        It tells of the builds of the last 30 days, or from `start_time` on.

        :raises NotFound: no such tenant, or it reports to no database.
        """
        return self._history.job_statistics(self._tenant, job, query)


class BuildsetsController:
    def __init__(self, history: History, tenant: str) -> None:
        self._history = history
        self._tenant = tenant

    @expose([Buildset], in_v1=[BuildsetDetail], query=BuildsetQuery)
    def get_all(self, query: BuildsetQuery) -> Listing:
        """Buildsets that have been reported, the newest first.

        :raises NotFound: no such tenant, it reports to no database, or there is no row for the marker to mean.
        """
        return self._history.buildsets(self._tenant, query)

    @expose(BuildsetWithBuildsDetail, str)
    def get_one(self, uuid: str) -> Document:
        """One buildset with its builds.

        :raises NotFound: no such tenant, or the buildset has not been reported.
        """
        return Document.of(self._history.buildset(self._tenant, uuid))

    @expose(BuildsetWithBuilds, str)
    def get_one_as_upstream(self, uuid: str) -> Document:
        """One buildset with its builds, if it has any.

        :raises NotFound: no such tenant, or the buildset has not been reported.
        """
        found = self._history.buildset(self._tenant, uuid)
        return Document.of({name: value for name, value in found.items() if name != "builds" or value})
