# SPDX-License-Identifier: Apache-2.0
"""Answers that were made of the same content before, kept by what they were made of.

A page of a collection, or a status with few attributes, costs milliseconds to make and is the same until its source
changes. Its key has the version of the source, so nothing here is ever out of date: it is only dropped, the least
recently used first.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future

import cachetools

from zuul.web.backends.replies import Reply

MAX_BYTES = 64 << 20

Headers = list[tuple[str, str]]


class Rendering:
    """A body with its validator and compressed form, and the header fields that tell of the rest of a collection."""

    def __init__(self, reply: Reply, headers: Headers) -> None:
        self.reply = reply
        self.headers = headers


def _size(kept: Rendering) -> int:
    """About the bytes that it takes: the body, compressed too, and the query that Link repeats."""
    return 4096 + 2 * len(kept.reply.body) + sum(len(value) for _, value in kept.headers)


class Renderings:
    """Safe for threads: one lock guards what is kept and what is being made, and is held for moments only."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._lock = threading.Lock()
        self._kept: cachetools.LRUCache[Hashable, Rendering]
        self._kept = cachetools.LRUCache(max_bytes, getsizeof=_size)
        self._being_made: dict[Hashable, Future[Rendering]] = {}

    def get(self, key: Hashable, make: Callable[[], Rendering]) -> Rendering:
        """The rendering of this key, made once for all who ask for it at the same time."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                return kept
            mine: Future[Rendering] = Future()
            awaited = self._being_made.setdefault(key, mine)
        if awaited is not mine:
            return awaited.result()
        try:
            made = make()
        except BaseException as error:
            self._done(key)
            mine.set_exception(error)
            raise
        self._done(key, made)
        mine.set_result(made)
        return made

    def _done(self, key: Hashable, made: Rendering | None = None) -> None:
        with self._lock:
            del self._being_made[key]
            if made is not None:
                with contextlib.suppress(ValueError):  # larger than all that may be kept
                    self._kept[key] = made
