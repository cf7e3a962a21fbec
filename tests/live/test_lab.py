# SPDX-License-Identifier: Apache-2.0
"""Beside upstream's zuul-web on the same Zuul 3.19.1: every /api read that needs gearman alone, answer by answer."""

from __future__ import annotations

import collections
import itertools
import json
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import webob
from contract import contract
from services import wait_until
from shapes import undeclared

from zuul.web.resources.holds import Hold
from zuul.web.resources.status import Status

TENANTS = ("tenant-one", "tenant-two")
STREAMS = ("/log", "/events", "/console-stream")
"""How the URLs end whose answers go on for as long as a build or the tenant does; test_lab_streaming.py has them."""

VOLATILE = ("elapsed_time", "remaining_time", "enqueue_time", "trigger_event_queue", "result_event_queue",
            "management_event_queue")  # fmt: skip


def get(url):
    """Status and body of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=20) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def settled(value):
    """JSON without what differs from one second to the next."""
    if isinstance(value, dict):
        return {key: settled(item) for key, item in value.items() if key not in VOLATILE}
    if isinstance(value, list):
        return [settled(item) for item in value]
    return value


def names(base, path, key="name"):
    return [entry[key] for entry in json.loads(get(base + path)[1])]


def paths(upstream):
    """Every route for everything that the lab has."""
    yield from ("/api", "/api/info", "/api/connections", "/api/tenants")
    for tenant in TENANTS:
        below = f"/api/tenant/{tenant}"
        for resource in ("info", "status", "jobs", "projects", "pipelines", "config-errors", "autohold"):
            yield f"{below}/{resource}"
        yield f"{below}/status/change/1,1"
        jobs = names(upstream, f"{below}/jobs")
        projects = names(upstream, f"{below}/projects")
        pipelines = names(upstream, f"{below}/pipelines")
        yield from (f"{below}/job/{job}" for job in [*jobs, "nope"])
        for project in [*projects, "nope"]:
            yield f"{below}/project/{project}"
            yield f"{below}/key/{project}.pub"
            yield f"{below}/project-ssh-key/{project}.pub"
            yield f"{below}/project/{project}/autohold"
        for pipeline, project in itertools.product([*pipelines, "nope"], projects):
            yield f"{below}/pipeline/{pipeline}/project/{project}/branch/master/freeze-jobs"
        yield f"{below}/pipeline/check/project/demo/branch/stable/freeze-jobs"
    for resource in ("status", "jobs", "projects", "pipelines", "config-errors", "job/x", "project/x", "key/x.pub"):
        yield f"/api/tenant/nope/{resource}"


def differences(upstream, ours, path):
    """What differs between the two answers, as text; nothing if they are the same."""
    their_status, their_body = get(upstream + path)
    our_status, our_body = get(ours + path)
    if their_status == 200:
        same = our_status == 200 and (
            our_body == their_body or settled(json.loads(our_body)) == settled(json.loads(their_body))
        )
    else:
        same = our_status == their_status and json.loads(our_body)["faultcode"] == "Client"
    if same:
        return ""
    return f"{path}\n  upstream {their_status} {their_body[:500]}\n  ours     {our_status} {our_body[:500]}"


def test_every_read_equals_upstreams(upstream, ours):
    found = [(path, differences(upstream, ours, path)) for path in paths(upstream)]
    by_route = collections.Counter(re.sub(r"(tenant|job|project|pipeline|key|project-ssh-key)/[^/]+", r"\1/{}", path)
                                   for path, _ in found)  # fmt: skip
    print("\n".join(f"{count:4} equal  {route}" for route, count in sorted(by_route.items())))
    assert len(found) > 100
    assert [difference for _, difference in found if difference] == []


def v1_paths(ours):
    """Every URL that /v1 lists, for everything that the lab has; a name for each variable of its template."""
    links = [link["href"] for link in json.loads(get(f"{ours}/v1")[1]) if not link["href"].endswith(STREAMS)]
    keys = {"images": "name", "labels": "name", "providers": "name"}
    of_nodepool = {
        plural.removesuffix("s"): names(ours, f"/v1/nodepool/{plural}", keys.get(plural, "id"))
        for plural in ("builds", "images", "labels", "launchers", "nodes", "providers", "requests", "uploads")
    }
    for tenant in TENANTS:
        below = f"/v1/tenants/{tenant}"
        known = {
            "tenant": [tenant],
            "pipeline": names(ours, f"{below}/pipelines"),
            "job": names(ours, f"{below}/jobs"),
            "project": names(ours, f"{below}/projects"),
            "branch": ["master"],
            "name": names(ours, "/v1/connections"),
            "item": [],
            "request_id": [],
            **of_nodepool,
        }
        for link in links:
            variables = re.findall(r"{(\w+)}", link)
            reported = "builds" if "/builds/" in link else "buildsets"
            uuids = [row["uuid"] for row in json.loads(get(f"{ours}{below}/{reported}?limit=3")[1]) if row["uuid"]]
            for values in itertools.product(*({**known, "uuid": uuids}[variable] for variable in variables)):
                quoted = {v: urllib.parse.quote(value, safe="") for v, value in zip(variables, values, strict=True)}
                yield link.format(**quoted)


def checked(ours, path, accept="application/json"):
    """The body of an answer that is as the OpenAPI document has it."""
    request = urllib.request.Request(ours + path, headers={"Accept": accept})
    try:
        response = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        body = response.read()
        whole = webob.Response(status=response.status, headerlist=list(response.headers.items()), body=body)
    contract().check(urllib.parse.unquote(path.partition("?")[0]), "GET", path.partition("?")[2], whole)
    return body


def test_v1_is_as_the_document_has_it_and_has_what_api_has(ours):
    found = sorted(set(v1_paths(ours)))
    assert len(found) > 50
    for path in found:
        body = checked(ours, path)
        xml = checked(ours, path, "application/xml")
        assert xml.startswith(b"<result") or "/keys/" in path or path.endswith("/badge") or b"faultstring" in body
    for tenant in TENANTS:
        for resource in ("jobs", "projects", "pipelines", "config-errors"):
            rows = json.loads(checked(ours, f"/v1/tenants/{tenant}/{resource}?limit=2000"))
            assert rows == json.loads(get(f"{ours}/api/tenant/{tenant}/{resource}")[1])
    assert json.loads(get(f"{ours}/v1/connections")[1]) == json.loads(get(f"{ours}/api/connections")[1])


def test_encoded_slashes_in_a_project_name_work_where_upstream_has_404(upstream, ours):
    below = "/api/tenant/tenant-one/project/"
    assert get(f"{ours}{below}org%2Fnested") == get(f"{upstream}{below}org/nested")
    assert get(f"{upstream}{below}org%2Fnested")[0] == 404


def test_running_builds_and_a_hold_are_as_upstream_shows_them(shared, upstream, ours):
    lab = str(shared / "lab" / "lab")
    token = subprocess.run([lab, "token", "--admin", "tenant-one"], capture_output=True, text=True, check=True)
    hold = {"job": "fail-node", "reason": "comparison", "count": 1, "node_hold_expiration": 600}
    request = urllib.request.Request(
        f"{upstream}/api/tenant/tenant-one/project/sandbox/autohold",
        data=json.dumps(hold).encode(),
        headers={"Authorization": f"Bearer {token.stdout.strip()}", "Content-Type": "application/json"},
    )
    assert urllib.request.urlopen(request, timeout=20).read() == b"true"
    subprocess.run([lab, "push", "demo"], check=True, capture_output=True)
    below = "/api/tenant/tenant-one"

    def running():
        items = [item for pipeline in json.loads(get(f"{ours}{below}/status")[1])["pipelines"]
                 for queue in pipeline["change_queues"] for head in queue["heads"] for item in head]  # fmt: skip
        return [item for item in items if any(job["uuid"] for job in item["jobs"])]

    (item, *_) = wait_until(running, 90, "a running build")
    holds = json.loads(get(f"{ours}{below}/autohold")[1])
    for path in ("status", f"status/change/{item['id']}", "autohold", f"autohold/{holds[-1]['id']}"):
        # Between the two questions a build may begin or end, so equal once is enough.
        wait_until(lambda path=path: not differences(upstream, ours, f"{below}/{path}"), 20, f"equal answers at {path}")
    assert get(f"{ours}/api/tenant/tenant-two/autohold/{holds[-1]['id']}")[0] == 404
    assert undeclared(Status, json.loads(get(f"{ours}{below}/status")[1])) == []
    assert undeclared([Hold], holds) == []
    v1 = "/v1/tenants/tenant-one"
    assert holds[-1].items() <= json.loads(checked(ours, f"{v1}/holds/{holds[-1]['id']}")).items()
    pipelines = json.loads(checked(ours, f"{v1}/status"))["pipelines"]
    for pipeline in pipelines:
        for row in json.loads(checked(ours, f"{v1}/pipelines/{pipeline['name']}/items")):
            assert row["live"] and row["pipeline"] == pipeline["name"]
            assert row["queue"] in [queue["name"] for queue in pipeline["change_queues"]]
    urllib.request.urlopen(
        urllib.request.Request(
            f"{upstream}{below}/autohold/{holds[-1]['id']}",
            method="DELETE",
            headers={"Authorization": f"Bearer {token.stdout.strip()}"},
        ),
        timeout=20,
    )
    wait_until(lambda: not differences(upstream, ours, f"{below}/autohold"), 5, "the hold to go")
