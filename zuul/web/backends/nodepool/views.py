# SPDX-License-Identifier: Apache-2.0
"""Rows that are made of rows: what several znodes say together. Nothing here changes what it is given."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from zuul.web.backends.nodepool import records
from zuul.web.backends.nodepool.inventory import Look
from zuul.web.backends.nodepool.records import Row

HIDDEN = dict.fromkeys(("comment", "hold_job", "requestor", "event_id", "held_for", "held_build"))
"""What tells of the tenant that a node is held for."""

WAITING = ("requested", "pending")
"""States of requests that nodes are still to be found for."""


def nodes(look: Look, hides: Callable[[str], bool]) -> list[Row]:
    """Nodes, with what they are used for as far as that can be known.

    :param hides: whether nobody is to read of a tenant here.
    """
    builds = {node: build for hold in look.rows["holds"] for node, build in hold["builds"].items()}
    found = []
    for row in look.rows["nodes"]:
        held_for = records.held_for(row["hold_job"])
        if held_for is not None and hides(held_for["tenant"]):
            found.append({**row, **HIDDEN})
            continue
        requestor, event_id = look.past.get(row["allocated_to"], (None, None))
        more = {
            "requestor": requestor,
            "event_id": event_id,
            "held_for": held_for,
            "held_build": builds.get(row["id"]) if row["state"] == "hold" else None,
        }
        found.append({**row, **more})
    return found


def labels(look: Look) -> list[Row]:
    """The labels that launchers have, with their nodes."""
    of_label: dict[str, list[Row]] = defaultdict(list)
    for launcher in look.rows["launchers"]:
        for label in launcher["supported_labels"]:
            of_label[label].append(launcher)
    states: dict[str, Counter[Any]] = defaultdict(Counter)
    for node in look.rows["nodes"]:
        for label in node["type"]:
            states[label][node["state"]] += 1
    waiting: Counter[str] = Counter()
    for request in look.rows["requests"]:
        if request["state"] in WAITING:
            waiting.update(request["node_types"])
    return [
        {
            "name": label,
            "providers": sorted({launcher["provider_name"] for launcher in launchers}),
            "launchers": sorted(launcher["id"] for launcher in launchers),
            **_numbers(states[label]),
            "waiting": waiting[label],
        }
        for label, launchers in sorted(of_label.items())
    ]


def providers(look: Look) -> list[Row]:
    """Whatever launchers, nodes or uploads name as their provider."""
    launchers: dict[str, list[Row]] = defaultdict(list)
    pools: dict[str, set[str]] = defaultdict(set)
    states: dict[str, Counter[Any]] = defaultdict(Counter)
    images: dict[str, set[str]] = defaultdict(set)
    uploads: Counter[str] = Counter()
    for row in look.rows["launchers"]:
        launchers[row["provider_name"]].append(row)
        pools[row["provider_name"]].update({row["pool"]} - {None})
    for row in look.rows["nodes"]:
        if row["provider"] is not None:
            states[row["provider"]][row["state"]] += 1
            pools[row["provider"]].update({row["pool"]} - {None})
    for row in look.rows["uploads"]:
        uploads[row["provider"]] += 1
        if row["state"] == "ready":
            images[row["provider"]].add(row["image"])
    return [
        {
            "name": name,
            "launchers": sorted(row["id"] for row in launchers[name]),
            "pools": sorted(pools[name]),
            "labels": sorted({label for row in launchers[name] for label in row["supported_labels"]}),
            **_numbers(states[name]),
            "images": sorted(images[name]),
            "uploads": uploads[name],
        }
        for name in sorted({*launchers, *states, *uploads})
    ]


def _numbers(states: Counter[Any]) -> Row:
    """How many nodes there are."""
    return {
        "nodes": sum(states.values()),
        "building": states["building"],
        "ready": states["ready"],
        "in_use": states["in-use"],
        "held": states["hold"],
        "deleting": states["used"] + states["deleting"],
    }


def images(look: Look) -> list[Row]:
    """Images, with their builds and uploads."""
    builds: dict[str, list[Row]] = defaultdict(list)
    for row in look.rows["builds"]:
        builds[row["image"]].append(row)
    providers_of: dict[str, set[str]] = defaultdict(set)
    for row in look.rows["uploads"]:
        if row["state"] == "ready":
            providers_of[row["image"]].add(row["provider"])
    return [
        {
            **image,
            "builds": len(builds[image["name"]]),
            "building": any(row["state"] == "building" for row in builds[image["name"]]),
            "newest_ready": _newest(row for row in builds[image["name"]] if row["state"] == "ready"),
            "providers": sorted(providers_of[image["name"]]),
        }
        for image in look.rows["images"]
    ]


def _newest(builds: Any) -> str | None:
    newest = max(builds, key=lambda row: row["state_time"] or 0, default=None)
    return newest["id"] if newest else None


def builders(look: Look) -> list[Row]:
    """Builders, which show only in the builds that they have made or are making."""
    of_builder: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in look.rows["builds"]:
        if row["builder"] or row["builder_id"]:
            of_builder[row["builder"] or "", row["builder_id"] or ""].append(row)
    return [
        {
            "hostname": hostname or None,
            "builder_id": builder_id or None,
            "builds": len(rows),
            "building": sorted(row["id"] for row in rows if row["state"] == "building"),
            "last_state_time": max((row["state_time"] for row in rows if row["state_time"]), default=None),
        }
        for (hostname, builder_id), rows in sorted(of_builder.items())
    ]
