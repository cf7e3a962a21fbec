# SPDX-License-Identifier: Apache-2.0
"""Zuul's scheduler, one method per worker function, named as the function is without its `zuul:`.

Zuul 3.19.1 says no in five ways: `null`, an empty list or object, `{"code": 404}`, an exception and
silence. Here each becomes one of our errors, so callers get data or an exception. Reads come back as
the scheduler's own bytes where they go to clients unchanged, and are shared (see replies.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from zuul.web.backends.replies import FRESH_SECONDS, Replies, Reply
from zuul.web.backends.rpc.interface import Transport
from zuul.web.errors import BadReply, BrokenOff, NotFound, OutcomeUnknown, Refused

log = logging.getLogger("zuul.web.scheduler")

FUNCTIONS = (
    "allowed_labels_get",
    "authorize_user",
    "autohold",
    "autohold_delete",
    "autohold_info",
    "autohold_list",
    "config_errors_list",
    "connection_list",
    "dequeue",
    "enqueue",
    "enqueue_ref",
    "get_admin_tenants",
    "get_job_log_stream_address",
    "get_running_jobs",
    "job_get",
    "job_list",
    "key_get",
    "pipeline_list",
    "project_freeze_jobs",
    "project_get",
    "project_list",
    "promote",
    "status_get",
    "tenant_list",
    "tenant_sql_connection",
)
"""All that a 3.19.1 scheduler registers for us, without the prefix `zuul:`."""

JsonObject = dict[str, Any]


class Scheduler:
    """The facade. Every method waits for the scheduler, so none is for the reactor's thread.

    :param timeout_seconds: the deadline of each call.

    All of them raise `Unavailable`, `Timeout` and `BadReply`; the writes raise `OutcomeUnknown` too, and
    `BrokenOff` for a crash: who crashes while he does something may have done a part of it.
    """

    def __init__(self, transport: Transport, *, timeout_seconds: float, cache_bytes: int) -> None:
        self.transport = transport
        self._timeout_seconds = timeout_seconds
        self._replies = Replies(cache_bytes)

    # -- reads of everybody

    def connection_list(self) -> Reply:
        """Source connections, as a JSON list of objects with `name` and `driver`."""
        return self._read("connection_list")

    def tenant_list(self) -> Reply:
        """A JSON list of `name`, `projects` (how many) and `queue` (live items)."""
        return self._read("tenant_list")

    def status_get(self, tenant: str) -> bytes:
        """The status document, fetched anew: snapshots.py decides how often.

        A tenant that is known but not loaded yet has `{"message": ..., "code": 204}` for a status.

        :raises NotFound: no such tenant.
        """
        reply = self._call("status_get", {"tenant": tenant})
        if not (reply.startswith(b"{") and reply.endswith(b"}")):
            raise BadReply("the scheduler's status is no JSON object")
        if len(reply) < 1000 and _decoded("status_get", reply).get("code") == 404:
            raise NotFound(f"Tenant {tenant} does not exist.")
        return reply

    def job_list(self, tenant: str) -> Reply:
        """A JSON list of jobs with their variants in short. :raises NotFound: no such tenant."""
        return self._read("job_list", tenant=tenant)

    def job_get(self, tenant: str, job: str) -> Reply:
        """A JSON list of the job's variants in full. :raises NotFound: no such tenant or job."""
        return self._read("job_get", f"Job {job} does not exist.", tenant=tenant, job=job)

    def project_list(self, tenant: str) -> Reply:
        """A JSON list of projects. :raises NotFound: no such tenant."""
        return self._read("project_list", tenant=tenant)

    def project_get(self, tenant: str, project: str) -> Reply:
        """A JSON object: the project and its configuration by pipeline.

        :raises NotFound: no such tenant or project.
        :raises Refused: several projects have that short name.
        """
        return self._read("project_get", f"Project {project} does not exist.", tenant=tenant, project=project)

    def project_freeze_jobs(self, tenant: str, pipeline: str, project: str, branch: str) -> Reply:
        """A JSON list of the jobs that would run, with dependencies.

        :raises NotFound: no such tenant, pipeline or project, or no job would run.
        """
        nothing = f"No jobs of project {project} on branch {branch} in pipeline {pipeline}."
        return self._read(
            "project_freeze_jobs", nothing, tenant=tenant, project=project, pipeline=pipeline, branch=branch
        )

    def pipeline_list(self, tenant: str) -> Reply:
        """A JSON list of pipelines with their triggers. :raises NotFound: no such tenant."""
        return self._read("pipeline_list", tenant=tenant)

    def config_errors_list(self, tenant: str) -> Reply:
        """A JSON list of `source_context` and `error`. :raises NotFound: no such tenant."""
        return self._read("config_errors_list", tenant=tenant)

    def allowed_labels_get(self, tenant: str) -> tuple[list[str], list[str]]:
        """Regular expressions of allowed and of disallowed labels. :raises NotFound: no such tenant."""
        reply = self._read("allowed_labels_get", tenant=tenant)
        labels = _decoded("allowed_labels_get", reply.body, list, dict)
        if isinstance(labels, list):  # before 3.16
            return labels, []
        return labels["allowed_labels"], labels["disallowed_labels"]

    def key_get(self, tenant: str, project: str, key: str) -> Reply:
        """A public key as text: of `secrets` in PEM, of `ssh` as one line without its end.

        :raises NotFound: no such tenant or project, or no such key of it.
        """
        nothing = f"Project {project} does not exist."
        return self._shared("key_get", nothing, {"tenant": tenant, "project": project, "key": key}, check=_text)

    def get_running_jobs(self) -> list[JsonObject]:
        """The items of all tenants, as in a status."""
        return list(_decoded("get_running_jobs", self._read("get_running_jobs").body, list))

    def get_job_log_stream_address(self, uuid: str) -> tuple[str, int] | None:
        """Host and port of the executor that has the build; None as long as none has taken it.

        :raises NotFound: no build of that uuid is in any pipeline.
        """
        nothing = f"Build {uuid} does not exist."
        reply = self._shared("get_job_log_stream_address", nothing, {"uuid": uuid}, fresh_seconds=0)
        address = _decoded("get_job_log_stream_address", reply.body, dict)
        server, port = address.get("server"), address.get("port")
        if not server:
            return None
        if not isinstance(server, str) or not isinstance(port, int):
            raise BadReply("the scheduler's address of an executor is not a host and a port")
        return server, port

    def tenant_sql_connection(self, tenant: str) -> str | None:
        """The name of the SQL connection of the tenant; None for a tenant without one, or no tenant."""
        return json.loads(self._read("tenant_sql_connection", tenant=tenant).body) or None

    # -- holds: read anew each time, since whoever made or ended one looks at once

    def autohold_list(self) -> list[JsonObject]:
        """The hold requests of all tenants, in the scheduler's own keys."""
        reply = self._shared("autohold_list", None, {}, fresh_seconds=0)
        return list(_decoded("autohold_list", reply.body, list))

    def autohold_info(self, request_id: str) -> JsonObject:
        """One hold request. :raises NotFound: there is none of that id."""
        nothing = f"Hold request {request_id} does not exist."
        reply = self._shared("autohold_info", nothing, {"request_id": request_id}, fresh_seconds=0)
        return dict(_decoded("autohold_info", reply.body, dict))

    # -- authorization

    def authorize_user(self, tenant: str, claims: JsonObject) -> bool:
        """Whether the tenant's admin rules let a user with these claims in."""
        reply = self._call("authorize_user", {"tenant": tenant, "claims": claims})
        return _decoded("authorize_user", reply) is True

    def get_admin_tenants(self, claims: JsonObject) -> list[str]:
        """The tenants whose admin rules let a user with these claims in."""
        return list(_decoded("get_admin_tenants", self._call("get_admin_tenants", {"claims": claims}), list))

    # -- writes: each is sent once, and raises `Refused` with the scheduler's words

    def autohold(
        self,
        tenant: str,
        project: str,
        job: str,
        change: str | None,
        ref: str | None,
        reason: str,
        count: int,
        node_hold_expiration: int | None,
    ) -> None:
        """Keep the nodes of the next `count` failing builds for `node_hold_expiration` seconds."""
        self._write(
            "autohold",
            tenant=tenant,
            project=project,
            job=job,
            change=change,
            ref=ref,
            reason=reason,
            count=count,
            node_hold_expiration=node_hold_expiration,
        )

    def autohold_delete(self, request_id: str) -> None:
        """End a hold request and release its nodes. Zuul logs what goes wrong here, and says nothing of it."""
        self._write("autohold_delete", request_id=request_id)

    def dequeue(self, tenant: str, pipeline: str, project: str, change: str | None, ref: str | None) -> None:
        """Take a change (`N,P`) or a ref out of a pipeline."""
        self._write("dequeue", tenant=tenant, pipeline=pipeline, project=project, change=change, ref=ref)

    def enqueue(self, tenant: str, pipeline: str, project: str, trigger: str | None, change: str) -> None:
        """Put a change (`N,P`) into a pipeline."""
        self._write("enqueue", tenant=tenant, pipeline=pipeline, project=project, trigger=trigger, change=change)

    def enqueue_ref(
        self,
        tenant: str,
        pipeline: str,
        project: str,
        trigger: str | None,
        ref: str,
        oldrev: str,
        newrev: str,
    ) -> None:
        """Put a ref into a pipeline, as if it had moved from `oldrev` to `newrev` (40 hex digits each)."""
        self._write(
            "enqueue_ref",
            tenant=tenant,
            pipeline=pipeline,
            project=project,
            trigger=trigger,
            ref=ref,
            oldrev=oldrev,
            newrev=newrev,
        )

    def promote(self, tenant: str, pipeline: str, change_ids: list[str]) -> None:
        """Move changes (`N,P`) to the top of their queue, in this order."""
        self._write("promote", tenant=tenant, pipeline=pipeline, change_ids=change_ids)

    # -- how they are asked

    def _call(self, function: str, arguments: JsonObject, *, retry: bool = True) -> bytes:
        try:
            return self.transport.call(f"zuul:{function}", arguments, timeout=self._timeout_seconds, retry=retry)
        except Refused as refusal:
            raise _without_traceback(function, refusal) from refusal

    def _read(self, function: str, empty: str | None = None, **arguments: Any) -> Reply:
        return self._shared(function, empty, arguments)

    def _shared(
        self,
        function: str,
        empty: str | None,
        arguments: JsonObject,
        *,
        check: Callable[[str, bytes], object] | None = None,
        fresh_seconds: float = FRESH_SECONDS,
    ) -> Reply:
        """A read that all who ask it at the same time share. `empty`: what an empty reply means, if a 404."""

        def fetch() -> bytes:
            reply = self._call(function, arguments)
            if reply == b"null" and "tenant" in arguments:
                raise NotFound(f"Tenant {arguments.get('tenant')} does not exist.")
            if empty is not None and reply in (b"", b"[]", b"{}"):
                raise NotFound(empty)
            (check or _decoded)(function, reply)
            return reply

        key = (function, *sorted(arguments.items()))
        return self._replies.get(key, fetch, fresh_seconds=fresh_seconds)

    def _write(self, function: str, **arguments: Any) -> None:
        try:
            self._call(function, arguments, retry=False)
        except BadReply as error:
            if isinstance(error.__cause__, Refused):
                raise BrokenOff(f"{error.message}; it may have been done in part") from error
            # gearman says so too for a scheduler that ended while it had the job.
            raise OutcomeUnknown(f"{error.message}; it may have been done") from error


def _decoded(function: str, reply: bytes, *types: type) -> Any:
    """What the JSON says. :raises BadReply: it is no JSON, or none of these types."""
    try:
        value = json.loads(reply)
    except (ValueError, RecursionError) as error:
        raise BadReply(f"the scheduler's answer to {function} is no JSON") from error
    if types and not isinstance(value, types):
        raise BadReply(f"the scheduler's answer to {function} is not of the shape that it should have")
    return value


def _text(function: str, reply: bytes) -> None:
    try:
        reply.decode()
    except UnicodeDecodeError as error:
        raise BadReply(f"the scheduler's answer to {function} is no text") from error


def _without_traceback(function: str, refusal: Refused) -> Refused | BadReply:
    """What a WORK_EXCEPTION means: words of Zuul's for the client, or a crash of the scheduler's.

    An uncaught exception arrives as its traceback. Three of those are the client's doing: a short name
    that several projects have, a job graph that does not resolve for the branch asked for, and changes to promote
    that are not there, which is found out before anything is done. Zuul raises them as a plain Exception or a class
    of its own; a KeyError, say, is a crash in any function.
    """
    text = refusal.message.strip()
    if not text.startswith("Traceback "):
        return Refused(text)
    log.warning("the scheduler failed at %s: %s", function, text)
    raised, _, words = text.rsplit("\n", 1)[-1].partition(": ")
    of_zuul = raised == "Exception" or raised.startswith("zuul.")
    missing = function == "promote" and words.startswith("Unable to find ")
    if of_zuul and words and (function == "project_freeze_jobs" or missing or "is ambiguous" in words):
        return Refused(words)
    return BadReply(f"the scheduler failed at {function}; its log has the reason")
