# SPDX-License-Identifier: Apache-2.0
"""What a transport to the scheduler offers, and what the worker functions at its other end look like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

Arguments = Mapping[str, Any]

WorkerFunction = Callable[[dict[str, Any]], "str | bytes | None"]
"""Takes the decoded JSON argument, returns the reply (None: an empty one), may raise `WorkException`."""

WorkerFunctions = Mapping[str, WorkerFunction]
"""Worker functions by their gearman name, for instance `zuul:status_get`."""


class WorkException(Exception):
    """Raised by a worker function to say no in its own words (gearman's WORK_EXCEPTION)."""


class Transport(Protocol):
    """Calls a named function at the scheduler. Safe to use from any thread, but not from the reactor's."""

    def call(self, function: str, arguments: Arguments, *, timeout: float, retry: bool) -> bytes:
        """The reply, as the bytes that came; b"" where the worker answered without data.

        :param function: the gearman name, for instance `zuul:job_list`.
        :param timeout: seconds until the caller gives up and the job is taken back.
        :param retry: whether the call may be sent a second time when a connection breaks (reads only).
        :raises Refused: the worker answered with an exception; the message is its text.
        :raises BadReply: the worker failed without a word.
        :raises Unavailable: no server is connected, or a read lost its connection twice.
        :raises Timeout: given up; the job will not run.
        :raises OutcomeUnknown: given up, or a write lost its connection, and the job may have run.
        """

    def connected(self) -> bool:
        """Whether a call made now would find somebody to send it to."""

    def close(self) -> None:
        """End all connections and threads; calls under way raise `Unavailable` or `OutcomeUnknown`."""
