# SPDX-License-Identifier: Apache-2.0
"""Live logs and events of a real Zuul 3.19.1, beside upstream's zuul-web and in upstream's own pages."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import threading
from pathlib import Path

import pytest
from browser import Browser
from executor import Executor
from pipelines import Zuul
from server_process import Served, ServerProcess
from services import free_port, missing, wait_until
from streams import Get, ServerSentEvents, WebSocket, console

pytestmark = [pytest.mark.timeout(240), pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")]

TENANT = "tenant-one"


@pytest.fixture(scope="module")
def lab(shared):
    """Runs a command of the lab; gives what it printed."""

    def run(*words):
        done = subprocess.run([shared / "lab" / "lab", *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    if subprocess.run([shared / "lab" / "lab", "status"], capture_output=True, check=False).returncode != 0:
        missing("a running lab (../shared/lab/lab up)")
    return run


@pytest.fixture(scope="module")
def conf(lab):
    conf = configparser.RawConfigParser()
    conf.read(lab("conf"))
    return conf


@pytest.fixture(scope="module")
def upstream(conf):
    return conf.getint("web", "port")


@pytest.fixture(scope="module")
def dashboard(conf):
    """The folder with upstream's pages, in the lab's environment."""
    lab_dir = Path(conf.get("scheduler", "state_dir")).parent
    found = sorted(lab_dir.glob("venv/zuul/lib/python*/site-packages/zuul/web/static/index.html"))
    if not found:
        missing("upstream's pages (zuul/web/static of the lab's Zuul)")
    return found[0].parent


@pytest.fixture(scope="module")
def port(conf, dashboard, tmp_path_factory):
    """Ours, with the lab's own zuul.conf but for the port, and with upstream's pages."""
    port = free_port()
    folder = tmp_path_factory.mktemp("ours")
    conf.set("web", "port", str(port))
    conf.set("web", "root", f"http://127.0.0.1:{port}/")
    conf.set("web", "static_path", str(dashboard))
    with (folder / "zuul.conf").open("w") as file:
        conf.write(file)
    server = ServerProcess(folder, "serve", "-c", str(folder / "zuul.conf"))
    server.wait_for_output(r"listening on \S+ port \d+")
    yield port
    server.terminate()
    assert server.ended() == 0
    assert "Traceback" not in server.output


def jobs_of(port):
    """All jobs in the pipelines of the tenant."""
    with Get(port, f"/api/tenant/{TENANT}/status") as got:
        status = json.loads(got.body())
    return [
        job
        for pipeline in status["pipelines"]
        for queue in pipeline["change_queues"]
        for head in queue["heads"]
        for item in head
        for job in item["jobs"]
    ]


@pytest.fixture(scope="module")
def pushed(lab):
    """The builds of slow so far. The pipelines are left to get idle once, as that takes minutes."""
    yield set()
    lab("wait")


@pytest.fixture
def slow(lab, upstream, pushed):
    """The uuid of the job slow of a commit that was pushed just now, and has a log."""
    lab("push", "demo")

    def uuid():
        running = (
            job["uuid"]
            for job in jobs_of(upstream)
            if job["name"] == "slow" and job["start_time"] and not job["result"]
        )
        return next((uuid for uuid in running if uuid not in pushed), None)

    found = wait_until(uuid, 120, "a running build of slow")

    def has_a_log():
        with console(upstream, found, tenant=TENANT, must_hang_up=False) as viewer:
            message = viewer.receive()
        return message is not None and not message.startswith(("Build ID", "Log not found"))

    wait_until(has_a_log, 30, "its log")
    pushed.add(found)
    return found


def in_threads(**functions):
    """Their results, by the same names."""
    results = {}
    threads = [
        threading.Thread(target=lambda name=name, function=function: results.update({name: function()}))
        for name, function in functions.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_events_of_a_push(port, lab):
    with WebSocket(port, f"/v1/tenants/{TENANT}/events") as listener:
        assert listener.json()["type"] == "state"
        commit = lab("push", "demo").split()[-1]
        events = []
        while not events or events[-1]["type"] != "item_left":
            event = listener.json()
            item = event.get("item", {})
            if item.get("key") == events[0]["item"]["key"] if events else item.get("id") == commit:
                events.append(event)
    types = [event["type"] for event in events]
    assert types[0] == "item_enqueued"
    started = {
        event["build"]["uuid"]: event["build"]["job_name"] for event in events if event["type"] == "build_started"
    }
    finished = {
        event["build"]["uuid"]: event["build"]["result"] for event in events if event["type"] == "build_finished"
    }
    assert {"slow", "quick", "fail-local", "demo-unit"} <= set(started.values())
    assert set(finished) == set(started)
    assert "FAILURE" in finished.values()
    assert "SUCCESS" in finished.values()
    assert len({event["id"] for event in events}) == len(events)


def test_a_log_is_the_same_in_every_form_and_at_upstreams(port, upstream, slow):
    path = f"/v1/tenants/{TENANT}/builds/{slow}/log"

    def by_websocket(port):
        with console(port, slow, tenant=TENANT, must_hang_up=False) as viewer:
            return viewer.rest()

    def by_sse():
        with ServerSentEvents(port, path) as got:
            *events, end = got.events()
            return "".join(event.text for event in events), end.name, json.loads(end.data)

    def by_follow():
        with Get(port, f"{path}?follow=true") as got:
            return got.body().decode()

    found = in_threads(
        theirs=lambda: by_websocket(upstream), ours=lambda: by_websocket(port), sse=by_sse, follow=by_follow
    )
    assert set(found) == {"theirs", "ours", "sse", "follow"}
    assert len(re.findall(r"line \d+ of 60", found["ours"].text)) == 60
    assert found["ours"] == found["theirs"]
    assert (found["ours"].code, found["ours"].reason) == (1000, "No more data")
    assert found["sse"] == (found["ours"].text, "end", {"code": 1000, "reason": "No more data"})
    assert found["follow"] == found["ours"].text


def test_a_build_of_another_tenant_and_an_unknown_one(port, upstream, slow):
    with console(port, slow, tenant="tenant-two") as viewer:
        assert viewer.rest().code == 4011
    for where in (port, upstream):
        with console(where, "0" * 32, tenant=TENANT, must_hang_up=False) as viewer:
            closed = viewer.rest()
            assert (closed.code, closed.reason) == (4011, "Error with Gearman")


# -- upstream's pages

TERMINAL_TEXT = """(() => {
    let node = document.querySelector('.xterm'), key;
    const ofReact = node => Object.keys(node).find(name => name.startsWith('__reactInternalInstance'));
    while (node && !(key = ofReact(node))) node = node.parentNode;
    let fiber = node && node[key];
    while (fiber && !(fiber.stateNode && fiber.stateNode.term)) fiber = fiber.return;
    if (!fiber) return '';
    const term = fiber.stateNode.term;
    term.selectAll();
    const text = term.getSelection();
    term.clearSelection();
    return text;
})()"""
"""What upstream's page shows of a log. Its terminal paints on a canvas, so that the document has no text of it."""


def test_upstreams_page_shows_the_log_of_a_real_build(port, slow, tmp_path):
    url = f"http://127.0.0.1:{port}/t/{TENANT}/stream/{slow}?logfile=console.log"
    with Browser(tmp_path / "browser", url) as browser:
        wait_until(
            lambda: re.search(r"line \d+ of 60", browser.evaluate(TERMINAL_TEXT)), 90, "a line of the log on the page"
        )


def test_upstreams_page_shows_a_log_as_it_grows(dashboard, tmp_path):
    executor, zuul = Executor(), Zuul()
    server = Served(tmp_path / "server", zuul.port, web=f"static_path={dashboard}")
    try:
        build = zuul.build(executor.address)
        log = executor.log(build.uuid)
        log.write("first line: é€😀\n".encode())
        url = f"http://127.0.0.1:{server.port}/t/one/stream/{build.uuid}?logfile=console.log"
        with Browser(tmp_path / "browser", url) as browser:
            wait_until(lambda: "first line: é€😀" in browser.evaluate(TERMINAL_TEXT), 60, "the first line on the page")
            log.write(b"second line\n")
            wait_until(lambda: "second line" in browser.evaluate(TERMINAL_TEXT), 30, "the second line on the page")
            build.finish()
            log.end()
            wait_until(lambda: "END OF STREAM" in browser.evaluate(TERMINAL_TEXT), 30, "the end on the page")
        assert "Traceback" not in server.output
    finally:
        server.kill()
        zuul.stop()
        executor.stop()
