# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import struct

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from zuul.web.streaming.endings import END_OF_LOG, SERVER_STOPS, TOKEN_EXPIRED
from zuul.web.streaming.websockets import CLOSE_SECONDS, Websocket, Websockets

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def sent(opcode, payload=b""):
    """A frame as a client sends it, with a mask that changes nothing."""
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload


class Transport(StringTransport):
    """A connection whose peer reads all, unless `dataBuffer` says otherwise."""

    dataBuffer = b""
    _tempDataBuffer: tuple[bytes, ...] = ()
    aborted = False

    def abortConnection(self):
        self.aborted = True

    def setTcpNoDelay(self, _):
        pass

    def unregisterProducer(self):
        pass

    def writeSomeData(self, data):
        self.write(data)
        return len(data)


class Visit:
    cors = ()
    identifier = "abc"
    dead_seconds = 90.0
    status = None

    def over(self, status):
        self.status = status


class Viewer(Websocket):
    def __init__(self, reactor):
        super().__init__()
        self.visit = Visit()
        self.texts = []
        self.has_left = 0
        self.clock = reactor
        self.factory = Websockets(reactor)
        self.makeConnection(Transport())
        self.dataReceived(HANDSHAKE)
        self.transport.clear()

    def asked(self, text):
        self.texts.append(text)

    def left(self):
        self.has_left += 1


@pytest.fixture
def viewer():
    return Viewer(Clock())


def close_code(viewer):
    written = viewer.transport.value()
    assert written[0] == 0x80 | CLOSE
    return struct.unpack("!H", written[2:4])[0]


def test_who_has_been_said_goodbye_to_is_asked_for_nothing_any_more(viewer):
    viewer.dataReceived(sent(BINARY, b"x") + sent(TEXT, b"{}"))
    assert close_code(viewer) == 1003
    assert viewer.texts == []


def test_who_violates_the_protocol_has_left(viewer):
    viewer.dataReceived(sent(3))
    assert close_code(viewer) == 1002
    assert viewer.has_left == 1


def test_a_ping_is_answered(viewer):
    viewer.dataReceived(sent(PING, b"abc"))
    assert viewer.transport.value() == bytes([0x80 | PONG, 3]) + b"abc"


def test_of_the_pings_of_who_does_not_read_the_last_is_answered_once_it_reads(viewer):
    viewer.outlet.blocked = True
    for _ in range(1000):
        viewer.dataReceived(sent(PING, b"early"))
    viewer.dataReceived(sent(PING, b"late"))
    assert viewer.transport.value() == b""
    viewer.outlet.resumeProducing()
    assert viewer.transport.value() == bytes([0x80 | PONG, 4]) + b"late"


@pytest.mark.parametrize("payload", [b"x", struct.pack("!H", 999), struct.pack("!H", 1000) + b"\xff"])
def test_who_closes_in_a_wrong_way_is_told_so(viewer, payload):
    viewer.dataReceived(sent(CLOSE, payload))
    assert close_code(viewer) in (1002, 1007)
    assert not viewer.transport.aborted
    assert viewer.transport.disconnecting
    viewer.clock.advance(CLOSE_SECONDS)
    assert viewer.transport.aborted


def test_who_closes_and_does_not_read_the_answer_is_dropped(viewer):
    viewer.dataReceived(sent(CLOSE, struct.pack("!H", 1000)))
    assert viewer.transport.disconnecting
    assert not viewer.transport.aborted
    viewer.clock.advance(CLOSE_SECONDS)
    assert viewer.transport.aborted


@pytest.mark.parametrize("ending, patient", [(END_OF_LOG, True), (SERVER_STOPS, False)])
def test_who_reads_slowly_may_read_to_the_end_of_the_log(viewer, ending, patient):
    viewer.transport.dataBuffer = b"what the kernel has not taken"
    viewer.end(ending)
    viewer.onCloseHandshakeTimeout()  # autobahn's timers are not the test's
    assert viewer.transport.aborted is not patient
    viewer.clock.advance(viewer.visit.dead_seconds)
    viewer.onCloseHandshakeTimeout()
    assert viewer.transport.aborted


def test_nothing_is_waited_for_when_the_connection_is_gone(viewer):
    viewer.dataReceived(sent(CLOSE, struct.pack("!H", 1000)))
    viewer.connectionLost(Failure(ConnectionDone()))
    assert viewer.visit.status == 101
    viewer.clock.advance(CLOSE_SECONDS)
    assert not viewer.transport.aborted


def test_who_has_only_an_expired_token_is_told_so(viewer):
    viewer.expired()

    assert close_code(viewer) == TOKEN_EXPIRED
    assert viewer.has_left == 1
