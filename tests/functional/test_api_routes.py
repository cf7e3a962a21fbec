# SPDX-License-Identifier: Apache-2.0
"""What is true of every GET below /api: its shape, its validators, its methods, its query parameters."""

from __future__ import annotations

import gzip
import json

import pytest
from functional.routes import is_history
from shapes import undeclared

from zuul.web.controllers import api
from zuul.web.controllers.actions import ActionsController
from zuul.web.controllers.authorizations import AuthorizationsController
from zuul.web.controllers.holds import HoldsController
from zuul.web.controllers.info import IndexController, InfoController
from zuul.web.controllers.jobs import JobsController
from zuul.web.controllers.pipelines import PipelinesController, StatusController
from zuul.web.controllers.projects import FreezeJobsController, KeysController, ProjectsController
from zuul.web.controllers.streams import is_stream
from zuul.web.controllers.tenants import ConfigErrorsController, ConnectionsController, TenantsController
from zuul.web.expose import API
from zuul.web.settings import read
from zuul.web.urls import routes

EXAMPLE = "/api/tenant/example"

JSON_ROUTES = {
    "/api": IndexController.get,
    "/api/info": InfoController.get,
    "/api/tenants": TenantsController.get_all,
    "/api/connections": ConnectionsController.get_all,
    f"{EXAMPLE}/info": InfoController.get,
    f"{EXAMPLE}/status": StatusController.get,
    f"{EXAMPLE}/status/change/700042,1": StatusController.get_change,
    f"{EXAMPLE}/jobs": JobsController.get_all,
    f"{EXAMPLE}/job/tox-py38": JobsController.get_one,
    f"{EXAMPLE}/projects": ProjectsController.get_all,
    f"{EXAMPLE}/project/core/compute": ProjectsController.get_one,
    f"{EXAMPLE}/pipelines": PipelinesController.get_all,
    f"{EXAMPLE}/pipeline/gate/project/core/compute/branch/master/freeze-jobs": FreezeJobsController.get,
    f"{EXAMPLE}/config-errors": ConfigErrorsController.get_all,
    f"{EXAMPLE}/autohold": HoldsController.get_all,
    f"{EXAMPLE}/autohold/0000000001": HoldsController.get_one,
}
TEXT_ROUTES = {
    f"{EXAMPLE}/key/core/compute.pub": KeysController.get_secrets,
    f"{EXAMPLE}/project-ssh-key/core/compute.pub": KeysController.get_ssh,
}
WITH_TOKENS = {
    HoldsController.get_of_project,  # see test_api_holds.py
    HoldsController.create_for_project,  # see test_actions.py
    HoldsController.delete,
    ActionsController.enqueue,
    ActionsController.dequeue,
    ActionsController.promote,
    AuthorizationsController.get_of_user,  # and test_authorizations.py
    AuthorizationsController.get_of_root,
    AuthorizationsController.get_of_tenant,
}
ROUTES = {**JSON_ROUTES, **TEXT_ROUTES}

all_routes = pytest.mark.parametrize("url", ROUTES)


def test_every_controller_method_that_api_names_is_tested(tmp_path):
    path = tmp_path / "zuul.conf"
    path.write_text("[auth one]\ndriver=HS256\nsecret=x\nrealm=r\nclient_id=c\nissuer_id=i\n")
    found = routes(api.url_map(read(str(path)), None, None, None, None))
    elsewhere = [route for route in found if is_stream(route) or is_history(route)]  # test_streams.py, test_history.py
    exposed = {route.controller.__func__ for route in found if route not in elsewhere}

    assert exposed == {*ROUTES.values(), *WITH_TOKENS}


@pytest.mark.parametrize("url", JSON_ROUTES)
def test_the_answer_has_the_declared_shape(app, url):
    response = app.get(url)

    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert undeclared(JSON_ROUTES[url].exposed.result(API), response.json) == []
    assert response.json or "change" in url


@pytest.mark.parametrize("url", TEXT_ROUTES)
def test_a_key_is_plain_text(app, url):
    assert app.get(url).headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_change_in_the_status_can_be_asked_for_by_itself(app):
    status = app.get(f"{EXAMPLE}/status").json
    queues = [queue for pipeline in status["pipelines"] for queue in pipeline["change_queues"]]
    items = [item for queue in queues for head in queue["heads"] for item in head]
    change = next(item["id"] for item in items if item["ref"].startswith("refs/changes/"))

    response = app.get(f"{EXAMPLE}/status/change/{change}")

    assert response.json == [item for item in items if item["id"] == change]
    assert undeclared(StatusController.get_change.exposed.definition.return_type, response.json) == []


def test_a_change_that_is_in_no_pipeline_is_an_empty_list(app):
    assert app.get(f"{EXAMPLE}/status/change/1,1").json == []


@all_routes
def test_another_origin_may_read(app, url):
    assert app.get(url).headers["Access-Control-Allow-Origin"] == "*"


@all_routes
def test_the_entity_tag_is_strong_and_belongs_to_the_bytes(app, url):
    first, second = app.get(url), app.get(url)

    assert first.headers["ETag"] == second.headers["ETag"]
    assert first.headers["ETag"].startswith('"')
    assert first.body == second.body
    assert first.headers["Vary"] == "Accept-Encoding"
    assert first.headers["Cache-Control"]


@all_routes
@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
def test_what_the_client_has_is_not_sent_again(app, url, form):
    etag = app.get(url).headers["ETag"]

    response = app.get(url, headers={"If-None-Match": form.format(etag)})

    assert (response.status_int, response.body) == (304, b"")
    assert response.headers["ETag"] == etag
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Content-Type" not in response.headers and "Content-Length" not in response.headers


@all_routes
def test_another_entity_tag_gets_the_whole(app, url):
    assert app.get(url, headers={"If-None-Match": '"other"'}).status_int == 200


@all_routes
def test_head_has_the_fields_of_get_and_no_body(app, url):
    get, head = app.get(url), app.head(url)

    assert (head.status_int, head.body) == (200, b"")
    assert get.headers["Content-Length"] == str(len(get.body))
    for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Vary", "Access-Control-Allow-Origin"):
        assert head.headers[name] == get.headers[name]


@all_routes
def test_head_is_answered_with_304_as_well(app, url):
    etag = app.head(url).headers["ETag"]

    assert app.head(url, headers={"If-None-Match": etag}).status_int == 304


@all_routes
def test_gzip_is_another_representation_of_the_same(app, send, url):
    zipped = send(app, url, HTTP_ACCEPT_ENCODING="gzip, br")
    plain = app.get(url)

    assert zipped.headers["Vary"] == "Accept-Encoding"
    if len(plain.body) < 1024:
        assert "Content-Encoding" not in zipped.headers
        assert zipped.headers["ETag"] == plain.headers["ETag"]
        return
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert zipped.headers["Content-Length"] == str(len(zipped.body))
    assert gzip.decompress(zipped.body) == plain.body
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    for etag in (zipped.headers["ETag"], plain.headers["ETag"]):
        for encoding in ("gzip", ""):
            held = {"If-None-Match": etag, "Accept-Encoding": encoding}
            assert app.get(url, headers=held).status_int == 304


@all_routes
@pytest.mark.parametrize("weights", ["", "identity", "br", "gzip;q=0", "*;q=0"])
def test_what_the_client_does_not_decode_is_not_sent(app, url, weights):
    response = app.get(url, headers={"Accept-Encoding": weights})

    assert response.status_int == 200
    assert "Content-Encoding" not in response.headers


@all_routes
@pytest.mark.parametrize("accept", ["application/json", "text/html", "image/png", "*/*;q=0.1", "nonsense", ""])
def test_the_one_representation_is_sent_whatever_is_accepted(app, url, accept):
    assert app.get(url, headers={"Accept": accept}).body == app.get(url).body


@pytest.mark.undeclared("the document has the methods that need a token")
@all_routes
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_another_method_is_405_and_tells_those_that_are_allowed(app, refusal, url, method):
    response = app.request(url, method=method, status="*")

    if (method, url) == ("DELETE", f"{EXAMPLE}/autohold/0000000001"):
        refusal(response, 404)  # where tokens cannot be checked; see test_actions.py
        return
    assert method in refusal(response, 405)["faultstring"]
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@all_routes
@pytest.mark.parametrize("body", [b"{", b'{"project": "x"}', b"\xff"])
def test_another_method_is_405_whatever_its_body(app, refusal, url, body):
    response = app.request(url, method="POST", body=body, content_type="application/json", status="*")

    refusal(response, 405)


@all_routes
@pytest.mark.parametrize("name", ["unknown", "self", "request", "response", "from_path", "__body__", "project[0]"])
def test_an_unknown_query_parameter_is_named(app, refusal, url, name):
    body = refusal(app.get(url, {name: "x"}, status="*"), 400)

    assert body["faultstring"] == f"unknown query parameter: {name}"


@pytest.mark.parametrize("url", [url for url, method in ROUTES.items() if method.exposed.path_names])
def test_a_query_parameter_cannot_override_the_path(app, refusal, url):
    for name in ROUTES[url].exposed.path_names:
        body = refusal(app.get(url, {name: "other"}, status="*"), 400)
        assert body["faultstring"] == f"unknown query parameter: {name}"


@pytest.mark.parametrize("url", [url for url in ROUTES if "/tenant/" in url])
def test_the_tenant_cannot_be_overridden(app, refusal, url):
    body = refusal(app.get(url, {"tenant": "widgets"}, status="*"), 400)

    assert body["faultstring"] == "unknown query parameter: tenant"


@pytest.mark.parametrize("url", [url for url in ROUTES if "/tenant/" in url and not url.endswith("/info")])
def test_an_unknown_tenant_is_404(app, refusal, url):
    refusal(app.get(url.replace("/tenant/example", "/tenant/nope"), status="*"), 404)


def test_an_unknown_tenants_info_is_answered_as_upstream_does(app):
    assert app.get("/api/tenant/nope/info").json["info"]["tenant"] == "nope"


def test_the_status_tells_its_age_and_when_it_changed(app):
    response = app.get(f"{EXAMPLE}/status")

    assert response.headers["Age"] == "0"
    since = {"If-Modified-Since": response.headers["Last-Modified"]}
    assert app.get(f"{EXAMPLE}/status", headers=since).status_int == 304


def test_clients_share_one_call_of_the_scheduler(app_with, functions):
    calls = []

    def job_list(arguments):
        calls.append(arguments)
        return functions["zuul:job_list"](arguments)

    app = app_with(job_list=job_list)
    bodies = {app.get(f"{EXAMPLE}/jobs", headers=h).body for h in ({}, {"X-Request-Id": "another"})}

    assert len(bodies) == 1
    assert calls == [{"tenant": "example"}]


def test_the_schedulers_bytes_go_out_as_they_came(app_with):
    reply = '[ {"name" : "unit", "undeclared": "é"} ]'

    assert app_with(job_list=lambda arguments: reply).get(f"{EXAMPLE}/jobs").body == reply.encode()
    assert json.loads(reply)
