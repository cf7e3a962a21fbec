# SPDX-License-Identifier: Apache-2.0
"""Names of operations, of which generators of clients make functions: `list_jobs`, `get_tenant`.

A name is made of the last words of a URL, and of as many before them as it takes to tell it from others:
`get_info`, `get_tenant_info`. What stands before somebody's name is in the singular. An array at such a place is named
by its rows too: `list_job_variants` is what one job has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from wsme.types import isarray, registry

from zuul.web.urls import Route


class _Step(NamedTuple):
    """Some words of a URL, and whether somebody's name follows them."""

    words: list[str]
    named: bool

    def __str__(self) -> str:
        if self.named and self.words:
            return "_".join([*self.words[:-1], _singular(self.words[-1])])
        return "_".join(self.words)


def operation_ids(found: Sequence[tuple[Route, Any]]) -> list[str]:
    """A name for each route of a map, of which the type of the answer is known too."""
    steps = [_steps(route.template) for route, _ in found]
    lengths = [1] * len(found)
    while True:
        names = [
            _name(route.method, of_route[-length:], datatype)
            for (route, datatype), of_route, length in zip(found, steps, lengths, strict=True)
        ]
        often = Counter(names)
        longer = [
            length + (often[name] > 1 and length < len(of_route))
            for name, of_route, length in zip(names, steps, lengths, strict=True)
        ]
        if longer == lengths:
            return names
        lengths = longer


def _steps(template: str) -> list[_Step]:
    steps: list[_Step] = []
    words: list[str] = []
    for segment in template.split("/")[1:]:
        variable = re.fullmatch(r"{\w+}(.*)", segment)
        if variable is None:
            words.append(_word(segment))
        else:
            steps.append(_Step(words or [_word(variable[1])], True))
            words = []
    return [*steps, _Step(words, False)] if words else steps


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _name(method: str, steps: list[_Step], datatype: Any) -> str:
    words = "_".join(filter(None, map(str, steps)))
    is_array = isarray(datatype)
    verb = method.lower() if method != "GET" else "list" if is_array else "get"
    if is_array and (not steps or steps[-1].named):
        before, _, last = words.rpartition("_")
        rows = _rows(datatype)
        words = "_".join(filter(None, [before if last and rows.startswith(last) else words, rows]))
    return f"{verb}_{words or 'index'}"


def _rows(datatype: Any) -> str:
    name = registry.resolve_type(datatype.item_type).__name__
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() + "s"
