# SPDX-License-Identifier: Apache-2.0
"""Live logs as doc/streaming.md has them, from the outside: a real server, and an executor that a test scripts."""

from __future__ import annotations

import http.client
import itertools
import json
import re
import threading
import time
import urllib.request

import pytest
from executor import Executor
from pipelines import Zuul
from server_process import Served, ServerProcess
from services import free_port, wait_until
from streams import PING, TEXT, Closed, Get, Refused, ServerSentEvents, WebSocket, console

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")

NO_MORE_DATA = Closed(1000, "No more data")
NOT_RUNNING = Closed(4011, "Error with Gearman")
REMOTE_ERROR = Closed(4011, "Remote error")
MIXED = "x: é€😀\r\n\x1b[31mrød\x1b[0m\r 50%\r100%\n"
SOME_SECONDS = 20
"""How long "some seconds" may be."""


@pytest.fixture(scope="module")
def executor():
    executor = Executor()
    yield executor
    executor.stop()


@pytest.fixture(scope="module")
def zuul():
    zuul = Zuul()
    yield zuul
    zuul.stop()


@pytest.fixture(scope="module")
def builds(zuul, executor):
    """Builds that run from before the first look at the status, which is made once a second at most."""
    return [zuul.build(executor.address) for _ in range(200)]


@pytest.fixture(scope="module")
def server(zuul, builds, tmp_path_factory):
    server = Served(tmp_path_factory.mktemp("server"), zuul.port, rest="log_wait=2\nstream_patience=2")
    yield server
    server.terminate()
    assert server.ended() == 0
    assert "Traceback" not in server.output


@pytest.fixture(scope="module")
def port(server):
    return server.port


@pytest.fixture
def start(zuul, tmp_path):
    """Starts a server of the test's own."""
    servers = []

    def begin(**options):
        servers.append(Served(tmp_path / f"server-{len(servers)}", zuul.port, **options))
        return servers[-1]

    yield begin
    for server in servers:
        server.kill()
        assert "Traceback" not in server.output


@pytest.fixture
def running(zuul, builds, executor):
    """Gives the log of a running build, whose `build` is at hand too; a fresh one has begun just now."""
    made = []

    def begin(text="", tenant="one", fresh=False):
        build = zuul.build(executor.address, tenant) if fresh or tenant != "one" or not builds else builds.pop()
        log = executor.log(build.uuid)
        log.build = build
        log.write(text.encode())
        made.append(log)
        return log

    yield begin
    for log in made:
        finish(log)


def finish(log):
    """The build ends as a real one does: the scheduler has its result, then the executor hangs up."""
    log.build.finish()
    log.end()


def log_url(log, tenant="one"):
    return f"/v1/tenants/{tenant}/builds/{log.uuid}/log"


def ask(port, path, fields=None, method="GET"):
    """Status, header fields and body."""
    with Get(port, path, fields, method=method) as got:
        return got.status, got.fields, got.body()


def assert_refusal(status, fields, body, *statuses):
    """The one JSON shape of errors."""
    assert status in statuses, (status, body)
    assert fields["Content-Type"].partition(";")[0] == "application/json"
    shape = json.loads(body)
    assert shape["faultcode"] == ("Server" if status >= 500 else "Client")
    assert shape["faultstring"]
    assert shape["debuginfo"] is None


def refusal(port, path, fields, *statuses, method="GET"):
    """The answer to a handshake that is not taken."""
    with pytest.raises(Refused) as caught:
        WebSocket(port, path, fields, method=method)
    assert_refusal(caught.value.status, caught.value.fields, caught.value.body, *statuses)
    return caught.value


# -- what takes its time begins first, and is looked at last


@pytest.fixture(scope="module", autouse=True)
def begun_early(port, zuul, executor):
    """A websocket that asks for nothing, and two readers of a log that falls silent."""
    build = zuul.build(executor.address)
    log = executor.log(build.uuid)
    log.write(b"and no more\n")
    silent = WebSocket(port, "/api/tenant/one/console-stream")
    viewer = console(port, build.uuid)
    sse = ServerSentEvents(port, f"/v1/tenants/one/builds/{build.uuid}/log")
    yield silent, viewer, sse, time.monotonic()
    build.finish()
    log.end()
    for client in (silent, viewer, sse):
        client.drop()


# -- the end of a log


def test_the_end_of_a_log_is_1000(port, running):
    log = running("one\n")
    with console(port, log.uuid) as viewer:
        viewer.read("one\n")
        log.write(b"two\n")
        viewer.read("two\n")
        finish(log)
        assert viewer.rest() == NO_MORE_DATA


def test_a_log_without_a_byte_ends_too(port, running):
    """Which a log of a real executor never is."""
    log = running()
    with console(port, log.uuid) as viewer:
        wait_until(lambda: log.readers, what="the server's question for the log")
        finish(log)
        closed = viewer.rest()
    assert (closed.code, closed.text) in ((1000, ""), (4011, ""))


def test_a_build_that_has_begun_just_now_has_a_log(port, running):
    """While somebody looks at the status all the time, so that the server has one from before that build."""
    for _ in range(3):
        began = time.monotonic()
        while time.monotonic() - began < 1.2:
            assert ask(port, "/api/tenant/one/status")[0] == 200
        log = running("line\n", fresh=True)
        with console(port, log.uuid) as viewer:
            viewer.read("line\n")
    log = running("line\n", fresh=True)
    with Get(port, f"{log_url(log)}?follow=true") as got:
        assert (got.status, got.read(5)) == (200, b"line\n")


def test_hanging_up_just_before_the_result_is_known_is_the_end_too(port, running):
    log = running("all\n")
    with console(port, log.uuid) as viewer:
        viewer.read("all\n")
        log.end()
        log.build.finish()
        assert viewer.rest() == NO_MORE_DATA


def test_a_large_log_arrives_whole(port, running):
    text = "".join(f"{number:07} {MIXED}" for number in range(60_000))
    log = running(text)
    with console(port, log.uuid) as viewer:
        viewer.read(text)
        finish(log)
        assert viewer.rest() == NO_MORE_DATA


@pytest.mark.parametrize("path", [
    "/api/tenant/one/console-stream",
    "/v1/tenants/one/console-stream",
    "/api/v1/tenants/one/console-stream",
    "/one/console-stream",
    "/console-stream",
])  # fmt: skip
def test_every_url_has_the_log(port, running, path):
    log = running("line\n")
    with WebSocket(port, path) as viewer:
        viewer.send(json.dumps({"uuid": log.uuid, "logfile": "console.log"}))
        viewer.read("line\n")
        finish(log)
        assert viewer.rest() == NO_MORE_DATA


# -- requests


@pytest.mark.parametrize(
    ("request_text", "reason"),
    [
        ('{"logfile": "console.log"}', "'uuid' missing from request payload"),
        ('{"uuid": "0123"}', "'logfile' missing from request payload"),
        ("{}", "'uuid' missing from request payload"),
        ("no JSON", None),
        ("", None),
        ("[]", None),
        ("null", None),
        ('"uuid"', None),
        ('{"uuid": 7, "logfile": "console.log"}', None),
        ('{"uuid": null, "logfile": "console.log"}', None),
        ('{"uuid": "0123", "logfile": "console.log", "offset": -1}', None),
        ('{"uuid": "0123", "logfile": "console.log", "offset": 1.5}', None),
        ('{"uuid": "0123", "logfile": "console.log", "offset": "1"}', None),
        ('{"uuid": "0123", "logfile": "console.log", "offset": true}', None),
        ('{"uuid": "0123", "logfile": "console.log", "offset": NaN}', None),
        ("[" * 4000, None),
    ],
)
def test_a_wrong_request_is_4000(port, request_text, reason):
    with WebSocket(port, "/api/tenant/one/console-stream") as viewer:
        viewer.send(request_text)
        closed = viewer.rest()
    assert (closed.code, closed.text) == (4000, "")
    assert closed.reason
    assert reason is None or closed.reason == reason


def test_a_second_message_is_4000(port, running):
    log = running("line\n")
    with console(port, log.uuid) as viewer:
        viewer.read("line\n")
        viewer.send(json.dumps({"uuid": log.uuid, "logfile": "console.log"}))
        closed = viewer.rest()
    assert closed.code == 4000
    assert closed.reason


def test_a_binary_request_is_1003(port):
    with WebSocket(port, "/api/tenant/one/console-stream") as viewer:
        viewer.send(b'{"uuid": "0123", "logfile": "console.log"}')
        closed = viewer.rest()
    assert closed.code == 1003
    assert closed.reason


@pytest.mark.parametrize("sent", ["as one frame", "in pieces", "only its head"])
def test_a_request_of_more_than_4096_bytes_is_1009(port, sent):
    request = json.dumps({"uuid": "0123", "logfile": "console.log", "more": "x" * 5000}).encode()
    with WebSocket(port, "/api/tenant/one/console-stream") as viewer:
        if sent == "as one frame":
            viewer.send_frame(TEXT, request)
        elif sent == "in pieces":
            viewer.send_frame(TEXT, request[:3000], final=False)
            viewer.send_frame(0, request[3000:])
        else:
            viewer.send_bytes(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"mask")
        closed = viewer.rest()
    assert closed.code == 1009


def test_a_request_of_4096_bytes_is_taken(port, running):
    log = running("line\n")
    request = {"uuid": log.uuid, "logfile": "console.log", "more": ""}
    request["more"] = "x" * (4096 - len(json.dumps(request)))
    with WebSocket(port, "/api/tenant/one/console-stream") as viewer:
        viewer.send(json.dumps(request))
        viewer.read("line\n")


def test_a_request_in_pieces_with_a_ping_between_is_taken(port, running):
    log = running("line\n")
    request = json.dumps({"uuid": log.uuid, "logfile": "console.log"}).encode()
    with WebSocket(port, "/api/tenant/one/console-stream") as viewer:
        viewer.send_frame(TEXT, request[:10], final=False)
        viewer.send_frame(PING, b"hello")
        viewer.send_frame(0, request[10:20], final=False)
        viewer.send_frame(0, request[20:])
        viewer.read("line\n")


def test_text_that_is_not_utf8_is_1007(port):
    with WebSocket(port, "/api/tenant/one/console-stream") as viewer:
        viewer.send_frame(TEXT, b'{"uuid": "\xff"}')
        assert viewer.rest().code == 1007


def test_a_viewer_may_close(port, running):
    log = running("line\n")
    with console(port, log.uuid) as viewer:
        viewer.read("line\n")
        assert viewer.close(1000).code == 1000


# -- 4011


@pytest.mark.parametrize("uuid", ["0123456789abcdef" * 2, "", "01\n23", "../../etc/passwd", "é", "0" * 3000])
def test_an_unknown_build_is_4011(port, uuid):
    with console(port, uuid) as viewer:
        assert viewer.rest() == NOT_RUNNING


def test_a_build_of_another_tenant_is_4011(port, running):
    log = running("secret\n", tenant="two")
    with console(port, log.uuid, tenant="one") as viewer:
        assert viewer.rest() == NOT_RUNNING
    assert log.asked == 0
    with console(port, log.uuid, tenant="two") as viewer:
        viewer.read("secret\n")
    with console(port, log.uuid, tenant="one") as viewer:
        assert viewer.rest() == NOT_RUNNING


@pytest.mark.parametrize("tenant", ["none", "%2e%2e", "one%0a"])
def test_a_tenant_that_does_not_exist_has_no_logs(port, running, tenant):
    log = running("line\n")
    with console(port, log.uuid, tenant=tenant) as viewer:
        assert viewer.rest() == NOT_RUNNING


def test_an_executor_that_refuses_the_connection_is_4011(port, zuul):
    build = zuul.build(("127.0.0.1", free_port()))
    with console(port, build.uuid) as viewer:
        closed = viewer.rest()
    assert (closed.code, closed.text) == (4011, "")
    assert closed.reason not in ("", NOT_RUNNING.reason)


def test_an_executor_whose_host_has_no_address_is_4011(port, zuul):
    build = zuul.build(("no-such-host.invalid", 7900))
    with console(port, build.uuid) as viewer:
        closed = viewer.rest()
    assert closed.code == 4011
    assert closed.reason not in ("", NOT_RUNNING.reason)


@pytest.mark.parametrize("refused", ["Build ID {} not found", "Log not found for build ID {}",
                                     "Build ID {} is not valid", "Internal streaming error"])  # fmt: skip
def test_what_the_executor_complains_of_is_the_reason_of_4011(port, executor, zuul, refused):
    build = zuul.build(executor.address)
    executor.refusals[build.uuid] = refused.format(build.uuid)
    with console(port, build.uuid) as viewer:
        assert viewer.rest() == Closed(4011, refused.format(build.uuid))


def test_a_log_that_begins_like_a_complaint_is_a_log(port, running):
    log = running()
    text = f"Build ID {log.uuid} not found in the cache\n"
    with console(port, log.uuid) as viewer:
        log.write(text.encode())
        viewer.read(text)
        finish(log)
        assert viewer.rest() == NO_MORE_DATA


def test_an_executor_that_dies_is_a_remote_error(port, running):
    log = running("line\n")
    with console(port, log.uuid) as viewer:
        viewer.read("line\n")
        log.die()
        assert viewer.rest() == REMOTE_ERROR


@pytest.mark.parametrize("broken", ["reset", "hang_up"])
def test_a_connection_that_breaks_while_the_build_runs_is_made_again(port, running, broken):
    """And nobody notices, be it in the midst of a character."""
    log = running("line é\n")
    log.write("é".encode()[:1])
    with console(port, log.uuid) as viewer:
        viewer.read("line é\n")
        getattr(log, broken)()
        log.write("é".encode()[1:] + b" more\n")
        viewer.read("é more\n")
        finish(log)
        assert viewer.rest() == NO_MORE_DATA


def test_a_lost_executor_is_asked_again_for_the_next_viewer(port, running):
    log = running("line\n")
    with console(port, log.uuid) as viewer:
        viewer.read("line\n")
        log.die()
        assert viewer.rest() == REMOTE_ERROR
    log.dead = False
    log.write(b"more\n")
    with console(port, log.uuid, offset=5) as viewer:
        viewer.read("more\n")
        finish(log)
        assert viewer.rest() == NO_MORE_DATA


def test_a_build_that_no_executor_has_taken_is_waited_for(port, zuul, executor):
    build = zuul.build(None)
    asked = zuul.asked("get_job_log_stream_address") + zuul.asked("status_get", "one")
    with console(port, build.uuid) as viewer:
        wait_until(
            lambda: zuul.asked("get_job_log_stream_address") + zuul.asked("status_get", "one") > asked,
            what="a question to the scheduler",
        )
        log = executor.log(build.uuid)
        log.write(b"begun\n")
        build.start(executor.address)
        viewer.read("begun\n")
        build.finish()
        log.end()
        assert viewer.rest() == NO_MORE_DATA


def test_a_build_that_no_executor_takes_is_4011(port, zuul):
    began = time.monotonic()
    with console(port, zuul.build(None).uuid) as viewer:
        closed = viewer.rest()
    assert (closed.code, closed.text) == (4011, "")
    assert 1.5 < time.monotonic() - began < 10


# -- bytes


@pytest.mark.parametrize("cut", range(1, len(MIXED.encode())))
def test_text_may_be_cut_at_every_byte(port, running, cut):
    source = MIXED.encode()
    log = running()
    with console(port, log.uuid) as viewer:
        log.write(source[:cut])
        whole = source[:cut].decode(errors="ignore")
        viewer.read(whole)
        log.write(source[cut:])
        finish(log)
        assert viewer.rest() == Closed(1000, "No more data", MIXED[len(whole) :])


def test_bytes_that_are_no_utf8_are_replaced_the_same_for_all(port, running):
    source = b"a\xff\xfeb\xe2\x82\nc\xf0\x9f\x98d\xed\xa0\x80e"
    text = source.decode("utf-8", "replace")
    log = running()
    with console(port, log.uuid) as early:
        for byte in source:
            log.write(bytes([byte]))
        early.read(text)
        with console(port, log.uuid) as late:
            late.read(text)
            log.write(b"\xe2\x82")  # and the log ends inside of a character
            finish(log)
            ends = [viewer.rest() for viewer in (early, late)]
        with console(port, log.uuid, offset=4) as resumed:
            ends.append(resumed.rest())
    assert ends[0] == ends[1] == Closed(1000, "No more data", "\ufffd")
    assert ends[2] == Closed(1000, "No more data", (text + "\ufffd").encode()[4:].decode())


def test_a_byte_order_mark_and_a_null_come_through(port, running):
    text = "\ufeffa\0b\ufeff\n"
    log = running(text)
    with console(port, log.uuid) as viewer:
        viewer.read(text)


def test_every_offset_gives_the_rest(port, running):
    log = running(MIXED)
    source = MIXED.encode()
    with console(port, log.uuid) as whole:
        whole.read(MIXED)
        for offset in range(len(source)):
            with console(port, log.uuid, offset=offset) as viewer:
                if source[offset] & 0xC0 == 0x80:
                    closed = viewer.rest()
                    assert (closed.code, closed.text) == (4000, ""), offset
                    assert closed.reason
                else:
                    viewer.read(source[offset:].decode())
        with console(port, log.uuid, offset=len(source)) as viewer:
            log.write(b"more")
            viewer.read("more")
    assert log.asked == 1


def test_a_reader_that_was_cut_off_has_the_rest_after_the_end_also(port, running):
    log = running("0123456789")
    with console(port, log.uuid) as viewer:
        viewer.read("0123456789")
    log.write(b"abc")
    finish(log)
    with console(port, log.uuid, offset=10) as viewer:
        assert viewer.rest() == Closed(1000, "No more data", "abc")
    with console(port, log.uuid, offset=13) as viewer:
        assert viewer.rest() == NO_MORE_DATA


# -- many readers


def test_fifty_viewers_have_one_connection_to_the_executor(port, running, executor):
    log = running("before\n")
    viewers = [console(port, log.uuid) for _ in range(50)]
    try:
        for viewer in viewers:
            viewer.read("before\n")
        log.write(b"after\n")
        for viewer in viewers:
            viewer.read("after\n")
        assert log.asked == 1
        late = console(port, log.uuid)
        viewers.append(late)
        late.read("before\nafter\n")
        with ServerSentEvents(port, log_url(log)) as sse:
            assert next(sse.events()).data == "before\nafter\n"
        assert ask(port, log_url(log))[2] == b"before\nafter\n"
        finish(log)
        assert {viewer.rest() for viewer in viewers} == {NO_MORE_DATA}
    finally:
        for viewer in viewers:
            viewer.drop()
    assert log.asked == 1


def test_fifty_that_come_at_once_have_one_connection_too(port, running):
    log = running("line\n")
    viewers = [WebSocket(port, "/api/tenant/one/console-stream") for _ in range(50)]
    for viewer in viewers:
        viewer.send(json.dumps({"uuid": log.uuid, "logfile": "console.log"}))
    for viewer in viewers:
        viewer.read("line\n")
        viewer.drop()
    assert log.asked == 1


def test_after_the_last_viewer_the_connection_to_the_executor_ends(port, running):
    log = running("line\n")
    first, second = (console(port, log.uuid) for _ in range(2))
    first.read("line\n")
    second.read("line\n")
    first.drop()
    log.write(b"more\n")
    second.read("more\n")
    assert log.readers == 1
    second.drop()
    wait_until(lambda: log.readers == 0, SOME_SECONDS, "the end of the connection to the executor")


def test_what_is_no_longer_on_disk_is_had_anew(start, running):
    """The spool is half as large as the log. Who falls behind it, as its reader may, connects again with the offset."""
    server = start(rest="log_spool_bytes=4194304")
    text = "".join(f"{number:07} {MIXED}" for number in range(200_000))
    source = text.encode()
    assert len(source) > 8 << 20
    log = running(text)

    def read_all():
        found, attempts = bytearray(), 0
        while len(found) < len(source):
            attempts += 1
            assert attempts < 20, len(found)
            with console(server.port, log.uuid, offset=len(found)) as viewer:
                while len(found) < len(source) and (message := viewer.receive()) is not None:
                    found += message.encode()
                assert viewer.closed is None or viewer.closed.code == 4008, viewer.closed
        return bytes(found) == source

    assert read_all()
    with console(server.port, log.uuid, offset=len(source) - 1) as first:
        first.read("\n")
        assert read_all()
        log.write(b"live\n")
        first.read("live\n")
        finish(log)
        assert first.rest() == NO_MORE_DATA


def test_a_viewer_that_does_not_read_is_4008_and_holds_nobody_up(port, running):
    log = running()
    line = ("x" * 1023 + "\n").encode()
    with console(port, log.uuid, receive_bytes=4096) as stalled, console(port, log.uuid) as other:
        began = time.monotonic()
        written = 0
        while time.monotonic() - began < 6:  # more than stream_patience after the buffers of the kernel are full
            log.write(line * 64)
            written += 64 * len(line)
            left = 64 * len(line)
            while left:
                left -= len(other.receive())
            time.sleep(0.02)  # this is the log's pace, it waits for nothing
        assert log.readers == 1
        closed = stalled.rest()
    assert closed.code == 4008
    assert closed.reason
    assert len(closed.text) < written
    assert set(closed.text) <= {"x", "\n"}


# -- handshakes


@pytest.mark.parametrize(
    "origin", ["http://elsewhere.example", "null", "http://127.0.0.1.elsewhere.example", "https://"]
)
def test_a_page_of_another_origin_may_not(port, origin):
    refusal(port, "/api/tenant/one/console-stream", {"Origin": origin}, 403)
    refusal(port, "/v1/tenants/one/events", {"Origin": origin}, 403)


def test_a_page_of_the_same_host_may(port, running):
    log = running("line\n")
    fields = {"Origin": f"http://127.0.0.1:{port}"}
    with console(port, log.uuid, fields=fields) as viewer:
        viewer.read("line\n")


def test_a_page_of_an_origin_that_is_allowed_may(start, running):
    port = start(rest="allowed_origins=https://zuul.example").port
    log = running("line\n")
    with console(port, log.uuid, fields={"Origin": "https://zuul.example"}) as viewer:
        viewer.read("line\n")
    refusal(port, "/api/tenant/one/console-stream", {"Origin": "https://elsewhere.example"}, 403)
    with console(port, log.uuid) as viewer:
        viewer.read("line\n")


URLS = ["/api/tenant/one/console-stream", "/v1/tenants/one/console-stream", "/one/console-stream", "/console-stream"]


@pytest.mark.parametrize("path", URLS)
@pytest.mark.parametrize(
    "fields",
    [
        {"Sec-WebSocket-Version": "7"},
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": "thirteen"},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": "short"},
        {"Sec-WebSocket-Key": ""},
        {"Host": None},
        {"Upgrade": "h2c"},
        {"Connection": "keep-alive"},
    ],
    ids=lambda fields: " ".join(map(str, *fields.items())),
)
def test_a_wrong_handshake_is_refused(port, path, fields):
    refused = refusal(port, path, fields, 400, 426)
    if (fields.get("Sec-WebSocket-Version") or "").isdigit():
        assert "13" in refused.fields["Sec-WebSocket-Version"].split(",")


@pytest.mark.parametrize("path", URLS)
def test_a_plain_get_of_a_websocket_is_426(port, path):
    status, fields, body = ask(port, path)
    assert_refusal(status, fields, body, 426)
    assert fields["Upgrade"].lower() == "websocket"


@pytest.mark.parametrize("path", URLS)
def test_a_post_is_refused(port, path):
    refusal(port, path, {"Content-Length": "0"}, 400, 405, method="POST")
    status, fields, body = ask(port, path, method="POST")
    assert_refusal(status, fields, body, 400, 405)


def test_a_websocket_anywhere_else_is_refused(port):
    for path in ("/api/nowhere", "/v1/nowhere", "/api/tenant/one/console-stream/x", "/a/b/console-stream"):
        refusal(port, path, {}, 404)
    # A URL that is none of a websocket may be answered as if nobody had asked for one.
    with pytest.raises(Refused) as caught:
        WebSocket(port, "/api/tenants")
    assert caught.value.status < 500


def test_a_request_id_comes_back(port, running):
    log = running("line\n")
    fields = {"X-Request-Id": "mine-7"}
    with console(port, log.uuid, fields=fields) as viewer:
        assert viewer.fields["X-Request-Id"] == "mine-7"
    for path in (log_url(log), f"{log_url(log)}?follow=true", URLS[0]):
        with Get(port, path, fields) as got:
            assert got.fields["X-Request-Id"] == "mine-7"
    with ServerSentEvents(port, log_url(log), fields) as got:
        assert got.fields["X-Request-Id"] == "mine-7"
    with Get(port, log_url(log)) as got:
        assert got.fields["X-Request-Id"]


# -- limits


def holders(port, log):
    """One of each kind."""
    yield lambda: console(port, log.uuid)
    yield lambda: Get(port, f"{log_url(log)}?follow=true")
    yield lambda: ServerSentEvents(port, log_url(log))
    yield lambda: ServerSentEvents(port, "/v1/tenants/one/events")
    yield lambda: WebSocket(port, "/v1/tenants/one/events")


@pytest.mark.parametrize("option", ["streams", "streams_per_address"])
def test_beyond_the_limit_is_503(start, running, option):
    port = start(rest=f"{option}=1").port
    log = running("line\n")
    for hold in holders(port, log):
        with hold():
            refused = refusal(port, "/api/tenant/one/console-stream", {}, 503)
            assert int(refused.fields["Retry-After"]) > 0
            for path, accept in ((f"{log_url(log)}?follow=true", "*/*"), (log_url(log), "text/event-stream")):
                status, fields, body = ask(port, path, {"Accept": accept})
                assert_refusal(status, fields, body, 503)
                assert int(fields["Retry-After"]) > 0
            assert ask(port, "/api/tenants")[0] == 200

        def free(port=port):
            try:
                WebSocket(port, "/api/tenant/one/console-stream").drop()
            except Refused:
                return False
            return True

        wait_until(free, what="a place that is free again")

        def free_again(port=port):
            with ServerSentEvents(port, log_url(log)) as got:
                return got.status == 200

        wait_until(free_again, what="a place that is free again")


# -- over HTTP


def test_progressive_text(port, running):
    log = running("one\n")
    with console(port, log.uuid) as viewer:  # so that it is known what the server has
        viewer.read("one\n")
        status, fields, body = ask(port, log_url(log))
        assert (status, body) == (200, b"one\n")
        assert fields["Content-Type"] == "text/plain; charset=utf-8"
        assert (fields["X-Text-Size"], fields["X-More-Data"]) == ("4", "true")
        _, fields, body = ask(port, f"{log_url(log)}?start=4")
        assert (body, fields["X-Text-Size"], fields["X-More-Data"]) == (b"", "4", "true")
        log.write(b"two\n")
        viewer.read("two\n")
        _, fields, body = ask(port, f"{log_url(log)}?start=2")
        assert (body, fields["X-Text-Size"]) == (b"e\ntwo\n", "8")
        finish(log)
        assert viewer.rest() == NO_MORE_DATA
        _, fields, body = ask(port, f"{log_url(log)}?start=4")
        assert (body, fields["X-Text-Size"], fields["X-More-Data"]) == (b"two\n", "8", "false")


def test_progressive_text_of_a_large_log(port, running):
    """In many writes, of which some are read from disk; and once more while it grows all the time."""
    text = "".join(f"{number:07} {MIXED}" for number in range(20_000))
    source = text.encode()
    log = running(text)
    with console(port, log.uuid) as viewer:
        viewer.read(text)
    for start in (0, 70_000, len(source) - 100_000):
        status, fields, body = ask(port, f"{log_url(log)}?start={start}")
        assert (status, fields["X-Text-Size"]) == (200, str(len(source)))
        assert body == source[start:]
    stop = threading.Event()

    def write():
        while not stop.wait(0.005):
            log.write(b"0123456789abcdef\n" * 100)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        body = b""
        while len(body) < len(source) + 200_000:
            status, fields, piece = ask(port, f"{log_url(log)}?start={len(body)}")
            assert status == 200
            body += piece
            assert fields["X-Text-Size"] == str(len(body))
    finally:
        stop.set()
        writer.join(20)
    assert bytes(log.data).startswith(body)


def test_progressive_text_never_ends_inside_of_a_character(port, running):
    source = MIXED.encode()
    log = running()
    with console(port, log.uuid) as viewer:
        start, body = 0, b""
        for at, byte in enumerate(source):
            log.write(bytes([byte]))
            whole = source[: at + 1].decode(errors="ignore")
            if len(whole.encode()) == at + 1:
                viewer.read(whole[-1])
            _, fields, piece = ask(port, f"{log_url(log)}?start={start}")
            piece.decode("utf-8", "strict")
            body += piece
            start = int(fields["X-Text-Size"])
            assert body == whole.encode()
    assert body == source


def test_progressive_text_alone_reads_all(port, running):
    """Nobody else keeps the log in the server between two requests."""
    log = running("first\n")
    parts = [b"second\n", "drittens: é\r\n".encode(), b""]
    start, body, more = 0, b"", True

    def step():
        nonlocal start, body, more
        status, fields, piece = ask(port, f"{log_url(log)}?start={start}")
        assert status == 200
        start, body, more = int(fields["X-Text-Size"]), body + piece, fields["X-More-Data"] == "true"
        assert start == len(body)
        return len(body)

    expected = b"first\n"
    for part in parts:
        wait_until(lambda expected=expected: step() >= len(expected), what="what was written")
        assert body == expected
        log.write(part)
        expected += part
    finish(log)

    def ended():
        step()
        return not more

    wait_until(ended, what="X-More-Data: false")
    assert body == expected


@pytest.mark.parametrize(("start", "statuses"), [(5, (416,)), (10**17, (416,)), (10**30, (400, 416))])
def test_a_start_behind_the_end_is_refused(port, running, start, statuses):
    log = running("aéb")
    with console(port, log.uuid) as viewer:
        viewer.read("aéb")
        status, fields, body = ask(port, f"{log_url(log)}?start={start}")
        assert_refusal(status, fields, body, *statuses)


@pytest.mark.parametrize("query", ["start=x", "start=-1", "start=1.5", "start=", "follow=perhaps", "begin=1"])
def test_a_wrong_parameter_is_400(port, running, query):
    log = running("line\n")
    assert_refusal(*ask(port, f"{log_url(log)}?{query}"), 400)


@pytest.mark.parametrize("form", ["", "&follow=true"])
def test_a_start_inside_of_a_character_is_refused_or_gives_just_these_bytes(port, running, form):
    log = running("aéb")
    with console(port, log.uuid) as viewer, Get(port, f"{log_url(log)}?start=2{form}") as got:
        viewer.read("aéb")
        if got.status == 200:
            assert got.read(2) == "aéb".encode()[2:]
        else:
            assert_refusal(got.status, got.fields, got.body(), 400, 416)


FORMS = {"progressive": ("", "*/*"), "follow": ("?follow=true", "*/*"), "sse": ("", "text/event-stream")}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_running_here_is_404(port, running, form):
    query, accept = FORMS[form]
    log = running("secret\n", tenant="two")
    paths = [
        f"/v1/tenants/one/builds/{'0123456789abcdef' * 2}/log",
        log_url(log, "one"),
        log_url(log, "none"),
        "/v1/tenants/one/builds/no%20uuid/log",
    ]
    for path in paths:
        assert_refusal(*ask(port, path + query, {"Accept": accept}), 404)
    assert log.asked == 0


@pytest.mark.parametrize("form", FORMS)
def test_an_executor_that_complains_is_no_empty_log(port, executor, zuul, form):
    query, accept = FORMS[form]
    build = zuul.build(executor.address)
    executor.refusals[build.uuid] = f"Log not found for build ID {build.uuid}"
    path = f"/v1/tenants/one/builds/{build.uuid}/log"
    if form == "sse":
        with ServerSentEvents(port, path) as got:
            if got.status == 200:
                (event,) = got.events()
                assert event.name == "error"
                assert json.loads(event.data) == {"code": 4011, "reason": executor.refusals[build.uuid]}
                return
            assert_refusal(got.status, got.fields, got.body(), 404, 502, 503)
            return
    assert_refusal(*ask(port, path + query, {"Accept": accept}), 404, 502, 503)


def test_follow_to_the_end(port, running):
    log = running(MIXED)
    with Get(port, f"{log_url(log)}?follow=true") as got:
        assert (got.status, got.fields["Content-Type"]) == (200, "text/plain; charset=utf-8")
        assert got.fields["Transfer-Encoding"] == "chunked"
        assert got.read(len(MIXED.encode())).decode() == MIXED
        log.write(b"live\n")
        assert got.read(5) == b"live\n"
        with Get(port, f"{log_url(log)}?follow=true&start={len(MIXED.encode())}") as resumed:
            assert resumed.read(5) == b"live\n"
            finish(log)
            assert resumed.body() == got.body() == b""


def test_follow_that_breaks_has_no_last_chunk(port, running):
    log = running("line\n")
    with Get(port, f"{log_url(log)}?follow=true") as got:
        assert got.read(5) == b"line\n"
        log.die()
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            list(got.pieces())


def test_follow_is_not_compressed_into_a_buffer(port, running):
    """Who offers gzip still has each line as it comes."""
    log = running("line\n")
    with Get(port, f"{log_url(log)}?follow=true", {"Accept-Encoding": "identity;q=0.5, gzip"}) as got:
        if got.fields["Content-Encoding"] is None:
            assert got.read(5) == b"line\n"
            return
        import zlib

        inflate = zlib.decompressobj(31)
        found = b""
        while len(found) < 5:
            found += inflate.decompress(got.response.read1(65536))
        assert found == b"line\n"


def text_of(events):
    """What they carry of a log, checked against their ids."""
    found = b""
    for event in events:
        assert event.name in ("message", "json"), event
        found += event.text.encode()
        assert event.id == str(len(found))
    return found.decode()


def test_server_sent_events_carry_the_log(port, running):
    log = running("begin\n")
    with ServerSentEvents(port, log_url(log)) as got:
        assert got.status == 200
        assert got.fields["Content-Type"].partition(";")[0] == "text/event-stream"
        assert "no-store" in got.fields["Cache-Control"] or "no-cache" in got.fields["Cache-Control"]
        pieces = ["one\n", "two, un", "finished\n\n\n", "  indented: x\n", ": no comment\n", "data: no field\n",
                  "\r 10%\r 20%\n", "windows\r\n", "mac\r", "\n", "last é without newline"]  # fmt: skip
        events, taken, expected = got.events(), [], "begin\n"
        for piece in pieces:
            log.write(piece.encode())
            expected += piece
            while text_of(taken) != expected:
                taken.append(next(events))
                assert expected.startswith(text_of(taken))
                assert ("\r" in taken[-1].text) == (taken[-1].name == "json")
        finish(log)
        end = next(events)
        assert (end.name, json.loads(end.data)) == ("end", {"code": 1000, "reason": "No more data"})
        assert list(events) == []


def test_server_sent_events_resume(port, running):
    log = running("0123\n")
    path = log_url(log)
    with ServerSentEvents(port, path) as got:
        first = next(got.events())
        assert (first.data, first.id) == ("0123\n", "5")
    log.write(b"abc\n")
    with (
        ServerSentEvents(port, path, {"Last-Event-ID": "5"}) as resumed,
        ServerSentEvents(port, f"{path}?start=5") as started,
        ServerSentEvents(port, f"{path}?start=2", {"Last-Event-ID": "5"}) as both,
    ):
        for got in (resumed, started, both):  # a browser connects again to the same URL, with the field
            event = next(got.events())
            assert (event.data, event.id) == ("abc\n", "9")


def test_server_sent_events_tell_that_the_executor_is_lost(port, running):
    log = running("line\n")
    with ServerSentEvents(port, log_url(log)) as got:
        events = got.events()
        assert next(events).data == "line\n"
        log.die()
        error = next(events)
        assert (error.name, json.loads(error.data)) == ("error", {"code": 4011, "reason": "Remote error"})
        assert list(events) == []


def test_head_is_get_without_a_body(port, running):
    log = running("line\n")
    with console(port, log.uuid) as viewer:
        viewer.read("line\n")
        for query, accept in FORMS.values():
            status, fields, body = ask(port, log_url(log) + query, {"Accept": accept}, "HEAD")
            assert (status, body) == (200, b"")
            with Get(port, log_url(log) + query, {"Accept": accept}) as got:
                assert fields["Content-Type"] == got.fields["Content-Type"]
    assert ask(port, f"/v1/tenants/one/builds/{'0' * 32}/log", method="HEAD")[0] == 404


def test_options_and_other_methods(port, running):
    log = running("line\n")
    for path in (log_url(log), "/v1/tenants/one/events"):
        asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}
        status, fields, body = ask(port, path, asked, "OPTIONS")
        assert (status, body) == (204, b"")
        assert fields["Allow"] == fields["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"
        assert fields["Access-Control-Allow-Origin"] == "*"
        for method in ("POST", "PUT", "DELETE"):
            status, fields, body = ask(port, path, method=method)
            assert_refusal(status, fields, body, 405)
            assert fields["Allow"] == "GET, HEAD, OPTIONS"


def test_any_page_may_read_over_http(port, running):
    log = running("line\n")
    for query, accept in FORMS.values():
        with Get(port, log_url(log) + query, {"Accept": accept, "Origin": "https://example.org"}) as got:
            assert got.fields["Access-Control-Allow-Origin"] == "*"
            if not query and accept == "*/*":
                readable = got.fields["Access-Control-Expose-Headers"].split(", ")
                assert {"X-Text-Size", "X-More-Data", "X-Request-Id"} <= set(readable)


def test_a_connection_is_kept_for_the_next_request(port, running):
    log = running("line\n")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    for path in (log_url(log), f"{log_url(log)}?start=5", "/api/tenants", log_url(log)):
        connection.request("GET", path)
        with connection.getresponse() as response:
            assert response.status == 200
            response.read()
            assert connection.sock is not None
    connection.close()


# -- the whole server


def test_a_stop_closes_viewers_with_1001_and_breaks_off_what_is_no_websocket(start, running):
    server = start()
    log = running("line\n")
    viewers = [console(server.port, log.uuid) for _ in range(3)]
    silent = WebSocket(server.port, "/api/tenant/one/console-stream")
    listener = WebSocket(server.port, "/v1/tenants/one/events")
    for viewer in viewers:
        viewer.read("line\n")
    listener.json()
    with ServerSentEvents(server.port, log_url(log)) as sse, Get(server.port, f"{log_url(log)}?follow=true") as follow:
        events = sse.events()
        assert next(events).data == "line\n"
        assert follow.read(5) == b"line\n"
        began = time.monotonic()
        server.terminate()
        for client in (*viewers, silent, listener):
            closed = client.rest()
            assert (closed.code, closed.text) == (1001, "")
            client.drop()
        left = []
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            left.extend(events)
        assert left == []
        with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
            list(follow.pieces())
    assert server.ended(20) == 0
    assert time.monotonic() - began < 10
    wait_until(lambda: log.readers == 0, what="the end of the connection to the executor")


def test_viewers_leave_nothing_behind(port, server, running):
    log = running("line\n")
    ask(port, "/api/tenants")
    with console(port, log.uuid) as kept:
        kept.read("line\n")
        before = server.sockets()
        for number in range(30):
            with console(port, log.uuid) as viewer:
                viewer.read("line\n")
                if number % 2:
                    viewer.close(1001)
            with ServerSentEvents(port, log_url(log)) as sse:
                next(sse.events())
        wait_until(lambda: server.sockets() <= before, what="as many sockets as before")


def test_ordinary_requests_are_answered_meanwhile(port, running):
    log = running("begin\n")
    stop = threading.Event()

    def write():
        while not stop.is_set():
            log.write(b"0123456789abcdef\n" * 500)

    viewers = [console(port, log.uuid) for _ in range(5)]
    for viewer in viewers:
        viewer.read("begin\n")
    readers = [threading.Thread(target=lambda viewer=viewer: list(viewer.messages())) for viewer in viewers]
    writer = threading.Thread(target=write)
    for thread in (*readers, writer):
        thread.start()
    try:
        for _ in range(10):
            began = time.monotonic()
            assert ask(port, "/api/tenant/one/status")[0] == 200
            assert time.monotonic() - began < 2
    finally:
        stop.set()
        writer.join(20)
        finish(log)
        for thread in readers:
            thread.join(20)
    assert [viewer.closed for viewer in viewers] == [NO_MORE_DATA] * 5


# -- the sandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    port = free_port()
    process = ServerProcess(tmp_path_factory.mktemp("sandbox"), "sandbox", "--port", str(port), "--speed", "20")
    process.wait_for_output("Control-C ends it")

    def answers():
        try:
            return ask(port, "/api/tenants")[0] == 200
        except OSError:
            return False

    wait_until(answers, 20, "the sandbox")
    yield port
    process.terminate()
    process.ended()
    assert "Traceback" not in process.output


def running_builds(port, tenant):
    """The running builds of a tenant, the one that ends first before the others."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/tenant/{tenant}/status", timeout=20) as response:
        status = json.load(response)
    items = itertools.chain.from_iterable(
        head for pipeline in status["pipelines"] for queue in pipeline["change_queues"] for head in queue["heads"]
    )
    jobs = [job for item in items for job in item["jobs"] if job["start_time"] and not job["result"] and job["uuid"]]
    return sorted(jobs, key=lambda job: job["remaining_time"])


def test_the_sandbox_has_logs(sandbox):
    job = wait_until(lambda: running_builds(sandbox, "example"), 20, "a running build")[-1]
    path = f"/v1/tenants/example/builds/{job['uuid']}/log"
    body = wait_until(lambda: ask(sandbox, path)[2], 20, "text in the log").decode()
    with console(sandbox, job["uuid"], tenant="example") as viewer:
        found = ""
        while len(found) < len(body):
            found += viewer.receive()
    assert found.startswith(body)
    with Get(sandbox, f"{path}?follow=true") as got:
        assert got.read(len(body.encode())).decode() == body
    with ServerSentEvents(sandbox, path) as got:
        found = ""
        for event in got.events():
            found += event.text
            if len(found) >= len(body):
                break
    assert found.startswith(body)


def test_a_log_of_the_sandbox_grows_and_ends(sandbox):
    job = wait_until(lambda: running_builds(sandbox, "example"), 20, "a running build")[0]
    path = f"/v1/tenants/example/builds/{job['uuid']}/log?follow=true"
    with console(sandbox, job["uuid"], tenant="example") as viewer, Get(sandbox, path) as got:
        closed = viewer.rest()
        assert (closed.code, closed.reason) == (1000, "No more data")
        assert re.search(r"\n$", closed.text)
        assert got.body().decode() == closed.text


# -- what began early


def test_a_websocket_that_asks_for_nothing_is_closed_after_ten_seconds(begun_early):
    silent, _, _, began = begun_early
    closed = silent.rest()
    assert (closed.code, closed.text) == (4000, "")
    assert closed.reason
    assert time.monotonic() - began > 9.5


def test_readers_of_a_silent_log_are_kept_alive(begun_early):
    _, viewer, sse, began = begun_early
    events = sse.events(comments=True)
    assert next(events).data == "and no more\n"
    assert next(events).comment == "ping"
    assert time.monotonic() - began > 15
    viewer.read("and no more\n")
    viewer.send_frame(PING, b"still there")
    assert viewer.hears_nothing_but_pongs(0.5)
