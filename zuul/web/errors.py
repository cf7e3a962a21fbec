# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong, one class per meaning, each with its HTTP status.

    RestError
     +-- BadRequest 400           the request is malformed or names something impossible
     |    +-- Refused 400         the scheduler looked at it and said no, with its words
     +-- Unauthorized 401         no token, or one that does not hold
     +-- Forbidden 403            known, but not allowed
     +-- NotFound 404             no such tenant, project, job, change, hold ...
     +-- MethodNotAllowed 405     the URL exists, the method does not
     +-- NotAcceptable 406        no representation that the client takes
     +-- Conflict 409             the object is in the wrong state
     +-- TooLarge 413             a body over the limit
     +-- UriTooLong 414           a URL over the limit
     +-- UnsupportedMediaType 415 a body that is not JSON by its Content-Type
     +-- RangeNotSatisfiable 416  a position behind the end
     +-- Misdirected 421          only another server of this installation has it
     +-- UpgradeRequired 426      there is a websocket here and nothing else
     +-- HeadersTooLarge 431      header fields over the limit
     +-- ServerError 500          a defect of ours
          +-- BadReply 502        the scheduler crashed on the call or answered nonsense
          +-- Unavailable 503     nobody is there to ask; try again in `Retry-After` seconds
          +-- Timeout 504         asked, but not answered in time; it will not happen any more
               +-- OutcomeUnknown 504   asked, and nobody can say whether it was done
          +-- NoExecutor 504      no executor has taken the build in time

Raise them anywhere; `body` is the one JSON shape in which all of them leave.
"""

from __future__ import annotations

import json


class RestError(Exception):
    """An answer other than success. `message` is shown to the client, so it never holds internals."""

    status = 500
    title = "Internal Server Error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Header fields that this error adds to its response."""
        return []

    @property
    def fields(self) -> dict[str, object]:
        """Members that this error adds to the JSON body."""
        return {}


class BadRequest(RestError):
    status = 400
    title = "Bad Request"


class Refused(BadRequest):
    """The scheduler's own words from a WORK_EXCEPTION, for instance `Invalid project: x`."""


class OfTokens(RestError):
    """A refusal for the sake of a token.

    :param error: upstream's name of what is wrong, such as TokenExpiredError; clients compare it. "": it is no token.
    :param realm: where a better one is to be had.

    In the body are upstream's three keys, for clients that read those.
    """

    def __init__(self, message: str, error: str = "", realm: str | None = None) -> None:
        super().__init__(message)
        self.error = error
        self.realm = realm

    @property
    def headers(self) -> list[tuple[str, str]]:
        if not self.error:
            return []
        words = {"realm": self.realm, "error": self.error, "error_description": self.message}
        challenge = ", ".join(f"{name}={_quoted(text)}" for name, text in words.items() if text is not None)
        return [("WWW-Authenticate", f"Bearer {challenge}")]

    @property
    def fields(self) -> dict[str, object]:
        return {"error": self.error, "description": self.message, "realm": self.realm} if self.error else {}


class Unauthorized(OfTokens):
    status = 401
    title = "Unauthorized"

    def __init__(self, message: str, error: str = "AuthTokenUnauthorizedException", realm: str | None = None) -> None:
        super().__init__(message, error, realm)


class Forbidden(OfTokens):
    """Without `error`, where no token would help, for instance a page of another origin."""

    status = 403
    title = "Forbidden"


class NotFound(RestError):
    status = 404
    title = "Not Found"


class MethodNotAllowed(RestError):
    status = 405
    title = "Method Not Allowed"

    def __init__(self, message: str, allow: tuple[str, ...]) -> None:
        super().__init__(message)
        self.allow = allow

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Allow", ", ".join(self.allow))]


class NotAcceptable(RestError):
    status = 406
    title = "Not Acceptable"


class Conflict(RestError):
    status = 409
    title = "Conflict"


class TooLarge(RestError):
    status = 413
    title = "Content Too Large"


class UriTooLong(RestError):
    status = 414
    title = "URI Too Long"


class UnsupportedMediaType(RestError):
    status = 415
    title = "Unsupported Media Type"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Accept-Post", "application/json")]


class RangeNotSatisfiable(RestError):
    """`size` is where the end is, in bytes."""

    status = 416
    title = "Range Not Satisfiable"

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message)
        self.size = size

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("X-Text-Size", str(self.size))]


class Misdirected(RestError):
    status = 421
    title = "Misdirected Request"


class UpgradeRequired(RestError):
    status = 426
    title = "Upgrade Required"

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Upgrade", "websocket"), ("Connection", "Upgrade")]


class HeadersTooLarge(RestError):
    status = 431
    title = "Request Header Fields Too Large"


class ServerError(RestError):
    """A defect of ours. The log has the traceback under the request id; the client gets neutral words."""


class BadReply(ServerError):
    status = 502
    title = "Bad Gateway"


class BrokenOff(BadReply):
    @property
    def fields(self) -> dict[str, object]:
        return {"outcome": "unknown"}


class Unavailable(ServerError):
    """Nobody is there to ask. `retry_after` is in seconds."""

    status = 503
    title = "Service Unavailable"

    def __init__(self, message: str, retry_after: int = 2) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [("Retry-After", str(self.retry_after))]


class Timeout(ServerError):
    """No answer within the deadline. The job was taken back before anybody started it."""

    status = 504
    title = "Gateway Timeout"


class OutcomeUnknown(Timeout):
    """The job had been handed out, or the connection broke: it may or may not have been done."""

    @property
    def fields(self) -> dict[str, object]:
        return {"outcome": "unknown"}


class NoExecutor(ServerError):
    """A build has been waited for, and it still waits for an executor itself."""

    status = 504
    title = "Gateway Timeout"


def _quoted(text: str) -> str:
    """As a quoted string of a header field, which has printable ASCII only."""
    printable = "".join(c if " " <= c <= "~" else "?" for c in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'


def body(error: RestError, *, of_action: bool = False) -> bytes:
    """The JSON body of an error, in the one shape that all of them have.

    :param of_action: whether zuul-client may have asked, which shows its user `error` and `description` alone.
    """
    shape: dict[str, object] = {
        "faultcode": "Server" if error.status >= 500 else "Client",
        "faultstring": error.message,
        "debuginfo": None,
    }
    if of_action:
        shape.update(error=error.title, description=error.message)
    shape.update(error.fields)
    return json.dumps(shape).encode()
