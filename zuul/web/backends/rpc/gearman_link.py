# SPDX-License-Identifier: Apache-2.0
"""The connection to one gearman server: a thread that alone owns the socket and all state of it.

gear gives the protocol (packet types and packets). Its client does not fit here: `Connection.readPacket`
copies all that came so far for every 4 kB, `Client.submitJob` mixes up the handles of jobs that two
threads submit at once, and its reconnecting sleeps for two seconds. So a `Link` does the talking. Callers
hand it work through a locked inbox and wait on an event of their own.

Giving up is an exchange too. `cancel job` takes the job out of the server's queue, and GET_STATUS
after it tells whether a worker had it already: gear's server refuses to cancel such a job, Debian's
gearmand agrees and lets it run on.

When a worker ends with a job, gear's server says WORK_FAIL. gearmand queues the job again and tells nobody, but
counts how often it had to: the second column of its `show jobs`. So a job that changes something is looked at once
a second, and when it is given up. gear's server has no answer at all to `show jobs`; the GET_STATUS behind it, which
all servers answer, tells that none will come.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import selectors
import socket
import ssl
import struct
import threading
import time

import gear
from gear import constants

from zuul.web.errors import BadReply, OutcomeUnknown, Refused, RestError, Timeout

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


class ConnectionLost(Exception):
    def __init__(self, sent: bool) -> None:
        super().__init__()
        self.sent = sent


class Call:
    """One job on its way. It belongs to the link's thread until `done` is set, but for `given_up`.

    :param acts: whether it changes something, so that it matters who had it.
    """

    def __init__(self, function: str, payload: bytes, *, acts: bool = False) -> None:
        self.function = function
        self.payload = payload
        self.acts = acts
        self.done = threading.Event()
        self.sent = False
        self.handle: bytes | None = None
        self.given_up = False
        """Set by the caller's thread, and never unset."""
        self.dropped = False
        """Whether a worker had it and is gone, so that the server has queued it again."""
        self.looked_at = False
        """Whether a look at it is under way."""
        self._reply: bytes | None = None
        self._error: RestError | ConnectionLost | None = None

    def finish(self, reply: bytes | None = None, error: RestError | ConnectionLost | None = None) -> None:
        self._reply, self._error = reply, error
        self.done.set()

    def outcome(self) -> bytes:
        if self._error is not None:
            raise self._error
        return self._reply or b""

    def fail(self, error: RestError) -> None:
        """End it with what the last worker that had it says, who does not know what one before did."""
        if self.dropped:
            error = OutcomeUnknown(f"the scheduler ended while it worked at {self.function}; it may have been done")
        self.finish(error=error)


class _Look:
    """A question what a job does, with the answers that have come so far.

    :param cancels: whether it is to be taken out of the queue before.
    """

    def __init__(self, call: Call, *, cancels: bool) -> None:
        self.call = call
        self.cancels = cancels
        self.cancelled: bool | None = None
        self._answered = False
        """Whether the server knows `show jobs`."""
        self._times_queued_again: int | None = None

    def take_line(self, line: bytes) -> None:
        if self.cancels and self.cancelled is None:
            self.cancelled = line.startswith(b"OK")
            return
        self._answered = True
        handle, *numbers = line.split(b"\t")
        if handle == self.call.handle and numbers and numbers[0].isdigit():
            self._times_queued_again = int(numbers[0])

    def conclude(self, running: bool) -> None:
        """All answers are there, the last one that to GET_STATUS."""
        call = self.call
        call.looked_at = False
        call.dropped = call.dropped or bool(self._times_queued_again)
        if not self.cancels or call.done.is_set():
            return
        # gearmand keeps what it has cancelled until a worker asks for more. What is not there any more may have run.
        gone = call.acts and self._answered and self._times_queued_again is None
        if self.cancelled and not running and not call.dropped and not gone:
            call.finish(error=Timeout(f"the scheduler did not start {call.function} in time; it was taken back"))
        else:
            call.finish(error=OutcomeUnknown(f"the scheduler did not finish {call.function} in time"))


class Link(threading.Thread):
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
        self._inbox: collections.deque[tuple[str, Call]] = collections.deque()
        self._wake_receive, self._wake_send = socket.socketpair()
        self._wake_receive.setblocking(False)
        self._wake_send.setblocking(False)

    # -- for any thread

    def submit(self, call: Call) -> None:
        self._inbox.append(("submit", call))
        self._wake()
        if self._stopping.is_set() and not self.is_alive():
            self._drain_inbox()

    def give_up(self, call: Call) -> None:
        call.given_up = True
        self._inbox.append(("give up", call))
        self._wake()

    def look(self, call: Call) -> None:
        """Find out whether the worker that had it is gone."""
        self._inbox.append(("look", call))
        self._wake()

    def suspect(self, call: Call) -> None:
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
        connection = open_connection(self._address, self._tls, CONNECT_SECONDS)
        connection.setblocking(False)
        return connection

    def _talk(self, connection: socket.socket) -> None:
        """Serve one connection until it ends; then nothing of its state is left."""
        self._outgoing = bytearray()
        self._incoming = bytearray()
        self._created: collections.deque[Call] = collections.deque()
        """Submitted, in the order in which JOB_CREATED will come."""
        self._jobs: dict[bytes, Call] = {}
        self._looks: collections.deque[_Look] = collections.deque()
        """In the order in which the server's answers will come."""
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
                call.finish(error=ConnectionLost(call.sent))
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
            elif call.handle is not None and (what == "give up" or not call.looked_at):
                self._look_at(call, cancel=what == "give up")

    def _drain_inbox(self) -> None:
        """Nobody is connected: what was handed in meanwhile is lost, and was never sent."""
        while self._inbox:
            what, call = self._inbox.popleft()
            if what == "submit":
                call.finish(error=ConnectionLost(False))

    def _send(self, kind: int, data: bytes) -> None:
        self._outgoing += gear.Packet(constants.REQ, kind, data).toBinary()

    def _look_at(self, call: Call, *, cancel: bool) -> None:
        """All in one, so that little can happen between the answers."""
        assert call.handle is not None
        self._looks.append(_Look(call, cancels=cancel))
        call.looked_at = True
        if cancel:
            self._outgoing += b"cancel job " + call.handle + b"\n"
        if call.acts:
            self._outgoing += b"show jobs\n"
        self._send(constants.GET_STATUS, call.handle)

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
        if not self._looks:
            raise _ProtocolError(f"unexpected line {line[:80]!r}")
        self._looks[0].take_line(line)

    def _take_packet(self, kind: int, handle: bytes, rest: bytes) -> None:
        if kind == constants.JOB_CREATED:
            call = self._created.popleft()
            call.handle = handle
            self._jobs[handle] = call
            if call.given_up:
                self._look_at(call, cancel=True)
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
            if not self._looks or self._looks[0].call.handle != handle:
                raise _ProtocolError("unexpected status of a job")
            look = self._looks.popleft()
            look.conclude(running=rest.split(b"\0")[1] == b"1")
            if look.call.done.is_set():
                self._jobs.pop(handle, None)

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
            call.fail(BadReply(f"the scheduler failed at {call.function} without a word"))
        else:
            call.fail(Refused(rest.decode("utf-8", "replace")))


class _ProtocolError(Exception):
    pass


def open_connection(
    address: tuple[str, int], tls: tuple[str, str, str] | None, timeout_seconds: float
) -> socket.socket:
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
