# SPDX-License-Identifier: Apache-2.0
"""Builds: what ran, from the database that the scheduler's SQL reporter writes.

Below /api they have the keys and times of zuul-web 3.19.1, with `_id` added. Below /v1 (`...Detail`) times say that
they are UTC, and there is more of what later releases write down.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

from zuul.web.resources.base import JsonObject, NaiveTime, Resource, Time, always, sometimes

AnyResult = TypeVar("AnyResult", bound="BuildResult")


class Artifact(Resource):
    """Something that a build left behind."""

    name = always(str, null=True)
    """What it is, as the job calls it."""

    url = always(str, null=True)
    """Where it is."""

    metadata = sometimes(JsonObject)
    """What the job says of it, for instance its `type`."""

    @classmethod
    def sample(cls) -> Artifact:
        return cls(
            name="Zuul Manifest",
            url="https://logs.example.com/c9b1d3d1/zuul-manifest.json",
            metadata={"type": "zuul_manifest"},
        )


class Provides(Resource):
    """Something that a build made for builds of other changes."""

    name = always(str, null=True)
    """What jobs that need it name in `requires`."""

    @classmethod
    def sample(cls) -> Provides:
        return cls(name="container-image")


class BuildsetOfBuild(Resource):
    """The buildset that a build belongs to."""

    uuid = always(str, null=True)
    """Its uuid."""

    @classmethod
    def sample(cls) -> BuildsetOfBuild:
        return cls(uuid="6e1c7a1f2d3b4c5d8e9fa0b1c2d3e4f5")


class BuildResult(Resource):
    """What came out of one run of a job."""

    _key = "uuid"

    id = always(int, name="_id")
    """Its number in the database; builds that were reported later have greater ones."""

    uuid = always(str, null=True)
    """The name of the build, all over Zuul."""

    job_name = always(str, null=True)
    """The job that ran."""

    result = always(str, null=True)
    """How it ended: `SUCCESS`, `FAILURE`, `TIMED_OUT`, `POST_FAILURE`, `RETRY_LIMIT`, `SKIPPED`, `NODE_FAILURE` ... or
    a word of the job's own."""

    start_time = always(NaiveTime, null=True)
    """When it began on a node, in UTC; null: it never did."""

    end_time = always(NaiveTime, null=True)
    """When it ended, in UTC."""

    duration = always(float, null=True)
    """Seconds from one to the other; null where it never began."""

    voting = always(bool, null=True)
    """Whether its result counted for the change."""

    log_url = always(str, null=True)
    """The directory of its logs; null: there are none."""

    node_name = always(str, null=True)
    """The node that it ran on, if it ran on one alone."""

    error_detail = always(str, null=True)
    """What went wrong with the executor or the job's playbooks."""

    artifacts = always([Artifact])
    """What it left behind."""

    provides = always([Provides])
    """What it made for builds of other changes."""

    @classmethod
    def _sample(cls: type[AnyResult], **more: Any) -> AnyResult:
        return cls(
            id=4711,
            uuid="c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11",
            job_name="tox-py38",
            result="SUCCESS",
            start_time=datetime(2020, 9, 13, 12, 26, 43),
            end_time=datetime(2020, 9, 13, 12, 31, 43),
            duration=300.0,
            voting=True,
            log_url="https://logs.example.com/c9b1d3d1/",
            node_name=None,
            error_detail=None,
            artifacts=[Artifact.sample()],
            provides=[Provides.sample()],
            **more,
        )

    @classmethod
    def sample(cls: type[AnyResult]) -> AnyResult:
        return cls._sample()


class Build(BuildResult):
    """One run of a job, and what it ran for."""

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

    buildset = always(BuildsetOfBuild)
    """The builds that were reported together."""

    @classmethod
    def _sample(cls: type[AnyResult], **more: Any) -> AnyResult:
        of_change = {
            "project": "org/nested",
            "branch": "master",
            "pipeline": "gate",
            "change": 42,
            "patchset": "1",
            "ref": "refs/changes/42/42/1",
            "newrev": None,
            "ref_url": "https://review.example.com/42",
            "event_id": "5a0c5f6ad1df4d6c9c6f3a2b5d6e7f80",
            "buildset": BuildsetOfBuild.sample(),
        }
        return super()._sample(**of_change, **more)


class BuildDetail(Build):
    """One run of a job, and what it ran for."""

    start_time = always(Time, null=True)
    """When it began on a node; null: it never did."""

    end_time = always(Time, null=True)
    """When it ended."""

    final = sometimes(bool, null=True)
    """Whether no other run of the job came after it for the same buildset. From Zuul 4 on; before, all were."""

    held = sometimes(bool, null=True)
    """Whether its nodes were held. From Zuul 4 on; `held=true` finds them before, too."""

    nodeset = sometimes(str, null=True)
    """The nodeset that it ran on. From Zuul 4 on."""


class BuildTime(Resource):
    """How long a build took, in few words."""

    _key = "uuid"

    id = always(int, name="_id")
    """Its number in the database."""

    uuid = always(str, null=True)
    """The name of the build."""

    job_name = always(str, null=True)
    """The job that ran."""

    result = always(str, null=True)
    """How it ended."""

    start_time = always(NaiveTime, null=True)
    """When it began, in UTC; null: it never did."""

    end_time = always(NaiveTime, null=True)
    """When it ended, in UTC."""

    duration = always(float, null=True)
    """Seconds from one to the other."""

    final = always(bool, null=True)
    """Whether no other run of the job came after it for the same buildset."""

    project = always(str, null=True)
    """The project that it ran for."""

    branch = always(str, null=True)
    """The branch of the change."""

    pipeline = always(str, null=True)
    """The pipeline that it ran in."""

    ref = always(str, null=True)
    """The git ref of the change, branch or tag."""

    @classmethod
    def sample(cls) -> BuildTime:
        build = Build.sample()
        names = ("id", "uuid", "job_name", "result", "start_time", "end_time", "duration", "project", "branch",
                 "pipeline", "ref")  # fmt: skip
        return cls(final=True, **{name: getattr(build, name) for name in names})


class BuildTimeDetail(BuildTime):
    """How long a build took, in few words."""

    start_time = always(Time, null=True)
    """When it began; null: it never did."""

    end_time = always(Time, null=True)
    """When it ended."""
