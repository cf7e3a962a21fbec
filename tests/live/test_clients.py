# SPDX-License-Identifier: Apache-2.0
"""Clients that others wrote, against a sandbox: they are not ours to change."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest
from services import listening, missing, wait_until


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """The address of a running `zuul-rest sandbox`."""
    log = tmp_path_factory.mktemp("sandbox") / "log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "zuul.web.cli", "sandbox", "--port", "0"]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        found = wait_until(lambda: re.search(r"http://127.0.0.1:(\d+)", log.read_text()), what="the sandbox")
        wait_until(lambda: listening(int(found[1])), what="its port")
        yield found[0]
    finally:
        process.terminate()
        process.wait(10)


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
