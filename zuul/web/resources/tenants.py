# SPDX-License-Identifier: Apache-2.0
"""Tenants, as the scheduler's `tenant_list` gives them."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class Tenant(Resource):
    """A tenant and how busy it is."""

    _key = "name"

    name = always(str)
    """Unique in the installation."""

    projects = always(int)
    """How many untrusted projects it has. Config projects do not count."""

    queue = always(int)
    """How many live items it has in all its pipelines. Items that are there only because others need them do
    not count."""

    @classmethod
    def sample(cls) -> Tenant:
        return cls(name="tenant-one", projects=6, queue=2)
