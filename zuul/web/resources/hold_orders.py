# SPDX-License-Identifier: Apache-2.0
"""What clients send to have nodes held, in both families of keys: those of zuul-web 3.19.1, and the scheduler's own."""

from __future__ import annotations

import re

from zuul.web.errors import BadRequest
from zuul.web.resources.actions import NAME
from zuul.web.resources.base import Body, TextType, WholeType, always, sometimes

MOST = 2**31 - 1
COUNT = WholeType(1, MOST)
SECONDS = WholeType(0, MOST)
EXPRESSION = TextType("a regular expression", least=0, most=500)

SAME = (("count", "max_count"), ("node_hold_expiration", "node_expiration"), ("ref", "ref_filter"))
"""Keys that mean the same."""


class HoldOrder(Body):
    """Which failing builds are to keep their nodes. `count` or `max_count` must be there."""

    job = always(NAME)
    """The name of the job. It need not exist yet."""

    reason = always(TextType("text", least=0, most=1000))
    """Why, for those who wonder."""

    count = sometimes(COUNT)
    """How many failing builds are held altogether."""

    max_count = sometimes(COUNT)
    """The same as `count`."""

    change = sometimes(TextType("the number of a change", "[0-9]*", least=0, most=20), null=True)
    """The number of a change, of which any patchset counts; null or empty: any."""

    ref = sometimes(EXPRESSION, null=True)
    """A regular expression from the start of the ref; null or empty: any. Not together with `change`."""

    ref_filter = sometimes(EXPRESSION, null=True)
    """The same as `ref`."""

    node_hold_expiration = sometimes(SECONDS, null=True)
    """Seconds for which nodes are kept, 0: for ever; null or left out: as the scheduler is configured."""

    node_expiration = sometimes(SECONDS, null=True)
    """The same as `node_hold_expiration`."""

    def _settle(self) -> None:
        for name, alias in SAME:
            value, other = getattr(self, name), getattr(self, alias)
            if None not in (value, other) and value != other:
                raise BadRequest(f"{alias}: is not as {name}, which means the same")
            setattr(self, name, other if value is None else value)
            setattr(self, alias, None)
        if self.count is None:
            raise BadRequest("count: missing")
        self.change = self.change or None  # zuul-client has an empty text for nothing
        self.ref = self.ref or None
        if self.change and self.ref:
            raise BadRequest("change and ref: only one of them is possible")
        if self.ref:
            _check_expression(self.ref)

    @classmethod
    def sample(cls) -> HoldOrder:
        return cls(job="fail-node", reason="look at the disk", count=2, node_hold_expiration=86400)


class HoldOrderForProject(HoldOrder):
    """Which failing builds of which project are to keep their nodes."""

    project = always(NAME)
    """The short or canonical name of the project."""

    @classmethod
    def sample(cls) -> HoldOrderForProject:
        return cls(project="sandbox", job="fail-node", reason="look at the disk", max_count=2, ref_filter="refs/heads/")


def _check_expression(text: str) -> None:
    """The scheduler would take any text, and then fail with each build that it has to look at."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadRequest(f"ref: is no regular expression: {error}") from error
