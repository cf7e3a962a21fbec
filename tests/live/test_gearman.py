# SPDX-License-Identifier: Apache-2.0
"""The gearman transport against gear's own server and Debian's gearmand, each plain and with TLS."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import gear
import pytest
from services import GearServer, wait_until

from zuul.web.backends.rpc.gearman import GearmanTransport
from zuul.web.errors import BadReply, OutcomeUnknown, Refused, Timeout, Unavailable

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear", "ignore:ssl.PROTOCOL_TLS")


class Worker:
    """gear's worker, answering in `threads` threads; functions as {name: f(arguments) -> bytes}."""

    def __init__(self, server, functions, threads=1):
        self.ran = []
        self._stopped = False
        self._functions = functions
        self._gear = gear.TextWorker("test worker")
        keys = (server.tls.key, server.tls.cert, server.tls.ca) if server.tls else (None, None, None)
        self._gear.addServer("127.0.0.1", server.port, *keys)
        self._gear.waitForServer(10)
        self._connections = list(self._gear.active_connections)
        for name in functions:
            self._gear.registerFunction(name)
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._stopped:
            try:
                job = self._gear.getJob()
            except (gear.InterruptedError, OSError):
                return
            self.ran.append(job.name)
            with contextlib.suppress(OSError, AttributeError):  # the server that a test stopped meanwhile
                self._answer(job)

    def _answer(self, job):
        try:
            job.sendWorkComplete(self._functions[job.name](json.loads(job.arguments)))
        except ValueError as error:
            job.sendWorkException(str(error))
        except ArithmeticError:
            job.sendWorkFail()

    def stop(self):
        self._stopped = True
        self._gear.stopWaitingForJobs()
        for thread in self._threads:
            thread.join(10)
        self._gear.shutdown()
        for connection in self._connections:  # gear forgets one that it was about to connect again
            connection.disconnect()


@pytest.fixture
def workers():
    started = []
    yield lambda *arguments, **options: started.append(Worker(*arguments, **options)) or started[-1]
    for worker in started:
        worker.stop()


@pytest.fixture
def transport(gearman):
    keys = (gearman.tls.key, gearman.tls.cert, gearman.tls.ca) if gearman.tls else None
    transport = GearmanTransport((("127.0.0.1", gearman.port),), tls=keys)
    yield transport
    transport.close()


def refuse(arguments):
    raise ValueError("Invalid tenant: größer")


def fail(arguments):
    raise ArithmeticError


def test_a_reply_comes_back_as_the_bytes_that_were_sent(gearman, transport, workers):
    workers(gearman, {"zuul:echo": json.dumps})
    assert (
        transport.call("zuul:echo", {"tenant": "größer"}, timeout=10, retry=True) == b'{"tenant": "gr\\u00f6\\u00dfer"}'
    )


def test_an_empty_completion_is_an_empty_reply(gearman, transport, workers):
    workers(gearman, {"zuul:nothing": lambda arguments: ""})
    assert transport.call("zuul:nothing", {}, timeout=10, retry=True) == b""


def test_a_work_exception_is_a_refusal_with_its_text(gearman, transport, workers):
    workers(gearman, {"zuul:no": refuse})
    with pytest.raises(Refused, match="Invalid tenant: größer"):
        transport.call("zuul:no", {}, timeout=10, retry=True)


def test_a_work_fail_is_a_bad_reply(gearman, transport, workers):
    workers(gearman, {"zuul:crash": fail})
    with pytest.raises(BadReply):
        transport.call("zuul:crash", {}, timeout=10, retry=True)


def test_two_hundred_calls_in_flight_at_once_each_get_their_own_reply(gearman, transport, workers):
    everybody = threading.Barrier(200, timeout=30)

    def number(arguments):
        everybody.wait()
        return str(arguments["n"])

    workers(gearman, {"zuul:number": number}, threads=200)
    # gear's worker takes jobs one by one over its connection, so 200 threads wait for 200 jobs
    with ThreadPoolExecutor(200) as pool:
        replies = pool.map(lambda n: transport.call("zuul:number", {"n": n}, timeout=30, retry=True), range(200))
        assert list(replies) == [str(n).encode() for n in range(200)]


def test_a_large_reply_is_read_in_linear_time(gearman, transport, workers):
    small, large = "x" * (4 << 20), "y" * (16 << 20)
    workers(gearman, {"zuul:small": lambda a: small, "zuul:large": lambda a: large})
    link = transport._started()[0]

    def cpu_seconds(function, size):
        assert len(transport.call(function, {}, timeout=60, retry=True)) == size
        return time.clock_gettime(time.pthread_getcpuclockid(link.ident))

    start = cpu_seconds("zuul:small", 4 << 20)
    small_seconds = cpu_seconds("zuul:small", 4 << 20) - start
    large_seconds = cpu_seconds("zuul:large", 16 << 20) - start - small_seconds
    assert large_seconds < 4 * 3 * small_seconds + 0.02  # quadratic would be 16 times as much


def test_a_job_that_nobody_started_in_time_is_taken_back_and_never_runs(gearman, transport, workers):
    idle = gear.TextWorker("registers, but takes nothing yet")
    keys = (gearman.tls.key, gearman.tls.cert, gearman.tls.ca) if gearman.tls else (None, None, None)
    idle.addServer("127.0.0.1", gearman.port, *keys)
    idle.waitForServer(10)
    idle.registerFunction("zuul:promote")
    idle.registerFunction("zuul:after")
    try:
        with pytest.raises(Timeout) as refusal:
            transport.call("zuul:promote", {}, timeout=0.3, retry=False)
        assert not isinstance(refusal.value, OutcomeUnknown)
        # The worker begins after the caller's deadline: it gets the next job, not the one taken back.
        with ThreadPoolExecutor(1) as pool:
            after = pool.submit(transport.call, "zuul:after", {}, timeout=10, retry=False)
            job = idle.getJob()
            assert job.name == "zuul:after"
            job.sendWorkComplete("done")
            assert after.result(10) == b"done"
    finally:
        idle.shutdown()


def test_a_job_that_was_running_already_has_an_unknown_outcome(gearman, transport, workers):
    go_on = threading.Event()
    worker = workers(gearman, {"zuul:slow": lambda a: go_on.wait(30) and ""})
    with pytest.raises(OutcomeUnknown) as unknown:
        transport.call("zuul:slow", {}, timeout=0.5, retry=False)
    assert unknown.value.fields == {"outcome": "unknown"}
    assert worker.ran == ["zuul:slow"]
    go_on.set()


def test_without_a_server_a_call_fails_at_once_and_recovers_within_two_seconds(gearman, transport, workers):
    workers(gearman, {"zuul:echo": json.dumps}).stop()
    assert wait_until(transport.connected)
    gearman.stop()
    wait_until(lambda: not transport.connected(), what="noticing the loss")
    start = time.monotonic()
    with pytest.raises(Unavailable) as away:
        transport.call("zuul:echo", {}, timeout=10, retry=True)
    assert time.monotonic() - start < 0.5
    assert ("Retry-After", "2") in away.value.headers
    gearman.start()
    start = time.monotonic()
    wait_until(transport.connected, 2.0, "the reconnection")
    workers(gearman, {"zuul:echo": json.dumps})
    assert transport.call("zuul:echo", {}, timeout=10, retry=True) == b"{}"


def test_a_write_that_loses_its_connection_is_not_repeated(gearman, transport, workers):
    taken = threading.Event()
    go_on = threading.Event()

    def enqueue(arguments):
        taken.set()
        go_on.wait(30)
        return ""

    workers(gearman, {"zuul:enqueue": enqueue})
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(transport.call, "zuul:enqueue", {}, timeout=20, retry=False)
        assert taken.wait(10)
        gearman.stop()
        go_on.set()
        with pytest.raises(OutcomeUnknown):
            call.result(10)


def test_a_read_that_loses_its_connection_is_repeated_on_another_server(workers):
    first, second = GearServer(), GearServer()
    first.start()
    second.start()
    taken = threading.Event()
    go_on = threading.Event()

    def stuck(arguments):
        taken.set()
        go_on.wait(30)
        return "first"

    workers(first, {"zuul:read": stuck})
    healthy = workers(second, {"zuul:read": lambda a: "second"})
    transport = GearmanTransport((("127.0.0.1", first.port), ("127.0.0.1", second.port)))
    try:
        wait_until(lambda: all(link.up for link in transport._started()))
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(transport.call, "zuul:read", {}, timeout=20, retry=True)
            assert taken.wait(10)
            first.stop()
            assert call.result(10) == b"second"
        assert healthy.ran == ["zuul:read"]
        # From now on only the second is asked.
        assert transport.call("zuul:read", {}, timeout=10, retry=True) == b"second"
    finally:
        go_on.set()
        transport.close()
        second.stop()


def test_a_wrong_certificate_is_no_connection(tls, tmp_path):
    server = GearServer(tls)
    server.start()
    transport = GearmanTransport((("127.0.0.1", server.port),))  # plain, to a server that wants TLS
    try:
        with pytest.raises((Unavailable, Timeout)):
            transport.call("zuul:read", {}, timeout=1, retry=True)
    finally:
        transport.close()
        server.stop()


def test_a_server_that_accepts_but_does_not_answer_is_not_asked(workers):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        healthy = GearServer()
        healthy.start()
        workers(healthy, {"zuul:read": lambda a: "healthy"})
        transport = GearmanTransport((("127.0.0.1", silent.getsockname()[1]), ("127.0.0.1", healthy.port)))
        try:
            wait_until(transport.connected)
            assert {transport.call("zuul:read", {}, timeout=5, retry=True) for _ in range(6)} == {b"healthy"}
            assert [link.up for link in transport._started()] == [False, True]
        finally:
            transport.close()
            healthy.stop()


def test_a_server_that_falls_silent_is_given_up_so_that_the_next_call_fails_at_once(workers):
    server = GearServer()
    server.start()
    workers(server, {"zuul:read": lambda a: "once"})
    transport = GearmanTransport((("127.0.0.1", server.port),))
    try:
        assert transport.call("zuul:read", {}, timeout=5, retry=True) == b"once"
        # Its poll loop stops, its sockets stay: what a hung host looks like.
        server._server.running = False
        with pytest.raises(OutcomeUnknown):
            transport.call("zuul:read", {}, timeout=0.3, retry=True)
        wait_until(lambda: not transport.connected(), 5, "the silent server to be given up")
        start = time.monotonic()
        with pytest.raises(Unavailable):
            transport.call("zuul:read", {}, timeout=10, retry=True)
        assert time.monotonic() - start < 0.5
    finally:
        transport.close()
        server._server.running = True
        server.stop()
