# SPDX-License-Identifier: Apache-2.0
"""Which tenant a URL means that names none, and which names are tenants."""

from __future__ import annotations

import json
import time

import pytest

from zuul.web.backends.replies import Reply
from zuul.web.controllers.legacy import Tenants
from zuul.web.errors import NotFound, Unavailable


class Scheduler:
    def __init__(self, *names):
        self.names = names
        self.error = None
        self.calls = 0

    def tenant_list(self):
        self.calls += 1
        if self.error:
            raise self.error
        return Reply(json.dumps([{"name": name} for name in self.names]).encode(), time.monotonic() + 60)


class Snapshots:
    """One tenant has a status."""

    def has(self, tenant):
        return tenant == "with-status"


def tenants(*names, whitelabel=None):
    scheduler = Scheduler(*names)
    return Tenants(scheduler, Snapshots(), whitelabel), scheduler


def test_the_whitelabel_tenant_is_the_default_and_nobody_is_asked():
    found, scheduler = tenants("a", "b", whitelabel="b")

    assert found.default_at_hand() == found.default() == "b"
    assert scheduler.calls == 0


def test_the_only_tenant_is_the_default_and_at_hand_while_that_is_fresh(monkeypatch):
    found, scheduler = tenants("a")

    assert found.default_at_hand() is None
    assert found.default() == found.default_at_hand() == "a"
    assert scheduler.calls == 1
    now = time.monotonic()
    monkeypatch.setattr("zuul.web.controllers.legacy.time", type("Later", (), {"monotonic": lambda: now + 61}))
    assert found.default_at_hand() is None


@pytest.mark.parametrize("names", [(), ("a", "b")])
def test_of_none_or_several_tenants_none_is_the_default(names):
    found, scheduler = tenants("a")
    found.default()
    scheduler.names = names

    with pytest.raises(NotFound, match=r"there (is none|are several)\. .*whitelabel_tenant"):
        found.default()
    assert found.default_at_hand() is None


def test_while_the_scheduler_is_away_the_tenant_stays_what_it_was():
    found, scheduler = tenants("a")
    scheduler.error = Unavailable("nobody is there")

    with pytest.raises(Unavailable):
        found.default()
    scheduler.error = None
    found.default()
    scheduler.error = Unavailable("nobody is there")
    assert found.default() == "a"


def test_a_tenant_is_what_has_a_status_or_what_the_scheduler_knows():
    found, scheduler = tenants("a")

    assert found.exists("with-status")
    assert scheduler.calls == 0
    assert found.exists("a")
    assert not found.exists("b")
    assert found.is_at_hand("with-status")
    assert not found.is_at_hand("a")
