# SPDX-License-Identifier: Apache-2.0
"""Live logs and events, as far as a WSGI application can have a part in them.

They are served by streaming/, in `zuul-rest serve` before a request gets here, else by `zuul-rest streamer`. Filters
of an operator's stand before the applications, however, and what they refuse must not be streamed either. So where
there are any, the server first sends the request through all of them, with a list as `zuul.stream` in its environ;
here it is told that nobody has objected.
"""

from __future__ import annotations

from collections.abc import Iterator

import webob

from zuul.web.errors import Misdirected
from zuul.web.expose import plain
from zuul.web.urls import Route, Url

PASSED = "zuul.stream"
"""In the environ of a request that asks whether it may be streamed: a list, to which the answer is appended."""


class StreamsController:
    @plain
    def get(self, request: webob.Request, response: webob.Response, *from_path: str) -> webob.Response:
        asking = request.environ.get(PASSED)
        if asking is None:
            raise Misdirected("this server has no streams; those of this installation are served by zuul-rest streamer")
        asking.append(True)
        return webob.Response(status=204)


class StreamUrl(Url):
    """The URL of a stream. openapi/streams.py describes them, as they are not made of types."""

    def __init__(self) -> None:
        super().__init__(get=StreamsController().get)

    def _routes(self, base: str) -> Iterator[Route]:
        return iter(())
