# SPDX-License-Identifier: Apache-2.0
"""What items are about: changes under review, merged commits, branches; and made-up ones of each."""

from __future__ import annotations

import random
from dataclasses import dataclass

from zuul.web.sandbox.model import Project

OWNERS = (
    "Ada Byron",
    "Grace Murray",
    "Alan Mathison",
    "Edsger Wybe",
    "Barbara Jane",
    "Radia Joy",
    "Ken Lane",
)
FIRST_CHANGE = 700_000
"""The number of the first made-up change."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change under review (with number and patchset), or a ref as it is."""

    project: Project
    ref: str
    branch: str
    url: str | None
    number: str | None = None
    patchset: str | None = None
    """Gerrit: counted from 1; GitHub: the commit at the head of the pull request."""
    oldrev: str | None = None
    newrev: str | None = None
    owner: dict[str, str] | None = None

    @property
    def id(self) -> str | None:
        """`N,P` for changes, the new revision for refs, None for a branch that a timer enqueued."""
        return f"{self.number},{self.patchset}" if self.number else self.newrev


def change_ref(project: Project, number: str, patchset: str) -> str:
    """The ref under which the code review system keeps a change."""
    if project.connection.driver == "gerrit":
        return f"refs/changes/{number[-2:].zfill(2)}/{number}/{patchset}"
    return f"refs/pull/{number}/head"


def change_ref_filter(project: Project, number: str) -> str:
    """The regular expression that Zuul derives from a change number for hold requests."""
    if project.connection.driver == "gerrit":
        return f"refs/changes/{number[-2:]}/{number}/.*"
    return f"refs/pull/{number}/head"


def change(project: Project, number: str, patchset: str, branch: str, owner: str | None = None) -> Change:
    """A change under review. Only Gerrit tells Zuul who owns it."""
    gerrit = project.connection.driver == "gerrit"
    if owner and gerrit:
        username = owner.split()[0].lower()
        details = {"name": owner, "email": f"{username}@example.com", "username": username}
    else:
        details = None
    url = (
        f"{project.connection.baseurl}/{number}"
        if gerrit
        else f"https://{project.connection.server}/{project.name}/pull/{number}"
    )
    ref = change_ref(project, number, patchset)
    return Change(project, ref, branch, url, number=number, patchset=patchset, owner=details)


def revision(project: Project, ref: str, oldrev: str | None, newrev: str | None) -> Change:
    """A ref moved from one commit to another; a branch as it is if both are None."""
    branch = ref.removeprefix("refs/heads/")
    connection = project.connection
    if connection.driver == "github":
        url = f"https://{connection.server}/{project.name}" + (f"/commit/{newrev}" if newrev else "")
    else:
        url = f"{connection.baseurl}/gitweb?p={project.name}.git;a=commitdiff;h={newrev}"
    return Change(project, ref, branch, url, oldrev=oldrev, newrev=newrev)


class ChangeSource:
    """Makes up changes, each with the next number."""

    def __init__(self, rng: random.Random, first_change: int = FIRST_CHANGE) -> None:
        self._rng = rng
        self._number = first_change

    def make(self, subject: str, project: Project, branch: str) -> Change:
        """A `change`, `commit` or `branch` (see `Pipeline.subject`) that was not there before."""
        if subject == "branch":
            return revision(project, f"refs/heads/{branch}", None, None)
        if subject == "commit":
            return revision(project, f"refs/heads/{branch}", self._sha(), self._sha())
        self._number += 1
        gerrit = project.connection.driver == "gerrit"
        patchset = str(self._rng.randint(1, 12)) if gerrit else self._sha()
        return change(project, str(self._number), patchset, branch, self._rng.choice(OWNERS))

    def _sha(self) -> str:
        return f"{self._rng.getrandbits(160):040x}"
