# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document, and a page that shows it: a WSGI filter in front of the site.

    /openapi.json, /openapi.yaml    the document
    /docs/                          our page (dashboard/docs.html) around swagger-ui
    /docs/NAME                      the files of swagger-ui that it loads, and no others

All other URLs are left to what stands behind. So is `/openapi.yaml` where the operator has a file of that name in
static_path: upstream's dashboard comes with one, and shows it with a swagger-ui that does not know OpenAPI 3.1.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.resources
import os
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from zuul.web.errors import MethodNotAllowed, RestError
from zuul.web.filters import Environ, StartResponse, WsgiApplication, refuse
from zuul.web.negotiation import accepts_gzip, both_tags, holds

ASSETS = {
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "swagger-ui.css": "text/css; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""The files of swagger-ui that our page loads, from the package swagger-ui-py."""

ASSET_SECONDS = 3600
METHODS = ("GET", "HEAD", "OPTIONS")


class Content(NamedTuple):
    """What is at one URL, ready to send."""

    body: bytes
    gzipped: bytes | None
    etag: str
    headers: list[tuple[str, str]]

    @classmethod
    def of(cls, body: bytes, content_type: str, cache_control: str, *more: tuple[str, str]) -> Content:
        gzipped = None if content_type.startswith("image/") else gzip.compress(body, mtime=0)
        headers = [
            ("Content-Type", content_type),
            ("Cache-Control", cache_control),
            ("X-Content-Type-Options", "nosniff"),
            *more,
        ]
        return cls(body, gzipped, hashlib.sha256(body).hexdigest()[:32], headers)


class Documentation:
    """Answers the URLs of the documentation. What it needs is made when it is asked for, and kept.

    :param describe: gives the document as JSON and as YAML.
    :param static_path: where the operator may have an openapi.yaml.
    """

    def __init__(
        self, inner: WsgiApplication, describe: Callable[[], tuple[str, str]], static_path: str | None
    ) -> None:
        self.inner = inner
        self._describe = describe
        self._theirs = os.path.join(static_path, "openapi.yaml") if static_path else None
        self._lock = threading.Lock()
        self._kept: dict[str, Content] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if not self._is_ours(path):
            return self.inner(environ, start_response)
        method = environ["REQUEST_METHOD"]
        if method == "OPTIONS":
            start_response("204 No Content", [("Allow", ", ".join(METHODS))])
            return []
        try:
            if method not in METHODS:
                raise MethodNotAllowed(f"{method} is not possible here", METHODS)
            if path == "/docs":
                return _redirect(start_response)
            return _send(self._content(path), environ, start_response)
        except RestError as error:
            return refuse(error, environ, start_response)

    def _is_ours(self, path: str) -> bool:
        if path == "/openapi.yaml":
            return self._theirs is None or not os.path.isfile(self._theirs)
        return path in ("/openapi.json", "/docs", "/docs/") or (path[:6] == "/docs/" and path[6:] in ASSETS)

    def _content(self, path: str) -> Content:
        with self._lock:
            if path not in self._kept:
                self._kept.update(self._made(path))
            return self._kept[path]

    def _made(self, path: str) -> dict[str, Content]:
        """What is at a path, and what had to be made with it."""
        if path == "/docs/":
            return {path: _page()}
        if path.startswith("/docs/"):
            name = path[6:]
            body = importlib.resources.files("swagger_ui").joinpath("static").joinpath(name).read_bytes()
            return {path: Content.of(body, ASSETS[name], f"public, max-age={ASSET_SECONDS}")}
        as_json, as_yaml = self._describe()
        return {
            "/openapi.json": Content.of(as_json.encode(), "application/json; charset=utf-8", "no-cache"),
            "/openapi.yaml": Content.of(as_yaml.encode(), "application/yaml; charset=utf-8", "no-cache"),
        }


def _send(content: Content, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    zipped = content.gzipped is not None and accepts_gzip(environ.get("HTTP_ACCEPT_ENCODING", ""))
    tags = both_tags(content.etag)
    about = [("ETag", tags[zipped]), ("Vary", "Accept-Encoding")]
    if holds(environ.get("HTTP_IF_NONE_MATCH"), *tags):
        kept = [(name, value) for name, value in content.headers if name != "Content-Type"]
        start_response("304 Not Modified", [*about, *kept])
        return []
    body = content.gzipped if zipped and content.gzipped is not None else content.body
    about += [*content.headers, ("Content-Length", str(len(body)))]
    if zipped:
        about.append(("Content-Encoding", "gzip"))
    start_response("200 OK", about)
    return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


def _redirect(start_response: StartResponse) -> Iterable[bytes]:
    """To the page, by a relative path since a proxy may serve all of this below a prefix."""
    fields = [("Location", "docs/"), ("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "0")]
    start_response("307 Temporary Redirect", fields)
    return []


def _page() -> Content:
    """Our page, and the policy that lets it run its own script, load swagger-ui and ask this server."""
    body = Path(__file__).with_name("dashboard").joinpath("docs.html").read_bytes()
    scripts = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"
        for text in re.findall(rb"<script>(.*?)</script>", body, re.DOTALL)
    )
    policy = (
        f"default-src 'none'; script-src 'self' {scripts}; style-src 'self'; "
        "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return Content.of(body, "text/html; charset=utf-8", "no-cache", ("Content-Security-Policy", policy))
