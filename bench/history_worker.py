# SPDX-License-Identifier: Apache-2.0
"""The bare queries of bench/history.py, ours or upstream's: no HTTP, no scheduler, in the interpreter that runs this.

    history_worker.py ours|upstream URL

Takes lines of JSON, `[action, tenant, method, arguments]`, and answers each with one. `action` is `run` (answers
seconds, rows, and how many statements it took) or `plan` (each statement, and how the database goes about it). Runs on
the Python of either's environment, so it uses no more than 3.8 has.
"""

import json
import sys
import time

import sqlalchemy
from sqlalchemy import event
from sqlalchemy.engine import Engine

PLANS = {"postgresql": "EXPLAIN (ANALYZE, BUFFERS) ", "mysql": "ANALYZE FORMAT=JSON ", "sqlite": "EXPLAIN QUERY PLAN "}
QUIET = ("SET ", "SHOW ", "SELECT VERSION", "SELECT @@", "SELECT DATABASE")


class Upstream:
    """The functions of upstream's SQL connection."""

    def __init__(self, url):
        from zuul.driver.sql.sqlconnection import SQLConnection

        if url.startswith("mysql:"):
            url = url.replace("mysql:", "mysql+pymysql:")
        # Its own default closes connections after a second without work; here that would be measured again and again.
        self.connection = SQLConnection(None, "database", {"dburi": url, "pool_recycle": 300})

    def run(self, method, tenant, arguments):
        if method == "build":
            return len(self.connection.getBuilds(tenant=tenant, limit=1, **arguments))
        if method == "buildset":
            return int(self.connection.getBuildset(tenant, **arguments) is not None)
        if method == "badge":
            return len(self.connection.getBuildsets(tenant=tenant, limit=1, **arguments))
        if "skip" in arguments:
            arguments["offset"] = arguments.pop("skip")
        call = self.connection.getBuilds if method == "builds" else self.connection.getBuildsets
        return len(call(tenant=tenant, **arguments))


class Ours:
    """The methods of our history."""

    def __init__(self, url):
        from zuul.web.backends.history import History
        from zuul.web.resources.history_queries import BuildQuery, BuildsetQuery
        from zuul.web.settings import Connection

        self.queries = {"builds": BuildQuery, "buildsets": BuildsetQuery}
        connection = Connection(name="database", driver="sql", options={"dburi": url})
        self.history = History([connection], self, timeout_seconds=30, connections_each=1)

    def tenant_sql_connection(self, tenant):
        return "database"

    def run(self, method, tenant, arguments):
        from zuul.web.errors import NotFound

        if method in ("build", "buildset"):
            try:
                getattr(self.history, method)(tenant, arguments["uuid"])
            except NotFound:
                return 0
            return 1
        lists = {k: v if k in ("limit", "skip", "idx_max", "idx_min", "marker") else [v] for k, v in arguments.items()}
        if method == "badge":
            lists.update(limit=1, complete=[True])
            method = "buildsets"
        query = self.queries[method].asking(**lists)
        return len(getattr(self.history, method)(tenant, query).rows)


class Statements:
    """What is sent to the database meanwhile, without what prepares a connection."""

    def __init__(self):
        self.found = []
        event.listen(Engine, "before_cursor_execute", self.note)

    def note(self, connection, cursor, statement, parameters, context, executemany):
        if not statement.startswith(QUIET):
            self.found.append((connection.engine, statement, parameters))

    def taken(self):
        found, self.found = self.found, []
        return found


def plan(engine, statement, parameters):
    """The lines of a plan."""
    with engine.connect() as connection:
        sent = PLANS[engine.dialect.name] + statement
        if sqlalchemy.__version__ < "1.4":
            rows = connection.execute(sent, parameters)
        else:
            rows = connection.exec_driver_sql(sent, parameters)
        return [" | ".join(str(value) for value in row) for row in rows.fetchall()]


def main():
    statements = Statements()
    reader = {"ours": Ours, "upstream": Upstream}[sys.argv[1]](sys.argv[2])
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        action, tenant, method, arguments = json.loads(line)
        answer = {}
        try:
            if action == "plan":  # the first time takes statements that tell ours which columns there are
                reader.run(method, tenant, dict(arguments))
            statements.taken()
            began = time.perf_counter()
            answer["rows"] = reader.run(method, tenant, dict(arguments))
            answer["seconds"] = time.perf_counter() - began
            found = statements.taken()
            answer["statements"] = len(found)
            if action == "plan":
                answer["plans"] = [
                    {
                        "statement": statement,
                        "parameters": repr(parameters),
                        "plan": plan(engine, statement, parameters),
                    }
                    for engine, statement, parameters in found
                ]
        except Exception as error:
            answer["error"] = f"{type(error).__name__}: {str(error)[:500]}"
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
