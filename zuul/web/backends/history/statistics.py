# SPDX-License-Identifier: Apache-2.0
"""How a job has done over a while, from its newest builds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zuul.web.resources.job_statistics import Durations, JobStatistics

MOST_BUILDS = 10_000
"""How many builds are looked at."""
PERCENTILES = (50, 75, 90, 95, 99)
SUCCESS = "SUCCESS"
UNDECIDED = frozenset({"SKIPPED", "CANCELED", "ABORTED", None})
"""Results that say nothing of the job."""


def statistics_of(job: str, rows: Sequence[tuple[str | None, float | None]]) -> JobStatistics:
    """Of result and seconds of builds, the newest first; one more than `MOST_BUILDS` says that there are others."""
    complete = len(rows) <= MOST_BUILDS
    rows = rows[:MOST_BUILDS]
    results = Counter(result for result, _ in rows)
    decided = sum(count for result, count in results.items() if result not in UNDECIDED)
    seconds = sorted(duration for result, duration in rows if result == SUCCESS and duration is not None)
    durations = Durations(count=len(seconds), shortest=None, mean=None, longest=None)
    if seconds:
        durations.shortest, durations.longest = seconds[0], seconds[-1]
        durations.mean = round(sum(seconds) / len(seconds), 3)
    for percent in PERCENTILES:
        setattr(durations, f"p{percent}", round(percentile(seconds, percent), 3) if seconds else None)
    return JobStatistics(
        job_name=job,
        builds=len(rows),
        complete=complete,
        results={result: count for result, count in sorted(results.items(), key=str) if result is not None},
        success_rate=round(results[SUCCESS] / decided, 4) if decided else None,
        durations=durations,
    )


def percentile(ordered: Sequence[float], percent: float) -> float:
    """By linear interpolation between the two nearest, as PostgreSQL's `percentile_cont`."""
    at = (len(ordered) - 1) * percent / 100
    below = int(at)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (at - below)
