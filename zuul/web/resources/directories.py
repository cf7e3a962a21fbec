# SPDX-License-Identifier: Apache-2.0
"""Links, of which directories consist."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class Link(Resource):
    """A URL of this service."""

    _key = "href"

    href = always(str)
    """The path, from the root of the host. Where it is a template, names in braces are to be filled in,
    percent-encoded."""

    templated = always(bool)
    """Whether it has names to be filled in."""

    title = always(str)
    """What is there, for people to read."""

    @classmethod
    def sample(cls) -> Link:
        return cls(href="/v1/tenants/{tenant}/jobs", templated=True, title="All jobs of the tenant by name.")
