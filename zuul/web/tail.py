# SPDX-License-Identifier: Apache-2.0
"""`zuul-rest tail`: follows the log of a build to its end, whatever happens to the connection.

Exactly the log's bytes go to standard output. The offset of what is written there is all that counts: a
connection that breaks is followed by another which resumes at it, and an event that would not go on just
there is not written.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from zuul.web.build_url import Build, log_url
from zuul.web.event_source import Event, EventParser

SILENCE_SECONDS = 60.0
"""Without a byte for so long a connection is dead: the server sends a comment every 20 seconds."""
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_RETRY_AFTER_SECONDS = 300.0
TRIES = 10
"""How many times in a row to try again without a byte of an answer: some three minutes."""
LOST_TRIES = 3
"""How many times in a row to try again, without a byte of the log, when it seems to be lost."""
ANSWER_BYTES = 1 << 22
"""Of a list of tenants."""

GOING_AWAY = 1001
TOO_SLOW = 4008
UNAVAILABLE = 4011


class LogError(Exception):
    """Why the log cannot be had, or not to its end; a sentence for the user."""


class _Again(Exception):
    """Something that may pass: connect again."""

    def __init__(self, reason: str, *, after_seconds: float | None = None, lost: bool = False) -> None:
        super().__init__(reason)
        self.after_seconds = after_seconds
        """What the server wants us to wait."""
        self.lost = lost
        """It will hardly pass."""


class _NoSuchUrl(Exception):
    """Whoever answered does not know this URL, or means another thing by it."""


class _NoSuchBuild(Exception):
    """A 404 of ours."""


def tail(build: Build, verbose: bool, token: str | None = None) -> int:
    """Copy the build's log to standard output. Returns the exit status: 0 if that was all of it, else 1.

    :param token: with which a protected tenant may be read.
    """
    out = sys.stdout.buffer
    talkative = verbose or sys.stderr.isatty()

    def note(clause: str) -> None:
        if talkative:
            say(clause)

    def say(sentence: str) -> None:
        begin = "\n" if follower.in_line and out.isatty() and sys.stderr.isatty() else ""
        words = "".join(character if character.isprintable() else " " for character in sentence)  # a server's, maybe
        print(f"{begin}zuul-rest: {words}", file=sys.stderr, flush=True)

    follower = Follower(build, out, note, token=token)
    try:
        follower.follow()
    except LogError as error:
        say(str(error))
        return 1
    except OSError as error:  # the network's are LogErrors
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())  # for what Python still flushes at its end
        if isinstance(error, BrokenPipeError):
            return 141  # as the shell has it of one that SIGPIPE has ended
        say(f"the log cannot be written: {error.strerror}")
        return 1
    finally:
        if out.isatty():
            with contextlib.suppress(OSError):
                out.write(b"\x1b[0m")  # the log may have stopped amidst a colour
                out.flush()
    return 0


class Follower:
    """Copies the log of a build to `out`.

    :param note: is told what happens beside the log, a clause each time.
    :param sleep: another in tests, as `chance` (from 0 to 1) and `silence_seconds`.
    """

    def __init__(
        self,
        build: Build,
        out: BinaryIO,
        note: Callable[[str], object],
        *,
        token: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
        chance: Callable[[], float] = random.random,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        self.in_line = False
        """Whether what was written last is not the end of a line."""
        self._build = build
        self._out = out
        self._note = note
        self._token = token
        self._sleep = sleep
        self._chance = chance
        self._silence_seconds = silence_seconds
        self._offset = 0
        self._url: str | None = None
        """Of the log, once it has answered."""
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._tries = self._lost_tries = 0
        self._waits = False
        """Whether it has been said that there is no log yet."""

    def follow(self) -> None:
        """Return after the whole log.

        :raises LogError: why there is no more of it.
        """
        while True:
            try:
                with self._connect() as response:
                    self._copy(response)
            except _Again as again:
                self._pause(again)
            else:
                self._note("this was the whole log")
                return

    def _pause(self, again: _Again) -> None:
        self._tries += 1
        self._lost_tries += again.lost
        if self._tries > TRIES or self._lost_tries > LOST_TRIES:
            broken_off = f", and the log broke off after {self._offset} bytes" if self._offset else ""
            raise LogError(f"{again}; {self._tries - 1} more attempts have not helped{broken_off}")
        if again.after_seconds is not None:
            seconds = min(again.after_seconds, LONGEST_RETRY_AFTER_SECONDS) + self._chance()
        else:
            longest = min(self._pause_seconds * 2 ** (self._tries - 1), LONGEST_PAUSE_SECONDS)
            seconds = longest * (0.5 + self._chance() / 2)
        self._note(f"{again}; trying again in {seconds:.1f} s")
        self._sleep(seconds)

    # -- a connection

    def _connect(self) -> HTTPResponse:
        if self._url is not None:
            try:
                return self._open(self._url)
            except _NoSuchUrl:  # which was there before
                raise _Again("something else answers in the place of the server") from None
            except _NoSuchBuild as error:  # or the scheduler cannot say
                raise _Again(str(error), lost=True) from None
        for root in self._build.roots:
            with contextlib.suppress(_NoSuchUrl):
                return self._find(root)
        raise LogError(
            f"{self._build.server} has no such URL of a log ({self._build.roots[0]}/tenants/.../log): it is not "
            "zuul-rest (upstream's zuul-web is not), or has no live logs yet"
        )

    def _find(self, root: str) -> HTTPResponse:
        """The log, in whichever tenant it is."""
        build = self._build
        why = f"no tenant of {build.server} runs a build {build.uuid}"
        for tenant in self._tenants(root) if build.tenant is None else [build.tenant]:
            url = log_url(root, tenant, build.uuid)
            try:
                response = self._open(url)
            except _NoSuchBuild as error:
                if build.tenant is not None:
                    why = f"tenant {tenant} of {build.server}: {error}"
            else:
                self._url = url
                return response
        raise LogError(why)

    def _tenants(self, root: str) -> list[str]:
        try:
            answer = self._request(f"{root}/tenants?fields=name&limit=2000", "application/json")
        except _NoSuchBuild:  # but another 404 of ours
            raise _NoSuchUrl from None
        with answer as response:
            try:
                return [tenant["name"] for tenant in json.loads(response.read(ANSWER_BYTES))]
            except (OSError, HTTPException) as error:
                raise _Again(_reason(error)) from error
            except (ValueError, TypeError, KeyError):
                raise _NoSuchUrl from None

    def _open(self, url: str) -> HTTPResponse:
        resume = {"Last-Event-ID": str(self._offset)} if self._offset else {}
        response = self._request(url, "text/event-stream", resume)
        if response.headers.get_content_type() != "text/event-stream":
            response.close()
            raise _NoSuchUrl
        return response

    def _request(self, url: str, accept: str, more: dict[str, str] | None = None) -> HTTPResponse:
        fields = {"Accept": accept, "User-Agent": "zuul-rest tail", **(more or {})}
        request = Request(url, headers=fields)
        if self._token is not None:
            # Not to where a server may redirect us, which may be anybody's.
            request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        try:
            response: HTTPResponse = urlopen(request, timeout=self._silence_seconds)
        except HTTPError as error:
            with error:
                raise _refusal(error) from None
        except URLError as error:  # it could not be sent
            why = f"{self._build.server} cannot be reached: {_reason(error.reason)}"
            raise LogError(why) if self._url is None else _Again(why) from error
        except (OSError, HTTPException, UnicodeError) as error:
            if self._url is None and not isinstance(error, OSError):
                raise LogError(f"{self._build.server} is no HTTP server: {_reason(error)}") from error
            raise _Again(_reason(error)) from error
        return response

    # -- what comes

    def _copy(self, response: HTTPResponse) -> None:
        """Return at the end of the log."""
        parser = EventParser()
        while True:
            try:
                chunk = response.read1(1 << 16)
            except (OSError, HTTPException) as error:
                raise _Again(_reason(error)) from error
            if not chunk:
                raise _Again("the connection was cut")
            events = parser.feed(chunk)
            if parser.retry_seconds is not None:
                self._pause_seconds = parser.retry_seconds
            if self._take(events):
                return
            if chunk.startswith(b":") and not self._offset and not self._waits:  # a ping, after 20 seconds
                self._waits = True
                self._note("waiting for the log to begin")

    def _take(self, events: list[Event]) -> bool:
        """Write the text of some events. Returns whether the log has ended."""
        try:
            for event in events:
                if event.type in ("message", "json"):
                    self._write(event)
                elif event.type == "end":
                    return True
                elif event.type == "error":
                    raise _failure(event, self._offset)
        finally:
            self._out.flush()
        self._tries = 0
        return False

    def _write(self, event: Event) -> None:
        try:
            text = json.loads(event.data) if event.type == "json" else event.data
        except ValueError:
            text = None
        data = text.encode(errors="replace") if isinstance(text, str) else None
        if data is None or event.id not in ("", str(self._offset + len(data))):
            raise _Again("the server sends something else than the log goes on with", lost=True)
        self._out.write(data)
        self._offset += len(data)
        self._tries = self._lost_tries = 0
        if data:
            self.in_line = not data.endswith(b"\n")


def _refusal(error: HTTPError) -> Exception:
    try:
        words = str(json.loads(error.read(1 << 16))["faultstring"])
    except (OSError, HTTPException, ValueError, TypeError, KeyError):  # not in the shape of ours
        words = ""
    if error.code == 404:
        return _NoSuchBuild(words) if words else _NoSuchUrl()
    reason = f"the server answers {error.code} {error.reason}" + (f": {words}" if words else "")
    if error.code == 401:
        reason += " (--token or $ZUUL_REST_TOKEN gives it a token)"
    if error.code in (408, 425, 429) or error.code >= 500:
        lost = bool(words) and error.code == 502  # our own, for an executor that does not answer
        return _Again(reason, after_seconds=_seconds(error.headers.get("Retry-After")), lost=lost)
    return LogError(reason)


def _seconds(retry_after: str | None) -> float | None:
    """Of a Retry-After field, which has seconds or a date."""
    if retry_after is None:
        return None
    try:
        if retry_after.strip().isdigit():
            return float(retry_after)
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _failure(event: Event, offset: int) -> Exception:
    try:
        ending = json.loads(event.data)
        code, reason = ending["code"], str(ending["reason"])
    except (ValueError, TypeError, KeyError):
        return _Again(f"the server sends an error that makes no sense ({event.data[:100]})", lost=True)
    if code in (GOING_AWAY, TOO_SLOW):
        return _Again(f"the server closes the connection ({reason})")
    sentence = f"the server ends the log with {code} {reason}"
    if code == UNAVAILABLE and (reason == "Remote error" or (offset and reason == "Error with Gearman")):
        return _Again(sentence, lost=True)
    return LogError(sentence + (f", after {offset} bytes of it" if offset else ""))


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "nothing comes any more"
    if isinstance(error, IncompleteRead):
        return "the connection was cut"
    return getattr(error, "strerror", None) or str(error)
