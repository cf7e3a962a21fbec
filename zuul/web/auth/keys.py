# SPDX-License-Identifier: Apache-2.0
"""What signatures are checked with. The driver and the key say which algorithm that is, and never the token."""

from __future__ import annotations

import hmac
from typing import Any, NamedTuple, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate
from jwt.algorithms import RSAAlgorithm, RSAPSSAlgorithm

from zuul.web.settings import AuthSection, ConfigError

RSA: dict[str, Any] = {
    "RS256": RSAAlgorithm(RSAAlgorithm.SHA256),
    "RS384": RSAAlgorithm(RSAAlgorithm.SHA384),
    "RS512": RSAAlgorithm(RSAAlgorithm.SHA512),
    "PS256": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA256),
    "PS384": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA384),
    "PS512": RSAPSSAlgorithm(RSAPSSAlgorithm.SHA512),
}
"""What a provider may sign with, if its key says so."""

MAX_KEY_ID = 256


class UnknownKey(Exception):
    """There is no such key. The text is for the client."""


class Key(NamedTuple):
    """A key and the one algorithm that it is for."""

    algorithm: str
    secret: bytes
    """For HS256."""
    public: RSAPublicKey | None = None

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        if self.public is None:
            return hmac.compare_digest(hmac.digest(self.secret, signed, "sha256"), signature)
        return bool(RSA[self.algorithm].verify(signed, self.public, signature))


class Keys(Protocol):
    """Where the keys of an issuer come from."""

    def of(self, header: dict[str, Any]) -> Key:
        """The key for a token with this header.

        :raises UnknownKey: there is none.
        :raises Unavailable: nobody can tell now.
        """


class OneKey:
    """The key that zuul.conf gives, whatever a token says of its key."""

    def __init__(self, key: Key) -> None:
        self._key = key

    def of(self, header: dict[str, Any]) -> Key:
        return self._key


def configured(section: AuthSection) -> OneKey:
    """The key in a section with one of the drivers HS256 and RS256. :raises ConfigError: it is no key."""
    if section.driver == "HS256":
        return OneKey(Key("HS256", section.options["secret"].encode()))
    path = section.options["public_key"]
    try:
        with open(path, "rb") as file:
            return OneKey(Key("RS256", b"", public_key(file.read())))
    except OSError as error:
        raise ConfigError(f"[auth {section.name}] public_key cannot be read: {error.strerror}.") from error
    except ValueError:
        raise ConfigError(f"[auth {section.name}] public_key must be the path of an RSA key in PEM.") from None


def public_key(pem: bytes) -> RSAPublicKey:
    """The public key in a PEM file, which may have a certificate or the private key. :raises ValueError: no RSA."""
    key: Any
    if b"CERTIFICATE" in pem:
        key = load_pem_x509_certificate(pem).public_key()
    elif b"PRIVATE KEY" in pem:
        key = load_pem_private_key(pem, None)
    else:
        key = load_pem_public_key(pem)
    if isinstance(key, RSAPrivateKey):
        key = key.public_key()
    if not isinstance(key, RSAPublicKey):
        raise ValueError
    return key
