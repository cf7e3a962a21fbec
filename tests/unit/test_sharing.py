# SPDX-License-Identifier: Apache-2.0
"""Two processes are two `SharedSnapshots` of one name here: all that they share is the folder."""

from __future__ import annotations

import fcntl
import os
import time

import pytest

from zuul.web.sharing import SharedSnapshots
from zuul.web.snapshots import Snapshot


def make(body=b'{"pipelines": []}', age=0.0, compress=False):
    return Snapshot(body, time.monotonic() - age, 1600000000.0, compress=compress)


def must_not_fetch():
    raise AssertionError("the scheduler was asked although another process just had")


@pytest.fixture
def one(tmp_path):
    return SharedSnapshots("zuul.conf", str(tmp_path))


@pytest.fixture
def other(tmp_path):
    return SharedSnapshots("zuul.conf", str(tmp_path))


def test_what_one_process_fetched_the_other_does_not_fetch(one, other):
    first = one.get("example", make, False)
    second = other.get("example", must_not_fetch, False)
    assert (second.body, second.etag, second.fetched, second.last_modified) == (
        first.body,
        first.etag,
        first.fetched,
        first.last_modified,
    )


def test_after_a_second_it_is_fetched_again(one, other):
    one.get("example", lambda: make(age=1.5), False)
    assert other.get("example", lambda: make(b'{"new": 1}'), False).body == b'{"new": 1}'


def test_tenants_do_not_mix(one, other):
    one.get("example", make, False)
    assert other.get("widgets", lambda: make(b'{"widgets": 1}'), False).body == b'{"widgets": 1}'


def test_other_configurations_do_not_mix(one, tmp_path):
    one.get("example", make, False)
    elsewhere = SharedSnapshots("another zuul.conf", str(tmp_path))
    assert elsewhere.get("example", lambda: make(b'{"else": 1}'), False).body == b'{"else": 1}'


def test_the_compressed_form_is_shared_too(one, other):
    first = one.get("example", lambda: make(compress=True), True)
    assert other.get("example", must_not_fetch, True).packed.body == first.packed.body
    assert other.get("example", must_not_fetch, False).body == first.body


def test_who_finds_the_lock_taken_makes_do_with_an_older_one_and_does_not_wait(one, other, tmp_path):
    one.get("example", lambda: make(age=2.0), False)
    (lock,) = tmp_path.glob("*/*.lock")
    with lock.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert other.get("example", must_not_fetch, False).body == b'{"pipelines": []}'


def test_who_finds_the_lock_taken_and_nothing_usable_fetches_for_himself(one, other, tmp_path):
    one.get("example", lambda: make(age=30.0), False)
    (lock,) = tmp_path.glob("*/*.lock")
    with lock.open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert other.get("example", lambda: make(b'{"own": 1}'), False).body == b'{"own": 1}'


def test_an_error_is_the_callers_and_leaves_nothing_behind(one, other):
    def fail():
        raise LookupError

    with pytest.raises(LookupError):
        one.get("example", fail, False)
    assert other.get("example", lambda: make(b'{"ok": 1}'), False).body == b'{"ok": 1}'


def test_a_folder_that_others_can_enter_is_not_used(one, other, tmp_path):
    one.get("example", make, False)
    (folder,) = tmp_path.iterdir()
    folder.chmod(0o755)
    assert other.get("example", lambda: make(b'{"own": 1}'), False).body == b'{"own": 1}'


def test_a_damaged_file_is_fetched_anew(one, other, tmp_path):
    one.get("example", make, False)
    (kept,) = [path for path in tmp_path.glob("*/*") if not path.name.endswith(".lock")]
    kept.write_bytes(b"\0 no JSON")
    assert other.get("example", lambda: make(b'{"ok": 1}'), False).body == b'{"ok": 1}'


def test_the_other_process_sees_at_a_glance_that_there_are_news(one, other):
    old = one.get("example", lambda: make(age=2.0), False)
    assert not other.has_news("example", old)
    assert not other.has_news("widgets", old)
    new = one.get("example", lambda: make(b'{"new": 1}'), False)
    assert other.has_news("example", old)
    assert not other.has_news("example", new)
    assert not one.has_news("example", new)


def test_what_is_no_longer_fresh_is_no_news(one, other):
    older = make(age=20.0)
    one.get("example", lambda: make(age=1.5), False)
    assert not other.has_news("example", older)


def test_who_reads_it_need_not_make_out_its_tag(one, other, tmp_path):
    one.get("example", lambda: make(b'{"some": 1}'), False)
    (kept,) = [path for path in tmp_path.glob("*/*") if not path.name.endswith(".lock")]
    times = os.stat(kept)
    kept.write_bytes(kept.read_bytes().replace(b'{"some": 1}', b'{"same": 2}'))
    os.utime(kept, ns=(times.st_atime_ns, times.st_mtime_ns))

    found = other.get("example", must_not_fetch, False)

    assert found.body == b'{"same": 2}'
    assert found.etag == make(b'{"some": 1}').etag  # as it was written, so it is not a digest made anew


def test_nobody_else_can_read_it(one, tmp_path):
    one.get("example", make, False)
    (folder,) = tmp_path.iterdir()
    assert os.stat(folder).st_mode & 0o777 == 0o700
