# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from twisted.web.test.requesthelper import DummyChannel

from zuul.web.server import _Request


def test_a_field_of_a_request_may_be_any_bytes():
    request = _Request(DummyChannel(), False)
    request.requestHeaders.addRawHeader(b"X-Request-Id", b"\xff")
    assert request.getHeader("x-request-id") == "\xff"
    assert request.getHeader(b"x-request-id") == b"\xff"
    assert request.getHeader("accept") is None
