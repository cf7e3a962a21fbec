# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document as a whole, and how names, texts and schemas of it are made."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from apispec import APISpec
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from wsme.types import Enum, registry, text

from zuul.web import cli, errors
from zuul.web.application import document_of, with_all_options
from zuul.web.openapi.document import as_json, as_yaml
from zuul.web.openapi.names import operation_ids
from zuul.web.openapi.parameters import PATH
from zuul.web.openapi.responses import ERROR
from zuul.web.openapi.schemas import Schemas, attribute_texts, sample_of, text_of
from zuul.web.resources.base import JsonObject, Resource, always, sometimes
from zuul.web.resources.events import MESSAGES
from zuul.web.resources.holds import HoldDetail
from zuul.web.resources.jobs import Job, JobVariant
from zuul.web.resources.status import Owner
from zuul.web.resources.tenants import Tenant
from zuul.web.urls import Route

WRITTEN = Path(__file__).parents[2] / "doc" / "openapi.yaml"


@pytest.fixture(scope="module")
def document():
    return document_of(with_all_options())


def operations(document):
    return [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]


def test_it_is_valid(document):
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_what_we_hand_out_is_up_to_date(document):
    assert WRITTEN.read_text() == as_yaml(document), "rewrite it: zuul-rest openapi > doc/openapi.yaml"


def test_every_attribute_is_described(document):
    schemas = document["components"]["schemas"]
    bare = [
        f"{name}.{attribute}"
        for name, schema in schemas.items()
        for attribute, described in schema.get("properties", {}).items()
        if "description" not in described
    ]

    assert bare == []


def test_it_is_the_same_each_time(document):
    assert as_json(document_of(with_all_options())) == as_json(document)


def test_both_forms_say_the_same(document):
    assert yaml.safe_load(as_yaml(document)) == json.loads(as_json(document)) == document


def test_the_command_needs_no_configuration(document, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZUUL_CONF", "/nowhere")

    assert cli.main(["openapi"]) == 0
    assert capsys.readouterr().out == as_yaml(document)
    assert cli.main(["openapi", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_every_example_is_of_its_schema(document):
    contents = [
        (place, content)
        for place, responses in [
            *((path, operation["responses"]) for path, operation in operations(document)),
            ("components", document["components"]["responses"]),
        ]
        for response in responses.values()
        for content in response.get("content", {}).values()
        if "example" in content
    ]

    assert len(contents) > 40
    for place, content in contents:
        validator = Draft202012Validator({**content["schema"], "components": document["components"]})
        assert [
            f"{place}: {error.json_path} {error.message}" for error in validator.iter_errors(content["example"])
        ] == []


def test_every_name_of_an_operation_is_its_own_and_fit_for_a_function(document):
    names = [operation["operationId"] for _, operation in operations(document)]

    assert len(set(names)) == len(names)
    assert [name for name in names if not name.isidentifier() or name != name.lower()] == []


def test_every_operation_and_parameter_is_explained(document):
    for path, operation in operations(document):
        assert operation["summary"].endswith("."), path
        for parameter in operation["parameters"]:
            assert "$ref" in parameter or parameter["description"].endswith("."), (path, parameter["name"])
    assert [tag for tag in document["tags"] if not tag["description"]] == []


def test_no_parameter_is_there_twice(document):
    for path, operation in operations(document):
        names = [(one["in"], one["name"]) for one in operation["parameters"] if "name" in one]
        assert len(set(names)) == len(names), path


def test_every_variable_of_a_url_is_explained_and_none_that_is_in_no_url(document):
    assert {name for path in document["paths"] for name in PATH if f"{{{name}}}" in path} == set(PATH)


def test_every_kind_of_error_has_the_shape_of_the_document():
    for error in (errors.NotFound, errors.ServerError, errors.OutcomeUnknown):
        Draft202012Validator({**ERROR, "additionalProperties": False}).validate(json.loads(errors.body(error("words"))))


def test_what_a_method_raises_is_told_in_its_own_words(document):
    responses = document["paths"]["/v1/tenants/{tenant}"]["get"]["responses"]

    assert responses["404"] == {"$ref": "#/components/responses/NotFound", "description": "No such tenant."}
    assert responses["503"] == {"$ref": "#/components/responses/Unavailable"}
    assert "503" not in document["paths"]["/v1/info"]["get"]["responses"]


def test_what_an_error_means_is_said_as_at_its_class(document):
    descriptions = {name: one["description"] for name, one in document["components"]["responses"].items()}

    assert descriptions["Unavailable"] == "Nobody is there to ask; try again in `Retry-After` seconds."
    assert "Retry-After" in document["components"]["responses"]["Unavailable"]["headers"]


def test_events_are_one_of_all_messages_told_apart_by_their_type(document):
    schemas = document["components"]["schemas"]

    assert schemas["TenantEvent"]["discriminator"]["mapping"] == {
        type_: f"#/components/schemas/{datatype.__name__}" for type_, datatype in MESSAGES.items()
    }
    validator = Draft202012Validator({**schemas["TenantEvent"], "components": document["components"]})
    for datatype in MESSAGES.values():
        validator.validate(sample_of(datatype))


def test_legacy_urls_have_no_query(document):
    parameters = document["paths"]["/{tenant}/jobs.json"]["get"]["parameters"]

    assert [one["name"] for one in parameters if one.get("in") == "query"] == []


# -- names


@pytest.mark.parametrize(
    ("template", "datatype", "name"),
    [
        ("", [Tenant], "list_tenants"),
        ("", JsonObject, "get_index"),
        ("/tenants", [Tenant], "list_tenants"),
        ("/tenants/{tenant}", Tenant, "get_tenant"),
        ("/tenants/{tenant}/config-errors", [Tenant], "list_config_errors"),
        ("/tenants/{tenant}/jobs/{job}", [JobVariant], "list_job_variants"),
        ("/status/change/{change}", [Job], "list_status_change_jobs"),
        ("/projects/{project}/keys/ssh", text, "get_keys_ssh"),
        ("/key/{project}.pub", text, "get_key"),
        ("/{project}.pub", text, "get_pub"),
    ],
)
def test_a_name_is_made_of_the_last_words(template, datatype, name):
    assert operation_ids([(Route(template, "GET", print), registry.resolve_type(datatype))]) == [name]


def test_names_that_meet_get_the_words_before_too():
    templates = ["/info", "/tenants/{tenant}/info", "/tenants/{tenant}/nodes/{node}/info"]

    names = operation_ids([(Route(template, "GET", print), Tenant) for template in templates])

    assert names == ["get_info", "get_tenant_info", "get_node_info"]


def test_names_that_only_a_variable_tells_apart_are_told_what_it_is_of():
    templates = [
        "/console-stream",
        "/{tenant}/console-stream",
        "/keys/{source}/{project}.pub",
        "/{tenant}/{project}.pub",
    ]

    names = operation_ids([(Route(template, "GET", print), None) for template in templates])

    assert names == ["get_console_stream", "get_tenant_console_stream", "get_key_pub", "get_pub"]


def test_other_methods_have_their_own_names():
    assert operation_ids([(Route("/holds/{id}", "DELETE", print), None)]) == ["delete_hold"]


# -- texts


def test_a_docstring_is_taken_apart():
    words = text_of(
        SimpleNamespace(
            __doc__="""First.

            Second, which goes
            on.

            :param name: whose it
                is.
            :raises NotFound: no such thing.
            """
        )
    )

    assert (words.summary, words.rest) == ("First.", "Second, which goes on.")
    assert words.all == "First.\n\nSecond, which goes on."
    assert words.parameters == {"name": "Whose it is."}
    assert words.errors == {"NotFound": "No such thing."}


def test_what_has_no_docstring_has_no_text():
    assert text_of(SimpleNamespace(__doc__=None)).all == ""


def test_texts_below_attributes_are_found_those_of_the_parent_too():
    class Bare(HoldDetail):
        extra = always(str)

    texts = attribute_texts(HoldDetail)

    assert texts["project"] == "The canonical name."
    assert texts["nodes"] == "One entry per held build."
    assert "extra" not in attribute_texts(Bare)


# -- schemas


class Thing(Resource):
    """Something."""

    name = always(str)

    kind = always(Enum(str, "b", "a"), null=True)

    owner = sometimes(Owner, null=True)
    """Whose it is."""

    sizes = always([float], null=True)

    by_name = always({str: int})

    free = sometimes(JsonObject)


def test_a_type_is_a_component_with_its_keys_in_order():
    spec = APISpec("x", "1", "3.1.0")

    assert Schemas(spec).of([Thing]) == {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}
    schema = spec.components.schemas["Thing"]
    assert schema["required"] == ["name", "kind", "sizes", "by_name"]
    assert schema["properties"] == {
        "name": {"type": "string"},
        "kind": {"anyOf": [{"type": "string", "enum": ["a", "b"]}, {"type": "null"}]},
        "owner": {"anyOf": [{"$ref": "#/components/schemas/Owner"}, {"type": "null"}], "description": "Whose it is."},
        "sizes": {"type": ["array", "null"], "items": {"type": "number"}},
        "by_name": {"type": "object", "additionalProperties": {"type": "integer"}},
        "free": {"type": "object", "additionalProperties": True},
    }
    assert list(schema["properties"]) == ["name", "kind", "owner", "sizes", "by_name", "free"]
    assert next(iter(spec.components.schemas["Owner"]["properties"])) == "_account_id"


def test_a_sample_has_the_keys_that_are_set():
    assert sample_of([Tenant]) == [{"name": "tenant-one", "projects": 6, "queue": 2}]
    assert sample_of(text) is None
    assert sample_of(JsonObject) is None
