# SPDX-License-Identifier: Apache-2.0
"""What `requires` makes of a controller: who it lets in, what they find, and what documents still know of it."""

from __future__ import annotations

import json

import pytest
from webob import Request

from zuul.web.auth import ACTIONS, Guard
from zuul.web.auth.mint import mint
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.backends.scheduler import Scheduler
from zuul.web.controllers.root import pecan_application
from zuul.web.expose import API, expose, requires
from zuul.web.settings import AuthSection, Rest
from zuul.web.urls import Url, UrlMap

SECTION = AuthSection("ops", "HS256", "zuul.example.com", True, "zuul", "idp", "sub", {"secret": "s" * 32})


class Things:
    def __init__(self, tenant=None):
        self._tenant = tenant

    @requires("enqueue")
    @expose({str: str}, str)
    def get(self, name):
        """One thing."""
        return {"name": name}


class Whose:
    @requires("authenticated")
    @expose({str: str})
    def get(self):
        """Who asks."""
        return {}


@pytest.fixture
def scheduler():
    def authorize_user(arguments):
        claims = arguments["claims"]
        return json.dumps(arguments["tenant"] == "one" and claims["__zuul_uid_claim"] == "ann")

    functions = {"zuul:authorize_user": authorize_user, "zuul:get_admin_tenants": lambda _: '["one"]'}
    return Scheduler(LocalTransport(functions), timeout_seconds=1, cache_bytes=1000)


@pytest.fixture
def ask(scheduler):
    def ask(url, user=None, sections=(SECTION,), guarded=True):
        guard = Guard(sections, Rest(), scheduler) if guarded else None
        one, any_tenant = Things("one"), Things()
        urls = UrlMap(
            {
                "one": Url(segments=1, get=one.get),
                "any": Url(segments=1, get=any_tenant.get),
                "other": Url(segments=1, get=Things("other").get),
                "whose": Url(get=Whose().get),
            }
        )
        request = Request.blank(url)
        if user:
            request.headers["Authorization"] = f"Bearer {mint(SECTION, user, [], 60)}"
        response = request.get_response(pecan_application(urls, API, guard))
        return request, response

    return ask


def test_who_may_gets_an_answer_and_the_controller_knows_who_it_is(ask):
    request, response = ask("/one/x", "ann")

    assert (response.status_int, response.json) == (200, {"name": "x"})
    identity = request.environ["zuul.identity"]
    assert (identity.uid, identity.section, identity.realm) == ("ann", "ops", "zuul.example.com")
    assert identity.claims["iss"] == "idp"


def test_who_says_nothing_is_401(ask):
    _, response = ask("/one/x")

    assert response.status_int == 401
    assert response.headers["WWW-Authenticate"] == (
        'Bearer realm="zuul.example.com", error="Missing \\"Authorization\\" header", '
        'error_description="Missing \\"Authorization\\" header"'
    )
    assert response.json == {
        "faultcode": "Client",
        "faultstring": 'Missing "Authorization" header',
        "debuginfo": None,
        "error": 'Missing "Authorization" header',
        "description": 'Missing "Authorization" header',
        "realm": "zuul.example.com",
    }


@pytest.mark.parametrize(("url", "user"), [("/one/x", "bob"), ("/other/x", "ann")])
def test_who_may_not_is_403(ask, url, user):
    _, response = ask(url, user)

    assert response.status_int == 403
    assert response.json["error"] == "AuthTokenForbiddenException"
    assert response.json["description"] == "Insufficient privileges"
    assert response.json["realm"] == "zuul.example.com"


def test_without_a_tenant_an_administrator_of_any_may(ask):
    assert ask("/any/x", "ann")[1].status_int == 200


def test_for_authenticated_any_token_will_do(ask):
    assert ask("/whose", "bob")[1].status_int == 200
    assert ask("/whose")[1].status_int == 401


@pytest.mark.parametrize("without", [{"sections": ()}, {"guarded": False}])
def test_where_tokens_cannot_be_verified_there_is_nothing(ask, without):
    assert ask("/one/x", "ann", **without)[1].status_int == 404


def test_an_action_that_does_not_exist_is_found_at_once():
    with pytest.raises(ValueError, match="enque is no action"):
        requires("enque")


def test_documents_know_the_method_and_its_action():
    assert Things.get.exposed.path_names == ["name"]
    assert Things.get.action in ACTIONS
    assert Things.get.__doc__ == "One thing."


def test_the_url_is_taken_apart_before_anybody_is_asked(ask):
    assert ask("/one/x?y=1", "ann")[1].status_int == 400
    assert ask("/one/x?y=1")[1].status_int == 401
