#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast collections of thousands of rows are, and a status of which only a few attributes are wanted.

    python bench/large_collections.py [--zuul-web PATH] [--servers serve,uwsgi,granian] [--rounds 3] [--seconds 4]

A simulated scheduler has --rows jobs and as many live items in one pipeline, and its status changes every second.
Each server in turn serves it; wrk asks for each URL with 1 and with 10 connections. Printed is a table of medians over
the rounds: p50 in ms, requests/s, and the bytes of one answer. --zuul-web names upstream's, to have beside ours.
Needs wrk; uwsgi and granian where they are named. Everything listens on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from zuul.web.backends.rpc.gearman_worker import GearmanWorker, start_server
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

TENANT = "example"
V1 = f"/v1/tenants/{TENANT}"
STATUS_FIELDS = "trigger_event_queue,result_event_queue,management_event_queue"

URLS = {
    "jobs, first page": f"{V1}/jobs",
    "jobs, all": f"{V1}/jobs?limit=2000",
    "jobs, last page by name": f"{V1}/jobs?sort_field=name&offset=1900",
    "items, first page": f"{V1}/pipelines/check/items",
    "items, all": f"{V1}/pipelines/check/items?limit=2000",
    "items, three attributes": f"{V1}/pipelines/check/items?fields=id,queue,position",
    "status": f"{V1}/status",
    "status, three numbers": f"{V1}/status?fields={STATUS_FIELDS}",
    "/api jobs": f"/api/tenant/{TENANT}/jobs",
}
COMMANDS = {
    "serve": "{python} -m zuul.web.cli serve -c {conf}",
    "uwsgi": "uwsgi --http11-socket 127.0.0.1:{port} --master --processes 2 --threads 4 --enable-threads --lazy-apps "
    "--disable-logging --die-on-term --module zuul.web.wsgi:application",
    "granian": "granian --interface wsgi --host 127.0.0.1 --port {port} --workers 2 --no-access-log "
    "zuul.web.wsgi:application",
}


CONF = """
[gearman]
server=127.0.0.1
port={gearman}
[zookeeper]
hosts={zookeeper}
[scheduler]
state_dir={folder}
[web]
listen_address=127.0.0.1
port={port}
pidfile={folder}/web.pid
command_socket={folder}/web.socket
static_path={folder}
"""


def functions(rows: int) -> dict[str, Callable]:
    """The worker functions of a sandbox scheduler with so many jobs, and as many items in the pipeline check."""
    scheduler = SandboxScheduler(load(None, rows), clock=lambda: 1_600_000_000.0)
    replaced = dict(scheduler.functions)
    few = json.loads(replaced["zuul:job_list"]({"tenant": TENANT}))
    copies = itertools.islice(itertools.count(), -(-rows // len(few)))
    jobs = [{**job, "name": f"{job['name']}-{n}"} for n in copies for job in few][:rows]
    job_list = json.dumps(jobs)

    status = json.loads(replaced["zuul:status_get"]({"tenant": TENANT}))
    queues = [queue for pipeline in status["pipelines"] for queue in pipeline["change_queues"]]
    items = [item for queue in queues for head in queue["heads"] for item in head if item["live"]]
    numbers = itertools.count(100_000)
    many = [{**item, "id": f"{next(numbers)},1"} for item in itertools.islice(itertools.cycle(items), rows)]
    for item in many:
        item["jobs"] = item["jobs"][:3]
    check = status["pipelines"][0]
    check["change_queues"] = [{"name": "check", "window": 0, "heads": [[item]]} for item in many]
    status["pipelines"] = [check]

    def status_get(arguments: object) -> str:
        status["trigger_event_queue"]["length"] = int(time.time())
        return json.dumps(status)

    replaced["zuul:job_list"] = lambda arguments: job_list
    replaced["zuul:status_get"] = status_get
    return replaced


def be_scheduler(rows: int) -> None:
    """In a process of its own: print the port of the gearman server, and answer until the end of stdin."""
    server = start_server()
    worker = GearmanWorker("127.0.0.1", server.port, functions(rows), "Zuul RPC Listener")
    worker.start()
    print(server.port, flush=True)
    sys.stdin.read()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def server(command: str, gearman_port: int, zookeeper: str) -> Iterator[int]:
    """Run a server; gives its port once it answers."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        conf = os.path.join(folder, "zuul.conf")
        with open(conf, "w") as file:
            file.write(CONF.format(gearman=gearman_port, port=port, zookeeper=zookeeper, folder=folder))
        words = command.format(python=sys.executable, conf=conf, port=port).split()
        environ = {**os.environ, "ZUUL_CONF": conf}
        with open(os.path.join(folder, "log"), "w+") as log:
            process = subprocess.Popen(words, env=environ, stdout=log, stderr=log, start_new_session=True)
            try:
                for _ in range(300):
                    with contextlib.suppress(OSError):
                        if get(port, f"/api/tenant/{TENANT}/jobs")[0] == 200:
                            break
                    if process.poll() is not None:
                        log.seek(0)
                        raise SystemExit(f"{command} ended:\n{log.read()[-2000:]}")
                    time.sleep(0.1)
                else:
                    raise SystemExit(f"{command} does not answer")
                yield port
            finally:
                os.killpg(process.pid, signal.SIGTERM)
                process.wait(20)


def measure(url: str, connections: int, seconds: int) -> tuple[float, float]:
    """p50 in ms and requests/s by wrk."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout", "30s", url]
    printed = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    if "Non-2xx" in printed or "Socket errors" in printed:
        raise SystemExit(f"{url}:\n{printed}")
    value, unit = re.search(r"50%\s+([\d.]+)(us|ms|s)", printed).groups()  # type: ignore[union-attr]
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])  # type: ignore[index]
    return float(value) * {"us": 0.001, "ms": 1, "s": 1000}[unit], rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--servers", default="serve,uwsgi,granian")
    parser.add_argument("--zuul-web", help="upstream's program, measured with its own URL of the jobs")
    parser.add_argument("--zookeeper", default="127.0.0.1:2181", help="which upstream's does not start without")
    parser.add_argument("--scheduler", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.scheduler:
        return be_scheduler(options.rows)

    commands = {name: COMMANDS[name] for name in options.servers.split(",")}
    if options.zuul_web:
        commands["zuul-web"] = f"{options.zuul_web} -f -c {{conf}}"
    samples: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    sizes: dict[str, int] = {}
    words = [sys.executable, __file__, "--scheduler", "--rows", str(options.rows)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as scheduler:
        gearman_port = int(scheduler.stdout.readline())  # type: ignore[union-attr]
        for _ in range(options.rounds):
            for name, command in commands.items():
                with server(command, gearman_port, options.zookeeper) as port:
                    for label, path in URLS.items():
                        if name == "zuul-web" and not path.startswith("/api/"):
                            continue
                        status, body = get(port, path)
                        if status != 200:
                            raise SystemExit(f"{name} {path}: {status} {body[:300]!r}")
                        sizes[label] = len(body)
                        for connections in (1, 10):
                            taken = measure(f"http://127.0.0.1:{port}{path}", connections, options.seconds)
                            samples.setdefault((label, name, connections), []).append(taken)
        scheduler.stdin.close()  # type: ignore[union-attr]

    print(f"{'':26} {'bytes':>9}  " + "  ".join(f"{name:>29}" for name in commands))
    print(f"{'':26} {'':>9}  " + "  ".join(f"{'c=1 p50 ms':>10} {'/s':>7} {'c=10 /s':>10}" for _ in commands))
    for label in URLS:
        cells = []
        for name in commands:
            one, ten = (samples.get((label, name, connections)) for connections in (1, 10))
            if one is None or ten is None:
                cells.append(f"{'-':>10} {'-':>7} {'-':>10}")
                continue
            p50, rate, rate_of_ten = (
                statistics.median(p50 for p50, _ in one),
                statistics.median(rate for _, rate in one),
                statistics.median(rate for _, rate in ten),
            )
            cells.append(f"{p50:10.2f} {rate:7.0f} {rate_of_ten:10.0f}")
        print(f"{label:26} {sizes[label]:9}  " + "  ".join(cells))


if __name__ == "__main__":
    main()
