# SPDX-License-Identifier: Apache-2.0
"""Pecan's hooks: what happens around every controller."""

from __future__ import annotations

import logging

import webob
from pecan.hooks import PecanHook
from webob.exc import HTTPException

from zuul.web import errors
from zuul.web.filters import error_headers

log = logging.getLogger("zuul.web")


class ErrorsHook(PecanHook):  # type: ignore[misc]
    """Everything that goes wrong inside Pecan leaves in the one JSON shape."""

    def on_route(self, state: object) -> None:
        """Each URL has one representation, so no Accept field is a reason for Pecan's 406. Upstream has none."""
        del state.request.accept  # type: ignore[attr-defined]

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
        if error.status >= 500:
            log.warning("request %s: %s", identifier, error.message)
        body = errors.body(error)
        return webob.Response(status=f"{error.status} {error.title}", headerlist=error_headers(error, body), body=body)
