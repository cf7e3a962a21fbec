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
from zuul.web.settings import AuthSection, ConfigError, Settings


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


def section_to_sign_with(settings: Settings, name: str | None, *, with_tenants: bool) -> AuthSection:
    """The section of this name, or (None) the only one whose tokens can be made here.

    :param with_tenants: whether the token is to name tenants.
    :raises ConfigError: there is no such section, or it cannot.
    """
    if name is None:
        able = [section for section in settings.auth if _can_sign(section)]
        if len(able) != 1:
            raise ConfigError(f"{settings.path}: {len(able)} sections [auth NAME] can sign; name one by --auth-config.")
        section = able[0]
    else:
        named = [section for section in settings.auth if section.name == name]
        if not named:
            raise ConfigError(f"{settings.path}: there is no section [auth {name}].")
        section = named[0]
    if with_tenants and section.options.get("allow_authz_override", "false").lower() != "true":
        raise ConfigError(
            f"{settings.path}: [auth {section.name}] allow_authz_override must be true, or its tokens that name "
            "tenants are refused. Without --tenant, the scheduler's admin rules decide."
        )
    return section


def _can_sign(section: AuthSection) -> bool:
    return section.driver == "HS256" or (section.driver == "RS256" and bool(section.options.get("private_key")))


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
