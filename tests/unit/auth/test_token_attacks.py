# SPDX-License-Identifier: Apache-2.0
"""One table of tokens that must not be taken, each with its answer, at every driver that it is meant for."""

from __future__ import annotations

import json
import logging
import time

import pytest
from forged_tokens import (
    AUDIENCE,
    ISSUER,
    SECRET,
    claims,
    es256,
    forge,
    forge_rs,
    hs256,
    jwk,
    part,
    public_pem,
    rs256,
    text,
)

from zuul.web.auth.keys import Key, OneKey, public_key
from zuul.web.auth.provider import Provider
from zuul.web.auth.tokens import Issuer, bearer_token, issuer_of, parse
from zuul.web.errors import Unauthorized
from zuul.web.settings import AuthSection

NOW = int(time.time())
RS = {"alg": "RS256", "typ": "JWT", "kid": "right"}
HS = {"alg": "HS256", "typ": "JWT"}
ANY = ("hs", "rs", "oidc")


class Fetched:
    """A provider's documents, and what was asked for."""

    def __init__(self):
        self.urls = []

    def __call__(self, url):
        self.urls.append(url)
        return {"keys": [jwk(), jwk("encrypts", use="enc"), jwk("odd", alg="HS256")]}


@pytest.fixture
def fetched():
    return Fetched()


@pytest.fixture
def identify(fetched):
    """Who sent an Authorization field, by driver."""

    def identify(driver, field, **options):
        keys = {
            "hs": lambda: OneKey(Key("HS256", SECRET.encode())),
            "rs": lambda: OneKey(Key("RS256", b"", public_key(public_pem()))),
            "oidc": lambda: Provider(ISSUER, "https://idp.example.com/keys", fetch=fetched),
        }
        uid_claim = options.pop("uid_claim", "sub")
        section = AuthSection("a", "", "here", False, AUDIENCE, ISSUER, uid_claim, options)
        token = parse(bearer_token(field, "here"), "here")
        return issuer_of(token, [Issuer(section, keys[driver]())], "here").identify(token)

    return identify


def good(driver, payload=None, **header):
    return forge({**HS, **header}, payload) if driver == "hs" else forge_rs({**RS, **header}, payload)


def both(payload=None, **header):
    """The same attack for all drivers: well signed, but."""
    return {driver: good(driver, payload, **header) for driver in ANY}


def raw(payload):
    """Claims as text, well signed."""
    return {"hs": forge(HS, payload), "rs": forge_rs(RS, payload), "oidc": forge_rs(RS, payload)}


def with_text(name, value):
    """Good claims as text, one of which is spelt as no library would."""
    return raw(json.dumps(claims(**{name: "@"})).replace('"@"', value))


def unsigned(header, payload=None):
    return dict.fromkeys(ANY, forge(header, payload, None))


def changed(token, change):
    """A good token whose claims have been changed after it was signed."""
    header, _, signature = token.split(".")
    return f"{header}.{part(change)}.{signature}"


def cut(driver, change):
    """A good token whose text is changed."""
    return change(good(driver))


UNDECODED, SIGNATURE = "AuthTokenUndecodedException", "AuthTokenInvalidSignatureException"
UNAUTHORIZED, KEYS = "AuthTokenUnauthorizedException", "JWKSException"
MISSING, UID, EXPIRED = "MissingClaimError", "MissingUIDClaimError", "TokenExpiredError"
AUD, ISS, ADMIN = "IncorrectAudienceError", "IssuerUnknownError", "IncorrectZuulAdminClaimError"

ATTACKS = {
    # -- no signature that means anything
    "alg none": (unsigned({"alg": "none"}), UNDECODED),
    "alg None": (unsigned({"alg": "None"}), UNDECODED),
    "alg none with a signature": (both(alg="none"), UNAUTHORIZED),
    "alg nOnE with a signature": (both(alg="nOnE"), UNAUTHORIZED),
    "alg empty": (both(alg=""), UNAUTHORIZED),
    "alg null": (both(alg=None), UNAUTHORIZED),
    "alg a list": (both(alg=["RS256", "HS256"]), UNAUTHORIZED),
    "alg an object": (both(alg={"alg": "HS256"}), UNAUTHORIZED),
    "alg in another case": (both(alg="rs256") | {"hs": good("hs", alg="hs256")}, UNAUTHORIZED),
    "alg with blanks": (both(alg="RS256 ") | {"hs": good("hs", alg=" HS256")}, UNAUTHORIZED),
    "alg missing": (dict.fromkeys(ANY, forge({"typ": "JWT", "kid": "right"})), UNAUTHORIZED),
    "no signature": ({driver: cut(driver, lambda t: t.rsplit(".", 1)[0] + ".") for driver in ANY}, UNDECODED),
    "signature left out": ({driver: cut(driver, lambda t: t.rsplit(".", 1)[0]) for driver in ANY}, UNDECODED),
    "signature of zeros": (
        {driver: good(driver).rsplit(".", 1)[0] + "." + text(bytes(32 if driver == "hs" else 256)) for driver in ANY},
        SIGNATURE,
    ),
    "signature of a byte": (
        {driver: good(driver).rsplit(".", 1)[0] + "." + text(b"\0") for driver in ANY},
        SIGNATURE,
    ),
    "signature cut short": (
        {"hs": forge(sign=lambda s: hs256(s)[:16]), "rs": forge(RS, sign=lambda s: rs256(s)[:128])},
        SIGNATURE,
    ),
    "signature of an empty text": ({"hs": forge(sign=lambda s: hs256(b""))}, SIGNATURE),
    "psychic signature": (dict.fromkeys(ANY, forge({**RS, "alg": "ES256"}, sign=lambda s: bytes(64))), UNAUTHORIZED),
    "signature of another algorithm": (dict.fromkeys(ANY, forge({**RS, "alg": "ES256"}, sign=es256)), UNAUTHORIZED),
    # -- the wrong key
    "another secret": ({"hs": forge(sign=lambda s: hs256(s, "guessed"))}, SIGNATURE),
    "an empty secret": ({"hs": forge(sign=lambda s: hs256(s, b""))}, SIGNATURE),
    "another key": (
        {driver: forge(RS, sign=lambda s: rs256(s, "wrong")) for driver in ("rs", "oidc")},
        SIGNATURE,
    ),
    "public key as a secret": (
        dict.fromkeys(("rs", "oidc"), forge({**RS, "alg": "HS256"}, sign=lambda s: hs256(s, public_pem()))),
        UNAUTHORIZED,
    ),
    "public key as a secret, said to be RS256": (
        dict.fromkeys(("rs", "oidc"), forge(RS, sign=lambda s: hs256(s, public_pem()))),
        SIGNATURE,
    ),
    "RS256 where there is a secret": ({"hs": forge_rs()}, UNAUTHORIZED),
    "HS512 with the secret": ({"hs": good("hs", alg="HS512")}, UNAUTHORIZED),
    "RS512 where the key is for RS256": (
        dict.fromkeys(("rs", "oidc"), forge_rs({**RS, "alg": "RS512"}, algorithm="RS512")),
        UNAUTHORIZED,
    ),
    "PS256 where the key is for RS256": (
        dict.fromkeys(("rs", "oidc"), forge_rs({**RS, "alg": "PS256"}, algorithm="PS256")),
        UNAUTHORIZED,
    ),
    # -- changed on the way
    "claims changed": (
        {driver: changed(good(driver), claims(sub="root")) for driver in ANY},
        SIGNATURE,
    ),
    "tenants added": (
        {driver: changed(good(driver), claims(zuul={"admin": ["example"]})) for driver in ANY},
        SIGNATURE,
    ),
    "header changed": (
        {
            driver: part({**(HS if driver == "hs" else RS), "x": 1}) + "." + good(driver).split(".", 1)[1]
            for driver in ANY
        },
        SIGNATURE,
    ),
    # -- tricks with keys
    "kid a path": (
        {"oidc": forge({**RS, "kid": "../../dev/null"}, sign=lambda s: hs256(s, b""))},
        KEYS,
    ),
    "kid an absolute path": ({"oidc": good("oidc", kid="/proc/sys/kernel/randomize_va_space")}, KEYS),
    "kid a URL": ({"oidc": good("oidc", kid="https://evil.example.com/key")}, KEYS),
    "kid a file URL": ({"oidc": good("oidc", kid="file:///etc/passwd")}, KEYS),
    "kid SQL": ({"oidc": good("oidc", kid="x' UNION SELECT 'key' --")}, KEYS),
    "kid a command": ({"oidc": good("oidc", kid="right; cat /etc/passwd")}, KEYS),
    "kid with a NUL": ({"oidc": good("oidc", kid="right\0")}, KEYS),
    "kid with a line end": ({"oidc": good("oidc", kid="right\r\nSet-Cookie: a=b")}, KEYS),
    "kid in another case": ({"oidc": good("oidc", kid="RIGHT")}, KEYS),
    "kid missing": ({"oidc": forge_rs(HS | {"alg": "RS256"})}, KEYS),
    "kid empty": ({"oidc": good("oidc", kid="")}, KEYS),
    "kid null": ({"oidc": good("oidc", kid=None)}, KEYS),
    "kid a list": ({"oidc": good("oidc", kid=["right"])}, KEYS),
    "kid an object": ({"oidc": good("oidc", kid={"right": 1})}, KEYS),
    "kid a number": ({"oidc": good("oidc", kid=0)}, KEYS),
    "kid huge": ({"oidc": good("oidc", kid="k" * 5000)}, KEYS),
    "kid of a key for encryption": ({"oidc": forge_rs({**RS, "kid": "encrypts"}, name="encrypts")}, KEYS),
    "kid of a key for HS256": (
        {"oidc": forge({**HS, "kid": "odd"}, sign=lambda s: hs256(s, jwk("odd")["n"]))},
        KEYS,
    ),
    "jwk with a key of its own": (
        {d: forge({**RS, "jwk": jwk("wrong")}, sign=lambda s: rs256(s, "wrong")) for d in ("rs", "oidc")},
        SIGNATURE,
    ),
    "jku with keys of its own": (
        {
            d: forge({**RS, "jku": "https://evil.example.com/"}, sign=lambda s: rs256(s, "wrong"))
            for d in ("rs", "oidc")
        },
        SIGNATURE,
    ),
    "x5u with a certificate of its own": (
        {d: forge({**RS, "x5u": "http://169.254.169.254/"}, sign=lambda s: rs256(s, "wrong")) for d in ("rs", "oidc")},
        SIGNATURE,
    ),
    "x5c with a certificate of its own": (
        {d: forge({**RS, "x5c": ["MIIB"]}, sign=lambda s: rs256(s, "wrong")) for d in ("rs", "oidc")},
        SIGNATURE,
    ),
    "crit with what nobody knows": (both(crit=["exp"]), UNAUTHORIZED),
    "crit empty": (both(crit=[]), UNAUTHORIZED),
    "b64 false": (both(crit=["b64"], b64=False), UNAUTHORIZED),
    # -- no token at all
    "not JSON in the header": (dict.fromkeys(ANY, forge("nope")), UNDECODED),
    "not JSON in the claims": (raw("nope"), UNDECODED),
    "header a list": (dict.fromkeys(ANY, forge(["HS256"])), UNDECODED),
    "claims a list": (raw('["sub"]'), UNDECODED),
    "claims null": (raw("null"), UNDECODED),
    "claims a number": (raw("1"), UNDECODED),
    "claims not UTF-8": (
        dict.fromkeys(ANY, f"{part(HS)}.{text(b'{%s: 1}' % bytes([34, 255, 34]))}.{text(bytes(32))}"),
        UNDECODED,
    ),
    # Python 3.13 reads it, and then misses the issuer; before, it is too deep.
    "claims as deep as can be": (raw('{"a":' * 2000 + "1" + "}" * 2000), None),
    "a key twice in the header": (
        dict.fromkeys(ANY, forge('{"alg":"none","kid":"right","alg":"HS256"}')),
        UNDECODED,
    ),
    "a key twice in the claims": (
        raw(json.dumps(claims())[:-1] + ', "sub": "root"}'),
        UNDECODED,
    ),
    "huge": (both(claims(x="x" * 20000)), UNDECODED),
    "two parts": (dict.fromkeys(ANY, "a.b"), UNDECODED),
    "four parts": ({driver: good(driver) + ".x" for driver in ANY}, UNDECODED),
    "encrypted, five parts": (dict.fromkeys(ANY, "a.b.c.d.e"), UNDECODED),
    "dots": (dict.fromkeys(ANY, ".."), UNDECODED),
    "padding": ({driver: good(driver) + "=" for driver in ANY}, UNDECODED),
    "another alphabet": ({driver: good(driver)[:-3] + "+/+" for driver in ANY}, UNDECODED),
    "letters that only look like ASCII": ({driver: "\u0430" + good(driver) for driver in ANY}, UNDECODED),
    "bits beyond the end": ({"hs": forge()[:-1] + chr(ord(forge()[-1]) + 1)}, None),
    "a line end behind it": ({driver: good(driver) + "\n" for driver in ANY}, UNDECODED),
    "two tokens": ({driver: f"{good(driver)} {good(driver)}" for driver in ANY}, UNDECODED),
    "two fields, joined by a server": ({driver: f"{good(driver)},Bearer {good(driver)}" for driver in ANY}, UNDECODED),
    "two fields, a bad one first": ({driver: f"x.y.z, Bearer {good(driver)}" for driver in ANY}, UNDECODED),
    "in JSON": ({driver: json.dumps({"token": good(driver)}) for driver in ANY}, UNDECODED),
    # -- not of him, not for us
    "iss missing": (both(claims(iss=None)), ISS),
    "iss of somebody else": (both(claims(iss="https://evil.example.com")), ISS),
    "iss with a slash more": (both(claims(iss=ISSUER + "/")), ISS),
    "iss that begins the same": (both(claims(iss=ISSUER + ".evil.example.com")), ISS),
    "iss a list": (both(claims(iss=[ISSUER])), ISS),
    "iss an object": (both(claims(iss={"a": ISSUER})), ISS),
    "aud missing": (both(claims(aud=None)), MISSING),
    "aud of somebody else": (both(claims(aud="other")), AUD),
    "aud a list without us": (both(claims(aud=["other", "zuul2"])), AUD),
    "aud an empty list": (both(claims(aud=[])), AUD),
    "aud a part of us": (both(claims(aud="zu")), AUD),
    "aud with us in it": (both(claims(aud="xzuulx")), AUD),
    "aud in a list in a list": (both(claims(aud=[["zuul"]])), AUD),
    "aud a list of odd things": (both(claims(aud=["zuul", {"zuul": 1}])), AUD),
    "aud an object": (both(claims(aud={"zuul": 1})), AUD),
    "aud true": (both(claims(aud=True)), AUD),
    # -- not now
    "exp missing": (both(claims(exp=None)), MISSING),
    "exp past": (both(claims(exp=NOW - 1)), EXPIRED),
    "exp long past": (both(claims(exp=0)), EXPIRED),
    "exp negative": (both(claims(exp=-1)), EXPIRED),
    "exp null": (with_text("exp", "null"), UNAUTHORIZED),
    "exp text": (both(claims(exp=str(NOW + 600))), UNAUTHORIZED),
    "exp true": (both(claims(exp=True)), UNAUTHORIZED),
    "exp a list": (both(claims(exp=[NOW + 600])), UNAUTHORIZED),
    "exp an object": (both(claims(exp={"$gt": 0})), UNAUTHORIZED),
    "exp NaN": (with_text("exp", "NaN"), UNDECODED),
    "exp Infinity": (with_text("exp", "Infinity"), UNDECODED),
    "exp as large as infinity": (with_text("exp", "1e999"), UNAUTHORIZED),
    "exp of 400 digits": (with_text("exp", "9" * 400), UNAUTHORIZED),
    "exp of 5000 digits": (with_text("exp", "9" * 5000), UNDECODED),
    "exp in milliseconds": (both(claims(exp=(NOW + 600) * 1000)), UNAUTHORIZED),
    "nbf in the future": (both(claims(nbf=NOW + 3000)), UNAUTHORIZED),
    "nbf text": (both(claims(nbf="0")), UNAUTHORIZED),
    "iat in the future": (both(claims(iat=NOW + 3000)), UNAUTHORIZED),
    "iat text": (both(claims(iat="yesterday")), UNAUTHORIZED),
    "iat huge": (both(claims(iat=10**18)), UNAUTHORIZED),
    # -- nobody
    "sub missing": (both(claims(sub=None)), MISSING),
    "sub empty": (both(claims(sub="")), UID),
    "sub an object": (both(claims(sub={"uid": "ann"})), UID),
    "sub a list": (both(claims(sub=["ann", "root"])), UID),
    "sub true": (both(claims(sub=True)), UID),
    "sub with a line end": (both(claims(sub="ann\nroot logged in")), UID),
    "sub huge": (both(claims(sub="a" * 5000)), UID),
    # -- more than their due
    "tenants without leave": (both(claims(zuul={"admin": ["example"]})), "UnauthorizedZuulAdminClaimError"),
    "zuul.admin a star": (both(claims(zuul={"admin": "*"})), ADMIN),
    "zuul.admin an object": (both(claims(zuul={"admin": {"example": True}})), ADMIN),
    "zuul.admin of odd things": (both(claims(zuul={"admin": [["example"]]})), ADMIN),
    "zuul.admin null": (both(claims(zuul={"admin": None})), ADMIN),
    "zuul a text": (both(claims(zuul="admin")), ADMIN),
    "zuul a list": (both(claims(zuul=["admin"])), ADMIN),
}
"""The token by driver, and upstream's name of what is wrong with it."""

CASES = [
    pytest.param(driver, token, error, id=f"{name}-{driver}")
    for name, (tokens, error) in ATTACKS.items()
    for driver, token in tokens.items()
]


@pytest.mark.parametrize(("driver", "token", "error"), CASES)
def test_it_is_refused(identify, fetched, caplog, driver, token, error):
    caplog.set_level(logging.DEBUG)

    with pytest.raises(Unauthorized) as refusal:
        identify(driver, f"Bearer {token}")

    if error is not None:
        assert refusal.value.error == error
    assert refusal.value.realm == "here"
    assert {*fetched.urls} <= {"https://idp.example.com/keys"}
    shown = caplog.text + str(refusal.value.headers) + str(refusal.value.fields)
    assert not any(len(piece) > 8 and piece in shown for piece in token.split("."))
    assert SECRET not in shown


def test_the_table_is_long_enough():
    assert len(ATTACKS) >= 30


@pytest.mark.parametrize("driver", ANY)
@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"aud": ["other", AUDIENCE]},
        {"exp": NOW + 600.5},
        {"iat": None},
        {"nbf": NOW - 10},
        {"zuul": {}},
        {"zuul": {"admin": []}},
        {"groups": ["a", "b"], "deep": {"er": [1, None, True]}},
    ],
)
def test_a_good_one_is_taken(identify, driver, payload):
    identity = identify(driver, f"Bearer {good(driver, claims(**payload))}")

    assert (identity.uid, identity.section, identity.realm) == ("ann", "a", "here")
    assert identity.claims["__zuul_uid_claim"] == "ann"


def test_nobody_says_who_he_is_for_the_rules_but_by_the_claim_for_it(identify):
    payload = claims(email="ann@example.com", __zuul_uid_claim="root")

    identity = identify("hs", f"Bearer {forge(payload=payload)}", uid_claim="email")

    assert identity.uid == identity.claims["__zuul_uid_claim"] == "ann@example.com"


def test_the_claim_for_it_may_be_a_number(identify):
    assert identify("hs", f"Bearer {forge(payload=claims(sub=42))}").uid == "42"


def test_headers_with_urls_that_issuers_like_do_no_harm(identify, fetched):
    token = good("oidc", jku="https://idp.example.com/other", x5u="https://idp.example.com/cert", x5t="abc")

    assert identify("oidc", f"Bearer {token}").uid == "ann"
    assert fetched.urls == ["https://idp.example.com/keys"]


@pytest.mark.parametrize(
    ("field", "error"),
    [
        (None, 'Missing "Authorization" header'),
        ("", "Invalid Authorization header format"),
        ("Bearer", "Invalid Authorization header format"),
        ("Bearer ", "Invalid Authorization header format"),
        ("Basic YTpi", "Invalid Authorization header format"),
        (f"Token {forge()}", "Invalid Authorization header format"),
        (f"Basic YTpi, Bearer {forge()}", "Invalid Authorization header format"),
        (f"Bearer:{forge()}", "Invalid Authorization header format"),
        (forge(), "Invalid Authorization header format"),
    ],
)
def test_what_is_no_bearer_token_is_said_in_upstreams_words(identify, field, error):
    with pytest.raises(Unauthorized) as refusal:
        identify("hs", field)

    assert refusal.value.error == error


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_word_bearer_has_no_case(identify, scheme):
    assert identify("hs", f"{scheme} {forge()}").uid == "ann"


# -- options of the section


@pytest.mark.parametrize(
    ("age", "error"),
    [
        (None, MISSING),
        (120, EXPIRED),
        (30, None),
    ],
)
def test_a_token_has_a_longest_life(identify, age, error):
    field = f"Bearer {forge(payload=claims(iat=None if age is None else int(time.time()) - age))}"
    if error is None:
        assert identify("hs", field, max_validity_time="60").uid == "ann"
        return
    with pytest.raises(Unauthorized) as refusal:
        identify("hs", field, max_validity_time="60")
    assert refusal.value.error == error


@pytest.mark.parametrize(
    ("skew", "offsets", "taken"),
    [
        ("-60", {"iat": 30}, True),
        ("-60", {"nbf": 30}, True),
        ("-60", {"exp": 30}, False),
        ("60", {"exp": -30}, True),
        ("60", {"iat": 0}, False),
        ("60", {"iat": -90}, True),
    ],
)
def test_the_clocks_may_differ(identify, skew, offsets, taken):
    now = int(time.time())
    times = {claim: now + offset for claim, offset in {"iat": -200, **offsets}.items()}
    field = f"Bearer {forge(payload=claims(**times))}"
    if taken:
        assert identify("hs", field, skew=skew).uid == "ann"
        return
    with pytest.raises(Unauthorized):
        identify("hs", field, skew=skew)


def test_who_may_name_tenants_does(identify):
    field = f"Bearer {forge(payload=claims(zuul={'admin': ['one', 'two']}))}"

    assert identify("hs", field, allow_authz_override="True").admin_of == {"one", "two"}


def test_of_two_sections_with_one_issuer_that_with_the_audience_counts():
    first, second = (
        Issuer(AuthSection(name, "HS256", None, False, name, ISSUER, "sub", {}), OneKey(Key("HS256", SECRET.encode())))
        for name in ("one", "two")
    )
    token = parse(forge(payload=claims(aud="two")), None)

    assert issuer_of(token, [first, second], None).identify(token).section == "two"


def test_who_it_is_can_be_shown_without_what_the_token_says(identify):
    assert "groups" not in repr(identify("hs", f"Bearer {forge(payload=claims(groups=['a']))}"))
