# SPDX-License-Identifier: Apache-2.0
"""The keys that an OpenID Connect provider publishes.

They are fetched with the first token, by a thread of their own, so nobody waits longer than `WAIT_SECONDS` for a
provider, however it fails. Whoever comes with a known key never waits. Neither PyJWT's client nor any other of ours
has all of that: its callers queue up behind a provider that does not answer, and ask again for each token.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from jwt.algorithms import RSAAlgorithm
from jwt.exceptions import PyJWTError

from zuul.web.auth.fetching import fetch_json, is_as_safe
from zuul.web.auth.keys import MAX_KEY_ID, RSA, Key, UnknownKey
from zuul.web.errors import Unavailable

log = logging.getLogger("zuul.web.auth")

WAIT_SECONDS = 5.0
"""How long a request waits for keys."""
MOST_WAITING = 8
"""How many requests do; the others are told to come back, so that bad tokens cannot hold all threads."""
REFRESH_SECONDS = 60.0
"""Between two fetches because of a key that is not known."""
RETRY_SECONDS = 10.0
"""Between two fetches while there are no keys at all."""
FRESH_SECONDS = 3600.0
"""After which keys are fetched again, as some may have been withdrawn."""
STALE_SECONDS = 86400.0
"""After which keys are forgotten, if the provider is away for so long."""
MAX_KEYS = 100
RETRY_AFTER = 10


class Provider:
    """The keys of one provider. Safe for threads; starts none before the first token.

    :param issuer: its URL, at which its configuration is.
    :param keys_url: where its keys are, if that is not to be found out.
    """

    def __init__(
        self,
        issuer: str,
        keys_url: str | None = None,
        fetch: Callable[[str], Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._keys_url = keys_url
        self._fetch = fetch or fetch_json
        self._clock = clock
        self._lock = threading.Lock()
        self._keys: dict[str, Key] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._failed = False
        self._flight: threading.Event | None = None
        self._waiting = 0

    def of(self, header: dict[str, Any]) -> Key:
        """The key that a token names.

        :raises UnknownKey: it names none, or none of the provider's.
        :raises Unavailable: the provider cannot be asked now.
        """
        name = header.get("kid")
        if not isinstance(name, str) or not 0 < len(name) <= MAX_KEY_ID:
            raise UnknownKey("The token does not name its key.")
        with self._lock:
            age = self._clock() - self._fetched
            if age >= STALE_SECONDS:
                self._keys = {}
            found = self._keys.get(name)
            flight = self._flight or (self._begin() if found is None or age >= FRESH_SECONDS else None)
            if found is not None:
                return found
            if flight is None:
                raise self._unknown()
            if self._waiting >= MOST_WAITING:
                raise _away()
            self._waiting += 1
        landed = flight.wait(WAIT_SECONDS)
        with self._lock:
            self._waiting -= 1
            if name in self._keys:
                return self._keys[name]
            raise self._unknown() if landed else _away()

    def published(self) -> dict[str, Key]:
        """What it publishes now, by `kid`. :raises OSError, ValueError: that cannot be had, and why."""
        return _usable(self._fetch(self._keys_url or self._discovered()))

    def _unknown(self) -> UnknownKey | Unavailable:
        if self._failed or not self._keys:
            return _away()
        return UnknownKey("The provider has no such key.")

    def _begin(self) -> threading.Event | None:
        """Fetch the keys, unless that was tried a moment ago. Held: the lock."""
        pause = REFRESH_SECONDS if self._keys else RETRY_SECONDS
        if self._clock() - self._tried < pause:
            return None
        self._tried = self._clock()
        self._flight = landed = threading.Event()
        threading.Thread(target=self._fly, args=(landed,), name="auth-keys", daemon=True).start()
        return landed

    def _fly(self, landed: threading.Event) -> None:
        keys = None
        try:
            keys = self.published()
            log.info("the provider %s has %d keys", self._issuer, len(keys))
        except (OSError, ValueError) as error:
            log.error("the keys of the provider %s cannot be had: %s", self._issuer, error)
        except Exception:
            log.exception("the keys of the provider %s cannot be had", self._issuer)
        with self._lock:
            if keys is not None:
                self._keys, self._fetched = keys, self._clock()
            self._failed = keys is None
            self._flight = None
        landed.set()

    def _discovered(self) -> str:
        configuration = self._fetch(f"{self._issuer.rstrip('/')}/.well-known/openid-configuration")
        if not isinstance(configuration, dict):
            raise ValueError("its configuration is no JSON object")
        issuer, found = configuration.get("issuer", self._issuer), configuration.get("jwks_uri")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self._issuer.rstrip("/"):
            raise ValueError("its configuration is of another issuer")
        if not isinstance(found, str):
            raise ValueError("its configuration names no jwks_uri")
        if not is_as_safe(self._issuer, found):
            raise ValueError("its jwks_uri is no https URL")
        return found


def _away() -> Unavailable:
    return Unavailable("the keys of the issuer cannot be had at the moment", RETRY_AFTER)


def _usable(document: Any) -> dict[str, Key]:
    """Those RSA keys of a JSON Web Key Set that sign, by `kid`."""
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("it is no JSON Web Key Set")
    found: dict[str, Key] = {}
    for key in listed[:MAX_KEYS]:
        if not isinstance(key, dict) or key.get("kty") != "RSA" or key.get("use", "sig") != "sig":
            continue
        name, algorithm = key.get("kid"), key.get("alg") or "RS256"
        if not isinstance(name, str) or algorithm not in RSA:
            continue
        try:
            public: Any = RSAAlgorithm.from_jwk({part: key[part] for part in ("kty", "n", "e")})
        except (PyJWTError, ValueError, KeyError, TypeError):
            continue
        found.setdefault(name, Key(algorithm, b"", public))
    return found
