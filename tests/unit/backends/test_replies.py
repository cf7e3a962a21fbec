# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import gzip
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from zuul.web.backends.replies import Replies, Reply
from zuul.web.errors import NotFound, Unavailable

PATIENCE_SECONDS = 20


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Source:
    """Fetches, each of which may be held until the test lets it go."""

    def __init__(self, *, held=False):
        self.begun = []
        self.began = threading.Semaphore(0)
        self._held = held
        self._gate = threading.Semaphore(0)
        self._lock = threading.Lock()

    def __call__(self):
        with self._lock:
            self.begun.append(None)
            number = len(self.begun)
        self.began.release()
        if self._held:
            assert self._gate.acquire(timeout=PATIENCE_SECONDS)
        return b"%d" % number

    def wait_until_begun(self):
        assert self.began.acquire(timeout=PATIENCE_SECONDS)

    def let_go(self, count=1):
        self._gate.release(count)


class Waiting(Replies):
    """Tells how many have come in, so that a test knows when all of them wait."""

    def __init__(self, max_bytes, clock):
        super().__init__(max_bytes, clock)
        self.entered = threading.Semaphore(0)
        self._lock = _CountingLock(self._lock, self.entered)


class _CountingLock:
    """A lock that counts how often it has been left."""

    def __init__(self, lock, left):
        self._inner = lock
        self._left = left

    def __enter__(self):
        self._inner.acquire()

    def __exit__(self, *error):
        self._inner.release()
        self._left.release()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def replies(clock):
    return Waiting(100_000, clock)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(64) as pool:
        yield pool


def bodies(futures):
    return [future.result(PATIENCE_SECONDS).body for future in futures]


def all_entered(replies, count):
    for _ in range(count):
        assert replies.entered.acquire(timeout=PATIENCE_SECONDS)


def test_a_reply_is_fresh_for_a_second(replies, clock):
    source = Source()
    first = replies.get("key", source)
    clock.now += 0.99

    assert replies.get("key", source) is first
    clock.now += 0.01
    assert replies.get("key", source).body == b"2"


def test_age_counts_from_when_it_was_asked_for(replies, clock):
    def slow():
        clock.now += 5
        return b"old already"

    replies.get("key", slow)

    assert replies.get("key", Source()).body == b"1"


def test_keys_are_apart(replies):
    assert replies.get("a", lambda: b"a").body == b"a"
    assert replies.get("b", lambda: b"b").body == b"b"


def test_all_who_wait_share_one_flight(replies, pool):
    source = Source(held=True)
    futures = [pool.submit(replies.get, "key", source) for _ in range(50)]
    all_entered(replies, 50)
    source.let_go()

    assert set(bodies(futures)) == {b"1"}
    assert len(source.begun) == 1


def test_a_slow_key_does_not_delay_another(replies, pool):
    source = Source(held=True)
    slow = pool.submit(replies.get, "slow", source)
    source.wait_until_begun()

    assert replies.get("quick", lambda: b"quick").body == b"quick"
    source.let_go()
    assert bodies([slow]) == [b"1"]


def test_an_error_is_everybodys_who_waited_and_then_forgotten(replies, pool):
    source = Source(held=True)

    def fail():
        source()
        raise Unavailable("nobody is there")

    futures = [pool.submit(replies.get, "key", fail) for _ in range(10)]
    all_entered(replies, 10)
    source.let_go()

    for future in futures:
        with pytest.raises(Unavailable, match="nobody is there"):
            future.result(PATIENCE_SECONDS)
    assert len(source.begun) == 1
    assert replies.get("key", lambda: b"back").body == b"back"


def test_that_something_does_not_exist_is_known_for_a_second_and_then_asked_again(replies, clock):
    source = Source()

    def nothing():
        source()
        raise NotFound("there is no such job")

    for _ in range(3):
        with pytest.raises(NotFound, match="there is no such job"):
            replies.get("key", nothing)
    assert len(source.begun) == 1
    clock.now += 1.0
    assert replies.get("key", lambda: b"made meanwhile").body == b"made meanwhile"


def test_with_zero_freshness_what_does_not_exist_is_asked_each_time(replies):
    def nothing():
        raise NotFound("there is no such hold")

    with pytest.raises(NotFound):
        replies.get("key", nothing, fresh_seconds=0)
    assert replies.get("key", lambda: b"made meanwhile", fresh_seconds=0).body == b"made meanwhile"


def test_with_zero_freshness_each_gets_a_new_reply(replies):
    source = Source()

    assert [replies.get("key", source, fresh_seconds=0).body for _ in range(3)] == [b"1", b"2", b"3"]


def test_with_zero_freshness_a_flight_that_had_begun_is_not_shared(replies, pool):
    source = Source(held=True)
    early = pool.submit(replies.get, "key", source, fresh_seconds=0)
    source.wait_until_begun()
    all_entered(replies, 1)
    late = [pool.submit(replies.get, "key", source, fresh_seconds=0) for _ in range(20)]
    all_entered(replies, 20)
    source.let_go(2)

    assert bodies([early]) == [b"1"]
    assert set(bodies(late)) == {b"2"}
    assert len(source.begun) == 2


def test_with_zero_freshness_an_earlier_failure_is_not_ours(replies, pool):
    source = Source(held=True)

    def fail():
        source()
        raise Unavailable("nobody is there")

    early = pool.submit(replies.get, "key", fail, fresh_seconds=0)
    source.wait_until_begun()
    all_entered(replies, 1)
    late = pool.submit(replies.get, "key", lambda: b"back", fresh_seconds=0)
    all_entered(replies, 1)
    source.let_go()

    assert isinstance(early.exception(PATIENCE_SECONDS), Unavailable)
    assert bodies([late]) == [b"back"]


def test_the_least_recently_used_replies_are_dropped(clock):
    replies = Replies(1_000_000, clock)
    source = Source()
    replies.get("used", source)
    for number in range(400):
        replies.get(number, lambda: b"x" * 1000)
        replies.get("used", source)

    assert len(source.begun) == 1
    assert replies.get(0, lambda: b"anew").body == b"anew"


def test_the_bound_counts_bytes(clock):
    replies = Replies(1_000_000, clock)
    source = Source()
    for number in range(10):
        replies.get(number, source)
    replies.get("large", lambda: b"x" * 490_000)

    assert replies.get(9, source).body == b"11"


def test_a_reply_larger_than_all_is_given_but_not_kept(clock):
    replies = Replies(100_000, clock)

    assert replies.get("key", lambda: b"x" * 200_000).body == b"x" * 200_000
    assert replies.get("key", lambda: b"small").body == b"small"


def test_the_entity_tag_is_of_the_bytes():
    assert Reply(b"same").etag == Reply(b"same").etag
    assert Reply(b"same").etag != Reply(b"other").etag
    assert Reply(b"same").etag.isalnum()


def test_compression_is_done_once_and_has_no_time_in_it():
    reply = Reply(b"x" * 5000)

    assert gzip.decompress(reply.gzipped) == reply.body
    assert reply.gzipped is reply.gzipped
    assert reply.gzipped == Reply(reply.body).gzipped
