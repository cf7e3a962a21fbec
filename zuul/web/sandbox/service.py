# SPDX-License-Identifier: Apache-2.0
"""The sandbox as a whole: a gearman server, our scheduler as its worker, an executor, a database of builds, and a
zuul.conf for it.

The web tier in front of it is the ordinary one, and reads that file as it would read any other.
"""

from __future__ import annotations

import os
import tempfile
from types import TracebackType

from zuul.web.backends.rpc.gearman_worker import GearmanWorker, start_server
from zuul.web.sandbox.executor import Executor
from zuul.web.sandbox.history import History
from zuul.web.sandbox.scheduler import SandboxScheduler

_ZUUL_CONF = """\
[gearman]
server=127.0.0.1
port={gearman_port}

[web]
listen_address={address}
port={port}
static_cache_expiry=0

[auth sandbox]
driver=HS256
realm=sandbox
default=true
client_id=zuul-sandbox
issuer_id=sandbox
secret={secret}
allow_authz_override=true
"""
_CONNECTION = """
[connection {name}]
driver=sql
dburi={url}
"""
PAST_AFTER_SECONDS = 1.0
"""By then the web tier in front is loaded, which takes half a second more beside the making of a past."""


class Sandbox:
    """A context: inside it the scheduler answers; `zuul_conf` is the path of its configuration."""

    def __init__(self, scheduler: SandboxScheduler, address: str, port: int, history: History | None = None) -> None:
        """:param history: what the scheduler reports to; None: there is no database."""
        self.scheduler = scheduler
        self._history = history
        self._address = address
        self._port = port

    def __enter__(self) -> Sandbox:
        self._folder = tempfile.TemporaryDirectory(prefix="zuul-rest-sandbox-")
        self._executor = Executor(self.scheduler)
        self._executor.start()
        self.scheduler.log_stream = self._executor.address
        self._server = start_server()
        self._worker = GearmanWorker("127.0.0.1", self._server.port, self.scheduler.functions, "Zuul RPC Listener")
        self._worker.start()
        if self._history:
            self._history.start(self._folder.name, PAST_AFTER_SECONDS)
        self.zuul_conf = os.path.join(self._folder.name, "zuul.conf")
        with open(self.zuul_conf, "w", encoding="utf-8") as file:
            file.write(
                _ZUUL_CONF.format(
                    gearman_port=self._server.port,
                    address=self._address,
                    port=self._port,
                    secret=os.urandom(16).hex(),
                )
            )
            if self._history:
                for name in self.scheduler.scenario.sql_connections:
                    file.write(_CONNECTION.format(name=name, url=self._history.url))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.stop()
        self._server.shutdown()
        self._executor.stop()
        if self._history:
            self._history.stop()
        self._folder.cleanup()
