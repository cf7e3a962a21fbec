# SPDX-License-Identifier: Apache-2.0
"""`zuul-rest sandbox --zookeeper`: its Nodepool is in a real ZooKeeper, and gone when it ends."""

from __future__ import annotations

import json
import urllib.request

import pytest
from kazoo.client import KazooClient
from server_process import ServerProcess
from services import free_port, wait_until
from zookeeper_server import ZooKeeperServer

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def client(tmp_path):
    server = ZooKeeperServer(tmp_path / "zookeeper")
    server.start()
    client = KazooClient(server.hosts)
    client.start(20)
    yield client
    client.stop()
    client.close()
    server.stop()


@pytest.fixture
def sandbox(client, tmp_path):
    """Starts a sandbox over a part of it."""
    running = []

    def sandbox(chroot):
        port = free_port()
        host, zookeeper_port = client.hosts[0]
        folder = tmp_path / f"sandbox-{len(running)}"
        folder.mkdir()
        process = ServerProcess(
            folder, "sandbox", "--port", str(port), "--history", "0", "--zookeeper", f"{host}:{zookeeper_port}{chroot}"
        )
        running.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield sandbox
    for process in running:
        process.kill()


def test_a_zookeeper_is_filled_and_followed_and_emptied(client, sandbox):
    process, base = sandbox("/of-a-sandbox")
    process.wait_for_output("Control-C")

    def in_use():
        try:
            with urllib.request.urlopen(f"{base}/v1/nodepool/nodes?state=in-use&limit=2000", timeout=20) as response:
                return {row["id"] for row in json.load(response)}
        except OSError:
            return set()  # it does not listen yet

    there = wait_until(in_use, 60, "nodes in use")
    assert there & set(client.get_children("/of-a-sandbox/nodepool/nodes"))

    process.terminate()
    process.ended()
    assert not client.exists("/of-a-sandbox/nodepool")


def test_a_nodepool_of_somebody_elses_is_left_alone(client, sandbox):
    client.create("/nodepool/nodes/1", b"{}", makepath=True)
    process, _ = sandbox("")

    assert process.ended() == 2
    assert "there is a Nodepool in this ZooKeeper already" in process.output
    assert client.exists("/nodepool/nodes/1")
