# SPDX-License-Identifier: Apache-2.0
"""/openapi.json, /openapi.yaml and /docs."""

from __future__ import annotations

import gzip
import importlib.resources
import json
import re
from urllib.parse import urljoin

import pytest
import yaml
from contract import CheckedApp

from zuul.web import application
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.documentation import ASSETS

DOCUMENTS = ["/openapi.json", "/openapi.yaml"]
ALL = [*DOCUMENTS, "/docs/", *(f"/docs/{name}" for name in ASSETS)]

each = pytest.mark.parametrize("url", ALL)


@pytest.fixture
def static_path(tmp_path):
    root = tmp_path / "static"
    root.mkdir()
    (root / "index.html").write_text("the dashboard")
    return root


@pytest.fixture
def dashboard(make_app, functions, static_path, tmp_path):
    """The application with a dashboard."""
    path = tmp_path / "dashboard.conf"
    path.write_text(f"[gearman]\nserver = localhost\n[web]\nstatic_path = {static_path}\n")

    def dashboard():
        return application.load(str(path))

    return dashboard


def test_the_document_is_of_what_is_served(app):
    document = app.get("/openapi.json").json

    assert document["openapi"] == "3.1.0"
    assert "/v1/tenants" in document["paths"]
    # Only where tokens can be checked; elsewhere this would be a project.
    assert "/api/tenant/{tenant}/project/{project}/autohold" not in document["paths"]
    assert yaml.safe_load(app.get("/openapi.yaml").text) == document


def test_one_tenant_at_the_root_is_in_the_document(make_app, functions):
    app = make_app(LocalTransport(functions), "whitelabel_tenant = example\n")

    paths = app.get("/openapi.json").json["paths"]
    assert {"/api/status", "/api/jobs", "/api/tenant/{tenant}/jobs"} <= set(paths)
    names = [operation["operationId"] for methods in paths.values() for operation in methods.values()]
    assert len(set(names)) == len(names)


def test_the_document_is_made_once(make_app, functions, monkeypatch):
    made = []
    describe = application.describe
    monkeypatch.setattr(application, "describe", lambda parts: made.append(1) or describe(parts))
    app = make_app(LocalTransport(functions))

    assert made == []
    for url in (*DOCUMENTS, *DOCUMENTS):
        app.get(url)
    assert made == [1]


@pytest.mark.parametrize(
    ("url", "content_type"),
    [
        ("/openapi.json", "application/json; charset=utf-8"),
        ("/openapi.yaml", "application/yaml; charset=utf-8"),
        ("/docs/", "text/html; charset=utf-8"),
        ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
        ("/docs/favicon-32x32.png", "image/png"),
    ],
)
def test_everything_says_its_type_and_how_long_it_is_good(app, url, content_type):
    response = app.get(url)

    assert response.headers["Content-Type"] == content_type
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == ("public, max-age=3600" if url[6:] in ASSETS else "no-cache")
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["X-Request-Id"]


@each
def test_what_the_client_has_is_not_sent_again(app, send, url):
    etag = app.get(url).headers["ETag"]
    for held in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        response = app.get(url, headers={"If-None-Match": held})
        assert (response.status_int, response.body, response.headers["ETag"]) == (304, b"", etag)
        assert "Content-Type" not in response.headers
    assert app.get(url, headers={"If-None-Match": '"other"'}).status_int == 200


@each
def test_head_has_the_fields_and_no_body(app, url):
    get, head = app.get(url), app.head(url)

    assert head.body == b""
    assert {**head.headers, "X-Request-Id": ""} == {**get.headers, "X-Request-Id": ""}


@each
def test_text_is_compressed_for_who_accepts_it(app, send, url):
    plain, zipped = app.get(url), send(app, url, HTTP_ACCEPT_ENCODING="gzip")

    if url.endswith(".png"):
        assert "Content-Encoding" not in zipped.headers
        return
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.body) == plain.body
    assert zipped.headers["ETag"] != plain.headers["ETag"]
    held = {"If-None-Match": plain.headers["ETag"], "Accept-Encoding": "gzip"}
    assert app.get(url, headers=held).status_int == 304


@each
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_method_is_405(app, refusal, url, method):
    response = app.request(url, method=method, status="*")

    refusal(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@each
def test_options_tells_the_methods(app, url):
    response = app.options(url)

    assert (response.status_int, response.body) == (204, b"")
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("prefix", ["", "/ci", "/a/b"])
def test_without_its_slash_the_page_is_a_step_away_whatever_stands_in_front(app, send, prefix):
    response = send(app, "/docs", SCRIPT_NAME=prefix)

    assert response.status_int == 307
    assert urljoin(f"{prefix}/docs", response.headers["Location"]) == f"{prefix}/docs/"


def test_the_page_runs_its_own_script_and_loads_only_what_is_here(app):
    response = app.get("/docs/")

    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert "unsafe" not in policy
    loaded = re.findall(r'(?:src|href)="([^"]*)"', response.text)
    assert {urljoin("/docs/", url) for url in loaded} == {*(f"/docs/{name}" for name in ASSETS), "/openapi.json"}


def test_assets_are_those_of_the_package(app):
    for name in ASSETS:
        assert (
            app.get(f"/docs/{name}").body
            == importlib.resources.files("swagger_ui").joinpath("static", name).read_bytes()
        )


@pytest.mark.parametrize(
    "path",
    [
        "/docs/index.css",
        "/docs/../openapi.json",
        "/docs/../../setup.cfg",
        "/docs/static/swagger-ui.css",
        "/docs/swagger-ui.css/",
        "/docs/..",
        "/docs/\\..\\x",
        "/openapi.json/",
        "/openapi",
        "/x/openapi.json",
    ],
)
def test_nothing_else_is_there(app, send, refusal, path):
    refusal(send(app, PATH_INFO=path), 404)


def test_a_query_changes_nothing(app):
    assert app.get("/openapi.json?x=1").body == app.get("/openapi.json").body


# Beside a dashboard


def test_the_operators_own_openapi_yaml_stays(dashboard, static_path, functions, request):
    app = CheckedApp(dashboard(), request.node, shares_root=True)

    assert app.get("/openapi.yaml").text.startswith("openapi: 3.1.0")
    (static_path / "openapi.yaml").write_text("openapi: 3.0.0")
    assert app.get("/openapi.yaml").text == "openapi: 3.0.0"
    assert app.get("/openapi.json").json["openapi"] == "3.1.0"


def test_pages_of_the_dashboard_stay(dashboard, request):
    app = CheckedApp(dashboard(), request.node, shares_root=True)

    assert app.get("/docs/page").text == "the dashboard"
    assert "swagger-ui" in app.get("/docs/").text


def test_a_tenant_named_docs_keeps_its_legacy_urls(app_with, functions):
    tenants = [*json.loads(functions["zuul:tenant_list"]({})), {"name": "docs", "projects": 1, "queue": 0}]
    app = app_with(
        tenant_list=lambda arguments: json.dumps(tenants),
        status_get=lambda arguments: functions["zuul:status_get"]({"tenant": "example"}),
    )

    assert "pipelines" in app.get("/docs/status.json").json
    assert "swagger-ui" in app.get("/docs/").text


def test_it_leaves_the_composition_ours(app):
    assert application.all_ours(app.app)
    assert application.snapshots_in_front(app.app)
