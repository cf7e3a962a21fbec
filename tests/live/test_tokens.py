# SPDX-License-Identifier: Apache-2.0
"""Tokens at the server as a process: streams of a protected tenant, and answers that are ready."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys

import pytest
from functional.tokens import CONF, SECRET, bearer, token
from services import wait_until
from streams import Get, ServerSentEvents, WebSocket

from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler
from zuul.web.sandbox.service import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")

EVENTS = "/v1/tenants/example/events"
STATUS = "/api/tenant/example/status"
CONSOLE = "/api/tenant/example/console-stream"


class World:
    def __init__(self, scheduler, port):
        self.port = port
        self.build = scheduler.last_to_end("example").uuid

    def get(self, path, method="GET", **fields):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in fields.items()})
        response = connection.getresponse()
        body = response.read(200) if response.getheader("Transfer-Encoding") else response.read()
        connection.close()
        return response, body

    def websocket(self, path, message=None, **fields):
        """The status line, and where that is 101 the first frame after a message."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=15) as connection:
            key = base64.b64encode(os.urandom(16)).decode()
            fields = {
                "Host": "zuul",
                "Upgrade": "websocket",
                "Connection": "Upgrade",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": key,
                **fields,
            }
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            connection.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
            reader = connection.makefile("rb")
            status = int(reader.readline().split()[1])
            while reader.readline().strip():
                pass
            if status != 101 or message is None:
                return status, b""
            data = json.dumps(message).encode()
            head = bytes([0x81, 0x80 | len(data)]) if len(data) < 126 else b"\x81\xfe" + struct.pack("!H", len(data))
            connection.sendall(head + bytes(4) + data)
            first, length = reader.read(2)
            if length == 126:
                length = struct.unpack("!H", reader.read(2))[0]
            frame = reader.read(length)
            return status, (first & 15, frame)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    scheduler = SandboxScheduler(load(None))
    with Sandbox(scheduler, "127.0.0.1", 0) as sandbox:
        with open(sandbox.zuul_conf, "a", encoding="utf-8") as file:
            file.write(f"\n[rest]\nprotected_tenants=example\n{CONF}")
        log = folder / "log"
        with open(log, "wb") as output:
            command = [sys.executable, "-m", "zuul.web.cli", "serve", "-d", "-c", sandbox.zuul_conf]
            process = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            line = wait_until(
                lambda: next((line for line in log.read_text().splitlines() if "listening on" in line), None)
            )
            yield World(scheduler, int(line.rsplit(" ", 1)[1]))
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            process.kill()
    text = log.read_text()
    assert "Traceback" not in text
    assert SECRET not in text
    assert "eyJ" not in text, "a token is in the log"


@pytest.mark.parametrize("path", [EVENTS, STATUS, "/v1/tenants/example/builds/BUILD/log"])
def test_a_protected_tenant_takes_a_token(world, path):
    path = path.replace("BUILD", world.build)

    response, body = world.get(path)
    assert response.status == 401
    assert json.loads(body)["error"] == 'Missing "Authorization" header'
    assert response.getheader("WWW-Authenticate").startswith("Bearer realm=")
    assert world.get(path, **bearer("ann"))[0].status == 403
    assert world.get(path, **bearer("ann", "example"))[0].status == 200
    assert world.get(path)[0].status == 401


@pytest.mark.parametrize("path", ["/v1/tenants/widgets/events", "/api/tenant/widgets/status", "/api/tenants"])
def test_a_bad_token_is_refused_where_none_is_needed(world, path):
    assert world.get(path, Authorization="Bearer x.y.z")[0].status == 401
    assert world.get(path, Authorization="Basic YTpi")[0].status == 200
    assert world.get(path)[0].status == 200


def test_a_websocket_takes_a_token_at_its_handshake(world):
    request = {"uuid": world.build, "logfile": "console.log"}

    assert world.websocket(EVENTS)[0] == 401
    assert world.websocket(EVENTS, **bearer("ann"))[0] == 403
    assert world.websocket(CONSOLE, Authorization="Bearer x.y.z")[0] == 401
    assert world.websocket(EVENTS, **bearer("ann", "example"))[0] == 101
    status, frame = world.websocket(CONSOLE, request, **bearer("ann", "example"))
    assert (status, frame[0]) == (101, 1)


@pytest.mark.parametrize(
    ("who", "reason"),
    [
        (None, b'Missing "Authorization" header'),
        (("ann",), b"Insufficient privileges"),
        ("x.y.z", b"The token is no JSON Web Token."),
        (("ann", "example"), None),
    ],
)
def test_or_in_the_message_as_upstreams_pages_send_it(world, who, reason):
    given = token(*who) if isinstance(who, tuple) else who
    request = {"uuid": world.build, "logfile": "console.log", **({"token": given} if given else {})}

    status, (kind, frame) = world.websocket(CONSOLE, request)

    assert status == 101
    if reason is None:
        assert kind == 1
    else:
        assert (kind, struct.unpack("!H", frame[:2])[0], frame[2:]) == (8, 4000, reason)


def test_streams_end_when_their_token_expires(world):
    short = token("ann", "example", seconds=4)
    fields = {"Authorization": f"Bearer {short}"}
    log = f"/v1/tenants/example/builds/{world.build}/log"
    message = json.dumps({"uuid": world.build, "logfile": "console.log", "token": short})
    with (
        WebSocket(world.port, CONSOLE) as console,
        WebSocket(world.port, EVENTS, fields) as events,
        ServerSentEvents(world.port, EVENTS, fields) as event_source,
        ServerSentEvents(world.port, log, fields) as log_source,
        Get(world.port, f"{log}?follow=true", fields) as text,
    ):
        console.send(message)

        assert [console.rest().code, events.rest().code] == [4001, 4001]
        for source in (event_source, log_source):
            *_, last = source.events()
            assert (last.name, json.loads(last.data)["code"]) == ("error", 4001)
        with pytest.raises(http.client.IncompleteRead):
            text.body()
    assert world.get(log, **fields)[0].status == 401


def test_a_log_without_a_tenant_is_not_the_way_round(world):
    assert world.websocket("/console-stream")[0] == 404


def test_what_is_ready_is_for_those_who_may_have_it(world):
    path = "/api/tenant/example/jobs"
    for _ in range(3):
        assert world.get(path, **bearer("ann", "example"))[0].status == 200
        assert world.get(path)[0].status == 401


def test_a_preflight_of_a_stream(world):
    response, _ = world.get(EVENTS, "OPTIONS", Origin="https://other.example.com")

    assert (response.status, response.getheader("Access-Control-Allow-Origin")) == (204, "*")
    assert "Authorization" in response.getheader("Access-Control-Allow-Headers")
