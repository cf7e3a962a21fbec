# SPDX-License-Identifier: Apache-2.0
"""What happens in the pipelines of a tenant: the messages of its events, which come of successive statuses.

Thousands may listen, so a message says what a live dashboard needs and no more. What has no value yet is mostly left
out. Units are those of the status: milliseconds for items and durations, seconds for the times of builds.
"""

from __future__ import annotations

from wsme.types import Enum

from zuul.web.resources.base import Resource, always, sometimes

TYPES = (
    "state",
    "item_enqueued",
    "item_moved",
    "item_changed",
    "item_left",
    "build_started",
    "build_progressed",
    "build_finished",
    "pipeline_reconfigured",
    "restart",
)


class EventBuild(Resource):
    """A job of an item and, once there is one, its latest build."""

    job_name = always(str)
    """Of the job; no two builds of an item share one."""

    uuid = always(str, null=True)
    """Of the build; null until there is one, and for a skipped one."""

    result = always(str, null=True)
    """SUCCESS, FAILURE, SKIPPED and so on; null: not ended."""

    voting = always(bool)
    """Whether its result counts for the item."""

    queued = always(bool)
    """Whether nodes have been asked for, also after they came."""

    tries = always(int)
    """How often it has been tried, this build included."""

    start_time = sometimes(float)
    """Epoch seconds of the moment when an executor took it."""

    end_time = sometimes(float)
    """Epoch seconds."""

    estimated_time = sometimes(float)
    """Seconds that earlier builds took; left out: unknown."""

    elapsed_time = sometimes(int)
    """Milliseconds since the build started, as of this message, or that it took."""

    percent = sometimes(int)
    """Whole percents of the estimate that have elapsed, 100 at most; only while it runs, and there is an estimate."""

    paused = sometimes(bool)
    """Whether it waits for the jobs that depend on it to end; only while it runs."""

    retry = sometimes(bool)
    """There, and true, if it will be tried anew."""

    canceled = sometimes(bool)
    """There, and true, if it was stopped before its end."""

    url = sometimes(str)
    """Of its result once it has ended; before, of the page that streams its console, relative to the tenant's."""

    @classmethod
    def sample(cls) -> EventBuild:
        return cls(
            job_name="unit",
            uuid="c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11",
            result=None,
            voting=True,
            queued=True,
            tries=1,
            start_time=1600000003.5,
            estimated_time=120.0,
            elapsed_time=61000,
            percent=50,
            paused=False,
            url="stream/c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11?logfile=console.log",
        )


class EventBuildProgress(Resource):
    """How far a running build has come: these values in place of those that were known. The others are as they were."""

    job_name = always(str)
    """Of the job; no two builds of an item share one."""

    uuid = always(str, null=True)
    """Of the build."""

    elapsed_time = always(int)
    """Milliseconds since it started."""

    percent = sometimes(int)
    """Whole percents of the estimate that have elapsed, 100 at most; left out without an estimate."""

    paused = always(bool)
    """Whether it waits for the jobs that depend on it to end."""

    @classmethod
    def sample(cls) -> EventBuildProgress:
        return cls(
            job_name="unit", uuid="c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11", elapsed_time=61000, percent=50, paused=False
        )


class EventItemKey(Resource):
    """Which item it is, where it has been told already what that is."""

    key = always(str)
    """Names the item among all of the tenant's for as long as it is in its pipeline. A change that is enqueued again
    is another item, and so is each place where it stands as a dependency."""

    @classmethod
    def sample(cls) -> EventItemKey:
        return cls(key=_ITEM_NAME["key"])


class EventItemName(EventItemKey):
    """Which item it is."""

    pipeline = always(str)
    """The name of the pipeline that it is in."""

    queue = always(str)
    """The change queue: as configured, or the first of its projects where it is shared by none."""

    id = always(str, null=True)
    """NUMBER,PATCHSET of a change; the new revision of a ref, null where there is none."""

    ref = always(str, null=True)
    """The ref of the change or branch in its repository; null where there is none."""

    project_canonical = always(str)
    """The project with its host in front; `Unknown Project` where Zuul knows no project of a dependency."""

    enqueue_time = always(int)
    """Epoch milliseconds."""

    @classmethod
    def sample(cls) -> EventItemName:
        return cls(**_ITEM_NAME)


class EventItem(EventItemName):
    """An item as it is now."""

    position = always(int)
    """Where it stands in its queue, from 0, items that are not live included: take it out of where it was and put it
    here. Those behind shift without messages. Queues of a pipeline with the same name count as one."""

    project = always(str)
    """The project without its host."""

    url = always(str, null=True)
    """The change's or ref's web page."""

    live = always(bool)
    """Whether it is there for its own sake; otherwise only as another item needs it, and has no jobs."""

    active = always(bool)
    """Whether it is inside the window of its queue, so that its jobs may run."""

    item_ahead = always(str, null=True)
    """The id of the item that it is tested on top of; null: the branch itself."""

    zuul_ref = always(str, null=True)
    """Names the speculative merge; null until it has been asked for. Another one: it is tested anew."""

    failing_reasons = always([str])
    """For people to read; empty while nothing has failed."""

    builds = sometimes([EventBuild])
    """One for each job, in the order of the status, in place of all that were known. Left out where they are as they
    were, but for what messages about builds say."""

    @classmethod
    def sample(cls) -> EventItem:
        return cls(
            **_ITEM_NAME,
            position=0,
            project="widget",
            url="https://review.example.com/42",
            live=True,
            active=True,
            item_ahead=None,
            zuul_ref="Z4a7c2b5e5b1a4e6f8a3f3d9c7e1d2b60",
            failing_reasons=[],
            builds=[EventBuild.sample()],
        )


class Event(Resource):
    """What all messages have."""

    type = always(Enum(str, *TYPES, name="EventType"))
    """What happened; as Server-Sent Event also its name."""

    id = always(str)
    """Where a listener that was cut off goes on."""

    time = always(str)
    """When it was seen, in UTC (RFC 3339)."""

    @classmethod
    def sample(cls) -> Event:
        return cls(type="item_left", **_SEEN)


class TenantState(Event):
    """All that is in the pipelines, with their builds: what the messages after it change."""

    type = always(Enum(str, "state"))
    """`state`."""

    pipelines = always([str])
    """The names of all of them, in the order of configuration."""

    items = always([EventItem])
    """Pipeline by pipeline, queue by queue, in the order in which they stand."""

    @classmethod
    def sample(cls) -> TenantState:
        return cls(type="state", **_SEEN, pipelines=["check", "gate"], items=[EventItem.sample()])


class ItemEnqueued(Event):
    """An item is new in a queue."""

    type = always(Enum(str, "item_enqueued"))
    """`item_enqueued`."""

    item = always(EventItem)
    """With its builds, which are none until its jobs are known."""

    @classmethod
    def sample(cls) -> ItemEnqueued:
        return cls(type="item_enqueued", **_SEEN, item=EventItem.sample())


class ItemMoved(Event):
    """An item stands behind another one, at another place or in another queue, or its jobs may run now, or no more."""

    type = always(Enum(str, "item_moved"))
    """`item_moved`."""

    item = always(EventItem)
    """As it is now; with `builds` if they changed otherwise than messages about builds say."""

    @classmethod
    def sample(cls) -> ItemMoved:
        return cls(type="item_moved", **_SEEN, item=EventItem.sample())


class ItemChanged(Event):
    """Where an item stands is as it was, but its jobs are known now, wait for nodes, or start over; or it fails."""

    type = always(Enum(str, "item_changed"))
    """`item_changed`."""

    item = always(EventItem)
    """As it is now; with `builds` if they changed otherwise than messages about builds say."""

    @classmethod
    def sample(cls) -> ItemChanged:
        return cls(type="item_changed", **_SEEN, item=EventItem.sample())


class ItemLeft(Event):
    """An item is no longer in the pipeline."""

    type = always(Enum(str, "item_left"))
    """`item_left`."""

    item = always(EventItemName)
    """Which one."""

    @classmethod
    def sample(cls) -> ItemLeft:
        return cls(type="item_left", **_SEEN, item=EventItemName.sample())


class BuildStarted(Event):
    """An executor has begun. Not sent of a build that had ended when it was first seen."""

    type = always(Enum(str, "build_started"))
    """`build_started`."""

    item = always(EventItemName)
    """Which one it belongs to."""

    build = always(EventBuild)
    """In place of what was known of this job."""

    @classmethod
    def sample(cls) -> BuildStarted:
        return cls(type="build_started", **_SEEN, item=EventItemName.sample(), build=EventBuild.sample())


class BuildProgressed(Event):
    """A running build has come on by a percent of its estimate, or by 10 seconds without one; or it pauses, or no more.

    Beyond 100 percent there is nothing to say.
    """

    type = always(Enum(str, "build_progressed"))
    """`build_progressed`."""

    item = always(EventItemKey)
    """Which one it belongs to."""

    build = always(EventBuildProgress)
    """How far it is."""

    @classmethod
    def sample(cls) -> BuildProgressed:
        return cls(type="build_progressed", **_SEEN, item=EventItemKey.sample(), build=EventBuildProgress.sample())


class BuildFinished(Event):
    """A build has a result; or it ran when last seen and is gone, canceled or to be tried anew, and `result` is null.

    What a job has after a build without a result is in the next message about it.
    """

    type = always(Enum(str, "build_finished"))
    """`build_finished`."""

    item = always(EventItemName)
    """Which one it belongs to."""

    build = always(EventBuild)
    """In place of what was known of this job."""

    @classmethod
    def sample(cls) -> BuildFinished:
        return cls(type="build_finished", **_SEEN, item=EventItemName.sample(), build=EventBuild.sample())


class PipelineReconfigured(Event):
    """A pipeline came, went, or was loaded anew."""

    type = always(Enum(str, "pipeline_reconfigured"))
    """`pipeline_reconfigured`."""

    pipeline = always(str)
    """Its name."""

    change = always(Enum(str, "added", "removed", "reloaded", name="PipelineChange"))
    """`reloaded`: the scheduler has loaded its configuration anew, perhaps only that of other tenants."""

    @classmethod
    def sample(cls) -> PipelineReconfigured:
        return cls(type="pipeline_reconfigured", **_SEEN, pipeline="gate", change="added")


class Restart(Event):
    """What the listener has missed cannot be told. The next message is a `state`."""

    type = always(Enum(str, "restart"))
    """`restart`."""

    reason = always(str)
    """For people to read."""

    @classmethod
    def sample(cls) -> Restart:
        return cls(type="restart", id="5d0e61c2-0", time=_SEEN["time"], reason="this id is no longer kept")


_SEEN = {"id": "5d0e61c2-17", "time": "2020-09-13T12:27:44.513Z"}

_ITEM_NAME = {
    "key": "8c1f0b7d2a9e4456",
    "pipeline": "gate",
    "queue": "integrated",
    "id": "42,1",
    "ref": "refs/changes/42/42/1",
    "project_canonical": "review.example.com/widget",
    "enqueue_time": 1600000000000,
}

MESSAGES: dict[str, type[Event]] = {
    "state": TenantState,
    "item_enqueued": ItemEnqueued,
    "item_moved": ItemMoved,
    "item_changed": ItemChanged,
    "item_left": ItemLeft,
    "build_started": BuildStarted,
    "build_progressed": BuildProgressed,
    "build_finished": BuildFinished,
    "pipeline_reconfigured": PipelineReconfigured,
    "restart": Restart,
}
"""The type of each message, by its `type`."""
