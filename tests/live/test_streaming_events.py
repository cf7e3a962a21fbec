# SPDX-License-Identifier: Apache-2.0
"""Events of pipelines as doc/streaming.md has them, from the outside, by websocket and Server-Sent Events."""

from __future__ import annotations

import datetime
import itertools
import json
import random
import time

import pytest
from pipelines import Zuul
from server_process import Served
from services import wait_until
from streams import Get, Refused, ServerSentEvents, WebSocket

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")

EVENTS = "/v1/tenants/one/events"
ADDRESS = ("127.0.0.1", 9)
changes = (f"{number},1" for number in itertools.count(1))


@pytest.fixture(scope="module")
def zuul():
    zuul = Zuul()
    yield zuul
    zuul.stop()


@pytest.fixture(scope="module")
def port(zuul, tmp_path_factory):
    server = Served(tmp_path_factory.mktemp("server"), zuul.port)
    yield server.port
    server.terminate()
    assert server.ended() == 0
    assert "Traceback" not in server.output


class OverWebSocket:
    """A listener: `next()` is the next event, as a dictionary."""

    def __init__(self, port, query="", last=None):
        words = [*query.split("&"), *([f"last_event_id={last}"] if last else [])]
        self.connection = WebSocket(port, f"{EVENTS}?{'&'.join(filter(None, words))}")

    def next(self):
        return self.connection.json()


class OverSse:
    def __init__(self, port, query="", last=None):
        self.connection = ServerSentEvents(port, f"{EVENTS}?{query}" if query else EVENTS,
                                           {"Last-Event-ID": last} if last else {})  # fmt: skip
        assert self.connection.status == 200
        assert self.connection.fields["Content-Type"].partition(";")[0] == "text/event-stream"
        self._events = self.connection.events()

    def next(self):
        event = next(self._events)
        message = json.loads(event.data)
        assert (event.name, event.id) == (message["type"], str(message["id"]))
        return message


@pytest.fixture(params=[OverWebSocket, OverSse])
def listen(request, port):
    """Opens listeners: `listen(query, last)`."""
    listeners = []

    def begin(query="", last=None, at=None):
        listeners.append(request.param(at or port, query, last))
        return listeners[-1]

    yield begin
    for listener in listeners:
        listener.connection.drop()


over_one = pytest.mark.parametrize("listen", [OverWebSocket], indirect=True)
"""For what takes seconds, and is computed for both alike."""


@pytest.fixture
def enqueue(zuul):
    """Puts items into pipelines; whatever is left of them leaves after the test."""
    items = []

    def begin(*jobs, **options):
        items.append(zuul.enqueue(next(changes), *jobs, **options))
        return items[-1]

    yield begin
    for item in items:
        if item in zuul.items:
            item.leave()


def check(event):
    assert isinstance(event["type"], str)
    assert event["id"]
    assert event["time"]
    if "build" in event:
        assert event["build"]["job_name"]
        assert event["item"]["key"]


def first_state(listener):
    state = listener.next()
    check(state)
    assert state["type"] == "state"
    return state


def of(item, listener, type_):
    """The next event of that item that is no mere change of it, and must be of that type; others are passed over."""
    while True:
        event = listener.next()
        check(event)
        if event.get("item", {}).get("id") == item.change and event["type"] != "item_changed":
            assert event["type"] == type_, event
            return event


def until_enqueued(item, listener):
    """All events up to the one that tells of the new item; what the tests before did may be among them."""
    events = [listener.next()]
    while events[-1].get("item", {}).get("id") != item.change:
        events.append(listener.next())
    assert events[-1]["type"] == "item_enqueued"
    return events


def test_the_state_comes_first(listen, enqueue):
    item = enqueue("slow", "quick")
    build = item.build("slow")
    build.start(ADDRESS)

    def found():
        state = first_state(listen())
        return next((shown for shown in state["items"] if shown["id"] == item.change), None)

    shown = wait_until(found, what="a state with the item")
    assert shown["pipeline"] == "check"
    assert [(build["job_name"], build["uuid"]) for build in shown["builds"]] == [("slow", build.uuid), ("quick", None)]


def test_an_item_comes_is_built_and_leaves(listen, enqueue):
    listener = listen()
    first_state(listener)
    item = enqueue("slow", "quick")
    enqueued = of(item, listener, "item_enqueued")
    assert "build" not in enqueued
    slow = item.build("slow")
    slow.start(ADDRESS)
    started = of(item, listener, "build_started")
    assert (started["build"]["job_name"], started["build"]["uuid"]) == ("slow", slow.uuid)
    slow.finish("FAILURE")
    finished = of(item, listener, "build_finished")
    assert (finished["build"]["uuid"], finished["build"]["result"]) == (slow.uuid, "FAILURE")
    item.leave()
    left = of(item, listener, "item_left")
    ids = [event["id"] for event in (enqueued, started, finished, left)]
    assert len(set(ids)) == 4


@over_one
def test_what_happens_between_two_looks_is_told_in_order(listen, enqueue, zuul):
    """Enqueued, built and finished at once."""
    listener = listen()
    first_state(listener)
    with zuul.lock:
        item = enqueue("slow")
        build = item.build("slow")
        build.start(ADDRESS)
        build.finish("SUCCESS")
    enqueued = of(item, listener, "item_enqueued")
    # Its builds are in it, so that messages of their own would tell nothing new.
    assert [(build["uuid"], build["result"]) for build in enqueued["item"]["builds"]] == [(build.uuid, "SUCCESS")]


@over_one
def test_a_build_that_goes_with_its_item_has_no_result(listen, enqueue):
    listener = listen()
    first_state(listener)
    item = enqueue("slow")
    build = item.build()
    build.start(ADDRESS)
    of(item, listener, "item_enqueued")
    of(item, listener, "build_started")
    item.leave()
    finished = of(item, listener, "build_finished")
    assert (finished["build"]["uuid"], finished["build"]["result"]) == (build.uuid, None)
    of(item, listener, "item_left")


@over_one
def test_a_second_try_of_a_job_is_another_build(listen, enqueue):
    listener = listen()
    first_state(listener)
    item = enqueue("slow")
    of(item, listener, "item_enqueued")
    builds = []
    for result in ("RETRY", "SUCCESS"):
        builds.append(item.build())
        builds[-1].start(ADDRESS)
        started = of(item, listener, "build_started")
        builds[-1].finish(result)
        finished = of(item, listener, "build_finished")
        assert started["build"]["uuid"] == finished["build"]["uuid"] == builds[-1].uuid
        assert finished["build"]["result"] == result


@over_one
def test_an_item_moves(listen, enqueue, zuul):
    first, second = (enqueue(pipeline="gate", queue="shared") for _ in range(2))
    third = enqueue(pipeline="gate", queue="shared", active=False)

    def ready():
        listener = listen()
        if third.change in [item["id"] for item in first_state(listener)["items"]]:
            return listener
        return None

    listener = wait_until(ready, what="the state with the items")
    second.move_to_front()
    events = [listener.next() for _ in range(3)]
    assert {event["type"] for event in events} == {"item_moved"}
    assert {event["item"]["id"] for event in events} == {first.change, second.change, third.change}
    third.activate()
    of(third, listener, "item_moved")
    first.leave()
    of(first, listener, "item_left")
    of(third, listener, "item_moved")


@over_one
def test_progress_is_told_once_a_second_at_most(listen, enqueue):
    listener = listen()
    first_state(listener)
    item = enqueue("slow")
    build = item.build(estimated_seconds=20)
    build.start(ADDRESS)
    of(item, listener, "item_enqueued")
    of(item, listener, "build_started")
    arrivals, percents = [], []
    while len(arrivals) < 3:
        event = listener.next()
        if event["type"] == "build_progressed" and event["build"]["uuid"] == build.uuid:
            arrivals.append(time.monotonic())
            percents.append(event["build"]["percent"])
    assert percents == sorted(set(percents))
    assert arrivals[2] - arrivals[0] > 1.5


@over_one
def test_pipelines_come_and_go(listen, zuul):
    listener = listen()
    first_state(listener)

    def reconfigured():
        while (event := listener.next())["type"] != "pipeline_reconfigured" or event["pipeline"] != "post":
            pass
        return event["change"]

    told = []
    for pipelines in (["check", "gate", "post"], ["check", "gate"]):
        with zuul.lock:
            zuul.pipelines["one"] = pipelines
        told.append(reconfigured())
    assert told == ["added", "removed"]


@over_one
def test_a_tenant_that_is_loaded_anew_is_told(listen, zuul):
    listener = listen()
    first_state(listener)
    with zuul.lock:
        zuul.last_reconfigured += 100
    events = [listener.next() for _ in range(2)]
    assert {(event["type"], event["change"]) for event in events} == {("pipeline_reconfigured", "reloaded")}
    assert {event["pipeline"] for event in events} == {"check", "gate"}


class Applied:
    """The state, kept by applying messages one by one as the document says."""

    def __init__(self, state):
        self.queues = {}
        for item in sorted(state["items"], key=lambda item: item["position"]):
            self.queue_of(item).append(dict(item))

    def queue_of(self, item):
        return self.queues.setdefault((item["pipeline"], item["queue"]), [])

    def find(self, key):
        return next(((queue, item) for queue in self.queues.values() for item in queue if item["key"] == key), None)

    def apply(self, event):
        kind = event["type"]
        if not kind.startswith(("item_", "build_")):
            return
        queue, item = self.find(event["item"]["key"]) or (None, {})
        if kind in ("item_enqueued", "item_moved", "item_changed", "item_left"):
            if queue is not None:
                queue.remove(item)
            if kind != "item_left":
                item.update(event["item"])
                self.queue_of(item).insert(item["position"], item)
        else:
            (build,) = [build for build in item["builds"] if build["job_name"] == event["build"]["job_name"]]
            if kind != "build_progressed":
                build.clear()
            build.update(event["build"])

    def comparable(self):
        """Items by queue, without what goes on by itself."""
        ticking = ("elapsed_time", "percent")
        return {
            name: [
                {
                    **item,
                    "position": at,
                    "builds": [{k: v for k, v in build.items() if k not in ticking} for build in item["builds"]],
                }
                for at, item in enumerate(queue)
            ]
            for name, queue in self.queues.items()
            if queue
        }


@pytest.mark.parametrize(("listen", "seed"), [(OverWebSocket, 1), (OverSse, 2)], indirect=["listen"])
def test_who_applies_all_messages_has_the_state_of_the_server(listen, zuul, enqueue, seed):
    chance = random.Random(seed)
    listener = listen()
    applied = Applied(first_state(listener))
    items, started = [], []

    def happen():
        what = chance.randrange(8)
        if what < 2 or not items:
            queue = chance.choice(["shared", "other"])
            items.append(enqueue("slow", "quick", pipeline="gate", queue=queue, active=chance.random() < 0.7))
        elif what == 2:
            chance.choice(items).activate()
        elif what == 3:
            chance.choice(items).move_to_front()
        elif what == 4 and len(items) > 3:
            items.pop(chance.randrange(len(items))).leave()
        elif what < 7:
            item = chance.choice(items)
            job = chance.choice(item.jobs)
            if job not in item.builds or chance.random() < 0.2:
                started.append(item.build(job, estimated_seconds=chance.choice([None, 30])))
                if chance.random() < 0.8:
                    started[-1].start(ADDRESS)
        elif started:
            started.pop(chance.randrange(len(started))).finish(chance.choice(["SUCCESS", "FAILURE", None]))

    for _ in range(4):
        with zuul.lock:
            for _ in range(chance.randrange(1, 12)):
                happen()
        marker = enqueue()
        while True:
            event = listener.next()
            applied.apply(event)
            if event["type"] == "item_enqueued" and event["item"]["id"] == marker.change:
                break
    # The messages of one look may go on behind the marker, up to what the state of a new listener has.
    wanted = Applied(first_state(listen())).comparable()
    deadline = time.monotonic() + 10
    while applied.comparable() != wanted and time.monotonic() < deadline:
        applied.apply(listener.next())
    assert applied.comparable() == wanted


@over_one
def test_what_happens_elsewhere_is_not_told(listen, enqueue):
    listener = listen()
    first_state(listener)
    elsewhere = enqueue(tenant="two")
    mine = enqueue()
    assert elsewhere.change not in [event.get("item", {}).get("id") for event in until_enqueued(mine, listener)]


def test_resuming_gives_what_was_missed_and_nothing_twice(listen, enqueue):
    listener = listen()
    witness = listen()
    first_state(listener)
    first_state(witness)
    item = enqueue("slow")
    last = of(item, listener, "item_enqueued")
    listener.connection.drop()
    of(item, witness, "item_enqueued")
    build = item.build()
    build.start(ADDRESS)
    missed = [of(item, witness, "build_started")]
    resumed = listen(last=last["id"])
    build.finish()
    missed.append(of(item, witness, "build_finished"))
    item.leave()
    missed.append(of(item, witness, "item_left"))
    again = []
    while len(again) < 3:
        event = resumed.next()
        if event.get("item", {}).get("id") == item.change:
            again.append(event)
    assert again == missed
    late = listen(last=last["id"])
    assert [late.next() for _ in range(3)] == missed
    nothing_new = listen(last=missed[-1]["id"])
    assert [event for event in until_enqueued(enqueue(), nothing_new) if event in missed] == []


def test_resuming_in_the_midst_of_one_look(listen, enqueue, zuul):
    """Events of one status have an id each, and any of them resumes."""
    listener = listen()
    first_state(listener)
    with zuul.lock:
        items = [enqueue() for _ in range(4)]
    seen = [of(item, listener, "item_enqueued") for item in items]
    for at, event in enumerate(seen[:-1]):
        resumed = listen(last=event["id"])
        assert [resumed.next() for _ in seen[at + 1 :]] == seen[at + 1 :]


def test_resuming_at_the_state(listen, enqueue):
    listener = listen()
    state = first_state(listener)
    item = enqueue()
    enqueued = of(item, listener, "item_enqueued")
    resumed = listen(last=state["id"])
    event = resumed.next()
    assert event["type"] != "state"
    while event["id"] != enqueued["id"]:
        event = resumed.next()
    assert event == enqueued


@pytest.mark.parametrize("last", ["nonsense", "0", "-1", "99999999999999999999", "a.b.c", "%00"])
def test_an_id_that_nobody_gave_is_a_restart(listen, last):
    listener = listen(last=last)
    restart = listener.next()
    check(restart)
    assert restart["type"] == "restart"
    assert restart["reason"]
    first_state(listener)


def test_an_id_of_another_server_is_a_restart(listen, enqueue, zuul, tmp_path):
    other = Served(tmp_path, zuul.port)
    try:
        item = enqueue()
        listener = listen(at=other.port)
        first_state(listener)
        second = enqueue()
        identity = of(second, listener, "item_enqueued")["id"]
        listener.connection.drop()
        here = listen(last=identity)
        assert here.next()["type"] == "restart"
        assert {item.change, second.change} <= {shown["id"] for shown in first_state(here)["items"]}
    finally:
        other.kill()


@over_one
def test_an_id_that_is_no_longer_kept_is_a_restart(listen, enqueue, zuul, tmp_path):
    server = Served(tmp_path, zuul.port, rest="event_window=1")
    try:
        listener = listen(at=server.port)
        state = first_state(listener)
        began = time.monotonic()
        while time.monotonic() - began < 3:
            of(enqueue(), listener, "item_enqueued")
        assert listen(last=state["id"], at=server.port).next()["type"] == "restart"
    finally:
        server.kill()


def test_the_state_can_be_left_out(listen, enqueue):
    first_state(listen())  # so that what is there now is known
    listener = listen("state=false")
    item = enqueue()
    assert not {"state", "restart"} & {event["type"] for event in until_enqueued(item, listener)}


@over_one
def test_the_status_is_asked_for_once_a_second_however_many_listen(listen, zuul):
    listeners = [listen() for _ in range(20)]
    for listener in listeners:
        first_state(listener)
    before, began = zuul.asked("status_get", "one"), time.monotonic()
    wait_until(lambda: zuul.asked("status_get", "one") >= before + 3, 20, "three questions")
    assert time.monotonic() - began > 1.8


def test_all_have_an_event_of_the_same_id(listen, enqueue):
    listeners = [listen() for _ in range(10)]
    for listener in listeners:
        first_state(listener)
    item = enqueue()
    assert len({json.dumps(of(item, listener, "item_enqueued"), sort_keys=True) for listener in listeners}) == 1


@over_one
def test_times_are_times(listen, enqueue):
    listener = listen()
    first_state(listener)
    item = enqueue()
    moment = of(item, listener, "item_enqueued")["time"]
    assert moment.endswith("Z")
    assert abs(datetime.datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp() - time.time()) < 20


def test_a_listener_that_speaks_is_4000(port):
    with WebSocket(port, EVENTS) as listener:
        listener.json()
        listener.send("hello")
        closed = listener.rest()
    assert closed.code == 4000
    assert closed.reason


def test_a_listener_that_speaks_in_bytes_is_refused(port):
    with WebSocket(port, EVENTS) as listener:
        listener.json()
        listener.send(b"hello")
        assert listener.rest().code in (1003, 4000)


def test_a_tenant_that_does_not_exist_has_no_events(port):
    path = "/v1/tenants/none/events"
    with ServerSentEvents(port, path) as got:
        assert got.status == 404
        assert json.loads(got.body())["faultstring"]
    try:
        with WebSocket(port, path) as listener:
            assert (listener.receive(), listener.closed.code) == (None, 4011)
    except Refused as refused:
        assert refused.status == 404


def test_who_wants_neither_websocket_nor_event_stream_is_refused_or_gets_the_latter(port):
    with Get(port, EVENTS, {"Accept": "application/json"}) as got:
        if got.status == 200:
            assert got.fields["Content-Type"].partition(";")[0] == "text/event-stream"
        else:
            assert got.status in (400, 406, 426)
            assert json.loads(got.body())["faultcode"] == "Client"


@pytest.mark.parametrize("query", ["state=perhaps", "since=1"])
def test_a_wrong_parameter_is_400(port, query):
    with ServerSentEvents(port, f"{EVENTS}?{query}") as got:
        assert got.status == 400
    with pytest.raises(Refused) as caught:
        WebSocket(port, f"{EVENTS}?{query}")
    assert caught.value.status == 400


def test_fields_of_server_sent_events(port):
    fields = {"Origin": "https://example.org", "X-Request-Id": "mine-8"}
    with ServerSentEvents(port, EVENTS, fields) as got:
        assert got.status == 200
        assert got.fields["Access-Control-Allow-Origin"] == "*"
        assert got.fields["X-Request-Id"] == "mine-8"
        assert "no-store" in got.fields["Cache-Control"] or "no-cache" in got.fields["Cache-Control"]
    with Get(port, EVENTS, {"Accept": "text/event-stream"}, method="HEAD") as got:
        assert (got.status, got.body()) == (200, b"")
