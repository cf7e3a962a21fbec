# SPDX-License-Identifier: Apache-2.0
"""The one object that knows who asks and what they may do.

Administrators of a tenant, by the scheduler's rules or by a token whose issuer may name tenants, may do everything in
it. Rules of zuul.conf let others do one thing or read. What the scheduler said is kept for some seconds.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import cachetools

from zuul.web.auth.identity import ACTIONS, GRANTED, Identity
from zuul.web.auth.keys import Keys, configured
from zuul.web.auth.provider import Provider
from zuul.web.auth.tokens import Issuer, bearer_token, is_bearer, issuer_of, parse
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import Forbidden, Unavailable
from zuul.web.rules import any_allows
from zuul.web.settings import AuthSection, Rest

MOST_ANSWERS = 10_000

T = TypeVar("T")


class Guard:
    """Safe for threads. Its methods may wait for the scheduler or a provider of keys, so none is for the reactor's.

    :param sections: in the order of zuul.conf.
    """

    def __init__(self, sections: tuple[AuthSection, ...], rest: Rest, scheduler: Scheduler) -> None:
        self._issuers = [Issuer(section, _keys(section)) for section in sections]
        self._scheduler = scheduler
        self._protected = frozenset(rest.protected_tenants or ())
        self._rules = {action: getattr(rest, f"may_{action}") or () for action in GRANTED}
        self._rules["read"] = (*(rest.may_read or ()), *(rule for rules in self._rules.values() for rule in rules))
        self._default_realm = default_realm(sections)
        self._lock = threading.Lock()
        self._answers: cachetools.TTLCache[tuple[str, ...], Any]
        self._answers = cachetools.TTLCache(MOST_ANSWERS, rest.authorization_cache)

    @property
    def enabled(self) -> bool:
        """Whether there is anybody whose tokens can be verified. If not, nothing that needs one exists."""
        return bool(self._issuers)

    def protects(self, tenant: str | None) -> bool:
        """Whether reading this tenant takes a token."""
        return bool(self._protected) and tenant is not None and not self._protected.isdisjoint((tenant, "*"))

    @property
    def protects_any(self) -> bool:
        return bool(self._protected)

    # -- who

    def identify(self, authorization: str | None) -> Identity:
        """Who sent this Authorization field.

        :raises Unauthorized: nobody that we know.
        :raises Unavailable: it cannot be told now.
        """
        token = parse(bearer_token(authorization, self._default_realm), self._default_realm)
        return issuer_of(token, self._issuers, self._default_realm).identify(token)

    # -- may they

    def admit(self, authorization: str | None, action: str, tenant: str | None) -> Identity:
        """Who it is, if they may do that.

        :param action: one of `ACTIONS`.
        :param tenant: None for what belongs to no tenant; then it takes an administrator of any, or a rule for all.
        :raises Unauthorized: nobody that we know.
        :raises Forbidden: they may not.
        """
        identity = self.identify(authorization)
        self.check(identity, action, tenant)
        return identity

    def check(self, identity: Identity, action: str, tenant: str | None) -> None:
        """:raises Forbidden: they may not do that."""
        if not self.allows(identity, action, tenant):
            raise Forbidden("Insufficient privileges", "AuthTokenForbiddenException", identity.realm)

    def allows(self, identity: Identity, action: str, tenant: str | None) -> bool:
        assert action in ACTIONS
        if action == "authenticated":
            return True
        return self.grants(identity, action, tenant) or self.is_admin(identity, tenant)

    def grants(self, identity: Identity, action: str, tenant: str | None) -> bool:
        """Whether zuul.conf lets them do it. Besides the actions there is `read`."""
        return any_allows(self._rules.get(action, ()), identity.claims, tenant)

    def is_admin(self, identity: Identity, tenant: str | None) -> bool:
        """Whether it is an administrator of this tenant, or (None) of any."""
        if tenant is None:
            return bool(self.admin_tenants(identity))
        if tenant in identity.admin_of:
            return True
        claims = dict(identity.claims)
        return self._kept(("tenant", tenant), claims, lambda: self._scheduler.authorize_user(tenant, claims))

    def admin_tenants(self, identity: Identity) -> list[str]:
        """The tenants of which it is an administrator, by name."""
        claims = dict(identity.claims)
        found = self._kept(("tenants",), claims, lambda: self._scheduler.get_admin_tenants(claims))
        return sorted({*found, *identity.admin_of})

    def admit_reader(self, authorization: str | None, tenant: str | None) -> Identity | None:
        """Who reads, if they say so and may.

        :param tenant: None for what belongs to no tenant.
        :returns: None for somebody without a token, or whose token cannot be verified now, where none is needed.
        :raises Unauthorized: the token does not hold, or there is none and it takes one.
        :raises Forbidden: they may not.
        """
        protected = self.protects(tenant)
        if not protected and not (self.enabled and is_bearer(authorization)):
            return None
        try:
            identity = self.identify(authorization)
        except Unavailable:
            if protected:
                raise
            return None
        if protected and not (self.grants(identity, "read", tenant) or self.is_admin(identity, tenant)):
            raise Forbidden("Insufficient privileges", "AuthTokenForbiddenException", identity.realm)
        return identity

    def readable(self, identity: Identity | None, tenants: list[str]) -> set[str]:
        """Those of these tenants that somebody may read."""
        readable = {tenant for tenant in tenants if not self.protects(tenant)}
        if identity is None:
            return readable
        mine = {*self.admin_tenants(identity), *(name for name in tenants if self.grants(identity, "read", name))}
        return readable | (mine & set(tenants))

    def needs_threads(self, authorization: str | None, tenant: str | None) -> bool:
        """Whether `admit_reader` may wait; otherwise it lets everybody in at once."""
        return self.protects(tenant) or (self.enabled and is_bearer(authorization))

    def _kept(self, question: tuple[str, ...], claims: Mapping[str, Any], ask: Callable[[], T]) -> T:
        """What the scheduler says, or said a moment ago to the same question."""
        key = (*question, hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).hexdigest())
        with self._lock:
            if key in self._answers:
                found: T = self._answers[key]
                return found
        answer = ask()
        with self._lock:
            self._answers[key] = answer
        return answer


def default_realm(sections: tuple[AuthSection, ...]) -> str | None:
    """Where clients without a token are sent: of several sections with `default`, the last counts."""
    for section in reversed(sections):
        if section.default:
            return section.realm
    return sections[0].realm if sections else None


def _keys(section: AuthSection) -> Keys:
    if section.driver in ("HS256", "RS256"):
        return configured(section)
    return Provider(section.issuer_id, section.options.get("keys_url") or None)
