# SPDX-License-Identifier: Apache-2.0
"""The scheduler is killed and comes back, while 50 clients go on asking for a status."""

from __future__ import annotations

import collections
import http.client
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from services import free_port, wait_until

STALE_SECONDS = 4.0
CLIENTS = 50
STATUS = "/api/tenant/example/status"


class SchedulerProcess:
    def __init__(self):
        self.port = free_port()
        self._process = None

    def start(self):
        script = Path(__file__).resolve().parents[1] / "scheduler_process.py"
        self._process = subprocess.Popen([sys.executable, str(script), str(self.port)], stdout=subprocess.PIPE)
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self):
        self._process.kill()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture
def scheduler():
    scheduler = SchedulerProcess()
    scheduler.start()
    yield scheduler
    scheduler.kill()


@pytest.fixture
def web(scheduler, tmp_path):
    """The port of `zuul-rest serve` in front of the scheduler."""
    port = free_port()
    conf = tmp_path / "zuul.conf"
    conf.write_text(
        f"[gearman]\nserver=127.0.0.1\nport={scheduler.port}\n[web]\nport={port}\n"
        f"[rest]\nstatus_stale={STALE_SECONDS}\naccess_log=false\n"
    )
    process = subprocess.Popen([sys.executable, "-m", "zuul.web.cli", "serve", "-c", str(conf)])

    def answers():
        try:
            return ask(port, STATUS)[0] == 200
        except OSError:
            return False

    wait_until(answers, 20, "the first answer")
    yield port
    process.terminate()
    assert process.wait(20) == 0


def ask(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


class Clients:
    """Each asks over a connection of its own, ten times a second; (monotonic time, status, age) is kept."""

    def __init__(self, port):
        self.answers = collections.deque()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(port,)) for _ in range(CLIENTS)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self._stop.set()
        for thread in self._threads:
            thread.join(20)

    def _run(self, port):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        while not self._stop.wait(0.1):
            connection.request("GET", STATUS)
            response = connection.getresponse()
            response.read()
            self.answers.append((time.monotonic(), response.status, response.getheader("Age")))
        connection.close()

    def since(self, moment):
        return [answer for answer in list(self.answers) if answer[0] > moment]


def test_a_status_outlives_the_scheduler_then_is_503_and_comes_back_within_two_seconds(scheduler, web):
    with Clients(web) as clients:
        wait_until(lambda: len(clients.answers) > 500, 20, "500 answers")
        assert {status for _, status, _ in clients.answers} == {200}
        killed = time.monotonic()
        scheduler.kill()
        wait_until(lambda: any(status == 503 for _, status, _ in clients.since(killed)), 20, "the first 503")
        first_503 = next(when for when, status, _ in clients.since(killed) if status == 503)
        # A snapshot may be a second old when its scheduler dies, no older while everybody asks.
        assert STALE_SECONDS - 1.5 < first_503 - killed < STALE_SECONDS + 1.5
        before = [answer for answer in clients.since(killed) if answer[0] < first_503]
        assert {status for _, status, _ in before} == {200}
        assert max(int(age) for _, _, age in before) >= STALE_SECONDS - 2

        status, headers, body = ask(web, STATUS)
        assert status == 503
        assert int(headers["Retry-After"]) > 0
        assert json.loads(body)["faultcode"] == "Server"
        began = time.monotonic()
        assert ask(web, "/api/tenants")[0] == 503
        assert time.monotonic() - began < 0.5
        assert ask(web, "/api/info")[0] == 200

        scheduler.start()
        back = time.monotonic()
        wait_until(lambda: any(status == 200 for _, status, _ in clients.since(back)), 2.0, "recovery")
        recovered = time.monotonic()
        wait_until(lambda: len(clients.since(recovered + 1)) > 100, 20, "more answers")
        assert {status for _, status, _ in clients.since(recovered + 1)} == {200}
        assert ask(web, "/api/tenants")[0] == 200
        print(
            f"first 503 {first_503 - killed:.1f} s after the kill, first 200 {recovered - back:.2f} s after the return"
        )
