# SPDX-License-Identifier: Apache-2.0
"""The parameters of a route: what the variables of its URL mean, and what may be asked for with a query."""

from __future__ import annotations

from typing import Any

from apispec import APISpec
from wsme.types import isarray, list_attributes, registry

from zuul.web.collections import DIRECTIONS, MAX_DIGITS, MAX_LIMIT, MAX_OFFSET, Collection
from zuul.web.expose import Dialect, Exposed
from zuul.web.openapi.schemas import Schema, Schemas, Text, attribute_texts
from zuul.web.rendering import attribute_paths
from zuul.web.resources.base import Query
from zuul.web.urls import Route

Parameter = dict[str, Any]

SLASHES = "It may contain slashes: percent-encode them, though plain ones are understood too."

PATH = {
    "branch": ("master", f"A branch of the project. {SLASHES}"),
    "change": ("42,1", "`NUMBER,PATCHSET` of a change, or the new revision of a ref."),
    "item": ("42,1", "The id of an item, or its `zuul_ref`."),
    "job": ("unit", f"The name of a job. {SLASHES}"),
    "name": ("gerrit", "The name of a connection."),
    "build": ("debian-0000000007", "The id of a build of an image."),
    "image": ("debian", "The name of an image."),
    "label": ("debian-small", "The name of a label."),
    "launcher": ("nl01-42-PoolWorker.cloud-one-main", "The id of a launcher."),
    "node": ("0000000042", "The id of a node."),
    "provider": ("cloud-one", "The name of a provider."),
    "request": ("200-0000000012", "The id of a request for nodes."),
    "upload": ("debian-0000000007-cloud-one-0000000001", "The id of an upload."),
    "pipeline": ("gate", "The name of a pipeline."),
    "project": ("org/nested", f"The short or canonical name of a project. {SLASHES}"),
    "request_id": ("0000000001", "The id of a hold."),
    "source": ("gerrit", "The name of the connection that the project comes from."),
    "tenant": ("tenant-one", "The name of a tenant."),
    "uuid": ("c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11", "The uuid of a build."),
}
"""An example, which the samples of resources/ fit, and the meaning of each variable."""

TEXT = {"type": "string", "pattern": "^[^\\u0000]*$"}
"""A URL with a NUL in it is refused, wherever it is."""

EXCLUDING = ("exclude_result",)
"""Parameters whose values are not to be there."""

PATHS_WITH_DOTS = "Dots lead to attributes of attributes."


def add_components(spec: APISpec) -> None:
    """The parameters that all routes share, for others to name."""
    text = {"type": "string"}
    components = spec.components
    components.parameter(
        "IfNoneMatch",
        "header",
        {
            "name": "If-None-Match",
            "description": "Entity tags of what the client has. If one is that of the answer, 304 comes in its place.",
            "schema": text,
        },
    )
    components.parameter(
        "IfModifiedSince",
        "header",
        {
            "name": "If-Modified-Since",
            "description": "When the client's copy had changed last, as `Last-Modified` told. Only without "
            "`If-None-Match`.",
            "schema": text,
        },
    )


def of_path(route: Route, text: Text) -> list[Parameter]:
    """The variables of a URL, from left to right."""
    found = []
    for name in route.variables:
        example, meaning = PATH[name]
        found.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": text.parameters.get(name, meaning),
                "schema": {**TEXT, "minLength": 1},
                "example": example,
            }
        )
    return found


def of_query(exposed: Exposed, dialect: Dialect, text: Text, schemas: Schemas) -> list[Parameter]:
    """What the method takes itself, and what its type brings along."""
    own = []
    for argument in exposed.query_arguments:
        schema = TEXT if argument.datatype is str else schemas.of(argument.datatype)
        own.append(in_query(argument.name, text.parameters.get(argument.name, ""), schema, required=argument.mandatory))
    if exposed.query is not None:
        own += _of_query_type(exposed.query, schemas)
    return [*own, *_of_collection(exposed.collection(dialect), dialect, schemas)]


def _of_query_type(query: type[Query], schemas: Schemas) -> list[Parameter]:
    texts = attribute_texts(query)
    found = []
    for attribute in list_attributes(query):
        datatype = registry.resolve_type(attribute.datatype)
        of_one = registry.resolve_type(datatype.item_type) if isarray(datatype) else datatype
        schema = TEXT if of_one is str else schemas.of(of_one)
        if schema == {"type": "integer"}:
            schema = {"type": "integer", "minimum": 1 - 10**MAX_DIGITS, "maximum": 10**MAX_DIGITS - 1}
        description = texts[attribute.key]
        style: dict[str, Any] = {}
        if isarray(datatype):
            description = (
                f"{description} Given several times, {'none' if attribute.name in EXCLUDING else 'any'} of these."
            )
            schema, style = {"type": "array", "items": schema}, {"style": "form", "explode": True}
        found.append(in_query(attribute.name, description, schema, **style))
    return found


def _of_collection(collection: Collection, dialect: Dialect, schemas: Schemas) -> list[Parameter]:
    makers = {
        "limit": lambda: in_query("limit", _limit_text(dialect), _limit_schema(dialect)),
        "marker": lambda: in_query("marker", f"Only rows after the one with this `{collection.key}`.", TEXT),
        "offset": lambda: in_query(
            "offset", "How many rows to skip.", {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET}
        ),
        "sort_field": lambda: in_query(
            "sort_field",
            f"The attribute to sort by. Rows without a value come last. {PATHS_WITH_DOTS}",
            {"type": "string", "enum": collection.sortable},
        ),
        "sort_dir": lambda: in_query(
            "sort_dir",
            "Up or down; without `sort_field`, `desc` turns the usual order round.",
            {"type": "string", "enum": list(DIRECTIONS), "default": DIRECTIONS[0]},
        ),
        "fields": lambda: _attributes("fields", "Only these attributes", collection, schemas),
        "omit": lambda: _attributes("omit", "All attributes but these", collection, schemas),
    }
    return [
        makers[name]() if name in makers else _filter(name, collection.filters[name], schemas)
        for name in collection.parameters
    ]


def in_query(name: str, description: str, schema: Schema, *, required: bool = False, **style: Any) -> Parameter:
    found: Parameter = {"name": name, "in": "query"}
    if required:
        found["required"] = True
    if description:
        found["description"] = description
    return {**found, **style, "schema": schema}


def _limit_text(dialect: Dialect) -> str:
    return "How many rows at most." if dialect.default_limit else "How many rows at most; all, if it is left out."


def _limit_schema(dialect: Dialect) -> Schema:
    schema: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
    return {**schema, "default": dialect.default_limit} if dialect.default_limit else schema


def _attributes(name: str, meaning: str, collection: Collection, schemas: Schemas) -> Parameter:
    of_type = collection.row_type
    attribute = schemas.enumeration(f"{of_type.__name__}Attribute", list(attribute_paths(of_type)))
    description = f"{meaning}. {PATHS_WITH_DOTS}"
    return in_query(
        name, description, {"type": "array", "items": attribute, "minItems": 1}, style="form", explode=False
    )


def _filter(path: str, datatype: Any, schemas: Schemas) -> Parameter:
    value = schemas.of(datatype)
    if value == {"type": "string"}:
        value = TEXT
    if value.get("type") == "integer":
        value |= {"minimum": 1 - 10**MAX_DIGITS, "maximum": 10**MAX_DIGITS - 1}
    description = f"Only rows whose `{path}` is this; given several times, any of these."
    return in_query(path, description, {"type": "array", "items": value}, style="form", explode=True)
