# SPDX-License-Identifier: Apache-2.0
"""Snapshots that the processes of one host share, so that they ask the scheduler once and not once each.

A pre-forking server runs several processes, each with its own memory. They meet in a folder that only
their user can enter, in memory where the host has /dev/shm. The newest snapshot of a tenant is one file
there, replaced as a whole; who holds the lock beside it is fetching the next one. Nobody waits for that
lock: whoever finds it taken makes do with the file, or fetches for himself if the file is too old.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable

from zuul.web.snapshots import FRESH_SECONDS, REFRESH_BEHIND_SECONDS, Snapshot

log = logging.getLogger("zuul.web.sharing")


class SharedSnapshots:
    """:param name: what the processes that share have in common, for instance the path of their zuul.conf."""

    def __init__(self, name: str, parent: str | None = None) -> None:
        digest = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
        parent = parent or ("/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir())
        self._folder = os.path.join(parent, f"zuul-rest-{os.geteuid()}-{digest}")

    def has_news(self, tenant: str, snapshot: Snapshot) -> bool:
        """Whether another process has a newer one, which is fresh: one that is not would be no news to `get`."""
        try:
            fetched = os.stat(self._path(tenant)).st_mtime_ns
        except OSError:
            return False
        return fetched > _nanoseconds(snapshot) and time.monotonic_ns() - fetched < FRESH_SECONDS * 1e9

    def get(self, tenant: str, make: Callable[[], Snapshot], compress: bool) -> Snapshot:
        """The snapshot that another process has just made, else the one of `make`, which others will see."""
        path = self._path(tenant)
        # Names without a tenant come here too, so there is a lock for each digest's beginning, not for each name.
        lock_path = os.path.join(self._folder, f"{os.path.basename(path)[:3]}.lock")
        try:
            self._require_folder()
            lock = open(lock_path, "ab")  # noqa: SIM115 -- closed by the "with" below
        except OSError as error:
            log.warning("snapshots are not shared: %s", error)
            return make()
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(path, REFRESH_BEHIND_SECONDS, compress) or make()
            kept = _read(path, FRESH_SECONDS, compress)
            if kept is None:
                kept = make()
                _write(path, kept)
            return kept

    def _path(self, tenant: str) -> str:
        return os.path.join(self._folder, hashlib.blake2b(tenant.encode(), digest_size=16).hexdigest())

    def _require_folder(self) -> None:
        """:raises OSError: the folder cannot be made, or is not ours alone."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._folder, 0o700)
        found = os.lstat(self._folder)
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            raise PermissionError(f"{self._folder} is not a folder of this user alone")


def _nanoseconds(snapshot: Snapshot) -> int:
    return int(snapshot.fetched * 1e9)


def _read(path: str, max_age_seconds: float, compress: bool) -> Snapshot | None:
    try:
        with open(path, "rb") as file:
            head = json.loads(file.readline())
            age = time.monotonic() - head["fetched"]
            if not 0 <= age < max_age_seconds:  # negative: from before the host was started
                return None
            body = file.read(head["body"])
            packed = file.read(head["packed"])
            etag = head["etag"]
    except (OSError, ValueError, KeyError):
        return None
    return Snapshot(body, head["fetched"], head["changed_at"], packed or None, etag, compress=compress)


def _write(path: str, snapshot: Snapshot) -> None:
    packed = snapshot.packed.body if snapshot.packed else b""
    head = {
        "fetched": snapshot.fetched,
        "changed_at": snapshot.changed_at,
        "etag": snapshot.etag,
        "body": len(snapshot.body),
        "packed": len(packed),
    }
    temporary = f"{path}.{os.getpid()}"
    try:
        with open(temporary, "wb") as file:
            file.write(json.dumps(head).encode() + b"\n")
            file.write(snapshot.body)
            file.write(packed)
        # So that one look at the file's time tells whether it has news.
        os.utime(temporary, ns=(_nanoseconds(snapshot), _nanoseconds(snapshot)))
        os.replace(temporary, path)
    except OSError as error:
        log.warning("this snapshot is not shared: %s", error)
