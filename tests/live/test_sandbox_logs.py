# SPDX-License-Identifier: Apache-2.0
"""The whole sandbox: the address that its scheduler gives leads to a log."""

from __future__ import annotations

import json
import socket

import pytest

from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler
from zuul.web.sandbox.service import Sandbox

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")


def test_the_address_that_the_scheduler_gives_has_the_log():
    scheduler = SandboxScheduler(load(None))
    with Sandbox(scheduler, "127.0.0.1", 9000):
        build = scheduler.last_to_end("example")
        address = json.loads(scheduler.functions["zuul:get_job_log_stream_address"]({"uuid": build.uuid}))
        host, port = address["server"], address["port"]
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(f"{build.uuid}\n".encode())
            with connection.makefile("rb") as log:
                assert log.readline().endswith(b" | Job console starting...\n")
        status = scheduler.functions["zuul:status_get"]({"tenant": "example"})
        assert f"finger://{host}:{port}/{build.uuid}" in status
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), timeout=10)
