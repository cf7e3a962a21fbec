# SPDX-License-Identifier: Apache-2.0
"""Statuses as they follow each other: those of the sandbox, and those that no Zuul should have but might."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

Json = dict[str, Any]

START = 1_600_000_000.0

NOT_LOADED = {"message": "Tenant example isn't loaded", "code": 204}


def simulated(seed: int, tenant: str = "example", steps: int = 40) -> Iterator[Json]:
    """Of a world that lives, at moments between half a second and an hour apart."""
    now = START
    rng = random.Random(seed)
    scheduler = SandboxScheduler(load(None), seed=seed, clock=lambda: now)
    for _ in range(steps):
        yield json.loads(scheduler.functions["zuul:status_get"]({"tenant": tenant}))
        now += rng.choice([0.5, 1, 1, 1, 5, 20, 90, 600, 4000])


def job(name: str = "unit", **values: Any) -> Json:
    """A job that waits."""
    times = ("elapsed_time", "remaining_time", "execute_time", "start_time", "end_time", "estimated_time")
    others = ("url", "finger_url", "report_url", "result", "uuid", "pipeline", "canceled", "paused", "retry")
    empty = dict.fromkeys((*times, *others, "node_name", "worker"))
    usual = {"name": name, "dependencies": [], "voting": True, "tries": 0, "queued": False, "node_labels": []}
    return {**empty, **usual, **values}


def running(name: str = "unit", uuid: str = "u1", elapsed: float = 0, **values: Any) -> Json:
    """A job whose build runs, for so many seconds already, of 100 that it should take."""
    state = {"uuid": uuid, "start_time": START, "elapsed_time": int(elapsed * 1000), "tries": 1, "queued": True}
    flags = {"canceled": False, "paused": False, "retry": False}
    return job(name, **{**state, **flags, "estimated_time": 100.0, "url": f"stream/{uuid}", **values})


def ended(name: str = "unit", uuid: str = "u1", result: str = "SUCCESS", **values: Any) -> Json:
    """A job whose build has ended after 100 seconds."""
    url = f"https://logs.example.com/{uuid}/"
    return running(name, uuid, 100, **{"result": result, "end_time": START + 100, "report_url": url, **values})


def item(id: str | None = "1,1", jobs: list[Json] | None = None, **values: Any) -> Json:
    number = (id or "0").split(",")[0]
    return {
        "active": True,
        "live": True,
        "url": f"https://review.example.com/{number}",
        "ref": f"refs/changes/{number}" if id else "refs/heads/master",
        "id": id,
        "item_ahead": None,
        "items_behind": [],
        "failing_reasons": [],
        "zuul_ref": "Z1",
        "project": "widget",
        "project_canonical": "review.example.com/widget",
        "enqueue_time": int(START * 1000),
        "jobs": jobs or [],
        "owner": None,
        "remaining_time": None,
        **values,
    }


def pipeline(name: str, *queues: tuple[str, list[Json]]) -> Json:
    shown = [{"name": queue, "heads": [items] if items else [], "window": 20} for queue, items in queues]
    return {"name": name, "description": None, "change_queues": shown}


def status(*pipelines: Json, **values: Any) -> Json:
    return {"zuul_version": "3.19.1", "last_reconfigured": int(START * 1000), "pipelines": list(pipelines), **values}


def gate(*items: Json, **values: Any) -> Json:
    """A status with one queue."""
    return status(pipeline("gate", ("integrated", list(items))), **values)


class Mutations:
    """Random changes of a status, the unlikely ones no less often than the others."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._status = status(pipeline("gate", ("a", []), ("b", [])), pipeline("check"))

    def statuses(self, steps: int) -> Iterator[Json]:
        """Each a copy, several changes after the last."""
        for _ in range(steps):
            yield copy.deepcopy(self._status) if self._rng.random() < 0.97 else dict(NOT_LOADED)
            for _ in range(self._rng.choice([0, 1, 1, 2, 5, 20])):
                self._rng.choice(self._CHANGES)(self)

    def _heads(self) -> list[list[Json]]:
        queues = [queue for one in self._status["pipelines"] for queue in one["change_queues"]]
        return [head for queue in queues for head in queue["heads"]]

    def _items(self) -> list[tuple[list[Json], Json]]:
        return [(head, one) for head in self._heads() for one in head]

    def _pick(self) -> tuple[list[Json], Json] | None:
        found = self._items()
        return self._rng.choice(found) if found else None

    def _queue(self) -> Json | None:
        queues = [queue for one in self._status["pipelines"] for queue in one["change_queues"]]
        return self._rng.choice(queues) if queues else None

    def enqueue(self) -> None:
        queue, rng = self._queue(), self._rng
        if queue is not None:
            new = item(rng.choice([None, "1,1", "2,1", f"{rng.randrange(50)},1"]), self._jobs())
            new["enqueue_time"] += rng.randrange(3)
            new["live"] = rng.random() < 0.8
            if not queue["heads"] or rng.random() < 0.2:
                queue["heads"].append([])
            head = rng.choice(queue["heads"])
            head.insert(rng.randint(0, len(head)), new)

    def _jobs(self) -> list[Json]:
        rng = self._rng
        make = [job, running, ended, lambda name, **_: job(name, result="SKIPPED")]
        names = rng.sample(["unit", "docs", "lint", "integration"], rng.randrange(4))
        return [rng.choice(make)(name, **self._build()) for name in names]

    def _build(self) -> Json:
        return {"uuid": f"u{self._rng.randrange(10**6)}"}

    def leave(self) -> None:
        picked = self._pick()
        if picked:
            picked[0].remove(picked[1])

    def move(self) -> None:
        picked, target = self._pick(), self._queue()
        if picked and target is not None:
            head, one = picked
            head.remove(one)
            to = self._rng.choice([*target["heads"], head])
            to.insert(self._rng.randint(0, len(to)), one)

    def shuffle(self) -> None:
        heads = self._heads()
        if heads:
            self._rng.shuffle(self._rng.choice(heads))

    def touch_item(self) -> None:
        picked, rng = self._pick(), self._rng
        if picked:
            values = {"active": [True, False], "item_ahead": [None, "1,1"], "zuul_ref": [None, "Z1", "Z2"]}
            values |= {"failing_reasons": [[], ["at least one job failed"]], "url": [None, "https://example.com"]}
            name = rng.choice([*values, "enqueue_time", "jobs"])
            if name in values:
                picked[1][name] = rng.choice(values[name])
            else:
                picked[1][name] = self._jobs() if name == "jobs" else rng.randrange(5)

    def touch_job(self) -> None:
        picked, rng = self._pick(), self._rng
        if picked and picked[1].get("jobs"):
            jobs = picked[1]["jobs"]
            n = rng.randrange(len(jobs))
            name = jobs[n].get("name", "nameless")
            changes: list[Callable[[], Json]] = [
                lambda: job(name, queued=True),
                lambda: running(name, **self._build()),
                lambda: ended(name, **self._build()),
                lambda: {**jobs[n], "result": rng.choice([None, "SUCCESS", "FAILURE"])},
                lambda: {**jobs[n], "elapsed_time": rng.randrange(120_000)},
                lambda: {**jobs[n], "paused": rng.choice([True, False, None])},
                lambda: {**jobs[n], "estimated_time": rng.choice([None, 0, 50.0])},
                lambda: {**jobs[n], "url": rng.choice([None, name, "stream/x"])},
            ]
            jobs[n] = rng.choice(changes)()

    def spoil(self) -> None:
        """Something is missing, or of another type."""
        picked, rng = self._pick(), self._rng
        if picked:
            spoilt = rng.choice([picked[1], *[job for job in picked[1].get("jobs") or [] if isinstance(job, dict)]])
            name = rng.choice([*spoilt])
            if name == "jobs" or rng.random() < 0.5:
                del spoilt[name]
            else:
                spoilt[name] = rng.choice([None, True, -1, "text", 1.5])
            if not spoilt:
                spoilt["id"] = None

    def duplicate(self) -> None:
        picked, target = self._pick(), self._queue()
        if picked and target is not None:
            target["heads"].append([copy.deepcopy(picked[1])])

    def add_pipeline(self) -> None:
        rng = self._rng
        queues = [(rng.choice("abc"), []) for _ in range(rng.randrange(3))]
        self._status["pipelines"].append(pipeline(rng.choice(["gate", "check", "post", "promote"]), *queues))

    def remove_pipeline(self) -> None:
        if len(self._status["pipelines"]) > 1:
            self._status["pipelines"].pop(self._rng.randrange(len(self._status["pipelines"])))

    def reconfigure(self) -> None:
        self._status["last_reconfigured"] = self._rng.choice([None, self._rng.randrange(10**6)])

    _CHANGES = (*(enqueue, leave, move, touch_item) * 2, *(touch_job,) * 4, shuffle, spoil, duplicate, add_pipeline)
    _CHANGES += (remove_pipeline, reconfigure)
