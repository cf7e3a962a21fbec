# SPDX-License-Identifier: Apache-2.0
"""The parameters of a URL, taken for exactly what a `Query` declares. Each fault is a 400 that names the parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from wsme.types import Enum, isarray, isusertype, list_attributes, registry

from zuul.web.errors import BadRequest
from zuul.web.resources.base import Query

AnyQuery = TypeVar("AnyQuery", bound=Query)

MAX_DIGITS = 19


def names_in(of: type[Query]) -> list[str]:
    """The parameters that it declares."""
    return [attribute.name for attribute in list_attributes(of)]


def read(of: type[AnyQuery], given: Iterable[tuple[str, str]]) -> AnyQuery:
    """What the parameters ask for. All of them are declared.

    :raises BadRequest: a value is malformed or out of range, or given twice where one is possible.
    """
    values: dict[str, list[str]] = {}
    for name, text in given:
        values.setdefault(name, []).append(text)
    found: dict[str, Any] = {}
    for attribute in list_attributes(of):
        datatype = registry.resolve_type(attribute.datatype)
        texts = values.get(attribute.name)
        if texts is None:
            continue
        if isarray(datatype):
            of_one = registry.resolve_type(datatype.item_type)
            found[attribute.key] = [_value(attribute.name, of_one, text) for text in texts]
        elif len(texts) > 1:
            raise BadRequest(f"query parameter given more than once: {attribute.name}")
        else:
            found[attribute.key] = _value(attribute.name, datatype, texts[0])
    return of.asking(**found)


def _value(name: str, datatype: Any, text: str) -> Any:
    if isinstance(datatype, Enum) and text not in datatype.values:
        raise BadRequest(f"{name} is one of {', '.join(sorted(datatype.values))}")
    try:
        if hasattr(datatype, "of_text"):
            return datatype.of_text(text)
        basetype = datatype.basetype if isusertype(datatype) else datatype
        if basetype is int:
            value: Any = _number(text)
        else:
            value = text
        return datatype.validate(value) if isusertype(datatype) else value
    except ValueError as error:
        meaning = getattr(datatype, "meaning", "a whole number")
        raise BadRequest(f"{name} is {meaning}") from error


def _number(text: str) -> int:
    if not re.fullmatch(f"-?[0-9]{{1,{MAX_DIGITS}}}", text):
        raise ValueError
    return int(text)
