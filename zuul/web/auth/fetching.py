# SPDX-License-Identifier: Apache-2.0
"""JSON from a URL of the world outside, in a time that whoever answers cannot stretch."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

FETCH_SECONDS = 10.0
MAX_BYTES = 1 << 20


def fetch_json(url: str, seconds: float = FETCH_SECONDS) -> Any:
    """The JSON at a URL. :raises OSError, ValueError: it cannot be had in that time."""
    request = urllib.request.Request(url, headers={"Accept": "application/json", "User-Agent": "zuul-rest"})
    deadline = _Deadline(seconds)
    opener = urllib.request.build_opener(_Redirects, _Http(deadline), _Https(deadline))
    try:
        with deadline, opener.open(request, timeout=seconds / 2) as response:
            body = response.read(MAX_BYTES + 1)
    except HTTPError as error:
        error.close()
        raise OSError(f"{error.code} at {url}") from None
    except URLError as error:
        raise OSError(f"{error.reason} at {url}") from error
    except (http.client.HTTPException, OSError) as error:
        raise OSError(f"{deadline.reason or error} at {url}") from error
    if deadline.reason:
        raise TimeoutError(f"{deadline.reason} at {url}")
    if len(body) > MAX_BYTES:
        raise ValueError(f"the answer at {url} is too large")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(f"the answer at {url} is no JSON") from None


class _Deadline:
    """Ends all its connections when it is over. The timeout of a socket is for each piece, however small."""

    def __init__(self, seconds: float) -> None:
        self.reason = ""
        self._seconds = seconds
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._over)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()

    def connecting(self, connection: http.client.HTTPConnection) -> http.client.HTTPConnection:
        """The connection, which is under the deadline as soon as it is made."""
        connect = connection.connect

        def and_be_watched() -> None:
            connect()
            self._sockets.append(connection.sock)
            if self.reason:
                self._over()

        connection.connect = and_be_watched  # type: ignore[method-assign]
        return connection

    def _over(self) -> None:
        self.reason = f"no whole answer within {self._seconds:g} s"
        for connected in self._sockets:
            with contextlib.suppress(OSError):
                # The plain socket's: that of TLS would wait for the other thread, which reads.
                socket.socket.shutdown(connected, socket.SHUT_RDWR)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, req: Any) -> Any:
        return self.do_open(_under(self._deadline, http.client.HTTPConnection), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, req: Any) -> Any:
        return self.do_open(_under(self._deadline, http.client.HTTPSConnection), req)


def _under(deadline: _Deadline, kind: type[http.client.HTTPConnection]) -> Any:
    make: Callable[..., http.client.HTTPConnection] = lambda host, **named: deadline.connecting(kind(host, **named))  # noqa: E731
    return make


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Never from https to anything else, nor to a file."""

    max_redirections = 3

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not is_as_safe(req.full_url, newurl):
            raise URLError("a redirection away from https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def is_as_safe(url: str, next_url: str) -> bool:
    """Whether a URL that another led to may be asked: over https, or http if that was the operator's own choice."""
    schemes = ("https",) if urlsplit(url).scheme == "https" else ("https", "http")
    return urlsplit(next_url).scheme in schemes
