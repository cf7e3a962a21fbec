# SPDX-License-Identifier: Apache-2.0
"""Buildsets: the builds that were reported together for one item, and what came of them.

As with builds, /api has the keys and times of zuul-web 3.19.1, and /v1 (`...Detail`) more.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from zuul.web.resources.base import Resource, Time, always, sometimes
from zuul.web.resources.builds import BuildResult

AnyBuildset = TypeVar("AnyBuildset", bound="Buildset")


class Buildset(Resource):
    """What came of one item of a pipeline."""

    _key = "uuid"

    id = always(int, name="_id")
    """Its number in the database; buildsets that were reported later have greater ones."""

    uuid = always(str, null=True)
    """The name of the buildset, all over Zuul."""

    result = always(str, null=True)
    """`SUCCESS`, `FAILURE`, `MERGER_FAILURE`, `DEQUEUED` ..."""

    message = always(str, null=True)
    """What the scheduler reported, without the list of builds."""

    project = always(str, null=True)
    """The project, by its short name."""

    branch = always(str, null=True)
    """The branch of the change, or the branch that the ref is; empty for a tag."""

    pipeline = always(str, null=True)
    """The pipeline that it ran in."""

    change = always(int, null=True)
    """The number of the change; null for a ref."""

    patchset = always(str, null=True)
    """The patchset of the change, or the commit of a pull request."""

    ref = always(str, null=True)
    """The git ref of the change, branch or tag."""

    newrev = always(str, null=True)
    """The commit that the ref moved to; null or empty for a change."""

    ref_url = always(str, null=True)
    """The page of the change or commit."""

    event_id = always(str, null=True)
    """Names the event that began it in the scheduler's log."""

    @classmethod
    def _sample(cls: type[AnyBuildset], **more: Any) -> AnyBuildset:
        return cls(
            id=815,
            uuid="6e1c7a1f2d3b4c5d8e9fa0b1c2d3e4f5",
            result="SUCCESS",
            message="Build succeeded.",
            project="org/nested",
            branch="master",
            pipeline="gate",
            change=42,
            patchset="1",
            ref="refs/changes/42/42/1",
            newrev=None,
            ref_url="https://review.example.com/42",
            event_id="5a0c5f6ad1df4d6c9c6f3a2b5d6e7f80",
            **more,
        )

    @classmethod
    def sample(cls: type[AnyBuildset]) -> AnyBuildset:
        return cls._sample()


class BuildsetDetail(Buildset):
    """What came of one item of a pipeline."""

    first_build_start_time = sometimes(Time, null=True)
    """When the first of its builds began; null: none did. In lists from Zuul 4 on."""

    last_build_end_time = sometimes(Time, null=True)
    """When the last of its builds ended. In lists from Zuul 4 on."""

    @classmethod
    def _sample(cls: type[AnyBuildset], **more: Any) -> AnyBuildset:
        times = {
            "first_build_start_time": datetime(2020, 9, 13, 12, 26, 43),
            "last_build_end_time": datetime(2020, 9, 13, 12, 31, 43),
        }
        return super()._sample(**times, **more)


class BuildsetWithBuilds(Buildset):
    """What came of one item of a pipeline, with its builds."""

    builds = sometimes([BuildResult])
    """Its builds; left out where it has none."""

    @classmethod
    def _sample(cls: type[AnyBuildset], **more: Any) -> AnyBuildset:
        return super()._sample(builds=[BuildResult.sample()], **more)


class BuildResultDetail(BuildResult):
    """What came out of one run of a job."""

    start_time = always(Time, null=True)
    """When it began on a node; null: it never did."""

    end_time = always(Time, null=True)
    """When it ended."""

    final = sometimes(bool, null=True)
    """Whether no other run of the job came after it for the same buildset. From Zuul 4 on; before, all were."""

    held = sometimes(bool, null=True)
    """Whether its nodes were held. From Zuul 4 on."""

    nodeset = sometimes(str, null=True)
    """The nodeset that it ran on. From Zuul 4 on."""


class BuildsetWithBuildsDetail(BuildsetDetail):
    """What came of one item of a pipeline, with its builds."""

    builds = always([BuildResultDetail])
    """Its builds."""

    @classmethod
    def _sample(cls: type[AnyBuildset], **more: Any) -> AnyBuildset:
        return super()._sample(builds=[BuildResultDetail.sample()], **more)
