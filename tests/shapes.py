# SPDX-License-Identifier: Apache-2.0
"""Compare JSON as somebody sent it with the type in `zuul.web.resources` that describes it."""

from __future__ import annotations

from typing import Any

from wsme.types import isarray, iscomplex, isdict, isusertype, list_attributes, registry


def undeclared(datatype: Any, data: Any) -> list[str]:
    """Everything in which `data` differs from its type, one sentence each; empty if it agrees.

    :param datatype: a Resource or any other WSME type, for instance `[Tenant]`.
    :param data: what `json.loads` gave.
    """
    return _compare("", registry.resolve_type(datatype), data)


def _compare(place: str, datatype: Any, data: Any) -> list[str]:
    if iscomplex(datatype):
        return _compare_object(place, datatype, data)
    if isarray(datatype):
        if not isinstance(data, list):
            return [_unexpected(place, "a list", data)]
        items = enumerate(data)
        return [wrong for i, item in items for wrong in _compare(f"{place}[{i}]", datatype.item_type, item)]
    if isdict(datatype):
        if not isinstance(data, dict):
            return [_unexpected(place, "an object", data)]
        items = data.items()
        return [wrong for key, value in items for wrong in _compare(f"{place}.{key}", datatype.value_type, value)]
    return _compare_value(place, datatype, data)


def _compare_object(place: str, datatype: Any, data: Any) -> list[str]:
    if not isinstance(data, dict):
        return [_unexpected(place, datatype.__name__, data)]
    keys = {key.name: key for key in list_attributes(datatype)}
    wrong = [f"{place}.{name} is not declared" for name in data if name not in keys]
    for name, key in keys.items():
        if name not in data:
            if key.mandatory:
                wrong.append(f"{place}.{name} is missing")
        elif data[name] is not None:
            wrong += _compare(f"{place}.{name}", key.datatype, data[name])
        elif not key.null:
            wrong.append(f"{place}.{name} is null")
    declared = [name for name in keys if name in data]
    if declared != [name for name in data if name in keys]:
        wrong.append(f"{place or datatype.__name__} has its keys in another order: {', '.join(data)}")
    return wrong


def _compare_value(place: str, datatype: Any, data: Any) -> list[str]:
    basetype = datatype.basetype if isusertype(datatype) else datatype
    # In JSON a whole number is a float too; in Python, though not in JSON, a bool is an int.
    allowed = (int, float) if basetype is float else basetype
    if not isinstance(data, allowed) or (isinstance(data, bool) and basetype is not bool):
        return [_unexpected(place, basetype.__name__, data)]
    if isusertype(datatype):
        try:
            datatype.validate(data)
        except ValueError as error:
            return [f"{place} is {data!r}: {error}"]
    return []


def _unexpected(place: str, expected: str, data: Any) -> str:
    return f"{place or 'the whole'} is {data!r:.80}, not {expected}"
