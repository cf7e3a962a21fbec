# SPDX-License-Identifier: Apache-2.0
"""Which znodes are followed: those of Nodepool 3, and the hold requests of Zuul, and none besides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Branch:
    """What is followed at a znode and below it.

    :param data: its content.
    :param lists: its children, of which `named` says what is followed of some, and `each` of all others.
    :param locks: whether it has a child `lock`, whose children show who has it locked. Nodes, of which there are
        thousands, have no other children; so theirs are listed only while that one is not there.
    """

    data: bool = False
    lists: bool = False
    locks: bool = False
    named: Mapping[str, Branch | None] = field(default_factory=dict)
    each: Branch | None = None

    def child(self, name: str) -> Branch | None:
        return self.named.get(name, self.each)


LOCK = Branch(lists=True)
_UPLOAD = Branch(data=True, locks=True)
_UPLOADS = Branch(lists=True, named={"lock": None}, each=_UPLOAD)
_PROVIDERS = Branch(lists=True, each=Branch(lists=True, named={"images": _UPLOADS}))
_BUILD = Branch(data=True, lists=True, named={"lock": LOCK, "providers": _PROVIDERS})
_BUILDS = Branch(lists=True, named={"lock": None}, each=_BUILD)
_IMAGE = Branch(lists=True, named={"builds": _BUILDS})

ROOTS = {
    "/nodepool/launchers": Branch(lists=True, each=Branch(data=True)),
    "/nodepool/nodes": Branch(lists=True, each=Branch(data=True, locks=True)),
    "/nodepool/requests": Branch(lists=True, each=Branch(data=True)),
    "/nodepool/images": Branch(lists=True, each=_IMAGE),
    "/zuul/hold-requests": Branch(lists=True, each=Branch(data=True)),
    "/nodepool/requests-lock": Branch(lists=True, each=LOCK),
}
"""In the order in which they are loaded. Locks of requests stay for hours after these have ended."""
