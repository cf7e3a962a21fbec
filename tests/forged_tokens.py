# SPDX-License-Identifier: Apache-2.0
"""Tokens made by hand, good and bad, over keys that are made once."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from jwt.algorithms import RSAAlgorithm

from zuul.web.auth.keys import RSA

SECRET = "a secret of forty characters, or about that"
ISSUER, AUDIENCE = "https://idp.example.com", "zuul"


@cache
def rsa_key(name="right"):
    return rsa.generate_private_key(65537, 2048)


def public_pem(name="right"):
    return (
        rsa_key(name)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


def private_pem(name="right"):
    return rsa_key(name).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def jwk(name="right", **more):
    return {**RSAAlgorithm.to_jwk(rsa_key(name).public_key(), as_dict=True), "kid": name, "use": "sig", **more}


def claims(**changed):
    """Good claims, but for those that are changed; None takes one away."""
    now = int(time.time())
    found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 600}
    return {name: value for name, value in {**found, **changed}.items() if value is not None}


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def part(value):
    """A part of a token; text is taken as it is."""
    return text(value.encode() if isinstance(value, str) else json.dumps(value).encode())


def hs256(signed, secret=SECRET):
    return hmac.new(secret if isinstance(secret, bytes) else secret.encode(), signed, hashlib.sha256).digest()


def rs256(signed, name="right", algorithm="RS256"):
    return RSA[algorithm].sign(signed, rsa_key(name))


def es256(signed):
    r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(signed, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def forge(header=None, payload=None, sign=hs256):
    """A token of these parts, signed by `sign(signed)`; without `sign` it ends with a dot."""
    signed = f"{part({'alg': 'HS256', 'typ': 'JWT'} if header is None else header)}.{part(payload or claims())}"
    return f"{signed}.{text(sign(signed.encode())) if sign else ''}"


def forge_rs(header=None, payload=None, name="right", algorithm="RS256"):
    return forge(
        {"alg": algorithm, "typ": "JWT", "kid": name} if header is None else header,
        payload,
        lambda signed: rs256(signed, name, algorithm),
    )
