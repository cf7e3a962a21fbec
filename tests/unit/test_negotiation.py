# SPDX-License-Identifier: Apache-2.0
"""What the fields of a request say about the form of its answer."""

from __future__ import annotations

import time

import pytest

from zuul.web.negotiation import accepts_gzip, both_tags, holds, unchanged_since

EPOCH_DAY = 86400.0


@pytest.mark.parametrize(
    ("accept_encoding", "accepted"),
    [
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("br;q=1.0, gzip;q=0.8", True),
        ("gzip ; q=0.001", True),
        ("gzip;Q=1", True),
        ("*", True),
        ("identity, *;q=0.1", True),
        ("*;q=0, gzip", True),
        ("", False),
        ("identity", False),
        ("br, deflate", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("gzip;q=nonsense", False),
        ("gzip;q=nan", False),
        ("gzipped", False),
        (",;,", False),
    ],
)
def test_who_accepts_gzip(accept_encoding, accepted):
    assert accepts_gzip(accept_encoding) is accepted


@pytest.mark.parametrize(
    ("if_none_match", "held"),
    [
        ('"a"', True),
        ('"a-gzip"', True),
        ('W/"a"', True),
        ('"x", W/"a-gzip" ,"y"', True),
        ("*", True),
        ('"x", *', True),
        (None, False),
        ("", False),
        ("a", False),
        ('"A"', False),
        ('"a-gz"', False),
    ],
)
def test_a_client_that_holds_either_form_has_the_content(if_none_match, held):
    assert holds(if_none_match, *both_tags("a")) is held


@pytest.mark.parametrize(
    ("since", "unchanged"),
    [
        ("Fri, 02 Jan 1970 00:00:00 GMT", True),
        ("Fri Jan  2 00:00:00 1970", True),
        ("Friday, 02-Jan-70 00:00:00 GMT", True),
        ("Thu, 01 Jan 1970 23:59:59 GMT", False),
        ("Thu Jan  1 23:59:59 1970", False),
        ("", False),
        ("yesterday", False),
        ("Fri, 02 Jan 99999 00:00:00 GMT", False),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
def test_a_date_is_in_gmt_whatever_its_form_and_our_time_zone(monkeypatch, since, unchanged, zone):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert unchanged_since(since, EPOCH_DAY + 0.9) is unchanged
    finally:
        monkeypatch.undo()
        time.tzset()
