# SPDX-License-Identifier: Apache-2.0
"""The sandbox's zuul.conf names a database of builds, which follows what the status shows."""

from __future__ import annotations

import json
import os

import pytest
from services import wait_until
from sqlalchemy import create_engine, select

from zuul.web.sandbox.database import Tables
from zuul.web.sandbox.history import History
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler
from zuul.web.sandbox.service import Sandbox
from zuul.web.settings import read

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gear")

START = 1_600_000_000.0


def test_the_zuul_conf_has_the_connection_that_the_scheduler_names_and_builds_arrive_there():
    now = START
    scenario = load(None)
    history = History(scenario, builds=200, end=START - 3000)
    scheduler = SandboxScheduler(scenario, clock=lambda: now, report_to=history.append)
    with Sandbox(scheduler, "127.0.0.1", 0, history) as sandbox:
        (connection,) = read(sandbox.zuul_conf).connections
        assert connection.driver == "sql"
        for tenant in scheduler.tenants:
            assert json.loads(scheduler.functions["zuul:tenant_sql_connection"]({"tenant": tenant})) == connection.name
        folder = os.path.dirname(sandbox.zuul_conf)
        assert connection.options["dburi"] == f"sqlite:///{folder}/zuul.sqlite"

        engine = create_engine(connection.options["dburi"])
        status = json.loads(scheduler.functions["zuul:status_get"]({"tenant": "example"}))
        queues = (queue for pipeline in status["pipelines"] for queue in pipeline["change_queues"])
        items = {item["zuul_ref"][1:] for queue in queues for head in queue["heads"] for item in head}
        now += 2000
        scheduler.functions["zuul:status_get"]({"tenant": "example"})

        def reported():
            with engine.connect() as database:
                return items & set(database.execute(select(Tables().buildset.c.uuid)).scalars())

        wait_until(reported, what="an item of the status, now that it is through")
        engine.dispose()
    assert not os.path.exists(folder)
