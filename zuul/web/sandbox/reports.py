# SPDX-License-Identifier: Apache-2.0
"""What Zuul's SQL reporter writes about an item that is through: which value is where, and where there is none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from uuid import NAMESPACE_URL, uuid5

from zuul.web.sandbox.changes import Change
from zuul.web.sandbox.database import Report, ReportedBuild, Row, utc
from zuul.web.sandbox.layout import FrozenJob
from zuul.web.sandbox.queues import Item

MESSAGES = {
    "SUCCESS": "Build succeeded.",
    "FAILURE": "Build failed.",
    "MERGER_FAILURE": "Merge failed.\n\nThe change or one that it depends on has a conflict with its branch. "
    "Rebase it and upload a new patchset.",
}
"""By the result of the buildset."""

NEVER_RAN = ("SKIPPED", "NODE_FAILURE")
"""Results of jobs that no executor has seen. Their builds have no uuid."""
WITHOUT_LOGS = (*NEVER_RAN, "MERGER_FAILURE", "RETRY_LIMIT", "ERROR")
"""Results of builds that ended before anything was uploaded."""


def report_of(tenant: str, item: Item, log_url: str, moment: float) -> Report:
    """The report about an item of the simulation, which is complete.

    :param log_url: where the logs of all builds are, without a slash at the end.
    :param moment: of the report, epoch seconds; also the end of builds that have none.
    """
    result = "SUCCESS" if item.succeeded() else "FAILURE"
    report = Report(
        buildset_row(
            tenant, item.pipeline, item.change, item.zuul_ref, result, MESSAGES[result], event_id=_event_id(item)
        ),
        moment,
    )
    for build in (item.builds[job.name] for job in item.jobs):
        assert build.result
        starts = None if build.uuid is None else build.starts
        report.builds.append(reported_build(build.job, build.uuid, build.result, starts, build.end_time, log_url))
        if build.end_time is None:
            report.builds[-1].row["end_time"] = utc(moment)
    return report


def _event_id(item: Item) -> str:
    """Of what had the item enqueued; the simulation does not number its events."""
    name = f"{item.pipeline} {item.change.project.canonical_name} {item.change.ref} {item.enqueue_time}"
    return uuid5(NAMESPACE_URL, name).hex


def buildset_row(
    tenant: str, pipeline: str, change: Change, zuul_ref: str, result: str, message: str, *, event_id: str | None
) -> Row:
    """A row of `zuul_buildset`. The uuid is that of the ref which mergers make for it."""
    return {
        "zuul_ref": zuul_ref,
        "pipeline": pipeline,
        "project": change.project.name,
        "change": int(change.number) if change.number else None,
        "patchset": change.patchset,
        "ref": change.ref,
        "message": message,
        "tenant": tenant,
        "result": result,
        "ref_url": change.url,
        "oldrev": change.oldrev,
        "newrev": change.newrev,
        "branch": change.branch,
        "uuid": zuul_ref[1:],
        "event_id": event_id,
    }


def reported_build(
    job: FrozenJob,
    uuid: str | None,
    result: str,
    starts: float | None,
    ends: float | None,
    log_url: str,
    *,
    node_name: str | None = None,
    error_detail: str | None = None,
) -> ReportedBuild:
    """A row of `zuul_build`, with artifacts. `noop` needs no executor and has no logs.

    `provides` is what the job promises, so it is there for builds that failed as well.
    """
    logs = None
    if uuid and job.duration_seconds and result not in WITHOUT_LOGS:
        logs = build_log_url(log_url, uuid)
    row = {
        "uuid": uuid,
        "job_name": job.name,
        "result": result,
        "start_time": utc(starts),
        "end_time": utc(ends),
        "voting": job.voting,
        "log_url": logs,
        "node_name": node_name,
        "error_detail": error_detail,
    }
    artifacts = [] if logs is None else list(_artifacts(job, result, logs))
    return ReportedBuild(row, artifacts, job.provides)


def build_log_url(log_url: str, uuid: str) -> str:
    """Where the logs of one build are."""
    return f"{log_url}/{uuid[:2]}/{uuid}/"


def _artifacts(job: FrozenJob, result: str, logs: str) -> Iterator[Row]:
    """What builds of such a job leave behind, by the words in its name. Failed ones have their logs alone."""
    if result == "SUCCESS":
        if "docs" in job.name:
            yield _artifact("Docs preview site", f"{logs}docs/", type="docs_site")
            yield _artifact("Docs archive", f"{logs}docs-html.tar.gz", type="docs_archive")
        if "preview" in job.provides:
            yield _artifact("Site preview", f"{logs}npm/html/", type="site")
        if "image" in job.provides:
            repository = f"example/{job.name}"
            yield _artifact(
                "image",
                f"docker://registry.example.com:5000/{repository}:{logs.split('/')[-2]}",
                type="container_image",
                repository=repository,
                tag="latest",
            )
        if "package" in job.name:
            yield {"name": "Package", "url": "https://packages.example.com/simple/", "metadata": None}
    yield _artifact("Zuul Manifest", f"{logs}zuul-manifest.json", type="zuul_manifest")


def _artifact(name: str, url: str, **metadata: str) -> Row:
    return {"name": name, "url": url, "metadata": json.dumps(metadata)}
