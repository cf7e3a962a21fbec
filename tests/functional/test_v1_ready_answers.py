# SPDX-License-Identifier: Apache-2.0
"""What the all-in-one server keeps of /v1 is what the application would say again."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from webob import Request

from zuul.web.channel import ReadyAnswers

EXAMPLE = "/v1/tenants/example"
KEPT = ["/v1/tenants", EXAMPLE, f"{EXAMPLE}/jobs", f"{EXAMPLE}/pipelines", f"{EXAMPLE}/pipelines/gate",
        f"{EXAMPLE}/pipelines/gate/items", f"{EXAMPLE}/pipelines/gate/items/700069,5"]  # fmt: skip
NOT_KEPT = [f"{EXAMPLE}/status", f"{EXAMPLE}/holds", f"{EXAMPLE}/holds/0000000001", "/v1/info", f"{EXAMPLE}/jobs/nope",
            f"{EXAMPLE}/pipelines/gate/items/nope", f"{EXAMPLE}/jobs?limit=1"]  # fmt: skip


class Short(NamedTuple):
    """A request as the server's short way reads it."""

    path: str
    fields: dict[bytes, str]

    @property
    def accepts_gzip(self):
        return b"accept-encoding" in self.fields


@pytest.fixture
def ready():
    return ReadyAnswers()


@pytest.fixture
def ask(app, ready):
    """Asks the application in the long way and then for the ready answer; both as status, header fields and body."""

    def slowly(environ, start_response):
        """What is fresh for a second stays so, however long a test takes."""
        body = app.app(environ, start_response)
        if "zuul.fresh_until" in environ:
            environ["zuul.fresh_until"] += 3600
        return body

    def ask(path, **fields):
        asked = Request.blank(path, headers=fields)
        began = []
        body = b"".join(
            ready.recording(slowly)(asked.environ, lambda *status_and_headers: began.append(status_and_headers))
        )
        status, headers = began[0]
        short = ready.answer(Short(path, {name.lower().encode(): value for name, value in fields.items()}))
        headers = sorted(field for field in headers if field[0] != "X-Request-Id")
        return (status, headers, body), short and (short.status, sorted(short.headers), short.body)

    return ask


@pytest.mark.parametrize("path", KEPT)
def test_what_is_kept_is_the_same_in_each_form(ask, path):
    for accept in ("application/json", "application/xml"):
        for encoding in ({}, {"Accept-Encoding": "gzip"}):
            full, kept = ask(path, Accept=accept, **encoding)
            assert kept == full
            (etag,) = (value for name, value in full[1] if name == "ETag")
            unchanged, kept = ask(path, Accept=accept, **encoding, **{"If-None-Match": etag})
            assert unchanged[0].startswith("304")
            assert kept == unchanged


@pytest.mark.parametrize("path", NOT_KEPT)
def test_what_changes_at_any_time_or_went_wrong_is_not_kept(ask, path):
    assert ask(path)[1] is None


def test_forms_are_kept_apart(ask, ready):
    (_, _, json), _ = ask(f"{EXAMPLE}/jobs", Accept="application/json")
    (_, _, xml), _ = ask(f"{EXAMPLE}/jobs", Accept="application/xml")

    assert json != xml
    assert ready.answer(Short(f"{EXAMPLE}/jobs", {b"accept": "application/json"})).body == json
    assert ready.answer(Short(f"{EXAMPLE}/jobs", {b"accept": "application/xml"})).body == xml
    assert ready.answer(Short(f"{EXAMPLE}/jobs", {b"accept": "text/xml"})) is None
