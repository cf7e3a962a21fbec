# SPDX-License-Identifier: Apache-2.0
"""The finger server of the sandbox over real sockets; the tests turn the clock that its builds run by."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from zuul.web.sandbox.console import Console
from zuul.web.sandbox.executor import WRITE_BYTES, Executor
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

SCENARIO = load(None)
END = float("inf")


class WatchedExecutor(Executor):
    """Tells what it keeps for its readers."""

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.writers = []

    async def _follow(self, build, reader, writer):
        self.writers.append(writer)
        await super()._follow(build, reader, writer)


class Installation:
    """A scheduler and an executor."""

    def __init__(self):
        self.now = 1_600_000_000.0
        self.scheduler = SandboxScheduler(SCENARIO, clock=lambda: self.now)
        self.executor = WatchedExecutor(self.scheduler, poll_seconds=0.005)
        self.executor.start()
        self.simulation = self.scheduler._simulation

    def build(self, *outcomes):
        """A running build that will end so, the one that has run the longest."""
        running = [
            build
            for build in self.simulation.builds.values()
            if build.starts < self.now < build.ends and build.outcome in outcomes and build.pauses_at is None
        ]
        return max(running, key=lambda build: self.now - build.starts)

    def waiting(self, handed_out):
        """A build that has not started yet."""
        waiting = (build for build in self.simulation.builds.values() if build.starts > self.now)
        return next(build for build in waiting if (build.execute_time <= self.now) is handed_out)

    @contextlib.contextmanager
    def ask(self, request):
        with socket.create_connection(self.executor.address, timeout=10) as connection:
            connection.sendall(request)
            yield connection

    def answer(self, request):
        with self.ask(request) as connection:
            return rest(connection)


def rest(connection):
    """All up to the end of the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def read(connection, count):
    """Exactly so many bytes."""
    text = b""
    while len(text) < count:
        part = connection.recv(count - len(text))
        assert part, "the log has ended"
        text += part
    return text


def line(build):
    return build.uuid.encode() + b"\n"


@pytest.fixture
def sandbox():
    installation = Installation()
    yield installation
    installation.executor.stop()


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"nope\n", b"Build ID nope is not valid"),
        (b"../../etc\r\n", b"Build ID ../../etc is not valid"),
        (b"abc123\r\n", b"Build ID abc123 not found"),
        (b"\xff\n", b"Internal streaming error"),
        (b"a" * 2000, b"Internal streaming error"),
    ],
)
def test_a_request_that_makes_no_sense_gets_upstreams_sentence(sandbox, request_line, answer):
    assert sandbox.answer(request_line) == answer


def test_a_build_without_a_log_gets_upstreams_sentence(sandbox):
    for _ in range(200):
        sandbox.now += 1
        sandbox.scheduler.functions["zuul:tenant_list"]({})
        with contextlib.suppress(StopIteration):
            build = sandbox.waiting(handed_out=True)
            break
    assert sandbox.answer(line(build)) == f"Log not found for build ID {build.uuid}".encode()
    queued = sandbox.waiting(handed_out=False)
    assert sandbox.answer(line(queued)) == f"Build ID {queued.uuid} not found".encode()


@pytest.mark.parametrize("outcome", ["SUCCESS", "FAILURE"])
def test_a_log_is_followed_to_the_end_of_its_build(sandbox, outcome):
    build = sandbox.build(outcome)
    log = Console(build)
    with sandbox.ask(line(build)) as connection:
        text = b""
        while sandbox.now < build.ends - 60:
            text += read(connection, log.until(sandbox.now) - len(text))
            sandbox.now += 60
        sandbox.now = build.ends + 1
        text += rest(connection)
    assert text == log.text_until(END)
    assert sandbox.answer(line(build)) == f"Build ID {build.uuid} not found".encode()


def test_a_build_that_pauses_is_followed_until_it_has_gone_on(sandbox):
    for _ in range(200):
        pausing = [b for b in sandbox.simulation.builds.values() if b.paused]
        if pausing:
            break
        sandbox.now += 10
        sandbox.scheduler.functions["zuul:tenant_list"]({})
    build = pausing[0]
    with sandbox.ask(line(build)) as connection:
        text = read(connection, Console(build).until(END))
        assert text.endswith(b"Job paused\n")
        while build.end_time is None:
            sandbox.now += 10
            sandbox.scheduler.functions["zuul:tenant_list"]({})
        text += rest(connection)
    assert text == Console(build).text_until(build.end_time)


def test_a_canceled_build_ends_where_it_is(sandbox):
    build = sandbox.build("SUCCESS")
    log = Console(build)
    so_far = log.text_until(sandbox.now)
    with sandbox.ask(line(build)) as connection:
        assert read(connection, len(so_far)) == so_far
        tenant, queues, item = next(
            (tenant, queues, item)
            for tenant, pipelines in sandbox.simulation.pipelines.items()
            for queues in pipelines.values()
            for item in queues.items()
            if build in item.builds.values()
        )
        dequeue = {
            "tenant": tenant,
            "pipeline": queues.pipeline.name,
            "project": item.change.project.name,
            "change": None,
            "ref": item.change.ref,
        }
        sandbox.scheduler.functions["zuul:dequeue"](dequeue)
        assert rest(connection) == b""
    assert build.end_time == sandbox.now


def test_200_readers_get_the_same_and_one_that_stalls_holds_up_nobody(sandbox):
    build = sandbox.build("SUCCESS")
    log = Console(build)
    with contextlib.ExitStack() as stack:
        stalled = socket.socket()
        stack.enter_context(stalled)
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(sandbox.executor.address)
        stalled.sendall(line(build))
        readers = [stack.enter_context(sandbox.ask(line(build))) for _ in range(200)]
        size = log.until(sandbox.now)
        assert size > 100_000
        assert {read(reader, size) for reader in readers} == {log.text_until(sandbox.now)}
        kept = [writer.transport.get_write_buffer_size() for writer in sandbox.executor.writers]
        assert 0 < max(kept) <= 2 * WRITE_BYTES
        sandbox.now = build.ends + 1
        assert {rest(reader) for reader in readers} == {log.text_until(END)[size:]}
        assert rest(stalled) == log.text_until(END)


def test_who_ends_his_side_gets_no_more(sandbox):
    build = sandbox.build("SUCCESS")
    with sandbox.ask(line(build)) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert rest(connection) == Console(build).text_until(sandbox.now)


def test_what_a_client_says_beside_is_ignored(sandbox):
    build = sandbox.build("SUCCESS")
    with sandbox.ask(line(build) + b"more\n" * 500) as connection:
        text = read(connection, Console(build).until(sandbox.now))
        sandbox.now += 60
        text += read(connection, Console(build).until(sandbox.now) - len(text))
    assert text == Console(build).text_until(sandbox.now)


def test_nothing_is_left_when_it_stops():
    """Neither of who reads nor of who is silent, nor of those that it is just accepting."""
    sandbox = Installation()
    build = sandbox.build("SUCCESS")
    with contextlib.ExitStack() as stack:
        reading = stack.enter_context(sandbox.ask(line(build)))
        reading.recv(1)
        others = [stack.enter_context(sandbox.ask(b"")) for _ in range(20)]
        sandbox.executor.stop()
        rest(reading)
        for other in others:
            with contextlib.suppress(ConnectionResetError):
                assert other.recv(1) == b""
    assert not any(thread.name == "sandbox-executor" for thread in threading.enumerate())
