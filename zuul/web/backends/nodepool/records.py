# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a znode to a row of plain data.

Rows have all of their keys, with values of the declared types whatever the znode says: what is of another type is made
text where it can be, or None. Old Nodepools wrote a node's label as bare text, for instance. What is no JSON object is
no row at all. Rows are never changed.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

Row = dict[str, Any]

NODE_TEXTS = (
    "provider", "pool", "cloud", "az", "region", "launcher", "hostname", "interface_ip", "public_ipv4", "private_ipv4",
    "public_ipv6", "host_id", "image_id", "external_id", "connection_type", "username", "python_path", "allocated_to",
    "hold_job", "comment",
)  # fmt: skip

_launcher_id = re.compile(r"(?P<hostname>.+)-(?P<pid>[0-9]+)-PoolWorker\.(?P<of>.+)", re.DOTALL).fullmatch


class Unreadable(Exception):
    """A znode has something else than a JSON object."""


def decoded(data: bytes) -> Row | None:
    """What a znode says; None for an empty one, which Nodepool leaves behind for a moment.

    :raises Unreadable: it is no JSON object.
    """
    if not data:
        return None
    try:
        found = json.loads(data.decode(), parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:
        raise Unreadable("no JSON") from error
    if not isinstance(found, dict):
        raise Unreadable("no JSON object")
    return found


def launcher(name: str, data: Row) -> Row:
    provider = _text(data.get("provider_name")) or "unknown"
    parts = _launcher_id(name)
    pool = parts["of"].removeprefix(f"{provider}-") if parts else None
    return {
        "id": name,
        "hostname": parts["hostname"] if parts else None,
        "pid": int(parts["pid"]) if parts and len(parts["pid"]) < 16 else None,
        "provider_name": provider,
        "pool": pool if parts and pool != parts["of"] else None,
        "supported_labels": sorted(_texts(data.get("supported_labels"))),
    }


def node(name: str, data: Row) -> Row:
    return {
        "id": name,
        "type": _texts(data.get("type")),
        "state": _text(data.get("state")),
        "state_time": _number(data.get("state_time")),
        "created_time": _number(data.get("created_time")),
        **{key: _text(data.get(key)) for key in NODE_TEXTS},
        "connection_port": _port(data.get("connection_port", data.get("ssh_port", 22))),
        "host_keys": _texts(data.get("host_keys")),
        "hold_expiration": _whole(data.get("hold_expiration")),
        "resources": _object(data.get("resources")),
        "attributes": _object(data.get("attributes")),
    }


def request(name: str, data: Row) -> Row:
    return {
        "id": name,
        "state": _text(data.get("state")),
        "state_time": _number(data.get("state_time")),
        "created_time": _number(data.get("created_time")),
        "node_types": _texts(data.get("node_types")),
        "nodes": _texts(data.get("nodes")),
        "declined_by": _texts(data.get("declined_by")),
        "relative_priority": _whole(data.get("relative_priority")) or 0,
        "requestor": _text(data.get("requestor")),
        "event_id": _text(data.get("event_id")),
        "provider": _text(data.get("provider")),
        "reuse": data.get("reuse") is not False,
    }


def build(image: str, number: str, data: Row) -> Row:
    formats = data.get("formats")
    return {
        "id": f"{image}-{number}",
        "image": image,
        "number": number,
        "state": _text(data.get("state")),
        "state_time": _number(data.get("state_time")),
        "builder": _text(data.get("builder")),
        "builder_id": _text(data.get("builder_id")),
        "formats": [part for part in formats.split(",") if part] if isinstance(formats, str) else _texts(formats),
        "username": _text(data.get("username")),
        "python_path": _text(data.get("python_path")),
    }


def upload(image: str, build_number: str, provider: str, number: str, data: Row) -> Row:
    return {
        "id": f"{image}-{build_number}-{provider}-{number}",
        "image": image,
        "build": f"{image}-{build_number}",
        "build_number": build_number,
        "provider": provider,
        "number": number,
        "state": _text(data.get("state")),
        "state_time": _number(data.get("state_time")),
        "external_id": _text(data.get("external_id")),
        "external_name": _text(data.get("external_name")),
        "format": _text(data.get("format")),
        "username": _text(data.get("username")),
        "python_path": _text(data.get("python_path")),
    }


def held_builds(data: Row) -> dict[str, str]:
    """The build of each node that a hold request has kept: node id -> uuid."""
    found = {}
    held = data.get("nodes")
    for entry in held if isinstance(held, list) else ():
        uuid = _text(entry.get("build")) if isinstance(entry, dict) else None
        if uuid is not None:
            found.update(dict.fromkeys(_texts(entry.get("nodes")), uuid))
    return found


def held_for(hold_job: str | None) -> Row | None:
    """Tenant, project, job and ref of an autohold, which Zuul writes in one text."""
    words = hold_job.split(" ") if hold_job else []
    return dict(zip(("tenant", "project", "job", "ref_filter"), words, strict=True)) if len(words) == 4 else None


def _text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, (int, float)) else None


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [text for text in map(_text, values) if text is not None]


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and abs(number) < 2**53 else None


def _port(value: Any) -> int | None:
    """A number, and nothing else: drivers for Kubernetes keep credentials here."""
    port = _whole(value)
    return port if port is not None and 0 <= port <= 65535 else None


def _object(value: Any) -> Row | None:
    return value if isinstance(value, dict) else None
