# SPDX-License-Identifier: Apache-2.0
"""The WSGI filters around the applications, outermost first as etc/zuul-rest-paste.ini has them.

    RequestFilter     request id, access log, and the last catch of every error
    GuardFilter       what no application should have to look at is refused
    SnapshotFilter    plain requests for a status end here, with bytes that are ready
    CorsFilter        other origins may read

Each keeps what it wraps in `inner`, so the all-in-one server can tell whether there is anybody else's
filter that it must not go past (see application.py).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable
from random import getrandbits
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from zuul.web import errors
from zuul.web.snapshots import Snapshots, accepts_gzip, respond

log = logging.getLogger("zuul.web")
access_log = logging.getLogger("zuul.web.access")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]

MAX_URL_BYTES = 8192
MAX_HEADER_BYTES = 32768

_acceptable_id = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}\Z").match


def request_id(proposed: str | None) -> str:
    """The client's own X-Request-Id if it is fit for a log line, else a new one."""
    return proposed if proposed and _acceptable_id(proposed) else f"{getrandbits(64):016x}"


def log_access(identifier: str, client: str, method: str, path: str, status: str, size: str, began: float) -> None:
    """One line for a finished request. Quotes and control characters in it are escaped."""
    access_log.info(
        '%s %s "%s %s" %s %s %.1fms',
        identifier,
        client,
        method.encode("unicode_escape").decode(),
        path.encode("unicode_escape").decode().replace('"', "%22")[:2000],
        status,
        size,
        (time.perf_counter() - began) * 1000,
    )


def error_headers(error: errors.RestError, body: bytes) -> list[tuple[str, str]]:
    return [
        ("Content-Type", "application/json; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
        *error.headers,
    ]


ANY_ORIGIN = ("Access-Control-Allow-Origin", "*")


def refuse(
    error: errors.RestError, environ: Environ, start_response: StartResponse, *more_headers: tuple[str, str]
) -> Iterable[bytes]:
    """The answer to a request that ended in one of our errors."""
    body = errors.body(error)
    start_response(f"{error.status} {error.title}", [*error_headers(error, body), *more_headers])
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


class RequestFilter:
    def __init__(self, inner: WsgiApplication, log_requests: bool = True) -> None:
        self.inner = inner
        self.log_requests = log_requests

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        identifier = request_id(environ.get("HTTP_X_REQUEST_ID"))
        environ["zuul.request_id"] = identifier

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers = [*headers, ("X-Request-Id", identifier)]
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        if self.log_requests and access_log.isEnabledFor(logging.INFO):
            start = self._logging(environ, start, identifier)
        try:
            return self.inner(environ, start)
        except errors.RestError as error:
            return refuse(error, environ, start)
        except Exception:
            log.exception("request %s failed", identifier)
            return refuse(errors.ServerError(f"this is a defect; the log has it as {identifier}"), environ, start)

    def _logging(self, environ: Environ, start_response: StartResponse, identifier: str) -> StartResponse:
        """A `start_response` that logs. The path is taken now: on its way it is taken apart."""
        began = time.perf_counter()
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            size = next((value for name, value in headers if name == "Content-Length"), "-")
            client = environ.get("REMOTE_ADDR", "-")
            log_access(identifier, client, environ["REQUEST_METHOD"], path, status[:3], size, began)
            return start_response(status, headers, exc_info)

        return start


class CorsFilter:
    """Anybody's page may read, as with upstream: that is one header field on every answer to GET."""

    def __init__(self, inner: WsgiApplication) -> None:
        self.inner = inner

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return self.inner(environ, start_response)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not any(name == "Access-Control-Allow-Origin" for name, _ in headers):
                headers = [*headers, ANY_ORIGIN]
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return self.inner(environ, start)


class GuardFilter:
    """Refuses paths and sizes that mean harm or nothing, before anybody decodes them."""

    def __init__(self, inner: WsgiApplication, max_body_bytes: int) -> None:
        self.inner = inner
        self.max_body_bytes = max_body_bytes

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        error = self._objection(environ)
        if error is not None:
            return refuse(error, environ, start_response, ANY_ORIGIN)
        return self.inner(environ, start_response)

    def _objection(self, environ: Environ) -> errors.RestError | None:
        # Every status passes here, so the plain case is decided first and costs little.
        path, query = environ.setdefault("PATH_INFO", ""), environ.get("QUERY_STRING", "")
        if len(path) + len(query) > MAX_URL_BYTES:
            return errors.UriTooLong(f"a URL may have {MAX_URL_BYTES} bytes")
        header_bytes = 0
        for name, value in environ.items():
            if name[:5] == "HTTP_":
                header_bytes += len(value)
        if header_bytes > MAX_HEADER_BYTES:
            return errors.HeadersTooLarge(f"the header fields of a request may have {MAX_HEADER_BYTES} bytes")
        length = environ.get("CONTENT_LENGTH") or "0"
        if not query and length == "0" and path[:1] == "/" and path.isascii() and path.isprintable():
            return None
        if path and not path.startswith("/"):
            return errors.BadRequest("the path must start with a slash")
        for what, text in (("path", path), ("query", query)):
            try:
                # WSGI hands over bytes as latin-1; only the path's %-escapes have been undone.
                sent = text.encode("latin-1")
                decoded = (unquote_to_bytes(sent) if what == "query" else sent).decode()
            except UnicodeError:
                return errors.BadRequest(f"the {what} is not valid UTF-8")
            if "\0" in decoded:
                return errors.BadRequest(f"the {what} has a NUL byte")
        if not length.isascii() or not length.isdigit():
            return errors.BadRequest("Content-Length is not a number")
        if len(length) > 18 or int(length) > self.max_body_bytes:
            return errors.TooLarge(f"a body may have {self.max_body_bytes} bytes")
        return None


def wants_page(accept: str) -> bool:
    """Whether an Accept field is that of a browser which loads a page."""
    return "text/html" in accept.lower()


VARY_ACCEPT = ("Vary", "Accept")


def varying_by_accept(start_response: StartResponse) -> StartResponse:
    """Caches are to know that the next client may get something else at this URL."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        headers = [*headers, VARY_ACCEPT]
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    return start


class LegacyNames(Protocol):
    """What the legacy URLs of a composition mean; see controllers/legacy.py. Nothing here may block."""

    has_pages: bool
    """Whether a dashboard stands behind them, with pages at some of the same URLs."""

    def belongs_to_others(self, first_segment: str) -> bool:
        """Whether all URLs that begin so are an application's or a file's, whatever the tenants are called."""

    def default_tenant_at_hand(self) -> str | None:
        """The tenant of URLs that name none, unless the scheduler must be asked for it."""

    def is_tenant_at_hand(self, name: str) -> bool:
        """Whether this is certainly a tenant, without asking the scheduler."""


class StatusUrls:
    """The URLs of a status, of all eras.

    :param whitelabel_tenant: the tenant of `/api/status`.
    :param legacy: None where the composition has no legacy URLs, or might not let everybody have them.
    :param mounted: first segments below which other applications stand.
    :param v1: where /v1 is mounted.
    """

    def __init__(
        self,
        whitelabel_tenant: str | None = None,
        legacy: LegacyNames | None = None,
        mounted: frozenset[str] = frozenset(),
        v1: tuple[str, ...] = (),
    ) -> None:
        self._whitelabel_tenant = whitelabel_tenant
        self._legacy = legacy
        self._mounted = mounted
        self._v1 = tuple(f"{mount}/tenants/" for mount in v1)

    def tenant(self, path: str, accept: str = "") -> str | None:
        """The tenant whose status is at a path, which is in the characters that WSGI has (latin-1).

        None also where a status may be but only the long way can tell. Every request passes here; those
        for anything else cost one comparison.
        """
        if not path.endswith(("/status", "/status.json")) or len(path) > MAX_URL_BYTES or "\0" in path:
            return None
        if path.startswith("/api/tenant/"):
            return _tenant_in(path, "/api/tenant/")
        if path.startswith(self._v1):
            return None if "xml" in accept.lower() else _tenant_in(path, path[: path.index("/tenants/") + 9])
        if path.startswith("/api/"):
            return self._whitelabel_tenant if path == "/api/status" else None
        legacy = self._legacy
        if legacy is None or (accept and self.varies_by_accept(path) and wants_page(accept)):
            return None
        first, _, rest = path[1:].partition("/")
        if first in self._mounted or legacy.belongs_to_others(first):
            return None
        if not rest:
            return legacy.default_tenant_at_hand()
        return first if "/" not in rest and legacy.is_tenant_at_hand(first) else None

    def varies_by_accept(self, path: str) -> bool:
        """Whether others get something else there: XML, or browsers a page of the dashboard, except of a `.json`."""
        if path.startswith(self._v1):
            return True
        legacy = self._legacy
        return legacy is not None and legacy.has_pages and path.endswith("/status") and not path.startswith("/api/")


def _tenant_in(path: str, before: str) -> str | None:
    """The name between `before` and `/status`, if that is the whole path."""
    tenant = path[len(before) : -len("/status")]
    if not path.startswith(before) or not path.endswith("/status") or not tenant or "/" in tenant:
        return None
    return tenant if tenant.isascii() else _decoded(tenant)


def _decoded(text: str) -> str | None:
    """A part of a path as text; None if it is not UTF-8, which the guard refuses."""
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return None


class SnapshotFilter:
    """Answers plain GET and HEAD of a status; with a query or another method it goes the long way."""

    def __init__(self, inner: WsgiApplication, snapshots: Snapshots, urls: StatusUrls | None = None) -> None:
        self.inner = inner
        self.snapshots = snapshots
        self.urls = urls or StatusUrls()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        path, mounted_at = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        if mounted_at and f"{mounted_at}/".startswith(("/api/", "/v1/")):
            # Behind a urlmap. Any other mount point is that of all of us and no part of our URLs: where that
            # is /ci, /ci/status is no status of a tenant ci.
            path = mounted_at + path
        tenant = self.urls.tenant(path, environ.get("HTTP_ACCEPT", ""))
        if tenant is None or environ.get("QUERY_STRING") or method not in ("GET", "HEAD"):
            return self.inner(environ, start_response)
        encodings = environ.get("HTTP_ACCEPT_ENCODING", "")
        try:
            snapshot = self.snapshots.get(tenant, accepts_gzip(encodings))
        except errors.RestError as error:
            return refuse(error, environ, start_response, ANY_ORIGIN)
        answer = respond(snapshot, encodings, environ.get("HTTP_IF_NONE_MATCH"), environ.get("HTTP_IF_MODIFIED_SINCE"))
        headers = [*answer.headers, ("Age", str(self.snapshots.age_seconds(snapshot)))]
        if self.urls.varies_by_accept(path):
            headers.append(VARY_ACCEPT)
        start_response(answer.status, headers)
        return [answer.body] if method == "GET" else []
