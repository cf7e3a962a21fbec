# SPDX-License-Identifier: Apache-2.0
"""What an answer promises, over a real gearman server whose scheduler stops and starts."""

from __future__ import annotations

import threading

import pytest
from functional.admins import SCENARIO, authorization
from functional.tokens import CONF
from webtest import TestApp

from zuul.web import application
from zuul.web.backends.rpc.gearman_worker import GearmanWorker
from zuul.web.sandbox.scheduler import SandboxScheduler
from zuul.web.settings import read

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear", "ignore:ssl.PROTOCOL_TLS")

ENQUEUE = ("/api/tenant/example/project/core/compute/enqueue", {"pipeline": "gate", "change": "123,4"})
WRITE = "zuul:enqueue"


class Lab:
    """A sandbox scheduler at the gearman server, whose functions come and go, and our application."""

    def __init__(self, gearman, folder):
        self.gearman = gearman
        self.functions = SandboxScheduler(SCENARIO).functions
        self.called = threading.Event()
        self._workers = []
        conf = folder / "zuul.conf"
        tls = ""
        if gearman.tls:
            tls = f"ssl_key = {gearman.tls.key}\nssl_cert = {gearman.tls.cert}\nssl_ca = {gearman.tls.ca}\n"
        conf.write_text(f"[gearman]\nserver = 127.0.0.1\nport = {gearman.port}\n{tls}[rest]\nrpc_timeout = 2\n{CONF}")
        self.services = application.Services.build(read(str(conf)))
        application.provide(str(conf), self.services)
        self.app = TestApp(application.load(str(conf)))

    def offer(self, functions):
        worker = GearmanWorker("127.0.0.1", self.gearman.port, functions, "scheduler")
        worker.start()
        self._workers.append(worker)
        return worker

    def enqueue(self, *_):
        self.called.set()

    def post(self):
        return self.app.post_json(*ENQUEUE, headers=authorization("example"), status="*")

    def close(self):
        for worker in self._workers:
            worker.stop()
        self.services.close()


@pytest.fixture
def lab(gearman, tmp_path):
    if gearman.tls:
        pytest.skip("the sandbox's worker speaks without TLS")
    lab = Lab(gearman, tmp_path)
    yield lab
    lab.close()


def test_what_was_sent_to_a_stopped_scheduler_is_not_done_when_it_starts_again(lab):
    lab.offer({name: function for name, function in lab.functions.items() if name != WRITE})

    response = lab.post()

    assert response.status_int == 504, response.text
    assert "outcome" not in response.json
    lab.offer({WRITE: lab.enqueue})
    assert not lab.called.wait(3)


def test_of_a_scheduler_that_ends_while_it_works_nobody_can_know(lab):
    release = threading.Event()

    def die(arguments):
        lab.called.set()
        release.wait(20)

    lab.offer({name: function for name, function in lab.functions.items() if name != WRITE})
    dying = lab.offer({WRITE: die})
    answers = []
    asking = threading.Thread(target=lambda: answers.append(lab.post()))
    asking.start()
    assert lab.called.wait(10)
    dying._worker.shutdown()  # its connections are gone, as of a process that was killed
    asking.join(20)
    release.set()

    (response,) = answers
    assert (response.status_int, response.json["outcome"]) == (504, "unknown"), response.text
