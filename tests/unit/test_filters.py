# SPDX-License-Identifier: Apache-2.0
"""Which URL is the status of which tenant, and filters that are asked past WSGI."""

from __future__ import annotations

import logging

import pytest

from zuul.web import errors
from zuul.web.filters import (
    MAX_HEADER_BYTES,
    MAX_URL_BYTES,
    MOST_UNCHANGED,
    UNCHANGED_SECONDS,
    GuardFilter,
    RequestFilter,
    SnapshotFilter,
    StatusUrls,
)
from zuul.web.snapshots import Snapshots

HTML = "text/html,*/*;q=0.8"
NOT_A_STATUS = [
    "",
    "/",
    "status",
    "/api",
    "/api/",
    "/api/status.json",
    "/api/tenant/status",
    "/api/tenant//status",
    "/api/tenant/a/status.json",
    "/api/tenant/a/b/status",
    "/api/tenant/a/status/",
    "/api/tenant/a\0/status",
    "/api/tenant/\xff/status",
    "/api/tenants/a/status",
    "/api/x/status",
    "/a/b/status",
    "/t/a/status",
    "/t/a/status.json",
    "//status",
    "//a/status",
    "/xstatus",
    "/status/",
    "/status.jsonx",
    "/a/xstatus",
    "/a\0/status",
    "/a/jobs.json",
    "/" + "a" * MAX_URL_BYTES + "/status",
    "/api/tenant/" + "a" * MAX_URL_BYTES + "/status",
]


class Names:
    """Every name without a slash is a tenant at hand, but `unknown`; those of folders are others'."""

    def __init__(self, has_pages=False, default="one"):
        self.has_pages = has_pages
        self.default = default

    def belongs_to_others(self, first_segment):
        return first_segment in ("static", "v1", "api")

    def default_tenant_at_hand(self):
        return self.default

    def is_tenant_at_hand(self, name):
        return name not in ("unknown", "")


@pytest.mark.parametrize("legacy", [None, Names(), Names(has_pages=True)], ids=["none", "legacy", "and pages"])
@pytest.mark.parametrize("accept", ["", HTML])
@pytest.mark.parametrize(
    "path, tenant",
    [
        ("/api/tenant/a/status", "a"),
        ("/api/tenant/api/status", "api"),
        ("/api/tenant/status/status", "status"),
        ("/api/tenant/gro\xc3\x9f/status", "groß"),
    ],
)
def test_below_api_nothing_else_matters(legacy, accept, path, tenant):
    urls = StatusUrls(None, legacy)

    assert urls.tenant(path, accept) == tenant
    assert not urls.varies_by_accept(path)


@pytest.mark.parametrize("accept", ["", "*/*", HTML, "application/json"])
@pytest.mark.parametrize(
    "path, tenant",
    [
        ("/v1/tenants/a/status", "a"),
        ("/v1/tenants/tenants/status", "tenants"),
        ("/api/v1/tenants/gro\xc3\x9f/status", "groß"),
        ("/v1/tenants/status", None),
        ("/v1/tenants//status", None),
        ("/v1/tenants/a/b/status", None),
        ("/v1/tenants/a/status.json", None),
        ("/v1/tenants/\xff/status", None),
        ("/v1/status", None),
    ],
)
def test_below_v1_a_status_is_json_for_all_but_those_who_name_xml(path, tenant, accept):
    urls = StatusUrls("white", Names(), frozenset(["v1", "api"]), ("/v1", "/api/v1"))

    assert urls.tenant(path, accept) == tenant
    assert urls.tenant(path, "application/XML") is None


def test_the_status_below_v1_varies_by_accept_and_is_nothing_where_v1_is_not_mounted():
    path = "/v1/tenants/a/status"

    assert StatusUrls(v1=("/v1",)).varies_by_accept(path)
    assert StatusUrls().tenant(path) is None
    assert StatusUrls(v1=("/v1",)).tenant("/api/v1/tenants/a/status") is None


@pytest.mark.parametrize("path", NOT_A_STATUS)
def test_what_is_no_status(path):
    assert StatusUrls("white", Names()).tenant(path) is None
    assert StatusUrls(None, None).tenant(path) is None


@pytest.mark.parametrize("accept", ["", HTML])
def test_a_whitelabel_tenant_is_that_of_api_status(accept):
    assert StatusUrls("groß").tenant("/api/status", accept) == "groß"
    assert StatusUrls(None, Names()).tenant("/api/status", accept) is None


@pytest.mark.parametrize("path", ["/status", "/status.json", "/a/status", "/a/status.json"])
def test_without_legacy_urls_there_are_none(path):
    assert StatusUrls("white").tenant(path) is None


@pytest.mark.parametrize(
    "path, tenant",
    [
        ("/status", "one"),
        ("/status.json", "one"),
        ("/a/status", "a"),
        ("/a/status.json", "a"),
        ("/t/status", "t"),
        ("/status/status.json", "status"),
        ("/unknown/status", None),
        ("/static/status.json", None),
        ("/v1/status", None),
        ("/mounted/status", None),
    ],
)
def test_legacy_urls(path, tenant):
    urls = StatusUrls("white", Names(), frozenset(["mounted"]))

    assert urls.tenant(path) == urls.tenant(path, HTML) == tenant
    assert not urls.varies_by_accept(path)


def test_without_a_tenant_at_hand_it_is_for_the_long_way():
    assert StatusUrls(None, Names(default=None)).tenant("/status.json") is None


@pytest.mark.parametrize("accept", [HTML, "TEXT/HTML", "application/xhtml+xml, text/html"])
def test_where_a_dashboard_has_a_page_browsers_get_that(accept):
    urls = StatusUrls(None, Names(has_pages=True))

    for path in ("/status", "/a/status"):
        assert urls.tenant(path, accept) is None
        assert urls.varies_by_accept(path)
    for path in ("/status.json", "/a/status.json"):
        assert urls.tenant(path, accept)
        assert not urls.varies_by_accept(path)


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/plain"])
def test_and_scripts_the_status(accept):
    urls = StatusUrls(None, Names(has_pages=True))

    assert urls.tenant("/status", accept) == "one"
    assert urls.tenant("/a/status", accept) == "a"


# -- a RequestFilter right before the guard and the snapshots asks them directly; with anybody else's filter
# -- between them it is WSGI all the way, and that must make no difference

BODY = b'{"pipelines": []}'
MAX_BODY_BYTES = 100


def fetch(tenant):
    if tenant == "unknown":
        raise errors.NotFound("there is no such tenant")
    return BODY


def behind(environ, start_response):
    if environ["PATH_INFO"] == "/refused":
        raise errors.BadRequest("no")
    if environ["PATH_INFO"] == "/defect":
        raise RuntimeError("a defect")
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "6")])
    return [b"behind"]


def somebody_elses(inner):
    return lambda environ, start_response: inner(environ, start_response)


@pytest.fixture
def snapshots():
    snapshots = Snapshots(fetch, stale_seconds=30, clock=lambda: 100.0)
    yield snapshots
    snapshots.close()


@pytest.fixture
def direct(snapshots):
    return RequestFilter(GuardFilter(SnapshotFilter(behind, snapshots), MAX_BODY_BYTES))


@pytest.fixture
def nested(snapshots):
    inner = somebody_elses(SnapshotFilter(somebody_elses(behind), snapshots))
    return RequestFilter(somebody_elses(GuardFilter(inner, MAX_BODY_BYTES)))


def ask(application, caplog, **environ):
    """Status, header fields, body and the lines of the log but for the time that it took."""
    answer = []
    caplog.clear()
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "REMOTE_ADDR": "::1", "wsgi.version": (1, 0), **environ}
    body = application({"HTTP_X_REQUEST_ID": "me", **environ}, lambda *started: answer.extend(started))
    return (*answer, b"".join(body), [message.rpartition(" ")[0] for message in caplog.messages])


STATUS = "/api/tenant/example/status"


@pytest.mark.parametrize(
    "code, environ",
    [
        ("200", {"PATH_INFO": STATUS}),
        ("200", {"PATH_INFO": STATUS, "REQUEST_METHOD": "HEAD"}),
        ("200", {"PATH_INFO": STATUS, "HTTP_ACCEPT_ENCODING": "gzip"}),
        ("200", {"PATH_INFO": STATUS, "HTTP_IF_NONE_MATCH": '"another"'}),
        ("304", {"PATH_INFO": STATUS, "HTTP_IF_NONE_MATCH": "*"}),
        ("304", {"PATH_INFO": STATUS, "HTTP_IF_MODIFIED_SINCE": "Thu, 01 Jan 2099 00:00:00 GMT"}),
        ("404", {"PATH_INFO": "/api/tenant/unknown/status"}),
        ("404", {"PATH_INFO": "/api/tenant/unknown/status", "REQUEST_METHOD": "HEAD"}),
        ("200", {"PATH_INFO": STATUS, "QUERY_STRING": "a=b"}),
        ("200", {"PATH_INFO": STATUS, "REQUEST_METHOD": "POST"}),
        ("200", {"PATH_INFO": "/elsewhere"}),
        ("400", {"PATH_INFO": "/refused"}),
        ("500", {"PATH_INFO": "/defect"}),
        ("400", {"PATH_INFO": "no-slash"}),
        ("400", {"PATH_INFO": "/api/tenant/\xff/status"}),
        ("400", {"PATH_INFO": "/nul\0"}),
        ("400", {"PATH_INFO": STATUS, "QUERY_STRING": "%ff"}),
        ("414", {"PATH_INFO": "/" + "a" * MAX_URL_BYTES}),
        ("200", {"PATH_INFO": "/" + "a" * (MAX_URL_BYTES - 1)}),
        ("431", {"PATH_INFO": STATUS, "HTTP_X": "a" * MAX_HEADER_BYTES}),
        ("200", {"PATH_INFO": STATUS, "HTTP_X": "a" * (MAX_HEADER_BYTES - len("me"))}),
        ("200", {"PATH_INFO": STATUS, "NO_FIELD_OF_THE_CLIENT": "a" * MAX_HEADER_BYTES}),
        ("413", {"PATH_INFO": STATUS, "CONTENT_LENGTH": "101"}),
        ("400", {"PATH_INFO": STATUS, "CONTENT_LENGTH": "-1"}),
        ("200", {"PATH_INFO": STATUS, "CONTENT_LENGTH": ""}),
    ],
)
@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_asked_directly_or_by_wsgi_the_answer_is_the_same(direct, nested, caplog, code, environ, level):
    caplog.set_level(level, "zuul.web")

    answer = ask(direct, caplog, **environ)

    assert answer == ask(nested, caplog, **environ)
    status, headers, body, _ = answer
    assert status[:3] == code
    assert headers.count(("X-Request-Id", "me")) == 1
    assert bool(body) == (environ.get("REQUEST_METHOD") != "HEAD" and code != "304")
    path = environ["PATH_INFO"].encode("unicode_escape").decode()
    seen = [line for line in caplog.messages if line.startswith(f'me ::1 "{environ.get("REQUEST_METHOD", "GET")} ')]
    assert len(seen) == (level == logging.INFO) and all(path[:2000] in line for line in seen)


def test_answers_do_not_gather_the_fields_of_other_requests(direct, caplog):
    first, second = (ask(direct, caplog, PATH_INFO=STATUS, HTTP_IF_NONE_MATCH="*") for _ in range(2))
    assert first == second


def test_an_application_learns_the_request_id(direct, nested, caplog):
    for application in (direct, nested):
        environ = {"HTTP_X_REQUEST_ID": "mine", "REQUEST_METHOD": "GET", "PATH_INFO": "/"}
        application(environ, lambda *_: None)
        assert environ["zuul.request_id"] == "mine"


# -- what has not changed is known for a moment


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Counted(SnapshotFilter):
    """Counts how often it is asked."""

    asked = 0

    def answer(self, environ):
        self.asked += 1
        return super().answer(environ)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def counted(snapshots):
    return Counted(behind, snapshots)


@pytest.fixture
def remembering(counted, clock):
    return RequestFilter(GuardFilter(counted, MAX_BODY_BYTES), log_requests=False, clock=clock)


def polled(**environ):
    return {"PATH_INFO": STATUS, "HTTP_IF_NONE_MATCH": "*", **environ}


def test_that_a_status_has_not_changed_is_known_for_a_moment(remembering, counted, clock, caplog):
    first = ask(remembering, caplog, **polled())
    again = ask(remembering, caplog, **polled(HTTP_X_REQUEST_ID="another"))

    assert counted.asked == 1
    assert first[0] == again[0] == "304 Not Modified"
    assert [field for field in again[1] if field[0] != "X-Request-Id"] == [
        field for field in first[1] if field[0] != "X-Request-Id"
    ]
    assert again[1].count(("X-Request-Id", "another")) == 1 and ("X-Request-Id", "me") not in again[1]
    clock.now += UNCHANGED_SECONDS
    ask(remembering, caplog, **polled())
    assert counted.asked == 2


@pytest.mark.parametrize(
    "environ",
    [
        {"REQUEST_METHOD": "HEAD"},
        {"REQUEST_METHOD": "POST"},
        {"PATH_INFO": "/api/tenant/other/status"},
        {"SCRIPT_NAME": "/api"},
        {"QUERY_STRING": "a=b"},
        {"CONTENT_LENGTH": "101"},
        {"HTTP_ACCEPT": "application/xml"},
        {"HTTP_ACCEPT_ENCODING": "gzip"},
        {"HTTP_IF_NONE_MATCH": '"other"'},
        {"HTTP_IF_MODIFIED_SINCE": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ],
)
def test_another_request_is_answered_for_itself(remembering, nested, caplog, environ):
    ask(remembering, caplog, **polled())

    assert ask(remembering, caplog, **polled(**environ))[:3] == ask(nested, caplog, **polled(**environ))[:3]


def test_what_is_sent_in_full_is_not_remembered(remembering, counted, caplog):
    for _ in range(2):
        assert ask(remembering, caplog, **polled(HTTP_IF_NONE_MATCH='"other"'))[0] == "200 OK"

    assert counted.asked == 2


def test_what_is_remembered_has_a_bound(remembering, caplog):
    for number in range(MOST_UNCHANGED + 10):
        ask(remembering, caplog, **polled(HTTP_ACCEPT=f"a/{number}"))
    ask(remembering, caplog, **polled(HTTP_ACCEPT="a" * 2000))

    assert len(remembering._unchanged) == 10


def test_the_log_has_a_line_for_what_is_remembered_too(counted, clock, caplog):
    caplog.set_level(logging.INFO, "zuul.web")
    application = RequestFilter(GuardFilter(counted, MAX_BODY_BYTES), clock=clock)

    logs = [ask(application, caplog, **polled())[3] for _ in range(2)]

    assert counted.asked == 1
    assert logs[0] == logs[1] and len(logs[0]) == 1
