# SPDX-License-Identifier: Apache-2.0
"""Whose pages may act."""

from __future__ import annotations

import pytest

from zuul.web.filters import CorsFilter
from zuul.web.origins import Origins
from zuul.web.settings import Rest

LISTED, OTHER = "https://zuul.example.com", "https://other.example.com"
ALL = "GET, HEAD, OPTIONS, POST"


def origins(*allowed, readers=("*",)):
    return Origins(Rest(allowed_origins=allowed or None, read_origins=readers))


def answer(origins, method, origin, fields=()):
    """The header fields of an application's answer behind the filter."""

    def application(environ, start_response):
        start_response("200 OK", [("Allow", ALL), *fields])
        return []

    found = []
    environ = {"REQUEST_METHOD": method, **({"HTTP_ORIGIN": origin} if origin else {})}
    CorsFilter(application, origins)(environ, lambda status, headers, exc_info=None: found.extend(headers))
    return dict(found)


@pytest.mark.parametrize(
    ("policy", "origin", "allowed", "methods"),
    [
        (origins(), OTHER, "*", "GET, HEAD, OPTIONS"),
        (origins(LISTED), OTHER, "*", "GET, HEAD, OPTIONS"),
        (origins(LISTED), LISTED, LISTED, ALL),
        (origins(LISTED), LISTED.upper(), LISTED.upper(), ALL),
        (origins("*"), OTHER, "*", ALL),
        (origins(LISTED, "*"), LISTED, LISTED, ALL),
        (origins(LISTED, readers=(OTHER,)), OTHER, OTHER, "GET, HEAD, OPTIONS"),
        (origins(LISTED, readers=(LISTED,)), OTHER, None, None),
    ],
)
def test_a_page_is_told_what_it_may_do(policy, origin, allowed, methods):
    fields = answer(policy, "OPTIONS", origin, [("Access-Control-Allow-Methods", ALL)])

    assert fields.get("Access-Control-Allow-Origin") == allowed
    assert fields.get("Access-Control-Allow-Methods") == methods
    assert fields["Allow"] == ALL


@pytest.mark.parametrize(
    ("policy", "origin", "allowed"),
    [
        (origins(), OTHER, None),
        (origins(), None, None),
        (origins(LISTED), OTHER, None),
        (origins(LISTED), LISTED, LISTED),
        (origins("*"), OTHER, "*"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
def test_what_was_done_is_told_to_pages_that_may_act(policy, origin, allowed, method):
    assert answer(policy, method, origin).get("Access-Control-Allow-Origin") == allowed


def test_cookies_go_along_for_listed_origins_alone():
    for origin in (LISTED, OTHER):
        fields = answer(origins(LISTED, "*"), "GET", origin)
        assert fields.get("Access-Control-Allow-Credentials") == ("true" if origin == LISTED else None)
