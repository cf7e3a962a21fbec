# SPDX-License-Identifier: Apache-2.0
"""From a bearer token to an identity, or the reason why not.

A token is taken apart here and not by a library, so that all of it is looked at before anything is computed, and
strictly: no key twice in an object, no number that is none, no byte that may be read in two ways. Errors have the
names of upstream's; their texts never repeat what the token says.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import time
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from zuul.web.auth.identity import Identity
from zuul.web.auth.keys import Keys, UnknownKey
from zuul.web.errors import Unauthorized
from zuul.web.settings import AuthSection

MAX_TOKEN_BYTES = 16384
MAX_UID = 512
LAST_SECOND = 253_402_300_799
"""Of the year 9999. What ends later was not meant to end."""

UID_CLAIM = "__zuul_uid_claim"
"""Under which the scheduler's rules look for the uid."""

_bearer = re.compile(r"bearer +(\S.*)", re.IGNORECASE | re.DOTALL).fullmatch
_compact = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)").fullmatch


def bearer_token(field: str | None, realm: str | None) -> str:
    """The token in an Authorization field. :raises Unauthorized: there is none, or no bearer token."""
    if field is None:
        missing = 'Missing "Authorization" header'
        raise Unauthorized(missing, missing, realm)
    found = _bearer(field)
    if found is None:
        raise Unauthorized(
            '"Authorization" header must start with "Bearer"', "Invalid Authorization header format", realm
        )
    return found[1]


def is_bearer(field: str | None) -> bool:
    """Whether an Authorization field is meant for us; a proxy in front of us may have asked for another kind."""
    return field is not None and field[:6].lower() == "bearer" and field[6:7] in ("", " ")


class Token(NamedTuple):
    """A token taken apart. Nothing in it is true yet."""

    header: dict[str, Any]
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def parse(text: str, realm: str | None) -> Token:
    """:raises Unauthorized: it is no signed JWT in the compact form."""
    parts = _compact(text) if len(text) <= MAX_TOKEN_BYTES else None
    try:
        if parts is None:
            raise ValueError
        header, claims = _object(_decoded(parts[1])), _object(_decoded(parts[2]))
        return Token(header, claims, f"{parts[1]}.{parts[2]}".encode(), _decoded(parts[3]))
    except (ValueError, RecursionError):
        raise Unauthorized("The token is no JSON Web Token.", "AuthTokenUndecodedException", realm) from None


def _decoded(part: str) -> bytes:
    try:
        data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError from error
    if base64.urlsafe_b64encode(data).rstrip(b"=") != part.encode():
        raise ValueError  # bits beyond the end: the same bytes would have several forms
    return data


def _object(data: bytes) -> dict[str, Any]:
    def no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError
        return found

    def no_number(text: str) -> Any:
        raise ValueError

    value = json.loads(data.decode(), object_pairs_hook=no_key_twice, parse_constant=no_number)
    if not isinstance(value, dict):
        raise ValueError
    return value


class Issuer:
    """Verifies the tokens of one `[auth NAME]` section."""

    def __init__(self, section: AuthSection, keys: Keys, clock: Callable[[], float] = time.time) -> None:
        self.section = section
        self._keys = keys
        self._clock = clock
        options = section.options
        self._may_override = options.get("allow_authz_override", "false").lower() == "true"
        self._max_validity_seconds = float(options.get("max_validity_time", math.inf))
        self._skew_seconds = int(options.get("skew", 0))

    def is_for_us(self, claims: dict[str, Any]) -> bool:
        audience = claims.get("aud")
        return audience == self.section.client_id or (
            isinstance(audience, list)
            and self.section.client_id in audience
            and all(isinstance(one, str) for one in audience)
        )

    def identify(self, token: Token) -> Identity:
        """The bearer of a token.

        :raises Unauthorized: it does not hold.
        :raises Unavailable: nobody can tell, as the provider does not give its keys.
        """
        self._check_signature(token)
        claims = token.claims
        missing = [name for name in ("aud", "iss", "exp", "sub") if name not in claims]
        if self._max_validity_seconds < math.inf and "iat" not in claims:
            missing.append("iat")
        if missing:
            raise self._refusal(f"The token lacks the claims {', '.join(missing)}.", "MissingClaimError")
        if claims["iss"] != self.section.issuer_id:
            raise self._refusal("The token is of another issuer.", "IssuerUnknownError")
        if not self.is_for_us(claims):
            raise self._refusal("The token is for another audience.", "IncorrectAudienceError")
        self._check_times(claims)
        return Identity(
            uid=(uid := self._uid(claims)),
            section=self.section.name,
            realm=self.section.realm,
            claims=MappingProxyType({**claims, UID_CLAIM: uid}),
            expires=min(claims["exp"], claims.get("iat", math.inf) + self._max_validity_seconds) + self._skew_seconds,
            admin_of=self._admin_of(claims),
        )

    def _refusal(self, message: str, error: str = "AuthTokenUnauthorizedException") -> Unauthorized:
        return Unauthorized(message, error, self.section.realm)

    def _check_signature(self, token: Token) -> None:
        if "crit" in token.header:
            raise self._refusal("The token demands extensions that are not known here.")
        try:
            key = self._keys.of(token.header)
        except UnknownKey as error:
            raise self._refusal(str(error), "JWKSException") from None
        if token.header.get("alg") != key.algorithm:
            raise self._refusal(f"The token must be signed with {key.algorithm}.")
        if not key.verifies(token.signed, token.signature):
            raise self._refusal("The signature of the token is wrong.", "AuthTokenInvalidSignatureException")

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._clock() - self._skew_seconds  # on the issuer's clock
        for name in ("exp", "iat", "nbf"):
            seconds = claims.get(name, 0)
            if type(seconds) not in (int, float) or not -LAST_SECOND <= seconds <= LAST_SECOND:
                raise self._refusal(f'The claim "{name}" is no time.')
        if claims["exp"] <= now:
            raise self._refusal("The token has expired.", "TokenExpiredError")
        if claims.get("nbf", now) > now:
            raise self._refusal("The token is not valid yet.")
        issued = claims.get("iat", now)
        if issued > now:
            raise self._refusal('The claim "iat" is in the future.')
        if now - issued > self._max_validity_seconds:
            raise self._refusal("The token was issued too long ago.", "TokenExpiredError")

    def _uid(self, claims: dict[str, Any]) -> str:
        found = claims.get(self.section.uid_claim)
        uid = str(found) if type(found) is int else found
        if not isinstance(uid, str) or not 0 < len(uid) <= MAX_UID or not uid.isprintable():
            claim = self.section.uid_claim
            raise self._refusal(f'The claim "{claim}" does not name a user.', "MissingUIDClaimError")
        if type(claims["sub"]) not in (str, int):
            raise self._refusal('The claim "sub" does not name a user.', "MissingClaimError")
        return uid

    def _admin_of(self, claims: dict[str, Any]) -> frozenset[str]:
        """:raises Unauthorized: the token names tenants, and its issuer may not."""
        of_zuul = claims.get("zuul", {})
        tenants = of_zuul.get("admin", []) if isinstance(of_zuul, dict) else None
        if not isinstance(tenants, list) or not all(isinstance(tenant, str) for tenant in tenants):
            raise self._refusal('The claim "zuul.admin" must be a list of tenants.', "IncorrectZuulAdminClaimError")
        if tenants and not self._may_override:
            raise self._refusal('The issuer may not set the claim "zuul.admin".', "UnauthorizedZuulAdminClaimError")
        return frozenset(tenants)


def issuer_of(token: Token, issuers: Sequence[Issuer], realm: str | None) -> Issuer:
    """Who has to verify a token: the section with its issuer, of several the one with its audience.

    :raises Unauthorized: no section has this issuer.
    """
    name = token.claims.get("iss")
    fitting = [issuer for issuer in issuers if issuer.section.issuer_id == name]
    if not fitting:
        raise Unauthorized("Nobody here knows the issuer of the token.", "IssuerUnknownError", realm)
    return next((issuer for issuer in fitting if issuer.is_for_us(token.claims)), fitting[0])
