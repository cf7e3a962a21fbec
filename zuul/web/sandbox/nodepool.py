# SPDX-License-Identifier: Apache-2.0
"""A Nodepool for the sandbox: it writes the znodes that launchers and builders would, for the builds that there are.

What others write there counts: a node that somebody holds stays, one that is `used` or `deleting` goes, an image is
built when that is asked for and not while it is paused. `step` brings all of it forward, once a second.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

log = logging.getLogger("zuul.web.sandbox")

STEP_SECONDS = 1.0
READY_NODES = 1
"""Of each label that nobody uses."""
BUILD_SECONDS = 20.0
UPLOAD_SECONDS = 10.0
BUILD_EVERY_SECONDS = 3600.0
KEPT_BUILDS = 2
MOST_IMAGES = 4
PROVIDERS = ("cloud-one", "cloud-two")
REQUESTOR = "zuul-scheduler"
LOCK = "lock/5a4d0b0c__lock__0000000000"

Record = dict[str, Any]


class Znodes(Protocol):
    """What can be done with a tree."""

    def put(self, path: str, data: bytes = b"") -> None:
        """Write a znode, made with those above it if it is not there."""

    def remove(self, path: str) -> None:
        """Delete a znode with all below it, if it is there."""

    def get(self, path: str) -> bytes | None:
        """What a znode has; None: it is not there."""

    def children(self, path: str) -> list[str]:
        """The names of a znode's children; none, if it is not there."""


class Use(NamedTuple):
    """A build and its nodes."""

    build: str
    labels: tuple[str, ...]
    nodes: tuple[str, ...]
    since: float
    waits: bool
    """Whether it has not got them yet."""


class Need(NamedTuple):
    """What a scheduler wants of us at a moment."""

    now: float
    labels: tuple[str, ...]
    uses: tuple[Use, ...]
    holds: tuple[Record, ...]
    """Hold requests, as `autohold_list` gives them."""


class SandboxNodepool:
    """A context: inside it the tree follows the scheduler.

    :param znodes: the tree; only what is below /nodepool and /zuul/hold-requests is touched.
    """

    def __init__(self, need: Callable[[], Need], znodes: Znodes) -> None:
        self._need = need
        self._znodes = znodes
        self._labels: dict[str, str] = {}
        """Of the nodes that builds have had."""
        self._gone: set[str] = set()
        """Nodes of holds that somebody has released or deleted."""
        self._last_node = 9_000_000_000
        self._known: tuple[str, ...] = ()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="sandbox nodepool")

    def __enter__(self) -> SandboxNodepool:
        self.step()
        self.step()  # requests that were fulfilled before anybody looked are over
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)

    def _run(self) -> None:
        while not self._stop.wait(STEP_SECONDS):
            try:
                self.step()
            except Exception:  # an edge: the sandbox goes on without it
                log.exception("the simulated Nodepool failed")

    def step(self) -> None:
        """Bring the tree to the state of now."""
        need = self._need()
        self._launchers(need.labels)
        self._holds(need)
        self._requests(need)
        self._nodes(need)
        self._images(need)

    def _launchers(self, labels: tuple[str, ...]) -> None:
        if self._known == labels:
            return
        self._known = labels
        for number, provider in enumerate(PROVIDERS):
            mine = [label for label in labels if _number(label) % 2 == number or len(labels) == 1]
            name = f"{_launcher(provider)}-main"
            self._put(f"launchers/{name}", {"id": name, "provider_name": provider, "supported_labels": mine})

    def _holds(self, need: Need) -> None:
        requests = {request["id"]: request for request in need.holds}
        for name in set(self._znodes.children("/zuul/hold-requests")) - requests.keys():
            self._znodes.remove(f"/zuul/hold-requests/{name}")
        for name, request in requests.items():
            self._write(f"/zuul/hold-requests/{name}", request)

    def _requests(self, need: Need) -> None:
        seen = self._znodes.children("/nodepool/requests")
        wanted: dict[str, Record] = {}
        for use in need.uses:
            name = _request(use.build)
            if use.waits or not all(self._record(f"/nodepool/nodes/{node}") for node in use.nodes):
                wanted[name] = {
                    "state": "pending" if use.waits else "fulfilled",
                    "state_time": min(use.since, need.now),
                    "created_time": min(use.since, need.now) - 1,
                    "declined_by": [],
                    "node_types": list(use.labels),
                    "nodes": [] if use.waits else list(use.nodes),
                    "reuse": True,
                    "requestor": REQUESTOR,
                    "provider": None,
                    "relative_priority": 0,
                    "event_id": use.build[::-1],
                }
        for name in set(seen) - wanted.keys():
            self._znodes.remove(f"/nodepool/requests/{name}")
        for name, request in wanted.items():
            self._put(f"requests/{name}", request)

    def _nodes(self, need: Need) -> None:
        wanted = self._used(need) | self._held(need)
        ready = dict.fromkeys(need.labels, 0)
        there = set(self._znodes.children("/nodepool/nodes"))
        for name in there - wanted.keys():
            record = self._record(f"/nodepool/nodes/{name}")
            state = record.get("state")
            if state == "ready":
                for label in record["type"]:
                    ready[label] = ready.get(label, 0) + 1
            elif state != "hold" or _has_expired(record, need.now) or "by autohold" in record.get("attributes", ()):
                self._znodes.remove(f"/nodepool/nodes/{name}")
        for name, record in wanted.items():
            before = self._record(f"/nodepool/nodes/{name}")
            if before.get("state") in ("used", "deleting") and record["state"] == "hold":
                self._gone.add(name)
                self._znodes.remove(f"/nodepool/nodes/{name}")
                continue
            if before.get("state") == record["state"]:
                continue
            self._put(f"nodes/{name}", record)
            if record["state"] == "in-use":
                self._znodes.put(f"/nodepool/nodes/{name}/{LOCK}")
            else:
                self._znodes.remove(f"/nodepool/nodes/{name}/{LOCK}")
        for label, number in ready.items():
            for _ in range(number, READY_NODES):
                self._last_node += 1
                self._put(f"nodes/{self._last_node}", _node(str(self._last_node), label, "ready", need.now))

    def _used(self, need: Need) -> dict[str, Record]:
        found = {}
        for use in need.uses:
            if use.waits:
                continue
            for name, label in zip(use.nodes, use.labels, strict=False):
                self._labels[name] = label
                found[name] = {
                    **_node(name, label, "in-use", use.since),
                    "allocated_to": _request(use.build),
                }
        return found

    def _held(self, need: Need) -> dict[str, Record]:
        found = {}
        for request in need.holds:
            for held in request["nodes"]:
                for name in set(held["nodes"]) - self._gone:
                    label = self._labels.get(name, need.labels[0] if need.labels else "none")
                    found[name] = {
                        **_node(name, label, "hold", need.now),
                        "allocated_to": _request(held["build"]),
                        "hold_job": " ".join(request[key] for key in ("tenant", "project", "job", "ref_filter")),
                        "comment": request["reason"],
                        "hold_expiration": request["node_expiration"] or None,
                        "attributes": {"by autohold": request["id"]},
                    }
        return found

    # -- images

    def _images(self, need: Need) -> None:
        for image in need.labels[:MOST_IMAGES]:
            path = f"images/{image}"
            flags = self._znodes.children(f"/nodepool/{path}")
            numbers = [name for name in self._znodes.children(f"/nodepool/{path}/builds") if name != "lock"]
            builds = {number: self._record(f"/nodepool/{path}/builds/{number}") for number in sorted(numbers)}
            for number, build in list(builds.items()):
                if build.get("state") == "deleting":
                    self._znodes.remove(f"/nodepool/{path}/builds/{number}")
                    del builds[number]
                else:
                    self._age(path, number, build, need.now)
            ready = [number for number, build in builds.items() if build.get("state") == "ready"]
            for number in ready[:-KEPT_BUILDS]:
                self._put(f"{path}/builds/{number}", {**builds[number], "state": "deleting", "state_time": need.now})
            if "pause" in flags or any(build.get("state") == "building" for build in builds.values()):
                continue
            newest = max((build["state_time"] for build in builds.values()), default=None)
            if newest is None:
                self._build(path, 1, need.now - BUILD_SECONDS)
            elif "request-build" in flags or need.now - newest > BUILD_EVERY_SECONDS:
                self._znodes.remove(f"/nodepool/{path}/request-build")
                self._build(path, int(max(builds)) + 1, need.now)

    def _build(self, path: str, number: int, since: float) -> None:
        self._put(
            f"{path}/builds/{number:010}",
            {
                "state": "building",
                "state_time": since,
                "builder": "nb01.sandbox",
                "builder_id": hashlib.sha256(path.encode()).hexdigest()[:32],
                "formats": "qcow2,raw",
                "username": "zuul",
                "python_path": "auto",
            },
        )

    def _age(self, path: str, number: str, build: Record, now: float) -> None:
        """A build becomes ready, and is uploaded."""
        if build.get("state") == "building" and now - build["state_time"] >= BUILD_SECONDS:
            self._put(f"{path}/builds/{number}", {**build, "state": "ready", "state_time": now})
            for provider in PROVIDERS:
                self._put(
                    f"{path}/builds/{number}/providers/{provider}/images/0000000001",
                    {
                        "state": "uploading",
                        "state_time": now,
                        "external_id": None,
                        "external_name": None,
                        "format": "qcow2",
                        "username": "zuul",
                        "python_path": "auto",
                    },
                )
        for provider in self._znodes.children(f"/nodepool/{path}/builds/{number}/providers"):
            uploads = f"{path}/builds/{number}/providers/{provider}/images"
            for name in self._znodes.children(f"/nodepool/{uploads}"):
                upload = self._record(f"/nodepool/{uploads}/{name}")
                if upload.get("state") == "deleting":
                    self._znodes.remove(f"/nodepool/{uploads}/{name}")
                elif upload.get("state") == "uploading" and now - upload["state_time"] >= UPLOAD_SECONDS:
                    ready = {"external_id": f"image-{number}", "external_name": f"{path}-{int(now)}"}
                    self._put(f"{uploads}/{name}", {**upload, **ready, "state": "ready", "state_time": now})

    # --

    def _put(self, path: str, record: Record) -> None:
        self._write(f"/nodepool/{path}", record)

    def _write(self, path: str, record: Record) -> None:
        """Unless it is there as it is to be: others are told of each write."""
        if self._record(path) != record:
            self._znodes.put(path, json.dumps(record).encode())

    def _record(self, path: str) -> Record:
        """What a znode says; empty if it is not there, or no object."""
        data = self._znodes.get(path)
        try:
            found = json.loads(data) if data else None
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def _node(name: str, label: str, state: str, since: float) -> Record:
    number = _number(name)
    provider = PROVIDERS[_number(label) % 2]
    address = f"203.0.113.{number % 250 + 1}"
    return {
        "state": state,
        "state_time": since,
        "created_time": since - 90,
        "cloud": provider,
        "provider": provider,
        "pool": "main",
        "type": [label],
        "allocated_to": None,
        "az": "nova",
        "region": "one",
        "public_ipv4": address,
        "private_ipv4": None,
        "public_ipv6": None,
        "interface_ip": address,
        "connection_port": 22,
        "ssh_port": 22,
        "image_id": None,
        "launcher": f"{_launcher(provider)}-main",
        "external_id": hashlib.sha256(name.encode()).hexdigest()[:32],
        "hostname": f"{label}-{name}",
        "comment": None,
        "hold_job": None,
        "host_keys": [f"ssh-ed25519 {hashlib.sha256(name.encode()).hexdigest()}"],
        "username": "zuul",
        "connection_type": "ssh",
        "hold_expiration": None,
        "resources": {"cores": 4, "instances": 1, "ram": 8192},
        "attributes": {},
        "python_path": "auto",
    }


def _launcher(provider: str) -> str:
    return f"nl01.sandbox-1-PoolWorker.{provider}"


def _request(build: str) -> str:
    return f"200-{_number(build) % 10**9:010}"


def _number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16)


def _has_expired(record: Record, now: float) -> bool:
    expiration = record.get("hold_expiration")
    return bool(expiration) and now - record.get("state_time", time.time()) > expiration
