# SPDX-License-Identifier: Apache-2.0
"""The history with zuul-client as it is on PyPI, its first version with builds and its last, against a real Zuul."""

from __future__ import annotations

import json
import subprocess
import urllib.request

import pytest

pytestmark = pytest.mark.timeout(280)

TENANT = "tenant-one"
FIRST, LAST = "0.1.0", "14.0.0"


@pytest.fixture
def run(zuul_client, ours):
    """Runs a command of one version against ours; its output must be a success."""

    def run(version, command, *options):
        done = subprocess.run(
            [zuul_client(version), "--zuul-url", ours, *command, "--tenant", TENANT, *options],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def rows(ours):
    def rows(query=""):
        with urllib.request.urlopen(f"{ours}/api/tenant/{TENANT}/builds?limit=1000{query}", timeout=20) as response:
            return json.load(response)

    return rows


@pytest.fixture(params=[FIRST, LAST])
def builds(request, run):
    """The builds that the client gives, as JSON."""
    return lambda *options: json.loads(run(request.param, ["--format", "JSON", "builds"], *options))


def test_filters_of_zuul_client(builds, rows):
    """All but --node, which both versions refuse themselves."""
    everything = rows()
    newest = everything[0]
    change, pushed = (next(row for row in everything if row[name]) for name in ("change", "newrev"))
    asked = [
        (["--limit", "5"], "", 5),
        (["--limit", "5", "--skip", "3"], "&skip=3", 5),
        (["--voting", "--limit", "7"], "&voting=true", 7),
        (["--non-voting", "--limit", "7"], "&voting=false", 7),
        (["--final", "--limit", "4"], "&final=true", 4),
        (["--held"], "&held=true", 50),
        (["--result", "FAILURE"], "&result=FAILURE", 50),
        (["--project", newest["project"], "--job", newest["job_name"]],
         f"&project={newest['project']}&job_name={newest['job_name']}", 50),
        (["--pipeline", newest["pipeline"], "--branch", newest["branch"]],
         f"&pipeline={newest['pipeline']}&branch={newest['branch']}", 50),
        (["--change", str(change["change"]), "--patchset", change["patchset"]],
         f"&change={change['change']}&patchset={change['patchset']}", 50),
        (["--ref", pushed["ref"], "--newrev", pushed["newrev"]], f"&ref={pushed['ref']}&newrev={pushed['newrev']}", 50),
    ]  # fmt: skip
    for options, query, count in asked:
        found = builds(*options)
        assert found == rows(query)[:count], options
        assert found or options[0] == "--held", options
    assert {row["voting"] for row in builds("--voting")} == {True}


@pytest.mark.parametrize("version", [FIRST, LAST])
def test_zuul_client_shows_one_build(run, rows, version):
    everything = rows()
    build = next((row for row in everything if row["artifacts"] and row["provides"]), everything[0])
    shown = run(version, ["build-info"], "--uuid", build["uuid"])
    for label, name in (("UUID", "uuid"), ("Result", "result"), ("Project", "project"), ("Job", "job_name"),
                        ("Pipeline", "pipeline"), ("Log URL", "log_url"), ("Duration", "duration")):  # fmt: skip
        assert f"{label}: {build[name]}" in shown, shown
    assert f"Start time: {build['start_time'].replace('T', ' ')}" in shown
    assert f"Buildset ID: {build['buildset']['uuid']}" in shown
    table = run(version, ["build-info"], "--uuid", build["uuid"], "--show-artifacts")
    assert all(artifact["url"] in table for artifact in build["artifacts"])
    assert all(f"- {one['name']}" in shown for one in build["provides"])


@pytest.mark.parametrize("version", [FIRST, LAST])
def test_zuul_client_hears_of_what_is_not_there_and_of_what_makes_no_sense(zuul_client, ours, version):
    for options, status in (
        (["build-info", "--tenant", TENANT, "--uuid", "nowhere"], 404),
        (["builds", "--tenant", "nope"], 404),
        (["builds", "--tenant", TENANT, "--limit", "2000"], 400),
    ):
        command = [zuul_client(version), "--zuul-url", ours, *options]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and f"Unknown error code {status}" in done.stderr
