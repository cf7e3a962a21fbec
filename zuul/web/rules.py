# SPDX-License-Identifier: Apache-2.0
"""What zuul.conf allows to whom, besides the scheduler's admin rules: the options `may_...` of [rest].

    groups=developers                                  who has that group
    groups=ci and iss=https://idp.example.com          of that issuer only
    realm_access.roles=zuul in tenant-one              a claim inside another, for one tenant
    *                                                  everybody with a token

Rules stand in a list with commas. A claim is the value, or a list that has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """All of `conditions`, pairs of a claim and its value, in one tenant or (None) in all."""

    conditions: tuple[tuple[str, str], ...]
    tenant: str | None = None

    def allows(self, claims: Mapping[str, Any], tenant: str | None) -> bool:
        """:param tenant: None for what belongs to no tenant, which takes a rule for all of them."""
        return self.tenant in (None, tenant) and all(_has(claims, claim, value) for claim, value in self.conditions)


def parse_rules(text: str) -> tuple[Rule, ...]:
    """:raises ValueError: it is no list of rules."""
    return tuple(_rule(part.strip()) for part in text.split(","))


def _rule(text: str) -> Rule:
    found = re.fullmatch(r"(?P<conditions>\S.*?)(?:\s+in\s+(?P<tenant>[^\s/]+))?", text, re.DOTALL)
    if found is None:
        raise ValueError
    if found["conditions"] == "*":
        return Rule((), found["tenant"])
    return Rule(tuple(_condition(part) for part in re.split(r"\s+and\s+", found["conditions"])), found["tenant"])


def _condition(text: str) -> tuple[str, str]:
    claim, _, value = (part.strip() for part in text.partition("="))
    if not claim or not value or re.search(r"\s", claim):
        raise ValueError
    return claim, value


def _has(claims: Mapping[str, Any], claim: str, value: str) -> bool:
    found: Any = claims.get(claim)
    if found is None:
        found = claims
        for name in claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(found, list):
        return value in found
    return isinstance(found, str) and found == value


def any_allows(rules: Iterable[Rule], claims: Mapping[str, Any], tenant: str | None) -> bool:
    return any(rule.allows(claims, tenant) for rule in rules)
