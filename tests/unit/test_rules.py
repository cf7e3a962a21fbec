# SPDX-License-Identifier: Apache-2.0
"""Rules of zuul.conf on claims."""

from __future__ import annotations

import pytest

from zuul.web.rules import Rule, any_allows, parse_rules

CLAIMS = {
    "iss": "https://idp.example.com",
    "groups": ["ci", "people in charge"],
    "email": "ann@example.com",
    "realm_access": {"roles": ["zuul"]},
    "https://example.com/groups": ["tests"],
    "n": 1,
    "yes": True,
}


@pytest.mark.parametrize(
    "text",
    [
        "groups=ci",
        "groups = ci",
        "groups=other, groups=ci",
        "groups=ci in one",
        "groups=people in charge in one",
        "groups=ci and iss=https://idp.example.com",
        "groups=ci and email=ann@example.com in one",
        "realm_access.roles=zuul",
        "https://example.com/groups=tests",
        "*",
        "* in one",
    ],
)
def test_it_holds(text):
    assert any_allows(parse_rules(text), CLAIMS, "one")


@pytest.mark.parametrize(
    "text",
    [
        "groups=c",
        "groups=ci2",
        "groups=CI",
        "groups=*",
        "groups=ci in two",
        "groups=ci and iss=https://evil.example.com",
        "email=ann@example",
        "realm_access=zuul",
        "realm_access.roles.x=zuul",
        "n=1",
        "yes=True",
        "missing=x",
        "* in two",
    ],
)
def test_it_does_not_hold(text):
    assert not any_allows(parse_rules(text), CLAIMS, "one")


def test_what_belongs_to_no_tenant_takes_a_rule_for_all():
    assert not any_allows(parse_rules("groups=ci in one"), CLAIMS, None)
    assert any_allows(parse_rules("groups=ci"), CLAIMS, None)


def test_a_rule_says_its_conditions_and_its_tenant():
    assert parse_rules("a=b and c=d=e in one") == (Rule((("a", "b"), ("c", "d=e")), "one"),)


@pytest.mark.parametrize("text", ["", ",", "a", "a=", "=b", "a b=c", "groups=ci,", "a=b and c", "in one", "* and a=b"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(ValueError):
        parse_rules(text)
