# SPDX-License-Identifier: Apache-2.0
"""Calls to the scheduler over gearman.

gear gives the protocol (packet types, packets, the worker and the server). Its client does not fit
here: `Connection.readPacket` copies all that came so far for every 4 kB, `Client.submitJob` mixes up
the handles of jobs that two threads submit at once, and its reconnecting sleeps for two seconds. So
one `_Link` a server does the talking: a thread that alone owns the socket and all state of it.
Callers hand it work through a locked inbox and wait on an event of their own.

Giving up is an exchange too. `cancel job` takes the job out of the server's queue, and GET_STATUS
after it tells whether a worker had it already: gear's server refuses to cancel such a job, Debian's
gearmand agrees and lets it run on.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import json
import logging
import os
import selectors
import socket
import ssl
import struct
import threading
import time
import weakref
from typing import Any

import gear
from gear import constants

from zuul.web.backends.rpc.interface import Arguments, WorkerFunctions, WorkException
from zuul.web.errors import BadReply, OutcomeUnknown, Refused, RestError, Timeout, Unavailable

log = logging.getLogger("zuul.web.rpc.gearman")

CONNECT_SECONDS = 5.0
"""For the TCP connection and the TLS handshake together."""
RECONNECT_SECONDS = 0.5
"""Between two attempts to reach a server that is away."""
VERDICT_SECONDS = 2.0
"""How long a server may take to say what became of a job that was given up."""
RECEIVE_BYTES = 1 << 18

_HEADER = struct.Struct("!4sII")
_HELLO = b"H:zuul-rest:hello"
"""A handle that no job has."""


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
        self._links: list[_Link] = []
        self._turn = itertools.count()

    def call(self, function: str, arguments: Arguments, *, timeout: float, retry: bool) -> bytes:
        deadline = time.monotonic() + timeout
        payload = json.dumps(arguments).encode()
        link = self._choose(deadline)
        try:
            return self._once(link, function, payload, deadline)
        except _ConnectionLost as lost:
            if not retry:
                if lost.sent:
                    raise OutcomeUnknown(
                        f"the connection to the scheduler broke during {function}; it may have been done"
                    ) from lost
                raise Unavailable("the connection to the scheduler broke before the call was sent") from lost
            try:
                return self._once(self._choose(deadline, other_than=link), function, payload, deadline)
            except _ConnectionLost as again:
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

    def _started(self) -> list[_Link]:
        with self._lock:
            if not self._links and not self._closed:
                self._links = [_Link(host, port, self._tls, self._client_id) for host, port in self._servers]
                for link in self._links:
                    link.start()
            return self._links

    def _choose(self, deadline: float, other_than: _Link | None = None) -> _Link:
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

    def _once(self, link: _Link, function: str, payload: bytes, deadline: float) -> bytes:
        call = _Call(function, payload)
        link.submit(call)
        if not call.done.wait(max(0.0, deadline - time.monotonic())):
            link.give_up(call)
            if not call.done.wait(VERDICT_SECONDS):
                link.suspect(call)
                raise OutcomeUnknown(f"{function} was not answered in time, and gearman does not answer either")
        return call.outcome()


class _ConnectionLost(Exception):
    def __init__(self, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class _Call:
    """One job on its way. It belongs to the link's thread until `done` is set, but for `given_up`."""

    def __init__(self, function: str, payload: bytes) -> None:
        self.function = function
        self.payload = payload
        self.done = threading.Event()
        self.sent = False
        self.handle: bytes | None = None
        self.given_up = False
        """Set by the caller's thread, and never unset."""
        self.cancelled: bool | None = None
        self._reply: bytes | None = None
        self._error: RestError | _ConnectionLost | None = None

    def finish(self, reply: bytes | None = None, error: RestError | _ConnectionLost | None = None) -> None:
        self._reply, self._error = reply, error
        self.done.set()

    def outcome(self) -> bytes:
        if self._error is not None:
            raise self._error
        return self._reply or b""

    def verdict(self, running: bool) -> None:
        """End a call that was given up, from the server's answers to `cancel job` and GET_STATUS."""
        if self.cancelled and not running:
            self.finish(error=Timeout(f"the scheduler did not start {self.function} in time; it was taken back"))
        else:
            self.finish(error=OutcomeUnknown(f"the scheduler did not finish {self.function} in time"))


class _Link(threading.Thread):
    """The connection to one server, kept up. Its thread owns all fields below the inbox."""

    def __init__(self, host: str, port: int, tls: tuple[str, str, str] | None, client_id: str) -> None:
        super().__init__(name=f"gearman {host}:{port}", daemon=True)
        self._address = (host, port)
        self._tls = tls
        self._client_id = client_id
        self.up = False
        """Written by the link's thread alone; others look at it before they submit."""
        self.tried = threading.Event()
        """Set once the first attempt to connect has succeeded or failed."""
        self._stopping = threading.Event()
        self._inbox: collections.deque[tuple[str, _Call]] = collections.deque()
        self._wake_receive, self._wake_send = socket.socketpair()
        self._wake_receive.setblocking(False)
        self._wake_send.setblocking(False)

    # -- for any thread

    def submit(self, call: _Call) -> None:
        self._inbox.append(("submit", call))
        self._wake()
        if self._stopping.is_set() and not self.is_alive():
            self._drain_inbox()

    def give_up(self, call: _Call) -> None:
        call.given_up = True
        self._inbox.append(("give up", call))
        self._wake()

    def suspect(self, call: _Call) -> None:
        """The server has not even said what became of the call: break the connection, so that others are asked."""
        self._inbox.append(("suspect", call))
        self._wake()

    def stop(self) -> None:
        self._stopping.set()
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):  # full: it is awake already; closed: it ended
            self._wake_send.send(b"\0")

    # -- the thread

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    connection = self._connect()
                except OSError as error:
                    log.log(
                        logging.DEBUG if self.tried.is_set() else logging.WARNING,
                        "gearman server %s port %s: %s", *self._address, error,
                    )  # fmt: skip
                    self.tried.set()
                    self._drain_inbox()
                else:
                    self._talk(connection)
                self._stopping.wait(RECONNECT_SECONDS)
        finally:
            self.up = False
            self.tried.set()
            self._drain_inbox()
            self._wake_receive.close()
            self._wake_send.close()

    def _connect(self) -> socket.socket:
        connection = _open(self._address, self._tls, CONNECT_SECONDS)
        connection.setblocking(False)
        return connection

    def _talk(self, connection: socket.socket) -> None:
        """Serve one connection until it ends; then nothing of its state is left."""
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._created: collections.deque[_Call] = collections.deque()
        """Submitted, in the order in which JOB_CREATED will come."""
        self._jobs: dict[bytes, _Call] = {}
        self._admin: collections.deque[_Call] = collections.deque()
        """Cancelled, in the order in which the server's lines will come."""
        self._send(constants.OPTION_REQ, b"exceptions")  # else gearmand keeps an exception's text back
        self._send(constants.SET_CLIENT_ID, self._client_id.encode())
        self._send(constants.GET_STATUS, _HELLO)  # any server answers that; until then this one is not up
        patience = time.monotonic() + VERDICT_SECONDS
        selector = selectors.DefaultSelector()
        try:
            selector.register(self._wake_receive, selectors.EVENT_READ)
            selector.register(connection, selectors.EVENT_READ)
            while not self._stopping.is_set():
                self._take_inbox()
                if self._outgoing:
                    self._write(connection)
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._outgoing else 0)
                selector.modify(connection, events)
                if not self.up and time.monotonic() > patience:
                    raise _ProtocolError("it accepts connections, but does not answer")
                for key, _ in selector.select(None if self.up else VERDICT_SECONDS):
                    if key.fileobj is self._wake_receive:
                        with contextlib.suppress(BlockingIOError):
                            self._wake_receive.recv(4096)
                    elif not self._read(connection):
                        return
        except (OSError, _ProtocolError) as error:
            log.warning("gearman server %s port %s: %s", *self._address, error)
        except Exception:
            log.exception("gearman server %s port %s: giving up the connection", *self._address)
        finally:
            self.up = False
            selector.close()
            connection.close()
            log.info("disconnected from gearman server %s port %s", *self._address)
            self.tried.set()
            for call in {*self._created, *self._jobs.values()}:
                call.finish(error=_ConnectionLost(call.sent))
            self._drain_inbox()

    def _take_inbox(self) -> None:
        while self._inbox:
            what, call = self._inbox.popleft()
            if what == "submit" and call.given_up:
                call.finish(error=Timeout(f"{call.function} could not be sent in time"))
            elif what == "submit":
                call.sent = True
                self._created.append(call)
                self._send(constants.SUBMIT_JOB, b"\0".join((call.function.encode(), b"", call.payload)))
            elif call.done.is_set():
                continue
            elif what == "suspect":
                raise _ProtocolError("it does not answer")
            elif call.handle is not None:
                self._cancel(call)

    def _drain_inbox(self) -> None:
        """Nobody is connected: what was handed in meanwhile is lost, and was never sent."""
        while self._inbox:
            what, call = self._inbox.popleft()
            if what == "submit":
                call.finish(error=_ConnectionLost(False))

    def _send(self, kind: int, data: bytes) -> None:
        self._outgoing += gear.Packet(constants.REQ, kind, data).toBinary()

    def _cancel(self, call: _Call) -> None:
        assert call.handle is not None
        self._admin.append(call)
        self._outgoing += b"cancel job " + call.handle + b"\n"

    def _write(self, connection: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._outgoing:
                with memoryview(self._outgoing) as view, view[:RECEIVE_BYTES] as piece:
                    sent = connection.send(piece)
                del self._outgoing[:sent]

    def _read(self, connection: socket.socket) -> bool:
        """Take in what there is; False at the end of the connection. Linear in the size of a reply."""
        while True:
            try:
                piece = connection.recv(RECEIVE_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return True
            if not piece:
                return False
            self._incoming += piece
            self._take_packets()

    def _take_packets(self) -> None:
        while self._incoming:
            if self._incoming[0] != 0:
                line, newline, _ = bytes(self._incoming[:4096]).partition(b"\n")
                if not newline:
                    return
                del self._incoming[: len(line) + 1]
                self._take_line(line.strip())
                continue
            if len(self._incoming) < _HEADER.size:
                return
            _, kind, length = _HEADER.unpack_from(self._incoming)
            end = _HEADER.size + length
            if len(self._incoming) < end:
                return
            with memoryview(self._incoming) as view:
                # Every packet that names a job starts with its handle; only the rest may be large.
                head = bytes(view[_HEADER.size : min(end, _HEADER.size + 256)])
                handle = head.partition(b"\0")[0]
                rest = bytes(view[min(end, _HEADER.size + len(handle) + 1) : end])
            del self._incoming[:end]
            self._take_packet(kind, handle, rest)

    def _take_line(self, line: bytes) -> None:
        """The answer to `cancel job`, always followed by a question what the job does now."""
        if not self._admin:
            raise _ProtocolError(f"unexpected line {line[:80]!r}")
        call = self._admin.popleft()
        call.cancelled = line.startswith(b"OK")
        assert call.handle is not None
        self._send(constants.GET_STATUS, call.handle)

    def _take_packet(self, kind: int, handle: bytes, rest: bytes) -> None:
        if kind == constants.JOB_CREATED:
            call = self._created.popleft()
            call.handle = handle
            self._jobs[handle] = call
            if call.given_up:
                self._cancel(call)
        elif kind == constants.ERROR:
            if self._created:
                self._created.popleft().finish(error=BadReply("the gearman server refused the call"))
            log.error("gearman server %s port %s: error %s", *self._address, rest[:200])
        elif kind in (constants.WORK_COMPLETE, constants.WORK_FAIL, constants.WORK_EXCEPTION):
            self._take_result(kind, handle, rest)
        elif kind == constants.STATUS_RES and handle == _HELLO:
            log.info("connected to gearman server %s port %s", *self._address)
            self.up = True
            self.tried.set()
        elif kind == constants.STATUS_RES:
            known_running = rest.split(b"\0")
            cancelled = self._jobs.pop(handle, None)
            if cancelled is not None:
                cancelled.verdict(running=known_running[1] == b"1")

    def _take_result(self, kind: int, handle: bytes, rest: bytes) -> None:
        call = self._jobs.get(handle)
        if call is None:
            return
        if kind == constants.WORK_FAIL and call.given_up:
            return  # gearmand's own, as it cancels the job; STATUS_RES tells the rest
        del self._jobs[handle]
        if kind == constants.WORK_COMPLETE:
            call.finish(rest)
        elif kind == constants.WORK_FAIL:
            call.finish(error=BadReply(f"the scheduler failed at {call.function} without a word"))
        else:
            call.finish(error=Refused(rest.decode("utf-8", "replace")))


def _open(address: tuple[str, int], tls: tuple[str, str, str] | None, timeout_seconds: float) -> socket.socket:
    """A connection to a server, its handshake done; every step on it may take `timeout_seconds`."""
    connection = socket.create_connection(address, timeout_seconds)
    try:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        options = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 5), ("TCP_USER_TIMEOUT", 30_000))
        for option, value in options:
            if hasattr(socket, option):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        if tls:
            key, certificate, authority = tls
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False  # as upstream: the CA is Zuul's own
            context.load_cert_chain(certificate, key)
            context.load_verify_locations(authority)
            connection = context.wrap_socket(connection, server_hostname=address[0])
    except BaseException:
        connection.close()
        raise
    return connection


def registered_functions(
    host: str, port: int, tls: tuple[str, str, str] | None, timeout_seconds: float
) -> dict[str, int]:
    """How many workers offer each function of a server, from its admin command `status`.

    :raises OSError: no connection, or no whole answer within `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    answer = bytearray()
    with _open((host, port), tls, timeout_seconds) as connection:
        connection.sendall(b"status\n")
        while answer != b".\n" and not answer.endswith(b"\n.\n"):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            piece = connection.recv(RECEIVE_BYTES)
            if not piece:
                raise ConnectionResetError("the server closed the connection")
            answer += piece
    lines = [line.split("\t") for line in answer.decode("utf-8", "replace").splitlines()[:-1]]
    return {fields[0]: int(fields[3]) for fields in lines if len(fields) == 4 and fields[3].isdigit()}


class _ProtocolError(Exception):
    pass


class GearmanWorker:
    """The worker half: offers functions at a gearman server, one call at a time as the scheduler does."""

    def __init__(self, host: str, port: int, functions: WorkerFunctions, name: str) -> None:
        self._functions = functions
        self._worker = _PromptWorker(name)
        self._worker.addServer(host, port)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self, timeout: float = 10.0) -> None:
        """Connect, register all functions and begin to serve.

        :raises gear.TimeoutError: no server within `timeout` seconds.
        """
        self._worker.waitForServer(timeout)
        for function in self._functions:
            self._worker.registerFunction(function)
        self._thread.start()

    def stop(self) -> None:
        """End after the call at hand."""
        self._worker.stopWaitingForJobs()
        self._thread.join(10)
        self._worker.shutdown()

    def _run(self) -> None:
        while True:
            try:
                job = self._worker.getJob()
            except gear.InterruptedError:
                return
            try:
                self._serve(job)
            except Exception:
                log.exception("could not answer %s", job.name)

    def _serve(self, job: Any) -> None:
        name = job.name.decode() if isinstance(job.name, bytes) else job.name
        try:
            reply = self._functions[name](json.loads(job.arguments))
        except WorkException as error:
            job.sendWorkException(str(error).encode())
        except Exception:
            log.exception("%s failed", name)
            job.sendWorkFail()
        else:
            job.sendWorkComplete(reply.encode() if isinstance(reply, str) else reply or b"")


class _PromptWorker(gear.Worker):  # type: ignore[misc]
    """gear leaves Nagle's algorithm on, which holds every small reply back for 40 ms, and sockets open that it was
    about to connect again."""

    def _onConnect(self, conn: gear.Connection) -> None:
        conn.conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        super()._onConnect(conn)

    def _cleanup(self) -> None:
        self.poll_thread.join()
        self.connect_thread.join()
        reconnecting = list(self.inactive_connections)  # now that no thread moves a lost one here
        super()._cleanup()
        for connection in reconnecting:
            connection.disconnect()


def start_server(host: str = "127.0.0.1", port: int = 0) -> gear.Server:
    """A gearman server inside this process, for the sandbox. `.port` tells its port, `.shutdown()` ends it."""
    return gear.Server(port=port, host=host)
