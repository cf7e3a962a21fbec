# SPDX-License-Identifier: Apache-2.0
"""What a browser lets pages of other origins do, at all URLs."""

from __future__ import annotations

import pytest
from functional.tokens import CONF, bearer

from zuul.web.backends.rpc.local import LocalTransport

LISTED, READER, OTHER = "https://zuul.example.com", "https://reads.example.com", "https://other.example.com"
STATUS = "/api/tenant/example/status"
URLS = [STATUS, "/v1/tenants/example/jobs", "/api/info", "/example/status.json", "/v1/tenants/nope"]

ORIGIN, CREDENTIALS = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"

OPEN = ""
LIST = f"allowed_origins={LISTED}"
CLOSED = f"allowed_origins={LISTED}\nread_origins={READER}"
NOBODY = f"read_origins={READER}"
ANYBODY = "allowed_origins=*"


@pytest.fixture
def app_where(make_app, functions):
    return lambda rest: make_app(LocalTransport(functions), f"{rest}\n{CONF}")


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize(
    ("rest", "origin", "allowed", "credentials"),
    [
        (OPEN, None, "*", None),
        (OPEN, OTHER, "*", None),
        (LIST, None, "*", None),
        (LIST, OTHER, "*", None),
        (LIST, LISTED, LISTED, "true"),
        (LIST, LISTED + ".evil.example.com", "*", None),
        (LIST, "null", "*", None),
        (CLOSED, None, None, None),
        (CLOSED, OTHER, None, None),
        (CLOSED, READER, READER, None),
        (CLOSED, LISTED, LISTED, "true"),
        (CLOSED, "null", None, None),
        (NOBODY, READER, READER, None),
        (NOBODY, OTHER, None, None),
        (ANYBODY, OTHER, "*", None),
    ],
)
def test_who_may_read(app_where, url, rest, origin, allowed, credentials):
    app = app_where(rest)
    for _ in range(2):
        response = app.get(url, headers={"Origin": origin} if origin else {}, status="*")

        assert response.headers.getall(ORIGIN) == ([allowed] if allowed else [])
        assert response.headers.get(CREDENTIALS) == credentials
        assert ("Origin" in ", ".join(response.headers.getall("Vary"))) == (rest not in (OPEN, ANYBODY))
        if allowed is None:
            assert "Access-Control-Expose-Headers" not in response.headers


def test_what_has_not_changed_is_said_to_each_origin_for_itself(app_where):
    app = app_where(LIST)
    tag = {"If-None-Match": app.get(STATUS).headers["ETag"]}

    said = [app.get(STATUS, headers={**tag, "Origin": origin}).headers[ORIGIN] for origin in (OTHER, LISTED, OTHER)]

    assert said == ["*", LISTED, "*"]


@pytest.mark.parametrize("url", URLS[:3])
@pytest.mark.parametrize(
    ("rest", "origin", "allowed"),
    [(OPEN, OTHER, "*"), (LIST, LISTED, LISTED), (LIST, OTHER, "*"), (CLOSED, READER, READER), (CLOSED, OTHER, None)],
)
def test_who_may_read_is_told_before(app_where, url, rest, origin, allowed):
    fields = {"Origin": origin, "Access-Control-Request-Method": "GET"}

    response = app_where(rest).options(url, headers=fields)

    assert response.status_int == 204
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert response.headers.get(ORIGIN) == allowed
    assert response.headers.get("Access-Control-Allow-Methods") == ("GET, HEAD, OPTIONS" if allowed else None)
    assert response.headers.get(CREDENTIALS) == ("true" if origin == LISTED else None)


def test_a_page_may_read_why_it_was_refused(app_where):
    response = app_where(OPEN).get("/v1/authorizations", headers={"Origin": OTHER}, status="*")

    assert (response.status_int, response.headers[ORIGIN]) == (401, "*")
    assert "WWW-Authenticate" in response.headers["Access-Control-Expose-Headers"]


def test_and_what_its_token_lets_it_do(app_where):
    response = app_where(LIST).get("/v1/authorizations", headers={"Origin": LISTED, **bearer("ann")})

    assert (response.status_int, response.headers[CREDENTIALS]) == (200, "true")
