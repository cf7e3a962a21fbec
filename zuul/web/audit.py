# SPDX-License-Identifier: Apache-2.0
"""Who did what, and what came of it: a line in the log for each call that acts or tries to, and the last of them here.

The log is what lasts (its logger is `zuul.web.audit`); what is kept here is bounded, and gone with the process.
"""

from __future__ import annotations

import collections
import itertools
import json
import logging
import re
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from zuul.web import errors
from zuul.web.auth import Identity

log = logging.getLogger("zuul.web.audit")

MOST_ENTRIES = 1000
MOST_CHARACTERS = 500
"""Of one text in an entry. With the most entries, and the most of each, this is 20 MB."""
MOST_OF_A_LIST = 20

READS = ("GET", "HEAD", "OPTIONS")

Row = dict[str, Any]

_tenant_of = re.compile(r"/(?:api/tenant|(?:api/)?v1/tenants)/([^/]+)").search


@dataclass(frozen=True)
class Call:
    """A request for an action, as it was."""

    request_id: str
    action: str | None
    """None: it ended before anybody looked at what it is to do."""
    method: str
    path: str
    tenant: str | None
    address: str | None
    forwarded_for: str | None
    asked: dict[str, Any] | None
    """What the body says; None: there is none, or it was not looked at or not understood."""
    identity: Identity | None

    @classmethod
    def of(cls, environ: dict[str, Any], action: str | None, tenant: str | None) -> Call:
        """What a WSGI environ says of it."""
        return cls(
            request_id=environ.get("zuul.request_id", "-"),
            action=action,
            method=environ["REQUEST_METHOD"],
            path=_path(environ),
            tenant=tenant,
            address=environ.get("REMOTE_ADDR"),
            forwarded_for=environ.get("HTTP_X_FORWARDED_FOR"),
            asked=environ.get("zuul.asked"),
            identity=environ.get("zuul.identity"),
        )


class Audit:
    """The last calls, for any thread."""

    def __init__(self, most_entries: int = MOST_ENTRIES) -> None:
        self._lock = threading.Lock()
        self._rows: collections.deque[Row] = collections.deque(maxlen=most_entries)
        self._numbers = itertools.count(1)

    def add(self, call: Call, status: int, error: errors.RestError | None) -> None:
        """Log a call that is over, and keep it.

        :param error: what it ended in; None: it is done.
        """
        row = {
            "time": round(time.time(), 3),
            "request_id": call.request_id,
            "user": call.identity and _cut(call.identity.uid),
            "realm": call.identity and call.identity.realm,
            "address": call.address,
            "forwarded_for": call.forwarded_for and _cut(call.forwarded_for),
            "action": call.action,
            "tenant": call.tenant and _cut(call.tenant),
            "method": _cut(call.method),
            "path": _cut(call.path),
            "asked": call.asked and {name: _cut(value) for name, value in call.asked.items()},
            "outcome": outcome(error),
            "status": status,
            "message": error and _cut(error.message),
        }
        with self._lock:
            row = {"id": str(next(self._numbers)), **row}
            self._rows.append(row)
        # JSON, so that nothing that a client sends can look like another line, or another field.
        log.info(
            "%s", " ".join(f"{name}={json.dumps(value)}" for name, value in row.items() if name not in _not_logged)
        )

    def add_unread(self, environ: dict[str, Any], error: errors.RestError) -> None:
        """The same for a request that was refused before anybody looked at what it is to do, if it was to do anything.

        Its tenant is the one that the URL names, whether or not there is such a tenant.
        """
        found = _tenant_of(environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))
        if environ["REQUEST_METHOD"] not in READS:
            tenant = found[1].encode("latin-1", "replace").decode("utf-8", "replace") if found else None
            self.add(Call.of(environ, None, tenant), error.status, error)

    def rows(self) -> list[Row]:
        """What is kept, the last call first. The rows are never changed."""
        with self._lock:
            return list(reversed(self._rows))


def _path(environ: dict[str, Any]) -> str:
    """As the client wrote it, about."""
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return quote(path, safe="/~!$&'()*+,;=:@", encoding="latin-1", errors="replace")


_not_logged = ("id", "time")


def outcome(error: errors.RestError | None) -> str:
    """`done`, `refused` (by us or the scheduler), `failed` (it was not done), or `unknown` whether it was."""
    if error is None:
        return "done"
    if error.fields.get("outcome") == "unknown":
        return "unknown"
    return "refused" if error.status < 500 else "failed"


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        return value[:MOST_CHARACTERS] + "..."
    if isinstance(value, list):
        return [_cut(entry) for entry in value[:MOST_OF_A_LIST]] + ["..."] * (len(value) > MOST_OF_A_LIST)
    return value
