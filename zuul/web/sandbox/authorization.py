# SPDX-License-Identifier: Apache-2.0
"""Whether the claims of a token make somebody an administrator of a tenant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zuul.web.sandbox.model import Tenant


def is_admin(tenant: Tenant, claims: Mapping[str, Any]) -> bool:
    """Whether any condition of any admin rule of the tenant holds, with all of its claims."""
    return any(
        all(_holds(claims, claim, value) for claim, value in condition.items())
        for rule in tenant.admin_rules
        for condition in rule.conditions
    )


def _holds(claims: Mapping[str, Any], claim: str, value: str) -> bool:
    """Whether a claim (`a.b` is b inside a) is the value, or a list with it."""
    found: Any = claims
    for name in claim.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return value in found if isinstance(found, list) else bool(found == value)
