# SPDX-License-Identifier: Apache-2.0
"""Calls to the scheduler over gearman: which server gets a call, for how long, and how often it is tried."""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import weakref

from zuul.web.backends.rpc.gearman_link import (
    CONNECT_SECONDS,
    RECEIVE_BYTES,
    VERDICT_SECONDS,
    Call,
    ConnectionLost,
    Link,
    open_connection,
)
from zuul.web.backends.rpc.interface import Arguments
from zuul.web.errors import OutcomeUnknown, Unavailable

LOOK_SECONDS = 1.0
"""Between two looks at a job that changes something, whether the scheduler that had it is gone."""


class GearmanTransport:
    """The `Transport` over one or more gearman servers.

    Threads start with the first call, so that an application may be loaded before a server forks;
    a child of a fork starts its own.

    :param servers: (host, port) of each.
    :param tls: paths of key, certificate and CA; without it the connection is plain.
    :param client_id: the name under which `gearadmin --workers` shows us.
    """

    def __init__(
        self,
        servers: tuple[tuple[str, int], ...],
        *,
        tls: tuple[str, str, str] | None = None,
        client_id: str = "zuul-rest",
    ) -> None:
        self._servers = servers
        self._tls = tls
        self._client_id = client_id
        self._closed = False
        self._forget_links()
        method = weakref.WeakMethod(self._forget_links)
        os.register_at_fork(after_in_child=lambda: (forget := method()) and forget())

    def _forget_links(self) -> None:
        """Start anew; in the child of a fork the threads of the parent do not exist."""
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._turn = itertools.count()

    def call(self, function: str, arguments: Arguments, *, timeout: float, retry: bool) -> bytes:
        deadline = time.monotonic() + timeout
        payload = json.dumps(arguments).encode()
        link = self._choose(deadline)
        try:
            return self._once(link, Call(function, payload, acts=not retry), deadline)
        except ConnectionLost as lost:
            if not retry:
                if lost.sent:
                    raise OutcomeUnknown(
                        f"the connection to the scheduler broke during {function}; it may have been done"
                    ) from lost
                raise Unavailable("the connection to the scheduler broke before the call was sent") from lost
            try:
                return self._once(self._choose(deadline, other_than=link), Call(function, payload), deadline)
            except ConnectionLost as again:
                raise Unavailable("the connection to the scheduler broke twice") from again

    def connected(self) -> bool:
        return any(link.up for link in self._started())

    def close(self) -> None:
        with self._lock:
            self._closed = True
            links, self._links = self._links, []
        for link in links:
            link.stop()
        for link in links:
            link.join(CONNECT_SECONDS + 1)

    def _started(self) -> list[Link]:
        with self._lock:
            if not self._links and not self._closed:
                self._links = [Link(host, port, self._tls, self._client_id) for host, port in self._servers]
                for link in self._links:
                    link.start()
            return self._links

    def _choose(self, deadline: float, other_than: Link | None = None) -> Link:
        """A connected server, by turns. Waits only for first attempts to connect, never for a second."""
        links = [link for link in self._started() if link is not other_than]
        start = next(self._turn)
        for offset in range(len(links)):
            link = links[(start + offset) % len(links)]
            if link.up:
                return link
        for link in links:
            link.tried.wait(max(0.0, deadline - time.monotonic()))
            if link.up:
                return link
        raise Unavailable("no gearman server is connected")

    def _once(self, link: Link, call: Call, deadline: float) -> bytes:
        link.submit(call)
        while not call.done.wait(max(0.0, min(LOOK_SECONDS, deadline - time.monotonic()))):
            if time.monotonic() < deadline:
                if call.acts:
                    link.look(call)
                continue
            link.give_up(call)
            if not call.done.wait(VERDICT_SECONDS):
                link.suspect(call)
                raise OutcomeUnknown(f"{call.function} was not answered in time, and gearman does not answer either")
        return call.outcome()


def registered_functions(
    host: str, port: int, tls: tuple[str, str, str] | None, timeout_seconds: float
) -> dict[str, int]:
    """How many workers offer each function of a server, from its admin command `status`.

    :raises OSError: no connection, or no whole answer within `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    answer = bytearray()
    with open_connection((host, port), tls, timeout_seconds) as connection:
        connection.sendall(b"status\n")
        while answer != b".\n" and not answer.endswith(b"\n.\n"):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            piece = connection.recv(RECEIVE_BYTES)
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            answer += piece
    lines = [line.split("\t") for line in answer.decode("utf-8", "replace").splitlines()[:-1]]
    return {fields[0]: int(fields[3]) for fields in lines if len(fields) == 4 and fields[3].isdigit()}
