# SPDX-License-Identifier: Apache-2.0
"""`zuul-rest tail` against a server that does whatever a script says: what comes out is exactly the log.

The server stands on a socket of 127.0.0.1 in a thread. Nobody sleeps: the pauses are counted only.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import pty
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from email.utils import formatdate

import pytest

from zuul.web.build_url import Build
from zuul.web.tail import LOST_TRIES, TRIES, Follower, LogError

UUID = "3c2d5b0f6b3c4f0e9d1a7c55d0b2a111"
LOG = "".join(
    f"2026-01-01 00:00:{n % 60:02}.000000 | \x1b[3{n % 8}mubuntu\x1b[0m | line {n} äö€🙂 \u2028{' ' * (n % 3)}\n"
    + ("progress 1\rprogress 2\r\n" if n % 7 == 0 else "\n" if n % 11 == 0 else "")
    for n in range(300)
)
BYTES = LOG.encode()

END = b'event: end\ndata: {"code": 1000, "reason": "No more data"}\n\n'
PING = b": ping\n\n"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def error(code, reason):
    return b"event: error\ndata: " + json.dumps({"code": code, "reason": reason}).encode() + b"\n\n"


def text_event(text, end):
    if "\r" in text:
        return f"event: json\nid: {end}\ndata: {json.dumps(text)}\n\n".encode()
    return f"id: {end}\n".encode() + b"".join(f"data: {line}\n".encode() for line in text.split("\n")) + b"\n"


def events(start=0, end=None, seed=0):
    """The log between two offsets as a server of ours sends it, in events of any size."""
    rng = random.Random(seed)
    text = BYTES[start:end].decode()
    sent = []
    while text:
        piece, text = text[: (size := rng.choice([1, 5, 80, 400]))], text[size:]
        start += len(piece.encode())
        sent.append(text_event(piece, start))
    return b"".join(sent)


def head(status="200 OK", content_type="text/event-stream", **fields):
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def stream(*parts):
    """A response that ends with its connection."""
    return head(Connection="close") + b"".join(parts)


def chunked(body, size=1000):
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return head(Transfer_Encoding="chunked") + b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def refusal(status, words=None, **fields):
    body = json.dumps({"faultcode": "Client", "faultstring": words, "debuginfo": None}).encode() if words else b"<html>"
    kind = "application/json" if words else "text/html"
    return head(status, kind, Content_Length=len(body), **fields) + body


def tenants(*names):
    return head(content_type="application/json") + json.dumps([{"name": name} for name in names]).encode()


class Request:
    def __init__(self, text):
        line, *fields = text.split("\r\n")
        self.path = line.split(" ")[1]
        self.fields = dict(field.split(": ", 1) for field in fields if field)
        self.start = int(self.fields.get("Last-Event-Id", "0"))


class ScriptedServer:
    """Answers each connection with the next part of its script: bytes, or a function of the request; then it closes.

    A part `RESET` resets the connection without an answer. After the script comes what its last part was.
    """

    RESET = object()

    def __init__(self):
        self.script = []
        self.requests = []
        self.hold = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            connection, _ = self._socket.accept()
            with connection:
                received = b""
                while b"\r\n\r\n" not in received:
                    piece = connection.recv(65536)
                    if not piece:
                        return
                    received += piece
                self.requests.append(Request(received.decode()))
                part = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if part is self.RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    continue
                with contextlib.suppress(OSError):
                    for piece in [part] if isinstance(part, bytes) else part(self.requests[-1]):
                        connection.sendall(piece)

    def close(self):
        self.hold.set()
        with socket.create_connection(self._socket.getsockname()):
            pass  # the thread ends
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def server():
    server = ScriptedServer()
    yield server
    server.close()


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


# The command itself, in a process of its own.


def command(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "zuul.web.cli", "tail", *arguments], **options)


def run(*arguments, env=()):
    process = command(
        *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "no_proxy": "*", **dict(env)}
    )
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err.decode()


def test_the_log_and_nothing_else_goes_to_standard_output(server):
    server.script = [stream(b"retry: 1\n\n", events(0, 1000)), lambda r: [stream(events(r.start), END)]]
    url = f"{server.url}/t/example/stream/{UUID}?logfile=console.log"

    assert run(url) == (0, BYTES, "")


def test_what_happens_is_told_who_wants_to_know(server):
    server.script = [stream(b"retry: 1\n\n", events(0, 1000)), lambda r: [stream(events(r.start), END)]]

    status, out, err = run("-v", "--tenant", "example", UUID, env={"ZUUL_REST_URL": server.url})

    assert (status, out) == (0, BYTES)
    assert re.fullmatch(
        "zuul-rest: the connection was cut; trying again in 0.0 s\nzuul-rest: this was the whole log\n", err
    )


def test_why_there_is_no_log_is_told_in_any_case(server):
    server.script = [tenants("example"), refusal("404 Not Found", "no")]

    assert run(UUID, "--server", server.url) == (1, b"", f"zuul-rest: no tenant of {server.url} runs a build {UUID}\n")


def test_the_server_may_be_that_of_a_zuul_conf(server, tmp_path):
    server.script = [refusal("404 Not Found", "A \x1b[2Jlie.")]
    conf = tmp_path / "zuul.conf"
    conf.write_text(f"[web]\nport = {server.url.rpartition(':')[2]}\n")

    status, _, err = run(UUID, "-c", str(conf), "--tenant", "example", env={"ZUUL_REST_URL": ""})

    assert (status, err) == (1, f"zuul-rest: tenant example of {server.url}: A  [2Jlie.\n")


def test_a_wrong_call_is_2():
    status, out, err = run("console.log")

    assert (status, out) == (2, b"")
    assert err == "zuul-rest: console.log: this is neither a build's uuid nor a URL that names one\n"


def test_a_reader_that_has_enough_ends_it_quietly(server):
    def first_a_line(request):
        line = BYTES.index(b"\n") + 1
        yield stream(events(0, line))
        server.hold.wait(20)
        yield events(line) + END

    server.script = [first_a_line]
    url = f"{server.url}/v1/tenants/example/builds/{UUID}/log"
    with command(url, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == BYTES.split(b"\n")[0] + b"\n"
        process.stdout.close()
        server.hold.set()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_is_one_line(server):
    server.script = [stream(events(), END)]
    with open("/dev/full", "wb") as full:
        process = command(
            f"{server.url}/v1/tenants/example/builds/{UUID}/log", stdout=full, stderr=subprocess.PIPE, text=True
        )
        _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (1, "zuul-rest: the log cannot be written: No space left on device\n")


def test_control_c_leaves_a_terminal_without_colours(server):
    def hold(request):
        yield stream(text_event("\x1b[31mred", 8))
        server.hold.wait(20)

    server.script = [hold]
    terminal, end = pty.openpty()
    process = command(f"{server.url}/v1/tenants/example/builds/{UUID}/log", stdout=end, stderr=end)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # which is how a terminal says that nobody is left
        while select.select([terminal], [], [], 20)[0]:
            shown += os.read(terminal, 1000)
            if shown == b"\x1b[31mred":
                process.send_signal(signal.SIGINT)
    os.close(terminal)

    assert process.wait(20) == 130
    assert shown == b"\x1b[31mred\x1b[0m"
