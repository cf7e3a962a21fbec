# SPDX-License-Identifier: Apache-2.0
"""Server-Sent Events as they are read: by the HTML standard, and the same for any cutting."""

from __future__ import annotations

import random

import pytest

from zuul.web.event_source import Event, EventParser


def events_of(stream: bytes) -> list[Event]:
    return EventParser().feed(stream)


def message(data, event_id=""):
    return Event("message", data, event_id)


@pytest.mark.parametrize(
    "stream, events",
    [
        (b"data: a\n\n", [message("a")]),
        (b"data:a\n\n", [message("a")]),
        (b"data:  a\n\n", [message(" a")]),
        (b"data: a\ndata: b\n\n", [message("a\nb")]),
        (b"data: a\ndata:\n\n", [message("a\n")]),
        (b"data\n\n", [message("")]),
        (b"data\ndata\n\n", [message("\n")]),
        (b"data: a: b\n\n", [message("a: b")]),
        (b"data: a\n", []),
        (b"data: a", []),
        (b"\n\n\n", []),
        (b": ping\n\n", []),
        (b"data: a\n: ping\ndata: b\n\n", [message("a\nb")]),
        (b"event: end\ndata: {}\n\ndata: a\n\n", [Event("end", "{}", ""), message("a")]),
        (b"event: end\n\ndata: a\n\n", [message("a")]),
        (b"event: x\nevent:\ndata: a\n\n", [message("a")]),
        (b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", [message("a", "1"), message("b", "1"), message("c")]),
        (b"id: 1\n\ndata: a\n\n", [message("a", "1")]),
        (b"id: 1\nid: 2\0\ndata: a\n\n", [message("a", "1")]),
        (b"unknown: x\n data: y\nData: z\ndata: a\n\n", [message("a")]),
        (b"data: a\r\rdata: b\r\r", [message("a"), message("b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [message("a"), message("b")]),
        (b"data: a\r\n\ndata: b\n\r", [message("a"), message("b")]),
        (b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n", [message("a")]),
        (b"data: \xef\xbb\xbfa\n\n", [message("\ufeffa")]),
        (b"data: \xff\xe2\x82\n\n", [message("\ufffd\ufffd")]),
        ("data: a\u2028b\x0bc\x85d\n\n".encode(), [message("a\u2028b\x0bc\x85d")]),
        (b"", []),
    ],
)
def test_a_stream_is_read_as_the_standard_has_it(stream, events):
    assert events_of(stream) == events


@pytest.mark.parametrize(
    "stream, seconds", [(b"", None), (b"retry: 1500\n", 1.5), (b"retry: -1\n", None), (b"retry: \xc2\xb2\n", None)]
)
def test_the_server_says_when_to_connect_again(stream, seconds):
    parser = EventParser()
    parser.feed(stream)

    assert parser.retry_seconds == seconds


@pytest.mark.parametrize("seed", range(200))
def test_the_same_events_come_for_any_cutting(seed):
    rng = random.Random(seed)
    words = ["data", ":", " ", "\n", "\r", "\r\n", "\n\n", "event: json", "id: ", "7", "ö", "€", "🙂", "\ufeff", "\0"]
    stream = "".join(rng.choices(words, k=300)).encode()
    damage = rng.randrange(len(stream))
    stream = (
        rng.choice([b"\xef\xbb\xbf", b""]) + stream[:damage] + rng.choice([b"", b"\xff", b"\xe2\x82"]) + stream[damage:]
    )
    whole = events_of(stream)
    parser = EventParser()
    found = []
    while stream:
        size = rng.choice([1, 1, 2, 3, 7, 50])
        found += parser.feed(stream[:size])
        stream = stream[size:]

    assert found == whole


def test_the_pieces_of_a_long_line_are_joined_once():
    parser = EventParser()
    parser.feed(b"data: ")
    for _ in range(20_000):
        parser.feed(b"x" * 100)

    assert [len(event.data) for event in parser.feed(b"\n\n")] == [2_000_000]
