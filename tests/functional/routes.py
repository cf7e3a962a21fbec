# SPDX-License-Identifier: Apache-2.0
"""Every route, with a URL of it that the sandbox answers, streams included. As a program it prints doc/routes.md."""

from __future__ import annotations

from typing import Any, NamedTuple

from wsme.types import isarray, iscomplex

from zuul.web.application import document_of, parts, with_all_options
from zuul.web.controllers.streams import is_stream
from zuul.web.openapi.document import Part
from zuul.web.urls import Route, routes

CHANGE = "700069,5"
"""In the gate of the sandbox."""

BUILD = "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11"
REPORTED_BUILD, REPORTED_BUILDSET = "dd55c0ffe0d1de93073a470c68799a3a", "7bf188316b6829e946fa601834c1f6e4"
"""In the database that conftest.py makes, the one of the other."""

EXAMPLES = {
    "/v1": "/v1",
    "/v1/info": "/v1/info",
    "/v1/connections": "/v1/connections",
    "/v1/connections/{name}": "/v1/connections/gerrit",
    "/v1/authorizations": "/v1/authorizations",
    "/v1/audit": "/v1/audit",
    "/v1/tenants": "/v1/tenants",
    "/v1/tenants/{tenant}": "/v1/tenants/example",
    "/v1/tenants/{tenant}/info": "/v1/tenants/example/info",
    "/v1/tenants/{tenant}/status": "/v1/tenants/example/status",
    "/v1/tenants/{tenant}/pipelines": "/v1/tenants/example/pipelines",
    "/v1/tenants/{tenant}/pipelines/{pipeline}": "/v1/tenants/example/pipelines/gate",
    "/v1/tenants/{tenant}/pipelines/{pipeline}/items": "/v1/tenants/example/pipelines/gate/items",
    "/v1/tenants/{tenant}/pipelines/{pipeline}/items/{item}": f"/v1/tenants/example/pipelines/gate/items/{CHANGE}",
    "/v1/tenants/{tenant}/pipelines/{pipeline}/projects/{project}/branches/{branch}/frozen-jobs": (
        "/v1/tenants/example/pipelines/gate/projects/core%2Fcompute/branches/master/frozen-jobs"
    ),
    "/v1/tenants/{tenant}/pipelines/{pipeline}/promote": "/v1/tenants/example/pipelines/gate/promote",
    "/v1/tenants/{tenant}/jobs": "/v1/tenants/example/jobs",
    "/v1/tenants/{tenant}/jobs/{job}": "/v1/tenants/example/jobs/tox-py38",
    "/v1/tenants/{tenant}/projects": "/v1/tenants/example/projects",
    "/v1/tenants/{tenant}/projects/{project}": "/v1/tenants/example/projects/core%2Fcompute",
    "/v1/tenants/{tenant}/projects/{project}/keys/secrets": "/v1/tenants/example/projects/core/compute/keys/secrets",
    "/v1/tenants/{tenant}/projects/{project}/keys/ssh": "/v1/tenants/example/projects/core%2Fcompute/keys/ssh",
    "/v1/tenants/{tenant}/jobs/{job}/stats": "/v1/tenants/example/jobs/tox-py38/stats",
    "/v1/tenants/{tenant}/builds": "/v1/tenants/example/builds",
    "/v1/tenants/{tenant}/builds/{uuid}": f"/v1/tenants/example/builds/{REPORTED_BUILD}",
    "/v1/tenants/{tenant}/build-times": "/v1/tenants/example/build-times",
    "/v1/tenants/{tenant}/latest-builds": "/v1/tenants/example/latest-builds",
    "/v1/tenants/{tenant}/buildsets": "/v1/tenants/example/buildsets",
    "/v1/tenants/{tenant}/buildsets/{uuid}": f"/v1/tenants/example/buildsets/{REPORTED_BUILDSET}",
    "/v1/tenants/{tenant}/badge": "/v1/tenants/example/badge",
    "/v1/tenants/{tenant}/builds/{uuid}/log": f"/v1/tenants/example/builds/{BUILD}/log",
    "/v1/tenants/{tenant}/console-stream": "/v1/tenants/example/console-stream",
    "/v1/tenants/{tenant}/events": "/v1/tenants/example/events",
    "/v1/tenants/{tenant}/config-errors": "/v1/tenants/example/config-errors",
    "/v1/tenants/{tenant}/holds": "/v1/tenants/example/holds",
    "/v1/tenants/{tenant}/holds/{request_id}": "/v1/tenants/example/holds/0000000001",
    "/api": "/api",
    "/api/info": "/api/info",
    "/api/authorizations": "/api/authorizations",
    "/api/user/authorizations": "/api/user/authorizations",
    "/api/tenant/{tenant}/authorizations": "/api/tenant/example/authorizations",
    "/api/tenants": "/api/tenants",
    "/api/connections": "/api/connections",
    "/api/tenant/{tenant}/info": "/api/tenant/example/info",
    "/api/tenant/{tenant}/status": "/api/tenant/example/status",
    "/api/tenant/{tenant}/status/change/{change}": f"/api/tenant/example/status/change/{CHANGE}",
    "/api/tenant/{tenant}/jobs": "/api/tenant/example/jobs",
    "/api/tenant/{tenant}/job/{job}": "/api/tenant/example/job/tox-py38",
    "/api/tenant/{tenant}/projects": "/api/tenant/example/projects",
    "/api/tenant/{tenant}/project/{project}": "/api/tenant/example/project/core/compute",
    "/api/tenant/{tenant}/project/{project}/autohold": "/api/tenant/example/project/core/compute/autohold",
    "/api/tenant/{tenant}/pipeline/{pipeline}/project/{project}/branch/{branch}/freeze-jobs": (
        "/api/tenant/example/pipeline/gate/project/core/compute/branch/master/freeze-jobs"
    ),
    "/api/tenant/{tenant}/project/{project}/enqueue": "/api/tenant/example/project/core/compute/enqueue",
    "/api/tenant/{tenant}/project/{project}/dequeue": "/api/tenant/example/project/core/compute/dequeue",
    "/api/tenant/{tenant}/promote": "/api/tenant/example/promote",
    "/api/tenant/{tenant}/pipelines": "/api/tenant/example/pipelines",
    "/api/tenant/{tenant}/key/{project}.pub": "/api/tenant/example/key/core/compute.pub",
    "/api/tenant/{tenant}/project-ssh-key/{project}.pub": "/api/tenant/example/project-ssh-key/core/compute.pub",
    "/api/tenant/{tenant}/config-errors": "/api/tenant/example/config-errors",
    "/api/tenant/{tenant}/console-stream": "/api/tenant/example/console-stream",
    "/api/tenant/{tenant}/builds": "/api/tenant/example/builds",
    "/api/tenant/{tenant}/build/{uuid}": f"/api/tenant/example/build/{REPORTED_BUILD}",
    "/api/tenant/{tenant}/build-times": "/api/tenant/example/build-times",
    "/api/tenant/{tenant}/buildsets": "/api/tenant/example/buildsets",
    "/api/tenant/{tenant}/buildset/{uuid}": f"/api/tenant/example/buildset/{REPORTED_BUILDSET}",
    "/api/tenant/{tenant}/badge": "/api/tenant/example/badge",
    "/api/tenant/{tenant}/autohold": "/api/tenant/example/autohold",
    "/api/tenant/{tenant}/autohold/{request_id}": "/api/tenant/example/autohold/0000000001",
    "/": "/",
    "/tenants.json": "/tenants.json",
    "/console-stream": "/console-stream",
    "/{tenant}/console-stream": "/example/console-stream",
    "/{tenant}/status.json": "/example/status.json",
    "/{tenant}/status": "/example/status",
    "/{tenant}/status/change/{change}": f"/example/status/change/{CHANGE}",
    "/{tenant}/jobs.json": "/example/jobs.json",
    "/{tenant}/builds.json": "/example/builds.json",
    "/{tenant}/keys/{source}/{project}.pub": "/example/keys/gerrit/core/compute.pub",
    "/{tenant}/{project}.pub": "/example/core/compute.pub",
}

OF_HISTORY = ("zuul.web.controllers.builds", "zuul.web.controllers.badges")

COVERED_BY = "tests/functional/test_openapi_routes.py"
STREAMS_COVERED_BY = "tests/functional/test_streams.py"


class Described(NamedTuple):
    """A route of a map, at its whole template, and what the document has there."""

    template: str
    route: Route
    part: Part
    operation: dict[str, Any]

    @property
    def operation_id(self) -> str:
        return self.operation["operationId"]

    @property
    def is_stream(self) -> bool:
        return is_stream(self.route)

    @property
    def result(self) -> Any:
        return self.route.controller.exposed.result(self.part.dialect)


def is_history(route: Route) -> bool:
    """Whether a database answers, so that the parameters are those of test_history.py."""
    return type(route.controller.__self__).__module__ in OF_HISTORY  # type: ignore[attr-defined]


def all_routes() -> list[Described]:
    """The routes of all maps in their order, every option on."""
    services = with_all_options()
    paths = document_of(services)["paths"]
    found = []
    for part in parts(services):
        for route in routes(part.url_map):
            template = f"{part.mount}{route.template}" or "/"
            found.append(Described(template, route, part, paths[template][route.method.lower()]))
    return found


def methods(described: Described) -> str:
    return f"{described.route.method}, HEAD, OPTIONS" if described.route.method == "GET" else described.route.method


def type_name(described: Described) -> str:
    if described.is_stream:
        responses = described.operation["responses"]
        forms = {"text/plain": "text", "text/event-stream": "Server-Sent Events"}
        found = [forms[name] for name in responses.get("200", {}).get("content", ())]
        return ", ".join(["websocket"] * ("101" in responses) + found)
    if described.route.controller.exposed.content_type == "text/plain":
        return "text"
    result = described.result
    if described.route.method != "GET":
        return "nothing" if result is None else "`true`"
    row_type = result.item_type if isarray(result) else result
    name = row_type.__name__ if iscomplex(row_type) else "object"
    return f"list of {name}" if isarray(result) else name


def test_name(described: Described) -> str:
    if described.route.method != "GET":
        return "test_an_action_takes_no_body_or_a_documented_one"
    return "test_get_is_421" if described.is_stream else "test_get"


def page() -> str:
    """doc/routes.md."""
    lines = [
        "# All routes",
        "",
        "Made by `python tests/functional/routes.py > doc/routes.md` from the URL maps. The names are those of",
        "[openapi.yaml](openapi.yaml). `/api/v1` is the same as `/v1`. What needs a token, and",
        "`/api/tenant/{tenant}/project/{project}/autohold`, is there where zuul.conf has a section `[auth NAME]`. Each",
        f"route is asked in `{COVERED_BY}`; `pytest {COVERED_BY} -k NAME`",
        "runs the tests of one. Streams ([streaming.md](streaming.md)) are served outside of the applications; what",
        f"these say in their place is asked in `{STREAMS_COVERED_BY}`.",
        "",
        "| URL | methods | name | answer | test |",
        "|---|---|---|---|---|",
    ]
    for described in all_routes():
        cells = (
            f"`{described.template}`",
            methods(described),
            f"`{described.operation_id}`",
            type_name(described),
            f"`{test_name(described)}[{described.operation_id}]`",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")
