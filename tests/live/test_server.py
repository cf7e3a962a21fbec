# SPDX-License-Identifier: Apache-2.0
"""The all-in-one server as a process of its own, over sockets; the scheduler is a few functions in this process."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from shutil import which
from typing import NamedTuple

import pytest
from services import free_port, listening, wait_until

from zuul.web.backends.rpc.gearman_worker import GearmanWorker, start_server

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")

LARGE_BYTES = 4 << 20
LONG_WAY = ("Upgrade: nothing",)
"""A header field that only twisted's own way understands, and that changes nothing."""
STATUS = "/api/tenant/small/status"
JOBS = "/api/tenant/small/jobs"


class Zuul:
    """A scheduler with the tenants small, large (its status has 4 MB), slow and stuck (both wait for an event)."""

    def __init__(self) -> None:
        self.release = threading.Event()
        """Ends the calls for the tenant slow."""
        self.unstick = threading.Event()
        """Ends the calls for the tenant stuck."""
        self.calls: list[tuple[str, str]] = []
        self._large = json.dumps({"pipelines": [], "padding": os.urandom(LARGE_BYTES // 2).hex()})
        self._server = start_server()
        self.port = self._server.port
        functions = {
            f"zuul:{name}": self._recorded(name, answer)
            for name, answer in (
                ("status_get", self._status_get),
                ("job_list", self._job_list),
                ("tenant_list", lambda tenant: json.dumps([{"name": "small", "projects": 1, "queue": 0}])),
            )
        }
        self._workers = [GearmanWorker("127.0.0.1", self.port, functions, f"worker {number}") for number in range(4)]
        for worker in self._workers:
            worker.start()

    def _recorded(self, name, answer):
        def function(arguments):
            tenant = arguments.get("tenant", "")
            self.calls.append((name, tenant))
            if tenant == "slow":
                self.release.wait(8)
            if tenant == "stuck":
                self.unstick.wait(8)
            return answer(tenant)

        return function

    def _status_get(self, tenant):
        if tenant == "large":
            return self._large
        if tenant in ("small", "slow", "stuck"):
            return json.dumps({"pipelines": [], "tenant": tenant, "padding": "x" * 2000})
        return json.dumps({"message": "Unknown tenant", "code": 404})

    def _job_list(self, tenant):
        if tenant not in ("small", "slow", "stuck"):
            return "null"
        return json.dumps([{"name": f"job-{number}", "variants": []} for number in range(60)])

    def asked(self, name, tenant):
        return self.calls.count((name, tenant))

    def stop(self):
        self.release.set()
        self.unstick.set()
        for worker in self._workers:
            worker.stop()
        self._server.shutdown()


class Process:
    """A command of ours that is running, with its output in a file."""

    def __init__(self, folder, command, **environment) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}"
        with open(self._output, "w") as output:
            self._process = subprocess.Popen(
                [sys.executable, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
                cwd=folder,
            )
        self.pid = self._process.pid

    @property
    def output(self) -> str:
        return self._output.read_text()

    def wait_for_output(self, pattern: str) -> re.Match:
        def found():
            match = re.search(pattern, self.output)
            assert match or self._process.poll() is None, self.output
            return match

        return wait_until(found, 15, f"{pattern!r} in the output")

    def send(self, signal_number) -> None:
        self._process.send_signal(signal_number)

    def ended(self, seconds: float = 10) -> int:
        return self._process.wait(seconds)

    def sockets(self) -> int:
        """How many sockets the process has open."""
        count = 0
        for name in os.listdir(f"/proc/{self.pid}/fd"):
            with contextlib.suppress(OSError):
                count += os.readlink(f"/proc/{self.pid}/fd/{name}").startswith("socket:")
        return count

    def resident_bytes(self) -> int:
        with open(f"/proc/{self.pid}/status") as status:
            return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS:"))

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)


class Response(NamedTuple):
    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def field(self, name: str) -> str | None:
        values = [value for field, value in self.fields if field == name.lower()]
        assert len(values) < 2, f"{name} twice"
        return values[0] if values else None

    @property
    def short(self) -> bool:
        """Whether it came the short way: only twisted names itself."""
        return self.field("Server") is None

    def comparable(self):
        """All that must not depend on the way."""
        own = ("date", "age", "expires", "x-request-id", "server")
        return self.status, sorted(field for field in self.fields if field[0] not in own), self.body


class Client:
    """One connection, spoken to in bytes."""

    def __init__(self, port: int, host: str = "127.0.0.1", receive_bytes: int | None = None) -> None:
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self._socket.settimeout(10)
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.connect((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def send_get(self, path: str, *fields: str) -> None:
        self.send(get(path, *fields))

    def half_close(self) -> None:
        self._socket.shutdown(socket.SHUT_WR)

    def head(self) -> Response:
        """Status and header fields of a response, whose body is still to come."""
        line = self._file.readline()
        assert re.match(rb"HTTP/1\.[01] \d{3} ", line), line
        fields = []
        while (field := self._file.readline()) != b"\r\n":
            assert field.endswith(b"\r\n"), field
            name, _, value = field.decode("latin-1").partition(":")
            fields.append((name.lower(), value.strip()))
        return Response(int(line.split()[1]), fields, b"")

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def response(self, method: str = "GET") -> Response:
        head = self.head()
        if method == "HEAD" or head.status == 304:
            return head
        return head._replace(body=self._file.read(int(head.field("Content-Length"))))

    def get(self, path: str, *fields: str) -> Response:
        self.send_get(path, *fields)
        return self.response()

    def hears_nothing(self, seconds: float = 0.05) -> bool:
        return select.select([self._socket], [], [], seconds) == ([], [], [])

    def at_end(self) -> bool:
        """Whether the server closes without another byte; waits for it to do either."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True


def get(path: str, *fields: str, method: str = "GET") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: zuul", *fields, "", "")).encode("latin-1")


@pytest.fixture(scope="module")
def running_zuul():
    zuul = Zuul()
    yield zuul
    zuul.stop()


@pytest.fixture
def zuul(running_zuul):
    running_zuul.release.clear()
    running_zuul.unstick.clear()
    yield running_zuul
    running_zuul.release.set()
    running_zuul.unstick.set()


def impatient_launcher(idle_seconds=75.0):
    """The command with less patience for silent clients, and with small buffers in the kernel for each of them."""
    return (
        "-c",
        f"""
import socket
from zuul.web import channel, cli, server

def listen_socket(address, port, original=server.listen_socket):
    listener = original(address, port)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    return listener

server.listen_socket = listen_socket
server.IDLE_SECONDS = {idle_seconds}
channel.Channel.abortTimeout = 0.5
raise SystemExit(cli.main())
""",
    )


def write_conf(folder, zuul, *, port=0, web="", rest=""):
    conf = folder / "zuul.conf"
    conf.write_text(
        f"[gearman]\nserver=127.0.0.1\nport={zuul.port}\n[web]\nport={port}\n{web}\n[rest]\nmax_body_bytes=1024\n{rest}\n"
    )
    return str(conf)


def serve(folder, conf, *more, launcher=("-m", "zuul.web.cli"), **environment):
    return Process(folder, [*launcher, "serve", "-c", conf, *more], **environment)


def port_of(process) -> int:
    return int(process.wait_for_output(r"listening on \S+ port (\d+)")[1])


@pytest.fixture
def start(zuul, tmp_path):
    """Starts a server of the test's own: `start(port=..., web=..., rest=...)`; what it wrote has no traceback."""
    processes = []

    def begin(*more, port=0, web="", rest="", **options):
        conf = write_conf(tmp_path, zuul, port=port, web=web, rest=rest)
        processes.append(serve(tmp_path, conf, *more, **options))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        assert "Traceback" not in process.output


@pytest.fixture(scope="module")
def shared_server(running_zuul, tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    process = serve(folder, write_conf(folder, running_zuul))
    yield process
    process.send(signal.SIGTERM)
    assert process.ended() == 0
    process.kill()


@pytest.fixture
def server(shared_server, zuul):
    """A server that a test may only talk to: afterwards it must answer the next client, and have no traceback."""
    yield shared_server
    with Client(port_of(shared_server)) as client:
        assert client.get(STATUS).status == 200
        assert client.get(STATUS, *LONG_WAY).status == 200
    assert "Traceback" not in shared_server.output


@pytest.fixture
def port(server):
    return port_of(server)


@pytest.fixture
def client(port):
    with Client(port) as client:
        yield client


def assert_refusal(response: Response, *statuses: int) -> None:
    """The one JSON shape of errors."""
    assert response.status in statuses, response
    assert response.field("Content-Type") == "application/json; charset=utf-8"
    shape = json.loads(response.body)
    assert shape["faultcode"] == "Client"
    assert shape["faultstring"]
    assert shape["debuginfo"] is None


# -- connections


@pytest.mark.parametrize("fields", [(), LONG_WAY], ids=["short way", "long way"])
def test_hundred_requests_over_one_connection(port, fields):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        connection.connect()
        before = connection.sock
        for number in range(100):
            path = (STATUS, JOBS, "/api/tenants", "/api/tenant/none/status")[number % 4]
            connection.request("GET", path, headers=dict(field.split(": ") for field in fields))
            with connection.getresponse() as response:
                body = response.read()
            assert response.status == (404 if "none" in path else 200)
            assert json.loads(body)
        assert connection.sock is before


def pipelined(port, send):
    any_type = "Accept: */*"
    requests = [
        (STATUS, any_type),
        ("/api/tenants", any_type),
        (STATUS, "Upgrade: nothing"),
        ("/api/tenant/none/status", any_type),
        ("/api/tenant/%zz", any_type),
        ("/api/tenant/large/status", any_type),
        (JOBS, any_type),
        (STATUS, any_type),
    ]
    with Client(port) as client:
        send(client, [get(path, f"X-Request-Id: {n}", field) for n, (path, field) in enumerate(requests)])
        answers = [client.response() for _ in requests]
    assert [answer.status for answer in answers] == [200, 200, 200, 404, 400, 200, 200, 200]
    assert [answer.field("X-Request-Id") for answer in answers if answer.status != 400] == list("0123567")
    assert len(answers[5].body) > LARGE_BYTES


def test_pipelined_requests_in_one_segment_are_answered_in_order(port):
    pipelined(port, lambda client, requests: client.send(b"".join(requests)))


def test_pipelined_requests_in_segments_of_their_own_are_answered_in_order(port):
    def send(client, requests):
        for request in requests:
            client.send(request)

    pipelined(port, send)


def test_pipelined_requests_that_end_within_segments_are_answered_in_order(port):
    def send(client, requests):
        data = b"".join(requests)
        for begin in range(0, len(data), 37):
            client.send(data[begin : begin + 37])

    pipelined(port, send)


def test_a_request_byte_by_byte(client):
    for byte in get(STATUS):
        client.send(bytes([byte]))
    assert client.response().status == 200
    assert client.get(STATUS).short


@pytest.mark.parametrize("at", [-3, -2, -1])
def test_a_request_cut_within_its_last_line_ends(client, at):
    request = get(STATUS)
    client.send(request[:at])
    assert client.hears_nothing()
    client.send(request[at:])
    assert client.response().status == 200
    assert client.get(STATUS).short


@pytest.mark.parametrize("path", [STATUS, JOBS, "/api/tenant/none/status"])
def test_connection_close_closes(port, path):
    with Client(port) as client:
        answer = client.get(path, "Connection: close")
        assert answer.field("Connection") == "close"
        assert client.at_end()


@pytest.mark.parametrize("path", [STATUS, JOBS])
def test_http_1_0_closes(port, path):
    with Client(port) as client:
        client.send(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        assert client.response().status == 200
        assert client.at_end()


def test_a_body_that_looks_like_a_request_is_none(port):
    """Else a client behind a proxy could have others get the answers to its own requests."""
    with Client(port) as client:
        body = get(STATUS)
        client.send(get("/%zz") + get("/api/tenants", f"Content-Length: {len(body)}", method="PUT"))
        assert client.response().status == 400
        client.send(body)
        assert client.response().status == 405
        assert client.get("/api/tenants").status == 200


def test_requests_behind_a_status_that_is_waited_for_are_answered_in_the_end(port, zuul):
    """More of them than the server takes in beforehand."""
    with Client(port) as client:
        client.send_get("/api/tenant/slow/status")
        wait_until(lambda: zuul.asked("status_get", "slow"))
        behind = threading.Thread(target=lambda: client.send(get(STATUS) * 3000))
        behind.start()
        zuul.release.set()
        assert [client.response().status for _ in range(3001)] == [200] * 3001
        behind.join(10)


# -- the short way and the long way


def both_ways(port, path, *fields, method="GET"):
    """The answers of both ways to the same request."""
    unconditional = [field for field in fields if not field.startswith("If-")]
    with Client(port) as client:

        def answers():
            client.get(path, *unconditional)  # only whole answers are kept
            client.send(get(path, *fields, *LONG_WAY, method=method))
            long = client.response(method)
            client.send(get(path, *fields, method=method))
            short = client.response(method)
            return short.short and not long.short and (short, long)

        return wait_until(answers, what="an answer on the short way")


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ("Accept-Encoding: gzip",),
        ("Accept-Encoding: gzip;q=0, br",),
        ("Origin: https://elsewhere.example",),
        ("Accept: application/json",),
        ("If-None-Match: *",),
        ('If-None-Match: "other", W/"another"',),
        ("If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT",),
        ("If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT",),
        ("If-Modified-Since: nonsense",),
    ],
    ids=lambda fields: fields[0] if fields else "plain",
)
@pytest.mark.parametrize("path", [STATUS, JOBS, "/api/tenant/none/status"])
def test_both_ways_give_the_same_answer(server, port, path, fields):
    short, long = both_ways(port, path, *fields)
    assert short.comparable() == long.comparable()
    assert short.field("Access-Control-Allow-Origin") == "*"
    if "none" in path:
        assert_refusal(short, 404)


@pytest.mark.parametrize("path", ["/status.json", "/status", "/small/status.json", "/small/status", "/tenants.json"])
def test_legacy_urls_take_the_short_way_too(port, path):
    for fields in ((), ("If-None-Match: *",), ("If-Modified-Since: Thu, 01 Jan 2099 00:00:00 GMT",)):
        short, long = both_ways(port, path, *fields)
        assert short.comparable() == long.comparable()
        assert short.status == (304 if fields and (path != "/tenants.json" or "None" in fields[0]) else 200)


def test_a_page_of_the_dashboard_and_the_status_at_its_url_tell_caches_apart(start, tmp_path):
    (tmp_path / "index.html").write_text("<!doctype html>")
    port = port_of(start(web=f"static_path={tmp_path}", rest="whitelabel_tenant=small"))
    for path in ("/status", "/small/status"):
        short, long = both_ways(port, path)
        assert short.comparable() == long.comparable()
        assert ("vary", "Accept") in short.fields
        with Client(port) as client:
            page = client.get(path, "Accept: text/html")
            assert page.body == b"<!doctype html>" and ("vary", "Accept") in page.fields
    with Client(port) as client:
        assert client.get("/api/status").short


@pytest.mark.parametrize("path", [STATUS, JOBS])
def test_both_ways_compress(port, path):
    def compressed():
        answers = both_ways(port, path, "Accept-Encoding: gzip")
        return all(answer.field("Content-Encoding") == "gzip" for answer in answers) and answers

    short, long = wait_until(compressed, what="a compressed answer")
    assert short.comparable() == long.comparable()
    with Client(port) as client:
        assert gzip.decompress(short.body) == client.get(path).body


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize("path", [STATUS, JOBS])
def test_both_ways_know_either_entity_tag(port, path, encoding):
    tag = both_ways(port, path)[0].field("ETag")
    for held in (tag, f"W/{tag}", f'{tag[:-1]}-gzip"'):
        short, long = both_ways(port, path, f"If-None-Match: {held}", f"Accept-Encoding: {encoding}")
        assert (short.status, long.status) == (304, 304)
        assert short.comparable() == long.comparable()


def test_if_modified_since_with_the_date_of_the_status_is_304(port):
    date = both_ways(port, STATUS)[0].field("Last-Modified")
    short, long = both_ways(port, STATUS, f"If-Modified-Since: {date}")
    assert short.status == 304
    assert short.comparable() == long.comparable()


@pytest.mark.parametrize("path", [STATUS, JOBS, "/api/tenant/none/status"])
def test_head_has_the_fields_of_get(client, path):
    full = client.get(path)
    client.send(get(path, method="HEAD"))
    head = client.response("HEAD")
    assert head.comparable()[:2] == full.comparable()[:2]
    assert client.get(path).status == full.status


@pytest.mark.parametrize("path", [STATUS, JOBS, "/api/tenant/none/status"])
@pytest.mark.parametrize("way", [(), LONG_WAY], ids=["short way", "long way"])
def test_request_id_comes_back_unless_it_is_hostile(client, path, way):
    client.get(path)
    for identifier in ("abc-1.2:3/4=+_", "x" * 128):
        assert client.get(path, f"X-Request-Id: {identifier}", *way).field("X-Request-Id") == identifier
    made = [
        client.get(path, f"X-Request-Id: {hostile}", *way).field("X-Request-Id")
        for hostile in ("", "a b", '"><script>', "\x1b[31m", "\x7f", "ÿ", "x" * 129, "{}")
    ]
    assert all(re.fullmatch("[0-9a-f]{16}", identifier) for identifier in made)
    assert len(set(made)) == len(made)


@pytest.mark.parametrize("path", [STATUS, JOBS])
def test_what_browsers_send_goes_the_short_way(port, path):
    browser = ("Connection: keep-alive", "User-Agent: Mozilla/5.0", "Accept-Language: de", "Cookie: a=b", "DNT: 1")
    with Client(port) as client:
        wait_until(lambda: client.get(path, *browser).short, what="an answer on the short way")


def test_each_answer_is_dated_and_of_an_age(port):
    for answer in both_ways(port, STATUS):
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT", answer.field("Date"))
        assert 0 <= int(answer.field("Age")) <= 3
    for answer in both_ways(port, JOBS):
        assert answer.field("Date")


def test_a_request_with_authorization_is_never_answered_from_memory(client):
    for _ in range(5):
        client.get(JOBS)
        assert not client.get(JOBS, "Authorization: Bearer x").short
        assert not client.get(STATUS, "Authorization: Bearer x").short


def test_ready_answers_differ_by_path_accept_and_encoding(port):
    both_ways(port, JOBS)
    with Client(port) as client:
        assert json.loads(client.get("/api/tenants").body)[0]["name"] == "small"
        assert client.get("/api/tenant/none/jobs").status == 404
        assert client.get(JOBS + "?x=1").status == 400
        assert client.get(JOBS, "Accept-Encoding: gzip").field("Content-Encoding") == "gzip"
        assert client.get(JOBS).field("Content-Encoding") is None


# -- a Paste file of the operator's

BADGE = """
def factory(global_conf, **local_conf):
    def badge(app):
        def answer(environ, start_response):
            if environ.get("HTTP_X_BADGE") != "blue":
                start_response("403 Forbidden", [("Content-Type", "text/plain"), ("Content-Length", "2")])
                return [b"no"]
            return app(environ, start_response)
        return answer
    return badge
"""

PASTE_FILE = """
[composite:applications]
use = egg:Paste#urlmap
/ = site
/api = {api}

[app:api]
use = egg:zuul-rest#api

[app:site]
use = egg:zuul-rest#site

[pipeline:with-badge]
pipeline = badge api

[pipeline:main]
pipeline = {pipeline}

[filter:badge]
paste.filter_factory = badge:factory

[filter:request]
use = egg:zuul-rest#request

[filter:snapshots]
use = egg:zuul-rest#snapshots

[filter:cors]
use = egg:zuul-rest#cors

[filter:guard]
use = egg:zuul-rest#guard

[server:main]
{server}
"""
PIPELINE = "request guard snapshots cors applications"
OUR_SERVER = "use = egg:zuul-rest#server"


def write_paste_file(folder, pipeline=PIPELINE, api="api", server=OUR_SERVER):
    (folder / "badge.py").write_text(BADGE)
    file = folder / "paste.ini"
    file.write_text(PASTE_FILE.format(pipeline=pipeline, api=api, server=server))
    return str(file)


@pytest.mark.parametrize(
    "pipeline", ["badge request guard snapshots cors applications", "request guard badge snapshots cors applications"]
)
def test_a_filter_before_the_snapshots_sees_every_request(start, tmp_path, pipeline):
    process = start("--paste", write_paste_file(tmp_path, pipeline), PYTHONPATH=str(tmp_path))
    with Client(port_of(process)) as client:
        for path in (STATUS, JOBS):
            for _ in range(3):
                with_badge = client.get(path, "X-Badge: blue")
                assert with_badge.status == 200
                assert not with_badge.short
                assert client.get(path).status == 403


@pytest.mark.parametrize(
    "pipeline, api",
    [("request guard snapshots badge cors applications", "api"), (PIPELINE, "with-badge")],
    ids=["behind the snapshots", "around the api"],
)
def test_a_filter_behind_the_snapshots_sees_every_other_request(start, tmp_path, pipeline, api):
    process = start("--paste", write_paste_file(tmp_path, pipeline, api), PYTHONPATH=str(tmp_path))
    with Client(port_of(process)) as client:
        for _ in range(3):
            assert client.get(JOBS, "X-Badge: blue").status == 200
            assert client.get(JOBS).status == 403
            assert client.get(STATUS).short


def test_the_default_pipeline_in_a_file_of_the_operators_keeps_the_short_way(start, tmp_path):
    process = start("--paste", write_paste_file(tmp_path), PYTHONPATH=str(tmp_path))
    for path in (STATUS, JOBS):
        both_ways(port_of(process), path)


@pytest.mark.parametrize(
    "server",
    ["use = egg:Paste#http\nhost = 127.0.0.1\nport = {port}", "use = egg:waitress#main\nlisten = 127.0.0.1:{port}"],
    ids=["Paste", "waitress"],
)
def test_other_servers_serve_the_application(start, tmp_path, server):
    port = free_port()
    file = write_paste_file(tmp_path, server=server.format(port=port))
    process = start("--paste", file, PYTHONPATH=str(tmp_path))
    wait_until(lambda: listening(port), 15, "the other server")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    with contextlib.closing(connection):
        for path, status in ((STATUS, 200), (JOBS, 200), ("/api/tenant/none/status", 404), ("/", 200)):
            connection.request("GET", path)
            with connection.getresponse() as response:
                assert (response.status, bool(response.read())) == (status, True)
    process.send(signal.SIGINT)
    process.ended()


def test_a_paste_file_that_does_not_exist_is_one_sentence(start, tmp_path):
    process = start("--paste", "nowhere.ini")
    assert process.ended() == 2
    assert process.output == "zuul-rest: nowhere.ini: there is no such Paste file\n"


# -- bad input


@pytest.mark.parametrize(
    "request_bytes, statuses",
    [
        (get("/" + "a" * 100_000), (400, 414)),
        (get("/api/tenant/" + "a" * 30_000 + "/status"), (414,)),
        (get("/api/tenant/" + "a" * 10_000 + "/status"), (414,)),
        (get("/api/info?x=" + "a" * 10_000), (414,)),
        (get(STATUS, f"X-Large: {'a' * 100_000}"), (400, 431)),
        (get(STATUS, f"X-Large: {'a' * 40_000}"), (431,)),
        (get(STATUS, f"X-Large: {'a' * 40_000}", *LONG_WAY), (431,)),
        (get(JOBS, *(f"X-{number}: {'a' * 1000}" for number in range(90))), (400, 431)),
        (get(STATUS, *(f"X-{number}: a" for number in range(200))), (400,)),
        (get("/api/info", *(f"X-{number}: a" for number in range(200))), (400,)),
        (get("/api/tenant/%zz/status"), (400,)),
        (get("/api/tenant/%"), (400,)),
        (get("/api/tenant/a%4"), (400,)),
        (get("/api/tenant/%ff/status"), (400,)),
        (get("/api/tenant/a%00b/status"), (400, 404)),
        (get("/api/tenant/a\0b/status"), (400,)),
        (get("/api/tenant/a\x01\x1bb/status"), (400,)),
        (get("/api/tenant/a b/status"), (400,)),
        (get("/api/tenant/a\tb/status"), (400,)),
        (get("/api/tenant/a\nb/status"), (400,)),
        (get("/api/tenant/a\rb/status"), (400,)),
        (get("/api/tenant/a\x7fb/status"), (400, 404)),
        (get("/api/tenant/\xff/status"), (400,)),
        (get(STATUS, "X: a\0b"), (400,)),
        (get(STATUS, "X: a\nb"), (400,)),
        (get(STATUS, "X: a\rb"), (400,)),
        (get(STATUS, "X y: a"), (400,)),
        (get(STATUS, "X : a"), (400,)),
        (get(STATUS, ": a"), (400,)),
        (get(STATUS, "nothing"), (400,)),
        (b"GET " + STATUS.encode() + b" HTTP/1.1\r\n\r\n", (400,)),
        (b"GET " + JOBS.encode() + b" HTTP/1.1\r\nAccept: */*\r\n\r\n", (400,)),
        (get(STATUS, "Host: another"), (400,)),
        (get(STATUS, "Content-Length: x"), (400,)),
        (get(STATUS, "Content-Length: -1"), (400,)),
        (get(STATUS, f"Content-Length: {'9' * 5000}"), (400,)),
        (get(STATUS, "Content-Length: 1", "Content-Length: 2"), (400,)),
        (get(STATUS, "Content-Length: 1", "Transfer-Encoding: chunked"), (400,)),
        (get(STATUS, "Transfer-Encoding: gzip"), (400,)),
        (get(STATUS, "Transfer-Encoding: chunked", method="PUT") + b"zz\r\n", (400,)),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", (400,)),
        (b"GET /\r\n\r\n", (400,)),
        (b"nonsense\r\n\r\n", (400,)),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", (400,)),
        (b"\xff" * 100_000, (400, 414)),
        (b"GET / HTTP/1.1\nHost: a\n\n", (400,)),
        (b"GET / HTTP/1.1\r\nHost: a\n\n", (400,)),
        (get(STATUS).replace(b"\r\n", b"\n"), (400,)),
        (get(STATUS[1:]), (400,)),
        (get("x" + STATUS), (400,)),
        (get("ftp://zuul" + STATUS), (400,)),
    ],
    ids=lambda value: repr(value[:60]) if isinstance(value, bytes) else "",
)
def test_bad_input_is_refused_in_the_one_shape(port, server, request_bytes, statuses):
    with Client(port) as client:
        client.send(request_bytes)
        assert_refusal(client.response(), *statuses)
        with contextlib.suppress(ConnectionError):
            client.half_close()
        assert client.at_end()


def test_a_url_with_scheme_and_host_means_its_path(client):
    """RFC 9112 wants every server to take it."""
    for prefix in ("http://zuul", "HTTPS://elsewhere:9000"):
        assert client.get(prefix + STATUS).comparable() == client.get(STATUS).comparable()
        assert client.get(prefix + "/api/tenants?x=1").status == 400
    assert client.get("http://zuul").status == client.get("/").status == 200


def test_a_refused_request_leaves_the_connection_usable(client):
    for path in ("/api/tenant/%zz/status", "/api/tenant/a%00b/status", "/api/tenant/" + "a" * 9000 + "/status"):
        assert 400 <= client.get(path).status < 500
        assert client.get(STATUS).status == 200


def test_a_body_whose_length_says_too_much_is_refused_unsent(port):
    for expect in ((), ("Expect: 100-continue",)):
        with Client(port) as client:
            client.send(get("/api/tenants", "Content-Length: 1025", *expect, method="PUT"))
            assert_refusal(client.response(), 413)
            assert client.at_end()


def test_a_chunked_body_is_refused_once_it_is_too_large(port):
    with Client(port) as client:
        client.send(get("/api/tenants", "Transfer-Encoding: chunked", method="PUT"))
        for _ in range(2):
            client.send(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
        assert_refusal(client.response(), 413)
        assert client.at_end()


def test_a_body_at_the_limit_is_taken(client):
    client.send(get("/api/tenants", "Content-Length: 1024", method="PUT") + b"x" * 1024)
    assert_refusal(client.response(), 405)
    client.send(get("/api/tenants", "Transfer-Encoding: chunked", method="PUT"))
    client.send(b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n")
    assert_refusal(client.response(), 405)


def test_a_client_that_goes_on_sending_still_gets_the_refusal(port):
    with Client(port) as client:
        client.send(get("/api/tenants", f"Content-Length: {1 << 20}", method="PUT"))
        client.send(b"x" * (1 << 20))
        assert_refusal(client.response(), 413)


# -- slow and silent clients


def test_clients_that_do_not_read_cost_little_and_hold_nobody_up(start):
    process = start(launcher=impatient_launcher())
    port = port_of(process)
    with Client(port) as other:
        for _ in range(3):
            assert len(other.get("/api/tenant/large/status").body) > LARGE_BYTES
        sockets = process.sockets()
        before = process.resident_bytes()
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(Client(port, receive_bytes=4096)) for _ in range(20)]
            for client in idle:
                client.send_get("/api/tenant/large/status")
            for client in idle:
                assert int(client.head().field("Content-Length")) > LARGE_BYTES
            assert other.get(STATUS).status == 200
            assert other.get(JOBS).status == 200
            assert process.resident_bytes() - before < 20 << 20
            assert process.sockets() == sockets + 20
        wait_until(lambda: process.sockets() == sockets, what="all connections closed")
        assert other.get(STATUS).status == 200


def test_a_client_that_pipelines_and_does_not_read_is_not_answered_further(start):
    process = start(launcher=impatient_launcher())
    port = port_of(process)
    with Client(port) as other, Client(port, receive_bytes=4096) as greedy:
        assert other.get("/api/tenant/large/status").status == 200
        before = process.resident_bytes()
        greedy.send(get("/api/tenant/large/status") * 200 + get(STATUS))
        greedy.head()
        assert other.get(STATUS).status == 200
        assert process.resident_bytes() - before < 40 << 20  # 200 answers would be 800 MB


def test_a_request_behind_a_refused_one_in_the_same_segment_is_answered(client):
    refused = b"POST /%zz HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\na"
    client.send(refused + refused + get("/api/info"))
    assert [client.response().status for _ in range(3)] == [400, 400, 200]


def test_a_client_that_leaves_while_it_waits_leaves_nothing(server, port, zuul):
    with Client(port) as other:
        other.get(STATUS)
        sockets = server.sockets()
        for path in ("/api/tenant/slow/status", "/api/tenant/slow/jobs"):
            with Client(port) as client:
                client.send_get(path)
                wait_until(lambda: server.sockets() == sockets + 1)
            wait_until(lambda: server.sockets() == sockets)
        zuul.release.set()
        assert other.get("/api/tenant/slow/status").status == 200


@pytest.fixture(scope="module")
def shared_impatient_server(running_zuul, tmp_path_factory):
    folder = tmp_path_factory.mktemp("impatient")
    process = serve(folder, write_conf(folder, running_zuul), launcher=impatient_launcher(0.5))
    yield process
    process.kill()


@pytest.fixture
def impatient(shared_impatient_server, zuul):
    """The port of a server with less patience for silent clients."""
    yield port_of(shared_impatient_server)
    assert "Traceback" not in shared_impatient_server.output


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /api", b"GET / HTTP/1.1\r\nHost: a\r\n", get("/", "Content-Length: 10", method="PUT") + b"x"],
    ids=["nothing", "half a line", "half a head", "half a body"],
)
def test_a_client_that_falls_silent_is_closed(impatient, sent):
    with Client(impatient) as client:
        client.send(sent)
        assert client.at_end()


@pytest.mark.parametrize("path", [STATUS, "/api/tenant/slow/status", JOBS, "/api/tenant/large/status"])
def test_a_connection_that_is_idle_after_an_answer_is_closed(impatient, zuul, path):
    zuul.release.set()
    with Client(impatient) as client:
        for _ in range(2):
            assert client.get(path).status == 200
        assert client.at_end()


def test_a_request_that_waits_for_the_scheduler_is_not_idle(start, zuul):
    with Client(port_of(start(launcher=impatient_launcher(0.5)))) as client:
        client.send_get("/api/tenant/slow/status")
        threading.Timer(1.2, zuul.release.set).start()
        assert client.response().status == 200
        assert client.at_end()


def test_a_slow_reader_gets_all_and_one_that_stands_still_is_cut_off(impatient):
    with Client(impatient, receive_bytes=65536) as slow, Client(impatient, receive_bytes=4096) as still:
        still.send_get("/api/tenant/large/status")
        slow.send_get("/api/tenant/large/status")
        left = size = int(slow.head().field("Content-Length"))
        began = time.monotonic()
        while left:
            piece = slow.read(min(left, 200_000))
            assert piece, f"{left} of {size} bytes are missing"
            left -= len(piece)
            time.sleep(0.07)  # this is the reader's slowness, it waits for nothing
        assert time.monotonic() - began > 1
        with contextlib.suppress(ConnectionResetError):
            assert len(still.read(size)) < size


# -- the end


@pytest.mark.parametrize("path", ["/api/tenant/slow/jobs", "/api/tenant/slow/status"])
def test_a_stop_lets_the_request_under_way_finish(start, zuul, path):
    process = start()
    port = port_of(process)
    with Client(port) as busy, Client(port) as idle, Client(port) as half:
        for client in (busy, idle):
            assert client.get(STATUS).status == 200
        half.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        asked = len(zuul.calls)
        busy.send_get(path)
        wait_until(lambda: len(zuul.calls) > asked, what="the call")
        process.send(signal.SIGTERM)
        assert idle.at_end()
        assert half.at_end()
        assert not listening(port)
        zuul.release.set()
        assert busy.response().status == 200
        assert busy.at_end()
    assert process.ended(5) == 0


@pytest.mark.parametrize("fields", [(), LONG_WAY, ("Connection: close",)], ids=["short way", "long way", "last"])
def test_a_stop_lets_a_slow_reader_have_all_bytes(start, fields):
    process = start(launcher=impatient_launcher())
    with Client(port_of(process), receive_bytes=65536) as client:
        client.send_get("/api/tenant/large/status", *fields)
        size = int(client.head().field("Content-Length"))
        process.send(signal.SIGTERM)
        process.wait_for_output("stopping: 1 connections are open")
        assert len(client.read(size)) == size
        assert client.at_end()
    assert process.ended(5) == 0


def test_a_stop_is_not_held_up_by_a_request_whose_client_has_left(start, zuul):
    process = start()
    port = port_of(process)
    with Client(port) as first:
        assert first.get(STATUS, *LONG_WAY).status == 200  # now the connection to gearman is up
        sockets = process.sockets()
        asked = zuul.asked("job_list", "slow")
        with Client(port) as leaving:
            leaving.send_get("/api/tenant/slow/jobs")
            wait_until(lambda: zuul.asked("job_list", "slow") > asked, what="the call")
        wait_until(lambda: process.sockets() == sockets, what="the client's leaving")
    wait_until(lambda: process.sockets() == sockets - 1, what="the first client's leaving")
    process.send(signal.SIGTERM)
    process.wait_for_output("stopping: 0 connections are open")
    zuul.release.set()
    assert process.ended(5) == 0


def test_a_stop_without_clients_is_prompt(start):
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        process = start()
        port_of(process)
        began = time.monotonic()
        process.send(signal_number)
        assert process.ended() == 0
        assert time.monotonic() - began < 2


# -- the start


def test_two_colons_take_ipv4_as_well(start):
    port = port_of(start(web="listen_address=::"))
    for host in ("127.0.0.1", "::1"):
        with Client(port, host) as client:
            assert client.get(STATUS).status == 200


def test_a_port_that_is_taken_is_one_sentence(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(port=port)
        assert process.ended() == 1
    sentences = [line for line in process.output.splitlines() if line.startswith("zuul-rest: ")]
    assert len(sentences) == 1
    assert sentences[0].endswith(f"[web] cannot listen on 127.0.0.1 port {port}: Address already in use")


@pytest.mark.parametrize("rest", ["threads=none", "treads=1", "no option"])
def test_a_wrong_configuration_is_one_sentence(start, rest):
    process = start(rest=rest)
    assert process.ended() == 2
    assert process.output.startswith("zuul-rest: ")
    assert "zuul.conf" in process.output
    assert process.output.count("\n") == 1


def test_the_first_answer_comes_within_two_seconds(start):
    def seconds():
        began = time.monotonic()
        with Client(port_of(start())) as client:
            assert client.get(STATUS).status == 200
        return time.monotonic() - began

    assert min(seconds() for _ in range(3)) < 2


# -- the sandbox


def test_the_sandbox_is_soon_ready_and_its_examples_work(tmp_path):
    began = time.monotonic()
    process = Process(tmp_path, ["-m", "zuul.web.cli", "sandbox", "--port", "0"])
    try:
        process.wait_for_output("Control-C ends it")
        commands = re.findall("^  (curl .+)$", process.output, re.MULTILINE)
        assert len(commands) == 7
        token = re.search("^  TOKEN=(.+)$", process.output, re.MULTILINE)[1]
        commands = [command.replace("$TOKEN", token) for command in commands if "follow" not in command]
        port = int(re.search(r"http://127\.0\.0\.1:(\d+)/api", commands[0])[1])
        wait_until(lambda: listening(port), what="the sandbox")
        assert time.monotonic() - began < 3
        for command in commands:
            answer = run_curl(command)
            is_table = command.endswith("/label-list")
            assert answer.startswith(b"+--") if is_table else json.loads(answer), command
        process.send(signal.SIGINT)
        assert process.ended() in (0, 130)
        assert "Traceback" not in process.output
        assert not listening(port)
    finally:
        process.kill()


def run_curl(command: str) -> bytes:
    """The body that a command line of ours gets, by curl where there is one."""
    if which("curl") is None:
        fields = dict(re.findall('-H "(.+?): (.+?)"', command))
        request = urllib.request.Request(shlex.split(command)[-1], headers=fields)
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.read()
    output = subprocess.run([*shlex.split(command), "-sS", "-f"], check=True, capture_output=True, timeout=10).stdout
    return output.split(b"\r\n\r\n", 1)[1] if " -i " in command else output


# -- a tenant that hangs


def test_clients_of_a_tenant_that_hangs_hold_nobody_else_up(server, port, zuul):
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Client(port)) for _ in range(50)]
        for client in clients:
            client.send_get("/api/tenant/stuck/status")
        wait_until(lambda: zuul.asked("status_get", "stuck"))
        with Client(port) as other:
            for path in (STATUS, JOBS, STATUS + "?", "/api/tenants"):
                began = time.monotonic()
                assert other.get(path).status == 200
                assert time.monotonic() - began < 1
        zuul.unstick.set()
        assert [client.response().status for client in clients] == [200] * 50
    assert zuul.asked("status_get", "stuck") == 1


def test_an_old_status_is_served_when_a_new_one_is_late(start, zuul):
    """The reply that comes when the patience for it is at its end does no harm."""
    path = "/api/tenant/stuck/status"
    zuul.unstick.set()
    with Client(port_of(start())) as client:
        assert client.get(path).status == 200
        born = time.monotonic()
        zuul.unstick.clear()
        wait_until(lambda: time.monotonic() - born > 3.2, what="an age at which a new status is waited for")
        began = time.monotonic()
        answer = client.get(path)
        assert answer.status == 200
        assert int(answer.field("Age")) >= 3
        assert 0.5 < time.monotonic() - began < 3
        zuul.unstick.set()
        wait_until(lambda: int(client.get(path).field("Age")) < 2, what="a new status")
