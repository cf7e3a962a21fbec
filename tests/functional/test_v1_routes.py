# SPDX-License-Identifier: Apache-2.0
"""What is true of every GET below /v1: its shape, its two forms, its validators, its methods, its parameters."""

from __future__ import annotations

import gzip
import io
import json
import re
from itertools import product
from xml.etree import ElementTree

import nodepool_tree as pool
import pytest
from functional.routes import is_history
from shapes import undeclared

from zuul.web.collections import DEFAULT_LIMIT
from zuul.web.controllers import v1
from zuul.web.controllers.streams import is_stream
from zuul.web.expose import V1
from zuul.web.origins import READABLE_FIELDS
from zuul.web.settings import read
from zuul.web.urls import routes

EXAMPLE = "/v1/tenants/example"
GATE = f"{EXAMPLE}/pipelines/gate"
COMPUTE = f"{EXAMPLE}/projects/core/compute"

OF_NODEPOOL = {
    "labels": "debian-small",
    "nodes": pool.READY,
    "requests": pool.REQUEST,
    "launchers": pool.LAUNCHER,
    "providers": "cloud-one",
    "images": pool.IMAGE,
    "builds": pool.BUILD,
    "uploads": pool.UPLOAD,
}
"""Names of rows, by the collection that has them."""

ARRAYS = {
    "": "/v1",
    "/connections": "/v1/connections",
    "/tenants": "/v1/tenants",
    "/tenants/{tenant}/pipelines": f"{EXAMPLE}/pipelines",
    "/tenants/{tenant}/pipelines/{pipeline}/items": f"{GATE}/items",
    "/tenants/{tenant}/pipelines/{pipeline}/projects/{project}/branches/{branch}/frozen-jobs": (
        f"{GATE}/projects/core/compute/branches/master/frozen-jobs"
    ),
    "/tenants/{tenant}/jobs": f"{EXAMPLE}/jobs",
    "/tenants/{tenant}/jobs/{job}": f"{EXAMPLE}/jobs/tox-py38",
    "/tenants/{tenant}/projects": f"{EXAMPLE}/projects",
    "/tenants/{tenant}/config-errors": f"{EXAMPLE}/config-errors",
    "/tenants/{tenant}/holds": f"{EXAMPLE}/holds",
    "/tenants/{tenant}/labels": f"{EXAMPLE}/labels",
    "/tenants/{tenant}/nodes": f"{EXAMPLE}/nodes",
    **{f"/nodepool/{rows}": f"/v1/nodepool/{rows}" for rows in OF_NODEPOOL},
}
STATUS = {"/tenants/{tenant}/status": f"{EXAMPLE}/status"}
OBJECTS = {
    "/info": "/v1/info",
    "/connections/{name}": "/v1/connections/gerrit",
    "/tenants/{tenant}": EXAMPLE,
    "/tenants/{tenant}/info": f"{EXAMPLE}/info",
    **STATUS,
    "/tenants/{tenant}/pipelines/{pipeline}": GATE,
    "/tenants/{tenant}/pipelines/{pipeline}/items/{item}": f"{GATE}/items/700069,5",
    "/tenants/{tenant}/projects/{project}": COMPUTE,
    "/tenants/{tenant}/holds/{request_id}": f"{EXAMPLE}/holds/0000000001",
    "/tenants/{tenant}/nodes/{node}": f"{EXAMPLE}/nodes/{pool.READY}",
    **{f"/nodepool/{rows}/{{{rows[:-1]}}}": f"/v1/nodepool/{rows}/{name}" for rows, name in OF_NODEPOOL.items()},
}
TEXTS = {
    "/tenants/{tenant}/projects/{project}/keys/secrets": f"{COMPUTE}/keys/secrets",
    "/tenants/{tenant}/projects/{project}/keys/ssh": f"{COMPUTE}/keys/ssh",
}
TYPED = {**ARRAYS, **OBJECTS}
ROUTES = {**TYPED, **TEXTS}


def each(table):
    return pytest.mark.parametrize("url", table.values())


@pytest.fixture
def methods(tmp_path):
    """The exposed method of each route."""
    path = tmp_path / "zuul.conf"
    path.write_text("")
    found = routes(v1.url_map(read(str(path)), None, None, None, None, None, None))
    elsewhere = [route for route in found if is_stream(route) or is_history(route)]  # test_streams.py, test_history.py
    return {route.template: route.controller.exposed for route in found if route not in elsewhere}


@pytest.fixture
def exposed(methods):
    """By URL of the sandbox."""
    return {url: methods[template] for template, url in ROUTES.items()}


def test_every_route_is_tested(methods):
    assert set(methods) == set(ROUTES)


# Shape and form.


@each(TYPED)
def test_the_answer_has_the_declared_shape(app, exposed, url):
    response = app.get(url)

    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    assert undeclared(exposed[url].result(V1), response.json) == []
    assert response.json


@each(ARRAYS)
def test_an_array_tells_how_much_of_it_this_is(app, url):
    response = app.get(url)

    assert len(response.json) == int(response.headers["X-Total"]) <= DEFAULT_LIMIT
    assert response.headers["X-Limit"] == str(DEFAULT_LIMIT)
    assert response.headers["Access-Control-Expose-Headers"] == READABLE_FIELDS


@each({**OBJECTS, **TEXTS})
def test_what_is_no_array_has_no_count(app, url):
    assert not [name for name in app.get(url).headers if name in ("X-Total", "X-Limit", "Link")]


@each(TEXTS)
@pytest.mark.parametrize("accept", ["text/plain", "application/xml", "application/json", "nonsense"])
def test_a_key_is_plain_text_whatever_is_accepted(app, url, accept):
    response = app.get(url, headers={"Accept": accept})

    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.body == app.get(url).body


JSON_FOR = ["application/json", "*/*", "application/*", "", "nonsense", "text/plain", "xml", "application/xml;q=x",
            "application/json, application/xml", "application/xml;q=0.5, application/json;q=0.6", "application/xml;q=0",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/atom+xml", "*/*;q=0.1",
            "xml," * 5000]  # fmt: skip
XML_FOR = ["application/xml", "text/xml", "APPLICATION/XML", "application/json;q=0.5, application/xml",
           "*/*;q=0.1, application/xml;q=0.2", "x/y, */*;q=0, application/xml"]  # fmt: skip


@pytest.mark.parametrize(
    "url", ["/v1", f"{EXAMPLE}/jobs", f"{EXAMPLE}/status", GATE, f"{EXAMPLE}/status?omit=pipelines"]
)
def test_json_is_for_everybody(app, url):
    plain = app.get(url).body

    for accept in JSON_FOR:
        response = app.get(url, headers={"Accept": accept})
        assert (response.content_type, response.body) == ("application/json", plain), accept


@pytest.mark.parametrize(
    "url", ["/v1", f"{EXAMPLE}/jobs", f"{EXAMPLE}/status", GATE, f"{EXAMPLE}/status?omit=pipelines"]
)
def test_xml_is_for_who_prefers_it(app, url):
    for accept in XML_FOR:
        response = app.get(url, headers={"Accept": accept})
        assert response.headers["Content-Type"] == "application/xml; charset=utf-8", accept
        assert ElementTree.fromstring(response.body).tag == "result"


@each(TYPED)
def test_xml_has_the_same_rows_and_names_and_fields(app, url):
    xml, plain = app.get(url, headers={"Accept": "application/xml"}), app.get(url)
    result = ElementTree.fromstring(xml.body)

    if isinstance(plain.json, list):
        assert [child.tag for child in result] == ["item"] * len(plain.json)
        assert [[child.tag for child in item] for item in result] == [list(row) for row in plain.json]
    else:
        assert [child.tag for child in result] == list(plain.json)
    for name in ("X-Total", "X-Limit", "Link", "Cache-Control"):
        assert xml.headers.get(name) == plain.headers.get(name)
    assert xml.headers["ETag"] != plain.headers["ETag"]


@each(ROUTES)
def test_another_mount_gives_the_same(app, url):
    def below(mount):
        response = app.get(url.replace("/v1", mount, 1))
        return response.headers["Content-Type"], response.text.replace(f'"{mount}/', '"/')

    assert below("/api/v1") == below("/v1")


@each(ROUTES)
def test_a_slash_at_the_end_means_nothing(app, url):
    assert app.get(f"{url}/").body == app.get(url).body


@each(ROUTES)
def test_another_origin_may_read(app, url):
    assert app.get(url).headers["Access-Control-Allow-Origin"] == "*"


# Validators.


def vary(response):
    return {name.strip() for field in response.headers.getall("Vary") for name in field.split(",")}


@each(ROUTES)
@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_what_the_client_has_is_not_sent_again(app, url, accept):
    full = app.get(url, headers={"Accept": accept})
    etag = full.headers["ETag"]
    assert etag.startswith('"')

    for ask, form in product((app.get, app.head), ("{}", "W/{}", '"other", {}', "*")):
        response = ask(url, headers={"Accept": accept, "If-None-Match": form.format(etag)})
        assert (response.status_int, response.body) == (304, b"")
        assert "Content-Type" not in response.headers and "Content-Length" not in response.headers
        for name in ("ETag", "Cache-Control", "X-Total", "X-Limit", "Link"):
            assert response.headers.get(name) == full.headers.get(name)
        assert vary(response) == vary(full)


@each(ROUTES)
def test_another_entity_tag_gets_the_whole(app, url):
    xml = app.get(url, headers={"Accept": "application/xml"}).headers["ETag"]

    for etag in ('"other"', '"', "", "W/", '"x" "y"', *([xml] if url in TYPED.values() else [])):
        assert app.get(url, headers={"If-None-Match": etag}).status_int == 200


@each(ROUTES)
def test_a_cache_is_told_what_the_answer_depends_on(app, url):
    expected = {"Accept-Encoding"} if url in TEXTS.values() else {"Accept", "Accept-Encoding"}

    for accept in ("application/json", "application/xml"):
        response = app.get(url, headers={"Accept": accept})
        assert vary(response) == expected
        assert response.headers["Cache-Control"]


@each(ROUTES)
@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_gzip_is_another_representation_of_the_same(app, send, url, accept):
    zipped = send(app, url, HTTP_ACCEPT_ENCODING="gzip, br", HTTP_ACCEPT=accept)  # first: a status is packed on demand
    plain = app.get(url, headers={"Accept": accept})

    assert zipped.headers["Content-Length"] == str(len(zipped.body))
    assert vary(zipped) == vary(plain)
    if "Content-Encoding" not in zipped.headers:
        assert len(plain.body) < 1024
        assert (zipped.body, zipped.headers["ETag"]) == (plain.body, plain.headers["ETag"])
        return
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    for etag in (zipped.headers["ETag"], plain.headers["ETag"]):
        for encoding in ("gzip", ""):
            held = {"If-None-Match": etag, "Accept-Encoding": encoding, "Accept": accept}
            assert app.get(url, headers=held).status_int == 304


@each(ROUTES)
def test_what_the_client_does_not_decode_is_not_sent(app, url):
    for weights in ("", "identity", "br", "gzip;q=0"):
        assert "Content-Encoding" not in app.get(url, headers={"Accept-Encoding": weights}).headers


# Methods.


@each(ROUTES)
@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_head_has_the_fields_of_get_and_no_body(app, url, accept):
    get, head = (ask(url, headers={"Accept": accept}) for ask in (app.get, app.head))

    assert (head.status_int, head.body) == (200, b"")
    for name in set(get.headers) - {"X-Request-Id", "Age", "Expires"}:
        assert head.headers.getall(name) == get.headers.getall(name)
    assert get.headers["Content-Length"] == str(len(get.body))


@each(ROUTES)
def test_options_tells_the_methods(app, url):
    response = app.options(url)

    assert (response.status_int, response.body) == (204, b"")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert "Access-Control-Allow-Methods" not in response.headers


@each(ROUTES)
def test_a_browser_may_ask_before_it_asks(app, url):
    asked = {"Origin": "https://example.org", "Access-Control-Request-Method": "GET"}

    response = app.options(url, headers={**asked, "Access-Control-Request-Headers": "authorization"})

    assert (response.status_int, response.headers["Access-Control-Allow-Origin"]) == (204, "*")
    assert response.headers["Access-Control-Allow-Methods"] == response.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
    assert int(response.headers["Access-Control-Max-Age"]) > 0


@pytest.mark.parametrize("url", ["/v1/nope", f"{EXAMPLE}/nope", "/v1/tenants/example/holds/1/2"])
def test_options_of_nothing_is_404(app, refusal, url):
    refusal(app.options(url, status="*"), 404)


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data", "application/json", "application/x-www-form-urlencoded"]
)
@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_body_that_nobody_asked_for_is_not_looked_at(app, send, method, content_type):
    body = b"{limit=0&\xff"
    environ = {"CONTENT_TYPE": content_type, "CONTENT_LENGTH": str(len(body)), "wsgi.input": io.BytesIO(body)}

    assert send(app, f"{EXAMPLE}/jobs", REQUEST_METHOD=method, **environ).status_int in (200, 204)


@pytest.mark.undeclared("the document has the methods that need a token")
@each(ROUTES)
def test_another_method_is_405_and_tells_those_that_are_allowed(app, refusal, url):
    for method in ("POST", "PUT", "DELETE", "PATCH", "TRACE"):
        response = app.request(url, method=method, status="*")
        if method in ("POST", "DELETE") and re.search("/(holds|items|nodepool/(nodes|builds|uploads))(/[^/]+)?$", url):
            assert response.status_int in (404, 405)  # there are actions with tokens; see test_actions.py
            continue
        assert method in refusal(response, 405)["faultstring"]
        assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


# Parameters and names.


@each(ROUTES)
def test_an_unknown_query_parameter_is_named(app, refusal, url):
    for name in ("unknown", "self", "request", "from_path", "__body__", "limit[]", "", "tenant", "Limit"):
        body = refusal(app.get(url, {name: "x"}, status="*"), 400)
        assert body["faultstring"] == f"unknown query parameter: {name}"


@each(ROUTES)
def test_a_query_parameter_cannot_override_the_path(app, exposed, url):
    for name in exposed[url].path_names:
        if name in exposed[url].collection(V1).filters:
            assert app.get(url, {name: "other"}).json == []  # which is about the rows
        else:
            assert app.get(url, {name: "other"}, status="*").status_int == 400


@each({**OBJECTS, **TEXTS})
def test_what_is_no_array_has_no_pages(app, refusal, url):
    for name in ("limit", "marker", "offset", "sort_field", "sort_dir"):
        refusal(app.get(url, {name: "1"}, status="*"), 400)


@pytest.mark.parametrize("url", [url for url in ROUTES.values() if EXAMPLE in url])
def test_an_unknown_tenant_is_404(app, refusal, url):
    for name in ("nope", "Example", "..", "%C3%A9", "example%20", "%25"):
        refusal(app.get(url.replace("/tenants/example", f"/tenants/{name}"), status="*"), 404)


@pytest.mark.parametrize(
    "url",
    [f"{EXAMPLE}/pipelines/{{}}", f"{EXAMPLE}/pipelines/{{}}/items", f"{EXAMPLE}/pipelines/{{}}/items/700069,5",
     f"{EXAMPLE}/pipelines/{{}}/projects/core/compute/branches/master/frozen-jobs", f"{GATE}/items/{{}}",
     f"{GATE}/projects/{{}}/branches/master/frozen-jobs", f"{EXAMPLE}/jobs/{{}}", f"{EXAMPLE}/projects/{{}}",
     f"{EXAMPLE}/projects/{{}}/keys/ssh", f"{EXAMPLE}/projects/{{}}/keys/secrets", "/v1/connections/{}",
     f"{EXAMPLE}/holds/{{}}", f"{EXAMPLE}/{{}}", "/v1/{}"],
)  # fmt: skip
def test_an_unknown_name_is_404_in_the_one_shape(app, refusal, url):
    for name in ("nope", "None", "..", "%C3%A9", "a%2Fb", "a/b", "%0D%0Ax", "'", "x" * 4000):
        for accept in ("*/*", "application/xml"):
            refusal(app.get(url.format(name), headers={"Accept": accept}, status="*"), 404)


@pytest.mark.parametrize(
    "url",
    ["/v1/tenants/example/projects", f"{EXAMPLE}/projects/", f"{GATE}/projects", f"{GATE}/projects/core/compute",
     f"{GATE}/projects/core/compute/branches/master", f"{EXAMPLE}/projects/core/compute/keys",
     f"{EXAMPLE}/projects/core/compute/keys/pgp", f"{EXAMPLE}/projects/keys/ssh", f"{EXAMPLE}/jobs/tox-py38/x",
     f"{EXAMPLE}/status/change/1,1", f"{EXAMPLE}/holds/0000000001/nodes", "/v1/tenant/example/jobs"],
)  # fmt: skip
def test_half_a_url_and_more_than_one_is_404_unless_it_is_a_collection(app, url):
    assert app.get(url, status="*").status_int == (200 if url.rstrip("/") == f"{EXAMPLE}/projects" else 404)


@pytest.mark.parametrize(
    "project", ["core/compute", "core%2Fcompute", "review.example.com/core/compute", "core/compute/"]
)
def test_a_project_may_be_spelt_as_it_likes(app, project):
    assert app.get(f"{EXAMPLE}/projects/{project}").json["name"] == "core/compute"
    assert app.get(f"{EXAMPLE}/projects/{project.rstrip('/')}/keys/ssh").text.startswith("ssh-rsa ")


@pytest.mark.parametrize("up", ["..", "%2e%2e", "..%2f..%2f..", "..%5c..", "....//", "%252e%252e%252f", "."])
@pytest.mark.parametrize("place", ["/v1/{}/{}/etc/passwd", "/v1/tenants/{}/jobs", f"{EXAMPLE}/jobs/{{}}/etc/passwd"])
def test_a_way_up_leads_nowhere(app, refusal, up, place):
    refusal(app.get(place.format(up, up), status="*"), 404)


@pytest.mark.parametrize("query", ["%00", "name=%00", "name=%ff", "%c0%af=1", "name=\xff"])
@pytest.mark.parametrize("url", ["/v1", f"{EXAMPLE}/status", f"{EXAMPLE}/jobs"])
def test_bytes_that_mean_nothing_in_a_query_are_400(app, send, refusal, url, query):
    refusal(send(app, url, QUERY_STRING=query), 400)


# The directory.


HISTORY = {
    f"/v1/tenants/{{tenant}}/{name}"
    for name in ("builds", "builds/{uuid}", "build-times", "latest-builds", "buildsets", "buildsets/{uuid}", "badge",
                 "jobs/{job}/stats")
}  # fmt: skip
STREAMS = {f"/v1/tenants/{{tenant}}/{rest}" for rest in ("console-stream", "events", "builds/{uuid}/log")}


def test_the_directory_lists_all_that_can_be_read(app, methods):
    links = {link["href"]: link for link in app.get("/v1").json}

    assert {f"/v1{template}" for template in methods if template} <= set(links)
    assert {href for href in links if href.removeprefix("/v1") not in methods} == STREAMS | HISTORY
    assert all(link["templated"] == ("{" in href) for href, link in links.items())
    assert all(link["title"] for link in links.values())


def test_links_without_a_variable_can_be_followed(app):
    for link in app.get("/v1", {"templated": "false"}).json:
        assert app.get(link["href"]).json


@pytest.mark.parametrize("mount", ["/v1", "/api/v1"])
def test_links_begin_where_the_directory_is(app, send, mount):
    below = {"SCRIPT_NAME": "/ci", "PATH_INFO": mount}

    assert {link["href"][: len(mount) + 1] for link in app.get(mount).json} == {f"{mount}/"}
    assert json.loads(send(app, **below).body)[0]["href"].startswith(f"/ci{mount}/")


# What is kept is kept apart.


def test_equal_bytes_of_two_tenants_are_each_their_own(app_with):
    rows = json.dumps([{"name": name, "projects": 1, "queue": 0} for name in ("example", "widgets")])
    app = app_with(tenant_list=lambda arguments: rows, job_list=lambda arguments: '[{"name": "x"}, {"name": "y"}]')

    for tenant in ("example", "widgets"):
        assert app.get(f"/v1/tenants/{tenant}").json["name"] == tenant
        assert app.get(f"/v1/tenants/{tenant}/jobs?marker=x").json == [{"name": "y"}]


@pytest.mark.undeclared("a job with a name alone")
def test_one_source_has_several_answers(app_with):
    rows = '[{"name": "gate", "triggers": [], "extra": 1}]'
    app = app_with(
        pipeline_list=lambda arguments: rows, job_list=lambda arguments: rows, job_get=lambda arguments: rows
    )

    for _ in range(2):
        assert app.get("/api/tenant/example/pipelines").text == rows
        assert app.get(f"{EXAMPLE}/pipelines").json == [{"name": "gate", "triggers": []}]
        assert app.get(f"{EXAMPLE}/pipelines/gate").json == {"name": "gate", "triggers": []}
        assert app.get(f"{EXAMPLE}/jobs").json == [{"name": "gate"}]
        assert app.get(f"{EXAMPLE}/jobs/gate").json == [{"name": "gate"}]
        assert app.get(f"{EXAMPLE}/pipelines?fields=name").json == [{"name": "gate"}]
        assert app.get("/api/tenant/example/pipelines?fields=name").headers.get("X-Limit") is None
        assert app.get(f"{EXAMPLE}/pipelines?fields=name").headers["X-Limit"] == "100"
        assert app.get(f"{EXAMPLE}/pipelines", headers={"Accept": "text/xml"}).text.startswith("<result>")
