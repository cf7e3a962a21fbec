# SPDX-License-Identifier: Apache-2.0
"""The same worker functions, called in this process: for tests, and for a tier without a gearman server."""

from __future__ import annotations

import json
import logging
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout

from zuul.web.backends.rpc.interface import Arguments, WorkerFunctions, WorkException
from zuul.web.errors import BadReply, OutcomeUnknown, Refused, Timeout, Unavailable

log = logging.getLogger("zuul.web.rpc.local")


class LocalTransport:
    """One thread runs the calls in turn, as the scheduler's RPC thread does."""

    def __init__(self, functions: WorkerFunctions, without: str = "nobody offers it") -> None:
        """:param without: what to say of functions that are not there."""
        self._functions = functions
        self._without = without
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="local rpc")
        self._closed = False

    def call(self, function: str, arguments: Arguments, *, timeout: float, retry: bool) -> bytes:
        if function not in self._functions or self._closed:
            raise Unavailable(f"{function}: {self._without}")
        # Through JSON and back, so that nothing passes here that gearman would not carry.
        running: Future[str | bytes | None]
        running = self._executor.submit(self._functions[function], json.loads(json.dumps(arguments)))
        try:
            reply = running.result(timeout)
        except FutureTimeout:
            if running.cancel():
                raise Timeout(f"the scheduler did not start {function} in time; it was taken back") from None
            raise OutcomeUnknown(f"the scheduler did not finish {function} in time") from None
        except CancelledError:
            raise Unavailable("the scheduler is shutting down") from None
        except WorkException as error:
            raise Refused(str(error)) from error
        except Exception as error:
            log.exception("%s failed", function)
            raise BadReply(f"the scheduler failed at {function} without a word") from error
        return reply.encode() if isinstance(reply, str) else reply or b""

    def connected(self) -> bool:
        return not self._closed

    def close(self) -> None:
        self._closed = True
        self._executor.shutdown(wait=False, cancel_futures=True)
