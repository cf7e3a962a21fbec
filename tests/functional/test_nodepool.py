# SPDX-License-Identifier: Apache-2.0
"""Nodepool's resources over HTTP. What every route has in common is in test_openapi_routes.py."""

from __future__ import annotations

import dataclasses
import json
import time

import nodepool_tree
import pytest
from contract import CheckedApp
from functional.tokens import CONF, bearer
from nodepool_tree import ALLOCATED, HELD, IN_USE, LAUNCHER, READY, REQUEST, USED, Pool, filled

from zuul.web import application
from zuul.web.backends.nodepool import Nodepool
from zuul.web.backends.nodepool.interface import Connection
from zuul.web.backends.nodepool.memory import MemoryTree
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.settings import read

NODE_KEYS = ["id", "type", "connection_type", "external_id", "provider", "state", "state_time", "comment"]


@pytest.fixture
def tree():
    return filled()


@pytest.fixture
def pool(tree):
    return Pool(tree)


@pytest.fixture
def app(make_app, functions, tree):
    return make_app(LocalTransport(functions), tree=tree)


@pytest.fixture
def app_with_labels(make_app, functions, tree):
    """The application over a scheduler that answers `allowed_labels_get` so."""

    def app_with_labels(answer):
        replaced = {**functions, "zuul:allowed_labels_get": lambda arguments: json.dumps(answer)}
        return make_app(LocalTransport(replaced), tree=tree)

    return app_with_labels


def names(response, key="name"):
    return [row[key] for row in response.json]


# -- as a tenant sees it


@pytest.mark.parametrize(
    ("allowed", "disallowed", "seen"),
    [
        ([], [], ["debian-large", "debian-small", "secret-label"]),
        (["debian"], [], ["debian-large", "debian-small"]),
        (["small"], [], []),
        ([], ["secret"], ["debian-large", "debian-small"]),
        (["debian"], [".*large$"], ["debian-small"]),
    ],
)
@pytest.mark.parametrize("url", ["/api/tenant/example/labels", "/v1/tenants/example/labels"])
def test_labels_are_those_that_the_tenant_may_use(app_with_labels, url, allowed, disallowed, seen):
    app = app_with_labels({"allowed_labels": allowed, "disallowed_labels": disallowed})

    assert names(app.get(url)) == seen


def test_a_scheduler_before_3_16_names_allowed_labels_alone(app_with_labels):
    assert names(app_with_labels(["debian-l"]).get("/api/tenant/example/labels")) == ["debian-large"]


def test_a_pattern_that_cannot_be_read_is_502(app_with_labels, refusal):
    refusal(app_with_labels(["("]).get("/api/tenant/example/labels", status="*"), 502)


def test_below_api_labels_and_nodes_have_upstreams_keys(app):
    assert app.get("/api/tenant/example/labels").json[0] == {"name": "debian-large"}
    assert list(app.get("/api/tenant/example/nodes").json[0]) == NODE_KEYS


@pytest.mark.parametrize(
    "url", ["/api/tenant/nope/labels", "/v1/tenants/nope/labels", "/v1/tenants/nope/nodes", "/v1/tenants/nope/nodes/1"]
)
def test_of_no_such_tenant_is_404(app, refusal, url):
    refusal(app.get(url, status="*"), 404)


def test_below_api_nobody_looks_at_the_tenant_of_nodes(app):
    assert len(app.get("/api/tenant/nope/nodes").json) == 5


# -- collections


def test_nodes_can_be_filtered_sorted_and_paged(app):
    response = app.get("/v1/nodepool/nodes?state=ready&state=hold&sort_field=id&sort_dir=desc&limit=2&fields=id,state")

    assert response.json == [{"id": ALLOCATED, "state": "ready"}, {"id": HELD, "state": "hold"}]
    assert response.headers["X-Total"] == "3"
    assert 'rel="next"' in response.headers["Link"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (f"allocated_to={REQUEST}", [ALLOCATED]),
        ("locked=true", [IN_USE]),
        ("held_for.project=gerrit.example.org/core/compute", [HELD]),
        ("type=debian-small&provider=nope", []),
        ("az=a", [HELD]),
    ],
)
def test_nodes_by(app, query, found):
    assert names(app.get(f"/v1/nodepool/nodes?{query}"), "id") == found


def test_a_node_says_what_it_serves(app):
    allocated = app.get(f"/v1/nodepool/nodes/{ALLOCATED}").json
    held = app.get(f"/v1/nodepool/nodes/{HELD}").json

    assert (allocated["requestor"], allocated["event_id"][:4]) == ("zuul-scheduler", "8d1e")
    assert held["held_for"]["job"] == "tox-py38"
    assert held["held_build"] == "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11"


def test_credentials_in_a_port_are_shown_nowhere(app):
    assert app.get(f"/v1/nodepool/nodes/{USED}").json["connection_port"] is None
    for url in ("/v1/nodepool/nodes", "/node-list", "/node-list.json", "/api/tenant/example/nodes"):
        assert "a-secret-of-kubernetes" not in app.get(url).text


def test_a_change_is_seen_at_once_and_only_then(app, pool):
    before = app.get("/v1/nodepool/nodes")
    again = app.get("/v1/nodepool/nodes", headers={"If-None-Match": before.headers["ETag"]}, status=304)
    pool.node("0000000009", "building")
    after = app.get("/v1/nodepool/nodes", headers={"If-None-Match": again.headers["ETag"]})

    assert names(after, "id")[-1] == "0000000009"


def test_one_that_is_not_there_is_404(app, refusal):
    for kind in ("labels", "nodes", "requests", "launchers", "providers", "images", "builds", "uploads"):
        refusal(app.get(f"/v1/nodepool/{kind}/nope", status="*"), 404)


def test_names_of_tenants_that_nobody_reads_are_left_out(make_app, functions, tree):
    app = make_app(LocalTransport(functions), f"protected_tenants=example\n{CONF}", tree=tree)

    held = app.get(f"/v1/nodepool/nodes/{HELD}").json

    assert {held[key] for key in ("comment", "hold_job", "held_for", "held_build")} == {None}
    assert "core/compute" not in app.get("/node-list").text
    assert app.get("/api/tenant/example/nodes", headers=bearer("ann", "example")).status_int == 200
    app.get("/api/tenant/example/nodes", status=401)


# -- ZooKeeper away


class LostTree(MemoryTree):
    age_seconds: float | None = 100.0

    def connection(self):
        as_of = None if self.age_seconds is None else time.monotonic() - self.age_seconds
        return Connection("lost", 0.0, as_of)


def test_while_zookeeper_is_away_the_last_state_has_its_age_and_then_is_503(make_app, functions, refusal):
    tree = LostTree()
    app = make_app(LocalTransport(functions), tree=tree)

    assert app.get("/v1/nodepool/nodes").headers["Age"] == "100"

    tree.age_seconds = 301
    response = app.get("/v1/nodepool/nodes", status="*")

    refusal(response, 503)
    assert response.headers["Retry-After"]
    assert app.get("/v1/tenants").status_int == 200
    refusal(app.get("/node-list", status="*"), 503)


# -- only Nodepool


@pytest.fixture
def alone(tmp_path, request, tree):
    """The application of a zuul.conf that has nothing but ZooKeeper."""
    path = tmp_path / "alone.conf"
    path.write_text("[zookeeper]\nhosts=localhost\n")
    services = application.Services.build(read(str(path)), tree=tree)
    application.provide(str(path), services)
    yield CheckedApp(application.load(str(path)), request.node)
    services.close()


def test_with_zookeeper_alone_nodepool_is_there_and_the_rest_is_503(alone, refusal):
    assert names(alone.get("/v1/nodepool/labels")) == ["debian-large", "debian-small", "secret-label"]
    assert len(alone.get("/api/tenant/any/nodes").json) == 5
    assert alone.get("/label-list").text.count("debian") == 2
    for url in ("/v1/tenants", "/api/tenant/any/labels", "/api/tenant/any/status", "/v1/tenants/any/nodes"):
        refusal(alone.get(url, status="*"), 503)
    assert alone.get("/api/info").status_int == 200


def test_without_zookeeper_the_rest_is_there(make_app, functions, refusal):
    app = make_app(LocalTransport(functions), tree=None)

    refusal(app.get("/v1/nodepool/nodes", status="*"), 503)
    refusal(app.get("/ready", status="*"), 503)
    assert app.get("/v1/tenants").status_int == 200


# -- tables


@pytest.fixture
def frozen_app(make_app, functions, tree):
    """One in which ages are counted to a fixed moment."""

    def freeze(services):
        nodepool = Nodepool(tree, stale_seconds=300, timeout_seconds=1, clock=lambda: nodepool_tree.NOW)
        return dataclasses.replace(services, nodepool=nodepool)

    return make_app(LocalTransport(functions), alter=freeze)


def test_a_table_is_text_for_people(frozen_app):
    response = frozen_app.get("/node-list?fields=id,label,age,locked,connection_port,AZ")

    assert response.content_type == "text/plain"
    assert response.text.splitlines()[:5] == [
        "+------------+--------------+-------------+----------+------+------+",
        "| ID         | Label        | Age         | Locked   | AZ   | Port |",
        "+------------+--------------+-------------+----------+------+------+",
        "| 0000000000 | debian-small | 00:01:00:00 | unlocked | None | 22   |",
        "| 0000000001 | debian-small | 00:01:00:00 | locked   | None | 22   |",
    ]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("text/html,*/*;q=0.8", "text/plain"),
        ("application/json", "application/json"),
        ("application/json, text/plain;q=0.5", "application/json"),
        ("image/png", "text/plain"),
    ],
)
def test_the_form_of_a_table_is_by_accept(frozen_app, accept, kind):
    assert frozen_app.get("/label-list", headers={"Accept": accept} if accept else {}).content_type == kind


def test_a_table_as_json_has_all_columns_whatever_fields_says(frozen_app):
    row = frozen_app.get("/node-list.json?fields=id&node_id=0000000002").json[0]

    assert list(row)[:4] == ["id", "provider", "label", "server_id"]
    assert row["hold_job"] == "example gerrit.example.org/core/compute tox-py38 .*"
    assert (row["age"], row["locked"]) == ("00:01:00:00", "unlocked")


def test_builds_and_uploads_have_epochs_in_json_and_ages_in_text(frozen_app, pool):
    pool.put("images/debian/pause")

    rows = frozen_app.get("/dib-image-list.json").json

    assert rows[0] == {
        "id": "debian-0000000007",
        "image": "debian",
        "builder": "nb01",
        "formats": ["qcow2", "raw"],
        "state": "paused",
        "age": 1599999940,
    }
    assert "| qcow2,raw | paused | 00:00:01:00 |" in frozen_app.get("/dib-image-list").text
    assert frozen_app.get("/image-list.json").json[0]["upload_id"] == "0000000001"


def test_requests_in_a_table(frozen_app):
    assert frozen_app.get("/request-list.json").json[0]["nodes"] == [ALLOCATED]
    assert f"| {REQUEST} | 0 " in " ".join(frozen_app.get("/request-list").text.split())


def test_a_table_of_no_column_is_400_and_names_those_that_there_are(frozen_app, refusal):
    words = refusal(frozen_app.get("/label-list?fields=nope", status="*"), 400)["faultstring"]

    assert words == "fields has none of the columns, which are label"


def test_a_table_has_the_fields_of_nodepools_own(frozen_app):
    response = frozen_app.get("/node-list")

    assert response.headers["Cache-Control"] == "public, max-age=1"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Last-Modified"] == "Sun, 13 Sep 2020 12:26:40 GMT"
    assert response.headers["Expires"] == "Sun, 13 Sep 2020 12:26:41 GMT"
    since = {"If-Modified-Since": response.headers["Last-Modified"]}
    assert frozen_app.get("/node-list", headers=since, status=304).body == b""


def test_unknown_parameters_and_columns_of_tables_are_ignored(frozen_app):
    assert frozen_app.get("/label-list?time=5&fields=label,nope").text == frozen_app.get("/label-list").text


def test_odd_text_can_be_drawn(frozen_app, pool):
    pool.node("0000000009", "ready", comment="a\ud800b\n\x1b[31mc 日本 | d", hostname="\x00")

    assert "日本" in frozen_app.get("/node-list").text
    assert frozen_app.get("/node-list.json").json
    assert frozen_app.get("/v1/nodepool/nodes", headers={"Accept": "application/xml"}).status_int == 200


def test_ready(frozen_app):
    assert frozen_app.get("/ready").text == "OK"


def test_launchers(app):
    assert names(app.get("/v1/nodepool/launchers?provider_name=cloud-one"), "id") == [LAUNCHER]
    assert app.get("/v1/nodepool/labels/debian-small?fields=ready,in_use,held,waiting").json == {
        "ready": 2,
        "in_use": 1,
        "held": 1,
        "waiting": 0,
    }
    assert app.get(f"/v1/nodepool/nodes/{READY}").json["locked"] is False
