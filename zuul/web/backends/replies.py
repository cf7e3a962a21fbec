# SPDX-License-Identifier: Apache-2.0
"""Replies of the scheduler that are kept for a moment, and fetched once for all who wait for them.

The scheduler's RPC is one thread and answers about 23 small calls a second, so what many ask at the
same time is asked once. Nothing in its protocol tells when a configuration changed (see
doc/decisions/0002-freshness-of-reads.md), so a reply is fresh for `FRESH_SECONDS` and no longer.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import json
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cachetools

from zuul.web.errors import BadReply, NotFound

log = logging.getLogger("zuul.web.scheduler")

FRESH_SECONDS = 1.0
"""As long as upstream keeps a status."""


@contextlib.contextmanager
def as_declared() -> Iterator[None]:
    """Around what takes decoded data of the scheduler's to be as its type declares it.

    :raises BadReply: something went wrong in there, so it is not.
    """
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:  # the last: WSME's own, and depth
        log.warning("the scheduler's answer is not as declared", exc_info=error)
        raise BadReply("the scheduler's answer is not of the shape that it should have") from error


class Reply:
    """Bytes for the client, with the validator and the compressed form that belong to them.

    :param fresh_until: for how long they may be sent again without asking, in monotonic seconds; None: not at all.
    """

    def __init__(self, body: bytes, fresh_until: float | None = None) -> None:
        self.body = body
        self.fresh_until = fresh_until

    @cached_property
    def etag(self) -> str:
        """A strong entity tag, without its quotes."""
        return hashlib.blake2b(self.body, digest_size=16).hexdigest()

    @cached_property
    def gzipped(self) -> bytes:
        return gzip.compress(self.body, 6, mtime=0)

    @cached_property
    def data(self) -> Any:
        """What the bytes say as JSON. Shared by all who read it, so never changed."""
        return json.loads(self.body)

    def entry(self, key: str, value: str, otherwise: str) -> Document:
        """The entry of a JSON list that has this value at a key.

        :raises NotFound: there is none, in the words of `otherwise`.
        """
        with as_declared():
            for entry in self.data:
                if entry.get(key) == value:
                    return Document.of(entry, f"{self.etag} {value}", self.fresh_until)
        raise NotFound(otherwise)


class Document:
    """Decoded JSON that has no bytes of its own yet. Never changed once it is made.

    :param make: gives the data, which nobody needs where the version has been rendered before.
    :param version: what tells this content from another; None: it is to be rendered each time.
    :param fresh_until: as of a `Reply`.
    """

    def __init__(self, make: Callable[[], Any], version: str | None = None, fresh_until: float | None = None) -> None:
        self._make = make
        self.version = version
        self.fresh_until = fresh_until

    @classmethod
    def of(cls, data: Any, version: str | None = None, fresh_until: float | None = None) -> Document:
        """Where the data is there already."""
        return cls(lambda: data, version, fresh_until)

    @cached_property
    def data(self) -> Any:
        return self._make()


class Known(Document):
    """What we know without asking anybody, as somebody tells us of changes.

    :param as_of: the last moment at which all of it was certainly so, in monotonic seconds.
    """

    def __init__(self, make: Callable[[], Any], version: str, as_of: float) -> None:
        super().__init__(make, version)
        self.as_of = as_of


@dataclass(frozen=True)
class Listing:
    """Rows that a backend has chosen, sorted and cut to a page by itself.

    :param following: the parameters that lead to the next page, in place of those of the same names; those that are
        None fall away. None: this is the last page.
    :param total: how many rows there are on all pages, where that is known.
    """

    rows: list[dict[str, Any]]
    limit: int
    offset: int | None = None
    marker: str | None = None
    following: dict[str, str | None] | None = None
    total: int | None = None


def _size(entry: tuple[float, Reply | NotFound]) -> int:
    """About the bytes that an entry takes: the body, compressed too, and the names in its key and message."""
    kept = entry[1]
    return 16_384 + (2 * len(kept.body) if isinstance(kept, Reply) else 0)


class Replies:
    """A cache bounded in bytes. Safe for threads: one lock guards the kept replies and the flights."""

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: cachetools.TTLCache[Hashable, tuple[float, Reply | NotFound]]
        self._kept = cachetools.TTLCache(max_bytes, FRESH_SECONDS, timer=clock, getsizeof=_size)
        self._flights: dict[Hashable, tuple[int, Future[Reply]]] = {}
        self._numbers = itertools.count()

    def get(self, key: Hashable, fetch: Callable[[], bytes], *, fresh_seconds: float = FRESH_SECONDS) -> Reply:
        """The reply to `fetch`, perhaps one that somebody else got less than `fresh_seconds` ago.

        With 0 seconds the fetch has certainly begun after this call: whoever comes while one is under
        way waits for the next, which all of them share.
        """
        mine: Future[Reply] = Future()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and self._clock() - kept[0] < fresh_seconds:
                if isinstance(kept[1], Reply):
                    return kept[1]
                raise NotFound(kept[1].message)
            flight = self._flights.setdefault(key, (next(self._numbers), mine))
        number, under_way = flight
        if under_way is not mine:
            if fresh_seconds > 0:
                return under_way.result()
            under_way.exception()  # only waits; what it brought began before we asked
            return self.get((key, "after", number), fetch)
        began = self._clock()
        try:
            reply = Reply(fetch(), began + fresh_seconds if fresh_seconds > 0 else None)
        except BaseException as error:
            # That something does not exist is a reply too, and as good for a second.
            nothing = isinstance(error, NotFound) and fresh_seconds > 0
            self._land(key, (began, NotFound(str(error))) if nothing else None)
            mine.set_exception(error)
            raise
        self._land(key, (began, reply) if fresh_seconds > 0 else None)
        mine.set_result(reply)
        return reply

    def _land(self, key: Hashable, keep: tuple[float, Reply | NotFound] | None) -> None:
        with self._lock:
            if keep is not None:
                with contextlib.suppress(ValueError):  # larger than the whole cache: only not kept
                    self._kept[key] = keep
            del self._flights[key]
