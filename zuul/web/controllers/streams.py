# SPDX-License-Identifier: Apache-2.0
"""Live logs, and what happens in the pipelines, as it happens.

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
from zuul.web.urls import Controller, Route, Url

PASSED = "zuul.stream"
"""In the environ of a request that asks whether it may be streamed: a list, to which the answer is appended."""


class StreamsController:
    """What a WSGI application says of its streams. The docstrings are those of the streams themselves."""

    @plain
    def console(self, request: webob.Request, response: webob.Response, *from_path: str) -> webob.Response:
        """The log of one build, by websocket."""
        return self._answer(request)

    @plain
    def log(self, request: webob.Request, response: webob.Response, *from_path: str) -> webob.Response:
        """The log of a running build, in one of three forms.

        Text of what there is now; with `follow=true` text that goes on up to the end of the log, and is cut off without
        its last chunk if anything else ends it; or, where `Accept` has `text/event-stream`, Server-Sent Events up to
        the end. Offsets are bytes of the log in UTF-8, as it is sent.

        :raises NotFound: no such build is running in this tenant, or the executor has no log of it.
        """
        return self._answer(request)

    @plain
    def events(self, request: webob.Request, response: webob.Response, *from_path: str) -> webob.Response:
        """What happens in the pipelines of a tenant, by websocket or as Server-Sent Events.

        First comes the state, then what changes. Each message is a JSON object with `type`, `id` and `time`: a text
        message of the websocket, or the data of a Server-Sent Event, whose name is `type` and whose id is `id`.

        :raises NotFound: no such tenant.
        """
        return self._answer(request)

    @staticmethod
    def _answer(request: webob.Request) -> webob.Response:
        asking = request.environ.get(PASSED)
        if asking is None:
            raise Misdirected("this server has no streams; those of this installation are served by zuul-rest streamer")
        asking.append(True)
        return webob.Response(status=204)


STREAMS = StreamsController()


class StreamUrl(Url):
    """The URL of a stream. openapi/streams.py describes them, as they are not made of types."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(get=controller)
        self._controller = controller

    def _routes(self, base: str) -> Iterator[Route]:
        yield Route(base, "GET", self._controller)


def is_stream(route: Route) -> bool:
    """Whether a route of a map is a stream's."""
    return getattr(route.controller, "__self__", None) is STREAMS
