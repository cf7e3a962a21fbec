# SPDX-License-Identifier: Apache-2.0
"""`application`, for uWSGI, mod_wsgi and granian.

`$ZUUL_CONF` names the zuul.conf (else upstream's places), `$ZUUL_REST_PASTE` another Paste file.
"""

import os

from zuul.web.application import load, services

# One process of several, as these servers have it.
services(None, share_snapshots=True)
application = load(None, os.environ.get("ZUUL_REST_PASTE"))
