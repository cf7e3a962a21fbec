# SPDX-License-Identifier: Apache-2.0
"""`zuul-rest check` against gearman servers of each kind."""

from __future__ import annotations

import subprocess
import sys

import gear
import pytest
from services import free_port, wait_until

from zuul.web.backends.rpc.gearman import registered_functions
from zuul.web.backends.scheduler import FUNCTIONS

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear", "ignore:ssl.PROTOCOL_TLS")


@pytest.fixture
def scheduler(gearman):
    """A worker that offers what the scheduler does."""
    worker = gear.TextWorker("scheduler")
    keys = (gearman.tls.key, gearman.tls.cert, gearman.tls.ca) if gearman.tls else ()
    worker.addServer("127.0.0.1", gearman.port, *keys)
    worker.waitForServer(10)
    for function in FUNCTIONS:
        worker.registerFunction(f"zuul:{function}")
    yield worker
    worker.shutdown()


def run_check(tmp_path, gearman_options):
    lines = [f"{name} = {value}" for name, value in gearman_options.items()]
    conf = tmp_path / "zuul.conf"
    conf.write_text("\n".join(["[gearman]", *lines, "[web]", f"port = {free_port()}", ""]))
    command = [sys.executable, "-m", "zuul.web.cli", "check", "-c", str(conf)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def options_of(gearman):
    tls = {"ssl_key": gearman.tls.key, "ssl_cert": gearman.tls.cert, "ssl_ca": gearman.tls.ca} if gearman.tls else {}
    return {"server": f"127.0.0.1:{gearman.port}", **tls}


def test_a_scheduler_with_all_functions_is_ok(gearman, scheduler, tmp_path):
    keys = (gearman.tls.key, gearman.tls.cert, gearman.tls.ca) if gearman.tls else None
    wait_until(lambda: len(registered_functions("127.0.0.1", gearman.port, keys, 5)) == len(FUNCTIONS))
    status, lines = run_check(tmp_path, options_of(gearman))
    assert lines[0] == f"ok    gearman 127.0.0.1:{gearman.port}: connected, 25 of 25 functions"
    assert status == 0


def test_a_server_without_a_scheduler_fails(gearman, tmp_path):
    status, lines = run_check(tmp_path, options_of(gearman))
    assert lines[0].startswith(f"FAIL  gearman 127.0.0.1:{gearman.port}: connected, 0 of 25 functions; ")
    assert status == 1


def test_no_server_fails(tmp_path):
    status, lines = run_check(tmp_path, {"server": f"127.0.0.1:{free_port()}"})
    assert "Connection refused; start zuul-scheduler" in lines[0]
    assert status == 1


@pytest.mark.parametrize("gearman", ["gear-tls", "gearmand-tls"], indirect=True)
def test_without_the_files_a_tls_server_fails(gearman, tmp_path):
    status, lines = run_check(tmp_path, {"server": f"127.0.0.1:{gearman.port}"})
    assert lines[0].startswith("FAIL  gearman ")
    assert status == 1
