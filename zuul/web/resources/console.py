# SPDX-License-Identifier: Apache-2.0
"""What a viewer sends to a websocket with the log of a build."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always, sometimes


class ConsoleRequest(Resource):
    """Which log is wanted: the one message that a client sends, as text, within 10 seconds."""

    uuid = always(str)
    """Of the build."""

    logfile = always(str)
    """For compatibility, `console.log`; there is one log."""

    offset = sometimes(int)
    """How many bytes of the log, in UTF-8, the client has already; 0 unless said."""

    token = sometimes(str)
    """For a protected tenant, from clients that cannot set the field Authorization, as browsers."""

    @classmethod
    def sample(cls) -> ConsoleRequest:
        return cls(uuid="c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11", logfile="console.log")
