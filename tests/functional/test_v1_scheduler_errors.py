# SPDX-License-Identifier: Apache-2.0
"""What clients see of a scheduler whose answers have another shape than they should."""

from __future__ import annotations

import json

import pytest

from zuul.web.errors import Unavailable

EXAMPLE = "/v1/tenants/example"
OLD = "/api/tenant/example"

URLS = {
    "tenant_list": ["/v1/tenants", EXAMPLE, f"{EXAMPLE}/holds", f"{OLD}/autohold",
                    "/v1/tenants?name=a&sort_field=name"],
    "connection_list": ["/v1/connections", "/v1/connections/x"],
    "job_list": [f"{EXAMPLE}/jobs", f"{EXAMPLE}/jobs?sort_field=name", f"{EXAMPLE}/jobs?name=a&tags=b",
                 f"{EXAMPLE}/jobs?limit=1&fields=variants.parent", f"{OLD}/jobs?limit=1"],
    "job_get": [f"{EXAMPLE}/jobs/x", f"{EXAMPLE}/jobs/x?name=a"],
    "project_list": [f"{EXAMPLE}/projects", f"{EXAMPLE}/projects?limit=1"],
    "project_get": [f"{EXAMPLE}/projects/x", f"{EXAMPLE}/projects/x?fields=name"],
    "pipeline_list": [f"{EXAMPLE}/pipelines", f"{EXAMPLE}/pipelines/gate"],
    "config_errors_list": [f"{EXAMPLE}/config-errors?source_context.project=x",
                           f"{EXAMPLE}/config-errors?sort_field=source_context.project"],
    "project_freeze_jobs": [f"{EXAMPLE}/pipelines/gate/projects/x/branches/m/frozen-jobs"],
    "autohold_list": [f"{EXAMPLE}/holds", f"{OLD}/autohold"],
    "autohold_info": [f"{EXAMPLE}/holds/1", f"{OLD}/autohold/1"],
    "key_get": [f"{EXAMPLE}/projects/x/keys/ssh", f"{EXAMPLE}/projects/x/keys/secrets"],
    "status_get": [f"{EXAMPLE}/status", f"{EXAMPLE}/status?fields=pipelines.name", f"{EXAMPLE}/pipelines/gate/items",
                   f"{EXAMPLE}/pipelines/gate/items?sort_field=id&items_behind=x",
                   f"{EXAMPLE}/pipelines/gate/items/1,1", f"{OLD}/status/change/1,1"],
}  # fmt: skip

ROW = {"id": [], "name": 5, "canonical_name": {}, "tenant": "example", "triggers": "name", "variants": "parent",
       "tags": {"a": 1}, "dependencies": 5, "source_context": "project", "project": None}  # fmt: skip
DEEP = b"[" * 100_000 + b"]" * 100_000

REPLIES = {
    "null": b"null",
    "number": b"5",
    "text": b'"name"',
    "true": b"true",
    "empty object": b"{}",
    "object": b'{"name": "x"}',
    "null in a list": b"[null]",
    "text in a list": b'["name"]',
    "list in a list": b"[[]]",
    "empty object in a list": b"[{}]",
    "wrong types": json.dumps([ROW]).encode(),
    "wrong types deeper": b'[{"variants": ["parent", null], "tags": [{}], "triggers": [5]}]',
    "several types": b'[{"name": "a"}, {"name": 5}, {"name": null}, {"name": {}}, {"name": ["x"]}]',
    "half a character": b'[{"name": "\\ud800", "canonical_name": "\\ud800"}, {"name": "b"}]',
    "deep": DEEP,
    "large number": b"[" + b"9" * 5000 + b"]",
    "no JSON": b"{nonsense}",
    "much that is no JSON": b"{" + b"nonsense " * 1000 + b"}",
}


def status(pipelines):
    return json.dumps({"zuul_version": "x", "pipelines": pipelines}).encode()


def queue(*items):
    return [{"name": "gate", "change_queues": [{"name": "q", "heads": [list(items)]}]}]


STATUSES = {
    "pipelines null": status(None),
    "pipelines text": status("gate"),
    "pipeline null": status([None]),
    "pipeline without a name": status([{}]),
    "no queues": status([{"name": "gate"}]),
    "queues null": status([{"name": "gate", "change_queues": None}]),
    "no heads": status([{"name": "gate", "change_queues": [{}]}]),
    "no name of a queue": status([{"name": "gate", "change_queues": [{"heads": [[{"live": True, "id": "1,1"}]]}]}]),
    "item null": status(queue(None)),
    "item text": status(queue("live")),
    "not live nor dead": status(queue({"id": "1,1"})),
    "no id": status(queue({"live": True})),
    "wrong types": status(queue({"live": 1, "id": 5, "zuul_ref": [], "jobs": "x", "items_behind": [{}]})),
}  # fmt: skip

CASES = [
    *((function, url, name) for function, urls in URLS.items() for url in urls for name in REPLIES),
    *(("status_get", url, name) for url in URLS["status_get"] for name in STATUSES),
]


@pytest.mark.undeclared("what makes some sense need not be all that is declared")
@pytest.mark.parametrize(("function", "url", "name"), CASES)
def test_another_shape_is_502_or_makes_some_sense(app_with, refusal, function, url, name):
    app = app_with(**{function: lambda arguments: {**REPLIES, **STATUSES}[name]})

    for accept in ("application/json", "application/xml"):
        response = app.get(url, headers={"Accept": accept}, status="*")
        assert response.status_int in (200, 404, 502)
        if response.status_int != 200:
            refusal(response, response.status_int)


@pytest.mark.parametrize(
    ("function", "url", "name"),
    [
        ("tenant_list", EXAMPLE, "null in a list"),
        ("tenant_list", f"{EXAMPLE}/holds", "text in a list"),
        ("connection_list", "/v1/connections", "object"),
        ("job_list", f"{EXAMPLE}/jobs", "wrong types"),
        ("job_list", f"{EXAMPLE}/jobs?sort_field=name", "several types"),
        ("job_list", f"{EXAMPLE}/jobs?tags=x", "wrong types deeper"),
        ("project_get", f"{EXAMPLE}/projects/x", "text"),
        ("autohold_list", f"{EXAMPLE}/holds", "empty object in a list"),
        ("autohold_info", f"{EXAMPLE}/holds/1", "object"),
        ("status_get", f"{EXAMPLE}/pipelines/gate/items", "pipelines null"),
        ("status_get", f"{EXAMPLE}/pipelines/gate/items/1,1", "item null"),
        ("status_get", f"{EXAMPLE}/status?fields=pipelines.name", "pipelines text"),
    ],
)
def test_what_cannot_be_read_is_502_and_logged(app_with, refusal, caplog, function, url, name):
    app = app_with(**{function: lambda arguments: {**REPLIES, **STATUSES}[name]})

    body = refusal(app.get(url, status="*"), 502)

    assert "scheduler" in body["faultstring"] and "name" not in body["faultstring"]
    assert "scheduler" in caplog.text


@pytest.mark.parametrize("name", ["null", "number", "null in a list", "text in a list", "object", "several types"])
@pytest.mark.parametrize(
    ("function", "url"),
    [("tenant_list", "/status.json"), ("tenant_list", "/example/status.json"), ("tenant_list", "/example/jobs.json"),
     ("project_list", "/keys/gerrit/core/compute.pub"), ("project_list", "/example/keys/gerrit/core/compute.pub")],
)  # fmt: skip
def test_so_it_is_at_the_urls_of_former_zuuls(app_with, refusal, function, url, name):
    response = app_with(**{function: lambda arguments: REPLIES[name]}).get(url, status="*")

    refusal(response, response.status_int)
    assert response.status_int in (404, 502)


@pytest.mark.undeclared("the scheduler makes it up")
@pytest.mark.parametrize("name", ["null", "number", "text", "object", "null in a list", "wrong types", "several types"])
@pytest.mark.parametrize(
    ("function", "url"),
    [("tenant_list", "/api/tenants"), ("connection_list", "/api/connections"), ("job_get", f"{OLD}/job/x"),
     ("project_get", f"{OLD}/project/x"), ("config_errors_list", f"{OLD}/config-errors")],
)  # fmt: skip
def test_below_api_it_is_passed_on_as_it_came(app_with, function, url, name):
    if REPLIES[name] == b"null" and "tenant/" in url:
        return  # which is how the scheduler says that there is no such tenant
    assert app_with(**{function: lambda arguments: REPLIES[name]}).get(url).body == REPLIES[name]


def test_a_name_that_no_url_can_have_does_not_stop_a_walk(app_with):
    app = app_with(job_list=lambda arguments: REPLIES["half a character"])

    first = app.get(f"{EXAMPLE}/jobs?limit=1")

    assert [job["name"] for job in first.json] == ["\ud800"]
    assert first.headers["Link"] == '<?limit=1&offset=1>; rel="next"'


@pytest.mark.parametrize("url", [url for urls in URLS.values() for url in urls if url.startswith("/v1")])
def test_nobody_to_ask_is_503(failing_app, refusal, url):
    response = failing_app(Unavailable("no gearman server is connected")).get(url, status="*")

    refusal(response, 503)
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.undeclared("the scheduler sends two keys in place of a status")
def test_a_tenant_that_is_not_loaded_yet_has_the_schedulers_words_for_a_status(app_with, refusal):
    app = app_with(status_get=lambda arguments: b'{"message": "Tenant has not been loaded", "code": 204}')

    assert app.get(f"{EXAMPLE}/status").json["code"] == 204
    assert app.get(f"{EXAMPLE}/status?fields=message").json == {"message": "Tenant has not been loaded"}
    refusal(app.get(f"{EXAMPLE}/pipelines/gate/items", status="*"), 503)
