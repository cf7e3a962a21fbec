# SPDX-License-Identifier: Apache-2.0
"""Badges: how the newest buildset, or the newest build of a job, came out, on one line."""

from __future__ import annotations

import json
from typing import Any
from xml.sax.saxutils import escape

from zuul.web.errors import NotFound
from zuul.web.resources.base import Query, Resource, always, sometimes

SVG, TEXT, JSON = "image/svg+xml", "text/plain", "application/json"

COLORS = {"passing": "#2e7d32", "failing": "#c62828"}
GREY = "#616161"
UNDECIDED = frozenset({"SKIPPED", "CANCELED", "ABORTED", "DEQUEUED"})
MOST_LETTERS = 60

NARROW, WIDE = "fijlrtI.,:;'|!()[]/- ", "mwMWOQGD@%"
HEIGHT, PADDING = 20, 6


class BadgeQuery(Query):
    """Of what a badge tells."""

    project = sometimes([str])
    """The project, by its short name. A `*` stands for any text."""

    pipeline = sometimes([str])
    """The pipeline. A `*` stands for any text."""

    branch = sometimes([str])
    """The branch. A `*` stands for any text."""

    job_name = sometimes(str)
    """A job: then the badge tells of its newest build."""


class Badge(Resource):
    """How the newest buildset, or the newest build of a job, came out."""

    label = always(str)
    """What it is of: the job, the pipeline, or `build`."""

    message = always(str)
    """`passing`, `failing`, or what else became of it."""

    color = always(str)
    """Of the message, as `#rrggbb`."""

    result = always(str, null=True)
    """In Zuul's word."""

    uuid = always(str, null=True)
    """The buildset, or the build of the job."""

    @classmethod
    def of(cls, label: str, found: dict[str, Any] | None) -> Badge:
        """Of a record of the history; None: there is none."""
        if found is None:
            return cls(label=label, message="unknown", color=GREY, result=None, uuid=None)
        result = found["result"]
        if result is None:  # nobody has written down how it came out
            message = "unknown"
        elif result == "SUCCESS":
            message = "passing"
        elif result in UNDECIDED:
            message = result.lower()
        else:
            message = "failing"
        return cls(label=label, message=message, color=COLORS.get(message, GREY), result=result, uuid=found["uuid"])

    @classmethod
    def sample(cls) -> Badge:
        return cls.of("gate", {"result": "SUCCESS", "uuid": "6e1c7a1f2d3b4c5d8e9fa0b1c2d3e4f5"})


def as_svg(badge: Badge) -> bytes:
    """A picture of it, for pages and for those who listen to them."""
    label, message = _shortened(badge.label), badge.message
    left, right = _width(label) + 2 * PADDING, _width(message) + 2 * PADDING

    def text(words: str, begin: int, width: int) -> str:
        length = width - 2 * PADDING
        return f'<text x="{begin + width / 2:g}" y="14" textLength="{length}">{escape(words)}</text>'

    name = escape(f"{label}: {message}", {'"': "&quot;"})
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="{HEIGHT}" role="img" '
        f'aria-label="{name}"><title>{name}</title>'
        f'<clipPath id="c"><rect width="{left + right}" height="{HEIGHT}" rx="3"/></clipPath>'
        f'<g clip-path="url(#c)"><rect width="{left}" height="{HEIGHT}" fill="#37474f"/>'
        f'<rect x="{left}" width="{right}" height="{HEIGHT}" fill="{badge.color}"/></g>'
        f'<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" text-anchor="middle">'
        f"{text(label, 0, left)}{text(message, left, right)}</g></svg>\n"
    ).encode()


def as_text(badge: Badge) -> bytes:
    """One line of it.

    :raises NotFound: there is nothing to tell of.
    """
    _check_known(badge)
    return f"{badge.label}: {badge.message}\n".encode()


def as_json(badge: Badge) -> bytes:
    """All of it.

    :raises NotFound: there is nothing to tell of.
    """
    _check_known(badge)
    names = ("label", "message", "color", "result", "uuid")
    return json.dumps({name: getattr(badge, name) for name in names}).encode()


FORMS = {SVG: as_svg, TEXT: as_text, JSON: as_json}


def _check_known(badge: Badge) -> None:
    if badge.uuid is None and badge.result is None:
        raise NotFound("No buildset found.")


def _shortened(text: str) -> str:
    text = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"


def _width(text: str) -> int:
    """About the pixels that it takes; `textLength` makes it so."""
    return round(sum(4 if c in NARROW else 10 if c in WIDE else 7 for c in text))
