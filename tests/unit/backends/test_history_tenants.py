# SPDX-License-Identifier: Apache-2.0
"""Which database a tenant's history is in, and what is done where nobody can say."""

from __future__ import annotations

import contextlib
import inspect

import pytest

from zuul.web.backends.history import History, facade
from zuul.web.backends.scheduler import Scheduler
from zuul.web.errors import BadReply, NotFound, Timeout, Unavailable
from zuul.web.resources.history_queries import BuildQuery
from zuul.web.sandbox.history import make_database
from zuul.web.settings import Connection

QUERY = BuildQuery.asking(limit=1)


class Zuul:
    """Answers from a dict of tenants, and counts; or raises its `error`."""

    def __init__(self, tenants, holds=()):
        self.tenants = tenants
        self.holds = holds
        self.asked = 0
        self.error = None

    def tenant_sql_connection(self, tenant):
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.tenants.get(tenant)

    def autohold_list(self):
        if self.error is not None:
            raise self.error
        return list(self.holds)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two databases with different numbers of builds."""
    folder = tmp_path_factory.mktemp("made")
    make_database(f"sqlite:///{folder}/one.db", builds=20)
    make_database(f"sqlite:///{folder}/two.db", builds=400)
    return folder


@pytest.fixture
def history_of(files):
    with contextlib.ExitStack() as stack:

        def history_of(zuul, *names):
            connections = [Connection(name, "sql", {"dburi": f"sqlite:///{files}/{name}.db"}) for name in names]
            connections.append(Connection("gerrit", "gerrit", {}))
            history = History(connections, zuul, timeout_seconds=5, connections_each=1)
            stack.callback(history.close)
            return history

        yield history_of


def newest(history, tenant="example"):
    return history.builds(tenant, QUERY).rows[0]["_id"]


@pytest.mark.parametrize("name", ["tenant_sql_connection", "autohold_list"])
def test_the_fake_has_the_real_signatures(name):
    real, fake = inspect.signature(getattr(Scheduler, name)), inspect.signature(getattr(Zuul, name))
    assert list(fake.parameters) == list(real.parameters)


def test_the_scheduler_is_asked_once_a_minute(history_of, monkeypatch):
    zuul = Zuul({"example": "one"})
    history = history_of(zuul, "one")
    assert newest(history) == newest(history) and zuul.asked == 1
    history.builds("example", BuildQuery.asking())
    assert zuul.asked == 1
    monkeypatch.setattr(facade, "KNOWN_SECONDS", 0)
    newest(history)
    assert zuul.asked == 2


def test_each_tenant_is_in_the_database_that_it_reports_to(history_of):
    history = history_of(Zuul({"example": "one", "widgets": "two"}), "one", "two")
    (one,) = history.builds("example", QUERY).rows
    (two,) = history.builds("widgets", QUERY).rows
    assert one["_id"] <= 20 < two["_id"]
    assert [state["state"] for state in history.states().values()] == ["up", "up"]


def test_a_tenant_that_moves_is_followed(history_of, monkeypatch):
    monkeypatch.setattr(facade, "KNOWN_SECONDS", 0)
    zuul = Zuul({"example": "one"})
    history = history_of(zuul, "one", "two")
    assert newest(history) <= 20
    zuul.tenants["example"] = "two"
    assert newest(history) > 20
    del zuul.tenants["example"]
    with pytest.raises(NotFound, match="Tenant example does not exist, or reports to no database"):
        newest(history)


@pytest.mark.parametrize("error", [Unavailable("nobody is there"), Timeout("it does not answer")])
def test_while_nobody_is_there_to_ask_the_last_word_counts(history_of, monkeypatch, error):
    monkeypatch.setattr(facade, "KNOWN_SECONDS", 0)
    zuul = Zuul({"example": "two"})
    history = history_of(zuul, "one", "two")
    assert newest(history) > 20
    zuul.error = error
    assert newest(history) > 20
    with pytest.raises(type(error)):  # of two nobody knows which
        newest(history, "widgets")


def test_while_nobody_is_there_to_ask_the_only_database_is_meant(history_of):
    zuul = Zuul({})
    zuul.error = Unavailable("nobody is there")
    history = history_of(zuul, "one")
    assert newest(history) <= 20
    assert history.builds("nope", QUERY).rows == []
    with pytest.raises(Unavailable):  # by whose holds?
        history.builds("example", BuildQuery.asking(held=[True]))


def test_an_answer_that_makes_no_sense_is_not_taken_for_away(history_of):
    zuul = Zuul({})
    zuul.error = BadReply("nonsense")
    with pytest.raises(BadReply):
        newest(history_of(zuul, "one"))


def test_a_connection_that_this_server_has_not(history_of):
    with pytest.raises(Unavailable, match=r"is in \[connection other\], which this server has not"):
        newest(history_of(Zuul({"example": "other"}), "one"))


def test_without_a_database_there_is_no_history(history_of):
    zuul = Zuul({"example": "one"})
    with pytest.raises(NotFound, match="driver=sql, so there is no history"):
        newest(history_of(zuul))
    assert zuul.asked == 0


@pytest.mark.parametrize("holds", [[{}], [{"tenant": "example"}], [{"tenant": "example", "nodes": [{}]}], ["x"],
                                   [{"tenant": "example", "nodes": 1}]])  # fmt: skip
def test_holds_that_are_none_are_a_bad_reply(history_of, holds):
    with pytest.raises(BadReply):
        history_of(Zuul({"example": "one"}, holds), "one").builds("example", BuildQuery.asking(held=[True]))


def test_a_hold_whose_build_has_no_name(history_of):
    holds = [{"tenant": "example", "nodes": [{"build": None, "nodes": []}, {"build": "x", "nodes": []}]}]
    history = history_of(Zuul({"example": "one"}, holds), "one")
    assert history.builds("example", BuildQuery.asking(held=[True])).rows == []
    assert history.builds("example", BuildQuery.asking(held=[False])).rows
