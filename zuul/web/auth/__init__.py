# SPDX-License-Identifier: Apache-2.0
"""Who asks, and what they may do. Read this file first.

    identity.py   who: what a verified token says
    tokens.py     from a bearer token to an identity, or the reason why not
    keys.py       what signatures are checked with, by driver
    provider.py   keys that an OpenID Connect provider publishes
    fetching.py   how those are fetched, in bounded time
    guard.py      the one object that all others ask; ../rules.py has what zuul.conf allows, besides the admin rules
    mint.py       new tokens, for `zuul-rest token`

No token, no secret and no claim is ever logged.
"""

from zuul.web.auth.guard import Guard
from zuul.web.auth.identity import ACTIONS, GRANTED, Identity

__all__ = ["ACTIONS", "GRANTED", "Guard", "Identity"]
