# SPDX-License-Identifier: Apache-2.0
"""What the history can be asked: the parameters of its lists."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from wsme.types import Enum

from zuul.web.errors import BadRequest
from zuul.web.resources.base import Flag, Moment, Query, WholeType, sometimes

MAX_LIMIT = 1000
MAX_OFFSET = 10**9
MAX_ID = 2**63 - 1
DEFAULT_LIMIT = 50
WINDOW = timedelta(days=30)
"""What statistics tell of, where nobody says."""


class OfItems(Query):
    """What both lists can be asked: of which items."""

    project = sometimes([str])
    """The project, by its short name. A `*` stands for any text."""

    pipeline = sometimes([str])
    """The pipeline. A `*` stands for any text."""

    branch = sometimes([str])
    """The branch. A `*` stands for any text."""

    change = sometimes([int])
    """The number of the change."""

    patchset = sometimes([str])
    """The patchset of the change, or the commit of a pull request."""

    ref = sometimes([str])
    """The git ref."""

    newrev = sometimes([str])
    """The commit that the ref moved to."""

    event_id = sometimes([str])
    """The event that began it, as the scheduler's log names it."""

    result = sometimes([str])
    """How it ended."""

    exclude_result = sometimes([str])
    """How it did not end."""

    complete = sometimes([Flag])
    """Whether it has ended. Before Zuul 4, all that is in the history has."""

    start_time = sometimes(Moment)
    """Only what ended then or later; of a buildset, its last build."""

    end_time = sometimes(Moment)
    """Only what ended then or earlier; of a buildset, its last build."""


class Paged(OfItems):
    """And which rows of those."""

    limit = sometimes(WholeType(0, MAX_LIMIT))
    """How many rows at most; 50, if it is left out."""

    skip = sometimes(WholeType(0, MAX_OFFSET))
    """How many rows to skip. `Link` and `marker` lead further at no cost."""

    offset = sometimes(WholeType(0, MAX_OFFSET))
    """The same as `skip`."""

    marker = sometimes(str)
    """Only rows after the one with this `uuid`, or this `_id`: what never ran has no uuid."""

    idx_min = sometimes(WholeType(0, MAX_ID))
    """Only rows whose `_id` is this or greater."""

    idx_max = sometimes(WholeType(0, MAX_ID))
    """Only rows whose `_id` is this or less."""

    sort_field = sometimes(str)
    """`_id`, or another attribute for which the database has an index; others are refused. Rows without a value come
    last."""

    sort_dir = sometimes(Enum(str, "asc", "desc"))
    """Up or down; down, so the newest first, if it is left out."""

    def _settle(self) -> None:
        if self.skip is not None and self.offset is not None:
            raise BadRequest("skip and offset mean the same; give one of them")
        self.skip = self.offset if self.skip is None else self.skip
        if self.limit is None:
            self.limit = DEFAULT_LIMIT


class BuildQuery(Paged):
    """Which builds."""

    uuid = sometimes([str])
    """The name of the build."""

    job_name = sometimes([str])
    """The job. A `*` stands for any text."""

    voting = sometimes([Flag])
    """Whether its result counted."""

    node_name = sometimes([str])
    """The node that it ran on."""

    held = sometimes([Flag])
    """Whether its nodes are held; before Zuul 4, by one of the holds that there are now."""

    final = sometimes([Flag])
    """Whether no other run of the job came after it for the same buildset. Before Zuul 4, none ever did."""


class BuildsetQuery(Paged):
    """Which buildsets."""

    uuid = sometimes([str])
    """The name of the buildset."""


class StatisticsQuery(OfItems):
    """Of which builds."""

    def _settle(self) -> None:
        if self.start_time is None:
            end = self.end_time or datetime.now(timezone.utc).replace(tzinfo=None)
            self.start_time = max(end, datetime.min + WINDOW) - WINDOW


class BuildTimesQuery(OfItems):
    """Of which builds."""

    job_name = sometimes([str])
    """The job. A `*` stands for any text."""

    final = sometimes([Flag])
    """Whether no other run of the job came after it for the same buildset."""

    limit = sometimes(WholeType(0, MAX_LIMIT))
    """How many rows at most; 50, if it is left out."""

    skip = sometimes(WholeType(0, MAX_OFFSET))
    """How many rows to skip."""

    def _settle(self) -> None:
        if self.limit is None:
            self.limit = DEFAULT_LIMIT
