# SPDX-License-Identifier: Apache-2.0
"""The URLs of Zuul 2 and early 3, among the pages and files of a dashboard; and one tenant at the root."""

from __future__ import annotations

import gzip
import json
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin

import pytest
from contract import CheckedApp
from shapes import undeclared

from zuul.web import application
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.controllers.legacy import LegacyChangeController
from zuul.web.errors import Unavailable
from zuul.web.filters import SnapshotFilter
from zuul.web.resources.jobs import Job
from zuul.web.resources.status import Status
from zuul.web.resources.tenants import Tenant
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler
from zuul.web.settings import read

STATUS = json.loads(
    SandboxScheduler(load(None), clock=lambda: 1_600_000_000.0).functions["zuul:status_get"]({"tenant": "example"})
)
CHANGE = next(
    item["id"]
    for pipeline in STATUS["pipelines"]
    for queue in pipeline["change_queues"]
    for head in queue["heads"]
    for item in head
    if item["ref"].startswith("refs/changes/")
)
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
INDEX = b"<!doctype html><title>dashboard</title>"

STATUSES = ["/status.json", "/status", "/example/status.json", "/example/status"]
CHANGES = [f"/status/change/{CHANGE}", f"/example/status/change/{CHANGE}"]
KEYS = [
    "/example/keys/gerrit/core/compute.pub",
    "/example/core/compute.pub",
    "/example/review.example.com/core/compute.pub",
]
URLS = [*STATUSES, *CHANGES, *KEYS, "/tenants.json", "/example/jobs.json"]

all_urls = pytest.mark.parametrize("url", URLS)


@pytest.fixture
def whitelabel(make_app, functions):
    """The application with `whitelabel_tenant`, so that the URLs of Zuul 2 mean a tenant."""
    return make_app(LocalTransport(functions), "whitelabel_tenant = example\n")


@pytest.fixture
def static_path(tmp_path):
    """A dashboard's build."""
    root = tmp_path / "static"
    (root / "static" / "js").mkdir(parents=True)
    (root / "index.html").write_bytes(INDEX)
    (root / "static" / "status.json").write_text('"of the dashboard"')
    (root / "static" / "js" / "main.js").write_text("main()")
    return root


@pytest.fixture
def app_of(tmp_path, functions, make_app, request):
    """`app_of(web=..., rest=...)`: the application with lines in these sections, over this scheduler."""
    built = []

    def app_of(web="", rest="", paste_file=None, **replaced):
        path = tmp_path / f"of-{len(built)}.conf"
        path.write_text(f"[gearman]\nserver = localhost\n[web]\n{web}\n[rest]\n{rest}\n")
        transport = LocalTransport({**functions, **{f"zuul:{name}": f for name, f in replaced.items()}})
        services = application.Services.build(read(str(path)), transport)
        built.append(services)
        application.provide(str(path), services)
        loaded = application.load(str(path), paste_file)
        return CheckedApp(loaded, request.node, shares_root=bool(web or paste_file))

    yield app_of
    for services in built:
        services.close()


@pytest.fixture
def dashboard(app_of, static_path):
    return app_of(web=f"static_path = {static_path}")


@pytest.fixture
def whitelabel_dashboard(app_of, static_path):
    return app_of(web=f"static_path = {static_path}", rest="whitelabel_tenant = example")


def only(tenant):
    return lambda arguments: json.dumps([{"name": tenant, "projects": 1, "queue": 0}])


# What each gives


@pytest.mark.parametrize("url", STATUSES)
def test_a_status_is_that_of_today(whitelabel, url):
    response = whitelabel.get(url)

    assert response.body == whitelabel.get("/api/tenant/example/status").body
    assert undeclared(Status, response.json) == []


@pytest.mark.parametrize("url", [*STATUSES, *CHANGES])
def test_a_status_has_the_header_fields_of_its_time(whitelabel, url):
    headers = whitelabel.get(url).headers
    until = parsedate_to_datetime(headers["Expires"]).timestamp()

    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Cache-Control"] == "public, max-age=1"
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert -1 <= until - time.time() <= 2
    assert headers["Age"] == "0"
    assert headers.getall("Vary") == ["Accept-Encoding"]
    for since in (headers["Last-Modified"], "Thu, 01 Jan 2099 00:00:00 GMT"):
        unchanged = whitelabel.get(url, headers={"If-Modified-Since": since})
        assert (unchanged.status_int, unchanged.body) == (304, b"")
        assert unchanged.headers["Expires"]
    assert whitelabel.get(url, headers={"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}).status_int == 200


@pytest.mark.parametrize("url", STATUSES)
def test_a_status_never_enters_pecan_once_it_is_at_hand(whitelabel, monkeypatch, url):
    whitelabel.get("/api/tenant/example/status")
    monkeypatch.setattr(snapshot_filter(whitelabel), "inner", None)

    assert whitelabel.get(url).status_int == 200


def snapshot_filter(app):
    found = app.app
    while not isinstance(found, SnapshotFilter):
        found = found.inner
    return found


@pytest.mark.parametrize("url", CHANGES)
def test_a_change_is_a_list_of_its_items(whitelabel, url):
    items = whitelabel.get(url).json

    assert items == whitelabel.get(f"/api/status/change/{CHANGE}").json
    assert items
    assert undeclared(LegacyChangeController.get.exposed.definition.return_type, items) == []


@pytest.mark.parametrize("url", ["/status/change/1,1", "/example/status/change/1,1", "/status/change/x"])
def test_a_change_that_is_in_no_pipeline_is_404_unlike_below_api(whitelabel, refusal, url):
    refusal(whitelabel.get(url, status="*"), 404)
    assert whitelabel.get("/api/status/change/1,1").json == []


@pytest.mark.parametrize("url", KEYS)
def test_a_key_is_that_of_today(app, url):
    response = app.get(url)

    assert response.body == app.get("/api/tenant/example/key/core/compute.pub").body
    assert response.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_lists_are_those_of_today(app):
    assert app.get("/tenants.json").body == app.get("/api/tenants").body
    assert undeclared([Tenant], app.get("/tenants.json").json) == []
    assert app.get("/example/jobs.json").body == app.get("/api/tenant/example/jobs").body
    assert undeclared([Job], app.get("/example/jobs.json").json) == []


# What is true of all


@all_urls
def test_another_origin_may_read(whitelabel, url):
    assert whitelabel.get(url).headers["Access-Control-Allow-Origin"] == "*"


@all_urls
def test_what_the_client_has_is_not_sent_again(whitelabel, url):
    etag = whitelabel.get(url).headers["ETag"]

    assert whitelabel.get(url, headers={"If-None-Match": etag}).status_int == 304
    assert whitelabel.get(url, headers={"If-None-Match": '"other"'}).status_int == 200


@all_urls
def test_head_has_the_fields_of_get_and_no_body(whitelabel, url):
    get, head = whitelabel.get(url), whitelabel.head(url)

    assert (head.status_int, head.body) == (200, b"")
    for name in ("Content-Type", "Content-Length", "ETag", "Cache-Control", "Vary"):
        assert head.headers[name] == get.headers[name]


@all_urls
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_another_method_is_405(whitelabel, refusal, url, method):
    response = whitelabel.request(url, method=method, status="*")

    refusal(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


def test_builds_have_the_filters_that_they_had(app):
    """The one list of that time that could be asked for a part of it."""
    builds = app.get("/example/builds.json?job_name=tox-py38&limit=2").json

    assert [build["job_name"] for build in builds] == ["tox-py38"] * 2
    assert builds == app.get("/api/tenant/example/builds?job_name=tox-py38&limit=2").json


@all_urls
def test_a_query_means_nothing_as_at_that_time(whitelabel, url):
    assert whitelabel.get(f"{url}?_=1383835712").body == whitelabel.get(url).body


@pytest.mark.parametrize(
    "url",
    [
        *(url.replace("example", "nope", 1) for url in URLS if url.startswith("/example")),
        "/example/keys/github.com/core/compute.pub",
        "/example/keys/nope/core/compute.pub",
        "/example/keys/gerrit/nope.pub",
        "/example/keys/gerrit.pub",
        "/example/nope.pub",
        "/example/.pub",
        "/status.jsonx",
        "/status/",
        "/example/status/change/",
        "/example/status/nope",
        "/jobs.json",
        "/tenants",
        "/example",
        "/v1/status",
    ],
)
def test_what_is_not_there_is_404(whitelabel, refusal, url):
    refusal(whitelabel.get(url, status="*"), 404)


def test_names_that_are_no_tenants_are_not_asked_for_one_by_one(app_with, functions, refusal):
    asked = []
    app = app_with(
        status_get=lambda arguments: asked.append("status_get"),
        tenant_list=lambda arguments: asked.append("tenant_list") or functions["zuul:tenant_list"](arguments),
    )
    for number in range(5):
        refusal(app.get(f"/nope{number}/status.json", status="*"), 404)

    assert asked == ["tenant_list"]


def test_a_tenant_may_have_characters_beyond_ascii(app_of, functions):
    name = "großes"

    def status_get(arguments):
        return functions["zuul:status_get"]({"tenant": "example"}) if arguments["tenant"] == name else '{"code": 404}'

    app = app_of(status_get=status_get, tenant_list=only(name))

    for url in ("/gro%C3%9Fes/status.json", "/status.json", "/api/tenant/gro%C3%9Fes/status"):
        for _ in range(2):
            assert undeclared(Status, app.get(url).json) == []


# The tenant of URLs that name none


@pytest.mark.parametrize("url", ["/status.json", "/status", f"/status/change/{CHANGE}"])
def test_with_several_tenants_the_error_says_what_to_configure(app, refusal, url):
    response = app.get(url, status="*")

    words = refusal(response, 404)["faultstring"]
    assert "whitelabel_tenant" in words and "[rest]" in words and "/NAME/status.json" in words
    assert response.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("url", ["/status.json", "/status", f"/status/change/{CHANGE}"])
def test_the_only_tenant_is_meant(app_with, url):
    app = app_with(tenant_list=only("example"))

    assert app.get(url).body == app.get(f"/example{url}").body


def test_the_only_tenant_is_known_for_a_moment(app_with, monkeypatch):
    app = app_with(tenant_list=only("example"))
    assert app.get("/status.json").status_int == 200
    monkeypatch.setattr(snapshot_filter(app), "inner", None)

    assert app.get("/status.json").status_int == 200


def test_without_a_scheduler_it_is_503(failing_app, refusal):
    app = failing_app(Unavailable("nobody is there"))

    for url in ("/status.json", "/status", "/example/status", "/example/jobs.json", "/tenants.json"):
        response = app.get(url, status="*")
        refusal(response, 503)
        assert response.headers["Access-Control-Allow-Origin"] == "*"


# One tenant at the root of /api


@pytest.mark.parametrize(
    "resource",
    [
        "status",
        f"status/change/{CHANGE}",
        "jobs",
        "job/tox-py38",
        "projects",
        "project/core/compute",
        "pipelines",
        "pipeline/gate/project/core/compute/branch/master/freeze-jobs",
        "key/core/compute.pub",
        "project-ssh-key/core/compute.pub",
        "config-errors",
        "autohold",
        "autohold/0000000001",
    ],
)
def test_a_whitelabel_tenant_is_served_at_the_root(whitelabel, app, refusal, resource):
    response = whitelabel.get(f"/api/{resource}")

    assert response.body == whitelabel.get(f"/api/tenant/example/{resource}").body
    assert response.body == app.get(f"/api/tenant/example/{resource}").body
    refusal(app.get(f"/api/{resource}", status="*"), 404)


def test_a_whitelabel_tenant_is_in_the_info(whitelabel, app):
    assert whitelabel.get("/api/info").json["info"]["tenant"] == "example"
    assert whitelabel.get("/api/tenant/widgets/info").json["info"]["tenant"] == "widgets"
    assert "tenant" not in app.get("/api/info").json["info"]


def test_the_other_tenants_are_still_there(whitelabel, app):
    for url in ("/api", "/api/tenants", "/api/connections", "/api/tenant/widgets/status", "/widgets/status.json"):
        assert whitelabel.get(url).body == app.get(url).body


def test_the_whitelabel_status_is_the_snapshot(whitelabel, monkeypatch):
    monkeypatch.setattr(snapshot_filter(whitelabel), "inner", None)

    assert whitelabel.get("/api/status").headers["Last-Modified"]


def test_an_unknown_whitelabel_tenant_is_404(app_of, refusal):
    app = app_of(rest="whitelabel_tenant = nope")

    for url in ("/api/status", "/api/jobs", "/status.json", "/status"):
        refusal(app.get(url, status="*"), 404)


# Beside a dashboard


@pytest.mark.parametrize(
    "page",
    [
        "/status",
        "/tenants",
        "/jobs",
        "/job/status",
        "/project/status",
        "/example/status",
        f"/status/change/{CHANGE}",
        "/t/example/status",
        f"/t/example/status/change/{CHANGE}",
        "/t/example/project/review.example.com/lib/x.pub",
        "/project/review.example.com/lib/x.pub",
    ],
)
def test_a_browser_gets_the_dashboards_page(dashboard, whitelabel_dashboard, page):
    for app in (dashboard, whitelabel_dashboard):
        for _ in range(2):
            assert app.get(page, headers=BROWSER).body == INDEX
            app.get("/api/tenant/example/status")  # now it is at hand


@pytest.mark.parametrize("page", ["/t/example/status", "/t/example/stream/1/status", "/t/example/project/a/x.pub"])
def test_pages_of_a_tenant_are_pages_for_everybody(dashboard, page):
    assert dashboard.get(page).body == INDEX


@pytest.mark.parametrize("url", ["/status", "/example/status", f"/status/change/{CHANGE}", "/example/core/compute.pub"])
def test_a_script_gets_what_it_always_got(whitelabel_dashboard, url):
    app = whitelabel_dashboard
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        for _ in range(2):
            response = app.get(url, headers=headers)
            assert response.content_type in ("application/json", "text/plain")
            assert sorted(response.headers.getall("Vary")) == ["Accept", "Accept-Encoding"]
    page = app.get(url, headers=BROWSER)
    assert sorted(page.headers.getall("Vary")) == ["Accept", "Accept-Encoding"]


@pytest.mark.parametrize("url", ["/status.json", "/example/status.json", "/tenants.json", "/example/jobs.json"])
def test_json_is_json_for_a_browser_too(whitelabel_dashboard, url):
    for _ in range(2):
        response = whitelabel_dashboard.get(url, headers=BROWSER)
        assert response.content_type == "application/json"
        assert response.headers.getall("Vary") == ["Accept-Encoding"]


@pytest.mark.parametrize("url", ["/status", "/example/status"])
def test_without_a_dashboard_a_browser_gets_the_status(whitelabel, url):
    response = whitelabel.get(url, headers=BROWSER)

    assert response.content_type == "application/json"
    assert response.headers.getall("Vary") == ["Accept-Encoding"]


@pytest.mark.parametrize("tenant", ["api", "static", "v1", "t", "status"])
def test_no_name_of_a_tenant_shadows_anything(app_of, functions, static_path, refusal, tenant):
    def status_get(arguments):
        return functions["zuul:status_get"]({"tenant": "example"})

    app = app_of(web=f"static_path = {static_path}", status_get=status_get, tenant_list=only(tenant))
    assert app.get(f"/api/tenant/{tenant}/status").status_int == 200
    for _ in range(2):
        assert app.get("/api/tenants").json[0]["name"] == tenant
        refusal(app.get("/api/status", status="*"), 404)
        refusal(app.get("/api/status.json", status="*"), 404)
        refusal(app.get("/v1/status", status="*"), 404)
        assert app.get("/static/status.json").json == "of the dashboard"
        assert app.get("/static/js/main.js").text == "main()"
        assert app.get("/t/example/status").body == INDEX
        assert "pipelines" in app.get("/status.json").json


@pytest.mark.parametrize(
    "old, today",
    [
        ("/tenants.html", "/tenants"),
        ("/example/status.html", "/t/example/status"),
        ("/example/jobs.html", "/t/example/jobs"),
        ("/example/builds.html", "/t/example/builds"),
        ("/t/example/status.html", "/t/example/status"),
        ("/gro%C3%9F/status.html", "/t/gro%C3%9F/status"),
    ],
)
def test_old_pages_lead_to_those_of_today(dashboard, old, today):
    for response in (dashboard.get(old), dashboard.head(old), dashboard.get(old, headers=BROWSER)):
        assert response.status_int == 307
        assert urljoin(old, response.headers["Location"]) == today
        assert response.body == b""
    assert dashboard.get(today, headers=BROWSER).body == INDEX


@pytest.mark.parametrize(
    "old, today",
    [
        ("/status.html", "/status"),
        ("/jobs.html", "/jobs"),
        ("/example/status.html", "/status"),
        ("/t/example/status.html", "/status"),
        ("/widgets/status.html", "/t/widgets/status"),
        ("/tenants.html", "/tenants"),
    ],
)
def test_the_whitelabel_tenants_old_pages_lead_to_the_root(whitelabel_dashboard, old, today):
    assert urljoin(old, whitelabel_dashboard.get(old).headers["Location"]) == today


def test_a_page_that_the_dashboard_has_itself_stays(app_of, static_path):
    (static_path / "status.html").write_text("of 3.0")
    (static_path / "doc").mkdir()
    (static_path / "doc" / "jobs.html").write_text("about jobs")
    app = app_of(web=f"static_path = {static_path}", rest="whitelabel_tenant = example")

    assert app.get("/status.html").text == "of 3.0"
    assert app.get("/doc/jobs.html").text == "about jobs"


@pytest.mark.parametrize("old", ["/tenants.html", "/example/status.html", "/t/example/status.html", "/status.html"])
def test_without_a_dashboard_old_pages_are_404(whitelabel, refusal, old):
    refusal(whitelabel.get(old, headers=BROWSER, status="*"), 404)


# In a composition of the operator's

PASTE_FILE = """
[composite:applications]
use = egg:Paste#urlmap
/ = {outside}
/api = api
/example = own

[pipeline:outside]
pipeline = legacy site

[app:api]
use = egg:zuul-rest#api

[app:site]
use = egg:zuul-rest#site

[app:own]
paste.app_factory = test_legacy_urls:own_app

[filter:legacy]
use = egg:zuul-rest#legacy

[filter:snapshots]
use = egg:zuul-rest#snapshots

[filter:cors]
use = egg:zuul-rest#cors

[pipeline:main]
pipeline = snapshots cors applications
"""


def own_app(global_conf):
    def own(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"own"]

    return own


@pytest.fixture
def composed(tmp_path, app_of, monkeypatch):
    def composed(outside, rest=""):
        path = tmp_path / "paste.ini"
        text = PASTE_FILE.format(outside=outside)
        path.write_text(text.replace("test_legacy_urls:own_app", f"{own_app.__module__}:own_app"))
        return app_of(rest=rest, paste_file=str(path))

    return composed


@pytest.mark.undeclared("a composition without the filter that gives request ids")
def test_what_an_operator_mounts_keeps_its_urls(composed):
    app = composed("outside")
    app.get("/api/tenant/example/status")

    assert app.get("/example/status").text == "own"
    assert app.get("/widgets/status").content_type == "application/json"


@pytest.mark.undeclared("a composition without the filter that gives request ids")
def test_without_the_filter_there_are_no_legacy_urls(composed):
    app = composed("site", "whitelabel_tenant = widgets")
    app.get("/api/tenant/widgets/status")

    for url in ("/status.json", "/widgets/status", "/tenants.json"):
        assert app.get(url, status="*").status_int == 404
    assert app.get("/api/status").content_type == "application/json"


def test_the_long_way_compresses_too(whitelabel, send):
    response = send(whitelabel, "/status.json?_=1383835712", HTTP_ACCEPT_ENCODING="gzip")

    assert response.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(response.body)) == whitelabel.get("/status.json").json


def test_below_a_mount_point_legacy_urls_are_those_behind_it(whitelabel, send):
    for _ in range(2):
        for url in ("/status.json", "/example/status", "/api/status", "/api/tenant/example/status"):
            response = send(whitelabel, url, SCRIPT_NAME="/widgets")
            assert response.body == whitelabel.get(url).body


def test_our_own_filter_leaves_the_composition_ours(whitelabel):
    assert application.all_ours(whitelabel.app)
    assert application.snapshots_in_front(whitelabel.app)
