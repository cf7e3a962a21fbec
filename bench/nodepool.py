#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How Nodepool's resources do with thousands of nodes, and with a ZooKeeper that goes away.

    python bench/nodepool.py [--nodes 5000] [--requests 500] [--gets 1000] [--away 30]

A ZooKeeper of its own (Debian's) gets so many nodes and requests, each node with its lock, as nodepool-launcher leaves
them. Then `zuul-rest serve` runs with a zuul.conf that names it and nothing else. Printed are, each on a line: how long
the first load takes, the memory before and after, times of lists, what GETs cost ZooKeeper by its own counters, how
soon a change is seen, and what clients are told while ZooKeeper is away and when it is back.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from kazoo.client import KazooClient
from services import free_port, wait_until
from zookeeper_server import ZooKeeperServer

LABELS = [f"label-{number}" for number in range(20)]
STATES = ["ready"] * 3 + ["in-use"] * 6 + ["hold", "used", "building", "deleting"]
KEYS = ["ssh-ed25519 " + "A" * 68, "ssh-rsa " + "B" * 372, "ecdsa-sha2-nistp256 " + "C" * 140]


def node(number: int) -> bytes:
    state = STATES[number % len(STATES)]
    return json.dumps(
        {
            "state": state,
            "state_time": 1_700_000_000.5 + number,
            "created_time": 1_700_000_000.0,
            "cloud": None,
            "provider": f"provider-{number % 10}",
            "pool": "main",
            "type": [LABELS[number % len(LABELS)]],
            "allocated_to": f"200-{number:010}" if state == "in-use" else None,
            "az": "nova",
            "region": "one",
            "public_ipv4": f"203.0.113.{number % 250}",
            "private_ipv4": f"10.0.{number % 250}.1",
            "public_ipv6": f"2001:db8::{number:x}",
            "interface_ip": f"203.0.113.{number % 250}",
            "connection_port": 22,
            "ssh_port": 22,
            "image_id": "b2f1a7c4-0a3e-4b0a-9d8e-5d1d5d3c7a55",
            "launcher": f"nl0{number % 4}-1234-PoolWorker.provider-{number % 10}-main",
            "external_id": f"4c0a1b2c-{number:010}",
            "hostname": f"{LABELS[number % len(LABELS)]}-provider-{number % 10}-{number:010}",
            "comment": None,
            "hold_job": "tenant example.com/org/project job .*" if state == "hold" else None,
            "host_keys": KEYS,
            "username": "zuul",
            "connection_type": "ssh",
            "hold_expiration": None,
            "resources": {"cores": 8, "instances": 1, "ram": 8192},
            "attributes": None,
            "python_path": "auto",
        }
    ).encode()


def request(number: int) -> bytes:
    return json.dumps(
        {
            "state": "pending" if number % 2 else "requested",
            "state_time": 1_700_000_000.5,
            "declined_by": [],
            "node_types": [LABELS[number % len(LABELS)]],
            "nodes": [],
            "reuse": True,
            "requestor": "zuul01.example.com",
            "provider": None,
            "relative_priority": number % 7,
            "event_id": f"{number:032x}",
        }
    ).encode()


def fill(hosts: str, nodes: int, requests: int) -> None:
    client = KazooClient(hosts)
    client.start()
    for root in ("launchers", "nodes", "requests", "requests-lock", "images"):
        client.ensure_path(f"/nodepool/{root}")

    def create(paths: list[tuple[str, bytes]]) -> None:
        for begin in range(0, len(paths), 100):
            for result in [client.create_async(path, data) for path, data in paths[begin : begin + 100]]:
                result.get(30)

    for number in range(40):
        launcher = {"provider_name": f"provider-{number % 10}", "supported_labels": LABELS}
        client.create(
            f"/nodepool/launchers/nl0{number // 10}-1234-PoolWorker.provider-{number % 10}-main",
            json.dumps(launcher).encode(),
        )
    ids = [f"{number:010}" for number in range(nodes)]
    create([(f"/nodepool/nodes/{name}", node(int(name))) for name in ids])
    create([(f"/nodepool/nodes/{name}/lock", b"") for name in ids])
    held = [name for name in ids if STATES[int(name) % len(STATES)] == "in-use"]
    create([(f"/nodepool/nodes/{name}/lock/{int(name):032x}__lock__0000000000", b"") for name in held])
    create([(f"/nodepool/requests/200-{number:010}", request(number)) for number in range(requests)])
    create([(f"/nodepool/requests-lock/200-{number:010}", b"") for number in range(0, requests, 2)])
    client.stop()
    client.close()


class Server:
    """`zuul-rest serve` in front of one ZooKeeper."""

    def __init__(self, hosts: str, folder: Path) -> None:
        self.port = free_port()
        conf = folder / "zuul.conf"
        conf.write_text(
            f"[zookeeper]\nhosts={hosts}\n[web]\nport={self.port}\n[rest]\naccess_log=false\nnodepool_stale=20\n"
        )
        command = [sys.executable, "-m", "zuul.web.cli", "serve", "-c", str(conf)]
        log = (folder / "log").open("wb")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: self.try_get("/api/info") == 200, 30, "the first answer")

    def try_get(self, path: str) -> int | None:
        try:
            return self.get(path)[0]
        except OSError:
            return None

    def get(self, path: str, connection: http.client.HTTPConnection | None = None) -> tuple[int, bytes, dict[str, str]]:
        mine = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        mine.request("GET", path)
        response = mine.getresponse()
        body = response.read()
        if connection is None:
            mine.close()
        return response.status, body, dict(response.getheaders())

    def resident_mb(self) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024


def times(server: Server, paths: list[str], clients: int) -> list[float]:
    """How long each of these takes in milliseconds, with so many clients at once."""

    def ask(some: list[str]) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        found = []
        for path in some:
            began = time.perf_counter()
            status, _, _ = server.get(path, connection)
            assert status == 200, (path, status)
            found.append((time.perf_counter() - began) * 1000)
        return found

    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        return [one for found in pool.map(ask, [paths[number::clients] for number in range(clients)]) for one in found]


def quantiles(found: list[float]) -> str:
    ordered = sorted(found)
    return (
        f"p50 {statistics.median(ordered):.1f} ms, p99 {ordered[int(len(ordered) * 0.99) - 1]:.1f} ms, "
        f"most {ordered[-1]:.1f} ms, of {len(ordered)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--gets", type=int, default=1000)
    parser.add_argument("--away", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zuul-rest-bench-") as name:
        folder = Path(name)
        zookeeper = ZooKeeperServer(folder / "zookeeper")
        try:
            zookeeper.start()
            fill(zookeeper.hosts, options.nodes, options.requests)
            server = Server(zookeeper.hosts, folder)
            try:
                measure(options, zookeeper, server)
            finally:
                server.process.terminate()
                server.process.wait(30)
        finally:
            zookeeper.stop()


def measure(options: argparse.Namespace, zookeeper: ZooKeeperServer, server: Server) -> None:
    print(f"{options.nodes} nodes, {options.requests} requests; {os.cpu_count()} processors")
    before = server.resident_mb()
    packets = zookeeper.counters()["zk_packets_received"]
    began = time.perf_counter()
    _, _, headers = server.get("/v1/nodepool/nodes?limit=1")
    print(f"first load: {time.perf_counter() - began:.2f} s, {headers['X-Total']} nodes")
    print(f"  it took ZooKeeper {zookeeper.counters()['zk_packets_received'] - packets:.0f} packets")
    print(f"  resident: {before:.0f} MB before, {server.resident_mb():.0f} MB after")

    different = [
        f"/v1/nodepool/nodes?state={random.choice(STATES)}&type={random.choice(LABELS)}&provider=provider-{n % 10}"
        f"&limit={n % 90 + 10}&offset={n // 10}"
        for n in range(options.gets)
    ]
    packets = zookeeper.counters()["zk_packets_received"]
    began = time.perf_counter()
    print(f"filtered lists, each another, 1 client: {quantiles(times(server, different, 1))}")
    print(f"filtered lists, the same again, 10 clients: {quantiles(times(server, different, 10))}")
    print(f"all nodes as text, /node-list: {quantiles(times(server, ['/node-list'] * 20, 1))}")
    seconds = time.perf_counter() - began
    spent = zookeeper.counters()["zk_packets_received"] - packets
    gets = 2 * options.gets + 20
    print(f"ZooKeeper during these {gets} GETs: {spent:.0f} packets in {seconds:.1f} s, "
          f"of which {seconds / 3.33:.0f} pings and 2 of this measurement are due")  # fmt: skip
    print(f"  resident: {server.resident_mb():.0f} MB")

    client = KazooClient(zookeeper.hosts)
    client.start()
    seen = []
    for number in range(50):
        data = json.loads(node(number)) | {"comment": f"change {number}"}
        client.set(f"/nodepool/nodes/{number:010}", json.dumps(data).encode())
        began = time.perf_counter()
        while json.loads(server.get(f"/v1/nodepool/nodes/{number:010}?fields=comment")[1])["comment"] is None:
            pass
        seen.append((time.perf_counter() - began) * 1000)
    print(f"a change is seen after: {quantiles(seen)}")
    client.stop()
    client.close()

    print(f"ZooKeeper stopped for {options.away:g} s, with nodepool_stale = 20")
    zookeeper.stop()
    stopped = time.perf_counter()
    answers: list[tuple[float, int, str | None]] = []
    while time.perf_counter() - stopped < options.away:
        began = time.perf_counter()
        status, _, headers = server.get("/v1/nodepool/nodes?limit=5")
        took = time.perf_counter() - began
        answers.append((took * 1000, status, headers.get("Age")))
        time.sleep(0.1)
    good = [answer for answer in answers if answer[1] == 200]
    bad = [answer for answer in answers if answer[1] == 503]
    print(f"  {len(good)} answers 200, the oldest with Age {good[-1][2]}; then {len(bad)} answers 503; "
          f"none else: {len(good) + len(bad) == len(answers)}; slowest {max(answers)[0]:.0f} ms")  # fmt: skip
    zookeeper.start()
    began = time.perf_counter()
    wait_until(lambda: server.try_get("/v1/nodepool/nodes?limit=1") == 200, 60, "the first good answer")
    print(f"  ZooKeeper answers again; the first good answer {time.perf_counter() - began:.2f} s later")
    wait_until(lambda: server.get("/v1/nodepool/nodes?limit=1")[2].get("Age") == "0", 60, "a whole new look")
    print(f"  resident: {server.resident_mb():.0f} MB")


if __name__ == "__main__":
    main()
