# SPDX-License-Identifier: Apache-2.0
"""Errors in the configuration of a tenant, as the scheduler's `config_errors_list` gives them."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always
from zuul.web.resources.source_context import SourceContext


class ConfigError(Resource):
    """An error that the tenant's layout was loaded in spite of."""

    source_context = always(SourceContext)
    """Where the error is."""

    error = always(str)
    """For people to read: several lines, with the stanza in question and its place in the file."""

    @classmethod
    def sample(cls) -> ConfigError:
        return cls(
            source_context=SourceContext(project="org/broken", branch="master", path=".zuul.yaml"),
            error="Zuul encountered a syntax error while parsing its configuration in the\n"
            "repo org/broken on branch master.  The error was:\n\n"
            "  Job there-is-no-such-job not defined",
        )
