# SPDX-License-Identifier: Apache-2.0
"""Tokens that `zuul-rest token` makes, and those that it does not."""

from __future__ import annotations

import jwt
import pytest
from forged_tokens import SECRET, private_pem, public_pem

from zuul.web import cli
from zuul.web.auth.keys import configured
from zuul.web.auth.tokens import Issuer, parse
from zuul.web.settings import ConfigError, read

COMMON = "client_id=zuul\nissuer_id=idp\nallow_authz_override=true\n"


@pytest.fixture
def conf(tmp_path):
    (tmp_path / "private.pem").write_bytes(private_pem())
    (tmp_path / "public.pem").write_bytes(public_pem())

    def conf(text):
        path = tmp_path / "zuul.conf"
        path.write_text(text.replace("HERE", str(tmp_path)))
        return str(path)

    return conf


HS = f"[auth hs]\ndriver=HS256\nsecret={SECRET}\n{COMMON}"
RS = f"[auth rs]\ndriver=RS256\npublic_key=HERE/public.pem\nprivate_key=HERE/private.pem\n{COMMON}"
OIDC = f"[auth oidc]\ndriver=OpenIDConnect\n{COMMON}"


@pytest.mark.parametrize("text", [HS, RS, HS + OIDC, HS + "uid_claim=email\n"])
def test_it_is_taken_here(conf, capsys, text):
    path = conf(text)

    assert cli.main(["token", "-c", path, "--user", "ann", "--tenant", "one", "--tenant", "two"]) == 0

    word, token = capsys.readouterr().out.split()
    section = read(path).auth[0]
    identity = Issuer(section, configured(section)).identify(parse(token, None))
    assert (word, identity.uid, identity.admin_of) == ("Bearer", "ann", {"one", "two"})
    assert identity.claims["exp"] - identity.claims["iat"] == 600


def test_it_is_a_token_to_others_too(conf, capsys):
    cli.main(["token", "-c", conf(RS), "--user", "ann", "--expires-in", "60"])

    token = capsys.readouterr().out.split()[1]
    claims = jwt.decode(token, public_pem(), algorithms=["RS256"], audience="zuul", issuer="idp")
    assert claims["sub"] == "ann"
    assert "zuul" not in claims


def test_one_of_several_sections_is_named(conf, capsys):
    arguments = ["token", "-c", conf(HS + RS), "--user", "ann"]

    assert cli.main(arguments) == 2
    assert "2 sections [auth NAME] can sign; name one by --auth-config" in capsys.readouterr().err
    assert cli.main([*arguments, "--auth-config", "rs"]) == 0


@pytest.mark.parametrize(
    ("text", "more", "sentence"),
    [
        ("", [], "0 sections [auth NAME] can sign"),
        (HS, ["--auth-config", "nope"], "there is no section [auth nope]"),
        (OIDC, ["--auth-config", "oidc"], "[auth oidc] has a driver whose tokens only the provider makes."),
        (HS.replace("true", "false"), ["--tenant", "one"], "[auth hs] allow_authz_override must be true"),
        (RS.replace("private_key=HERE/private.pem\n", ""), ["--auth-config", "rs"], "private_key is missing"),
        (RS.replace("private.pem", "nope.pem"), [], "private_key cannot be read: No such file or directory"),
        (RS.replace("private.pem", "public.pem"), [], "private_key must be the path of an RSA key in PEM"),
        (HS, ["--expires-in", "0"], "--expires-in must be"),
    ],
)
def test_what_cannot_be_done_is_said(conf, capsys, text, more, sentence):
    assert cli.main(["token", "-c", conf(text), "--user", "ann", *more]) == 2

    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""
    assert SECRET not in said.err


@pytest.mark.parametrize("content", [b"", b"nope", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"])
def test_a_public_key_that_is_none_stops_the_start(conf, tmp_path, content):
    path = conf(RS)
    (tmp_path / "public.pem").write_bytes(content)

    with pytest.raises(ConfigError, match=r"^\[auth rs\] public_key must be the path of an RSA key in PEM.$"):
        configured(read(path).auth[0])


def test_a_private_key_is_as_good_as_its_public_one(conf):
    section = read(conf(RS.replace("public.pem", "private.pem"))).auth[0]

    of_both = configured(read(conf(RS)).auth[0]).of({}).public.public_numbers()
    assert configured(section).of({}).public.public_numbers() == of_both
