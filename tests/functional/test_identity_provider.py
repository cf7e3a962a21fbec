# SPDX-License-Identifier: Apache-2.0
"""Tokens of an OpenID Connect provider that is really asked, and that changes its keys, hangs and dies."""

from __future__ import annotations

import threading
import time

import pytest
from forged_tokens import claims, forge_rs, jwk
from identity_provider import IdentityProvider
from services import wait_until

from zuul.web.auth import provider as module
from zuul.web.auth.fetching import fetch_json, is_as_safe
from zuul.web.backends.rpc.local import LocalTransport

URL = "/api/user/authorizations"


@pytest.fixture
def idp():
    with IdentityProvider(jwk("right")) as idp:
        yield idp


@pytest.fixture(params=["OpenIDConnect", "RS256withJWKS"])
def driver(request):
    return request.param


@pytest.fixture
def app(make_app, functions, idp, driver):
    conf = f"\n[auth idp]\ndriver={driver}\nrealm=r\nclient_id=zuul\nissuer_id={idp.url}\n"
    return make_app(LocalTransport(functions), conf)


@pytest.fixture
def ask(app, idp):
    def ask(name="right", url=URL, **changed):
        token = forge_rs(payload=claims(iss=idp.url, groups=["infra-admins"], **changed), name=name)
        return app.get(url, headers={"Authorization": f"Bearer {token}"}, status="*")

    return ask


def test_a_token_of_the_provider_is_taken(ask, idp):
    assert "example" in ask().json["zuul"]["admin"]
    assert [ask().status_int for _ in range(3)] == [200] * 3
    assert idp.asked == ["/.well-known/openid-configuration", "/keys"]


def test_where_the_keys_are_may_be_configured(make_app, functions, idp):
    conf = f"\n[auth idp]\ndriver=OpenIDConnect\nclient_id=zuul\nissuer_id=idp\nkeys_url={idp.url}/keys\n"
    app = make_app(LocalTransport(functions), conf)
    token = forge_rs(payload=claims(iss="idp"))

    assert app.get(URL, headers={"Authorization": f"Bearer {token}"}).status_int == 200
    assert idp.asked == ["/keys"]


def test_the_provider_changes_its_keys(ask, idp, monkeypatch, refusal):
    ask()
    idp.keys = [jwk("new")]
    assert refusal(ask("new"), 401)["error"] == "JWKSException"

    monkeypatch.setattr(module, "REFRESH_SECONDS", 0)
    assert ask("new").status_int == 200
    assert refusal(ask("right"), 401)["error"] == "JWKSException"


@pytest.mark.parametrize("behaviour", ["dies", "fails", "nonsense", "no keys", "deep", "large"])
def test_a_provider_that_fails_is_503(ask, idp, refusal, behaviour):
    idp.behaviour = behaviour
    began = time.monotonic()

    response = ask()

    refusal(response, 503)
    assert response.headers["Retry-After"] == "10"
    assert time.monotonic() - began < 4
    assert ask().status_int == 503
    assert len(idp.asked) == 1


@pytest.mark.parametrize("behaviour", ["hangs", "trickles"])
def test_a_provider_that_hangs_does_not_hang_us(ask, idp, monkeypatch, refusal, behaviour):
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)
    idp.behaviour = behaviour
    began = time.monotonic()
    answers = []
    crowd = [threading.Thread(target=lambda: answers.append(ask().status_int)) for _ in range(20)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join()

    assert answers == [503] * 20
    assert time.monotonic() - began < 4
    assert len(idp.asked) == 1
    assert ask(url="/api/tenants").status_int == 200  # where none is needed, one that cannot be verified is left aside
    idp.release()


def test_a_provider_that_has_died_leaves_its_keys(ask, idp, refusal):
    ask()
    idp.die()

    assert ask().status_int == 200
    refusal(ask("unknown"), 401)


def test_a_provider_that_comes_back_is_asked_again(ask, idp, monkeypatch):
    monkeypatch.setattr(module, "RETRY_SECONDS", 0)
    idp.behaviour = "fails"
    assert ask().status_int == 503

    idp.behaviour = "answers"
    wait_until(lambda: ask().status_int == 200)


@pytest.mark.parametrize("keys", [[jwk("right", use="enc")], [jwk("wrong") | {"kid": "right"}]])
def test_the_wrong_key_is_no_key(ask, idp, keys):
    idp.keys = keys

    assert ask().status_int in (401, 503)


@pytest.mark.parametrize("behaviour", ["trickles", "trickles headers", "hangs"])
def test_an_answer_that_does_not_end_is_given_up(idp, behaviour):
    idp.behaviour = behaviour
    began = time.monotonic()

    with pytest.raises(OSError):
        fetch_json(f"{idp.url}/keys", seconds=0.5)

    assert time.monotonic() - began < 3


def test_a_redirection_is_followed(idp):
    idp.behaviour = "redirects to /keys"

    assert fetch_json(f"{idp.url}/moved") == {"keys": idp.keys}


@pytest.mark.parametrize("place", ["file:///etc/passwd", "ftp://127.0.0.1/keys", "data:application/json,{}"])
def test_but_not_to_a_file(idp, place):
    idp.behaviour = f"redirects to {place}"

    with pytest.raises(OSError):
        fetch_json(f"{idp.url}/keys")


def test_from_https_there_is_no_way_to_http():
    assert is_as_safe("https://idp.example.com", "https://other.example.com/keys")
    assert not is_as_safe("https://idp.example.com", "http://idp.example.com/keys")
    assert not is_as_safe("http://idp.example.com", "file:///etc/passwd")
