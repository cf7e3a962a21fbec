# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate, parsedate_to_datetime
from time import asctime, gmtime

import pytest

from zuul.web import snapshots as module
from zuul.web.errors import BadReply, NotFound, ServerError, Timeout, Unavailable
from zuul.web.snapshots import Flight, Snapshot, Snapshots, respond

PATIENCE_SECONDS = 20
STALE_SECONDS = 60


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Scheduler:
    """`status_get` as the test wants it: held, failing, or a body that counts the calls."""

    def __init__(self):
        self.calls = []
        self.began = threading.Semaphore(0)
        self.gates = {}
        self.error = None
        self.body = None

    def hold(self, tenant="t"):
        self.gates[tenant] = threading.Event()

    def let_go(self, tenant="t"):
        self.gates.pop(tenant).set()

    def __call__(self, tenant):
        self.calls.append(tenant)
        number = len(self.calls)
        self.began.release()
        gate = self.gates.get(tenant)
        assert gate is None or gate.wait(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error
        return self.body or b'{"number": %d}' % number


class Airport(Snapshots):
    """Tells when flights have landed that nobody waits for."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.landings = threading.Semaphore(0)

    def _fly(self, *arguments):
        super()._fly(*arguments)
        self.landings.release()

    def wait_for_landing(self):
        assert self.landings.acquire(timeout=PATIENCE_SECONDS)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def snapshots(scheduler, clock):
    snapshots = Airport(scheduler, stale_seconds=STALE_SECONDS, clock=clock)
    yield snapshots
    for tenant in list(scheduler.gates):
        scheduler.let_go(tenant)
    snapshots.close()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(100) as pool:
        yield pool


@pytest.fixture
def first(snapshots):
    """The first snapshot of tenant t, of the moment at which the test begins."""
    first = snapshots.get("t")
    snapshots.wait_for_landing()
    return first


def look(snapshots, tenant="t"):
    found = snapshots.look(tenant)
    return found.body if isinstance(found, Snapshot) else found


# The table at the top of the module.


@pytest.mark.parametrize("age", [0, 0.5, 1])
def test_up_to_a_second_a_snapshot_is_fresh(snapshots, scheduler, clock, first, age):
    clock.now += age

    assert snapshots.get("t") is first
    assert scheduler.calls == ["t"]


@pytest.mark.parametrize("age", [1.01, 2, 3])
def test_up_to_three_seconds_it_is_served_while_a_flight_begins_behind(snapshots, scheduler, clock, first, age):
    scheduler.hold()
    clock.now += age

    assert snapshots.get("t") is first
    assert snapshots.get("t") is first
    scheduler.let_go()
    snapshots.wait_for_landing()
    assert snapshots.get("t").body == b'{"number": 2}'
    assert scheduler.calls == ["t", "t"]


@pytest.mark.parametrize("age", [3.01, 30, STALE_SECONDS])
def test_after_that_a_new_one_is_waited_for(snapshots, clock, first, age):
    clock.now += age

    assert snapshots.get("t").body == b'{"number": 2}'


@pytest.mark.parametrize("age", [3.01, 30, STALE_SECONDS - 1])
def test_but_for_a_second_at_most(snapshots, scheduler, clock, first, age):
    scheduler.hold()
    clock.now += age
    flight = snapshots.look("t")

    assert isinstance(flight, Flight)
    assert snapshots.patience("t", flight) == 1
    clock.now += 0.75
    assert snapshots.look("t") is flight
    assert snapshots.patience("t", flight) == 0.25
    clock.now += 0.25
    assert snapshots.look("t") is first
    assert snapshots.landed("t", flight) is first
    assert snapshots.age_seconds(first) == int(age + 1)


def test_a_flight_that_hangs_is_not_joined_by_another(snapshots, scheduler, clock, first):
    scheduler.hold()
    for _ in range(20):
        clock.now += 2.5
        snapshots.look("t")

    assert scheduler.began.acquire(timeout=PATIENCE_SECONDS)
    assert scheduler.began.acquire(timeout=PATIENCE_SECONDS)
    assert scheduler.calls == ["t", "t"]


def test_what_is_too_old_is_never_served(snapshots, scheduler, clock, first):
    scheduler.hold()
    clock.now += STALE_SECONDS + 0.01
    flight = snapshots.look("t")

    assert isinstance(flight, Flight)
    assert snapshots.patience("t", flight) is None
    with pytest.raises(Unavailable):
        snapshots.landed("t", flight)
    scheduler.let_go()
    assert snapshots.get("t").body == b'{"number": 2}'


def test_what_grows_too_old_in_a_hanging_flight_is_not_served_either(snapshots, scheduler, clock, first):
    scheduler.hold()
    clock.now += STALE_SECONDS
    assert isinstance(snapshots.look("t"), Flight)
    clock.now += 1

    flight = snapshots.look("t")
    assert isinstance(flight, Flight)
    with pytest.raises(Unavailable):
        snapshots.landed("t", flight)


def test_what_a_slow_flight_brought_is_served_whatever_its_age(snapshots, scheduler, clock):
    scheduler.hold()
    flight = snapshots.look("t")
    clock.now += STALE_SECONDS + 1
    scheduler.let_go()
    flight.landed.result(PATIENCE_SECONDS)

    assert snapshots.landed("t", flight).body == b'{"number": 1}'


# Flights.


def test_a_hundred_readers_share_one_flight(snapshots, scheduler, pool):
    scheduler.hold()
    all_have_looked = threading.Barrier(101)

    def reader():
        found = snapshots.look("t")
        all_have_looked.wait(PATIENCE_SECONDS)
        return found, snapshots.get("t")

    readers = [pool.submit(reader) for _ in range(100)]
    all_have_looked.wait(PATIENCE_SECONDS)
    scheduler.let_go()

    flights, served = zip(*(reader.result(PATIENCE_SECONDS) for reader in readers), strict=True)
    assert len(set(flights)) == len(set(served)) == 1
    assert scheduler.calls == ["t"]


def test_there_is_one_fetch_a_second_however_many_look(snapshots, scheduler, clock, first):
    for _ in range(10):
        for _ in range(100):
            snapshots.get("t")
        clock.now += 1.001
        snapshots.get("t")
        snapshots.wait_for_landing()

    assert len(scheduler.calls) == 11


@pytest.mark.parametrize("error", [Unavailable("away"), Timeout("slow"), BadReply("broken"), NotFound("unknown")])
def test_there_is_one_fetch_a_second_while_all_fail(snapshots, scheduler, clock, error):
    scheduler.error = error
    for _ in range(10):
        for _ in range(10):
            with pytest.raises((Unavailable, BadReply, NotFound)):
                snapshots.get("t")
        clock.now += 1

    assert len(scheduler.calls) == 10


def test_a_slow_tenant_does_not_delay_another(snapshots, scheduler, pool):
    scheduler.hold("slow")
    slow = pool.submit(snapshots.get, "slow")
    assert scheduler.began.acquire(timeout=PATIENCE_SECONDS)

    assert snapshots.get("quick").body == b'{"number": 2}'
    assert not slow.done()
    scheduler.let_go("slow")
    assert slow.result(PATIENCE_SECONDS).body == b'{"number": 1}'


# Failures.


@pytest.mark.parametrize("error", [Unavailable("away"), Timeout("slow"), BadReply("broken"), RuntimeError("defect")])
@pytest.mark.parametrize("age", [1.5, 5, STALE_SECONDS])
def test_the_old_one_is_served_while_new_ones_fail(snapshots, scheduler, clock, first, error, age):
    scheduler.error = error
    clock.now += age

    assert snapshots.get("t") is first
    snapshots.wait_for_landing()
    assert snapshots.get("t") is first


@pytest.mark.parametrize(
    ("error", "seen", "words"),
    [
        (Unavailable("away"), Unavailable, "away"),
        (Timeout("slow"), Unavailable, "the scheduler does not answer"),
        (BadReply("broken"), BadReply, "broken"),
        (RuntimeError("secret"), ServerError, "the status of this tenant cannot be made out"),
    ],
)
def test_then_the_error_is_told(snapshots, scheduler, clock, first, error, seen, words):
    scheduler.error = error
    clock.now += STALE_SECONDS + 1

    for _ in range(3):
        with pytest.raises(seen) as raised:
            snapshots.get("t")
        assert raised.value.message == words


def test_an_error_does_not_gather_the_frames_of_all_who_see_it(snapshots, scheduler):
    scheduler.error = Unavailable("away")
    depths = []
    for _ in range(5):
        with pytest.raises(Unavailable) as raised:
            snapshots.get("t")
        depths.append(len(raised.traceback))

    assert len(set(depths[1:])) == 1


def test_a_defect_is_logged(snapshots, scheduler, caplog):
    scheduler.error = RuntimeError("secret")
    with pytest.raises(ServerError):
        snapshots.get("t")

    assert "RuntimeError: secret" in caplog.text


def test_all_is_well_again_as_soon_as_the_scheduler_is_back(snapshots, scheduler, clock, first):
    scheduler.error = Unavailable("away")
    clock.now += STALE_SECONDS + 1
    with pytest.raises(Unavailable):
        snapshots.get("t")
    scheduler.error = None
    clock.now += 1

    assert snapshots.get("t").body == b'{"number": 3}'


def test_a_tenant_that_is_gone_is_forgotten_at_once(snapshots, scheduler, clock, first):
    scheduler.error = NotFound("Tenant t does not exist.")
    clock.now += 5

    for _ in range(2):
        with pytest.raises(NotFound):
            snapshots.get("t")
    clock.now += 1
    scheduler.error = None
    assert snapshots.get("t").body == b'{"number": 3}'


def test_unknown_tenants_are_remembered_for_a_second(snapshots, scheduler, clock):
    scheduler.error = NotFound("unknown")
    for _ in range(3):
        with pytest.raises(NotFound):
            snapshots.get("nope")
    assert scheduler.calls == ["nope"]
    clock.now += 1
    with pytest.raises(NotFound):
        snapshots.get("nope")

    assert scheduler.calls == ["nope", "nope"]


def test_unknown_tenants_do_not_fill_the_memory(snapshots, scheduler):
    scheduler.error = NotFound("unknown")
    for number in range(module.UNKNOWN_TENANTS + 50):
        with pytest.raises((NotFound, Unavailable)):
            snapshots.get(str(number))

    assert len(snapshots._unknown) <= module.UNKNOWN_TENANTS
    assert len(snapshots._tenants) == 0


def test_names_without_a_status_never_take_the_threads_of_those_with_one(scheduler, clock):
    snapshots = Airport(scheduler, stale_seconds=STALE_SECONDS, flights=4, clock=clock)
    snapshots.get("real")
    for name in ("a", "b"):
        scheduler.hold(name)
        assert isinstance(snapshots.look(name), Flight)

    with pytest.raises(Unavailable, match="too many"):
        snapshots.look("c")
    clock.now += 5
    assert snapshots.get("real").body == b'{"number": 4}'
    for name in ("a", "b"):
        scheduler.let_go(name)
        assert snapshots.get(name)
    assert snapshots.get("c")
    snapshots.close()


class Elsewhere:
    """Another process, as `Snapshots` sees it through sharing.py."""

    def __init__(self):
        self.newest = None

    def has_news(self, tenant, snapshot):
        return self.newest is not None and self.newest.fetched > snapshot.fetched

    def get(self, tenant, make, compress):
        return self.newest or make()


def test_what_another_process_fetched_is_served_before_our_own_grows_old(scheduler, clock):
    elsewhere = Elsewhere()
    snapshots = Airport(scheduler, stale_seconds=STALE_SECONDS, shared=elsewhere, clock=clock)
    own = snapshots.get("t")
    snapshots.wait_for_landing()
    clock.now += 0.2
    elsewhere.newest = Snapshot(b'{"other": 1}', clock.now, 1600000000.0, compress=False)
    assert snapshots.look("t") is own  # still served, while the other is taken in behind it
    snapshots.wait_for_landing()

    assert snapshots.look("t") is elsewhere.newest
    assert len(scheduler.calls) == 1
    snapshots.close()


@pytest.fixture
def elsewhere():
    return Elsewhere()


@pytest.fixture
def sharing(scheduler, clock, elsewhere):
    snapshots = Airport(scheduler, stale_seconds=STALE_SECONDS, shared=elsewhere, clock=clock)
    yield snapshots
    snapshots.close()


def test_a_client_that_comes_from_another_process_gets_no_older_status_than_there(sharing, scheduler, clock, elsewhere):
    sharing.get("t")
    elsewhere.newest = Snapshot(b'{"other": 1}', clock.now + 0.001, 1600000000.0, compress=False)

    for tag in (elsewhere.newest.etag, elsewhere.newest.gzip_etag):
        assert sharing.get("t", False, tag) is elsewhere.newest
    assert len(scheduler.calls) == 1


def test_one_that_has_our_status_does_not_wait_for_another(sharing, clock, elsewhere):
    own = sharing.get("t")
    sharing.wait_for_landing()
    elsewhere.newest = Snapshot(b'{"other": 1}', clock.now + 0.001, 1600000000.0, compress=False)

    for tag in (own.etag, own.gzip_etag, None):
        assert sharing.get("t", False, tag) is own


def test_one_with_an_older_status_gets_ours_where_there_are_no_news(sharing, scheduler):
    own = sharing.get("t")
    sharing.wait_for_landing()

    assert sharing.get("t", False, '"older"') is own
    assert len(scheduler.calls) == 1


def test_the_close_ends_all_waits(scheduler, clock, pool):
    snapshots = Airport(scheduler, stale_seconds=STALE_SECONDS, flights=4, clock=clock)
    for tenant in "ab":
        scheduler.hold(tenant)
    flights = [snapshots.look(tenant) for tenant in "ab"]
    waits = [pool.submit(snapshots.get, tenant) for tenant in "ab"]
    for _ in "ab":
        assert scheduler.began.acquire(timeout=PATIENCE_SECONDS)

    snapshots.close()

    for flight, wait in zip(flights, waits, strict=True):
        flight.landed.result(PATIENCE_SECONDS)
        assert isinstance(wait.exception(PATIENCE_SECONDS), Unavailable)
    for tenant in "abc":
        with pytest.raises(Unavailable):
            snapshots.get(tenant)
    for tenant in "ab":
        scheduler.let_go(tenant)


# What is in an answer.


def test_an_unchanged_body_keeps_its_validators(snapshots, scheduler, clock):
    scheduler.body = b'{"same": true}'
    before = snapshots.get("t")
    clock.now += 5
    after = snapshots.get("t")

    assert after is not before
    assert after.fetched == before.fetched + 5
    assert (after.etag, after.last_modified) == (before.etag, before.last_modified)
    assert after.plain.headers == before.plain.headers


def test_another_body_has_others_even_within_a_second(snapshots, clock):
    before = snapshots.get("t")
    clock.now += 5
    after = snapshots.get("t")

    assert after.etag != before.etag
    assert parsedate_to_datetime(after.last_modified) > parsedate_to_datetime(before.last_modified)
    assert after.not_modified(None, before.last_modified) is None


def headers_of(answer):
    return dict(answer.headers)


@pytest.fixture
def snapshot():
    return Snapshot(b'{"pipelines": []}' * 100, 1000.0, 1_600_000_000.75, compress=True)


def test_the_plain_answer(snapshot):
    answer = respond(snapshot, "", None, None)

    assert (answer.status, answer.body) == ("200 OK", snapshot.body)
    headers = headers_of(answer)
    assert headers == {
        "Content-Type": "application/json; charset=utf-8",
        "Content-Length": str(len(snapshot.body)),
        "Cache-Control": "public, max-age=1",
        "Last-Modified": "Sun, 13 Sep 2020 12:26:40 GMT",
        "Vary": "Accept-Encoding",
        "Access-Control-Allow-Origin": "*",
        "ETag": snapshot.etag,
    }


def test_the_compressed_answer_is_another_representation(snapshot):
    answer = respond(snapshot, "gzip", None, None)
    headers = headers_of(answer)

    assert gzip.decompress(answer.body) == snapshot.body
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Content-Length"] == str(len(answer.body))
    assert headers["ETag"] == snapshot.gzip_etag != snapshot.etag
    assert headers["ETag"].startswith('"')
    assert headers["Vary"] == "Accept-Encoding"


def test_compression_costs_nothing_per_request(snapshot):
    assert respond(snapshot, "gzip", None, None) is respond(snapshot, "gzip, br", None, None)


def test_a_client_that_takes_gzip_gets_plain_where_there_is_nothing_else():
    snapshot = Snapshot(b"{}", 0, 0, compress=False)

    assert respond(snapshot, "gzip", None, None) is snapshot.plain


def test_compression_is_done_while_somebody_wants_it(snapshots, clock):
    assert snapshots.get("t").packed is None
    clock.now += 5
    assert snapshots.get("t", want_gzip=True).packed is not None
    clock.now += module.GZIP_WANTED_SECONDS - 1
    assert snapshots.get("t").packed is not None
    clock.now += 5
    assert snapshots.get("t").packed is None


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', '{},"x"', '"x" ,  W/{}'])
@pytest.mark.parametrize("which", ["etag", "gzip_etag"])
@pytest.mark.parametrize("accept_encoding", ["", "gzip"])
def test_either_entity_tag_gets_304(snapshot, form, which, accept_encoding):
    etag = getattr(snapshot, which)

    answer = respond(snapshot, accept_encoding, form.format(etag), None)

    assert (answer.status, answer.body) == ("304 Not Modified", b"")
    assert headers_of(answer)["ETag"] == etag
    assert {"Cache-Control", "Vary", "Access-Control-Allow-Origin"} <= headers_of(answer).keys()
    # Nothing of the representation but what caches go by (RFC 9110, 15.4.5).
    assert not {"Content-Type", "Content-Length", "Content-Encoding", "Last-Modified"} & headers_of(answer).keys()


def test_a_star_matches_whatever_there_is(snapshot):
    assert respond(snapshot, "", "*", None).status == "304 Not Modified"


@pytest.mark.parametrize("tag", ['"x"', "", "x", '"*"', "W/"])
def test_another_entity_tag_gets_the_whole_whatever_its_date(snapshot, tag):
    assert respond(snapshot, "", tag, snapshot.last_modified) is snapshot.plain


MOMENT = 1_600_000_000


@pytest.mark.parametrize(
    ("since", "unchanged"),
    [
        (formatdate(MOMENT, usegmt=True), True),
        (formatdate(MOMENT + 3600, usegmt=True), True),
        (formatdate(MOMENT - 1, usegmt=True), False),
        ("Sunday, 13-Sep-20 12:26:40 GMT", True),
        ("Sunday, 13-Sep-20 12:26:39 GMT", False),
        (asctime(gmtime(MOMENT)), True),
        (asctime(gmtime(MOMENT - 1)), False),
        ("Sun, 13 Sep 2020 14:26:40 +0200", True),
        ("", False),
        ("yesterday", False),
        ("Sun, 99 Sep 2020 12:26:40 GMT", False),
        ("Sun, 13 Sep 99999999999 12:26:40 GMT", False),
        (str(MOMENT), False),
    ],
)
def test_forms_of_if_modified_since(snapshot, since, unchanged):
    assert (respond(snapshot, "", None, since).status == "304 Not Modified") is unchanged


def test_items_are_found_by_id_wherever_they_are():
    def pipeline(*ids):
        return {"change_queues": [{"heads": [[{"id": item_id} for item_id in ids]]}]}

    status = {"pipelines": [pipeline("1,1", "2,1"), pipeline("1,1", None)]}
    found = Snapshot(json.dumps(status).encode(), 0, 0, compress=False).items_by_id

    assert {name: len(items) for name, items in found.items()} == {"1,1": 2, "2,1": 1, None: 1}


def test_a_status_of_a_tenant_that_is_not_loaded_has_no_items():
    assert Snapshot(b'{"message": "not loaded", "code": 204}', 0, 0, compress=False).items_by_id == {}
