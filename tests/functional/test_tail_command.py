# SPDX-License-Identifier: Apache-2.0
"""The command `zuul-rest tail` in a process of its own: what goes to which stream, and the exit status."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys

from log_server import BYTES, END, UUID, events, refusal, stream, tenants, text_event


def command(*arguments, **options):
    return subprocess.Popen([sys.executable, "-m", "zuul.web.cli", "tail", *arguments], **options)


def run(*arguments, env=()):
    process = command(
        *arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "no_proxy": "*", **dict(env)}
    )
    out, err = process.communicate(timeout=20)
    return process.returncode, out, err.decode()


def test_the_log_and_nothing_else_goes_to_standard_output(server):
    server.script = [stream(b"retry: 1\n\n", events(0, 1000)), lambda r: [stream(events(r.start), END)]]
    url = f"{server.url}/t/example/stream/{UUID}?logfile=console.log"

    assert run(url) == (0, BYTES, "")


def test_what_happens_is_told_who_wants_to_know(server):
    server.script = [stream(b"retry: 1\n\n", events(0, 1000)), lambda r: [stream(events(r.start), END)]]

    status, out, err = run("-v", "--tenant", "example", UUID, env={"ZUUL_REST_URL": server.url})

    assert (status, out) == (0, BYTES)
    assert re.fullmatch(
        "zuul-rest: the connection was cut; trying again in 0.0 s\nzuul-rest: this was the whole log\n", err
    )


def test_why_there_is_no_log_is_told_in_any_case(server):
    server.script = [tenants("example"), refusal("404 Not Found", "no")]

    assert run(UUID, "--server", server.url) == (1, b"", f"zuul-rest: no tenant of {server.url} runs a build {UUID}\n")


def test_the_server_may_be_that_of_a_zuul_conf(server, tmp_path):
    server.script = [refusal("404 Not Found", "A \x1b[2Jlie.")]
    conf = tmp_path / "zuul.conf"
    conf.write_text(f"[web]\nport = {server.url.rpartition(':')[2]}\n")

    status, _, err = run(UUID, "-c", str(conf), "--tenant", "example", env={"ZUUL_REST_URL": ""})

    assert (status, err) == (1, f"zuul-rest: tenant example of {server.url}: A  [2Jlie.\n")


def test_a_wrong_call_is_2():
    status, out, err = run("console.log")

    assert (status, out) == (2, b"")
    assert err == "zuul-rest: console.log: this is neither a build's uuid nor a URL that names one\n"


def test_a_reader_that_has_enough_ends_it_quietly(server):
    def first_a_line(request):
        line = BYTES.index(b"\n") + 1
        yield stream(events(0, line))
        server.hold.wait(20)
        yield events(line) + END

    server.script = [first_a_line]
    url = f"{server.url}/v1/tenants/example/builds/{UUID}/log"
    with command(url, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == BYTES.split(b"\n")[0] + b"\n"
        process.stdout.close()
        server.hold.set()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_is_one_line(server):
    server.script = [stream(events(), END)]
    with open("/dev/full", "wb") as full:
        process = command(
            f"{server.url}/v1/tenants/example/builds/{UUID}/log", stdout=full, stderr=subprocess.PIPE, text=True
        )
        _, err = process.communicate(timeout=20)

    assert (process.returncode, err) == (1, "zuul-rest: the log cannot be written: No space left on device\n")


def test_control_c_leaves_a_terminal_without_colours(server):
    def hold(request):
        yield stream(text_event("\x1b[31mred", 8))
        server.hold.wait(20)

    server.script = [hold]
    terminal, end = pty.openpty()
    process = command(f"{server.url}/v1/tenants/example/builds/{UUID}/log", stdout=end, stderr=end)
    os.close(end)
    shown = b""
    with contextlib.suppress(OSError):  # which is how a terminal says that nobody is left
        while select.select([terminal], [], [], 20)[0]:
            shown += os.read(terminal, 1000)
            if shown == b"\x1b[31mred":
                process.send_signal(signal.SIGINT)
    os.close(terminal)

    assert process.wait(20) == 130
    assert shown == b"\x1b[31mred\x1b[0m"
