# SPDX-License-Identifier: Apache-2.0
"""The WSGI filters around the applications, outermost first as etc/zuul-rest-paste.ini has them.

    RequestFilter     request id, access log, and the last catch of every error
    GuardFilter       what no application should have to look at is refused
    SnapshotFilter    plain requests for a status end here, with bytes that are ready
    CorsFilter        pages of other origins may read, or more

Each keeps what it wraps in `inner`, so the all-in-one server can tell whether there is anybody else's
filter that it must not go past (see application.py).

Most requests are for a status that has not changed since, and that answer costs less than the filters
around it would. So the guard and the snapshots are `AnsweringFilter`s, which a RequestFilter right before
them asks for their answers without a WSGI call of each.
"""

from __future__ import annotations

import logging
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from random import getrandbits
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from zuul.web import errors
from zuul.web.audit import Audit
from zuul.web.negotiation import accepts_gzip
from zuul.web.origins import ANY_ORIGIN, READABLE_FIELDS, Origins
from zuul.web.settings import Rest
from zuul.web.snapshots import Snapshot, Snapshots, respond

log = logging.getLogger("zuul.web")
access_log = logging.getLogger("zuul.web.access")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WsgiApplication = Callable[[Environ, StartResponse], Iterable[bytes]]
Response = tuple[str, list[tuple[str, str]], list[bytes]]
"""Status, header fields and body. The list of fields is made for one request, and whoever gets it may add to it."""

MAX_URL_BYTES = 8192
MAX_HEADER_BYTES = 32768

_acceptable_id = re.compile(r"[A-Za-z0-9._:/=+-]{1,128}\Z").match


def request_id(proposed: str | None) -> str:
    """The client's own X-Request-Id if it is fit for a log line, else a new one."""
    return proposed if proposed and _acceptable_id(proposed) else getrandbits(64).to_bytes(8, "big").hex()


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


def refusal(error: errors.RestError, environ: Environ, *more_headers: tuple[str, str]) -> Response:
    """The answer to a request that ended in one of our errors."""
    body = errors.body(error)
    headers = [*error_headers(error, body), *more_headers]
    return f"{error.status} {error.title}", headers, [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def refuse(error: errors.RestError, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """`refusal` for a WSGI application."""
    status, headers, body = refusal(error, environ)
    start_response(status, headers)
    return body


class AnsweringFilter(ABC):
    """A filter that answers a request itself or has no part in it: what it passes on is none of its business."""

    def __init__(self, inner: WsgiApplication) -> None:
        self.inner = inner

    @abstractmethod
    def answer(self, environ: Environ) -> Response | None:
        """The answer; None: what is behind has one."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        response = self.answer(environ)
        if response is None:
            return self.inner(environ, start_response)
        status, headers, body = response
        start_response(status, headers)
        return body


UNCHANGED_SECONDS = 0.005
"""How long a 304 is given again without asking: as long as snapshots.py does without a look at other processes."""
MOST_UNCHANGED = 1000
MAX_REMEMBERED_BYTES = 1000
"""Of what such an answer depends on: nobody but an attacker has more."""

_what_it_depends_on = (
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "CONTENT_LENGTH",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_IF_NONE_MATCH",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_AUTHORIZATION",
    "HTTP_ORIGIN",
)
"""All that an answering filter may look at before it says 304, but for the size of what else is sent."""


class RequestFilter:
    """Gives each request its id, logs it, and turns what goes wrong into the one JSON shape.

    Dashboards ask for the same status with the same entity tag, tens of thousands of times a second in all. That it
    has not changed is remembered here for a moment, by all that the answer depends on. The dict belongs to all
    threads without a lock: its entries are never changed, and to lose one costs a question.
    """

    def __init__(
        self, inner: WsgiApplication, log_requests: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.inner = inner
        self.log_requests = log_requests
        self._clock = clock
        self._unchanged: dict[tuple[str | None, ...], tuple[float, Response]] = {}
        self._answers: list[Callable[[Environ], Response | None]] = []
        """Those of the answering filters that come next; `_behind` is what comes after them."""
        while isinstance(inner, AnsweringFilter):
            self._answers.append(inner.answer)
            inner = inner.inner
        self._behind = inner

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        environ["zuul.request_id"] = identifier = request_id(environ.get("HTTP_X_REQUEST_ID"))
        if self.log_requests and access_log.isEnabledFor(logging.INFO):
            start_response = self._logging(environ, start_response, identifier)
        key = None
        if "HTTP_IF_NONE_MATCH" in environ:
            key = tuple(map(environ.get, _what_it_depends_on))
            kept = self._unchanged.get(key)
            if kept is not None and self._clock() < kept[0]:
                status, fields, body = kept[1]
                start_response(status, [*fields, ("X-Request-Id", identifier)])
                return body
        try:
            for answer in self._answers:
                response = answer(environ)
                if response is not None:
                    break
            else:
                return self._behind(environ, _identifying(start_response, identifier))
        except errors.RestError as error:
            response = refusal(error, environ)
        except Exception:
            log.exception("request %s failed", identifier)
            response = refusal(errors.ServerError(f"this is a defect; the log has it as {identifier}"), environ)
        status, headers, body = response
        if key is not None and status.startswith("304"):
            self._remember(key, (status, [*headers], body))
        headers.append(("X-Request-Id", identifier))
        start_response(status, headers)
        return body

    def _remember(self, key: tuple[str | None, ...], unchanged: Response) -> None:
        if sum(map(len, filter(None, key))) > MAX_REMEMBERED_BYTES:
            return
        if len(self._unchanged) >= MOST_UNCHANGED:
            self._unchanged.clear()
        self._unchanged[key] = (self._clock() + UNCHANGED_SECONDS, unchanged)

    def _logging(self, environ: Environ, start_response: StartResponse, identifier: str) -> StartResponse:
        """A `start_response` that logs. The path is taken now: on its way it is taken apart."""
        began = time.perf_counter()
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            size = next((value for name, value in headers if name == "Content-Length"), "-")
            client = environ.get("REMOTE_ADDR", "-")
            log_access(identifier, client, environ["REQUEST_METHOD"], path, status[:3], size, began)
            return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

        return start


def _identifying(start_response: StartResponse, identifier: str) -> StartResponse:
    """A `start_response` that adds the request id."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        headers = [*headers, ("X-Request-Id", identifier)]
        return start_response(status, headers, exc_info) if exc_info else start_response(status, headers)

    return start


class CorsFilter:
    """Lets pages of other origins have answers, as `Origins` says: upstream lets anybody's page read."""

    def __init__(self, inner: WsgiApplication, origins: Origins | None = None) -> None:
        self.inner = inner
        self.origins = origins or Origins(Rest())

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        origins, origin, method = self.origins, environ.get("HTTP_ORIGIN"), environ["REQUEST_METHOD"]
        reads = method in ("GET", "HEAD")

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            fields = [field for field in headers if not field[0].startswith("Access-Control-Allow-Origin")]
            if method == "OPTIONS":
                fields = _preflight(fields, origins, origin)
            else:
                allowing = origins.allowing(origin, acts=not reads)
                fields += allowing
                if any(name == "Access-Control-Allow-Origin" for name, _ in allowing):
                    fields = [field for field in fields if field[0] != "Access-Control-Expose-Headers"]
                    fields.append(("Access-Control-Expose-Headers", READABLE_FIELDS))
            return start_response(status, fields, exc_info) if exc_info else start_response(status, fields)

        return self.inner(environ, start)


def _preflight(headers: list[tuple[str, str]], origins: Origins, origin: str | None) -> list[tuple[str, str]]:
    """The fields of an answer to OPTIONS, with those of CORS as this origin may have them."""
    methods = next((value for name, value in headers if name == "Access-Control-Allow-Methods"), None)
    if origin is None or methods is None:
        return headers
    others = [field for field in headers if field[0] != "Access-Control-Allow-Methods"]
    return [*others, *origins.preflight(origin, methods)]


class GuardFilter(AnsweringFilter):
    """Refuses paths and sizes that mean harm or nothing, before anybody decodes them.

    :param audit: is told of requests that were to do something; None where nothing can be done.
    """

    def __init__(self, inner: WsgiApplication, max_body_bytes: int, audit: Audit | None = None) -> None:
        super().__init__(inner)
        self.max_body_bytes = max_body_bytes
        self._audit = audit

    def answer(self, environ: Environ) -> Response | None:
        if self._is_plain(environ):
            return None
        error = self._objection(environ)
        if error is None:
            return None
        if self._audit is not None and environ["PATH_INFO"].startswith(("/api/", "/v1/")):
            self._audit.add_unread(environ, error)
        return refusal(error, environ, ANY_ORIGIN)

    def _is_plain(self, environ: Environ) -> bool:
        """Whether there is certainly no objection. Nearly every request is so."""
        if environ.get("QUERY_STRING") or (environ.get("CONTENT_LENGTH") or "0") != "0":
            return False
        text_bytes = 0
        for value in environ.values():
            if type(value) is str:
                text_bytes += len(value)
        path: str = environ.get("PATH_INFO", "")
        return text_bytes <= MAX_URL_BYTES and path[:1] == "/" and path.isascii() and path.isprintable()

    def _objection(self, environ: Environ) -> errors.RestError | None:
        path, query = environ.setdefault("PATH_INFO", ""), environ.get("QUERY_STRING", "")
        if len(path) + len(query) > MAX_URL_BYTES:
            return errors.UriTooLong(f"a URL may have {MAX_URL_BYTES} bytes")
        if sum(len(value) for name, value in environ.items() if name.startswith("HTTP_")) > MAX_HEADER_BYTES:
            return errors.HeadersTooLarge(f"the header fields of a request may have {MAX_HEADER_BYTES} bytes")
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
        length = environ.get("CONTENT_LENGTH") or "0"
        if not length.isascii() or not length.isdigit():
            return errors.BadRequest("Content-Length is not a number")
        if len(length) > 18 or int(length) > self.max_body_bytes:
            return errors.TooLarge(f"a body may have {self.max_body_bytes} bytes")
        return None


def wants_page(accept: str) -> bool:
    """Whether an Accept field is that of a browser which loads a page."""
    return "text/html" in accept.lower()


VARY_ACCEPT = ("Vary", "Accept")
VARY_ORIGIN = ("Vary", "Origin")


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
    :param is_protected: whether a tenant is not for everybody; None: all are.
    :param long_way: fields of WSGI whose requests somebody has to look at who knows more.
    """

    def __init__(
        self,
        whitelabel_tenant: str | None = None,
        legacy: LegacyNames | None = None,
        mounted: frozenset[str] = frozenset(),
        v1: tuple[str, ...] = (),
        is_protected: Callable[[str], bool] | None = None,
        long_way: frozenset[str] = frozenset(),
    ) -> None:
        self._whitelabel_tenant = whitelabel_tenant
        self._legacy = legacy
        self._mounted = mounted
        self._v1 = tuple(f"{mount}/tenants/" for mount in v1)
        self._is_protected = is_protected
        self.long_way = long_way

    def tenant(self, path: str, accept: str = "") -> str | None:
        """The tenant whose status is at a path, which is in the characters that WSGI has (latin-1).

        None also where a status may be but only the long way can tell. Every request passes here; those
        for anything else cost one comparison.
        """
        if not path.endswith(("/status", "/status.json")) or len(path) > MAX_URL_BYTES or "\0" in path:
            return None
        found = self._named(path, accept)
        if found is None or self._is_protected is None or not self._is_protected(found):
            return found
        return None

    def _named(self, path: str, accept: str) -> str | None:
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

    def more_fields(self, path: str, snapshot: Snapshot) -> list[tuple[str, str]]:
        """The header fields that a status has at this URL and not at all of its URLs."""
        fields = [VARY_ORIGIN] if "HTTP_ORIGIN" in self.long_way else []
        if path.startswith("/api/tenant/"):
            return fields
        if not path.startswith(("/api/", "/v1/")):
            fields.append(snapshot.expires)
        return [*fields, VARY_ACCEPT] if self.varies_by_accept(path) else fields


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


class SnapshotFilter(AnsweringFilter):
    """Answers plain GET and HEAD of a status; with a query or another method it goes the long way."""

    def __init__(self, inner: WsgiApplication, snapshots: Snapshots, urls: StatusUrls | None = None) -> None:
        super().__init__(inner)
        self.snapshots = snapshots
        self.urls = urls or StatusUrls()

    def answer(self, environ: Environ) -> Response | None:
        method = environ["REQUEST_METHOD"]
        path, mounted_at = environ.get("PATH_INFO", ""), environ.get("SCRIPT_NAME", "")
        if mounted_at and f"{mounted_at}/".startswith(("/api/", "/v1/")):
            # Behind a urlmap. Any other mount point is that of all of us and no part of our URLs: where that
            # is /ci, /ci/status is no status of a tenant ci.
            path = mounted_at + path
        tenant = self.urls.tenant(path, environ.get("HTTP_ACCEPT", ""))
        if tenant is None or environ.get("QUERY_STRING") or method not in ("GET", "HEAD"):
            return None
        if self.urls.long_way and not self.urls.long_way.isdisjoint(environ):
            return None
        encodings = environ.get("HTTP_ACCEPT_ENCODING", "")
        if_none_match = environ.get("HTTP_IF_NONE_MATCH")
        try:
            snapshot = self.snapshots.get(tenant, accepts_gzip(encodings), if_none_match)
        except errors.RestError as error:
            return refusal(error, environ, ANY_ORIGIN)
        answer = respond(snapshot, encodings, if_none_match, environ.get("HTTP_IF_MODIFIED_SINCE"))
        age = ("Age", str(self.snapshots.age_seconds(snapshot)))
        headers = [*answer.headers, age, *self.urls.more_fields(path, snapshot)]
        return answer.status, headers, [answer.body] if method == "GET" else []
