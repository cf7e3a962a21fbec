# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import inspect
import socket

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure

from zuul.web.backends.finger import FIRST_BYTE_SECONDS, LogConnection, Receiver
from zuul.web.streaming.source import Source

UUID = "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11"
NOT_FOUND = f"Build ID {UUID} not found".encode()


class Recorder:
    """A receiver that keeps what it is told."""

    def __init__(self):
        self.data = b""
        self.end = None

    def received(self, data):
        assert data and self.end is None
        self.data += data

    def ended(self):
        self._end("ended")

    def lost(self):
        self._end("lost")

    def refused(self, words):
        self._end("refused", words)

    def failed(self, reason):
        self._end("failed", reason)

    def _end(self, *end):
        assert self.end is None
        self.end = end


class Transport(StringTransportWithDisconnection):
    def __init__(self):
        super().__init__()
        self.socket = socket.socket()

    def getHandle(self):
        return self.socket

    def setTcpKeepAlive(self, enabled):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, enabled)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture
def log(clock, recorder):
    connection = LogConnection(UUID, recorder, clock)
    transport = Transport()
    transport.protocol = connection
    connection.makeConnection(transport)
    yield connection
    connection.close()
    transport.socket.close()
    assert not clock.getDelayedCalls()


def over(connection, reason=ConnectionDone):
    connection.connectionLost(Failure(reason()))


@pytest.mark.parametrize("who", [Recorder, Source])
@pytest.mark.parametrize("name", ["received", "ended", "lost", "refused", "failed"])
def test_receivers_take_what_the_protocol_says(who, name):
    assert inspect.signature(getattr(who, name)).parameters.keys() == (
        inspect.signature(getattr(Receiver, name)).parameters.keys()
    )


def test_the_uuid_is_all_that_is_asked(log):
    assert log.transport.value() == f"{UUID}\n".encode()
    assert log.transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_log_and_its_end(log, recorder):
    log.dataReceived(b"line 1\n")
    log.dataReceived(b"line 2")
    assert recorder.data == b"line 1\nline 2"
    over(log)
    assert recorder.end == ("ended",)


def test_a_connection_that_breaks(log, recorder):
    log.dataReceived(b"line 1\n")
    over(log, ConnectionLost)
    assert recorder.end == ("lost",)


@pytest.mark.parametrize(
    "words",
    [NOT_FOUND, f"Log not found for build ID {UUID}".encode(), b"Build ID x is not valid", b"Internal streaming error"],
)
def test_words_in_place_of_a_log(log, recorder, words):
    for at in range(len(words)):
        log.dataReceived(words[at : at + 1])
    over(log)
    assert recorder.end == ("refused", words.decode())
    assert recorder.data == b""


@pytest.mark.parametrize("text", [b"Build ID of this is 7\n", NOT_FOUND + b"\n", b"Build ID x", b"Log not found", b"B"])
def test_a_log_that_begins_like_such_words(log, recorder, text):
    log.dataReceived(text)
    over(log)
    assert recorder.data == text
    assert recorder.end == ("ended",)


@pytest.mark.parametrize("cut", range(len(b"half a liInternal streaming error")))
def test_a_breakdown_in_the_middle_is_no_part_of_the_log(log, recorder, cut):
    log.dataReceived(b"line 1\n")
    words = b"half a liInternal streaming error"
    for piece in filter(None, (words[:cut], words[cut:])):
        log.dataReceived(piece)
    over(log)
    assert recorder.data == b"line 1\nhalf a li"
    assert recorder.end == ("lost",)


def test_a_log_may_speak_of_a_breakdown(log, recorder):
    log.dataReceived(b"Internal streaming error\n")
    log.dataReceived(b"x: Internal streaming error")
    log.dataReceived(b", and on\n")
    assert recorder.data == b"Internal streaming error\nx: Internal streaming error, and on\n"


def test_what_looks_like_the_beginning_of_a_breakdown_is_told_at_the_end(log, recorder):
    log.dataReceived(b"line 1\nInternal st")
    over(log)
    assert (recorder.data, recorder.end) == (b"line 1\nInternal st", ("ended",))


def test_an_executor_that_says_nothing(log, recorder):
    over(log)
    assert recorder.end == ("failed", "the executor closed the connection without an answer")


def test_an_executor_that_hangs(log, recorder, clock):
    clock.advance(FIRST_BYTE_SECONDS)
    assert recorder.end == ("failed", "the executor does not answer")
    assert not log.transport.connected


def test_silence_in_the_middle_is_nothing_unusual(log, recorder, clock):
    log.dataReceived(b"line 1\n")
    clock.advance(100000)
    assert recorder.end is None


def test_no_connection(recorder, clock):
    connection = LogConnection(UUID, recorder, clock)
    connection.connection_failed(Failure(ConnectionRefusedError()))
    assert recorder.end == ("failed", "the executor cannot be reached")


def test_who_has_closed_hears_nothing_more(log, recorder):
    log.dataReceived(b"line 1\n")
    log.close()
    log.dataReceived(b"line 2\n")
    over(log)
    assert (recorder.data, recorder.end) == (b"line 1\n", None)


def test_who_closes_before_there_is_a_connection_gets_none(recorder, clock):
    connection = LogConnection(UUID, recorder, clock)
    connection.close()
    transport = Transport()
    transport.protocol = connection
    connection.makeConnection(transport)
    assert not transport.connected and transport.value() == b""
    transport.socket.close()
