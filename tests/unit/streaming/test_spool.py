# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest
from deferred_work import DeferredWork
from twisted.internet.defer import Deferred, execute

from zuul.web.streaming.spool import BLOCK_BYTES, LEAST_BLOCKS, MOST_PENDING, Room, Spool

MUCH = 1 << 40


def room(folder, log_bytes=MUCH, total_bytes=MUCH, in_thread=execute):
    return Room(str(folder), log_bytes, total_bytes, in_thread)


def now(result):
    """The bytes of a read, of which the threads are through."""
    if isinstance(result, bytes):
        return result
    found = []
    result.addCallback(found.append)
    (data,) = found
    return data


def everything(spool, position=None):
    data = b""
    position = spool.start if position is None else position
    while position + len(data) < spool.end:
        piece = now(spool.read(position + len(data)))
        assert piece
        data += piece
    return data


@pytest.fixture
def spool(tmp_path):
    spool = Spool(room(tmp_path))
    yield spool
    spool.close()


def test_all_that_was_appended_is_read(spool):
    rng = random.Random(1)
    whole = b""
    for _ in range(60):
        piece = rng.randbytes(rng.choice([1, 100, 5000, BLOCK_BYTES, 3 * BLOCK_BYTES + 7]))
        spool.append(piece)
        whole += piece
        assert spool.end == len(whole)
    assert everything(spool) == whole
    for _ in range(100):
        position = rng.randrange(len(whole))
        piece = now(spool.read(position, rng.choice([1, 10, BLOCK_BYTES])))
        assert piece and whole.startswith(piece, position)


def test_nothing_is_there_to_read_at_the_end(spool):
    assert spool.read(0) == b""
    spool.append(b"x" * BLOCK_BYTES)
    assert spool.read(BLOCK_BYTES) == b""


def test_a_small_log_needs_no_file(spool):
    spool.append(b"x" * (BLOCK_BYTES - 1))
    assert spool._file is None


def test_the_file_has_no_name(spool, tmp_path):
    spool.append(b"x" * BLOCK_BYTES * 2)
    assert everything(spool) == b"x" * BLOCK_BYTES * 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_being_written_is_read_from_memory(tmp_path):
    threads = DeferredWork()
    spool = Spool(room(tmp_path, in_thread=threads))
    spool.append(b"a" * BLOCK_BYTES + b"b")
    assert spool.read(5, 3) == b"aaa"
    threads.run()
    assert isinstance(spool.read(5, 3), Deferred)
    threads.run()
    spool.close()


def test_it_is_busy_while_the_disk_does_not_keep_up(tmp_path):
    threads = DeferredWork()
    spool = Spool(room(tmp_path, in_thread=threads))
    spool.append(b"a" * BLOCK_BYTES * MOST_PENDING)
    assert not spool.busy
    spool.append(b"a" * BLOCK_BYTES)
    assert spool.busy
    threads.run(3)
    assert not spool.busy
    threads.run_all()
    spool.close()


def test_beyond_its_limit_the_oldest_is_overwritten(tmp_path):
    kept = LEAST_BLOCKS + 8
    spool = Spool(room(tmp_path, log_bytes=kept * BLOCK_BYTES))
    whole = random.Random(2).randbytes(BLOCK_BYTES * (3 * kept) + 100)
    for at in range(0, len(whole), 50000):
        spool.append(whole[at : at + 50000])
        assert everything(spool) == whole[spool.start : spool.end]
    assert spool.end == len(whole)
    assert spool.end - spool.start >= (kept - 1) * BLOCK_BYTES
    spool.close()


def test_the_room_of_all_is_shared_and_given_back(tmp_path):
    shared = room(tmp_path, total_bytes=(LEAST_BLOCKS + 10) * BLOCK_BYTES)
    first, second = Spool(shared), Spool(shared)
    first.append(b"1" * BLOCK_BYTES * (LEAST_BLOCKS + 10))
    assert first.start == 0
    second.append(b"2" * BLOCK_BYTES * (LEAST_BLOCKS + 1))
    assert second.start == BLOCK_BYTES  # the least that each gets, and no more
    first.append(b"1" * BLOCK_BYTES)
    assert first.start == BLOCK_BYTES
    first.close()
    third = Spool(shared)
    third.append(b"3" * BLOCK_BYTES * (LEAST_BLOCKS + 4))
    assert third.start == 4 * BLOCK_BYTES  # as the second has what the first had above the least
    for spool in (second, third):
        assert set(everything(spool)) <= set(b"23")
        spool.close()


def test_a_read_that_is_overtaken_brings_nothing(tmp_path):
    threads = DeferredWork()
    spool = Spool(room(tmp_path, log_bytes=LEAST_BLOCKS * BLOCK_BYTES, in_thread=threads))
    spool.append(b"a" * BLOCK_BYTES * LEAST_BLOCKS)
    threads.run_all()
    reading = spool.read(10)
    spool.append(b"b" * BLOCK_BYTES)
    assert spool.start == BLOCK_BYTES
    threads.run(1)  # the writing, first
    threads.run()
    assert now(reading) == b""
    spool.close()


def test_what_could_not_be_written_is_no_longer_there(tmp_path, caplog):
    def full_disk(work, *arguments):
        return execute(broken, "no space left") if work is Spool._write_file else execute(work, *arguments)

    def broken(why):
        raise OSError(why)

    spool = Spool(room(tmp_path, in_thread=full_disk))
    spool.append(b"a" * BLOCK_BYTES * 2 + b"rest")
    assert spool.start == 2 * BLOCK_BYTES
    assert everything(spool) == b"rest"
    assert "no space left" in caplog.text
    spool.close()


def test_without_a_folder_only_the_end_is_kept(tmp_path, caplog):
    spool = Spool(room(tmp_path / "missing"))
    spool.append(b"a" * BLOCK_BYTES + b"rest")
    assert everything(spool) == b"rest"
    assert "could not be kept" in caplog.text
    spool.close()


def test_it_is_closed_when_the_last_thread_is_through(tmp_path):
    threads = DeferredWork()
    spool = Spool(room(tmp_path, in_thread=threads))
    spool.append(b"a" * BLOCK_BYTES * 2)
    file = spool._file
    spool.close()
    assert not file.closed
    threads.run()
    threads.run()
    assert file.closed
