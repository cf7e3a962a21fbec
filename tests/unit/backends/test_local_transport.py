# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from zuul.web.backends.rpc.interface import WorkException
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.errors import BadReply, OutcomeUnknown, Refused, Timeout, Unavailable

PATIENCE_SECONDS = 20


@pytest.fixture
def transport():
    """Builds transports over functions: `transport(job_list=...)`."""
    built = []

    def transport(**functions):
        built.append(LocalTransport({f"zuul:{name}": function for name, function in functions.items()}))
        return built[-1]

    yield transport
    for one in built:
        one.close()


def call(transport, name="f", arguments=None, timeout=PATIENCE_SECONDS, retry=True):
    return transport.call(f"zuul:{name}", arguments or {}, timeout=timeout, retry=retry)


class Held:
    """A worker function that begins and then waits for the test."""

    def __init__(self):
        self.began = threading.Event()
        self.gate = threading.Event()
        self.calls = 0

    def __call__(self, arguments):
        self.calls += 1
        self.began.set()
        assert self.gate.wait(PATIENCE_SECONDS)
        return "done"


@pytest.mark.parametrize(("reply", "sent"), [("é", "é".encode()), (b"\xff", b"\xff"), ("", b""), (None, b"")])
def test_a_reply_is_bytes(transport, reply, sent):
    assert call(transport(f=lambda arguments: reply)) == sent


def test_arguments_pass_as_json(transport):
    seen = []
    call(transport(f=seen.append), arguments={"a": (1, None), "ü": {"b": True}})

    assert seen == [{"a": [1, None], "ü": {"b": True}}]


def test_arguments_that_json_cannot_carry_are_the_callers_mistake(transport):
    with pytest.raises(TypeError):
        call(transport(f=lambda arguments: ""), arguments={"a": object()})


def test_a_function_that_nobody_offers_is_unavailable(transport):
    with pytest.raises(Unavailable, match="zuul:g"):
        call(transport(f=lambda arguments: ""), "g")


def test_a_work_exception_is_a_refusal_in_its_words(transport):
    def refuse(arguments):
        raise WorkException("Invalid project: x")

    with pytest.raises(Refused, match="Invalid project: x"):
        call(transport(f=refuse))


def test_any_other_exception_is_a_failure_without_a_word_that_is_logged(transport, caplog):
    def fail(arguments):
        raise KeyError("secret")

    with pytest.raises(BadReply) as raised:
        call(transport(f=fail))

    assert "secret" not in raised.value.message
    assert "KeyError: 'secret'" in caplog.text


def test_a_call_that_is_given_up_in_the_middle_may_have_been_done(transport):
    held = Held()
    local = transport(f=held)
    with pytest.raises(OutcomeUnknown):
        call(local, timeout=0)
    held.gate.set()


def test_a_call_that_is_given_up_before_its_turn_is_never_done(transport):
    held, second = Held(), []
    local = transport(f=held, g=second.append, h=lambda arguments: "next")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(call, local)
        assert held.began.wait(PATIENCE_SECONDS)
        with pytest.raises(Timeout) as raised:
            call(local, "g", timeout=0)
        held.gate.set()
        assert first.result(PATIENCE_SECONDS) == b"done"

    assert not isinstance(raised.value, OutcomeUnknown)
    assert call(local, "h") == b"next"
    assert second == []


def test_one_call_runs_at_a_time(transport):
    running, most = [], []

    def function(arguments):
        running.append(None)
        most.append(len(running))
        running.pop()
        return "x"

    local = transport(f=function)
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda _: call(local), range(100)))

    assert replies == [b"x"] * 100
    assert set(most) == {1}


def test_after_the_close_nobody_is_there(transport):
    local = transport(f=lambda arguments: "x")
    assert local.connected()

    local.close()

    assert not local.connected()
    with pytest.raises(Unavailable):
        call(local)


def test_the_close_ends_the_wait_of_those_whose_turn_had_not_come(transport):
    held = Held()
    local = transport(f=held, g=lambda arguments: "never")
    waits = threading.Event()

    def second():
        waits.set()
        return call(local, "g")

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(call, local)
        assert held.began.wait(PATIENCE_SECONDS)
        waiting = pool.submit(second)
        assert waits.wait(PATIENCE_SECONDS)
        local.close()
        assert isinstance(waiting.exception(PATIENCE_SECONDS), Unavailable)
        held.gate.set()
        assert first.result(PATIENCE_SECONDS) == b"done"
