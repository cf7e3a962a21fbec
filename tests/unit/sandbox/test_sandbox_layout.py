# SPDX-License-Identifier: Apache-2.0
"""Which jobs run where."""

from __future__ import annotations

import pytest

from zuul.web.sandbox.layout import Layout
from zuul.web.sandbox.scenario import load


@pytest.fixture(scope="module")
def tenant():
    return load(None).tenants["example"]


@pytest.fixture
def frozen(tenant):
    """The frozen jobs of a project, by name."""

    def freeze(project, pipeline, branch="master"):
        return {job.name: job for job in Layout(tenant).freeze(tenant.project(project), pipeline, branch)}

    return freeze


def test_jobs_come_from_the_project_and_its_templates_in_order(frozen):
    assert list(frozen("lib/sdk", "check")) == [
        "tox-pep8",
        "tox-py38",
        "tox-py39",
        "tox-docs",
        "tox-cover",
        "lower-constraints",
    ]


def test_a_job_limited_to_branches_runs_only_there(frozen):
    assert "tox-py36" not in frozen("core/compute", "check")
    assert "tox-py36" in frozen("core/compute", "check", "stable/ussuri")


def test_a_matching_variant_overrides_the_ones_before(frozen):
    assert frozen("core/compute", "check")["tox-py38"].labels == ("ubuntu-focal",)
    assert frozen("core/compute", "check", "stable/train")["tox-py38"].labels == ("ubuntu-bionic",)


def test_attributes_are_inherited(frozen):
    jobs = frozen("core/compute", "check")
    assert jobs["integration-multinode"].labels == ("ubuntu-focal",) * 3
    assert jobs["integration-arm64"].voting is False
    assert jobs["functional-ipv6"].attempts == 3


def test_dependencies_are_hard_or_soft(frozen):
    dependencies = frozen("core/compute", "check")["integration-multinode"].dependencies
    assert [(dependency.name, dependency.soft) for dependency in dependencies] == [
        ("select-tests", False),
        ("functional", True),
    ]


def test_a_project_outside_the_pipeline_runs_nothing(frozen):
    assert frozen("specs", "periodic") == {}


def test_branches_nobody_configured_are_not_remembered(tenant):
    layout = Layout(tenant)
    project = tenant.project("core/compute")
    assert layout.freeze(project, "check", "master") is layout.freeze(project, "check", "master")
    assert layout.freeze(project, "check", "x") is not layout.freeze(project, "check", "x")
