# SPDX-License-Identifier: Apache-2.0
"""Fills a ZooKeeper for a sandbox. Nothing else of ours writes there but actions."""

from __future__ import annotations

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException, NoNodeError

from zuul.web.backends.nodepool.reach import client_of
from zuul.web.errors import Unavailable
from zuul.web.settings import ZooKeeper

MARK = "/nodepool/made-by-a-sandbox"
CONNECT_SECONDS = 10.0


class Filling:
    """A context: inside it the tree can be written, and after it there is none.

    A Nodepool that somebody else has there is left alone: see `__enter__`.
    """

    def __init__(self, zookeeper: ZooKeeper) -> None:
        self._client: KazooClient = client_of(zookeeper)

    def __enter__(self) -> Filling:
        """:raises Unavailable: there is no ZooKeeper, or it has a Nodepool already that no sandbox has made."""
        try:
            self._client.start(CONNECT_SECONDS)
            if self._client.exists("/nodepool") and not self._client.exists(MARK):
                raise Unavailable("there is a Nodepool in this ZooKeeper already; give a chroot of its own")
            self._clear()
            self._client.ensure_path(MARK)
        except (KazooException, self._client.handler.timeout_exception) as error:
            self._close()
            raise Unavailable("ZooKeeper does not let us in") from error
        except Unavailable:
            self._close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._clear()
        except KazooException:
            pass  # it is away, and the next sandbox there begins anew
        finally:
            self._close()

    def _clear(self) -> None:
        for path in ("/nodepool", "/zuul/hold-requests"):
            self.remove(path)

    def _close(self) -> None:
        self._client.stop()
        self._client.close()

    def put(self, path: str, data: bytes = b"") -> None:
        try:
            self._client.set(path, data)
        except NoNodeError:
            self._client.create(path, data, makepath=True)

    def remove(self, path: str) -> None:
        self._client.delete(path, recursive=True)

    def get(self, path: str) -> bytes | None:
        try:
            data: bytes = self._client.get(path)[0]
        except NoNodeError:
            return None
        return data

    def children(self, path: str) -> list[str]:
        try:
            return sorted(self._client.get_children(path))
        except NoNodeError:
            return []
