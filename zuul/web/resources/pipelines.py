# SPDX-License-Identifier: Apache-2.0
"""Pipelines as they are configured, as the scheduler's `pipeline_list` gives them."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always


class Trigger(Resource):
    """What makes a pipeline take up changes and refs."""

    name = always(str)
    """The connection, or the driver's name where it has no connections (timer, zuul)."""

    driver = always(str)
    """Of the connection, or the trigger's own (timer, zuul)."""

    @classmethod
    def sample(cls) -> Trigger:
        return cls(name="gerrit", driver="gerrit")


class Pipeline(Resource):
    """A pipeline of a tenant. What is in it is told by the status."""

    _key = "name"

    name = always(str)
    """Unique in a tenant."""

    triggers = always([Trigger])
    """Empty for a pipeline that is only enqueued into by hand."""

    @classmethod
    def sample(cls) -> Pipeline:
        return cls(name="gate", triggers=[Trigger.sample()])
