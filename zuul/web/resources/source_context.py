# SPDX-License-Identifier: Apache-2.0
"""Where a piece of configuration was read from."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always, sometimes


class SourceContext(Resource):
    """A file in a branch of a project, or a whole project."""

    project = always(str)
    """The short name of the project that has the file."""

    branch = sometimes(str)
    """Left out with `path` where a config error is about the project as such, for instance a branch list that
    could not be fetched."""

    path = sometimes(str)
    """The file, from the top of the repository."""

    @classmethod
    def sample(cls) -> SourceContext:
        return cls(project="project-config", branch="master", path="zuul.d/jobs.yaml")
