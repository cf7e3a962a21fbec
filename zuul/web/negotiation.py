# SPDX-License-Identifier: Apache-2.0
"""What a request's fields say about the form of its answer: whether the client has it, and may get it compressed.

Content that is compressed on demand has two entity tags, one for each form, and a client that holds either
form has the content.
"""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime


def both_tags(etag: str) -> tuple[str, str]:
    """The entity tags of content as it is and compressed, so that `[compressed]` picks one."""
    return f'"{etag}"', f'"{etag}-gzip"'


def holds(if_none_match: str | None, *tags: str) -> bool:
    """Whether a client that sent this If-None-Match field, or none, has what one of these tags stands for."""
    return if_none_match is not None and not entity_tags(if_none_match).isdisjoint((*tags, "*"))


def entity_tags(if_none_match: str) -> set[str]:
    """The tags of an If-None-Match field, compared weakly as RFC 9110 wants it there."""
    return {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}


def unchanged_since(if_modified_since: str, changed_at: float) -> bool:
    """Whether nothing is newer than what such a client has. It counts only without If-None-Match (RFC 9110).

    :param changed_at: in epoch seconds, of which the field has whole ones.
    """
    try:
        since = parsedate_to_datetime(if_modified_since)
        if since.tzinfo is None:  # asctime's form, which is in GMT too
            since = since.replace(tzinfo=timezone.utc)
        return int(changed_at) <= since.timestamp()
    except (ValueError, TypeError, OverflowError):
        return False  # not a date: as if it had not been sent


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding field allows gzip: named, or by `*`, and not with a weight of zero."""
    if accept_encoding == "gzip":
        return True
    accept_encoding = accept_encoding.lower()
    if "gzip" not in accept_encoding and "*" not in accept_encoding:
        return False
    weights = {}
    for part in accept_encoding.split(","):
        name, _, parameters = part.partition(";")
        weight = parameters.strip().removeprefix("q=")
        try:
            weights[name.strip()] = float(weight) if weight else 1.0
        except ValueError:
            weights[name.strip()] = 0.0
    return weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0))) > 0
