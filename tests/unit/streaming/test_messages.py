# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest

from zuul.web.streaming.forms import as_chunk, as_frame
from zuul.web.streaming.messages import FIRST, Lost, Message, Piece, Window, rfc3339

EPOCH = "0a1b2c3d"


def message(sequence, **members):
    return Message.of({"type": "item_left", **members}, EPOCH, sequence, "2020-09-13T12:26:40.000Z")


def window(seconds=10, count=0, **bounds):
    made = Window(EPOCH, seconds, **bounds)
    if count:
        made.append([message(FIRST + 1 + n) for n in range(count)], 0)
    return made


def sequences(messages):
    return [one.sequence for one in messages]


def test_a_message_is_one_line_of_json():
    made = message(7, item={"id": "a\nb"})

    assert json.loads(made.text) == {
        "type": "item_left",
        "id": f"{EPOCH}-7",
        "time": "2020-09-13T12:26:40.000Z",
        "item": {"id": "a\nb"},
    }
    assert b"\n" not in made.text


def test_a_piece_has_each_form_once():
    one, other = message(7), message(8)
    piece = Piece((one, other))

    events = [b"event: item_left\nid: %s\ndata: %s\n\n" % (m.id.encode(), m.text) for m in piece]
    assert piece.event == b"".join(events)
    assert piece.event_chunk == as_chunk(piece.event)
    assert piece.frame == as_frame(one.text) + as_frame(other.text)
    assert piece.event is piece.event and piece.frame is piece.frame and piece.event_chunk is piece.event_chunk


def test_a_piece_is_what_goes_out_at_once():
    kept = window(count=3)
    kept.append([message(n, filling="x" * size) for n, size in ((5, 60_000), (6, 60_000), (7, 10), (8, 90_000))], 1)

    pieces, position = [], FIRST
    while piece := kept.after(position):
        pieces.append(sequences(piece))
        position = piece[-1].sequence
    assert pieces == [[2, 3, 4, 5], [6, 7], [8]]


def test_pieces_of_many_positions_are_not_all_kept():
    kept = window(count=1000)
    first = kept.after(FIRST)
    for position in range(2, 900):
        assert kept.after(position)[0].sequence == position + 1

    assert kept.after(FIRST) == first
    assert kept.after(FIRST) is not first


def test_time_is_utc_with_milliseconds():
    assert rfc3339(1_600_000_000.0) == "2020-09-13T12:26:40.000Z"
    assert rfc3339(1_600_000_000.1239) == "2020-09-13T12:26:40.123Z"


def test_what_came_after_a_sequence():
    kept = window(count=3)

    assert sequences(kept.after(FIRST)) == [2, 3, 4]
    assert sequences(kept.after(3)) == [4]
    assert sequences(kept.after(4)) == []
    assert kept.after(FIRST) is kept.after(FIRST)


def test_a_window_without_messages():
    assert window().after(FIRST) == ()


def test_what_was_read_is_not_given_again_instead_of_what_came():
    kept = window(count=1)
    assert sequences(kept.after(2)) == []
    kept.append([message(3)], 0)

    assert sequences(kept.after(2)) == [3]
    assert sequences(kept.after(3)) == []


def test_messages_are_dropped_by_age():
    kept = window(seconds=10, count=2)
    kept.append([message(4)], 6)

    kept.forget(10)
    assert sequences(kept.after(FIRST)) == [2, 3, 4]
    kept.forget(10.1)
    assert sequences(kept.after(3)) == [4]
    with pytest.raises(Lost):
        kept.after(2)
    kept.forget(100)
    assert kept.after(4) == ()
    with pytest.raises(Lost):
        kept.after(3)


def test_messages_are_dropped_by_count_and_by_bytes():
    size = len(message(2).text)
    for kept in window(count=5, most_messages=2), window(count=5, most_bytes=2 * size):
        assert sequences(kept.after(4)) == [5, 6]
        with pytest.raises(Lost):
            kept.after(3)
        kept.forget(100)
        kept.append([message(7)], 100)
        assert sequences(kept.after(6)) == [7]


def test_a_message_that_is_larger_than_the_window_is_lost_to_all():
    kept = window(count=2, most_bytes=10)

    assert kept.after(3) == ()
    with pytest.raises(Lost):
        kept.after(2)


@pytest.mark.parametrize("sequence", [0, 5, 10**17])
def test_a_sequence_that_was_never_given_out(sequence):
    with pytest.raises(Lost):
        window(count=3).after(sequence)


def test_ids():
    assert window().sequence_of(f"{EPOCH}-12") == 12


@pytest.mark.parametrize(
    "id_",
    ["", "12", EPOCH, f"{EPOCH}-", f"{EPOCH}-x", f"{EPOCH}--1", f"{EPOCH}-1\n", f"ffff-{1}", "\u0663-1", "x" * 9999],
)
def test_what_is_no_id_of_this_feed(id_):
    with pytest.raises(Lost):
        window().sequence_of(id_)
