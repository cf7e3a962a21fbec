# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import pytest
from shapes import undeclared

from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.controllers.holds import HoldsController
from zuul.web.expose import API
from zuul.web.resources.holds import REQUEST
from zuul.web.resources.info import Authentication

AUTH = """
[auth operators]
driver = HS256
secret = not-so-secret
realm = zuul.example.com
client_id = zuul
issuer_id = operators
"""
HOLDS = "/api/tenant/{}/autohold"


def test_the_list_has_the_holds_of_the_tenant_alone(app):
    assert {hold["tenant"] for hold in app.get(HOLDS.format("example")).json} == {"example"}
    assert app.get(HOLDS.format("widgets")).json == []


@pytest.mark.parametrize("project", ["core/compute", "review.example.com/core/compute", "compute"])
def test_the_list_can_be_of_the_projects_whose_names_end_so(app, project):
    holds = app.get(HOLDS.format("example"), {"project": project}).json

    assert [hold["project"] for hold in holds] == ["review.example.com/core/compute"]


def test_a_project_without_holds_has_an_empty_list(app):
    assert app.get(HOLDS.format("example"), {"project": "nope"}).json == []


def test_a_parameter_given_twice_is_400(app, refusal):
    body = refusal(app.get(HOLDS.format("example") + "?project=a&project=b", status="*"), 400)

    assert body["faultstring"] == "query parameter given more than once: project"


def test_a_hold_is_found_by_its_id(app):
    for hold in app.get(HOLDS.format("example")).json:
        assert app.get(f"{HOLDS.format('example')}/{hold['id']}").json == hold


def test_a_hold_of_another_tenant_is_404_as_one_that_does_not_exist(app, refusal):
    other = refusal(app.get(f"{HOLDS.format('widgets')}/0000000001", status="*"), 404)
    missing = refusal(app.get(f"{HOLDS.format('widgets')}/0000000099", status="*"), 404)

    assert other["faultstring"].replace("01", "99") == missing["faultstring"]


@pytest.mark.parametrize(
    "request_id", ["nope", "1x", "-1", "1.0", "%D9%A3", "0x1", "1,1", "%20", "..", "1%2F2", "1/nodes"]
)
def test_an_id_that_is_no_number_is_404_and_not_asked_for(app_with, refusal, request_id):
    asked = []
    app = app_with(autohold_info=lambda arguments: asked.append(arguments))

    refusal(app.get(f"{HOLDS.format('example')}/{request_id}", status="*"), 404)

    assert asked == []


def test_a_list_is_read_anew_each_time(app_with):
    replies = iter([json.dumps([{**REQUEST, "tenant": "example"}]), "[]"])
    app = app_with(autohold_list=lambda arguments: next(replies))

    assert len(app.get(HOLDS.format("example")).json) == 1
    assert app.get(HOLDS.format("example")).json == []


PROJECT_HOLDS = "/api/tenant/example/project/{}/autohold"
spelt = pytest.mark.parametrize("project", ["core/compute", "core%2Fcompute", "review.example.com/core/compute"])


@spelt
def test_with_tokens_a_project_has_its_holds_below_it(make_app, functions, project):
    app = make_app(LocalTransport(functions), AUTH)

    response = app.get(PROJECT_HOLDS.format(project))

    assert [hold["project"] for hold in response.json] == ["review.example.com/core/compute"]
    assert undeclared(HoldsController.get_of_project.exposed.result(API), response.json) == []
    assert app.get(PROJECT_HOLDS.format(project), headers={"If-None-Match": response.headers["ETag"]}).status_int == 304
    assert app.get(PROJECT_HOLDS.format("nope")).json == []


def test_with_tokens_the_holds_of_a_project_are_refused_like_others(make_app, functions, refusal):
    app = make_app(LocalTransport(functions), AUTH)
    url = PROJECT_HOLDS.format("core/compute")

    refusal(app.get(url, {"project": "other"}, status="*"), 400)
    refusal(app.get(url.replace("example", "nope"), status="*"), 404)
    assert app.delete(url, status="*").headers["Allow"] == "GET, HEAD, OPTIONS, POST"


@spelt
def test_without_tokens_that_is_an_unknown_project_as_with_upstream(app, refusal, project):
    refusal(app.get(PROJECT_HOLDS.format(project), status="*"), 404)


def test_with_tokens_info_tells_where_to_get_one(make_app, functions):
    auth = make_app(LocalTransport(functions), AUTH).get("/api/info").json["info"]["capabilities"]["auth"]

    assert auth["default_realm"] == "zuul.example.com"
    assert "not-so-secret" not in str(auth)
    assert undeclared(Authentication, auth) == []
