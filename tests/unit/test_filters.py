# SPDX-License-Identifier: Apache-2.0
"""Which URL is the status of which tenant."""

from __future__ import annotations

import pytest

from zuul.web.filters import MAX_URL_BYTES, StatusUrls

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
