# SPDX-License-Identifier: Apache-2.0
"""Who may do what, as the API tells it, and tenants that are not for everybody."""

from __future__ import annotations

import json

import pytest
from functional.routes import EXAMPLES, all_routes
from functional.tokens import CONF, SECTION, bearer

from zuul.web.auth.mint import mint
from zuul.web.backends.rpc.local import LocalTransport

URLS = ["/api/user/authorizations", "/api/authorizations", "/api/tenant/example/authorizations", "/v1/authorizations"]


@pytest.fixture
def app(make_app, functions):
    return make_app(LocalTransport(functions), CONF)


@pytest.fixture
def app_where(make_app, functions):
    """The application with more lines in [rest], over the sandbox or with functions of a test's own."""

    def app_where(rest="", **replaced):
        functions_here = {**functions, **{f"zuul:{name}": function for name, function in replaced.items()}}
        return make_app(LocalTransport(functions_here), f"{rest}\n{CONF}")

    return app_where


def with_groups(monkeypatch, *groups, user="bob"):
    """Header fields of somebody whose token has groups."""
    import zuul.web.auth.mint as module

    encoded = module._encoded
    with monkeypatch.context() as patch:
        patch.setattr(module, "_encoded", lambda part: encoded({**part, "groups": list(groups)}))
        return {"Authorization": f"Bearer {mint(SECTION, user, [], 600)}"}


@pytest.mark.parametrize("url", URLS)
def test_nobody_asks_without_a_token(app, refusal, url):
    response = app.get(url, status="*")

    assert refusal(response, 401)["realm"] == "tests.example.com"
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="tests.example.com", error=')


@pytest.mark.parametrize("url", URLS)
def test_without_an_auth_section_there_is_nothing_there(make_app, functions, refusal, url):
    refusal(make_app(LocalTransport(functions)).get(url, headers=bearer(), status="*"), 404)


def test_the_form_of_zuul_3(app, monkeypatch):
    assert app.get("/api/user/authorizations", headers=bearer("ann")).json == {"zuul": {"admin": []}}
    admins = with_groups(monkeypatch, "infra-admins")
    assert "example" in app.get("/api/user/authorizations", headers=admins).json["zuul"]["admin"]


def test_a_token_may_name_tenants_itself(app):
    found = app.get("/api/user/authorizations", headers=bearer("ann", "example")).json

    assert found == {"zuul": {"admin": ["example"]}}


def test_the_form_of_later_zuuls(app_where, monkeypatch):
    app = app_where("may_autohold=groups=developers in example\nprotected_tenants=example")
    developer = with_groups(monkeypatch, "developers")

    of_tenant = app.get("/api/tenant/example/authorizations", headers=developer).json
    of_all = app.get("/api/authorizations", headers=developer).json
    of_admin = app.get("/api/tenant/example/authorizations", headers=bearer("ann", "example")).json
    of_nobody = app.get("/api/tenant/example/authorizations", headers=bearer("ann")).json

    rights = {"read": True, "autohold": True}
    assert of_tenant == {"zuul": {"admin": False, "permissions": rights, "scope": ["example"]}}
    assert of_all == {"zuul": {"admin": False, "permissions": {}, "scope": ["*"]}}
    assert of_admin["zuul"]["admin"] is True
    assert of_admin["zuul"]["permissions"] == dict.fromkeys(
        ["admin", "read", "enqueue", "dequeue", "promote", "autohold", "modify-node"], True
    )
    assert of_nobody["zuul"]["permissions"] == {}


def test_an_unknown_tenant_is_404(app, refusal):
    refusal(app.get("/api/tenant/nope/authorizations", headers=bearer("ann", "nope"), status="*"), 404)


def test_v1_tells_who_it_is_and_what_they_may_do_where(app_where, monkeypatch):
    app = app_where("may_autohold=groups=widgets-admins in example")

    found = app.get("/v1/authorizations", headers=with_groups(monkeypatch, "widgets-admins", user="eve")).json

    assert (found["uid"], found["realm"]) == ("eve", "tests.example.com")
    rights = {entry["tenant"]: entry for entry in found["tenants"]}
    assert rights["example"] == {"tenant": "example", "admin": False, "actions": ["autohold"]}
    assert [entry["tenant"] for entry in found["tenants"] if entry["admin"]] == ["widgets"]


def test_what_the_scheduler_said_counts_for_a_while(app_where):
    asked = []

    def get_admin_tenants(arguments):
        asked.append(arguments["claims"]["__zuul_uid_claim"])
        return json.dumps(["example"])

    app = app_where(get_admin_tenants=get_admin_tenants)
    ann, bob = bearer("ann"), bearer("bob")
    for fields in (ann, ann, bob, ann, bob):
        assert app.get("/api/user/authorizations", headers=fields).json["zuul"]["admin"] == ["example"]

    assert asked == ["ann", "bob"]


def test_and_not_at_all_if_so_configured(app_where):
    asked = []
    app = app_where("authorization_cache=0", get_admin_tenants=lambda _: asked.append(1) or "[]")
    for _ in range(3):
        app.get("/api/user/authorizations", headers=bearer("ann"))

    assert len(asked) == 3


# -- reading

READS = sorted(
    {
        EXAMPLES[found.template]
        for found in all_routes()
        if found.route.method == "GET" and not hasattr(found.route.controller, "action") and not found.is_stream
    }
)
OF_TENANT = [url for url in READS if "example/" in url or url.endswith("/example")]
OPEN = [url for url in READS if url not in OF_TENANT or url.endswith("/info")]
PROTECTED = [url for url in OF_TENANT if url not in OPEN]


def test_there_are_urls_of_all_kinds():
    assert {"/api/tenant/example/status", "/v1/tenants/example", "/example/status.json"} <= {*PROTECTED}
    assert {"/api/tenants", "/v1/tenants/example/info", "/tenants.json"} <= {*OPEN}


@pytest.mark.parametrize("url", READS)
def test_a_bad_token_is_refused_even_where_none_is_needed(app, refusal, url):
    body = refusal(app.get(url, headers={"Authorization": "Bearer x.y.z"}, status="*"), 401) if url != "/" else {}

    assert body.get("error", "AuthTokenUndecodedException") == "AuthTokenUndecodedException"


@pytest.mark.parametrize("url", PROTECTED)
def test_a_protected_tenant_takes_a_token(app_where, refusal, url):
    app = app_where("protected_tenants=other, example")

    assert refusal(app.get(url, status="*"), 401)["error"] == 'Missing "Authorization" header'
    refusal(app.get(url, headers={"Authorization": "Basic YTpi"}, status="*"), 401)
    refusal(app.get(url, headers=bearer("ann"), status="*"), 403)
    response = app.get(url, headers=bearer("ann", "example"))
    assert response.headers.getall("Cache-Control") == ["private, no-cache"]
    again = app.get(url, headers={**bearer("ann", "example"), "If-None-Match": response.headers["ETag"]})
    assert again.status_int == 304
    refusal(app.get(url, headers={"If-None-Match": response.headers["ETag"]}, status="*"), 401)


@pytest.mark.parametrize("url", OPEN)
def test_what_is_no_tenants_stays_open(app_where, url):
    assert app_where("protected_tenants=*").get(url).status_int == 200


@pytest.mark.parametrize("url", ["/status.json", "/api/status", "/api/jobs", "/api/key/core/compute.pub"])
def test_a_whitelabel_tenant_is_protected_at_the_root_too(app_where, refusal, url):
    app = app_where("protected_tenants=example\nwhitelabel_tenant=example")

    refusal(app.get(url, status="*"), 401)
    assert app.get(url, headers=bearer("ann", "example")).status_int == 200


LISTS = ["/api/tenants", "/v1/tenants", "/api/v1/tenants", "/tenants.json"]
lists = pytest.mark.parametrize("url", LISTS)


def names(response):
    return [tenant["name"] for tenant in response.json]


@lists
def test_a_protected_tenant_is_listed_for_those_who_may_read_it(app_where, monkeypatch, url):
    app = app_where("protected_tenants=example\nmay_read=groups=guests in example")
    everybody = names(app.get(url, headers=bearer("ann", "example")))

    assert "example" in everybody
    assert names(app.get(url, headers=with_groups(monkeypatch, "guests"))) == everybody
    for fields in ({}, bearer("ann"), bearer("ann", "widgets"), {"Authorization": "Basic YTpi"}):
        assert names(app.get(url, headers=fields)) == [name for name in everybody if name != "example"]


@lists
def test_no_cache_mixes_the_lists_up(app_where, url):
    app = app_where("protected_tenants=example")
    of_admin = app.get(url, headers=bearer("ann", "example"))
    of_all = app.get(url)

    assert of_admin.headers.getall("Cache-Control") == ["private, no-cache"]
    assert of_all.headers["X-Total"] == str(int(of_admin.headers["X-Total"]) - 1)
    assert app.get(url, headers={"If-None-Match": of_admin.headers["ETag"]}).status_int == 200
    assert app.get(url, headers={"If-None-Match": of_all.headers["ETag"]}).status_int == 304


def test_all_tenants_may_be_hidden(app_where):
    app = app_where("protected_tenants=*")

    assert app.get("/api/tenants").json == []
    assert names(app.get("/api/tenants", headers=bearer("ann", "widgets"))) == ["widgets"]
    assert app.get("/v1/tenants?name=example").json == []


def test_the_scheduler_is_asked_once_for_all_of_them(app_where):
    asked = []
    app = app_where(
        "protected_tenants=*",
        get_admin_tenants=lambda _: asked.append("admin tenants") or '["example"]',
        authorize_user=lambda _: asked.append("one tenant") or "false",
    )

    assert names(app.get("/api/tenants", headers=bearer("ann"))) == ["example"]
    assert asked == ["admin tenants"]


@pytest.mark.parametrize("fields", [{}, bearer("ann", "example")], ids=["without a token", "with one"])
def test_where_none_is_protected_the_list_goes_out_as_it_came(app_where, fields):
    reply = '[ {"name" : "example", "projects": 1, "queue": 0} ]'
    app = app_where(tenant_list=lambda _: reply)

    assert app.get("/api/tenants", headers=fields).body == reply.encode()


def test_other_tenants_stay_open(app_where):
    assert app_where("protected_tenants=widgets").get("/api/tenant/example/status").status_int == 200


@pytest.mark.parametrize(
    ("rule", "status"),
    [
        ("may_read=groups=guests", 200),
        ("may_read=*", 200),
        ("may_read=groups=guests in example", 200),
        ("may_read=groups=guests and iss=tests", 200),
        ("may_promote=groups=guests", 200),
        ("may_read=groups=guests in widgets", 403),
        ("may_read=groups=others", 403),
        ("may_read=groups=guests and iss=https://idp.example.com", 403),
    ],
)
def test_rules_let_others_read(app_where, monkeypatch, rule, status):
    app = app_where(f"protected_tenants=*\n{rule}")
    guest = with_groups(monkeypatch, "guests")

    assert app.get("/api/tenant/example/jobs", headers=guest, status="*").status_int == status


def test_the_credentials_of_a_proxy_are_none_of_our_business(app):
    for value in ("Basic YTpi", "Negotiate abc"):
        assert app.get("/api/tenant/example/status", headers={"Authorization": value}).status_int == 200


def test_without_an_auth_section_nobody_looks_at_tokens(make_app, functions):
    app = make_app(LocalTransport(functions))

    assert app.get("/api/tenants", headers={"Authorization": "Bearer x.y.z"}).status_int == 200


# -- acting


@pytest.mark.parametrize("described", all_routes(), ids=lambda described: described.operation_id)
def test_whatever_acts_takes_a_token(described):
    assert described.route.method == "GET" or hasattr(described.route.controller, "action")
