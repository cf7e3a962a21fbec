# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from zuul.web.streaming.forms import Text, as_event


def decoded(events: bytes) -> list[tuple[str, str, str]]:
    """Name, data and id of Server-Sent Events, by the rules of the HTML standard."""
    found = []
    name, data, identifier = "message", [], ""
    for line in events.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                found.append((name, "\n".join(data), identifier))
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            identifier = value
    return found


@pytest.mark.parametrize(
    "text", ["a", "a\n", "\n", "\n\n", "a\nb", " a\n  b\n", "data: x\n", ":\n", "ø 漢\n", "\u2028"]
)
def test_an_event_carries_the_text_as_it_is(text):
    (event,) = decoded(Text(text.encode(), 42).event)
    assert event == ("message", text, "42")


@pytest.mark.parametrize("text", ["a\rb", "\r\n", "\r", "10%\r20%\rø\n", '"\r\\'])
def test_a_carriage_return_goes_as_json(text):
    ((name, data, identifier),) = decoded(Text(text.encode(), 42).event)
    assert (name, json.loads(data), identifier) == ("json", text, "42")


def test_a_named_event():
    assert decoded(as_event("end", '{"code": 1000}')) == [("end", '{"code": 1000}', "")]
    assert decoded(as_event("state", "{}", "a-1")) == [("state", "{}", "a-1")]


@pytest.mark.parametrize(("size", "head"), [(1, 2), (125, 2), (126, 4), (65535, 4), (65536, 10)])
def test_a_frame_is_one_unmasked_text_message(size, head):
    frame = Text(b"x" * size, size).frame
    assert frame[0] == 0x81 and frame[1] < 128
    assert frame[head:] == b"x" * size


def test_chunks_tell_their_size():
    text = Text(b"x" * 26, 26)
    assert text.chunk == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert text.event_chunk == b"%x\r\n%b\r\n" % (len(text.event), text.event)
