# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote, against a sandbox: they are not ours to change."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import urllib.request
from collections import Counter
from pathlib import Path
from shutil import which

import pytest
from services import listening, missing, wait_until


@pytest.fixture(scope="module")
def sandbox_log(tmp_path_factory):
    """What a running `zuul-rest sandbox` says."""
    log = tmp_path_factory.mktemp("sandbox") / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "zuul.web.cli", "sandbox", "--port", "0"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        wait_until(lambda: "Control-C" in log.read_text(), what="the sandbox")
        yield log.read_text()
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def sandbox(sandbox_log):
    """Its address."""
    found = re.search(r"http://127.0.0.1:(\d+)", sandbox_log)
    wait_until(lambda: listening(int(found[1])), what="its port")
    return found[0]


@pytest.fixture(scope="module")
def admin_token(sandbox_log):
    """The token that it prints, of an administrator of all tenants."""
    return re.search(r"TOKEN=(\S+)", sandbox_log)[1]


@pytest.fixture
def storyboard(monkeypatch):
    """The base module of python-storyboardclient, whose managers work for any resource."""
    if importlib.util.find_spec("storyboardclient") is None:
        missing("python-storyboardclient")
    monkeypatch.setenv("PBR_VERSION", "0.2.0")  # which its import asks for
    from storyboardclient import base

    return base


@pytest.mark.parametrize("root", ["/v1", "/api/v1"])
def test_storyboards_generic_managers_list_and_get(sandbox, storyboard, root):
    class Tenant(storyboard.BaseObject):
        name = projects = queue = None

    class Tenants(storyboard.BaseManager):
        url_key = "tenants"
        resource_class = Tenant

    class Job(storyboard.BaseObject):
        name = description = None

    class JobsOfTenant(storyboard.BaseNestedManager):
        parent_url_key = "tenants"
        url_key = "jobs"
        resource_class = Job

    client = storyboard.BaseClient(sandbox + root)
    tenants = Tenants(client)

    names = [tenant.name for tenant in tenants.get_all()]
    assert "example" in names
    assert [tenant.name for tenant in tenants.get_all(limit=1, marker=names[0])] == names[1:2]
    assert tenants.get("example").projects > 0
    assert "base" in [job.name for job in JobsOfTenant(client, "example").get_all()]


def test_storyboards_client_raises_its_errors_with_our_words(sandbox, storyboard):
    from storyboardclient._apiclient import exceptions

    class Tenants(storyboard.BaseManager):
        url_key = "tenants"
        resource_class = storyboard.BaseObject

    with pytest.raises(exceptions.NotFound, match="Tenant nope does not exist"):
        Tenants(storyboard.BaseClient(f"{sandbox}/v1")).get("nope")
    with pytest.raises(exceptions.BadRequest, match="limit is a number"):
        Tenants(storyboard.BaseClient(f"{sandbox}/v1")).get_all(limit=0)


def program(name: str) -> str:
    """A program that belongs to this Python, or else the first of that name."""
    return which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}") or missing(name)


@pytest.fixture(scope="module")
def generated_client(sandbox, tmp_path_factory):
    """A module that openapi-python-client has made of what the sandbox says of itself."""
    folder = tmp_path_factory.mktemp("generated")
    with urllib.request.urlopen(f"{sandbox}/openapi.json") as response:
        (folder / "openapi.json").write_bytes(response.read())
    command = [program("openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none"]
    done = subprocess.run([*command, "--output-path", "zuul_client"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # It runs ruff over its work, if it finds it; whatever else it warns of would be left out of the client.
    warnings = (done.stdout + done.stderr).replace("ruff is not in PATH", "").replace("Skipping Integration", "")
    assert "unsupported" not in warnings.lower() and "invalid" not in warnings.lower(), warnings
    sys.path.insert(0, str(folder))
    try:
        import zuul_client

        yield zuul_client
    finally:
        sys.path.remove(str(folder))


def call(sandbox, operation, *arguments, **parameters):
    """The result of one operation of the generated client."""
    module = importlib.import_module(f"zuul_client.api.{operation}")
    client = importlib.import_module("zuul_client.client").Client(base_url=sandbox, raise_on_unexpected_status=True)
    with client:
        return module.sync_detailed(*arguments, client=client, **parameters)


def test_a_generated_client_has_a_function_for_each_operation(sandbox, generated_client):
    with urllib.request.urlopen(f"{sandbox}/openapi.json") as response:
        paths = json.load(response)["paths"]
    operations = {operation["operationId"] for methods in paths.values() for operation in methods.values()}
    made = {path.stem for path in Path(generated_client.__file__).parent.glob("api/*/*.py")} - {"__init__"}

    assert operations == made


def test_a_generated_client_lists_tenants(sandbox, generated_client):
    tenants = call(sandbox, "tenants.list_tenants").parsed

    assert [type(tenant).__name__ for tenant in tenants] == ["Tenant"] * len(tenants)
    assert "example" in [tenant.name for tenant in tenants]


def test_a_generated_client_pages_and_reads_what_is_nested(sandbox, generated_client):
    page = call(sandbox, "jobs.list_jobs", "example", limit=2)
    status = call(sandbox, "pipelines.get_status", "example").parsed
    project = call(sandbox, "projects.get_project", "example", "core/compute").parsed

    assert len(page.parsed) == 2 and int(page.headers["X-Total"]) > 2
    assert {"check", "gate"} <= {pipeline.name for pipeline in status.pipelines}
    assert project.canonical_name == "review.example.com/core/compute"


def test_a_generated_client_has_errors_as_objects(sandbox, generated_client):
    answer = call(sandbox, "tenants.get_tenant", "nope")

    assert answer.status_code == 404
    assert answer.parsed.faultstring == "Tenant nope does not exist."


def running_build(sandbox):
    """The uuid of the build that has the longest way to go."""
    with urllib.request.urlopen(f"{sandbox}/v1/tenants/example/status") as response:
        pipelines = json.load(response)["pipelines"]
    items = [item for one in pipelines for q in one["change_queues"] for head in q["heads"] for item in head]
    jobs = [job for item in items for job in item["jobs"] if job["start_time"] and not job["result"]]
    return max(jobs, key=lambda job: job["remaining_time"] or 0)["uuid"]


def run_schemathesis(sandbox, folder, config, *options):
    """Its checks over requests that it makes up from the document, as a configuration has them."""
    path = folder / "schemathesis.toml"
    path.write_text(Path(__file__).with_name(config).read_text().replace("RUNNING_BUILD", running_build(sandbox)))
    command = [program("schemathesis"), "--config-file", str(path), "run", f"{sandbox}/openapi.json", *options]
    more = ["--checks", "all", "--request-timeout", "20", "--no-color", "--generation-database", "none"]
    done = subprocess.run([*command, *more], cwd=folder, capture_output=True, text=True, timeout=600)

    assert done.returncode == 0, done.stdout[-20000:]
    print(done.stdout[-1500:])


@pytest.mark.timeout(600)
def test_generated_requests_find_no_answer_that_the_document_does_not_have(sandbox, tmp_path):
    run_schemathesis(sandbox, tmp_path, "schemathesis.toml", "--max-examples", "20")


TOKEN_ROUTES = "/authorizations$|/audit$|/autohold$|/autohold/|/holds|/enqueue$|/dequeue$|/promote$|/items"


@pytest.mark.timeout(600)
def test_nor_do_those_of_an_administrator_who_acts(sandbox, admin_token, tmp_path):
    fields = {"Authorization": f"Bearer {admin_token}"}
    options = ["--phases", "examples,coverage", "--max-examples", "5", "--include-path-regex", TOKEN_ROUTES]
    run_schemathesis(
        sandbox, tmp_path, "schemathesis_token.toml", *options, "-H", f"Authorization: Bearer {admin_token}"
    )

    request = urllib.request.Request(f"{sandbox}/v1/audit?limit=1000", headers=fields)
    with urllib.request.urlopen(request, timeout=20) as response:
        outcomes = Counter(entry["outcome"] for entry in json.load(response))
    assert outcomes["done"] and outcomes["refused"]
    assert not outcomes["failed"] and not outcomes["unknown"]
