# SPDX-License-Identifier: Apache-2.0
"""Connections, as the scheduler's `connection_list` gives them."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always, sometimes


class Connection(Resource):
    """A connection to a source of projects. Those that only report (smtp, sql, mqtt) are not listed.

    Which keys there are depends on the driver: gitlab and pagure have name and driver alone.
    """

    _key = "name"

    name = always(str)
    """The name of its section in zuul.conf: `[connection NAME]`."""

    driver = always(str)
    """git, gerrit, github, gitlab or pagure."""

    baseurl = sometimes(str)
    """Where its projects are cloned from (git), its web site (gerrit) or its API (github)."""

    canonical_hostname = sometimes(str)
    """The first part of the canonical names of its projects (git, gerrit, github)."""

    server = sometimes(str)
    """The host that Zuul talks to (gerrit, github)."""

    port = sometimes(int)
    """The SSH port of `server` (gerrit)."""

    @classmethod
    def sample(cls) -> Connection:
        return cls(
            name="gerrit",
            driver="gerrit",
            baseurl="https://review.example.com",
            canonical_hostname="review.example.com",
            server="review.example.com",
            port=29418,
        )
