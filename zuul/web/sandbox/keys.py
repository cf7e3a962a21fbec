# SPDX-License-Identifier: Apache-2.0
"""The public keys of projects: real ones, of a pair that exists as long as the process."""

from __future__ import annotations

import functools

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEY_BITS = 2048
"""Half of upstream's, since a key of 4096 bits can take seconds to make."""


def secrets_key() -> str:
    """The key that secrets are encrypted with, in PEM."""
    return _public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def ssh_key() -> str:
    """The key of the projects' ssh identity, as a line for `authorized_keys`."""
    return _public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


@functools.cache
def _public_key() -> RSAPublicKey:
    return generate_private_key(public_exponent=65537, key_size=KEY_BITS).public_key()
