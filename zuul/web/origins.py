# SPDX-License-Identifier: Apache-2.0
"""Whose pages may read answers and act in a browser (CORS), by two lists of zuul.conf.

Of `allowed_origins`, pages may do everything and have the browser send cookies along. Everybody else's may read where
`read_origins` has them or `*`, which it has by default, as upstream.
"""

from __future__ import annotations

from zuul.web.settings import Rest

ANY_ORIGIN = ("Access-Control-Allow-Origin", "*")

READABLE_FIELDS = (
    "Age, ETag, Link, Retry-After, WWW-Authenticate, X-Limit, X-Marker, X-More-Data, X-Offset, X-Request-Id, "
    "X-Text-Size, X-Total"
)
"""What a page of another origin may read of an answer, besides the few fields that any page may."""

METHODS_OF_READERS = ("GET", "HEAD", "OPTIONS")

Fields = list[tuple[str, str]]


class Origins:
    def __init__(self, rest: Rest) -> None:
        allowed = rest.allowed_origins or ()
        self._listed = frozenset(allowed) - {"*"}
        self._any_acts = "*" in allowed
        self._readers = frozenset(rest.read_origins)
        self.anybody_reads = self._any_acts or "*" in self._readers
        self.same_for_all = self.anybody_reads and not self._listed
        """Whether a read has the same answer whoever asks."""

    def may_act(self, origin: str) -> bool:
        return self._any_acts or origin.lower() in self._listed

    def may_read(self, origin: str) -> bool:
        return self.anybody_reads or self.may_act(origin) or origin.lower() in self._readers

    def allowing(self, origin: str | None, *, acts: bool = False) -> Fields:
        """The fields that let this origin's page have the answer to a read, or to a request that acts."""
        vary: Fields = [] if self.same_for_all else [("Vary", "Origin")]
        if origin is None:
            return [*vary, *([ANY_ORIGIN] if self.anybody_reads and not acts else [])]
        if origin.lower() in self._listed:
            return [*vary, ("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]
        if self._any_acts if acts else self.anybody_reads:
            return [*vary, ANY_ORIGIN]
        if not acts and self.may_read(origin):
            return [*vary, ("Access-Control-Allow-Origin", origin)]
        return vary

    def preflight(self, origin: str, methods: str) -> Fields:
        """The answer to a browser that asks before a page acts: what it may of these methods."""
        if self.may_act(origin):
            return [*self.allowing(origin, acts=True), ("Access-Control-Allow-Methods", methods)]
        allowed = [method for method in methods.split(", ") if method in METHODS_OF_READERS]
        if not self.may_read(origin):
            return self.allowing(origin)
        return [*self.allowing(origin), ("Access-Control-Allow-Methods", ", ".join(allowed))]
