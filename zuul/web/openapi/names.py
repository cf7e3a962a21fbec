# SPDX-License-Identifier: Apache-2.0
"""Names of operations, of which generators of clients make functions: `list_jobs`, `get_tenant`.

A name is made of the last words of a URL, and of as many before them as it takes to tell it from others:
`get_info`, `get_tenant_info`. What stands before somebody's name is in the singular. An array at such a place is named
by its rows too: `list_job_variants` is what one job has. Where only a name at the very beginning tells two apart, what
it is of goes before: `get_console_stream`, `get_tenant_console_stream`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from wsme.types import isarray, registry

from zuul.web.urls import Route


class _Step(NamedTuple):
    """Some words of a URL, and the variable that follows them, if one does."""

    words: list[str]
    variable: str = ""

    def __str__(self) -> str:
        if self.variable:
            return "_".join([*self.words[:-1], _singular(self.words[-1])])
        return "_".join(self.words)

    def with_words(self) -> _Step:
        """The same, by what the name is of where nothing stands before it."""
        return self if any(self.words) else _Step([self.variable], self.variable)


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
            break
        lengths = longer
    return [
        name if often[name] == 1 else _name(route.method, [step.with_words() for step in of_route], datatype)
        for name, (route, datatype), of_route in zip(names, found, steps, strict=True)
    ]


def _steps(template: str) -> list[_Step]:
    steps: list[_Step] = []
    words: list[str] = []
    for segment in template.split("/")[1:]:
        variable = re.fullmatch(r"{(\w+)}(.*)", segment)
        if variable is None:
            words.append(_word(segment))
        else:
            steps.append(_Step(words or [_word(variable[2])], variable[1]))
            words = []
    return [*steps, _Step(words)] if words else steps


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text).strip("_")


def _singular(word: str) -> str:
    return word.removesuffix("s")


def _name(method: str, steps: list[_Step], datatype: Any) -> str:
    words = "_".join(filter(None, map(str, steps)))
    is_array = isarray(datatype)
    verb = method.lower() if method != "GET" else "list" if is_array else "get"
    if is_array and (not steps or steps[-1].variable):
        before, _, last = words.rpartition("_")
        rows = _rows(datatype)
        words = "_".join(filter(None, [before if last and rows.startswith(last) else words, rows]))
    return f"{verb}_{words or 'index'}"


def _rows(datatype: Any) -> str:
    name = registry.resolve_type(datatype.item_type).__name__
    return re.sub("(?<=[a-z])(?=[A-Z])", "_", name).lower() + "s"
