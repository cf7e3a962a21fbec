# SPDX-License-Identifier: Apache-2.0
"""The gate: filters of the operator's that stand before the applications are asked about streams too."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import webob
from twisted.internet.defer import Deferred

from zuul.web.controllers.streams import PASSED
from zuul.web.filters import WsgiApplication
from zuul.web.streaming.spool import InThread

Gate = Callable[[Any, str], "Deferred[bool]"]
"""Whether filters of the operator's let a request pass, which is to be for this path; if not, they have answered."""

_OF_BODIES = (b"content-length", b"content-type", b"transfer-encoding")


def gate_of(application: WsgiApplication, in_thread: InThread) -> Gate:
    """Sends each request for a stream through the application, all the way to its controller, as a GET without a body.

    :param in_thread: calls the application.
    """

    def ask(request: Any, path: str) -> Deferred[bool]:
        asking = webob.Request.blank(path, remote_addr=request.getClientAddress().host)
        asking.query_string = request.uri.partition(b"?")[2].decode("latin-1")
        for name, values in request.requestHeaders.getAllRawHeaders():
            if name.lower() not in _OF_BODIES:
                asking.headers[name.decode("latin-1")] = b",".join(values).decode("latin-1")
        passed: list[bool] = []
        asking.environ[PASSED] = passed

        def answer(response: tuple[str, list[tuple[str, str]], Iterable[bytes]]) -> bool:
            status, headers, body = response
            if passed and status.startswith("2"):
                return True  # else a filter thought better of it when the answer came back
            code, _, title = status.partition(" ")
            request.setResponseCode(int(code), title.encode())
            for name, value in headers:
                request.responseHeaders.addRawHeader(name, value)
            request.write(b"".join(body))
            request.finish()
            return False

        return in_thread(asking.call_application, application).addCallback(answer)

    return ask
