# SPDX-License-Identifier: Apache-2.0
"""Jobs, as the scheduler's `job_list`, `job_get` and `project_freeze_jobs` give them."""

from __future__ import annotations

from zuul.web.resources.base import JsonObject, Resource, always, sometimes
from zuul.web.resources.source_context import SourceContext


class JobVariantSummary(Resource):
    """What tells one variant from another in the list of jobs."""

    parent = sometimes(str)
    """Left out for a base job."""

    branches = sometimes([str])
    """Left out where the variant applies to all."""

    @classmethod
    def sample(cls) -> JobVariantSummary:
        return cls(parent="base", branches=["stable"])


class Job(Resource):
    """An entry of the list of a tenant's jobs."""

    _key = "name"

    name = always(str)
    """Unique in a tenant."""

    description = sometimes(str)
    """The first line of the first description that a variant has."""

    variants = sometimes([JobVariantSummary])
    """Left out where no variant has a parent or branches. One without either is not in the list."""

    tags = sometimes([str])
    """The tags of all variants, in no order."""

    @classmethod
    def sample(cls) -> Job:
        return cls(
            name="unit",
            description="Runs the unit tests.",
            variants=[JobVariantSummary.sample()],
            tags=["console"],
        )


class JobDependency(Resource):
    """A job that must succeed before another one starts."""

    name = always(str)
    """Of the job that must succeed before."""

    soft = always(bool)
    """Whether it may also be absent."""

    @classmethod
    def sample(cls) -> JobDependency:
        return cls(name="build-image", soft=False)


class FrozenJob(Resource):
    """A job as it would run for a branch of a project in a pipeline, and what it waits for."""

    _key = "name"

    name = always(str)
    """Of the job, unique in the list."""

    dependencies = always([JobDependency])
    """The jobs that it waits for; empty if it may start at once."""

    @classmethod
    def sample(cls) -> FrozenJob:
        return cls(name="test-image", dependencies=[JobDependency.sample()])


class RequiredProject(Resource):
    """A project that a job has checked out beside the one under test."""

    project_name = always(str)
    """The canonical name."""

    override_branch = always(str, null=True)
    """The branch to use in place of the change's, by the deprecated attribute of this name."""

    override_checkout = always(str, null=True)
    """The branch, tag or commit to check out in place of the change's branch."""

    @classmethod
    def sample(cls) -> RequiredProject:
        return cls(project_name="git.example.com/org/tools", override_branch=None, override_checkout="stable")


class Role(Resource):
    """A project whose Ansible roles a playbook may use."""

    target_name = always(str)
    """The name under which the roles are installed."""

    type = always(str)
    """zuul; there is no other."""

    project_canonical_name = always(str)
    """The project that has the roles, with its host in front."""

    implicit = always(bool)
    """Whether Zuul added it by itself, as the project that the job is defined in."""

    @classmethod
    def sample(cls) -> Role:
        return cls(
            target_name="project-config",
            type="zuul",
            project_canonical_name="git.example.com/project-config",
            implicit=True,
        )


class PlaybookSecret(Resource):
    """A secret that a playbook is given. What it holds is never shown."""

    name = always(str)
    """Of the secret in the configuration."""

    alias = always(str)
    """The Ansible variable that holds it."""

    @classmethod
    def sample(cls) -> PlaybookSecret:
        return cls(name="lab-credentials", alias="credentials")


class Playbook(Resource):
    """A playbook that a job runs."""

    path = always(str)
    """From the top of the project that the job is defined in."""

    roles = always([Role])
    """What it may use, in the order in which Ansible looks through it."""

    secrets = always([PlaybookSecret])
    """What it is given."""

    source_context = always(SourceContext, null=True)
    """Null for the built-in job noop."""

    @classmethod
    def sample(cls) -> Playbook:
        return cls(
            path="playbooks/unit.yaml",
            roles=[Role.sample()],
            secrets=[PlaybookSecret.sample()],
            source_context=SourceContext.sample(),
        )


class NodesetNode(Resource):
    """A node that a job asks for. It is no real one, so the first three keys tell nothing."""

    state = always(str)
    """unknown, as it is configuration."""

    hold_job = always(str, null=True)
    """The name of the job for which it is held; null: it is not."""

    comment = always(str, null=True)
    """Why the node is held; null: it is not."""

    name = always(str)
    """Its name in the Ansible inventory."""

    aliases = always([str])
    """Further names of the same node."""

    label = always(str)
    """What Nodepool is asked for."""

    @classmethod
    def sample(cls) -> NodesetNode:
        return cls(
            state="unknown",
            hold_job=None,
            comment=None,
            name="controller",
            aliases=["primary"],
            label="debian-small",
        )


class NodesetGroup(Resource):
    """A group in the Ansible inventory."""

    name = always(str)
    """Of the group in Ansible's inventory."""

    nodes = always([str])
    """The names of its nodes."""

    @classmethod
    def sample(cls) -> NodesetGroup:
        return cls(name="workers", nodes=["controller"])


class Nodeset(Resource):
    """The nodes that a job asks for."""

    name = always(str)
    """Empty where the job writes it in place."""

    nodes = always([NodesetNode])
    """In the order of configuration; empty for a job that runs on the executor alone."""

    groups = always([NodesetGroup])
    """Of nodes, as in Ansible's inventory."""

    @classmethod
    def sample(cls) -> Nodeset:
        return cls(name="small", nodes=[NodesetNode.sample()], groups=[NodesetGroup.sample()])


class JobVariant(Resource):
    """One definition of a job, as it was written: what it inherits from its parent is not merged in."""

    name = always(str)
    """Of the job; the same for all its variants."""

    branches = always([str])
    """Regular expressions of the branches it applies to; empty: all."""

    override_checkout = always(str, null=True)
    """The branch, tag or commit to check out of all projects in place of the change's branch."""

    files = always([str])
    """Regular expressions: it runs only where a changed file matches one; empty: always."""

    irrelevant_files = always([str])
    """Regular expressions: it does not run where every changed file matches one."""

    variant_description = always(str, null=True)
    """What is special about this variant; its branches where nobody wrote one."""

    source_context = always(SourceContext, null=True)
    """Null for the built-in job noop."""

    description = always(str, null=True)
    """In the words of its author; null if there are none."""

    required_projects = always([RequiredProject])
    """What is checked out beside the project under test."""

    semaphore = always(str, null=True)
    """The name of the semaphore that it holds while it runs."""

    variables = always(JsonObject)
    """Ansible variables."""

    extra_variables = always(JsonObject)
    """Ansible variables that override all others."""

    host_variables = always(JsonObject)
    """Ansible variables by node name."""

    group_variables = always(JsonObject)
    """Ansible variables by group name."""

    final = always(bool)
    """Whether no other job may inherit from it, and no project change it."""

    abstract = always(bool)
    """Whether it exists only to be inherited from."""

    protected = always(bool, null=True)
    """Whether only its own project may inherit from it; null: not said."""

    voting = always(bool)
    """Whether its failure makes the item fail."""

    timeout = always(int, null=True)
    """Seconds; null: not said."""

    tags = always([str])
    """For people and reports to sort jobs by."""

    provides = always([str])
    """Names of the artifacts that jobs of later changes may require."""

    requires = always([str])
    """Names of the artifacts that it takes from earlier changes."""

    dependencies = always([JobDependency])
    """The jobs that must succeed before it starts."""

    attempts = always(int)
    """How often it is tried, the first time included, while something other than itself fails."""

    roles = always([Role])
    """What its playbooks may use."""

    run = always([Playbook])
    """The playbooks of the job itself, in the order in which they run."""

    pre_run = always([Playbook])
    """The playbooks that run before those of `run`."""

    post_run = always([Playbook])
    """The playbooks that run after those of `run`, whatever the result."""

    cleanup_run = always([Playbook])
    """The playbooks that run at the very end, also when the job was aborted."""

    post_review = always(bool, null=True)
    """Whether it runs only in pipelines for reviewed changes, as it has secrets to keep; null: not said."""

    match_on_config_updates = always(bool)
    """Whether it also runs, whatever `files` say, where a change alters the job itself."""

    parent = always(str, null=True)
    """Null for a base job."""

    nodeset = sometimes(Nodeset)
    """Left out where the variant asks for no nodes."""

    ansible_version = always(str, null=True)
    """Null: the tenant's."""

    @classmethod
    def sample(cls) -> JobVariant:
        return cls(
            name="unit",
            branches=["stable"],
            override_checkout=None,
            files=["^src/.*"],
            irrelevant_files=[],
            variant_description="stable",
            source_context=SourceContext.sample(),
            description="Runs the unit tests.",
            required_projects=[RequiredProject.sample()],
            semaphore="database",
            variables={"tox_envlist": "py38", "tox_environment": {"WORKERS": 4}},
            extra_variables={},
            host_variables={"controller": {"primary": True}},
            group_variables={"workers": {"threads": 2}},
            final=False,
            abstract=False,
            protected=None,
            voting=True,
            timeout=1800,
            tags=["console"],
            provides=[],
            requires=["image"],
            dependencies=[JobDependency.sample()],
            attempts=3,
            roles=[Role.sample()],
            run=[Playbook.sample()],
            pre_run=[],
            post_run=[],
            cleanup_run=[],
            post_review=None,
            match_on_config_updates=True,
            parent="base",
            nodeset=Nodeset.sample(),
            ansible_version=None,
        )
