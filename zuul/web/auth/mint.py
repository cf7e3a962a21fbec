# SPDX-License-Identifier: Apache-2.0
"""New tokens, signed with the secret or the private key of an `[auth NAME]` section."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from zuul.web.auth.keys import RSA
from zuul.web.settings import AuthSection, ConfigError


def mint(section: AuthSection, user: str, tenants: Sequence[str], seconds: int, now: float | None = None) -> str:
    """A token for a user, who is an administrator of these tenants, if the section lets tokens say so.

    :raises ConfigError: the section has nothing to sign with.
    """
    issued = int(time.time() if now is None else now)
    claims = {
        "iat": issued,
        "exp": issued + seconds,
        "iss": section.issuer_id,
        "aud": section.client_id,
        "sub": user,
        section.uid_claim: user,
        **({"zuul": {"admin": list(tenants)}} if tenants else {}),
    }
    signed = f"{_encoded({'alg': section.driver, 'typ': 'JWT'})}.{_encoded(claims)}"
    return f"{signed}.{_text(_signature(section, signed.encode()))}"


def _signature(section: AuthSection, signed: bytes) -> bytes:
    if section.driver == "HS256":
        return hmac.digest(section.options["secret"].encode(), signed, "sha256")
    if section.driver != "RS256":
        raise ConfigError(f"[auth {section.name}] has a driver whose tokens only the provider makes.")
    return bytes(RSA["RS256"].sign(signed, _private_key(section)))


def _private_key(section: AuthSection) -> RSAPrivateKey:
    path = section.options.get("private_key")
    if not path:
        raise ConfigError(f"[auth {section.name}] private_key is missing, and tokens are signed with it.")
    try:
        with open(path, "rb") as file:
            key = load_pem_private_key(file.read(), None)
    except OSError as error:
        raise ConfigError(f"[auth {section.name}] private_key cannot be read: {error.strerror}.") from None
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigError(f"[auth {section.name}] private_key must be the path of an RSA key in PEM, without password.")
    return key


def _encoded(part: dict[str, object]) -> str:
    return _text(json.dumps(part, separators=(",", ":")).encode())


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
