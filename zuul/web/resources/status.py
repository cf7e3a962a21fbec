# SPDX-License-Identifier: Apache-2.0
"""The status of a tenant: everything in its pipelines right now, from the scheduler's `status_get`.

Units differ, as upstream has them: milliseconds for the reconfiguration, items and durations, seconds for the
times of builds.
"""

from __future__ import annotations

from zuul.web.resources.base import Resource, always, sometimes


class QueueLength(Resource):
    """How many events wait for the scheduler."""

    length = always(int)
    """Events that nobody has looked at yet."""

    @classmethod
    def sample(cls) -> QueueLength:
        return cls(length=0)


class Worker(Resource):
    """The executor that runs a build."""

    name = always(str)
    """`Unknown` until it has started."""

    hostname = always(str, null=True)
    """Null until it has started."""

    @classmethod
    def sample(cls) -> Worker:
        return cls(name="executor01", hostname="executor01.example.com")


class ItemJob(Resource):
    """A job of an item and, once there is one, its latest build. Without a build most values are null."""

    name = always(str)
    """Of the job."""

    dependencies = always([str])
    """The jobs that must succeed before it starts."""

    elapsed_time = always(int, null=True)
    """Milliseconds since the build started, or that it took."""

    remaining_time = always(int, null=True)
    """Milliseconds that earlier builds suggest; 0 when it has ended; null: unknown."""

    url = always(str, null=True)
    """Where the dashboard streams its console, relative to the tenant's page."""

    finger_url = always(str, null=True)
    """Where the executor streams its console."""

    report_url = always(str, null=True)
    """Where the result will be found. Before there is an address, the finger URL or the job's name."""

    result = always(str, null=True)
    """SUCCESS, FAILURE, SKIPPED and so on; null: not ended."""

    voting = always(bool)
    """Whether its result counts for the item."""

    uuid = always(str, null=True)
    """Of the build; null also for a skipped one."""

    execute_time = always(float, null=True)
    """Epoch seconds of the moment when it was given to the executors."""

    start_time = always(float, null=True)
    """Epoch seconds of the moment when an executor took it."""

    end_time = always(float, null=True)
    """Epoch seconds."""

    estimated_time = always(float, null=True)
    """Seconds that earlier builds took; null: unknown."""

    pipeline = always(str, null=True)
    """The name of the pipeline; null without a build."""

    canceled = always(bool, null=True)
    """Whether it was stopped before its end; null without a build."""

    paused = always(bool, null=True)
    """Whether it waits for the jobs that depend on it to end."""

    retry = always(bool, null=True)
    """Whether it will be tried anew."""

    tries = always(int)
    """How often it has been tried, this build included."""

    queued = always(bool)
    """Whether nodes have been asked for, also after they came."""

    node_labels = always([str])
    """Empty under Zuul 3.19.1, whose executor does not tell it, nor the next."""

    node_name = always(str, null=True)
    """The first of its nodes; null as long as nobody told."""

    worker = always(Worker, null=True)
    """Null without a build."""

    @classmethod
    def sample(cls) -> ItemJob:
        return cls(
            name="unit",
            dependencies=["build-image"],
            elapsed_time=61000,
            remaining_time=59000,
            url="stream/c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11?logfile=console.log",
            finger_url="finger://executor01.example.com/c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11",
            report_url="finger://executor01.example.com/c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11",
            result=None,
            voting=True,
            uuid="c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11",
            execute_time=1600000001.25,
            start_time=1600000003.5,
            end_time=None,
            estimated_time=120.0,
            pipeline="gate",
            canceled=False,
            paused=False,
            retry=False,
            tries=1,
            queued=False,
            node_labels=[],
            node_name=None,
            worker=Worker.sample(),
        )


class Owner(Resource):
    """Who wrote a change, as far as Gerrit tells. Its SSH and HTTP interfaces tell different things."""

    account_id = sometimes(int, name="_account_id")
    """Only over HTTP."""

    name = sometimes(str)
    """The full name."""

    display_name = sometimes(str)
    """The name to show, where it is another."""

    email = sometimes(str)
    """The preferred address."""

    username = sometimes(str)
    """The name to log in with."""

    @classmethod
    def sample(cls) -> Owner:
        return cls(name="Alice Example", email="alice@example.com", username="alice")


class Item(Resource):
    """A change or ref on its way through a pipeline."""

    active = always(bool)
    """Whether it is inside the window of its queue, so that its jobs may run."""

    live = always(bool)
    """Whether it is there for its own sake; otherwise only as another item needs it, and has no jobs."""

    url = always(str, null=True)
    """The change's or ref's web page; empty for one of the git driver."""

    ref = always(str, null=True)
    """The ref of the change or branch in its repository; null where there is none."""

    id = always(str, null=True)
    """NUMBER,PATCHSET of a change; the new revision of a ref, null where there is none."""

    item_ahead = always(str, null=True)
    """The id of the item that it is tested on top of; null: the branch itself."""

    items_behind = always([str])
    """The ids of the items that are tested on top of it."""

    failing_reasons = always([str])
    """For people to read; empty while nothing has failed."""

    zuul_ref = always(str, null=True)
    """Names the speculative merge; null until it has been asked for."""

    project = always(str)
    """`Unknown Project` where another item depends on a change that this Zuul knows no project of."""

    project_canonical = always(str)
    """The project with its host in front; `Unknown Project` as with `project`."""

    enqueue_time = always(int)
    """Epoch milliseconds."""

    jobs = always([ItemJob])
    """Empty until the layout is known."""

    owner = always(Owner, null=True)
    """Null but for changes in Gerrit."""

    remaining_time = always(int, null=True)
    """Milliseconds until its last job ends, not less than of the item ahead; null until all have started."""

    @classmethod
    def sample(cls) -> Item:
        return cls(
            active=True,
            live=True,
            url="https://review.example.com/42",
            ref="refs/changes/42/42/1",
            id="42,1",
            item_ahead=None,
            items_behind=["43,2"],
            failing_reasons=[],
            zuul_ref="Z4a7c2b5e5b1a4e6f8a3f3d9c7e1d2b60",
            project="widget",
            project_canonical="review.example.com/widget",
            enqueue_time=1600000000000,
            jobs=[ItemJob.sample()],
            owner=Owner.sample(),
            remaining_time=59000,
        )


class ChangeQueue(Resource):
    """Items that are tested together, in the order in which they will merge."""

    name = always(str)
    """As configured; the first of its projects where it is shared by none."""

    heads = always([[Item]])
    """A new list starts with each item that has none ahead, so after a failing one there are two."""

    window = always(int)
    """How many items may run jobs at once; 0: all."""

    @classmethod
    def sample(cls) -> ChangeQueue:
        return cls(name="integrated", heads=[[Item.sample()]], window=20)


class StatusPipeline(Resource):
    """A pipeline and what is in it."""

    name = always(str)
    """Unique in a tenant."""

    description = always(str, null=True)
    """In the words of the configuration; null if there are none."""

    change_queues = always([ChangeQueue])
    """Queues that projects share are listed even while they are empty."""

    @classmethod
    def sample(cls) -> StatusPipeline:
        return cls(
            name="gate",
            description="Approved changes are tested in the order they will merge in.",
            change_queues=[ChangeQueue.sample()],
        )


class Status(Resource):
    """All pipelines of a tenant. The event queues and the reconfiguration are those of the whole scheduler."""

    zuul_version = always(str)
    """The scheduler's."""

    message = sometimes(str)
    """Only while the scheduler prepares to hibernate."""

    trigger_event_queue = always(QueueLength)
    """What happened at the connections."""

    result_event_queue = always(QueueLength)
    """What executors and mergers have done."""

    management_event_queue = always(QueueLength)
    """What administrators have asked for, and reconfigurations."""

    last_reconfigured = sometimes(int)
    """Epoch milliseconds. Left out until the configuration has been loaded once."""

    pipelines = always([StatusPipeline])
    """All of the tenant's, in the order of configuration."""

    @classmethod
    def sample(cls) -> Status:
        return cls(
            zuul_version="3.19.1",
            trigger_event_queue=QueueLength.sample(),
            result_event_queue=QueueLength.sample(),
            management_event_queue=QueueLength.sample(),
            last_reconfigured=1600000000000,
            pipelines=[StatusPipeline.sample()],
        )
