# SPDX-License-Identifier: Apache-2.0
"""Streams, as far as a WSGI application has a part in them: what it says of them, and the gate in front of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
from contract import contract
from functional.routes import EXAMPLES, all_routes
from twisted.internet.defer import maybeDeferred
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers
from webob import Request, Response

from zuul.web.application import all_ours, with_all_options
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.controllers.streams import PASSED, StreamsController
from zuul.web.filters import RequestFilter
from zuul.web.openapi.streams import ENDINGS
from zuul.web.streaming import endings
from zuul.web.streaming.gate import gate_of
from zuul.web.streaming.service import Streaming

STREAMS = [described for described in all_routes() if described.is_stream]
LOG = EXAMPLES["/v1/tenants/{tenant}/builds/{uuid}/log"]

every_stream = pytest.mark.parametrize("described", STREAMS, ids=[described.operation_id for described in STREAMS])


# -- without a server that has them


@every_stream
def test_get_is_421(app, refusal, described):
    body = refusal(app.get(EXAMPLES[described.template], status="*"), 421)

    assert "zuul-rest streamer" in body["faultstring"]


@every_stream
def test_head_is_421_without_a_body(app, described):
    response = app.head(EXAMPLES[described.template], status="*")

    assert (response.status_int, response.body) == (421, b"")


@every_stream
def test_an_upgrade_is_421(app, refusal, described):
    fields = {"Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw=="}

    refusal(app.get(EXAMPLES[described.template], headers=fields, status="*"), 421)


@every_stream
def test_options_tells_the_methods(app, described):
    response = app.options(EXAMPLES[described.template])

    assert (response.status_int, response.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")


@every_stream
def test_another_method_is_405(app, refusal, described):
    response = app.post(EXAMPLES[described.template], status="*")

    refusal(response, 405)
    assert response.headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("query", ["follow=true&start=1", "last_event_id=1-1&state=false", "x=1&x=2"])
def test_the_query_is_the_streamers_matter(app, query):
    assert app.get(f"{LOG}?{query}", status="*").status_int == 421


def test_api_v1_has_them_too(app):
    assert app.get(f"/api{LOG}", status="*").status_int == 421


def test_that_of_one_tenant_is_at_the_root_of_the_api(make_app, functions):
    app = make_app(LocalTransport(functions), "whitelabel_tenant = example\n")

    assert app.get("/api/console-stream", status="*").status_int == 421


@pytest.mark.parametrize("path", ["/console-stream", "/example/console-stream", "/nope/console-stream"])
def test_the_legacy_ones_are_no_pages_of_a_dashboard(make_app, functions, tmp_path, refusal, path):
    (tmp_path / "index.html").write_text("a dashboard")

    def with_pages(services):
        web = replace(services.settings.web, static_path=str(tmp_path))
        return replace(services, settings=replace(services.settings, web=web))

    app = make_app(LocalTransport(functions), alter=with_pages)

    assert "a dashboard" in app.get("/example/builds", headers={"Accept": "text/html"}).text
    refusal(app.get(path, headers={"Accept": "text/html"}, status="*"), 421)


@pytest.mark.parametrize("path", ["/v1/tenants/example/builds/1", "/v1/tenants/example/builds/1/log/x", "/a/b/events"])
def test_what_is_beside_them_is_not_there(app, path):
    assert app.get(path, status="*").status_int == 404


def test_the_directory_has_them(app):
    links = {link["href"]: link for link in app.get("/v1").json}

    for described in STREAMS:
        if described.template.startswith("/v1"):
            title = described.operation["summary"]
            assert links[described.template] == {"href": described.template, "templated": True, "title": title}


# -- the document


def test_the_document_describes_all_kinds():
    kinds = {described.route.controller.__name__ for described in STREAMS}

    assert kinds == {name for name in vars(StreamsController) if not name.startswith("_")}


def test_every_ending_is_told():
    codes = {getattr(endings, name) for name in vars(endings) if isinstance(getattr(endings, name), int)}

    assert codes == {code for code, _ in ENDINGS} - {1009}


@pytest.fixture
def streaming():
    """The streams of a server that has not started."""
    services = with_all_options()
    yield Streaming(services.settings, services.scheduler, services.snapshots, services.guard, Clock())
    services.close()


@every_stream
def test_what_is_described_is_streamed(streaming, described):
    assert streaming.find(EXAMPLES[described.template].encode()) is not None


def test_what_is_streamed_is_described(streaming):
    """Of all paths that are made of such words. Those below /api/v1 are those below /v1."""
    words = ("api", "v1", "tenant", "tenants", "builds", "x")
    streams = {described.template for described in STREAMS}
    found = set()
    for count in range(6):
        for segments in product(words, repeat=count):
            for last in ("console-stream", "log", "events"):
                path = "/".join(["", *segments, last])
                if segments[:2] != ("api", "v1") and streaming.find(path.encode()) is not None:
                    found.add(contract().operation(path).template)

    assert found - streams == set()


def test_nothing_else_is_streamed(streaming):
    described = [one for one in all_routes() if not one.is_stream]

    assert [one.template for one in described if streaming.find(EXAMPLES[one.template].encode())] == []


# -- the gate


class Recorder:
    """A filter of an operator's, which may refuse, before it asks what is behind it or after."""

    def __init__(self, inner, before=None, after=None):
        self.inner, self.before, self.after = inner, before, after
        self.seen = []

    def __call__(self, environ, start_response):
        self.seen.append(dict(environ))
        if self.before is not None:
            return self.before(environ, start_response)
        if self.after is not None:
            list(self.inner(environ, lambda *_: None))
            return self.after(environ, start_response)
        return self.inner(environ, start_response)


class StreamRequest:
    """A request as twisted's server has it, as far as the gate looks at it; keeps what it is answered with."""

    def __init__(self, uri, **fields):
        self.uri = uri
        self.requestHeaders = Headers({name.replace("_", "-"): [value] for name, value in fields.items()})
        self.responseHeaders = Headers()
        self.code, self.body, self.finished = None, b"", False

    def getClientAddress(self):
        return SimpleNamespace(host="192.0.2.7")

    def setResponseCode(self, code, title):
        self.code, self.title = code, title

    def write(self, data):
        self.body += data

    def finish(self):
        self.finished = True


@pytest.fixture
def ask(app):
    """Asks the gate of the application with a filter around it; gives the result and the request."""

    def ask(request, path=LOG, **refusing):
        recorder = Recorder(app.app, **refusing)
        results = []
        gate_of(recorder, maybeDeferred)(request, path).addBoth(results.append)
        return results[0], recorder.seen[0]

    return ask


@every_stream
def test_a_list_is_told_that_nobody_objects(app, described):
    passed = []
    request = Request.blank(EXAMPLES[described.template], environ={PASSED: passed})

    response = request.get_response(app.app)

    assert (response.status_int, response.body, passed) == (204, b"", [True])


def test_who_is_not_refused_passes_and_nothing_is_answered_yet(ask):
    request = StreamRequest(b"/v1/x/log")

    passed, _ = ask(request)

    assert (passed, request.code, request.body, request.finished) == (True, None, b"", False)


def test_filters_see_the_request(ask):
    request = StreamRequest(
        b"/console-stream?start=1&a=%20b", authorization="Bearer x", cookie="a=1; b=2", content_length="5"
    )

    _, environ = ask(request, "/v1/tenants/a%2Fb/console-stream")

    assert environ["REQUEST_METHOD"] == "GET"
    assert environ["PATH_INFO"] == unquote("/v1/tenants/a%2Fb/console-stream")
    assert environ["QUERY_STRING"] == "start=1&a=%20b"
    assert environ["REMOTE_ADDR"] == "192.0.2.7"
    assert (environ["HTTP_AUTHORIZATION"], environ["HTTP_COOKIE"]) == ("Bearer x", "a=1; b=2")
    assert "CONTENT_LENGTH" not in environ or environ["CONTENT_LENGTH"] == "0"
    assert environ["wsgi.input"].read() == b""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_refusal_is_the_filters_answer_whenever_it_comes(ask, moment):
    request = StreamRequest(b"/v1/x/log")
    refusing = Response(status=401, body=b"who are you?", headerlist=[("WWW-Authenticate", "Basic"), ("X-Two", "1")])

    passed, _ = ask(request, **{moment: refusing})

    assert passed is False
    assert (request.code, request.title, request.body, request.finished) == (
        401,
        b"Unauthorized",
        b"who are you?",
        True,
    )
    assert request.responseHeaders.getRawHeaders("www-authenticate") == ["Basic"]


def test_a_filter_that_fails_lets_nobody_pass(ask):
    def fail(environ, start_response):
        raise OSError("no database")

    request = StreamRequest(b"/v1/x/log")

    failure, _ = ask(request, before=fail)

    assert failure.check(OSError) and not request.finished


def test_where_all_filters_are_ours_nobody_is_asked(app):
    assert all_ours(app.app)
    assert not all_ours(Recorder(app.app))
    assert not all_ours(RequestFilter(Recorder(app.app)))
