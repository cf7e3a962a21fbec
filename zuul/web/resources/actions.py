# SPDX-License-Identifier: Apache-2.0
"""What clients send to have something done in a pipeline. The words are those of zuul-client and of zuul-web 4."""

from __future__ import annotations

from zuul.web.errors import BadRequest
from zuul.web.resources.base import Body, TextType, always, sometimes

NO_REVISION = "0" * 40
"""How git says that there was no commit, or will be none."""

NAME = TextType("a name", r"[^\x00-\x1f\x7f]+")
CHANGE = TextType("NUMBER,PATCHSET of a change", "[0-9]{1,20},[0-9a-f]{1,40}", least=3, most=61)
REF = TextType("a whole ref such as refs/heads/master", r"refs/[^\x00-\x20\x7f~^:?*\[\\]+", least=6, most=500)
REVISION = TextType("40 hexadecimal digits", "[0-9a-fA-F]{40}", least=40, most=40)
ANYTHING = TextType("text", least=0)


class Entry(Body):
    """A change or a ref that is to go into a pipeline: either `change`, or `ref` with its revisions."""

    change = sometimes(CHANGE, null=True)
    """`NUMBER,PATCHSET` of a change; of GitHub and the like, `NUMBER,COMMIT`."""

    ref = sometimes(REF, null=True)
    """The whole name of a ref: `refs/heads/master`, `refs/tags/1.0`."""

    oldrev = sometimes(REVISION, null=True)
    """Where the ref was; null or left out: nowhere, 40 zeros."""

    newrev = sometimes(REVISION, null=True)
    """Where the ref is now; null or left out: nowhere, 40 zeros."""

    trigger = sometimes(ANYTHING, null=True)
    """Nobody looks at it any more; clients of Zuul 3 send it."""

    def _settle(self) -> None:
        _one_of(self.change, self.ref)
        if self.ref is not None:
            self.oldrev = self.oldrev or NO_REVISION
            self.newrev = self.newrev or NO_REVISION
            return
        for name in ("oldrev", "newrev"):
            if getattr(self, name) is not None:
                raise BadRequest(f"{name}: goes with a ref, not with a change")

    @classmethod
    def sample(cls) -> Entry:
        return cls(ref="refs/heads/master", oldrev=NO_REVISION, newrev="5" * 40)


class Enqueue(Entry):
    """What is to be enqueued, and where."""

    pipeline = always(NAME)
    """The name of the pipeline."""

    @classmethod
    def sample(cls) -> Enqueue:
        return cls(change="42,1", pipeline="gate")


class NewItem(Entry):
    """What is to be enqueued in the pipeline of the URL."""

    project = always(NAME)
    """The short or canonical name of its project."""

    @classmethod
    def sample(cls) -> NewItem:
        return cls(change="42,1", project="org/nested")


class Dequeue(Body):
    """What is to be taken out of a pipeline: either `change` or `ref`."""

    pipeline = always(NAME)
    """The name of the pipeline."""

    change = sometimes(CHANGE, null=True)
    """`NUMBER,PATCHSET` of a change."""

    ref = sometimes(TextType("a ref", most=500), null=True)
    """The ref of an item, as the status has it."""

    def _settle(self) -> None:
        _one_of(self.change, self.ref)

    @classmethod
    def sample(cls) -> Dequeue:
        return cls(change="42,1", pipeline="gate")


class Promotion(Body):
    """Changes that are to come first in the pipeline of the URL."""

    changes = always([CHANGE])
    """`NUMBER,PATCHSET` of each, all of one queue, in the order in which they are to stand."""

    def _settle(self) -> None:
        if not self.changes:
            raise BadRequest("changes: there must be one at least")
        for number, change in enumerate(self.changes):
            if change in self.changes[:number]:
                raise BadRequest(f"changes[{number}]: {change} is there more than once")

    @classmethod
    def sample(cls) -> Promotion:
        return cls(changes=["43,1", "42,1"])


class Promote(Promotion):
    """Changes that are to come first, and where."""

    pipeline = always(NAME)
    """The name of the pipeline."""

    @classmethod
    def sample(cls) -> Promote:
        return cls(changes=["43,1", "42,1"], pipeline="gate")


def _one_of(change: str | None, ref: str | None) -> None:
    if change is not None and ref is not None:
        raise BadRequest("change and ref: only one of them is possible")
    if change is None and ref is None:
        raise BadRequest("change or ref: one of them must be there")
