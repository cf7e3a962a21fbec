#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How live logs and events hold up: many viewers, one that does not read, readers that are cut off, idle listeners.

    python bench/streaming.py viewers --count 500 --same          one line of JSON for each measurement
    python bench/streaming.py viewers --count 200 --different
    python bench/streaming.py stalled --rounds 3
    python bench/streaming.py resume --cuts 20
    python bench/streaming.py listeners --count 5000
    python bench/streaming.py lab --lab ../shared/lab/lab         beside upstream's zuul-web in a running lab

All but `lab` start what they need: `zuul-rest serve`, and in a process of its own a scheduler and an executor that do
what they are told. Lines of their logs carry the time at which they were written (CLOCK_MONOTONIC), so that their age
on arrival can be told. `viewers` and `listeners` take --zuul-web PATH, to measure upstream's zuul-web in our place.
Everything listens on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import array
import asyncio
import base64
import codecs
import contextlib
import hashlib
import json
import os
import random
import re
import resource
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from executor import Executor, Log
from pipelines import Zuul
from server_process import Served, ServerProcess
from services import free_port, listening, wait_until
from streams import CLOSE, PING, PONG, TEXT, Get, ServerSentEvents, console, frame, handshake

FILLER = b"ok: [primary] => (item=some-package) TASK [configure-unbound : Start unbound] changed: rc=0 "
CONSOLE = "/api/tenant/one/console-stream"
EVENTS = "/v1/tenants/one/events"


# -- the scheduler and the executor, in a process of their own that takes one command a line


class Backend:
    """The commands, each with its arguments; what a method returns is the answer."""

    def __init__(self) -> None:
        self.executor = Executor()
        self.zuul = Zuul()
        self.logs: dict[str, Log] = {}
        self.lines: dict[str, int] = {}
        self.growing: list[Any] = []

    def ports(self) -> dict[str, int]:
        return {"gearman": self.zuul.port, "finger": self.executor.port}

    def build(self, count: int = 1) -> list[str]:
        """UUIDs of builds that run, each with one line in its log."""
        uuids = []
        for _ in range(count):
            build = self.zuul.build(self.executor.address)
            self.logs[build.uuid] = self.executor.log(build.uuid)
            self.lines[build.uuid] = 0
            self.logs[build.uuid].write(b"begin\n")
            uuids.append(build.uuid)
        return uuids

    def grow(self, rate: float, line_bytes: int) -> None:
        """Lines for every log from now on, so many a second."""

        async def write(log: Log) -> None:
            due = self.executor.loop.time() + random.random() / rate
            while True:
                await asyncio.sleep(max(0.0, due - self.executor.loop.time()))
                due += 1 / rate
                log.grow(stamped(self.lines[log.uuid], line_bytes))
                self.lines[log.uuid] += 1

        for log in self.logs.values():
            if not log.ended:
                self.growing.append(asyncio.run_coroutine_threadsafe(write(log), self.executor.loop))

    def hold(self) -> int:
        """No more lines; how many there were in all."""
        for task in self.growing:
            task.cancel()
        self.growing = []
        return int(self.executor.run(lambda: sum(self.lines.values())))

    def written(self) -> int:
        """How many lines there are in all logs together."""
        return sum(self.lines.values())

    def write(self, uuid: str, data: str) -> None:
        """Bytes in base64."""
        self.logs[uuid].write(base64.b64decode(data))

    def finish(self) -> None:
        """Every build ends, and then its log."""
        for item in list(self.zuul.items):
            for build in item.builds.values():
                build.finish()
        for log in self.logs.values():
            log.end()

    def connections(self) -> dict[str, int]:
        return {"now": self.executor.connections, "ever": self.executor.connected}

    def enqueue(self) -> float:
        """An item more in the status; when (CLOCK_MONOTONIC)."""
        self.zuul.enqueue(f"{time.monotonic_ns()},1")
        return time.monotonic()

    def status_calls(self) -> list[float]:
        """When the status was asked for."""
        return [when for when, function, _ in list(self.zuul.calls) if function == "status_get"]


def stamped(number: int, size: int) -> bytes:
    """A line that tells when it was written, and the how manieth it is."""
    head = b"@%016x %08d " % (time.monotonic_ns(), number)
    return (head + FILLER * (size // len(FILLER) + 1))[: size - 1] + b"\n"


def be_backend() -> None:
    backend = Backend()
    print(json.dumps(backend.ports()), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(backend, command.pop("do"))(**command)), flush=True)
    os._exit(0)


class Remote:
    """The backend, from here: `remote.grow(rate=10, line_bytes=120)`."""

    def __init__(self) -> None:
        words = [sys.executable, __file__, "backend"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin and self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout
        self._lock = threading.Lock()
        self.ports: dict[str, int] = json.loads(self._out.readline())

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            with self._lock:
                print(json.dumps({"do": name, **arguments}), file=self._in, flush=True)
                return json.loads(self._out.readline())

        return call

    def stop(self) -> None:
        self._in.close()
        self._process.wait(20)
        self._out.close()


# -- many clients in one thread


class Client(ABC):
    """A connection of a swarm: the handshake, then whatever `take` makes of the payload of frames or of the body."""

    __slots__ = ("buffer", "ended", "ready", "sock", "swarm", "websocket")

    def __init__(self, swarm: Swarm, path: str, websocket: bool, receive_bytes: int | None = None) -> None:
        self.swarm = swarm
        self.websocket = websocket
        self.buffer = b""
        self.ready = False
        self.ended: str | None = None
        """How it ended: `1000 No more data`, or what went wrong."""
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", swarm.port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = f"127.0.0.1:{swarm.port}"
        if websocket:
            request = handshake(path, {}, base64.b64encode(os.urandom(16)).decode(), host)
        else:
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n".encode()
        self.sock.sendall(request)
        self.sock.setblocking(False)

    def readable(self) -> None:
        try:
            data = self.sock.recv(262144)
        except BlockingIOError:
            return
        except OSError as error:
            return self.end(str(error))
        if not data:
            return self.end("cut off")
        if self.ready:
            return self.frames(data) if self.websocket else self.take(data)
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return None
        if b" 101 " not in head[:13] and b" 200 " not in head[:13]:
            return self.end(head.partition(b"\r\n")[0].decode("latin-1"))
        self.ready, self.buffer = True, b""
        self.begun()
        if rest:
            self.frames(rest) if self.websocket else self.take(rest)
        return None

    def frames(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        at, end = 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1] & 0x7F, at + 2
            if size >= 126:
                start += 2 if size == 126 else 8
                if end < start:
                    break
                size = int.from_bytes(data[at + 2 : start], "big")
            if start + size > end:
                break
            opcode = data[at] & 0x0F
            payload = data[start : start + size]
            at = start + size
            if opcode <= TEXT:
                self.take(payload)
            elif opcode == PING:
                self.sock.send(frame(PONG, payload))
            elif opcode == CLOSE:
                with contextlib.suppress(OSError):
                    self.sock.send(frame(CLOSE, payload[:2]))
                return self.end(f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")
        self.buffer = data[at:]
        return None

    def begun(self) -> None:  # noqa: B027 (a hook, which most do without)
        """After the handshake."""

    @abstractmethod
    def take(self, payload: bytes) -> None:
        """A message, or an event."""

    def end(self, why: str) -> None:
        if self.ended is None:
            self.ended = why
            self.swarm.forget(self)
            self.sock.close()


class Viewer(Client):
    """Counts the lines of a log and how old they were; a line that is missing is noticed by its number."""

    __slots__ = ("gaps", "lines", "next", "seen", "tail", "uuid")

    def __init__(self, swarm: Swarm, uuid: str, receive_bytes: int | None = None) -> None:
        self.uuid = uuid
        self.tail = b""
        self.lines = self.gaps = self.next = 0
        self.seen = False
        super().__init__(swarm, CONSOLE, True, receive_bytes)

    def begun(self) -> None:
        self.sock.send(frame(TEXT, json.dumps({"uuid": self.uuid, "logfile": "console.log"}).encode()))

    def take(self, payload: bytes) -> None:
        now = time.monotonic_ns()
        self.seen = True
        lines = (self.tail + payload).split(b"\n")
        self.tail = lines.pop()
        for line in lines:
            if line[:1] != b"@":
                continue
            number = int(line[18:26])
            self.gaps += number - self.next
            self.next = number + 1
            self.lines += 1
            self.swarm.ages.append(now - int(line[1:17], 16))


class Listener(Client):
    """Notes when it has the first event of a type."""

    __slots__ = ("arrivals", "seen", "tail")
    TYPE = re.compile(rb'"type": ?"(\w+)"')

    def __init__(self, swarm: Swarm, websocket: bool) -> None:
        self.arrivals: dict[bytes, float] = {}
        self.tail = b""
        super().__init__(swarm, EVENTS, websocket)

    def take(self, payload: bytes) -> None:
        for match in self.TYPE.finditer(self.tail + payload):
            self.arrivals.setdefault(match[1], time.monotonic())
        # A name may be cut by the end of what was received, of an event of the other kind.
        self.tail = b"" if self.websocket else payload[-200:]


class Swarm:
    """The clients and the loop that drives them."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.selector = selectors.DefaultSelector()
        self.clients: list[Any] = []
        self.ages = array.array("q")

    def add(self, client: Client) -> None:
        self.clients.append(client)
        self.selector.register(client.sock, selectors.EVENT_READ, client)

    def forget(self, client: Client) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self.selector.unregister(client.sock)

    def stop_reading(self, client: Client) -> None:
        self.forget(client)

    def run(self, seconds: float, done: Callable[[], bool] = lambda: False, each: float = 0.0) -> bool:
        """Drive them for so long, or until `done`, which is asked each so many seconds. Whether it was done."""
        deadline = time.monotonic() + seconds
        ask_at = 0.0
        while (now := time.monotonic()) < deadline:
            if now >= ask_at:
                if done():
                    return True
                ask_at = now + each
            for key, _ in self.selector.select(min(0.05, deadline - now)):
                key.data.readable()
        return done()

    def alive(self) -> list[Any]:
        return [client for client in self.clients if client.ended is None]

    def endings(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for client in self.clients:
            found[client.ended or "open"] = found.get(client.ended or "open", 0) + 1
        return found

    def close(self) -> None:
        for client in self.alive():
            client.end("left")


def quantile(values: Any, share: float) -> float:
    ordered = sorted(values)
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))]) if ordered else float("nan")


def milliseconds(ages: Any) -> dict[str, float]:
    return {f"p{int(share * 100)}_ms": round(quantile(ages, share) / 1e6, 1) for share in (0.5, 0.99, 1.0)}


# -- the servers


class ZuulWeb(ServerProcess):
    """Upstream's program in place of ours; it needs a ZooKeeper."""

    def __init__(self, folder: Path, gearman_port: int, program: str, zookeeper: str) -> None:
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        conf = folder / "zuul.conf"
        conf.write_text(
            f"[gearman]\nserver=127.0.0.1\nport={gearman_port}\n[zookeeper]\nhosts={zookeeper}\n"
            f"[scheduler]\nstate_dir={folder}\n[web]\nport={self.port}\n"
            f"pidfile={folder}/pid\ncommand_socket={folder}/socket\nstatic_path={folder}\n"
        )
        self._output = folder / "output"
        with self._output.open("w") as output:
            self._process = subprocess.Popen([program, "-f", "-c", str(conf)], stdout=output, stderr=output)
        self.pid = self._process.pid
        wait_until(lambda: listening(self.port), 30, "the port of zuul-web")


@contextlib.contextmanager
def set_up(options: argparse.Namespace, rest: str) -> Iterator[tuple[Remote, Any]]:
    """The backend, and the server in front of it, which has answered once."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    remote = Remote()
    try:
        with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
            if getattr(options, "zuul_web", None):
                where = Path(folder)
                server: Any = ZuulWeb(where, remote.ports["gearman"], options.zuul_web, options.zookeeper)
            else:
                server = Served(Path(folder), remote.ports["gearman"], rest=f"access_log=false\n{rest}")
            try:
                with Get(server.port, "/api/tenants") as got:
                    assert got.status == 200, got.body()
                yield remote, server
                if "Traceback" in server.output:
                    print(server.output[-3000:], file=sys.stderr)
            finally:
                server.kill()
    finally:
        remote.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def report(measurement: str, **found: Any) -> None:
    print(json.dumps({"measurement": measurement, **found}), flush=True)


# -- viewers


def viewers(options: argparse.Namespace) -> None:
    """Delivered share, ages, memory and CPU with so many viewers of one build, or of as many builds."""
    count, builds = options.count, options.count if options.different else 1
    with set_up(options, f"streams={count + 100}") as (remote, server):
        uuids = remote.build(count=builds)
        swarm = Swarm(server.port)
        # One first, so that what the first viewer makes the server load is not counted as a viewer's.
        swarm.add(Viewer(swarm, uuids[0]))
        assert swarm.run(20, lambda: swarm.clients[0].seen), swarm.endings()
        swarm.run(1)
        empty_bytes = server.resident_bytes()
        began = time.monotonic()
        for number in range(1, count):
            swarm.add(Viewer(swarm, uuids[number % builds]))
            swarm.run(0.0 if number % 10 else 0.02)
        attached = swarm.run(60, lambda: all(v.seen or v.ended for v in swarm.clients), 0.1)
        attach_seconds = time.monotonic() - began
        swarm.run(options.idle / 2)
        cpu = server.cpu_seconds()
        swarm.run(options.idle)
        idle_cpu = (server.cpu_seconds() - cpu) / options.idle
        idle_bytes = server.resident_bytes()

        remote.grow(rate=options.rate, line_bytes=options.line_bytes)
        swarm.run(2)  # settles
        swarm.ages = array.array("q")
        lines_before, cpu = sum(v.lines for v in swarm.clients), server.cpu_seconds()
        swarm.run(options.seconds)
        delivered = sum(v.lines for v in swarm.clients) - lines_before
        active_cpu = server.cpu_seconds() - cpu
        active_bytes, ages, connections = server.resident_bytes(), swarm.ages, remote.connections()
        written = remote.hold()
        remote.finish()
        swarm.run(30, lambda: not swarm.alive(), 0.1)
        expected = written * count // builds
        per_viewer = max(1, count - 1) * 1024
        report(
            f"viewers {count} {'different' if options.different else 'same'}",
            all_attached=attached,
            attach_seconds=round(attach_seconds, 2),
            delivered_share=round(sum(v.lines for v in swarm.clients) / expected, 6) if expected else None,
            gaps=sum(v.gaps for v in swarm.clients),
            **milliseconds(ages),
            lines_per_second=round(delivered / options.seconds),
            cpu_us_per_line=round(active_cpu / delivered * 1e6, 1) if delivered else None,
            cpu_cores=round(active_cpu / options.seconds, 3),
            idle_cpu_cores=round(idle_cpu, 4),
            rss_mb_empty=round(empty_bytes / 2**20, 1),
            rss_kb_per_idle_viewer=round((idle_bytes - empty_bytes) / per_viewer, 1),
            rss_kb_per_active_viewer=round((active_bytes - empty_bytes) / per_viewer, 1),
            finger_connections=connections["now"],
            endings=swarm.endings(),
        )
        swarm.close()


# -- one that does not read


def stalled(options: argparse.Namespace) -> None:
    """The others' ages with one that never reads, and without, in turns; and what becomes of that one."""
    ages: dict[bool, list[float]] = {False: [], True: []}
    for number in range(2 * options.rounds):
        with_stalled = bool(number % 2) != bool(number // 2 % 2)  # the order changes from round to round
        found = stalled_round(options, with_stalled)
        ages[with_stalled].append(found["p99_ms"])
        report(f"stalled round {number // 2 + 1} {'one stalled' if with_stalled else 'all read'}", **found)
    medians = {kind: quantile(values, 0.5) for kind, values in ages.items()}
    report(
        "stalled",
        p99_ms_all_read=medians[False],
        p99_ms_one_stalled=medians[True],
        ratio=round(medians[True] / medians[False], 2) if medians[False] else None,
    )


def stalled_round(options: argparse.Namespace, with_stalled: bool) -> dict[str, Any]:
    with set_up(options, f"stream_patience={options.patience}") as (remote, server):
        (uuid,) = remote.build()
        swarm = Swarm(server.port)
        for number in range(options.count):
            last = with_stalled and number == options.count - 1
            swarm.add(Viewer(swarm, uuid, receive_bytes=4096 if last else None))
        swarm.run(30, lambda: all(v.seen or v.ended for v in swarm.clients), 0.1)
        victim = swarm.clients[-1]
        if with_stalled:
            swarm.stop_reading(victim)
        before_bytes, peak = server.resident_bytes(), 0
        sockets = server.sockets()
        remote.grow(rate=options.rate, line_bytes=options.line_bytes)
        began, dropped_after = time.monotonic(), None
        swarm.ages = array.array("q")

        def look() -> bool:
            nonlocal peak, dropped_after
            peak = max(peak, server.resident_bytes())
            if with_stalled and dropped_after is None and server.sockets() < sockets:
                dropped_after = round(time.monotonic() - began, 1)
            return False

        swarm.run(options.seconds, look, 0.5)
        others = [v for v in swarm.clients if not (with_stalled and v is victim)]
        lines = sum(v.lines for v in others)
        found = {
            **milliseconds(swarm.ages),
            "others_lost": sum(v.ended is not None for v in others),
            "lines_per_second": round(lines / options.seconds),
            "rss_growth_mb": round((peak - before_bytes) / 2**20, 1),
        }
        if with_stalled:
            swarm.selector.register(victim.sock, selectors.EVENT_READ, victim)
            swarm.run(20, lambda: victim.ended is not None, 0.05)
            found |= {"stalled_dropped_after_s": dropped_after, "stalled_end": victim.ended}
        swarm.close()
        return found


# -- readers that are cut off


def chatter(seed: int, size: int) -> bytes:
    """A log as it may be at worst: characters of one to four bytes, escapes, and carriage returns of all kinds."""
    chance = random.Random(seed)
    words = ["ok", "é", "漢字", "😀", "\x1b[0;31m", "\x1b[0m", "naïve", "\t", " ", "%", "\u2028", "\ufeff", "x" * 40]
    ends = ["\n"] * 12 + ["\r\n", "\r", "\r\r\n", "\n\n\n", " 50%\r 51%\r", ""]
    text = ""
    while len(text) < size // 2:
        text += "".join(chance.choices(words, k=chance.randrange(12))) + chance.choice(ends)
    return text.encode()


class CutReader(ABC):
    """Reads a log of which it is told when to stop; `data` has what it got, whole characters only."""

    def __init__(self, port: int, uuid: str, cuts: int, size: int, seed: int) -> None:
        self.port, self.uuid = port, uuid
        self.path = f"/v1/tenants/one/builds/{uuid}/log"
        self.chance = random.Random(seed)
        self.at = sorted(self.chance.sample(range(1, size), cuts))
        self.data = b""
        self.reconnected = 0

    def run(self) -> None:
        for limit in [*self.at, 1 << 62]:
            if len(self.data) < limit:
                self.once(limit)
                self.reconnected += limit < 1 << 62

    @abstractmethod
    def once(self, limit: int) -> None:
        """Connect, and read until there are so many bytes or more, then leave in the midst of it."""

    def keep(self, piece: bytes, limit: int) -> bool:
        """Take a piece, up to the limit and a whole character; whether that is reached."""
        room = limit - len(self.data)
        if len(piece) < room:
            self.data += piece
            return False
        self.data += piece[:room].decode("utf-8", "ignore").encode()
        return True


class ByWebSocket(CutReader):
    def once(self, limit: int) -> None:
        with console(self.port, self.uuid, offset=len(self.data)) as viewer:
            for message in viewer.messages():
                if self.keep(message.encode(), limit):
                    return
            assert viewer.closed is not None
            assert (viewer.closed.code, limit) == (1000, 1 << 62), viewer.closed


class BySse(CutReader):
    def once(self, limit: int) -> None:
        fields = {"Last-Event-ID": str(len(self.data))} if self.data else {}
        with ServerSentEvents(self.port, self.path, fields) as got:
            assert got.status == 200, got.body()
            for event in got.events():
                if event.name not in ("message", "json"):
                    assert (event.name, limit) == ("end", 1 << 62), event
                    return
                self.data += event.text.encode()
                assert event.id == str(len(self.data)), event
                if len(self.data) >= limit:
                    return


class ByFollow(CutReader):
    def once(self, limit: int) -> None:
        with Get(self.port, f"{self.path}?follow=true&start={len(self.data)}") as got:
            assert got.status == 200, got.body()
            decoder = codecs.getincrementaldecoder("utf-8")("strict")
            for piece in got.pieces():
                if self.keep(decoder.decode(piece).encode(), limit):
                    return
            assert limit == 1 << 62, "the end too early"


class ByProgressive(CutReader):
    def once(self, limit: int) -> None:
        while True:
            with Get(self.port, f"{self.path}?start={len(self.data)}") as got:
                assert got.status == 200, got.body()
                body = got.body()
                assert int(got.fields["X-Text-Size"]) == len(self.data) + len(body)
                if self.keep(body, limit):
                    return
                if got.fields["X-More-Data"] == "false":
                    assert limit == 1 << 62, "the end too early"
                    return
            if not body:
                time.sleep(0.05)


def resume(options: argparse.Namespace) -> None:
    """The same bytes for readers that were cut off again and again, in each form, while the log grew."""
    source = chatter(options.seed, options.bytes)
    with set_up(options, "") as (remote, server):
        (uuid,) = remote.build()
        source = b"begin\n" + source
        readers = {
            kind.__name__: kind(server.port, uuid, options.cuts, len(source), options.seed + number)
            for number, kind in enumerate((ByWebSocket, BySse, ByFollow, ByProgressive))
        }
        failures: dict[str, str] = {}

        def run(name: str) -> None:
            try:
                readers[name].run()
            except Exception as error:
                failures[name] = f"{type(error).__name__}: {error}"

        threads = [threading.Thread(target=run, args=(name,)) for name in readers]
        for thread in threads:
            thread.start()
        chance, at = random.Random(options.seed), len(b"begin\n")
        while at < len(source):
            size = chance.randrange(1, 2 * options.bytes // (options.seconds * 50))
            remote.write(uuid=uuid, data=base64.b64encode(source[at : at + size]).decode())
            at += size
            time.sleep(0.02)
        remote.finish()
        for thread in threads:
            thread.join(60)
        digest = hashlib.sha256(source).hexdigest()
        for name, reader in readers.items():
            report(
                f"resume {name}",
                same=hashlib.sha256(reader.data).hexdigest() == digest,
                bytes=len(reader.data),
                of=len(source),
                reconnected=reader.reconnected,
                failure=failures.get(name),
            )
        report("resume", sha256=digest, finger_connections=remote.connections()["ever"])


# -- listeners


def listeners(options: argparse.Namespace) -> None:
    """What idle listeners cost, and how long it takes until all have an event."""
    with set_up(options, f"streams={options.count + 100}") as (remote, server):
        remote.build(count=5)
        swarm = Swarm(server.port)
        swarm.add(Listener(swarm, True))
        swarm.add(Listener(swarm, False))
        assert swarm.run(20, lambda: all(c.arrivals for c in swarm.clients)), swarm.endings()
        swarm.run(2)
        empty_bytes, began = server.resident_bytes(), time.monotonic()
        for number in range(2, options.count):
            swarm.add(Listener(swarm, number % 2 == 0))
            if number % 10 == 0:
                swarm.run(0.01)
        attached = swarm.run(120, lambda: all(c.arrivals or c.ended for c in swarm.clients), 0.2)
        attach_seconds = time.monotonic() - began
        swarm.run(3)
        cpu = server.cpu_seconds()
        swarm.run(options.idle)
        idle_cpu = server.cpu_seconds() - cpu
        idle_bytes = server.resident_bytes()
        rounds = []
        for number in range(options.rounds):
            for client in swarm.clients:
                client.arrivals.clear()
            changed = remote.enqueue()
            everybody = swarm.run(20, lambda: all(b"item_enqueued" in c.arrivals for c in swarm.alive()), 0.05)
            arrivals = [c.arrivals[b"item_enqueued"] for c in swarm.alive() if b"item_enqueued" in c.arrivals]
            asked = next((when for when in remote.status_calls() if when > changed), float("nan"))
            rounds.append(
                {
                    "everybody": everybody,
                    "asked_after_ms": round((asked - changed) * 1e3),
                    "last_after_change_ms": round((max(arrivals) - changed) * 1e3) if arrivals else None,
                    "last_after_asking_ms": round((max(arrivals) - asked) * 1e3) if arrivals else None,
                    "first_after_asking_ms": round((min(arrivals) - asked) * 1e3) if arrivals else None,
                }
            )
            swarm.run(0.3 + 0.37 * number)  # not in step with the server
        report(
            f"listeners {options.count}",
            all_attached=attached,
            attach_seconds=round(attach_seconds, 2),
            rss_mb_empty=round(empty_bytes / 2**20, 1),
            rss_kb_per_listener=round((idle_bytes - empty_bytes) / 1024 / max(1, options.count - 2), 1),
            idle_cpu_seconds=round(idle_cpu, 2),
            idle_seconds=options.idle,
            events=rounds,
            lost=sum(c.ended is not None for c in swarm.clients),
        )
        swarm.close()


# -- beside upstream's, on a real Zuul


def arrivals_of(port: int, uuid: str) -> tuple[list[float], bytes, str]:
    """When each line was complete, the whole log, and how it ended."""
    ends: list[float] = []
    data = b""
    with console(port, uuid, tenant="tenant-one", must_hang_up=False) as viewer:
        for message in viewer.messages():
            now = time.monotonic()
            piece = message.encode()
            ends += [now] * piece.count(b"\n")
            data += piece
        assert viewer.closed is not None
        return ends, data, f"{viewer.closed.code} {viewer.closed.reason}"


def lab(options: argparse.Namespace) -> None:
    """Ours beside upstream's, both reading the job slow of a change that is pushed: the arrival of each line."""

    def command(*words: str) -> str:
        return subprocess.run([options.lab, *words], check=True, capture_output=True, text=True).stdout.strip()

    conf_text = Path(command("conf")).read_text()
    upstream_port = int(re.search(r"^\[web\][^\[]*?^port=(\d+)", conf_text, re.M | re.S)[1])  # type: ignore[index]
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
        conf = Path(folder) / "zuul.conf"
        ours_text = re.sub(rf"^port={upstream_port}$", f"port={port}", conf_text, flags=re.M)
        conf.write_text(re.sub(r"^(pidfile|command_socket)=.*/(zuul-)?web\..*\n", "", ours_text, flags=re.M))
        server = ServerProcess(Path(folder), "serve", "-c", str(conf))
        try:
            server.wait_for_output(r"listening on \S+ port \d+")
            differences: list[float] = []
            control: list[float] = []
            for number in range(options.rounds):
                command("push", options.project)
                uuid = wait_until(lambda: started(port, options.job), 120, f"a running {options.job}")
                found = lab_round({"ours": port, "upstream": upstream_port, "upstream again": upstream_port}, uuid)
                again = found["upstream again"][0]
                (ours, our_log, our_end), (theirs, their_log, their_end) = found["ours"], found["upstream"]
                live = range(min(len(ours), len(theirs)))
                # What was there before both had begun to read says nothing.
                begun = max(ours[0], theirs[0]) + 0.1 if live else 0.0
                late = [ours[n] - theirs[n] for n in live if min(ours[n], theirs[n]) > begun]
                differences += late
                control += [again[n] - theirs[n] for n in range(len(theirs)) if n < len(again) and theirs[n] > begun]
                report(
                    f"lab round {number + 1}",
                    uuid=uuid,
                    lines=len(late),
                    **signed(late),
                    same_bytes=our_log == their_log,
                    bytes=len(our_log),
                    same_end=our_end == their_end,
                    our_end=our_end,
                    their_end=their_end,
                )
                command("wait")
            report("lab", lines=len(differences), **signed(differences))
            report("lab, upstream's second viewer minus its first", lines=len(control), **signed(control))
        finally:
            server.kill()


def signed(seconds: list[float]) -> dict[str, float]:
    """Ours minus upstream's, in ms. An executor looks for new lines twice a second, for each connection anew."""
    shares = (("p1", 0.01), ("p50", 0.5), ("p99", 0.99), ("max", 1.0))
    return {f"{name}_ms": round(quantile(seconds, share) * 1e3, 1) for name, share in shares}


def started(port: int, job_name: str) -> str | None:
    """The uuid of a job that runs now and has a log by now."""
    with Get(port, "/api/tenant/tenant-one/status") as got:
        status = json.loads(got.body())
    for pipeline in status["pipelines"]:
        for queue in pipeline["change_queues"]:
            for item in (item for head in queue["heads"] for item in head):
                for job in item["jobs"]:
                    if job["name"] == job_name and job["start_time"] and not job["result"]:
                        time.sleep(2)  # a build has no log in its first second
                        return str(job["uuid"])
    return None


def lab_round(ports: dict[str, int], uuid: str) -> dict[str, tuple[list[float], bytes, str]]:
    found: dict[str, tuple[list[float], bytes, str]] = {}
    barrier = threading.Barrier(len(ports))

    def run(name: str) -> None:
        barrier.wait()
        try:
            found[name] = arrivals_of(ports[name], uuid)
        except Exception as error:
            found[name] = ([], b"", f"{type(error).__name__}: {error}")

    threads = [threading.Thread(target=run, args=(name,)) for name in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def add(function: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        command = commands.add_parser(function.__name__, help=function.__doc__)
        command.set_defaults(run=function)
        return command

    def add_rates(command: argparse.ArgumentParser, rate: float, line_bytes: int, seconds: int) -> None:
        command.add_argument("--rate", type=float, default=rate, help="lines per second of each log (%(default)s)")
        command.add_argument("--line-bytes", type=int, default=line_bytes, help="(%(default)s)")
        command.add_argument("--seconds", type=int, default=seconds, help="of lines (%(default)s)")

    command = add(viewers)
    command.add_argument("--count", type=int, default=500)
    kinds = command.add_mutually_exclusive_group()
    kinds.add_argument("--same", action="store_true", help="all view one build (the default)")
    kinds.add_argument("--different", action="store_true", help="each views a build of its own")
    command.add_argument("--idle", type=float, default=5.0, help="seconds without a line, before (%(default)s)")
    command.add_argument("--zuul-web", help="upstream's program, in place of ours")
    command.add_argument("--zookeeper", default="127.0.0.1:2181", help="which upstream's does not start without")
    add_rates(command, 10, 120, 15)

    command = add(stalled)
    command.add_argument("--count", type=int, default=100)
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--patience", type=float, default=5.0, help="stream_patience, in seconds (%(default)s)")
    add_rates(command, 50, 10_000, 25)

    command = add(resume)
    command.add_argument("--cuts", type=int, default=20)
    command.add_argument("--bytes", type=int, default=2_000_000, help="size of the log, about (%(default)s)")
    command.add_argument("--seconds", type=int, default=15, help="in which it is written, about (%(default)s)")
    command.add_argument("--seed", type=int, default=1)

    command = add(listeners)
    command.add_argument("--count", type=int, default=5000)
    command.add_argument("--idle", type=int, default=30, help="seconds without an event (%(default)s)")
    command.add_argument("--rounds", type=int, default=5, help="events (%(default)s)")

    command = add(lab)
    command.add_argument("--lab", default=str(Path(__file__).resolve().parents[2] / "shared" / "lab" / "lab"))
    command.add_argument("--rounds", type=int, default=1)
    command.add_argument("--project", default="demo")
    command.add_argument("--job", default="slow")

    backend = commands.add_parser("backend")
    backend.set_defaults(run=lambda options: be_backend())
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
