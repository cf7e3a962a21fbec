# SPDX-License-Identifier: Apache-2.0
"""What is true of every route of all maps. Responses are held to the OpenAPI document as they come (contract.py)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest
from contract import contract
from functional.routes import EXAMPLES, all_routes, is_history, page

from zuul.web.auth.mint import mint
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.errors import Unavailable
from zuul.web.expose import XML
from zuul.web.resources.base import JsonObject
from zuul.web.settings import AuthSection

EVERYTHING = all_routes()
ROUTES = [described for described in EVERYTHING if described.route.method == "GET" and not described.is_stream]
ACTIONS = [described for described in EVERYTHING if described.route.method != "GET"]
WITH_TOKENS = "\n[auth one]\ndriver=HS256\nsecret=x\nrealm=r\nclient_id=c\nissuer_id=i\nallow_authz_override=true\n"
ONE = AuthSection("one", "HS256", "r", False, "c", "i", "sub", {"secret": "x"})

every_action = pytest.mark.parametrize("described", ACTIONS, ids=[described.operation_id for described in ACTIONS])
every_route = pytest.mark.parametrize("described", ROUTES, ids=[described.operation_id for described in ROUTES])


def with_token(app):
    app.authorization = ("Bearer", mint(ONE, "ann", ["example"], 600))
    return app


@pytest.fixture
def app(make_app, functions):
    app = with_token(make_app(LocalTransport(functions), WITH_TOKENS))
    app.delete("/v1/tenants/example/holds/0000000099", status=404)  # so that there is something in the audit
    return app


def allowed(described):
    """The methods of the URL of a route."""
    methods = {one.route.method for one in EVERYTHING if one.template == described.template}
    return ", ".join(sorted({*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}))


@pytest.fixture
def get(app):
    """Gets the example of a route."""
    return lambda described, **headers: app.get(EXAMPLES[described.template], headers=headers)


def test_every_route_has_an_example_and_every_example_a_route():
    assert {described.template for described in EVERYTHING} == set(EXAMPLES)


def test_every_example_is_of_its_route_and_no_other():
    for template, url in EXAMPLES.items():
        assert contract().operation(unquote(url)).template == template


def test_every_route_has_a_name_of_its_own():
    names = [described.operation_id for described in EVERYTHING]

    assert len(set(names)) == len(names)


def test_the_list_of_routes_is_up_to_date():
    written = (Path(__file__).parents[2] / "doc" / "routes.md").read_text()

    assert written == page(), "rewrite it: python tests/functional/routes.py > doc/routes.md"


@every_route
def test_it_is_explained_and_has_a_type(described):
    assert described.route.controller.__doc__
    assert described.result is not JsonObject or described.template == "/api"


@every_route
def test_get(get, described):
    response = get(described)

    assert response.status_int == 200
    assert response.content_type == described.route.controller.exposed.content_type
    assert response.body not in (b"", b"[]", b"{}")


@every_route
def test_head_has_the_fields_of_get_and_no_body(app, get, described):
    got, head = get(described), app.head(EXAMPLES[described.template])

    assert (head.status_int, head.body) == (200, b"")
    assert {**head.headers, "X-Request-Id": ""} == {**got.headers, "X-Request-Id": ""}


@every_route
def test_options_tells_the_methods(app, described):
    response = app.options(EXAMPLES[described.template])

    assert (response.status_int, response.body) == (204, b"")
    assert response.headers["Allow"] == allowed(described)


@every_route
def test_what_the_client_has_is_not_sent_again(get, described):
    response = get(described, **{"If-None-Match": get(described).headers["ETag"]})

    assert (response.status_int, response.body) == (304, b"")


@every_route
def test_another_method_is_405(app, refusal, described):
    response = app.request(EXAMPLES[described.template], method="PATCH", status="*")

    refusal(response, 405)
    assert response.headers["Allow"] == allowed(described)


@every_route
def test_there_is_xml_where_the_document_has_it(get, described):
    documented = contract().operation(unquote(EXAMPLES[described.template])).described["responses"]["200"]["content"]

    assert (get(described, Accept=XML).content_type == XML) == (XML in documented)


@every_route
def test_a_part_of_it_is_as_the_document_has_it(app, described):
    """With each parameter of the document at the value it gives first."""
    found = contract().operation(unquote(EXAMPLES[described.template])).described
    parameters = {one["name"]: one.get("schema", {}) for one in found["parameters"] if one.get("in") == "query"}
    for name, schema in parameters.items():
        values = schema.get("enum") or schema.get("items", {}).get("enum") or [schema.get("minimum")]
        if values[0] is not None:
            assert app.get(EXAMPLES[described.template], {name: values[0]}).status_int == 200


@every_route
def test_what_the_scheduler_does_not_answer_is_documented(make_app, raising_transport, described):
    app = with_token(make_app(raising_transport(Unavailable("nobody is there")), WITH_TOKENS))

    status = app.get(EXAMPLES[described.template], status="*").status_int

    documented = contract().operation(unquote(EXAMPLES[described.template])).described["responses"]
    # What is at the root asks whether there is such a tenant; of the history below /api, one database needs no word.
    needs_none = is_history(described.route) and described.template.startswith(("/api", "/v1"))
    assert status == (503 if "503" in documented and not needs_none else 200)


@every_action
def test_an_action_is_explained_and_takes_a_token(make_app, functions, refusal, described):
    app = make_app(LocalTransport(functions), WITH_TOKENS)

    refusal(app.request(EXAMPLES[described.template], method=described.route.method, status="*"), 401)

    assert described.route.controller.__doc__
    assert described.operation["security"] == [{"bearer": []}]
    assert app.options(EXAMPLES[described.template]).headers["Allow"] == allowed(described)


@every_action
def test_an_action_takes_no_body_or_a_documented_one(app, refusal, described):
    documented = described.operation.get("requestBody")
    body = described.route.controller.exposed.body

    assert (documented is not None) == (body is not None) == (described.route.method == "POST")
    if documented:
        schema = documented["content"]["application/json"]["schema"]
        assert schema == {"$ref": f"#/components/schemas/{body.__name__}"}
        refusal(app.post(EXAMPLES[described.template], "change=1,1", status="*"), 415)
