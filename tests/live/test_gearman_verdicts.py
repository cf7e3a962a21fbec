# SPDX-License-Identifier: Apache-2.0
"""What is said of a job that was given up or passed on, by all that a gearman server may answer in the meantime.

The scripted server stands for moments that no real one can be held in.
"""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import gear
import pytest
from gear import constants
from services import wait_until

from zuul.web.backends.rpc.gearman import GearmanTransport
from zuul.web.errors import BadReply, OutcomeUnknown, RestError, Timeout

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear", "ignore:ssl.PROTOCOL_TLS")

HANDLE = b"H:scripted:1"


def status(known, running, handle=HANDLE):
    return packet(constants.STATUS_RES, b"\0".join((handle, b"%d" % known, b"%d" % running, b"0", b"0")))


def packet(kind, *data):
    return gear.Packet(constants.RES, kind, b"\0".join(data)).toBinary()


class Scripted:
    """A gearman server for one job. `answers` has what is sent for `cancel job`, for `show jobs`, and for the
    GET_STATUS behind them, the last of each again and again."""

    def __init__(self, cancel=(b"OK\n",), jobs=(b"",), then=()):
        self._answers = {"cancel": list(cancel), "show": list(jobs), "status": list(then) or [status(1, 0)]}
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.looks = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _next(self, name):
        answers = self._answers[name]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    def _serve(self):
        with self._socket, self._socket.accept()[0] as connection, connection.makefile("rb") as incoming:
            while first := incoming.read(1):
                connection.sendall(self._answer(first, incoming))

    def _answer(self, first, incoming):
        if first != b"\0":
            line = first + incoming.readline()
            self.looks += line.startswith(b"show")
            return self._next(line.split()[0].decode())
        head = first + incoming.read(11)
        kind, data = int.from_bytes(head[4:8], "big"), incoming.read(int.from_bytes(head[8:12], "big"))
        if kind == constants.SUBMIT_JOB:
            return packet(constants.JOB_CREATED, HANDLE)
        if kind == constants.GET_STATUS:
            return self._next("status") if data == HANDLE else status(0, 0, data)
        return b""

    def join(self):
        self._thread.join(10)
        assert not self._thread.is_alive()


def outcome_of(server, timeout=0.2, retry=False):
    """The reply of a call there, or the error that it ends in."""
    transport = GearmanTransport((("127.0.0.1", server.port),))
    try:
        return transport.call("zuul:enqueue", {}, timeout=timeout, retry=retry)
    except RestError as error:
        return error
    finally:
        transport.close()
        server.join()


JOB = HANDLE + b"\t%d\t1\t0\n"
END = b".\n"
NOT_DONE = {
    "gear's server, which drops what it cancels": {"then": [status(0, 0)]},
    "gearmand, which keeps it until a worker comes": {"jobs": [JOB % 0 + END]},
    "gearmand, with the jobs of others": {"jobs": [b"H:scripted:10\t3\t0\t1\n" + JOB % 0 + b"H:x\t1\t0\t0\n" + END]},
}
UNKNOWN = {
    "it runs, and gear's server does not cancel it": {"cancel": [b"ERR UNKNOWN_JOB\n"], "then": [status(1, 1)]},
    "it runs, and gearmand cancels it all the same": {"jobs": [JOB % 0 + END], "then": [status(1, 1)]},
    "the server does not know it, so it has been done": {"cancel": [b"ERR UNKNOWN_JOB\r\n"], "then": [status(0, 0)]},
    "a worker had it and is gone": {"jobs": [JOB % 1 + END]},
    "a worker had it and is gone, another has it": {"jobs": [JOB % 1 + END], "then": [status(1, 1)]},
    "it was cancelled and ended before it could be looked at": {"jobs": [END], "then": [status(0, 0)]},
    "the server cannot tell who had it": {"jobs": [b"ERR UNKNOWN_COMMAND show\r\n"]},
}


@pytest.mark.parametrize("answers", NOT_DONE.values(), ids=NOT_DONE)
def test_what_nobody_can_have_had_is_not_done(answers):
    error = outcome_of(Scripted(**answers))

    assert type(error) is Timeout, error


@pytest.mark.parametrize("answers", UNKNOWN.values(), ids=UNKNOWN)
def test_of_what_somebody_may_have_had_nobody_knows(answers):
    error = outcome_of(Scripted(**answers))

    assert type(error) is OutcomeUnknown, error


def test_what_ends_while_it_is_cancelled_is_done():
    server = Scripted(cancel=[b"OK\n" + packet(constants.WORK_COMPLETE, HANDLE, b"null")], then=[status(0, 0)])

    assert outcome_of(server) == b"null"


def test_what_a_server_says_of_a_job_as_it_cancels_it_is_no_failure_of_the_scheduler():
    server = Scripted(cancel=[packet(constants.WORK_FAIL, HANDLE) + b"OK\r\n"], jobs=[JOB % 0 + END])

    assert type(outcome_of(server)) is Timeout


def test_that_a_worker_is_gone_is_not_forgotten():
    # In the end the job is with another worker, which gives it back in a moment when it is not looked at.
    server = Scripted(jobs=[JOB % 1 + END, JOB % 0 + END], then=[status(1, 0)])

    assert type(outcome_of(server, timeout=1.2)) is OutcomeUnknown
    assert server.looks == 2


def test_what_only_reads_is_not_looked_at():
    server = Scripted(jobs=[JOB % 1 + END])

    assert type(outcome_of(server, timeout=1.2, retry=True)) is Timeout
    assert server.looks == 0


# -- with a real server


class Scheduler:
    """A worker that takes a job and does with it as the test says."""

    def __init__(self, port, function="zuul:enqueue"):
        self._gear = gear.TextWorker("scheduler")
        self._gear.addServer("127.0.0.1", port)
        self._gear.waitForServer(10)
        self._gear.registerFunction(function)

    def take(self):
        return self._gear.getJob()

    def die(self):
        self._gear.shutdown()


@pytest.fixture
def schedulers():
    started = []
    yield lambda *arguments: started.append(Scheduler(*arguments)) or started[-1]
    for scheduler in started:
        if scheduler._gear.running:
            scheduler.die()


@pytest.fixture
def transport(gearman):
    transport = GearmanTransport((("127.0.0.1", gearman.port),))
    yield transport
    transport.close()


def is_dropped(transport):
    return lambda: any(call.dropped for link in transport._started() for call in link._jobs.values())


@pytest.mark.parametrize("gearman", ["gear", "gearmand"], indirect=True)
def test_of_what_a_dead_worker_had_nobody_knows(gearman, transport, schedulers):
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(transport.call, "zuul:enqueue", {}, timeout=0.5, retry=False)
        scheduler = schedulers(gearman.port)
        scheduler.take()
        scheduler.die()
        # gear's server says at once that it failed; to the facade, that is as unknown.
        with pytest.raises((OutcomeUnknown, BadReply)):
            call.result(10)


@pytest.mark.parametrize("gearman", ["gearmand"], indirect=True)
@pytest.mark.parametrize("say", ["sendWorkException", "sendWorkFail"])
def test_the_no_of_a_second_scheduler_is_not_that_of_the_first(gearman, transport, schedulers, say):
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(transport.call, "zuul:enqueue", {}, timeout=20, retry=False)
        first = schedulers(gearman.port)
        first.take()
        first.die()
        wait_until(is_dropped(transport))
        getattr(schedulers(gearman.port).take(), say)(*(["no such item"] if say == "sendWorkException" else []))
        with pytest.raises(OutcomeUnknown, match="ended while it worked"):
            call.result(10)


@pytest.mark.parametrize("gearman", ["gearmand"], indirect=True)
def test_what_a_second_scheduler_has_done_is_done(gearman, transport, schedulers):
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(transport.call, "zuul:enqueue", {}, timeout=20, retry=False)
        first = schedulers(gearman.port)
        first.take()
        first.die()
        schedulers(gearman.port).take().sendWorkComplete("null")
        assert call.result(10) == b"null"
