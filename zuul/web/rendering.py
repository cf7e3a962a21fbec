# SPDX-License-Identifier: Apache-2.0
"""From decoded JSON and the type that declares it to the bytes of an answer, JSON or XML.

WSME makes an object of each row before it renders, which costs about a millisecond per ten rows. Here the type is
read once and becomes a few nested functions over plain dicts and lists; what they give is what WSME would give, and a
test holds them to it. Only what the type declares is sent, in its order.

A `Tree` says which attributes: name -> the tree of what is below it, None for all of that.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Optional
from xml.sax.saxutils import escape

from wsme.types import isarray, iscomplex, isdict, isusertype, list_attributes, registry

from zuul.web.errors import BadRequest
from zuul.web.resources.base import JsonObject, TimeType

Tree = Optional[dict[str, "Tree"]]  # noqa: UP045 -- a string has no |


def render_json(datatype: Any, data: Any, tree: Tree = None) -> bytes:
    """JSON of `data`, which is of the type but for attributes that it does not declare.

    :raises TypeError: there is something else where the type has an object or an array of them.
    """
    select = _selector(datatype, tree)
    return json.dumps(select(data) if select else data, separators=(",", ":")).encode()


def render_xml(datatype: Any, data: Any, tree: Tree = None) -> bytes:
    """XML as WSME writes it: an element per attribute in a `result`, `item` in arrays, `nil="true"` for null.

    Objects that have no declared attributes are JSON in their element.
    """
    return _element("result", _writer(datatype, tree), data).encode()


# -- which attributes


def attribute_paths(datatype: Any) -> Iterator[str]:
    """All that can be chosen of a type: `name`, `worker`, `worker.hostname` ... Arrays are looked through."""
    datatype = _of_one(datatype)
    if iscomplex(datatype):
        for attribute in list_attributes(datatype):
            yield attribute.name
            for path in attribute_paths(attribute.datatype):
                yield f"{attribute.name}.{path}"


def chosen(datatype: Any, fields: Iterable[str], omit: Iterable[str]) -> Tree:
    """The tree of the paths in `fields` (all, if there is none) without those in `omit`.

    :raises BadRequest: the type has no such attribute.
    """
    known = set(attribute_paths(datatype))
    for name, paths in (("fields", fields), ("omit", omit)):
        for path in paths:
            if path not in known:
                raise BadRequest(f'{name}: there is no attribute "{path}"')
    tree: Tree = {} if fields else None
    for path in sorted(fields):  # `worker` before `worker.name`, which adds nothing to it
        tree = _with(tree, path.split("."))
    for path in omit:
        tree = _without(_of_one(datatype), tree, path.split("."))
    return tree


def _with(tree: Tree, path: list[str]) -> Tree:
    if tree is None or not path:
        return None
    name, *rest = path
    return {**tree, name: _with(tree.get(name, {}), rest)}


def _without(datatype: Any, tree: Tree, path: list[str]) -> Tree:
    types = {attribute.name: attribute.datatype for attribute in list_attributes(datatype)}
    kept: dict[str, Tree] = dict.fromkeys(types) if tree is None else dict(tree)
    name, *rest = path
    if name in kept:
        below = kept.pop(name)
        if rest:
            kept[name] = _without(_of_one(types[name]), below, rest)
    return kept


def _of_one(datatype: Any) -> Any:
    """The type of the rows of an array, whatever its depth; another type itself."""
    datatype = registry.resolve_type(datatype)
    while isarray(datatype):
        datatype = registry.resolve_type(datatype.item_type)
    return datatype


# -- JSON


def _selector(datatype: Any, tree: Tree) -> Callable[[Any], Any] | None:
    """What takes data down to its declared attributes; None where there is nothing to take away."""
    datatype = registry.resolve_type(datatype)
    if isarray(datatype):
        select = _selector(datatype.item_type, tree)
        return None if select is None else functools.partial(_select_rows, select)
    if isdict(datatype):
        select = _selector(datatype.value_type, tree)
        return None if select is None else functools.partial(_select_values, select)
    if isinstance(datatype, TimeType):
        return functools.partial(_rendered, datatype)
    if not iscomplex(datatype):
        return None
    return functools.partial(
        _select_attributes, [(name, _selector(of, below)) for name, of, below in _parts(datatype, tree)]
    )


def _parts(datatype: Any, tree: Tree) -> list[tuple[str, Any, Tree]]:
    """Name, type and tree of the attributes to send."""
    attributes = [(attribute.name, attribute.datatype) for attribute in list_attributes(datatype)]
    if tree is None:
        return [(name, of, None) for name, of in attributes]
    return [(name, of, tree[name]) for name, of in attributes if name in tree]


def _select_rows(select: Callable[[Any], Any], rows: Any) -> Any:
    return [select(row) for row in _of(list, rows)] if rows is not None else None


def _select_values(select: Callable[[Any], Any], data: Any) -> Any:
    return {key: select(value) for key, value in data.items()} if data is not None else None


def _select_attributes(parts: list[tuple[str, Callable[[Any], Any] | None]], data: Any) -> Any:
    if data is None:
        return None
    _of(dict, data)
    selected = {}
    for name, select in parts:
        if name in data:
            selected[name] = select(data[name]) if select is not None else data[name]
    return selected


def _rendered(datatype: TimeType, value: Any) -> Any:
    """An example has been rendered before."""
    return value if value is None or isinstance(value, str) else datatype.render(value)


def _of(kind: type, data: Any) -> Any:
    """The data, which is of this kind: text can be walked through too, and asked whether a name is in it."""
    if not isinstance(data, kind):
        raise TypeError(f"{type(data).__name__} in the place of a {kind.__name__}")
    return data


# -- XML, by functions that write what is inside of an element


_Writer = Callable[[Any], str]

_not_in_xml = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _text(text: str) -> str:
    """Escaped; a character that XML cannot have, such as those of terminal colours, becomes U+FFFD."""
    return escape(_not_in_xml.sub("\ufffd", text))


def _element(name: str, write: _Writer, value: Any) -> str:
    if value is None:
        return f'<{name} nil="true" />'
    inner = write(value)
    return f"<{name}>{inner}</{name}>" if inner else f"<{name} />"


def _writer(datatype: Any, tree: Tree) -> _Writer:
    datatype = registry.resolve_type(datatype)
    if isarray(datatype):
        write = _writer(datatype.item_type, tree)
        return lambda rows: "".join([_element("item", write, row) for row in _of(list, rows)])
    if isdict(datatype):
        write = _writer(datatype.value_type, tree)
        return lambda data: "".join(
            [
                f"<item>{_element('key', _text, key)}{_element('value', write, value)}</item>"
                for key, value in data.items()
            ]
        )
    if iscomplex(datatype):
        parts = [(name, _writer(of, below)) for name, of, below in _parts(datatype, tree)]
        return lambda data: "".join(
            [_element(name, write, data[name]) for name, write in parts if name in _of(dict, data)]
        )
    if isinstance(datatype, TimeType):
        return lambda value: _text(str(_rendered(datatype, value)))
    if datatype is JsonObject:
        return lambda data: _text(json.dumps(data))
    basetype = datatype.basetype if isusertype(datatype) else datatype
    if basetype is bool:
        return lambda value: "true" if value else "false"
    return _text if basetype is str else str
