# SPDX-License-Identifier: Apache-2.0
"""A Nodepool in memory for tests: a few nodes in all states that matter, and an image."""

from __future__ import annotations

import json
from typing import Any

from zuul.web.backends.nodepool.memory import MemoryTree

LAUNCHER = "nl01-42-PoolWorker.cloud-one-main"
REQUEST = "200-0000000012"
READY, IN_USE, HELD, USED, ALLOCATED = (f"000000000{number}" for number in range(5))
IMAGE = "debian"
BUILD = "debian-0000000007"
BUILDING = "debian-0000000008"
UPLOAD = "debian-0000000007-cloud-one-0000000001"
NOW = 1_600_000_000.0


class Pool:
    """Writes znodes below /nodepool, and reads what became of them."""

    def __init__(self, tree: MemoryTree) -> None:
        self.tree = tree

    def put(self, path: str, data: Any = None) -> None:
        self.tree.put(f"/nodepool/{path}", b"" if data is None else json.dumps(data).encode())

    def get(self, path: str) -> Any:
        return json.loads(self.tree.read(f"/nodepool/{path}")[0])

    def has(self, path: str) -> bool:
        return self.tree.exists(f"/nodepool/{path}")

    def lock(self, path: str) -> None:
        self.put(f"{path}/lock/0123456789abcdef__lock__0000000000")

    def node(self, number: str, state: str, **more: Any) -> None:
        self.put(
            f"nodes/{number}",
            {
                "state": state,
                "state_time": NOW - 3600,
                "created_time": NOW - 7200,
                "provider": "cloud-one",
                "pool": "main",
                "type": ["debian-small"],
                "allocated_to": None,
                "public_ipv4": "203.0.113.7",
                "interface_ip": "203.0.113.7",
                "connection_port": 22,
                "connection_type": "ssh",
                "launcher": LAUNCHER,
                "hostname": f"debian-small-{number}",
                "username": "zuul",
                "host_keys": ["ssh-ed25519 AAAA"],
                "comment": None,
                "hold_job": None,
                "unknown": {"to": "us"},
                **more,
            },
        )


def filled() -> MemoryTree:
    tree = MemoryTree()
    pool = Pool(tree)
    labels = ["debian-large", "debian-small", "secret-label"]
    pool.put(f"launchers/{LAUNCHER}", {"id": LAUNCHER, "provider_name": "cloud-one", "supported_labels": labels})
    pool.put(
        f"requests/{REQUEST}",
        {
            "state": "fulfilled",
            "state_time": NOW - 2,
            "node_types": ["debian-small"],
            "nodes": [ALLOCATED],
            "declined_by": [],
            "requestor": "zuul-scheduler",
            "relative_priority": 0,
            "event_id": "8d1e5a0f4c6b4bd0a4a5e2d9f7c33c1e",
        },
    )
    pool.node(READY, "ready")
    pool.node(IN_USE, "in-use", allocated_to="200-0000000003")
    pool.lock(f"nodes/{IN_USE}")
    pool.node(HELD, "hold", hold_job="example gerrit.example.org/core/compute tox-py38 .*", comment="look", az="a")
    pool.node(USED, "used", connection_port={"token": "a-secret-of-kubernetes"})
    pool.node(ALLOCATED, "ready", allocated_to=REQUEST)
    made = {"state_time": NOW - 60, "builder": "nb01", "builder_id": "x", "formats": "raw,qcow2", "username": "zuul"}
    pool.put(f"images/{IMAGE}/builds/0000000007", {"state": "ready", **made})
    pool.put(f"images/{IMAGE}/builds/0000000008", {"state": "building", **made})
    uploads = f"images/{IMAGE}/builds/0000000007/providers/cloud-one/images"
    pool.put(f"{uploads}/0000000001", {"state": "ready", "state_time": NOW, "external_id": "9f0c", "format": "raw"})
    pool.put(f"{uploads}/0000000002", {"state": "uploading", "state_time": NOW, "external_id": None, "format": "raw"})
    held = {"nodes": [{"build": "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11", "nodes": [HELD]}]}
    tree.put("/zuul/hold-requests/0000000001", json.dumps(held).encode())
    return tree
