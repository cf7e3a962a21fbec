# SPDX-License-Identifier: Apache-2.0
"""Entries of the audit, out of the memory of the server that took the calls."""

from __future__ import annotations

from wsme.types import Enum

from zuul.web.resources.base import JsonObject, Resource, always


class AuditEntry(Resource):
    """A call that did something, or tried to."""

    _key = "id"

    id = always(str)
    """A number that counts up while the server runs."""

    time = always(float)
    """Epoch seconds of its end."""

    request_id = always(str)
    """Names the request in all logs: `X-Request-Id` of its answer."""

    user = always(str, null=True)
    """Who: the uid of the token; null where there was no token that held."""

    realm = always(str, null=True)
    """The realm of the token."""

    address = always(str, null=True)
    """From where: the other end of the connection, which may be a proxy."""

    forwarded_for = always(str, null=True)
    """`X-Forwarded-For` as it was sent. Believe it only behind a proxy that sets it."""

    action = always(str, null=True)
    """What: `enqueue`, `dequeue`, `promote`, `autohold`, `autohold-delete`; null: it was refused before
    that was clear."""

    tenant = always(str, null=True)
    """In which tenant."""

    method = always(str)
    """The method of the request."""

    path = always(str)
    """Its URL, which names the project, pipeline, item or hold."""

    asked = always(JsonObject, null=True)
    """What its body said; null where there was none, or none that could be understood. Long texts are cut."""

    outcome = always(Enum(str, "done", "refused", "failed", "unknown"))
    """`done`; `refused` before anything was done; `failed` without being done; `unknown` whether it was done."""

    status = always(int)
    """The HTTP status of the answer."""

    message = always(str, null=True)
    """Why it was not done; null: it was."""

    @classmethod
    def sample(cls) -> AuditEntry:
        return cls(
            id="17",
            time=1598543021.322,
            request_id="4bf92f3577b34da6",
            user="ada",
            realm="zuul.example.com",
            address="192.0.2.7",
            forwarded_for=None,
            action="enqueue",
            tenant="tenant-one",
            method="POST",
            path="/api/tenant/tenant-one/project/org/nested/enqueue",
            asked={"pipeline": "gate", "change": "42,1"},
            outcome="done",
            status=200,
            message=None,
        )
