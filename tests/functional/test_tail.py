# SPDX-License-Identifier: Apache-2.0
"""How `zuul-rest tail` follows a log through whatever a server does: what comes out is exactly the log.

Nobody sleeps: the pauses are counted only.
"""

from __future__ import annotations

import io
import random
import socket
import threading
from email.utils import formatdate

import pytest
from log_server import (
    BYTES,
    END,
    LOG,
    PING,
    UUID,
    chunked,
    error,
    events,
    head,
    refusal,
    stream,
    tenants,
    text_event,
)

from zuul.web.build_url import Build
from zuul.web.tail import LOST_TRIES, TRIES, Follower, LogError


class Reader:
    def __init__(self, server, tenant="example", prefixes=("/v1",), silence_seconds=20.0):
        self.out = io.BytesIO()
        self.notes = []
        self.pauses = []
        self.silent = threading.Event()
        build = Build(UUID, tenant, tuple(server.url + prefix for prefix in prefixes))
        self.follower = Follower(
            build, self.out, self.notes.append, sleep=self.sleep, chance=lambda: 1.0, silence_seconds=silence_seconds
        )

    def sleep(self, seconds):
        self.pauses.append(seconds)
        self.silent.set()

    def follow(self):
        self.follower.follow()
        return self.out.getvalue()

    def fail(self):
        with pytest.raises(LogError) as failure:
            self.follower.follow()
        return str(failure.value)


@pytest.fixture
def reader(server):
    return Reader(server)


def test_the_whole_log_comes_in_one_connection(server, reader):
    server.script = [stream(events(), END)]

    assert reader.follow() == BYTES
    assert [request.path for request in server.requests] == [f"/v1/tenants/example/builds/{UUID}/log"]
    assert server.requests[0].fields["Accept"] == "text/event-stream"
    assert "Last-Event-Id" not in server.requests[0].fields
    assert (reader.pauses, reader.notes) == ([], ["this was the whole log"])


@pytest.mark.parametrize("respond", [stream, chunked], ids=["close", "chunked"])
@pytest.mark.parametrize("seed", range(20))
def test_a_log_cut_anywhere_is_the_log(server, reader, respond, seed):
    rng = random.Random(seed)

    def cut(request):
        whole = respond(events(request.start, seed=seed) + END)
        yield whole[: rng.choice([0, 200, 3000, 20000, 10**6, *([10, 30] if request.start else [])])]

    server.script = [cut]

    assert reader.follow() == BYTES


def test_where_it_was_cut_off_it_goes_on(server, reader):
    server.script = [stream(events(0, 1000), b"data: half a"), server.RESET, lambda r: [stream(events(r.start), END)]]

    assert reader.follow() == BYTES
    assert [request.start for request in server.requests] == [0, 1000, 1000]
    assert reader.notes[0] == "the connection was cut; trying again in 1.0 s"
    assert reader.pauses == [1.0, 2.0]


def test_of_an_event_that_was_not_the_next_nothing_is_written(server, reader):
    server.script = [stream(events(0, 1000)), stream(events(0), END), lambda r: [stream(events(r.start), END)]]

    assert reader.follow() == BYTES


def test_a_server_that_cannot_resume_is_given_up(server, reader):
    server.script = [stream(events(0, 1000)), stream(events(0), END)]

    assert "something else than the log goes on with" in reader.fail()
    assert reader.out.getvalue() == BYTES[:1000]
    assert len(server.requests) == 2 + LOST_TRIES


def test_events_of_other_kinds_are_passed_over(server, reader):
    server.script = [stream(b"retry: 10\n\n", b"event: new\ndata: x\n\n", PING, events(), PING, END)]

    assert reader.follow() == BYTES


@pytest.mark.parametrize("code, reason", [(1001, "going down"), (4008, "too slow")])
def test_a_connection_that_the_server_closes_is_followed_by_another(server, reader, code, reason):
    server.script = [stream(events(0, 1000), error(code, reason)), lambda r: [stream(events(r.start), END)]]

    assert reader.follow() == BYTES
    assert reader.pauses == [1.0]
    assert reader.notes[0].startswith(f"the server closes the connection ({reason})")


def test_a_server_that_says_so_all_the_time_is_given_up(server, reader):
    server.script = [stream(error(1001, "going down"))]

    assert "going down" in reader.fail()
    assert len(reader.pauses) == TRIES
    assert reader.pauses[:6] == [1, 2, 4, 8, 16, 30] and max(reader.pauses) == 30


def test_the_server_may_name_the_first_pause(server, reader):
    server.script = [stream(b"retry: 3000\n\n", PING), server.RESET, stream(events(), END)]

    assert reader.follow() == BYTES
    assert reader.pauses == [3.0, 6.0]


def test_pings_count_as_an_answer(server, reader):
    server.script = [stream(PING)] * (TRIES + 5) + [stream(events(), END)]

    assert reader.follow() == BYTES
    assert set(reader.pauses) == {1.0}
    assert reader.notes.count("waiting for the log to begin") == 1


def test_a_silent_connection_is_dead(server):
    reader = Reader(server, silence_seconds=0.3)

    def fall_silent(request):
        yield stream(events(0, 1000))
        server.hold.wait(20)

    server.script = [fall_silent, lambda r: [stream(events(r.start), END)]]
    server.hold = reader.silent

    assert reader.follow() == BYTES
    assert reader.notes[0] == "nothing comes any more; trying again in 1.0 s"


def test_who_reads_a_log_that_has_begun_does_not_wait(server, reader):
    large = text_event(LOG, len(BYTES))
    server.script = [stream(large[:5], large[5:], PING, END)]

    assert reader.follow() == BYTES
    assert reader.notes == ["this was the whole log"]


def test_a_lost_executor_is_tried_a_few_times(server, reader):
    server.script = [stream(events(0, 1000), error(4011, "Remote error")), stream(PING, error(4011, "Remote error"))]

    assert "4011 Remote error" in (sentence := reader.fail())
    assert "the log broke off after 1000 bytes" in sentence
    assert reader.out.getvalue() == BYTES[:1000]
    assert len(reader.pauses) == LOST_TRIES


def test_an_executor_that_is_back_sends_the_rest(server, reader):
    lost = stream(error(4011, "Remote error"))
    server.script = [stream(events(0, 1000)), lost, lost, lambda r: [stream(events(r.start), END)]]

    assert reader.follow() == BYTES


@pytest.mark.parametrize("code, reason", [(4011, "Build ID x not found"), (4011, "Error with Gearman"), (4000, "no")])
def test_another_error_is_final(server, reader, code, reason):
    server.script = [stream(error(code, reason))]

    assert reader.fail() == f"the server ends the log with {code} {reason}"
    assert reader.pauses == []


def test_a_build_that_does_not_run_is_said_at_once(server, reader):
    server.script = [refusal("404 Not Found", f"Build {UUID} does not run.")]

    assert reader.fail() == f"tenant example of {server.url}: Build {UUID} does not run."
    assert len(server.requests) == 1


@pytest.mark.parametrize("again", [404, 4011])
def test_where_it_ran_a_moment_ago_the_scheduler_is_asked_again(server, reader, again):
    missing = refusal("404 Not Found", "no") if again == 404 else stream(error(4011, "Error with Gearman"))
    server.script = [stream(events(0, 9)), missing, missing, lambda r: [stream(events(r.start), END)]]

    assert reader.follow() == BYTES


def test_a_build_that_ended_while_nobody_listened_is_given_up(server, reader):
    server.script = [stream(events(0, 1000)), refusal("404 Not Found", "It does not run.")]

    assert reader.fail().startswith("It does not run.")
    assert len(server.requests) == 2 + LOST_TRIES


@pytest.mark.parametrize("retry_after, pause", [("7", 8.0), ("86400", 301.0), ("0", 1.0), ("soon", 1.0)])
def test_a_busy_server_says_when_to_come_again(server, reader, retry_after, pause):
    server.script = [refusal("503 Service Unavailable", "Busy.", Retry_After=retry_after), stream(events(), END)]

    assert reader.follow() == BYTES
    assert reader.pauses == [pause]
    assert reader.notes[0].startswith("the server answers 503 Service Unavailable: Busy.; trying again")


def test_it_may_say_it_with_a_date(server, reader):
    past = formatdate(0, usegmt=True)
    server.script = [refusal("503 Service Unavailable", Retry_After=past), stream(events(), END)]

    assert reader.follow() == BYTES
    assert reader.pauses == [1.0]


def test_a_proxys_error_passes_but_not_for_ever(server, reader):
    server.script = [refusal("502 Bad Gateway")]

    assert reader.fail() == f"the server answers 502 Bad Gateway; {TRIES} more attempts have not helped"


def test_an_executor_that_does_not_answer_is_tried_a_few_times(server, reader):
    server.script = [refusal("502 Bad Gateway", "the executor cannot be reached")]

    assert "the executor cannot be reached; 3 more attempts have not helped" in reader.fail()


def test_a_proxys_page_between_two_connections_passes(server, reader):
    page = head(content_type="text/html") + b"<html>back soon"
    server.script = [stream(events(0, 9)), page, refusal("404 Not Found"), lambda r: [stream(events(r.start), END)]]

    assert reader.follow() == BYTES


@pytest.mark.parametrize("status", ["403 Forbidden", "416 Range Not Satisfiable"])
def test_a_refusal_is_final(server, reader, status):
    server.script = [refusal(status, "No.")]

    assert reader.fail() == f"the server answers {status}: No."


@pytest.mark.parametrize(
    "tenant, page",
    [
        ("example", refusal("404 Not Found")),
        ("example", head(content_type="text/html") + b"<html>"),
        (None, refusal("404 Not Found")),
        (None, head(content_type="text/html") + b"<html>"),
        (None, refusal("404 Not Found", "Nothing is here.")),
    ],
)
def test_zuul_web_has_no_such_url(server, tenant, page):
    server.script = [page]

    reader = Reader(server, tenant, prefixes=("/v1", "/api/v1"))

    assert reader.fail().startswith(f"{server.url} has no such URL of a log ({server.url}/v1/tenants/.../log)")
    assert len(server.requests) == 2


def test_where_only_api_is_passed_on_the_log_is_below_api(server):
    server.script = [refusal("404 Not Found"), stream(events(0, 9)), lambda r: [stream(events(r.start), END)]]

    assert Reader(server, prefixes=("/v1", "/api/v1")).follow() == BYTES
    assert [request.path.split("/tenants")[0] for request in server.requests] == ["/v1", "/api/v1", "/api/v1"]


def test_the_tenant_is_found(server):
    missing = refusal("404 Not Found", "no")
    server.script = [tenants("a", "b/c", "d"), missing, stream(events(0, 9)), lambda r: [stream(events(r.start), END)]]

    assert Reader(server, tenant=None).follow() == BYTES
    log_urls = [f"/v1/tenants/{tenant}/builds/{UUID}/log" for tenant in ("a", "b%2Fc", "b%2Fc")]
    assert [request.path for request in server.requests] == ["/v1/tenants?fields=name&limit=2000", *log_urls]


def test_a_build_in_no_tenant_is_said_at_once(server):
    server.script = [tenants("a", "b"), refusal("404 Not Found", "no")]

    assert Reader(server, tenant=None).fail() == f"no tenant of {server.url} runs a build {UUID}"


def test_a_server_that_is_not_there_is_one_line(server):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        server.url = f"http://127.0.0.1:{probe.getsockname()[1]}"

    assert Reader(server).fail() == f"{server.url} cannot be reached: Connection refused"


def test_a_server_that_goes_away_for_a_while_is_waited_for(server, reader):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        away = f"http://127.0.0.1:{probe.getsockname()[1]}"
    server.script = [lambda r: [head("307 Temporary Redirect", Location=server.url + "/moved")]]
    server.script += [stream(events(0, 9)), head("307 Temporary Redirect", Location=away)]
    server.script += [lambda r: [stream(events(r.start), END)]]

    assert reader.follow() == BYTES
    assert [request.start for request in server.requests] == [0, 0, 9, 9]
    assert reader.notes[1].startswith(f"{server.url} cannot be reached: Connection refused; trying")


def test_what_speaks_no_http_is_one_line(server, reader):
    server.script = [b"SSH-2.0-OpenSSH_9.2\r\n"]

    assert reader.fail().startswith(f"{server.url} is no HTTP server")
