# SPDX-License-Identifier: Apache-2.0
"""What lies outside /api and /v1: an operator's dashboard, or a small page of our own.

With `[web] static_path` this serves a single-page application, for instance upstream's React build,
exactly as it was built. A URL is answered with, in this order:

1. the file of that name below the folder;
2. for a name that looks like an asset (`ASSET_EXTENSIONS`), unless the client asks for HTML: the file
   that is left when leading segments are dropped, or 404;
3. `index.html`, whose script reads the URL and shows the page.

The extension alone cannot tell 2 from 3, because pages end in names that people chose:
`/t/x/project/review.example.com/org/some.repo`, `/change/1,2`, and also `/project/github.com/org/three.js`.
So only known asset extensions are candidates for 2, and among them `Accept` decides: browsers name
text/html when they load a page and never when they load a script, style sheet, image or font.

Dropping leading segments serves two deployments without any setting: a proxy that keeps the prefix
(`/zuul/static/js/x.js`), and a build with relative asset URLs, where the page `/t/x/status` asks for
`/t/x/static/js/x.js`.

Nothing outside the folder is ever served, and the query string is never read: upstream 3.19.1 answers
`/?path=/etc/hostname` with that file.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import stat
from collections.abc import Iterable, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple
from urllib.parse import quote
from wsgiref.util import FileWrapper

from zuul.web import errors
from zuul.web.errors import BadRequest, MethodNotAllowed, NotFound, RestError
from zuul.web.filters import WsgiApplication, varying_by_accept, wants_page
from zuul.web.negotiation import accepts_gzip, holds, unchanged_since

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logging.getLogger("zuul.web.site")

# Ours and not the `mimetypes` module's, which reads the tables of the machine it runs on.
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".eot": "application/vnd.ms-fontobject",
    ".gif": "image/gif",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/vnd.microsoft.icon",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".otf": "font/otf",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".ttf": "font/ttf",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
# Not .html: the dashboard of Zuul 3.0 had pages such as /t/x/status.html.
ASSET_EXTENSIONS = CONTENT_TYPES.keys() - {".html"}

CHUNK_BYTES = 64 * 1024
MESSAGE_CHARACTERS = 200
MAX_DROPPED_SEGMENTS = 8


class Reply(NamedTuple):
    status: str
    headers: list[tuple[str, str]]
    body: Iterable[bytes]


class Site:
    """A WSGI application for everything that the API does not answer.

    :param static_path: folder with an `index.html`; None or empty for our own page.
    :param cache_seconds: how long clients may keep files other than `index.html`; 0 says nothing.
    :param directory: answers at `/` those who want no page: all whose Accept field does not name text/html, or
        with a dashboard, where everybody used to get its page, those whose field names JSON or XML instead.
    """

    def __init__(self, static_path: str | None, cache_seconds: int, directory: WsgiApplication | None = None) -> None:
        # Bytes, since names come as bytes too: the locale's encoding then plays no part.
        self._root = os.fsencode(os.path.abspath(static_path)) if static_path else None
        self._cache_seconds = cache_seconds
        self._directory = directory
        if self._root is None:
            self._landing_page, self._landing_headers = _load_landing_page()
        elif not os.path.isfile(os.path.join(self._root, b"index.html")):
            log.warning("static_path %s has no index.html", static_path)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._directory is not None and environ.get("PATH_INFO") == "/":
            if self._wants_directory(environ.get("HTTP_ACCEPT", "")):
                return self._directory(environ, start_response)
            start_response = varying_by_accept(start_response)
        try:
            reply = self._reply(environ)
        except RestError as error:
            reply = _error_reply(error)
        start_response(reply.status, [*reply.headers, ("X-Content-Type-Options", "nosniff")])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else reply.body

    def _wants_directory(self, accept: str) -> bool:
        named = "json" in accept or "xml" in accept
        return not wants_page(accept) and (self._root is None or named)

    def _reply(self, environ: WSGIEnvironment) -> Reply:
        path = _decoded_path(environ)
        *folders, name = path.split("/")
        # An empty last segment stays: `/a/` is a page, even where `a` is a file.
        segments = [*filter(None, folders), name]
        if segments[0] in ("api", "v1"):
            raise _nothing_at(path)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            raise MethodNotAllowed("only GET and HEAD are possible here", allow=("GET", "HEAD"))
        prefix = environ.get("SCRIPT_NAME", "")
        if not path and prefix and not prefix.endswith("/"):
            return _redirect_into(prefix)
        if self._root is not None:
            return self._dashboard(environ, self._root, path, segments)
        if segments != [""]:
            raise _nothing_at(path)
        if _is_unchanged(environ, dict(self._landing_headers)["ETag"]):
            return Reply("304 Not Modified", self._landing_headers, [])
        about = [("Content-Type", CONTENT_TYPES[".html"]), ("Content-Length", str(len(self._landing_page)))]
        return Reply("200 OK", [*self._landing_headers, *about], [self._landing_page])

    def _dashboard(self, environ: WSGIEnvironment, root: bytes, path: str, segments: list[str]) -> Reply:
        is_asset = _extension(segments[-1]) in ASSET_EXTENSIONS and not wants_page(environ.get("HTTP_ACCEPT", ""))
        candidates = [segments]
        if is_asset:
            candidates += [segments[n:] for n in range(1, min(len(segments), MAX_DROPPED_SEGMENTS + 1))]
        if _is_hidden(segments, path):
            candidates = []
        if not is_asset:
            candidates.append(["index.html"])
        for candidate in candidates:
            file = _regular_file(root, candidate, path)
            if file is not None:
                return self._file(environ, file, candidate[-1], path)
        raise _nothing_at(path)

    def _file(self, environ: WSGIEnvironment, file: bytes, name: str, path: str) -> Reply:
        """Send a file under the name that was asked for, which may be a link to one of another type."""
        zipped = accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", "")) and _has_gzip_sibling(file)
        stream = _open(file + b".gz" if zipped else file, path)
        facts = os.fstat(stream.fileno())
        etag = f'"{facts.st_mtime_ns:x}-{facts.st_size:x}{"-gz" if zipped else ""}"'
        headers = [
            ("ETag", etag),
            ("Last-Modified", formatdate(int(facts.st_mtime), usegmt=True)),
            ("Vary", "Accept-Encoding"),
        ]
        if name == "index.html":
            headers.append(("Cache-Control", "no-cache"))
        elif self._cache_seconds:
            headers.append(("Cache-Control", f"public, max-age={self._cache_seconds}"))
        if _is_unchanged(environ, etag, int(facts.st_mtime)):
            stream.close()
            return Reply("304 Not Modified", headers, [])
        headers += [
            ("Content-Type", CONTENT_TYPES.get(_extension(name), "application/octet-stream")),
            ("Content-Length", str(facts.st_size)),
        ]
        if zipped:
            headers.append(("Content-Encoding", "gzip"))
        if environ["REQUEST_METHOD"] == "HEAD":
            stream.close()
            return Reply("200 OK", headers, [])
        return Reply("200 OK", headers, environ.get("wsgi.file_wrapper", FileWrapper)(stream, CHUNK_BYTES))


def _decoded_path(environ: WSGIEnvironment) -> str:
    """PATH_INFO as text. WSGI hands over its bytes as latin-1; the server has undone the %-escapes."""
    raw = environ.get("PATH_INFO", "")
    if "\0" in raw:
        raise BadRequest("the path has a NUL byte")
    try:
        path: str = raw.encode("latin-1").decode()
    except UnicodeError as error:
        raise BadRequest("the path is not UTF-8") from error
    return path


def _is_hidden(segments: Sequence[str], path: str) -> bool:
    """Whether a path is the page of a project such as `github.com/org/.github`, and so names no file.

    :raises NotFound: it names a dot file, `.`, `..` or has a backslash, which is nothing at all.

    Only what was asked for counts. A Kubernetes ConfigMap volume keeps its files in `..data/`, and
    `index.html` is a link to there.
    """
    dotted = [i for i, segment in enumerate(segments) if segment.startswith(".")]
    if not dotted and "\\" not in path:
        return False
    if "\\" in path or {".", ".."} & set(segments) or "project" not in segments[: dotted[0]]:
        raise _nothing_at(path)
    return True


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _regular_file(root: bytes, segments: Sequence[str], path: str) -> bytes | None:
    """The real path of a file below `root`, or None if there is no such file.

    :raises NotFound: something of that name is there, but outside of `root` or not a regular file.
    """
    if not segments[-1]:
        return None
    root = os.path.realpath(root)  # each time, since deployments like to switch a link
    target = os.path.realpath(os.path.join(root, *(segment.encode() for segment in segments)))
    if os.path.commonpath((root, target)) != root:
        raise _nothing_at(path)
    try:
        mode = os.stat(target).st_mode
    except OSError:
        return None
    if stat.S_ISREG(mode):
        return target
    if stat.S_ISDIR(mode):
        return None
    raise _nothing_at(path)


def _has_gzip_sibling(file: bytes) -> bool:
    """Whether `x.js.gz` is beside `x.js` and not older. A link does not count: it could lead outside."""
    try:
        sibling = os.lstat(file + b".gz")
        return stat.S_ISREG(sibling.st_mode) and sibling.st_mtime_ns >= os.stat(file).st_mtime_ns
    except OSError:
        return False


def _open(file: bytes, path: str) -> BinaryIO:
    """Open a file that `_regular_file` or `_has_gzip_sibling` has just seen.

    Between their look and this call the name may come to mean something else. O_NOFOLLOW refuses a
    link put in its place, O_NONBLOCK keeps a FIFO from blocking us, and fstat looks at what was
    opened. A folder on the way that turns into a link is not covered: who can do that can write into
    static_path, and needs no race to publish a file.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        log.warning("cannot read a file below static_path: %s", error)
        raise _nothing_at(path) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise _nothing_at(path)
    return os.fdopen(descriptor, "rb")


def _is_unchanged(environ: WSGIEnvironment, etag: str, modified: int | None = None) -> bool:
    """Whether the client's copy is good."""
    if_none_match = environ.get("HTTP_IF_NONE_MATCH")
    if if_none_match is not None:
        return holds(if_none_match, etag)
    since = environ.get("HTTP_IF_MODIFIED_SINCE")
    return since is not None and modified is not None and unchanged_since(since, modified)


def _redirect_into(prefix: str) -> Reply:
    """From `/zuul` to `/zuul/`, so that relative URLs on the page start below the mount point.

    The Location is relative, since a proxy may have changed whatever stands before the last segment.
    """
    last = prefix.rsplit("/", 1)[-1].encode("latin-1")
    headers = [
        ("Location", f"./{quote(last)}/"),
        ("Content-Type", CONTENT_TYPES[".txt"]),
        ("Content-Length", "0"),
    ]
    return Reply("307 Temporary Redirect", headers, [])


def _nothing_at(path: str) -> NotFound:
    return NotFound(f"there is nothing at {path}"[:MESSAGE_CHARACTERS])


def _error_reply(error: RestError) -> Reply:
    body = errors.body(error)
    headers = [
        ("Content-Type", "application/json"),
        ("Content-Length", str(len(body))),
        # While a new dashboard is rolled out, a cache must not remember that an asset was missing.
        ("Cache-Control", "no-store"),
        *error.headers,
    ]
    return Reply(f"{error.status} {error.title}", headers, [body])


def _load_landing_page() -> tuple[bytes, list[tuple[str, str]]]:
    """Our own page, and the headers that allow its inline script and style by hash and nothing else."""
    page = Path(__file__).with_name("dashboard").joinpath("index.html").read_bytes()

    def hashes(element: bytes) -> str:
        contents = re.findall(rb"<%b>(.*?)</%b>" % (element, element), page, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in contents)

    policy = (
        f"default-src 'none'; script-src {hashes(b'script')}; style-src {hashes(b'style')}; "
        "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return page, [
        ("ETag", f'"{hashlib.sha256(page).hexdigest()[:32]}"'),
        ("Cache-Control", "no-cache"),
        ("Content-Security-Policy", policy),
    ]
