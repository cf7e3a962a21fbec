# SPDX-License-Identifier: Apache-2.0
"""How a stream ends: the websocket close codes and reasons, which the HTTP forms have too.

1000, 4000 and 4011 are zuul-web's; those above 4000 are for private use, the others RFC 6455's.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from zuul.web.errors import BadReply, BadRequest, Forbidden, NoExecutor, NotFound, RestError, Unauthorized

log = logging.getLogger("zuul.web.streaming")

NORMAL = 1000
GOING_AWAY = 1001
UNSUPPORTED_DATA = 1003
BAD_REQUEST = 4000
TOKEN_EXPIRED = 4001
TOO_SLOW = 4008
UNAVAILABLE = 4011


class Ending(NamedTuple):
    """A close code and its reason, of which 123 bytes are sent."""

    code: int
    reason: str
    gone: bool = False
    """Whether there is nothing to be had any more, for a 404 in place of a 502."""

    @property
    def error(self) -> RestError:
        """The same for a response that has not begun."""
        if self.code == BAD_REQUEST:
            return BadRequest(self.reason)
        return NotFound(self.reason) if self.gone else BadReply(self.reason)


END_OF_LOG = Ending(NORMAL, "No more data")
SERVER_STOPS = Ending(GOING_AWAY, "the server stops; connect again")
NO_SUCH_BUILD = Ending(UNAVAILABLE, "Error with Gearman", gone=True)
"""Also where the scheduler cannot say; upstream's clients know these words."""
REMOTE_ERROR = Ending(UNAVAILABLE, "Remote error")
NOT_READING = Ending(TOO_SLOW, "you do not read fast enough; connect again where you are")
OUT_OF_REACH = Ending(TOO_SLOW, "what you want to read is no longer kept; connect again where you are")
EXPIRED = Ending(TOKEN_EXPIRED, "the token has expired; connect again with another, where you are")


def unavailable(reason: str, *, gone: bool = False) -> Ending:
    """The stream cannot be had."""
    return Ending(UNAVAILABLE, reason, gone)


def bad_request(reason: str) -> Ending:
    """The client asked for something impossible."""
    return Ending(BAD_REQUEST, reason)


def ending_of(error: BaseException) -> Ending:
    """What it means for a viewer that the build cannot be found, or is not for them."""
    if isinstance(error, (Unauthorized, Forbidden)):
        return bad_request(error.message)
    if not isinstance(error, RestError):
        log.error("a build could not be looked for", exc_info=error)
    return unavailable(error.message) if isinstance(error, NoExecutor) else NO_SUCH_BUILD
