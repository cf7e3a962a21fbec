# SPDX-License-Identifier: Apache-2.0
"""Autohold requests: who wants to keep the nodes of which failing builds."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class HoldRequest:
    """A hold request; the fields are those that Zuul shows, in its order."""

    id: str
    expired: float | None
    """Epoch seconds of when it was used up, or None."""
    tenant: str
    project: str
    """The canonical name."""
    job: str
    ref_filter: str
    max_count: int
    current_count: int
    reason: str
    node_expiration: int
    """Seconds that a held node is kept; 0: for ever."""
    nodes: list[dict[str, Any]] = field(default_factory=list)


class HoldRequests:
    """All hold requests, by id."""

    def __init__(self) -> None:
        self._requests: dict[str, HoldRequest] = {}
        self._last_id = 0

    def add(
        self,
        tenant: str,
        project: str,
        job: str,
        ref_filter: str,
        reason: str,
        count: int,
        node_expiration: int,
    ) -> None:
        self._last_id += 1
        request_id = f"{self._last_id:010d}"
        self._requests[request_id] = HoldRequest(
            request_id, None, tenant, project, job, ref_filter, count, 0, reason, node_expiration
        )

    def delete(self, request_id: str) -> None:
        """Delete a request; one that does not exist is no error, as upstream."""
        self._requests.pop(request_id, None)

    def info(self, request_id: str) -> dict[str, Any]:
        """One request, {} if it does not exist."""
        request = self._requests.get(request_id)
        return dataclasses.asdict(request) if request else {}

    def all(self) -> list[dict[str, Any]]:
        """Every request, oldest first."""
        return [dataclasses.asdict(request) for request in self._requests.values()]

    def hold(self, tenant: str, project: str, job: str, ref: str, build: str, nodes: list[str], now: float) -> None:
        """A build failed: the request that matches its ref most narrowly, if any, keeps the nodes."""
        matching = [
            request
            for request in self._requests.values()
            if (request.tenant, request.project, request.job) == (tenant, project, job)
            and request.current_count < request.max_count
            and _matches(request.ref_filter, ref)
        ]
        if matching:
            request = min(matching, key=lambda request: request.ref_filter == ".*")
            request.nodes.append({"build": build, "nodes": nodes})
            request.current_count += 1
            if request.current_count == request.max_count:
                request.expired = now


def _matches(ref_filter: str, ref: str) -> bool:
    try:
        return re.match(ref_filter, ref) is not None
    except re.error:  # from a user, and taken unread, as upstream takes it
        return False
