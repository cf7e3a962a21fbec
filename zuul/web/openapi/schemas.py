# SPDX-License-Identifier: Apache-2.0
"""JSON schemas of WSME types, and what people have written about them in the source.

The string below an attribute is no docstring to Python, which drops it, so it is read from the source text.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from apispec import APISpec
from wsme.types import Enum, Unset, isarray, iscomplex, isdict, isusertype, list_attributes, registry

from zuul.web.rendering import render_json
from zuul.web.resources.base import Body, JsonObject, Resource

Schema = dict[str, Any]

CHOICE = "ChosenAttributes"
CHOICE_TEXT = """\
What is left of an object where `fields` or `omit` choose attributes: those, as they are in the whole object. Without
these parameters it is always the whole."""

_names = {str: "string", int: "integer", float: "number", bool: "boolean", datetime: "string"}


class Schemas:
    """Schemas of types; each class that one mentions becomes a component of the document."""

    def __init__(self, spec: APISpec) -> None:
        self._components = spec.components

    def of(self, datatype: Any) -> Schema:
        datatype = registry.resolve_type(datatype)
        if isarray(datatype):
            return {"type": "array", "items": self.of(datatype.item_type)}
        if isdict(datatype):
            return {"type": "object", "additionalProperties": self.of(datatype.value_type)}
        if iscomplex(datatype):
            name = datatype.__name__
            if name not in self._components.schemas:
                self._components.schema(name, self._object(datatype))
            return {"$ref": f"#/components/schemas/{name}"}
        if datatype is JsonObject:
            return {"type": "object", "additionalProperties": True}
        if isinstance(datatype, Enum):
            return {"type": _names[datatype.basetype], "enum": sorted(datatype.values)}
        if isusertype(datatype):
            return {"type": _names[datatype.basetype], **getattr(datatype, "schema", {})}
        return {"type": _names[datatype]}

    def of_choice(self, datatype: Any) -> Schema:
        """Of an object, or an array of them, of which `fields` and `omit` may choose the attributes: of all that
        the type has, or of some."""
        datatype = registry.resolve_type(datatype)
        if isarray(datatype):
            return {"type": "array", "items": self.of_choice(datatype.item_type)}
        if CHOICE not in self._components.schemas:
            self._components.schema(CHOICE, {"type": "object", "description": CHOICE_TEXT})
        return {"anyOf": [self.of(datatype), {"$ref": f"#/components/schemas/{CHOICE}"}]}

    def one_of(self, name: str, description: str, key: str, types: Mapping[str, Any]) -> Schema:
        """An object of one of these types, told apart by the value of a key, as a component of this name."""
        if name not in self._components.schemas:
            of_types = {value: self.of(datatype) for value, datatype in types.items()}
            mapping = {value: schema["$ref"] for value, schema in of_types.items()}
            discriminator = {"propertyName": key, "mapping": mapping}
            choice = {"description": description, "oneOf": list(of_types.values()), "discriminator": discriminator}
            self._components.schema(name, choice)
        return {"$ref": f"#/components/schemas/{name}"}

    def enumeration(self, name: str, values: list[str]) -> Schema:
        """One of these words, as a component of this name."""
        if name not in self._components.schemas:
            self._components.schema(name, {"type": "string", "enum": values})
        return {"$ref": f"#/components/schemas/{name}"}

    def _object(self, datatype: Any) -> Schema:
        texts = attribute_texts(datatype)
        attributes = list_attributes(datatype)
        schema: Schema = {"type": "object", "description": text_of(datatype).all}
        mandatory = [attribute.name for attribute in attributes if attribute.mandatory]
        if mandatory:
            schema["required"] = mandatory
        if issubclass(datatype, Body):
            schema["additionalProperties"] = False
        schema["properties"] = {}
        for attribute in attributes:
            of_one = self.of(attribute.datatype)
            if attribute.null:
                of_one = _or_null(of_one)
            if attribute.key in texts:
                of_one["description"] = texts[attribute.key]
            schema["properties"][attribute.name] = of_one
        return schema


def _or_null(schema: Schema) -> Schema:
    if "$ref" in schema or "enum" in schema:
        return {"anyOf": [schema, {"type": "null"}]}
    return {**schema, "type": [schema["type"], "null"]}


def sample_of(datatype: Any) -> Any:
    """What a server might send of this type, as data; None if there is no sample of it."""
    row_type = registry.resolve_type(datatype)
    while isarray(row_type):
        row_type = registry.resolve_type(row_type.item_type)
    if not iscomplex(row_type):
        return None
    data = _plain(row_type.sample())
    return json.loads(render_json(datatype, [data] if isarray(registry.resolve_type(datatype)) else data))


def _plain(value: Any) -> Any:
    """A WSME value as JSON's dicts and lists."""
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if not iscomplex(type(value)):
        return value
    values = {attribute.name: getattr(value, attribute.key) for attribute in list_attributes(type(value))}
    return {name: _plain(entry) for name, entry in values.items() if entry is not Unset}


# -- what people have written


class Text(NamedTuple):
    """A docstring, taken apart. `parameters` and `errors` are its fields `:param x:` and `:raises X:`, by name."""

    summary: str
    rest: str
    parameters: dict[str, str]
    errors: dict[str, str]

    @property
    def all(self) -> str:
        return f"{self.summary}\n\n{self.rest}".strip()


_field = re.compile(r":(\w+)(?: (\w+))?: *(.*)", re.DOTALL)


def text_of(documented: object) -> Text:
    """What the docstring of a class, method or module says, without its line breaks."""
    paragraphs: list[str] = []
    fields: dict[str, dict[str, str]] = {}
    for block in _blocks(inspect.cleandoc(getattr(documented, "__doc__", None) or "")):
        match = _field.fullmatch(block)
        if match is None:
            paragraphs.append(block)
        else:
            fields.setdefault(match[1], {})[match[2]] = sentence(match[3])
    summary, *rest = paragraphs or [""]
    return Text(summary, "\n\n".join(rest), fields.get("param", {}), fields.get("raises", {}))


def sentence(text: str) -> str:
    """With a capital letter at its beginning."""
    return text[:1].upper() + text[1:]


def _blocks(text: str) -> Iterator[str]:
    """Paragraphs and fields, each as one line."""
    for paragraph in re.split(r"\n\s*\n|\n(?=:)", text):
        if paragraph.strip():
            yield " ".join(paragraph.split())


def attribute_texts(datatype: type) -> dict[str, str]:
    """The strings below the attributes of a class and its ancestors, by the name in Python."""
    texts: dict[str, str] = {}
    for ancestor in reversed(datatype.__mro__):
        if issubclass(ancestor, Resource):
            texts.update(_texts_in(ancestor))
    return texts


def _texts_in(datatype: type) -> dict[str, str]:
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(datatype))).body
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for statement, below in zip(tree.body, tree.body[1:]):  # noqa: B905 -- one is shorter
        match statement, below:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = " ".join(text.split())
    return texts
