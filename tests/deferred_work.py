# SPDX-License-Identifier: Apache-2.0
"""Threads of a pool, as far as the reactor sees them: work is done when the test says so, in any order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, execute


class DeferredWork:
    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, work, arguments))
        return done

    def run(self, index: int = 0) -> None:
        done, work, arguments = self.waiting.pop(index)
        execute(work, *arguments).chainDeferred(done)

    def run_all(self) -> None:
        while self.waiting:
            self.run()
