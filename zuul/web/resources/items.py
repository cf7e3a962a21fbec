# SPDX-License-Identifier: Apache-2.0
"""The items of a pipeline as a flat collection, out of a status, which has them in queues and heads."""

from __future__ import annotations

from typing import Any

from zuul.web.resources.base import always
from zuul.web.resources.status import Item


class QueueItem(Item):
    """A live item and its place in the pipeline."""

    _key = "id"

    pipeline = always(str)
    """The name of the pipeline that it is in."""

    queue = always(str)
    """The change queue: as configured, or the first of its projects where it is shared by none."""

    position = always(int)
    """How many live items stand before it in its queue."""

    @classmethod
    def rows(cls, pipeline: dict[str, Any]) -> list[dict[str, Any]]:
        """The live items of a pipeline of a status, queue by queue."""
        return [row for queue in pipeline["change_queues"] for row in _rows_of(pipeline["name"], queue)]

    @classmethod
    def sample(cls) -> QueueItem:
        item = Item.sample()
        values = {name: getattr(item, name) for name in Item._wsme_attr_order}
        return cls(**values, pipeline="gate", queue="integrated", position=0)


def _rows_of(pipeline: str, queue: dict[str, Any]) -> list[dict[str, Any]]:
    live = [item for head in queue["heads"] for item in head if item["live"]]
    return [{**item, "pipeline": pipeline, "queue": queue["name"], "position": n} for n, item in enumerate(live)]
