# SPDX-License-Identifier: Apache-2.0
"""Scenario files: what the default holds, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from zuul.web.sandbox.scenario import ScenarioError, load

SMALL = """
executors: [ze01.example.com]
log_url: https://logs.example.com
config_project: config
default_base_job: base
connections:
  - {name: gerrit, driver: gerrit, server: r.example.com, baseurl: https://r.example.com,
     canonical_hostname: r.example.com}
pipelines:
  - {name: check, manager: independent, subject: change, triggers: [gerrit]}
jobs:
  - {name: base, base: true}
  - {name: unit}
projects:
  - {name: config, connection: gerrit}
  - {name: a/b.c, connection: gerrit, pipelines: {check: [unit]}}
tenants:
  - {name: one, config_projects: [config], projects: [a/b.c], depth: {check: 2}}
"""


@pytest.fixture
def complaint(tmp_path):
    """What `load` says about a file with this text."""

    def load_text(text):
        path = tmp_path / "wrong.yaml"
        path.write_text(text)
        with pytest.raises(ScenarioError) as caught:
            load(str(path))
        return str(caught.value).removeprefix(f"{tmp_path}/")

    return load_text


def live_items(scenario):
    return sum(sum(tenant.depth.values()) for tenant in scenario.tenants.values())


def test_the_default_is_a_mid_sized_installation():
    scenario = load(None)
    projects = {
        p.canonical_name: p for t in scenario.tenants.values() for p in t.config_projects + t.untrusted_projects
    }
    assert len(scenario.tenants) == 3
    assert len(projects) == 40
    assert {name.split("/")[0] for name in projects} == {"review.example.com", "github.com"}
    assert any("." in project.name for project in projects.values())
    assert any(project.name.count("/") == 2 for project in projects.values())
    assert sum(project.queue == "integrated" for project in projects.values()) > 5
    assert sum(len(tenant.config_errors) for tenant in scenario.tenants.values()) == 1
    assert sum(len(tenant.autoholds) for tenant in scenario.tenants.values()) == 2


@pytest.mark.parametrize("items", [50, 500, 2000])
def test_items_scales_the_installation_to_about_that_many(items):
    assert live_items(load(None, items=items)) == pytest.approx(items, rel=0.05)


@pytest.mark.parametrize("items", [0, -1, 10**9])
def test_an_absurd_number_of_items_is_refused(items):
    with pytest.raises(ScenarioError, match=f"the number of items must be from 1 to 20000, not {items}"):
        load(None, items=items)


def test_a_small_file_is_enough(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    tenant = load(str(path)).tenants["one"]
    assert [project.canonical_name for project in tenant.untrusted_projects] == ["r.example.com/a/b.c"]
    assert sorted(tenant.jobs) == ["base", "noop", "unit"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ScenarioError, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        load(str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("driver: gerrit", "driver: svn", "connections[0].driver is 'svn'; allowed: gerrit, git, github"),
        (
            "manager: independent",
            "manager: serial",
            "pipelines[0].manager is 'serial'; allowed: dependent, independent",
        ),
        ("triggers: [gerrit]", "triggers: [cron]", "pipelines[0].triggers names 'cron'; allowed: gerrit, timer, zuul"),
        ("{name: unit}", "{name: unit, parent: no}", "jobs[1].parent must be a text"),
        ("{name: unit}", "{name: unit, attempts: 0}", "jobs[1].attempts must be a number from 1 to 10"),
        (
            "{name: unit}",
            "{name: unit, branches: ['(']}",
            "jobs[1].branches must be regular expressions, and '(' is none",
        ),
        ("{name: unit}", "{name: unit, voting: maybe}", "jobs[1].voting must be true or false"),
        ("{name: unit}", "{name: unit, parent: unit}", "jobs must not inherit in a circle, as 'unit' does"),
        ("check: [unit]", "check: [lint]", "projects[1].pipelines.check[0].name is 'lint'; allowed: base, noop, unit"),
        ("check: [unit]", "gate: [unit]", "projects[1].pipelines.gate is no pipeline; allowed: check"),
        ("depth: {check: 2}", "depth: {chekc: 2}", "tenants[0].depth.chekc is not a known key; allowed: check"),
        ("depth: {check: 2}", "depth: {check: many}", "tenants[0].depth.check must be a number from 0 to 20000"),
        (", pipelines: {check: [unit]}", "", "tenants[0].depth.check must be 0, since no project has a job there"),
        ("executors: [ze01.example.com]", "executors: []", "executors must name at least one host"),
        ("log_url: https://logs.example.com", "", "log_url must be a text"),
        ("projects: [a/b.c]", "projects: [a]", "tenants[0].projects names 'a'; allowed: a/b.c, config"),
        ("name: a/b.c, connection", "name: config, connection", "projects must have one entry named 'config', not two"),
        (
            "check: [unit]",
            "check: [{name: unit, dependencies: [base]}]",
            "projects: a/b.c in check: Job unit depends on base which was not run.",
        ),
        (
            "check: [unit]",
            "check: [{name: unit, dependencies: [{name: unit, soft: true}]}]",
            "projects: a/b.c in check: Dependency cycle detected in job unit",
        ),
        ("tenants:", "tenants: none\nrest:", "tenants must be a list"),
        (SMALL, "- a list", "the document must be a mapping with text keys"),
        (SMALL, "a: [", "not valid YAML in line "),
    ],
)
def test_a_wrong_file_gets_one_sentence_with_file_and_key(complaint, old, new, said):
    assert SMALL.count(old) == 1
    text = complaint(SMALL.replace(old, new))
    assert "\n" not in text
    assert text.startswith(f"wrong.yaml: {said}")
