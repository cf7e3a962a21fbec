# SPDX-License-Identifier: Apache-2.0
"""How a job has done over a while."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class Durations(Resource):
    """How long builds took, in seconds. All but `count` are null where there are no builds to tell it of."""

    count = always(int)
    """Of how many builds."""

    shortest = always(float, null=True)
    """Of the fastest."""

    mean = always(float, null=True)
    """On average."""

    p50 = always(float, null=True)
    """Half of them took this or less."""

    p75 = always(float, null=True)
    """Three of four took this or less."""

    p90 = always(float, null=True)
    """Nine of ten took this or less."""

    p95 = always(float, null=True)
    """95 of 100 took this or less."""

    p99 = always(float, null=True)
    """99 of 100 took this or less."""

    longest = always(float, null=True)
    """Of the slowest."""

    @classmethod
    def sample(cls) -> Durations:
        return cls(count=181, shortest=212.0, mean=318.2, p50=305.0, p75=340.5, p90=395.0, p95=431.0, p99=560.2,
                   longest=612.0)  # fmt: skip


class JobStatistics(Resource):
    """How a job has done over a while, by its newest builds."""

    job_name = always(str)
    """The job."""

    builds = always(int)
    """How many builds this tells of; 10000 at most, the newest."""

    complete = always(bool)
    """Whether these are all that were asked for."""

    results = always({str: int})
    """How many builds ended in each way."""

    success_rate = always(float, null=True)
    """The part that succeeded, from 0 to 1, of those that were neither skipped nor canceled; null if there are none."""

    durations = always(Durations)
    """Of those that succeeded."""

    @classmethod
    def sample(cls) -> JobStatistics:
        return cls(
            job_name="tox-py38",
            builds=200,
            complete=True,
            results={"FAILURE": 15, "SKIPPED": 4, "SUCCESS": 181},
            success_rate=0.9235,
            durations=Durations.sample(),
        )
