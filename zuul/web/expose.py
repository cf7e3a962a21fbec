# SPDX-License-Identifier: Apache-2.0
"""What a controller method takes and returns, declared with WSME's types. Only this module knows WSME's decorators.

`@expose(result, *arguments)` above a method `f(self, ...)` makes a Pecan controller of it. The first
arguments come from the path, in order; the others are query parameters by name. With `body=TYPE` the last
one is what the client sends, as bodies.py reads it; with `query=TYPE` it is what the parameters ask for, as
queries.py reads them. A method returns

    a value of the declared type     or plain dicts and lists in a `Document`
    a `Reply`                        bytes of the scheduler's, which the type describes
    a `Snapshot`                     the same of a status, with all its header fields
    a `Listing`                      a page that a database has chosen

What becomes of it is a matter of the map that the URL is in (its `Dialect`): below /api a reply goes out as it came,
below /v1 it has what its type declares, in JSON or XML. In both, collections can be paged, sorted and filtered, and
attributes chosen (collections.py). All answers to GET carry an entity tag, answer `If-None-Match`, and are compressed
on demand. They are to be revalidated each time, unless the controller has a `cache_control` of its own. Other methods
have answers that nobody keeps: JSON as it is declared, or 204 where a method gives nothing (`@expose(None)`).
"""

from __future__ import annotations

import functools
import inspect
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pecan
import webob
import webob.multidict
import wsme
import wsme.rest.args
import wsme.rest.json
import wsme.types
from pecan.util import _cfg
from webob.acceptparse import create_accept_header
from wsme.api import FunctionDefinition
from wsme.exc import ClientSideError

from zuul.web import bodies, queries
from zuul.web.auth import ACTIONS, Guard
from zuul.web.backends.replies import Document, Listing, Reply, as_declared
from zuul.web.collections import ATTRIBUTE_PARAMETERS, DEFAULT_LIMIT, Choice, Collection, headers_of
from zuul.web.errors import BadReply, BadRequest
from zuul.web.filters import VARY_ACCEPT, wants_page
from zuul.web.negotiation import accepts_gzip, both_tags, holds
from zuul.web.rendering import render_json, render_xml
from zuul.web.renderings import Rendering, Renderings
from zuul.web.resources.base import Body, Query
from zuul.web.snapshots import Snapshot, respond
from zuul.web.urls import Controller, not_here

Forms = Mapping[str, Callable[[Any], bytes]]

JSON = "application/json"
XML = "application/xml"
COMPRESS_FROM_BYTES = 1024


@dataclass(frozen=True)
class Dialect:
    """How one URL map speaks. Requests carry theirs as `zuul.dialect` in their environ."""

    name: str
    typed: bool
    """Whether what the scheduler sends beyond the declared type is left out."""
    xml: bool
    """Whether there is XML for who prefers it."""
    default_limit: int | None
    """Rows of a collection where the client sets no limit; None: all."""
    expires: bool = False
    """Whether a status has the field of that name."""


API = Dialect("api", typed=False, xml=False, default_limit=None)
LEGACY = replace(API, expires=True)
V1 = Dialect("v1", typed=True, xml=True, default_limit=DEFAULT_LIMIT)

_renderings = Renderings()
"""Of all applications in this process."""


class Exposed:
    """What `expose` was told about a method, for those who describe or call it.

    :param results: the type of what it sends, by dialect; None: nothing.
    :param body: the type of what it is sent.
    :param query: the type of what the parameters ask for, where that is no matter of the type of a row.
    :param action: what it does, for the audit; None: it only reads.
    :param forms: the types of content to choose from, where that is not JSON and XML.
    """

    def __init__(
        self,
        definition: Any,
        results: dict[str, Any],
        content_type: str,
        path_names: list[str],
        body: type[Body] | None,
        query: type[Query] | None,
        action: str | None,
        forms: Forms | None,
    ) -> None:
        self.definition = definition
        self.forms = forms
        self.body = body
        self.query = query
        self.action = action
        self.content_type = content_type
        self.path_names = path_names
        taken = [argument.name for argument in definition.arguments]
        paged_elsewhere = query is not None
        self._collections = {
            name: Collection(None if forms else datatype, taken, paged_elsewhere) for name, datatype in results.items()
        }
        self._results = results
        self.query_arguments = [argument for argument in definition.arguments if argument.name not in path_names]

    def result(self, dialect: Dialect) -> Any:
        """The type of what is sent."""
        return self._results[dialect.name]

    def collection(self, dialect: Dialect) -> Collection:
        """The parameters that the type brings along."""
        return self._collections[dialect.name]


def expose(
    result: Any,
    *arguments: Any,
    content_type: str = JSON,
    path: int | None = None,
    in_v1: Any = None,
    body: type[Body] | None = None,
    query: type[Query] | None = None,
    action: str | None = None,
    forms: Forms | None = None,
    public: bool = False,
) -> Callable[[Controller], Controller]:
    """Declare a controller method.

    :param result: the WSME type of what it returns; a list of one type for an array.
    :param arguments: the WSME types of its arguments.
    :param path: how many of them come from the path; all of them if not said.
    :param public: whether it needs no token even in a protected tenant.
    :param in_v1: another type of what is sent below /v1. What a method returns has the attributes of both.
    :param body: the type of its last argument, which is what the client sends.
    :param query: the type of its last argument, which is what the parameters ask for.
    :param action: what it does, in a word; such calls are in the audit.
    :param forms: what makes bytes of what the method returns, by content type; the first is for who takes any.
    """
    last = [datatype for datatype in (body, query) if datatype is not None]
    if forms is not None:
        content_type = next(iter(forms))
    signature = wsme.signature(in_v1 or result, *arguments, *last)

    def decorate(method: Controller) -> Controller:
        signature(method)
        definition = FunctionDefinition.get(method)
        last_name = definition.arguments.pop().name if last else ""  # not of those that WSME is to read
        definition.resolve_types(wsme.types.registry)
        results = {
            API.name: result and wsme.types.registry.resolve_type(result),
            V1.name: definition.return_type,
        }
        path_names = [argument.name for argument in definition.arguments[:path]]
        exposed = Exposed(definition, results, content_type, path_names, body, query, action, forms)
        wants_identity = "identity" in inspect.signature(method).parameters

        @functools.wraps(method)
        def answer(self: Any, request: webob.Request, response: webob.Response, *from_path: str) -> webob.Response:
            dialect = request.environ.get("zuul.dialect", API)
            _check_reader(self, request, public)
            given, named, choice = _arguments(exposed, dialect, from_path, request)
            if wants_identity:
                named["identity"] = request.environ.get("zuul.identity")
            if body is not None:
                named = {**named, last_name: sent(body, request)}
            if query is not None:
                named = {**named, last_name: _asked(query, request)}
            value = method(self, *given, **named)
            if request.method not in ("GET", "HEAD"):
                return _answer_to_write(exposed.result(dialect), value)
            if forms is not None:
                return _kept_private(request, _response_in_form(request, value, forms))
            varies = dialect.xml and content_type == JSON
            xml = varies and prefers_xml(request.environ.get("zuul.accept", ""))
            if isinstance(value, Snapshot) and not (choice or xml):
                return _kept_private(request, _snapshot_response(request, value, dialect))
            if not isinstance(value, (Reply, Document, Snapshot, Listing)):
                value = Document(functools.partial(wsme.rest.json.tojson, definition.return_type, value))
            headers = [
                ("Vary", "Accept, Accept-Encoding" if varies else "Accept-Encoding"),
                ("Cache-Control", getattr(self, "cache_control", "no-cache")),
            ]
            if isinstance(value, Snapshot):
                headers.append(_age(value))
            elif not isinstance(value, Listing) and value.fresh_until is not None:
                request.environ["zuul.fresh_until"] = value.fresh_until
            if isinstance(value, Listing):
                rendering = _rendering_of_listing(value, exposed, dialect, choice, xml, request)
            else:
                rendering = _rendering(value, exposed, dialect, choice, xml)
            return _kept_private(request, _response(request, rendering, XML if xml else content_type, headers))

        pecan.expose(generic=False)(answer)
        _cfg(answer)["argspec"] = pecan.util.getargspec(_answer_signature)
        answer.exposed = exposed  # type: ignore[attr-defined]
        return answer

    return decorate


def requires(action: str) -> Callable[[Controller], Controller]:
    """Demand a token whose bearer may do something, above `@expose`. Who it is, is `zuul.identity` in the environ.

    The tenant is the controller's `_tenant`; None is any. Without an `[auth]` section there is nothing at the URL.

    :param action: one of `zuul.web.auth.ACTIONS`.
    """
    if action not in ACTIONS:
        raise ValueError(f"{action} is no action: {', '.join(ACTIONS)}")

    def decorate(controller: Controller) -> Controller:
        @functools.wraps(controller)
        def answer(self: Any, request: webob.Request, response: webob.Response, *from_path: str) -> webob.Response:
            guard: Guard | None = request.environ.get("zuul.guard")
            if guard is None or not guard.enabled:
                raise not_here(request)
            tenant = getattr(self, "_tenant", None)
            authorization = request.headers.get("Authorization")
            identity = request.environ["zuul.identity"] = guard.identify(authorization)
            guard.check(identity, action, tenant)
            return controller(self, request, response, *from_path)

        answer.action = action  # type: ignore[attr-defined]
        return answer

    return decorate


def _check_reader(controller: Any, request: webob.Request, public: bool) -> None:
    """A bad token is refused even where none is needed, and a protected tenant takes a good one.

    :raises Unauthorized, Forbidden: they may not read this.
    """
    environ = request.environ
    guard: Guard | None = environ.get("zuul.guard")
    if guard is None or not guard.enabled or "zuul.identity" in environ:
        return
    tenant = None if public else environ.get("zuul.tenant") or getattr(controller, "_tenant", None)
    identity = guard.admit_reader(request.headers.get("Authorization"), tenant)
    if identity is not None:
        environ["zuul.identity"] = identity
        environ["zuul.private"] = guard.protects_any if tenant is None else guard.protects(tenant)


def plain(method: Controller) -> Controller:
    """Declare a controller method that makes its response itself, without types."""
    pecan.expose(generic=False)(method)
    return method


def _answer_signature(self: Any, request: Any, response: Any, *from_path: str) -> None:
    """The arguments as Pecan is to see them: what is left of the path, and no query parameter."""


def sent(body: type[Body], request: webob.Request) -> Body:
    """What the client sends. The audit finds it in the environ, as plain data."""
    found = bodies.read(body, request, request.environ.get("zuul.content_type", ""))
    data = wsme.rest.json.tojson(body, found)
    request.environ["zuul.asked"] = {name: value for name, value in data.items() if value is not None}
    return found


def _answer_to_write(datatype: Any, value: Any) -> webob.Response:
    headers = [("Cache-Control", "no-store")]
    if datatype is None:
        return webob.Response(status=204, headerlist=headers, app_iter=[])
    content = json.dumps(wsme.rest.json.tojson(datatype, value)).encode()
    headers += [("Content-Type", f"{JSON}; charset=utf-8"), ("Content-Length", str(len(content)))]
    return webob.Response(status=200, headerlist=headers, app_iter=[content])


def _arguments(
    exposed: Exposed, dialect: Dialect, from_path: tuple[str, ...], request: webob.Request
) -> tuple[list[Any], dict[str, Any], Choice | None]:
    """What the method is called with, and what is to be done with what it returns; None: nothing."""
    collection = exposed.collection(dialect)
    own = {argument.name: argument for argument in exposed.query_arguments}
    asked = queries.names_in(exposed.query) if exposed.query is not None else ()
    chosen: list[tuple[str, str]] = []
    rest = request.GET if request.environ.get("QUERY_STRING") else {}
    for name, value in rest.items():
        if name in asked:
            continue
        if name in collection.parameters and name not in own:
            chosen.append((name, value))
        elif name not in own:
            # WSME would let the query override the path, and take a parameter __body__ for a body.
            raise BadRequest(f"unknown query parameter: {name}")
        elif not wsme.types.isarray(own[name].datatype) and len(request.GET.getall(name)) > 1:
            raise BadRequest(f"query parameter given more than once: {name}")
    choice = None
    if chosen or (collection.pages and dialect.default_limit is not None):
        choice = collection.choice(chosen, dialect.default_limit)
    mine = webob.multidict.MultiDict((name, value) for name, value in rest.items() if name in own)
    try:
        given, named = wsme.rest.args.get_args(exposed.definition, from_path, {}, mine, None, b"", None)
    except ClientSideError as error:
        raise BadRequest(error.faultstring) from error
    return given, named, choice


def prefers_xml(accept: str) -> bool:
    """Whether an Accept field names XML, and JSON no higher. Browsers that load a page name it too and get JSON."""
    if "xml" not in accept.lower() or wants_page(accept):
        return False
    offers = create_accept_header(accept).acceptable_offers([JSON, XML, "text/xml"])
    return bool(offers) and offers[0][0] != JSON


def _rendering(
    source: Reply | Document | Snapshot, exposed: Exposed, dialect: Dialect, choice: Choice | None, xml: bool
) -> Rendering:
    """The bytes to send, and the header fields that tell of the rest of a collection."""
    collection = exposed.collection(dialect)
    as_it_came = not dialect.typed or exposed.content_type != JSON
    if isinstance(source, Reply) and as_it_came and choice is None:
        total = [("X-Total", str(len(source.data)))] if collection.is_array and isinstance(source.data, list) else []
        return Rendering(source, total)

    @as_declared()
    def make() -> Rendering:
        data = source.document if isinstance(source, Snapshot) else source.data
        headers: list[tuple[str, str]] = []
        if collection.pages:
            page = collection.page(_rows(data), choice or Choice(""))
            data, headers = page.rows, page.headers
        elif collection.is_object and not isinstance(data, dict):
            raise BadReply("the scheduler's answer is no JSON object")
        render = render_xml if xml else render_json
        return Rendering(Reply(render(exposed.result(dialect), data, choice.tree if choice else None)), headers)

    version = source.version if isinstance(source, Document) else source.etag
    if version is None:
        return make()
    return _renderings.get((version, exposed, dialect, choice.key if choice else "", xml), make)


def _rendering_of_listing(
    listing: Listing, exposed: Exposed, dialect: Dialect, choice: Choice | None, xml: bool, request: webob.Request
) -> Rendering:
    render = render_xml if xml else render_json
    body = render(exposed.result(dialect), listing.rows, choice.tree if choice else None)
    return Rendering(Reply(body), headers_of(listing, list(request.GET.items())))


def _asked(query: type[Query], request: webob.Request) -> Query:
    if not request.environ.get("QUERY_STRING"):
        return queries.read(query, ())
    return queries.read(query, [(name, text) for name, text in request.GET.items() if name not in ATTRIBUTE_PARAMETERS])


def _rows(data: Any) -> list[dict[str, Any]]:
    if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
        raise BadReply("the scheduler's answer is no JSON list of objects")
    return data


def _response(
    request: webob.Request, rendering: Rendering, content_type: str, more_headers: list[tuple[str, str]]
) -> webob.Response:
    reply = rendering.reply
    compress = len(reply.body) >= COMPRESS_FROM_BYTES and accepts_gzip(request.headers.get("Accept-Encoding", ""))
    tags = both_tags(reply.etag)
    headers = [("ETag", tags[compress]), *more_headers, *rendering.headers]
    if holds(request.headers.get("If-None-Match"), *tags):
        return webob.Response(status=304, headerlist=headers, app_iter=[b""])
    body = reply.gzipped if compress else reply.body
    headers += [("Content-Type", f"{content_type}; charset=utf-8"), ("Content-Length", str(len(body)))]
    if compress:
        headers.append(("Content-Encoding", "gzip"))
    return webob.Response(status=200, headerlist=headers, app_iter=[body])


def _response_in_form(request: webob.Request, value: Any, forms: Forms) -> webob.Response:
    """In the form that the client likes best; in the first of them, if it likes none."""
    offers = create_accept_header(request.environ.get("zuul.accept") or None).acceptable_offers(list(forms))
    content_type = offers[0][0] if offers else next(iter(forms))
    headers = [("Vary", "Accept, Accept-Encoding"), ("Cache-Control", "no-cache")]
    return _response(request, Rendering(Reply(forms[content_type](value)), []), content_type, headers)


def _snapshot_response(request: webob.Request, snapshot: Snapshot, dialect: Dialect) -> webob.Response:
    fields = request.headers
    answer = respond(
        snapshot, fields.get("Accept-Encoding", ""), fields.get("If-None-Match"), fields.get("If-Modified-Since")
    )
    headers = [*answer.headers, _age(snapshot)]
    if dialect.expires:
        headers.append(snapshot.expires)
    if dialect.xml:
        headers.append(VARY_ACCEPT)
    return webob.Response(status=answer.status, headerlist=headers, app_iter=[answer.body])


def _kept_private(request: webob.Request, response: webob.Response) -> webob.Response:
    """What only some may read is kept by no cache that others share."""
    if request.environ.get("zuul.private"):
        response.headers["Cache-Control"] = "private, no-cache"
    return response


def _age(snapshot: Snapshot) -> tuple[str, str]:
    return ("Age", str(max(0, int(time.monotonic() - snapshot.fetched))))
