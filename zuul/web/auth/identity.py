# SPDX-License-Identifier: Apache-2.0
"""Who asks: what a verified token says of its bearer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GRANTED = ("enqueue", "dequeue", "promote", "autohold", "nodes")
"""What zuul.conf can let others than administrators do, one by one."""

ACTIONS = (*GRANTED, "audit", "authenticated")
"""What `expose.requires` knows. `audit` is for administrators alone, `authenticated` for all with a token."""


@dataclass(frozen=True)
class Identity:
    """The bearer of a token whose signature, issuer, audience and times hold."""

    uid: str
    """Who it is: the claim that `uid_claim` names."""

    section: str
    """NAME of the `[auth NAME]` section that vouches for it."""

    realm: str | None

    claims: Mapping[str, Any] = field(repr=False)
    """All that the token says, with `__zuul_uid_claim`, under which the scheduler's rules look for the uid."""

    expires: float
    """When the token ceases to hold, in seconds since 1970 by our clock."""

    admin_of: frozenset[str] = frozenset()
    """Tenants that the token itself names, where its issuer may do that."""
