# SPDX-License-Identifier: Apache-2.0
"""A table: text for people, or JSON for programs, by what a request accepts. It is made anew once a second at most.

Its header fields are those of nodepool-launcher's web application, and an entity tag.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import webob
from prettytable import PrettyTable
from webob.acceptparse import create_accept_header

from zuul.web.backends.replies import Reply
from zuul.web.negotiation import accepts_gzip, both_tags, holds, unchanged_since
from zuul.web.renderings import Rendering, Renderings

JSON = "application/json"
TEXT = "text/plain"
FRESH_SECONDS = 1
COMPRESS_FROM_BYTES = 1024


@dataclass(frozen=True)
class Table:
    """:param version: of the rows, and of the choice of columns.
    :param now: the moment that ages are counted to, in epoch seconds.
    :param columns: all columns, by key, with their titles; JSON has all of them.
    :param shown: those of the text.
    :param make: gives the rows.
    """

    version: str
    now: float
    columns: Mapping[str, str]
    shown: Mapping[str, str]
    make: Callable[[], list[dict[str, Any]]]

    def as_text(self) -> str:
        drawn = PrettyTable(list(self.shown.values()))
        drawn.align = "l"
        drawn.add_rows([[_cell(key, row[key], self.now) for key in self.shown] for row in self.make()])
        return str(drawn.get_string())

    def as_json(self) -> str:
        return json.dumps(self.make())


def respond(table: Table, request: webob.Request, accept: str, renderings: Renderings) -> webob.Response:
    of_json = prefers_json(accept)
    second = int(table.now)

    def make() -> Rendering:
        drawn = table.as_json() if of_json else table.as_text()
        return Rendering(Reply(drawn.encode(errors="replace")), [])

    reply = renderings.get((table.version, second, of_json), make).reply
    compress = len(reply.body) >= COMPRESS_FROM_BYTES and accepts_gzip(request.headers.get("Accept-Encoding", ""))
    tags = both_tags(reply.etag)
    headers = [
        ("ETag", tags[compress]),
        ("Vary", "Accept, Accept-Encoding"),
        ("Cache-Control", f"public, max-age={FRESH_SECONDS}"),
        ("Last-Modified", formatdate(second, usegmt=True)),
        ("Expires", formatdate(second + FRESH_SECONDS, usegmt=True)),
    ]
    fields = request.headers
    since = fields.get("If-Modified-Since")
    if holds(fields.get("If-None-Match"), *tags) or (
        since is not None and "If-None-Match" not in fields and unchanged_since(since, second)
    ):
        return webob.Response(status=304, headerlist=headers, app_iter=[b""])
    body = reply.gzipped if compress else reply.body
    headers += [
        ("Content-Type", f"{JSON if of_json else TEXT}; charset=utf-8"),
        ("Content-Length", str(len(body))),
        *([("Content-Encoding", "gzip")] if compress else []),
    ]
    return webob.Response(status=200, headerlist=headers, app_iter=[body])


def prefers_json(accept: str) -> bool:
    """Whether an Accept field names JSON before text, be that of people or of pages."""
    offers = create_accept_header(accept or None).acceptable_offers(["text/html", TEXT, JSON])
    return bool(offers) and offers[0][0] == JSON


def age(since: float | None, now: float) -> str:
    """`DD:HH:MM:SS`."""
    minutes, seconds = divmod(int(now - (since or 0)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days:02}:{hours:02}:{minutes:02}:{seconds:02}"


def _cell(key: str, value: Any, now: float) -> Any:
    if isinstance(value, list):
        return ",".join(value)
    return age(value, now) if key == "age" and isinstance(value, int) else value
