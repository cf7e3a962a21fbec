# SPDX-License-Identifier: Apache-2.0
"""One look at a tenant: a status with its items by name, and its items and builds as messages show them.

A status is somebody else's: what is missing in it, or of another type than it should be, is left out or made the
least that a message may say, so that what clients get is always what `resources/events.py` declares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property
from math import isfinite
from typing import Any

Json = dict[str, Any]
QueueName = tuple[str, str]
"""Pipeline and queue. Where queues of a pipeline share a name, as those of one project in `check` do, they are one."""


class Place:
    """An item of a status, and where it stands. Never changes."""

    def __init__(self, key: str, queue: QueueName, item: Json) -> None:
        self.key = key
        self.queue = queue
        self._item = item

    @cached_property
    def jobs(self) -> dict[str, Json]:
        """As in the status, by name."""
        return {job["name"]: job for job in _objects(self._item, "jobs") if isinstance(job.get("name"), str)}

    @cached_property
    def name(self) -> Json:
        """An EventItemName."""
        return {
            "key": self.key,
            "pipeline": self.queue[0],
            "queue": self.queue[1],
            "id": _text(self._item, "id"),
            "ref": _text(self._item, "ref"),
            "project_canonical": _text(self._item, "project_canonical") or "",
            "enqueue_time": _whole(self._item, "enqueue_time") or 0,
        }

    @cached_property
    def shown(self) -> Json:
        """An EventItem, but for position and builds."""
        item = self._item
        reasons = item.get("failing_reasons")
        return {
            "project": _text(item, "project") or "",
            "url": _text(item, "url"),
            "live": not is_(item, "live", False),
            "active": not is_(item, "active", False),
            "item_ahead": _text(item, "item_ahead"),
            "zuul_ref": _text(item, "zuul_ref"),
            "failing_reasons": [why for why in reasons if isinstance(why, str)] if isinstance(reasons, list) else [],
        }

    def event_item(self, position: int, *, builds: bool) -> Json:
        """An EventItem."""
        shown = {**self.name, "position": position, **self.shown}
        if builds:
            shown["builds"] = [event_build(job) for job in self.jobs.values()]
        return shown


class Look:
    """All of a status that events tell of. Never changes.

    :param document: what the scheduler said, which is kept and must not be changed. One without pipelines, as of a
        tenant that is not loaded yet, is a tenant with nothing in it.
    """

    def __init__(self, document: object) -> None:
        self.pipelines: list[str] = []
        self.places: dict[str, Place] = {}
        """By key, in the order of the status."""
        self.queues: dict[QueueName, list[str]] = {}
        """The keys of the items in each, in order."""
        status = document if isinstance(document, dict) else {}
        self.last_reconfigured = status.get("last_reconfigured")
        for pipeline in _objects(status, "pipelines"):
            name = _text(pipeline, "name") or ""
            if name not in self.pipelines:
                self.pipelines.append(name)
            for queue in _objects(pipeline, "change_queues"):
                self._add((name, _text(queue, "name") or ""), queue)

    def _add(self, name: QueueName, queue: Json) -> None:
        keys = self.queues.setdefault(name, [])
        heads = queue.get("heads")
        for head in heads if isinstance(heads, list) else ():
            for item in head if isinstance(head, list) else ():
                if isinstance(item, dict):
                    key = self._key(name[0], item)
                    self.places[key] = Place(key, name, item)
                    keys.append(key)

    def _key(self, pipeline: str, item: Json) -> str:
        """Names an item the same way in each status that has it.

        Items are told apart by all of this, as ids may be null and the same change may stand in many queues. Zuul
        keeps the time of enqueuing through reconfigurations and promotions. Those that nothing tells apart are
        dependencies, enqueued for two items in the same millisecond, and are counted.
        """
        identity = [pipeline, *(item.get(name) for name in ("project_canonical", "ref", "id", "enqueue_time", "live"))]
        text = repr(identity).encode()
        n = 0
        while True:
            key = hashlib.blake2b(text + b"%d" % n, digest_size=8).hexdigest()
            if key not in self.places:
                return key
            n += 1

    def placed(self) -> Iterator[tuple[int, Place]]:
        """All items with their positions, pipeline by pipeline, queue by queue."""
        for keys in self.queues.values():
            for position, key in enumerate(keys):
                yield position, self.places[key]


def event_build(job: Json) -> Json:
    """An EventBuild, of a job in a status."""
    name = job["name"]
    result = _text(job, "result")
    shown: Json = {
        "job_name": name,
        "uuid": _text(job, "uuid"),
        "result": result,
        "voting": not is_(job, "voting", False),
        "queued": is_(job, "queued", True),
        "tries": _whole(job, "tries") or 0,
    }
    for time in ("start_time", "end_time", "estimated_time"):
        value = _number(job, time)
        if value is not None:
            shown[time] = value
    if "start_time" in shown:
        shown["elapsed_time"] = elapsed_time(job)
        if result is None:
            percent = percent_of(job)
            if percent is not None:
                shown["percent"] = percent
            shown["paused"] = is_(job, "paused", True)
    for flag in ("retry", "canceled"):
        if is_(job, flag, True):
            shown[flag] = True
    # Without an address Zuul gives the job's name as that of the result, or again that of the console.
    url = _text(job, "url" if result is None else "report_url")
    if url and url != name:
        shown["url"] = url
    return shown


def event_build_progress(job: Json) -> Json:
    """An EventBuildProgress, of a job in a status whose build runs."""
    progress = {"job_name": job["name"], "uuid": _text(job, "uuid"), "elapsed_time": elapsed_time(job)}
    percent = percent_of(job)
    if percent is not None:
        progress["percent"] = percent
    return {**progress, "paused": is_(job, "paused", True)}


def start_time(job: Json) -> float | None:
    return _number(job, "start_time")


def elapsed_time(job: Json) -> int:
    return max(0, _whole(job, "elapsed_time") or 0)


def percent_of(job: Json) -> int | None:
    """Whole percents of the estimate; None without one. Asked of thousands at each look."""
    try:
        percent = int(job["elapsed_time"] / job["estimated_time"] / 10)
    except (KeyError, TypeError, ValueError, ArithmeticError):
        estimated = job.get("estimated_time")
        return 0 if isinstance(estimated, (int, float)) and estimated else None
    return percent if 0 <= percent <= 100 else 100 if percent > 0 else 0


def runs(build: Json) -> bool:
    """Whether an EventBuild has started and not ended."""
    return "start_time" in build and build["result"] is None


def is_(holder: Json, name: str, value: bool) -> bool:
    """By equality: 0 is False as well, since what is equal in two statuses must be shown the same."""
    found: object = holder.get(name)
    return found == value


def _objects(holder: Json, name: str) -> Iterator[Json]:
    values = holder.get(name)
    return (value for value in values if isinstance(value, dict)) if isinstance(values, list) else iter(())


def _text(holder: Json, name: str) -> str | None:
    value = holder.get(name)
    return value if isinstance(value, str) else None


def _number(holder: Json, name: str) -> float | None:
    value = holder.get(name)
    return value + 0 if isinstance(value, (int, float)) and isfinite(value) else None


def _whole(holder: Json, name: str) -> int | None:
    value = _number(holder, name)
    return None if value is None else int(value)
