# SPDX-License-Identifier: Apache-2.0
"""When keys of a provider are fetched, who waits for that, and what is believed of it. No sockets here."""

from __future__ import annotations

import threading

import pytest
from forged_tokens import jwk
from services import wait_until

from zuul.web.auth import provider as module
from zuul.web.auth.keys import UnknownKey
from zuul.web.auth.provider import MOST_WAITING, REFRESH_SECONDS, RETRY_SECONDS, STALE_SECONDS, Provider
from zuul.web.errors import Unavailable

ISSUER = "https://idp.example.com"
KEYS_URL = "https://idp.example.com/keys"


class World:
    """A provider, what it publishes, and a clock."""

    def __init__(self, keys_url=KEYS_URL, issuer=ISSUER):
        self.now = 1000.0
        self.keys = [jwk("right")]
        self.asked = []
        self.error = None
        self.hold = None
        self.configuration = {"issuer": issuer, "jwks_uri": KEYS_URL}
        self.provider = Provider(issuer, keys_url, fetch=self.fetch, clock=lambda: self.now)

    def fetch(self, url):
        self.asked.append(url)
        if self.hold is not None:
            self.hold.wait(20)
        if self.error is not None:
            raise self.error
        return self.configuration if "well-known" in url else {"keys": self.keys}

    def key(self, name="right"):
        return self.provider.of({"kid": name})

    def landed(self):
        wait_until(lambda: self.provider._flight is None)


@pytest.fixture
def world():
    return World()


def test_keys_are_fetched_once(world):
    assert [world.key().algorithm for _ in range(5)] == ["RS256"] * 5
    assert world.asked == [KEYS_URL]


def test_the_keys_url_is_found_out():
    world = World(None)

    assert world.key()
    assert world.asked == [f"{ISSUER}/.well-known/openid-configuration", KEYS_URL]


def test_a_new_key_is_fetched_at_most_once_a_minute(world):
    world.key()
    world.keys = [jwk("new")]
    world.now += REFRESH_SECONDS - 1
    with pytest.raises(UnknownKey):
        world.key("new")
    assert len(world.asked) == 1

    world.now += 2
    assert world.key("new")
    assert len(world.asked) == 2
    with pytest.raises(UnknownKey):
        world.key("right")  # withdrawn
    assert len(world.asked) == 2


def test_many_unknown_keys_cost_one_fetch(world):
    world.key()
    world.now += REFRESH_SECONDS
    for number in range(50):
        with pytest.raises(UnknownKey):
            world.key(f"guess-{number}")

    assert len(world.asked) == 2


def test_who_has_a_known_key_does_not_wait_for_a_new_one(world):
    world.key()
    world.now += REFRESH_SECONDS
    world.hold = threading.Event()

    def come():
        with pytest.raises(UnknownKey):
            world.key("new")

    stranger = threading.Thread(target=come)
    stranger.start()
    wait_until(lambda: len(world.asked) == 2)

    assert world.key()

    world.hold.set()
    stranger.join()


def test_nobody_waits_for_long_and_few_do_at_once(world, monkeypatch):
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.5)
    world.hold = threading.Event()
    answers = []

    def come():
        with pytest.raises(Unavailable) as refusal:
            world.key()
        answers.append(refusal.value.retry_after)

    waiting = [threading.Thread(target=come) for _ in range(MOST_WAITING)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: world.provider._waiting == MOST_WAITING)
    come()
    assert len(answers) == 1

    for thread in waiting:
        thread.join()
    assert len(world.asked) == 1
    world.hold.set()
    world.landed()
    assert world.key()


@pytest.mark.parametrize("error", [OSError("away"), ValueError("nonsense"), KeyError("a defect")])
def test_while_there_are_no_keys_it_is_tried_again_soon(world, error):
    world.error = error
    for _ in range(3):
        with pytest.raises(Unavailable):
            world.key()
    assert len(world.asked) == 1

    world.error = None
    world.now += RETRY_SECONDS
    assert world.key()


def test_a_provider_that_is_away_does_not_take_its_keys_along(world):
    world.key()
    world.error = OSError("away")
    world.now += STALE_SECONDS - 1
    assert world.key()
    world.landed()
    with pytest.raises(Unavailable):
        world.key("new")  # it may be good, and nobody can tell

    world.now += 2
    with pytest.raises(Unavailable):
        world.key()


def test_old_keys_are_fetched_again_while_they_are_used(world):
    world.key()
    world.keys = []
    world.now += module.FRESH_SECONDS

    assert world.key()
    world.landed()
    with pytest.raises(Unavailable):
        world.key()  # all withdrawn


@pytest.mark.parametrize(
    "configuration",
    [
        [],
        {"issuer": ISSUER},
        {"issuer": ISSUER, "jwks_uri": None},
        {"issuer": ISSUER, "jwks_uri": "http://idp.example.com/keys"},
        {"issuer": ISSUER, "jwks_uri": "file:///etc/passwd"},
        {"issuer": ISSUER, "jwks_uri": "ftp://idp.example.com/keys"},
        {"issuer": "https://evil.example.com", "jwks_uri": KEYS_URL},
        {"issuer": [ISSUER], "jwks_uri": KEYS_URL},
    ],
)
def test_an_odd_configuration_leads_nowhere(configuration):
    world = World(None)
    world.configuration = configuration

    with pytest.raises(Unavailable):
        world.key()
    assert len(world.asked) == 1


def test_an_issuer_of_http_may_have_keys_of_http():
    world = World(None, "http://idp.example.com")
    world.configuration["jwks_uri"] = "http://idp.example.com/keys"

    assert world.key()


@pytest.mark.parametrize(
    "odd",
    [
        "right",
        None,
        {},
        {"kty": "RSA"},
        jwk("odd", use="enc"),
        jwk("odd", alg="HS256"),
        jwk("odd", alg="none"),
        jwk("odd", alg=["RS256"]) | {"alg": "ES256"},
        jwk("odd", kty="EC"),
        jwk("odd", kty="oct", k="c2VjcmV0"),
        jwk("odd", n="?"),
        jwk("odd", n=1),
        jwk("odd", e=""),
        jwk("odd", kid=1),
        jwk("odd", kid=["odd"]),
    ],
)
def test_odd_keys_are_left_out(world, odd):
    world.keys = [odd, jwk("right")]

    assert world.key()
    with pytest.raises(UnknownKey):
        world.key("odd")


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {"a": 1}}, "keys"])
def test_what_is_no_set_of_keys_is_none(document):
    provider = Provider(ISSUER, KEYS_URL, fetch=lambda url: document)

    with pytest.raises(Unavailable):
        provider.of({"kid": "right"})


def test_a_key_says_its_algorithm(world):
    world.keys = [jwk("right", alg="PS512")]

    assert world.key().algorithm == "PS512"
