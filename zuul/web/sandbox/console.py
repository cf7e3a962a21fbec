# SPDX-License-Identifier: Apache-2.0
"""The log of a build: the same bytes for everybody who looks at the same moment, and nothing of it is stored.

It follows from the build alone, so it can be forgotten and made again: all that will ever be said, and when.
"""

from __future__ import annotations

import datetime
from array import array
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from weakref import WeakValueDictionary

from zuul.web.sandbox.playbooks import Playbooks
from zuul.web.sandbox.queues import Build
from zuul.web.sandbox.terminal import Piece

LINES_PER_SECOND = 1.1
MINIMUM_LINES = 10
MAXIMUM_LINES = 4000
"""About; 0.6 MB."""

KEPT = 32
"""How many logs are kept that nobody reads at the moment, or all do."""

BEFORE_SHARE, RUN_SHARE = 0.12, 0.8
"""Of the time of a build, what is before the run and the run itself; the rest is for collecting logs."""
LAST_MOMENT = 0.995
"""The share of its time in which a build says all it has to say."""


class Console:
    """All that a build will have said at its end."""

    def __init__(self, build: Build) -> None:
        self._text = bytearray()
        self._times = array("d")
        self._ends = array("L")
        ends = build.ends if build.pauses_at is None else build.pauses_at
        seconds = ends - build.starts
        lines = int(min(max(seconds * LINES_PER_SECOND, MINIMUM_LINES), MAXIMUM_LINES))
        playbooks = Playbooks(build, lines)
        before, run = list(playbooks.before()), list(playbooks.run())
        if not run:  # it failed before
            self._spread(before, build.starts, ends)
            return
        run_starts = build.starts + BEFORE_SHARE * seconds
        run_ends = run_starts + (RUN_SHARE * seconds if build.pauses_at is None else ends - run_starts)
        self._spread(before, build.starts, run_starts)
        if build.pauses_at is None:
            self._spread(run, run_starts, run_ends)
            self._spread(playbooks.after(), run_ends, ends)
            return
        self._spread([*run, Piece(""), Piece("Job paused", 0)], run_starts, run_ends)
        if build.resumed_at is not None:
            resumed = [Piece("Job resumed", 0), Piece("", 0)]
            self._spread([*resumed, *playbooks.after()], build.resumed_at, build.ends)

    def until(self, moment: float) -> int:
        """How many bytes it had said at a moment."""
        count = bisect_right(self._times, moment)
        return self._ends[count - 1] if count else 0

    def part(self, start: int, end: int) -> bytes:
        return bytes(self._text[start:end])

    def text_until(self, moment: float) -> bytes:
        """All it had said at a moment."""
        return self.part(0, self.until(moment))

    def _spread(self, pieces: Iterable[Piece], starts: float, ends: float) -> None:
        """Say it in this time, with pauses in proportion."""
        pieces = list(pieces)
        pace = (ends - starts) * LAST_MOMENT / (sum(piece.pause for piece in pieces) or 1)
        moment = starts
        for piece in pieces:
            moment = min(moment + piece.pause * pace, ends)
            stamp = datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
            self._text += f"{stamp} | {piece.text}{piece.end}".encode()
            self._times.append(moment)
            self._ends.append(len(self._text))


class Consoles:
    """The consoles of builds, made when they are asked for. Whoever reads one keeps it; else the last are kept."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._all: WeakValueDictionary[tuple[str, float | None], Console] = WeakValueDictionary()
        self._last: OrderedDict[tuple[str, float | None], Console] = OrderedDict()

    def of(self, build: Build) -> Console:
        """The console of a build; one that has gone on after a pause has another, longer one."""
        assert build.uuid
        key = (build.uuid, build.resumed_at)
        with self._lock:
            console = self._all.get(key)
            if console is None:
                console = self._all[key] = Console(build)
            self._last[key] = console
            self._last.move_to_end(key)
            if len(self._last) > KEPT:
                self._last.popitem(last=False)
            return console
