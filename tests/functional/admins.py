# SPDX-License-Identifier: Apache-2.0
"""Administrators for tests, and what they do."""

from __future__ import annotations

import json

from functional.tokens import CONF, bearer

from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

SCENARIO = load(None)


def authorization(*tenants):
    """The header field of somebody who administers these tenants."""
    return bearer("ada", *tenants)


class Acting:
    """The application over a sandbox of its own, in which things are really done."""

    def __init__(self, make_app, **replaced) -> None:
        self.functions = SandboxScheduler(SCENARIO, clock=lambda: 1_600_000_000.0).functions
        self.called: list[tuple[str, dict]] = []
        self._replaced = replaced
        self.transport = LocalTransport({name: self._recorded(name) for name in self.functions})
        self.app = make_app(self.transport, CONF)

    def _recorded(self, name):
        def function(arguments):
            self.called.append((name.removeprefix("zuul:"), arguments))
            replacement = self._replaced.get(name.removeprefix("zuul:"), self.functions[name])
            return replacement(arguments)

        return function

    def calls(self, name):
        """The arguments of the calls of one function so far."""
        return [arguments for called, arguments in self.called if called == name]

    def send(self, method, url, body=None, *, admin_of=("example",), headers=None):
        """A request of an administrator; `body` is made JSON unless it is bytes."""
        sent = {**authorization(*admin_of), **(headers or {})}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        payload = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        return self.app.request(url, method=method, body=payload or b"", headers=sent, status="*")

    def post(self, url, body, **more):
        return self.send("POST", url, body, **more)

    def status(self, tenant="example"):
        """The items by pipeline and queue, as the scheduler has them now."""
        status = json.loads(self.functions["zuul:status_get"]({"tenant": tenant}))
        return {
            pipeline["name"]: [
                [item for head in queue["heads"] for item in head] for queue in pipeline["change_queues"]
            ]
            for pipeline in status["pipelines"]
        }

    def ids(self, pipeline, tenant="example"):
        return [item["id"] for queue in self.status(tenant)[pipeline] for item in queue]

    def holds(self):
        return json.loads(self.functions["zuul:autohold_list"]({}))
