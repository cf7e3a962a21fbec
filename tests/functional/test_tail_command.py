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

import pytest
from log_server import BYTES, END, UUID, error, events, head, refusal, stream, tenants, text_event


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


TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


def url_of_log(server):
    return f"{server.url}/v1/tenants/example/builds/{UUID}/log"


@pytest.mark.parametrize(
    ("arguments", "env"),
    [
        (["--token", TOKEN], {}),
        (["--token", f"Bearer {TOKEN}"], {"ZUUL_REST_TOKEN": "another"}),
        ([], {"ZUUL_REST_TOKEN": TOKEN}),
        ([], {"ZUUL_REST_TOKEN": f"Bearer {TOKEN}\n"}),
    ],
)
def test_the_token_is_sent_with_each_request_and_told_to_nobody(server, arguments, env):
    broken = stream(b"retry: 1\n\n", events(0, 1000))
    server.script = [tenants("example"), broken, lambda r: [stream(events(r.start), END)]]

    status, out, err = run("-v", UUID, *arguments, env={"ZUUL_REST_URL": server.url, **env})

    assert (status, out) == (0, BYTES)
    assert [request.fields["Authorization"] for request in server.requests] == [f"Bearer {TOKEN}"] * 3
    assert "eyJ" not in err


@pytest.mark.parametrize(("home", "sent"), [("https://zuul.example.com", None), ("", f"Bearer {TOKEN}")])
def test_the_token_of_the_environment_is_for_the_server_of_the_environment(server, home, sent):
    server.script = [stream(events(), END)]

    run(url_of_log(server), env={"ZUUL_REST_URL": home, "ZUUL_REST_TOKEN": TOKEN})

    assert server.requests[0].fields.get("Authorization") == sent


def test_the_token_does_not_follow_a_redirection(server):
    elsewhere = f"http://localhost:{server.url.rpartition(':')[2]}/log"
    server.script = [head("307 Temporary Redirect", Location=elsewhere, Content_Length=0), stream(events(), END)]

    run(url_of_log(server), "--token", TOKEN)

    assert ["Authorization" in request.fields for request in server.requests] == [True, False]


def test_why_a_token_is_not_good_enough_is_told(server):
    server.script = [refusal("401 Unauthorized", "The token has expired.")]

    status, _, err = run(url_of_log(server), "--token", TOKEN)

    assert status == 1
    assert err == (
        "zuul-rest: the server answers 401 Unauthorized: The token has expired. "
        "(--token or $ZUUL_REST_TOKEN gives it a token)\n"
    )


def test_that_the_token_has_expired_meanwhile_is_the_end(server):
    server.script = [stream(events(0, 1000), error(4001, "the token has expired"))]

    status, out, err = run(url_of_log(server), "--token", TOKEN)

    assert (status, out) == (1, BYTES[:1000])
    assert err == "zuul-rest: the server ends the log with 4001 the token has expired, after 1000 bytes of it\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [UUID, "--token", "Bearer", TOKEN],
        ["--token", "Bearer", TOKEN],
        [TOKEN],
        [f"http://127.0.0.1/{TOKEN}"],
        [UUID, f"--tokn={TOKEN}"],
        [UUID, "--token", f"{TOKEN} {TOKEN}"],
        [UUID, "--server", TOKEN],
    ],
)
def test_a_token_in_a_wrong_call_is_not_repeated(arguments):
    status, out, err = run(*arguments, env={"ZUUL_REST_URL": "http://127.0.0.1:1"})

    assert (status, out) == (2, b"")
    assert err
    assert "eyJ" not in err
