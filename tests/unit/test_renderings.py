# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading

import pytest

from zuul.web.backends.replies import Reply
from zuul.web.errors import BadReply
from zuul.web.renderings import Rendering, Renderings

WAIT_SECONDS = 10


def rendering(size=0, headers=()):
    return Rendering(Reply(b"x" * size), list(headers))


class Counting:
    """Makes renderings, and counts how many."""

    def __init__(self, size=0, headers=()):
        self.made = 0
        self.size = size
        self.headers = headers

    def __call__(self):
        self.made += 1
        return rendering(self.size, self.headers)


class Held:
    """Makes a rendering, or fails, when it is let go."""

    def __init__(self, error=None):
        self.made = 0
        self.error = error
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self):
        self.made += 1
        self.begun.set()
        assert self.go.wait(WAIT_SECONDS)
        if self.error:
            raise self.error
        return rendering()


class Asking(threading.Thread):
    """Somebody who asks for a rendering, and what came of it."""

    def __init__(self, renderings, key, make):
        super().__init__(daemon=True)
        self.renderings, self.key, self.make = renderings, key, make
        self.got = self.error = None
        self.start()

    def run(self):
        try:
            self.got = self.renderings.get(self.key, self.make)
        except Exception as error:
            self.error = error

    def outcome(self):
        self.join(WAIT_SECONDS)
        assert not self.is_alive()
        return self.got or self.error


def test_a_rendering_is_made_once_for_its_key():
    renderings, make = Renderings(), Counting()

    assert renderings.get("a", make) is renderings.get("a", make)
    assert renderings.get("b", make) is not renderings.get("a", make)
    assert make.made == 2


@pytest.mark.parametrize(
    "other",
    [("v", "other", "api", "", False), ("v", "x", "v1", "", False), ("w", "x", "api", "", False),
     ("v", "x", "api", "k", False), ("v", "x", "api", "", True)],
)  # fmt: skip
def test_each_part_of_a_key_counts(other):
    renderings, make = Renderings(), Counting()

    renderings.get(("v", "x", "api", "", False), make)
    renderings.get(other, make)

    assert make.made == 2


def test_all_who_ask_at_the_same_time_get_the_one_that_is_being_made():
    renderings, make = Renderings(), Held()
    first = Asking(renderings, "a", make)
    assert make.begun.wait(WAIT_SECONDS)
    others = [Asking(renderings, "a", make) for _ in range(8)]
    make.go.set()

    assert {id(asking.outcome()) for asking in [first, *others]} == {id(renderings.get("a", make))}
    assert make.made == 1


def test_nobody_waits_for_the_rendering_of_another_key():
    renderings, make = Renderings(), Held()
    first = Asking(renderings, "a", make)
    assert make.begun.wait(WAIT_SECONDS)

    assert renderings.get("b", Counting())

    make.go.set()
    assert first.outcome()


def test_all_who_wait_get_the_error():
    renderings, make = Renderings(), Held(BadReply("no"))
    first = Asking(renderings, "a", make)
    assert make.begun.wait(WAIT_SECONDS)
    other = Asking(renderings, "a", make)
    make.go.set()

    assert isinstance(first.outcome(), BadReply)
    assert isinstance(other.outcome(), BadReply)  # either it waited, or it came late and tried for itself


def test_an_error_is_not_kept():
    renderings = Renderings()

    def fail():
        raise BadReply("no")

    for _ in range(2):
        with pytest.raises(BadReply):
            renderings.get("a", fail)
    make = Counting()
    assert renderings.get("a", make) and make.made == 1


def test_the_least_recently_used_goes_first():
    renderings, make = Renderings(max_bytes=2 * (4096 + 2000)), Counting(size=1000)
    for key in ("a", "b", "a", "c", "a"):
        renderings.get(key, make)
    assert make.made == 3

    renderings.get("b", make)

    assert make.made == 4


def test_what_is_larger_than_all_is_given_and_not_kept():
    renderings, make = Renderings(max_bytes=10_000), Counting(size=10_000)

    assert len(renderings.get("a", make).reply.body) == 10_000
    renderings.get("a", make)

    assert make.made == 2


@pytest.mark.parametrize(
    "make", [Counting(size=2048), Counting(headers=[("Link", "x" * 4096)])], ids=["body", "header"]
)
def test_bodies_in_both_forms_and_header_fields_count(make):
    renderings = Renderings(max_bytes=8 * 8192)
    for _ in range(2):
        for key in range(8):
            renderings.get(key, make)
    assert make.made == 8

    renderings.get(8, make)
    renderings.get(0, make)

    assert make.made == 10
