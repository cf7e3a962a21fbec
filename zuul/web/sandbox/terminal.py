# SPDX-License-Identifier: Apache-2.0
"""What a terminal shows: pieces of output with the pauses before them, colours, progress bars."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import NamedTuple

BAR_WIDTH = 30


class Piece(NamedTuple):
    """A line, or with a carriage return as its end one that the next one overwrites."""

    text: str
    pause: float = 1.0
    """How long it takes until it comes, relative to the others."""
    end: str = "\n"


def bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m"


def dim(text: str) -> str:
    return f"\x1b[2m{text}\x1b[0m"


def red(text: str) -> str:
    return f"\x1b[31m{text}\x1b[0m"


def green(text: str) -> str:
    return f"\x1b[32m{text}\x1b[0m"


def yellow(text: str) -> str:
    return f"\x1b[33m{text}\x1b[0m"


def blue(text: str) -> str:
    return f"\x1b[34m{text}\x1b[0m"


def magenta(text: str) -> str:
    return f"\x1b[35m{text}\x1b[0m"


def cyan(text: str) -> str:
    return f"\x1b[36m{text}\x1b[0m"


def burst(*lines: str) -> Iterator[Piece]:
    """Lines that come at once."""
    for number, line in enumerate(lines):
        yield Piece(line, 0.02 if number else 0.6)


def progress(rng: Random, label: str, megabytes: float, steps: int = 6) -> Iterator[Piece]:
    """A bar that fills up in place. All of its states are equally long, so that nothing of one stays behind."""
    speed = rng.uniform(4, 60)
    for step in range(1, steps + 1):
        done = BAR_WIDTH * step // steps
        bar = green("━" * done) + dim("━" * (BAR_WIDTH - done))
        size = f"{megabytes * step / steps:6.1f}/{megabytes:.1f} MB"
        speed *= rng.uniform(0.9, 1.1)
        yield Piece(f"{label} {bar} {size} {cyan(f'{speed:5.1f} MB/s')}", 0.5, "\n" if step == steps else "\r")
