# SPDX-License-Identifier: Apache-2.0
"""Projects, as the scheduler's `project_list` and `project_get` give them."""

from __future__ import annotations

from wsme.types import Enum

from zuul.web.resources.base import Resource, always
from zuul.web.resources.jobs import JobVariant


class Project(Resource):
    """An entry of the list of a tenant's projects."""

    _key = "canonical_name"

    name = always(str)
    """May contain slashes; unique in a tenant as far as that tenant's configuration needs it to be."""

    connection_name = always(str)
    """The connection that it comes from."""

    canonical_name = always(str)
    """The name with its host in front, unique in the whole installation."""

    type = always(Enum(str, "config", "untrusted", name="ProjectType"))
    """Whether its jobs run with the executor's full powers (config) or in a sandbox (untrusted)."""

    @classmethod
    def sample(cls) -> Project:
        return cls(
            name="org/nested",
            connection_name="gerrit",
            canonical_name="review.example.com/org/nested",
            type="untrusted",
        )


class ProjectPipeline(Resource):
    """What a project stanza says about one pipeline."""

    queue_name = always(str, null=True)
    """The change queue that the project shares with others in this pipeline."""

    name = always(str)
    """Of the pipeline."""

    jobs = always([[JobVariant]])
    """One list per job, in the order of configuration; in it, that job's variants for this project, each with
    nothing but what the project changes."""

    @classmethod
    def sample(cls) -> ProjectPipeline:
        return cls(queue_name="integrated", name="gate", jobs=[[JobVariant.sample()]])


class ProjectConfig(Resource):
    """One project stanza. Several may apply, from project-config, templates and the project's own branches."""

    default_branch = always(str, null=True)
    """Null where the stanza leaves it open."""

    merge_mode = always(str, null=True)
    """merge, merge-resolve, cherry-pick or squash-merge; null where the stanza leaves it open."""

    templates = always([str])
    """The names of the project templates that it uses."""

    pipelines = always([ProjectPipeline])
    """By name."""

    @classmethod
    def sample(cls) -> ProjectConfig:
        return cls(
            default_branch="master",
            merge_mode="merge-resolve",
            templates=["image-jobs"],
            pipelines=[ProjectPipeline.sample()],
        )


class ProjectDetail(Resource):
    """A project and all its configuration in a tenant."""

    name = always(str)
    """The short name."""

    connection_name = always(str)
    """The connection that it comes from."""

    canonical_name = always(str)
    """The name with its host in front, unique in the whole installation."""

    configs = always([ProjectConfig])
    """All stanzas that apply."""

    @classmethod
    def sample(cls) -> ProjectDetail:
        return cls(
            name="org/nested",
            connection_name="gerrit",
            canonical_name="review.example.com/org/nested",
            configs=[ProjectConfig.sample()],
        )
