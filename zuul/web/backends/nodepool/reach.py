# SPDX-License-Identifier: Apache-2.0
"""Whether Nodepool's ZooKeeper is there, and how to connect to it."""

from __future__ import annotations

import logging

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

from zuul.web.errors import Unavailable
from zuul.web.settings import ZooKeeper

log = logging.getLogger("zuul.web.nodepool")
"""Of what matters. kazoo has one below it."""

SAME_AGAIN_SECONDS = 60.0
"""After which kazoo may say the same again: while ZooKeeper is away, it tells of each attempt."""

LONGEST_PAUSE_SECONDS = 1.0
"""Between two attempts to connect."""


def client_of(zookeeper: ZooKeeper) -> KazooClient:
    """A client that goes on trying until it is stopped, and sees the tree below the chroot."""
    return KazooClient(
        f"{zookeeper.hosts}{zookeeper.chroot}",
        timeout=zookeeper.session_timeout_seconds,
        connection_retry={"max_tries": -1, "delay": 0.1, "max_delay": LONGEST_PAUSE_SECONDS},
        logger=_seldom(f"{log.name}.kazoo"),
        **_tls(zookeeper),
    )


def reachable(zookeeper: ZooKeeper, timeout_seconds: float) -> bool:
    """Whether the ensemble, which answers, has Nodepool's tree below our chroot.

    :raises Unavailable: no server of it lets us in within `timeout_seconds`.

    Ending an attempt that a server left hanging can take kazoo some seconds more.
    """
    client = KazooClient(
        zookeeper.hosts,  # without the chroot: kazoo only warns of one that does not exist
        timeout=timeout_seconds,
        logger=log,
        **_tls(zookeeper),
    )
    try:
        client.start(timeout_seconds)
        return client.exists(f"{zookeeper.chroot}/nodepool") is not None
    except client.handler.timeout_exception as error:
        raise Unavailable(f"no server of it let us in within {timeout_seconds:g} s") from error
    except KazooException as error:
        raise Unavailable(f"ZooKeeper refuses to be read ({type(error).__name__})") from error
    finally:
        client.stop()
        client.close()


def _seldom(name: str) -> logging.Logger:
    """A logger that says each thing once in a while."""
    logger = logging.getLogger(name)
    if not logger.filters:
        logger.addFilter(_Seldom())
    return logger


class _Seldom(logging.Filter):
    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        said = self._said.get(record.getMessage())
        if said is not None and record.created - said < SAME_AGAIN_SECONDS:
            return False
        if len(self._said) > 100:
            self._said.clear()
        self._said[record.getMessage()] = record.created
        return True


def _tls(zookeeper: ZooKeeper) -> dict[str, object]:
    return {
        "use_ssl": zookeeper.tls_cert is not None,
        "certfile": zookeeper.tls_cert,
        "keyfile": zookeeper.tls_key,
        "ca": zookeeper.tls_ca,
    }
