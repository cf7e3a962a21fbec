# SPDX-License-Identifier: Apache-2.0
"""Pecan's hooks: what happens around every controller."""

from __future__ import annotations

import logging

import webob
from pecan.hooks import PecanHook
from webob.exc import HTTPException

from zuul.web import errors
from zuul.web.audit import Audit, Call
from zuul.web.auth import Guard
from zuul.web.expose import Dialect, Exposed
from zuul.web.filters import error_headers

log = logging.getLogger("zuul.web")


class DialectHook(PecanHook):  # type: ignore[misc]
    """What controllers find in the environ: their map's dialect, and the guard, whom to ask about tokens.

    It keeps Pecan out of the choice of a type, too.
    """

    def __init__(self, dialect: Dialect, guard: Guard | None = None) -> None:
        self._dialect = dialect
        self._guard = guard

    def on_route(self, state: object) -> None:
        environ = state.request.environ  # type: ignore[attr-defined]
        environ["zuul.dialect"] = self._dialect
        environ["zuul.guard"] = self._guard
        # expose.py looks at it. To Pecan it would be a reason for a 406, which neither we nor upstream have.
        environ["zuul.accept"] = environ.pop("HTTP_ACCEPT", "")


class ErrorsHook(PecanHook):  # type: ignore[misc]
    """Everything that goes wrong inside Pecan leaves in the one JSON shape."""

    def on_error(self, state: object, error: Exception) -> webob.Response:
        request: webob.Request = state.request  # type: ignore[attr-defined]
        identifier = request.environ.get("zuul.request_id", "-")
        if isinstance(error, HTTPException):
            translated = errors.RestError(error.title)
            translated.status, translated.title = error.code, error.title
            error = translated
        elif not isinstance(error, errors.RestError):
            log.error("request %s failed", identifier, exc_info=error)
            error = errors.ServerError(f"this is a defect; the log has it as {identifier}")
        request.environ["zuul.error"] = error
        if error.status >= 500:
            log.warning("request %s: %s", identifier, error.message)
        body = errors.body(error, of_action=_action_of(getattr(state, "controller", None)) is not None)
        return webob.Response(status=f"{error.status} {error.title}", headerlist=error_headers(error, body), body=body)


class AuditHook(PecanHook):  # type: ignore[misc]
    """Has each call written down that acts or tries to, or is refused for the sake of its token."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def after(self, state: object) -> None:
        controller = getattr(state, "controller", None)
        environ = state.request.environ  # type: ignore[attr-defined]
        error: errors.RestError | None = environ.get("zuul.error")
        action = _action(controller, error)
        if action is not None:
            call = Call.of(environ, action, getattr(controller.__self__, "_tenant", None))  # type: ignore[union-attr]
            self._audit.add(call, state.response.status_int, error)  # type: ignore[attr-defined]
        elif error is not None:
            self._audit.add_unread(environ, error)


def _action(controller: object, error: errors.RestError | None) -> str | None:
    """What a call is in the audit; None: nothing."""
    action = _action_of(controller)
    if action is not None:
        return action
    refused = isinstance(error, (errors.Unauthorized, errors.Forbidden))
    return getattr(controller, "action", None) if refused else None


def _action_of(controller: object) -> str | None:
    """What a controller does; None: it only reads."""
    exposed = getattr(controller, "exposed", None)
    return exposed.action if isinstance(exposed, Exposed) else None  # of what is `plain`, it is Pecan's True
