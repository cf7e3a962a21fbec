# SPDX-License-Identifier: Apache-2.0
"""What happened between two looks at a tenant, as messages; and the state that they start from.

The rule that all of this keeps: a client that applies the messages to the state of the earlier look, one after the
other, has the state of the later one, but for the `elapsed_time` of running builds, which goes on without messages.
To apply a message is

    item_enqueued, item_moved, item_changed   take the item out, if it is there, and put it into its pipeline and
                                              queue at `position`; its builds are `builds`, else those it had
    item_left                                 take it out
    build_started, build_finished             put the build in the place of the one with its `job_name`
    build_progressed                          put its values in the place of those of that one
    pipeline_reconfigured                     add or remove the pipeline

Messages here are members of `resources/events.py` without `id` and `time`, which the feed knows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from operator import itemgetter

from zuul.web.streaming.looks import (
    Json,
    Look,
    Place,
    QueueName,
    elapsed_time,
    event_build,
    event_build_progress,
    is_,
    percent_of,
    runs,
    start_time,
)

UNESTIMATED_MILLISECONDS = 10_000
"""A build without an estimate is heard of in steps of this."""

STEADY = (
    *("uuid", "result", "start_time", "end_time", "estimated_time"),
    *("voting", "queued", "tries", "retry", "canceled", "url"),
)
"""What stays as it is in a job of a status while its build runs, of all that an EventBuild is made of."""

_steady = itemgetter(*STEADY)


def state(look: Look) -> Json:
    """All that is there."""
    items = [place.event_item(position, builds=True) for position, place in look.placed()]
    return {"type": "state", "pipelines": look.pipelines, "items": items}


def differences(before: Look, after: Look) -> list[Json]:
    """What happened: pipelines that came, items that left, those that came or changed, pipelines that went.

    The messages about one item are together: builds that are gone, the item itself, its other builds.
    """
    messages = list(_reconfigured(before, after))
    for key, place in before.places.items():
        if key not in after.places:
            messages += [_about("build_finished", place, build) for build in _running(place)]
            messages.append({"type": "item_left", "item": place.name})
    messages += _items(before, after)
    removed = (name for name in before.pipelines if name not in after.pipelines)
    return messages + [_pipeline(name, "removed") for name in removed]


def _reconfigured(before: Look, after: Look) -> Iterator[Json]:
    anew = before.last_reconfigured != after.last_reconfigured
    for name in after.pipelines:
        if name not in before.pipelines:
            yield _pipeline(name, "added")
        elif anew:
            yield _pipeline(name, "reloaded")


def _items(before: Look, after: Look) -> Iterator[Json]:
    """Of the items that are there now, in the order in which they stand."""
    board = _Board(before, after)
    for queue, keys in after.queues.items():
        misplaced = board.misplaced(queue)
        for index, key in enumerate(keys):
            earlier, place = before.places.get(key), after.places[key]
            ahead = keys[index - 1] if index else None
            if earlier is None:
                gone, going_on, _ = _builds({}, place.jobs)
                item = place.event_item(board.put(queue, key, ahead), builds=True)
                yield {"type": "item_enqueued", "item": item}
            else:
                gone, going_on, unsaid = _builds(earlier.jobs, place.jobs)
                yield from (_about("build_finished", place, build) for build in gone)
                if key in misplaced:
                    yield {"type": "item_moved", "item": place.event_item(board.put(queue, key, ahead), builds=unsaid)}
                elif unsaid or earlier.shown != place.shown:
                    where = ("item_ahead", "active")
                    moved = any(earlier.shown[name] != place.shown[name] for name in where)
                    item = place.event_item(board.position(queue, key), builds=unsaid)
                    yield {"type": "item_moved" if moved else "item_changed", "item": item}
            yield from (_about(type_, place, build) for type_, build in going_on)


def _builds(before: dict[str, Json], after: dict[str, Json]) -> tuple[list[Json], list[tuple[str, Json]], bool]:
    """What happened to the builds of an item.

    :returns: those that ran and are gone; type and build of each message about those that are there; and whether
        there is more than these say, so that the item has to be sent with all of its builds.
    """
    gone: list[Json] = []
    going_on: list[tuple[str, Json]] = []
    unsaid = before.keys() != after.keys() or list(before) != list(after)
    if unsaid:
        lost = (event_build(job) for name, job in before.items() if name not in after)
        gone += filter(runs, lost)
    for name, job in after.items():
        earlier_job = before.get(name)
        if earlier_job is not None and _goes_on(earlier_job, job):
            if _came_on(earlier_job, job) and start_time(job) is not None:
                going_on.append(("build_progressed", event_build_progress(job)))
            continue
        if earlier_job == job:
            continue
        build = event_build(job)
        earlier = event_build(earlier_job) if earlier_job else None
        same = earlier is not None and earlier["uuid"] == build["uuid"]
        if earlier and not same and runs(earlier):
            gone.append(earlier)
        if runs(build) and not (earlier and same and runs(earlier)):
            going_on.append(("build_started", build))
        elif build["result"] is not None and not (earlier and same and earlier["result"] is not None):
            going_on.append(("build_finished", build))
        elif earlier != build:
            unsaid = True
    return gone, going_on, unsaid


def _goes_on(earlier: Json, job: Json) -> bool:
    """Whether it is the same build as before, running before and now. Asked of thousands at each look."""
    try:
        same = _steady(earlier) == _steady(job)
    except KeyError:
        same = all(earlier.get(name) == job.get(name) for name in STEADY)
    return same and job.get("result") is None and job.get("start_time") is not None


def _came_on(earlier: Json, job: Json) -> bool:
    """Whether a running build is to be heard of."""
    if is_(earlier, "paused", True) != is_(job, "paused", True):
        return True
    percent = percent_of(job)
    if percent is not None:
        return percent != percent_of(earlier)
    return elapsed_time(earlier) // UNESTIMATED_MILLISECONDS != elapsed_time(job) // UNESTIMATED_MILLISECONDS


def _running(place: Place) -> list[Json]:
    return [build for build in map(event_build, place.jobs.values()) if runs(build)]


def _about(type_: str, place: Place, build: Json) -> Json:
    item = {"key": place.key} if type_ == "build_progressed" else place.name  # most messages are of that type
    return {"type": type_, "item": item, "build": build}


def _pipeline(name: str, change: str) -> Json:
    return {"type": "pipeline_reconfigured", "pipeline": name, "change": change}


class _Board:
    """The queues as a client has them while it applies one message after the other.

    Needed as an item may leave a queue for another that comes later, so that what stands behind it is not yet where
    it will be.
    """

    def __init__(self, before: Look, after: Look) -> None:
        self._before = before
        self._after = after
        self._shown = {name: [k for k in keys if k in after.places] for name, keys in before.queues.items()}

    def misplaced(self, queue: QueueName) -> set[str]:
        """What has to be put into a queue to make it what it is: the fewest that will do."""
        keys = self._after.queues[queue]
        shown = self._shown.setdefault(queue, [])
        if shown == keys:
            return set()
        was_at = {key: index for index, key in enumerate(shown)}
        stayed = [key for key in keys if key in was_at]
        in_order = _longest_ascent([was_at[key] for key in stayed])
        return set(keys) - {shown[index] for index in in_order}

    def put(self, queue: QueueName, key: str, ahead: str | None) -> int:
        """Take an item out of where it is and put it behind another one of this queue. Its position there."""
        earlier = self._before.places.get(key)
        if earlier is not None:
            self._shown[earlier.queue].remove(key)
        shown = self._shown[queue]
        position = 0 if ahead is None else shown.index(ahead) + 1
        shown.insert(position, key)
        return position

    def position(self, queue: QueueName, key: str) -> int:
        return self._shown[queue].index(key)


def _longest_ascent(numbers: list[int]) -> list[int]:
    """The longest ascending selection of different numbers."""
    ends: list[int] = []
    """The least number that a selection of length 1, 2 ... can end in."""
    lengths = []
    for number in numbers:
        length = bisect_left(ends, number)
        ends[length : length + 1] = [number]
        lengths.append(length)
    selection: list[int] = []
    wanted = len(ends) - 1
    for number, length in zip(reversed(numbers), reversed(lengths), strict=True):
        if length == wanted:
            selection.append(number)
            wanted -= 1
    return selection
