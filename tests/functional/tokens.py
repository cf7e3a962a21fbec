# SPDX-License-Identifier: Apache-2.0
"""An `[auth]` section, and tokens that it takes."""

from __future__ import annotations

from zuul.web.auth.mint import mint
from zuul.web.settings import AuthSection

SECRET = "the secret of the tests, as long as it should be"

CONF = f"""
[auth tests]
driver=HS256
secret={SECRET}
realm=tests.example.com
client_id=zuul
issuer_id=tests
allow_authz_override=true
"""

SECTION = AuthSection("tests", "HS256", "tests.example.com", False, "zuul", "tests", "sub", {"secret": SECRET})


def token(user="ann", *tenants, seconds=600):
    return mint(SECTION, user, tenants, seconds)


def bearer(user="ann", *tenants):
    """Header fields of a user, an administrator of these tenants."""
    return {"Authorization": f"Bearer {token(user, *tenants)}"}
