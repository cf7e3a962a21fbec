#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How fast builds and buildsets are found in a history of a million builds, beside upstream's zuul-web.

    python bench/history.py --work history --zuul-web VENV/bin/zuul-web --out result.json
    python bench/history.py --report result.json           the table of an earlier run, in Markdown
    python bench/history.py --plans plans.md --only pair   how databases go about it, ours and upstream's

PostgreSQL, MariaDB and SQLite hold the same rows, in --work, where they stay for the next run. Each is read twice: with
the indexes of upstream's schema and no others (`plain`), and with those that `zuul-rest check` recommends (`indexed`).
Measured are, one at a time and taking turns: requests to `zuul-rest serve` and to zuul-web, and the bare queries of
either in a process without HTTP. zuul-web asks the scheduler before each query and looks for the answer every 0.1 s;
its bare queries are free of that. Needs Debian's postgresql and mariadb-server (or what --databases names of
them), and for zuul-web a ZooKeeper, and PyMySQL in its environment. Everything listens on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import logging
import os
import re
import select
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin

from history_databases import DATABASES, INDEXED, PLAIN, Databases
from large_collections import free_port

from zuul.web.backends.rpc.gearman_worker import GearmanWorker, start_server
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

TENANT, SMALL_TENANT = "example", "platform.example"
NOBODY = "nobody-has-this"
DEADLINE = 30.0
TOO_LATE = ("not found it within", "statement timeout", "max_statement_time")
"""What errors say of statements that took longer."""
NAMES = {"plain": PLAIN, "indexed": INDEXED}
SIDES = ("ours", "upstream", "ours bare", "upstream bare")

CONF = """
[gearman]
server=127.0.0.1
port={gearman}
[zookeeper]
hosts={zookeeper}
[scheduler]
state_dir={folder}
[web]
listen_address=127.0.0.1
port={port}
pidfile={folder}/web.pid
command_socket={folder}/web.socket
static_path={folder}
log_config={folder}/logging.conf
[rest]
sql_timeout=30
[connection database]
driver=sql
dburi={dburi}
"""
LOGGING = """
[loggers]
keys=root
[handlers]
keys=stderr
[formatters]
keys=simple
[logger_root]
level=WARNING
handlers=stderr
[handler_stderr]
class=StreamHandler
formatter=simple
args=(sys.stderr,)
[formatter_simple]
format=%(asctime)s %(levelname)s %(name)s: %(message)s
"""

BUILD_FILTERS = ("project", "pipeline", "change", "branch", "patchset", "ref", "newrev", "uuid", "job_name", "voting",
                 "node_name", "result")  # fmt: skip
BUILDSET_FILTERS = ("project", "pipeline", "change", "branch", "patchset", "ref", "newrev", "uuid", "result")
PAIRS = (("project", "pipeline"), ("project", "branch"), ("project", "change"), ("project", "job_name"),
         ("pipeline", "result"), ("job_name", "result"), ("project", "result"), ("pipeline", "branch"),
         ("change", "patchset"), ("job_name", "voting"))  # fmt: skip
OF_BUILD = frozenset({"uuid", "job_name", "voting", "node_name", "result"})


@dataclass
class Case:
    """One question.

    :param sides: who can be asked; upstream has no cursors.
    """

    name: str
    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    tenant: str = TENANT
    sides: tuple[str, ...] = SIDES

    @property
    def path(self) -> str:
        base = f"/api/tenant/{quote(self.tenant)}/{self.method}"
        if self.method in ("build", "buildset"):
            return f"{base}/{self.arguments['uuid']}"
        values = {name: str(value).lower() if value is True or value is False else value
                  for name, value in self.arguments.items()}  # fmt: skip
        return f"{base}?{urlencode(values)}" if values else base


class Cases:
    """The questions, with values that the rows have: the most frequent one, the rarest and oldest one, and none."""

    def __init__(self, file: Path) -> None:
        kept = file.with_suffix(".cases.json")
        if not kept.exists():  # it takes a minute to find the values
            with contextlib.closing(sqlite3.connect(file)) as self._rows:
                made = [*self._builds(), *self._buildsets(), *self._single_ones()]
            kept.write_text(json.dumps([asdict(case) for case in made], indent=1))
        self.all = [Case(**case) for case in json.loads(kept.read_text())]

    def _builds(self) -> Iterator[Case]:
        page: dict[str, Any] = {"limit": 50}
        (half,) = self._rows.execute("SELECT max(id) / 2 FROM zuul_build").fetchone()
        deep = self._rows.execute(
            "SELECT b.id FROM zuul_build b JOIN zuul_buildset s ON s.id = b.buildset_id WHERE s.tenant = ? "
            "ORDER BY b.id DESC LIMIT 1 OFFSET ?",
            (TENANT, half),
        ).fetchone()
        yield Case("builds: first page", "builds", page)
        yield Case("builds: first page of a small tenant", "builds", page, SMALL_TENANT)
        yield Case("builds: next pages by Link", "walk", page, sides=("ours",))
        yield Case(f"builds: skip {half}", "builds", {**page, "skip": half})
        if deep is not None:
            yield Case(
                "builds: the same by cursor", "builds", {**page, "idx_max": deep[0]}, sides=("ours", "ours bare")
            )
        for name in BUILD_FILTERS:
            for kind, values in self._values("build", (name,)):
                yield Case(f"builds: {name}, {kind}", "builds", {**page, **values})
        for pair in PAIRS:
            for kind, values in self._values("build", pair):
                if kind != "nobody":
                    yield Case(f"builds: {'+'.join(pair)}, {kind}", "builds", {**page, **values})

    def _buildsets(self) -> Iterator[Case]:
        page: dict[str, Any] = {"limit": 50}
        (half,) = self._rows.execute("SELECT max(id) / 2 FROM zuul_buildset").fetchone()
        yield Case("buildsets: first page", "buildsets", page)
        yield Case("buildsets: first page of a small tenant", "buildsets", page, SMALL_TENANT)
        yield Case(f"buildsets: skip {half}", "buildsets", {**page, "skip": half})
        for name in BUILDSET_FILTERS:
            for kind, values in self._values("buildset", (name,)):
                yield Case(f"buildsets: {name}, {kind}", "buildsets", {**page, **values})

    def _single_ones(self) -> Iterator[Case]:
        for method in ("build", "buildset"):
            ((_, found), *_) = self._values(method, ("uuid",))
            yield Case(f"one {method}", method, found)
            yield Case(f"one {method}, nobody", method, {"uuid": NOBODY})
        for names in (("project",), ("project", "pipeline"), ("project", "branch")):
            for kind, values in self._values("buildset", names):
                yield Case(f"badge: {'+'.join(names)}, {kind}", "badge", values)

    def _values(self, of: str, names: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
        columns = [f'b."{name}"' if of == "build" and name in OF_BUILD else f's."{name}"' for name in names]
        build = "zuul_build b JOIN zuul_buildset s ON s.id = b.buildset_id"
        listed = ", ".join(columns)
        key = "b.id" if of == "build" else "s.id"
        found = self._rows.execute(
            f"SELECT {listed} FROM {build if of == 'build' else 'zuul_buildset s'} WHERE s.tenant = ? AND "
            + " AND ".join(f"{column} IS NOT NULL AND {column} <> ''" for column in columns)
            + f" GROUP BY {listed} ORDER BY count(*) DESC, max({key}) DESC",
            (TENANT,),
        ).fetchall()
        if not found:
            return
        kinds = {"common": found[0], "rare": found[-1]}
        if names == ("uuid",):
            kinds = {"there": found[len(found) // 2]}
        for kind, row in kinds.items():
            yield kind, {name: bool(v) if name == "voting" else v for name, v in zip(names, row, strict=True)}
        if names != ("voting",):
            yield (
                "nobody",
                {
                    names[0]: 2**31 - 1 if names[0] == "change" else NOBODY,
                    **dict(zip(names[1:], found[0][1:], strict=True)),
                },
            )


# -- whom to ask


class Slow(Exception):
    """No answer within the deadline."""


class Failed(Exception):
    """An answer that is none."""


class Http:
    """A server of either, in a process of its own; it is started when it is asked first, and anew after `Slow`."""

    def __init__(self, command: str, values: dict[str, Any]) -> None:
        self._command, self._values = command, values
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None
        self._folder = tempfile.TemporaryDirectory()
        self._next: str | None = None

    def ask(self, case: Case) -> tuple[float, int | None]:
        """Seconds, and rows where they are rows."""
        if self._process is None:
            self._start()
        path = case.path
        if case.method == "walk":
            path = self._next or f"/v1/tenants/{case.tenant}/builds?{urlencode(case.arguments)}"
        seconds, status, headers, body = self._get(path)
        if case.method == "walk":
            link = re.search(r'<([^>]+)>; *rel="?next', headers.get("Link") or "")
            if link is None:
                raise Failed(f"no next page in {headers.get('Link')}")
            self._next = urljoin(path, link[1])
        if status == 404 and case.method in ("build", "buildset", "badge"):
            return seconds, 0
        if status != 200:
            raise Failed(f"{status} {body[:200]!r}")
        return seconds, len(json.loads(body)) if case.method in ("builds", "buildsets", "walk") else None

    def _get(self, path: str) -> tuple[float, int, Any, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._values["port"], timeout=DEADLINE)
        began = time.perf_counter()
        try:
            self._connection.request("GET", path)
            response = self._connection.getresponse()
            body = response.read()
        except TimeoutError:
            self.stop()
            raise Slow from None
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            raise Failed(repr(error)) from None
        return time.perf_counter() - began, response.status, response.headers, body

    def _start(self) -> None:
        folder = Path(self._folder.name)
        values = {**self._values, "port": free_port(), "folder": folder}
        self._values = values
        (folder / "zuul.conf").write_text(CONF.format(**values))
        (folder / "logging.conf").write_text(LOGGING)
        for name in ("passing.svg", "failing.svg"):  # of upstream's badges
            (folder / name).write_text("<svg/>")
        words = self._command.format(conf=folder / "zuul.conf").split()
        with (folder / "log").open("w") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)
        for _ in range(600):
            if self._process.poll() is not None:
                raise SystemExit(f"{self._command} ended:\n{(folder / 'log').read_text()[-3000:]}")
            with contextlib.suppress(Failed):
                if self._get(f"/api/tenant/{TENANT}/build/{NOBODY}")[1] == 404:
                    return
            time.sleep(0.1)
        raise SystemExit(f"{self._command} does not answer:\n{(folder / 'log').read_text()[-3000:]}")

    def stop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(20)
            self._process = None


class Bare:
    """The queries of either without a server: see `history_worker.py`."""

    def __init__(self, python: str, whose: str, url: str) -> None:
        self._words = [python, "-W", "ignore", str(Path(__file__).with_name("history_worker.py")), whose, url]
        self._process: subprocess.Popen[str] | None = None
        self.statements: int | None = None

    def ask(self, case: Case) -> tuple[float, int | None]:
        answer = self.tell("run", case)
        self.statements = answer["statements"]
        return answer["seconds"], answer["rows"]

    def tell(self, action: str, case: Case) -> dict[str, Any]:
        if self._process is None:
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
            self._line(60)
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([action, case.tenant, case.method, case.arguments]) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = self._line(DEADLINE * (5 if action == "plan" else 1))
        if "error" in answer:
            late = any(words in answer["error"] for words in TOO_LATE)
            raise Slow if late else Failed(answer["error"])
        return answer

    def _line(self, seconds: float) -> Any:
        assert self._process is not None and self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            self.stop()
            raise Slow
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self._words)} ended")
        return json.loads(line)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None


def limited(url: str) -> str:
    """A URL whose server gives up what we no longer wait for. SQLite has none; its process ends."""
    if url.startswith("postgresql"):
        return f"{url}?options=-cstatement_timeout%3D{DEADLINE * 1000:.0f}"
    if url.startswith("mysql"):
        return f"{url}?init_command=SET%20max_statement_time%3D{DEADLINE:.0f}"
    return url


@contextlib.contextmanager
def askers(options: argparse.Namespace, url: str, sides: list[str], gearman_port: int) -> Iterator[dict[str, Any]]:
    theirs = limited(url)
    values = {"gearman": gearman_port, "zookeeper": options.zookeeper}
    made: dict[str, Any] = {}
    for side in sides:
        if side == "ours":
            command = f"{sys.executable} -m zuul.web.cli serve -c {{conf}}"
            made[side] = Http(command, {**values, "dburi": url})
        elif side == "upstream":
            # ConfigParser takes a percent sign for its own.
            dburi = theirs.replace("mysql:", "mysql+pymysql:").replace("%", "%%")
            made[side] = Http(f"{options.zuul_web} -f -c {{conf}}", {**values, "dburi": dburi})
        elif side == "ours bare":
            made[side] = Bare(sys.executable, "ours", url)
        else:
            made[side] = Bare(str(Path(options.zuul_web).with_name("python")), "upstream", theirs)
    try:
        yield made
    finally:
        for asker in made.values():
            asker.stop()


# -- measuring


def measure(case: Case, asked: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds by side, taking turns."""
    samples: dict[str, list[float]] = {side: [] for side in asked if side in case.sides}
    results: dict[str, Any] = {side: {} for side in samples}
    wanted = dict.fromkeys(samples, options.requests)
    for turn in range(options.requests + 1):
        for side, found in samples.items():
            if len(found) >= wanted[side]:
                continue
            try:
                seconds, rows = asked[side].ask(case)
            except Slow:
                results[side]["error"] = f"none within {DEADLINE:.0f} s"
                wanted[side] = 0
                continue
            except Failed as error:
                results[side]["error"] = str(error)
                wanted[side] = 0
                continue
            results[side]["rows"] = rows
            if turn == 0 and seconds < max(options.slow, 2):
                continue  # to warm up
            found.append(seconds * 1000)
            if seconds > options.slow:
                wanted[side] = min(wanted[side], options.slow_requests)
    for side, found in samples.items():
        if isinstance(asked[side], Bare) and asked[side].statements is not None:
            results[side]["statements"] = asked[side].statements
        if found:
            found.sort()
            results[side].update(
                n=len(found),
                best=found[0],
                p50=statistics.median(found),
                p99=found[min(len(found) - 1, int(len(found) * 0.99))],
            )
    return results


def run(options: argparse.Namespace, databases: Databases, cases: list[Case]) -> list[dict[str, Any]]:
    sides = [side for side in options.sides.split(",") if options.zuul_web or not side.startswith("upstream")]
    results = []
    logging.getLogger("gear").setLevel(logging.ERROR)  # it tells of each packet that it does not know
    server = start_server()
    functions = SandboxScheduler(load(None), clock=lambda: 1_600_000_000.0).functions
    GearmanWorker("127.0.0.1", server.port, functions, "Zuul RPC Listener").start()
    for schema in options.indexes.split(","):
        for database in options.databases.split(","):
            here = [side for side in sides if side != "upstream" or schema == "plain"]
            with askers(options, databases.url(database, NAMES[schema]), here, server.port) as asked:
                for case in cases:
                    found = measure(case, asked, options)
                    results.append({"database": database, "indexes": schema, "case": case.name, "path": case.path,
                                    "load": os.getloadavg()[0], "sides": found})  # fmt: skip
                    if options.out:
                        save(options, results)
                    print(f"{database:10} {schema:7} {case.name:45} " + "  ".join(
                        f"{side} {shown(numbers)}" for side, numbers in found.items()), flush=True)  # fmt: skip
    return results


def save(options: argparse.Namespace, results: list[dict[str, Any]]) -> None:
    whole = Path(options.out).with_suffix(".making")
    whole.write_text(json.dumps({"builds": options.builds, "results": results}, indent=1) + "\n")
    whole.rename(options.out)


def shown(numbers: dict[str, Any] | None) -> str:
    if not numbers:
        return "-"
    if "p50" not in numbers:
        return str(numbers.get("error", "-")).split(":")[0][:25]
    return f"{numbers['p50']:.1f} / {numbers['p99']:.1f}"


# -- reports


def ratio(sides: dict[str, Any], ours: str, theirs: str, of: str = "p50") -> float | None:
    one, other = sides.get(ours, {}), sides.get(theirs, {})
    if of not in one:
        return float("inf") if "error" in one and of in other else None
    if of not in other:
        # What does not answer within the deadline takes at least so long.
        return one[of] / (DEADLINE * 1000) if other.get("error", "").startswith("none within") else None
    return float(one[of] / other[of])


def report(files: list[str]) -> str:
    """Markdown: what is slower than upstream's, and a table for each database and schema."""
    documents = [json.loads(Path(file).read_text()) for file in files]
    results = [row for document in documents for row in document["results"]]
    lines = [
        f"p50 / p99 in ms, of {documents[0]['builds']} builds. `:` is ours divided by upstream's (p50); above 1, ours "
        "is slower. `bare` is the query without HTTP, and `st` its statements, ours and upstream's."
    ]
    for schema in NAMES:
        for database in DATABASES:
            rows = [row for row in results if (row["database"], row["indexes"]) == (database, schema)]
            if rows:
                lines += ["", f"## {database}, {schema}", "", *_summary(rows), "", *_table(rows)]
    return "\n".join(lines)


def _summary(rows: list[dict[str, Any]]) -> Iterator[str]:
    for ours, theirs in (("ours", "upstream"), ("ours bare", "upstream bare")):
        for of in ("p50", "best"):
            ratios = [
                (value, row["case"]) for row in rows if (value := ratio(row["sides"], ours, theirs, of)) is not None
            ]
            if not ratios:
                continue
            slower = sorted(((value, case) for value, case in ratios if value > 1), reverse=True)
            median = statistics.median(value for value, _ in ratios)
            yield (
                f"- {ours} : {theirs}, {of}: {len(ratios)} cases, median {median:.2f}, {len(slower)} above 1"
                + "".join(f"; {case} {value:.2f}" for value, case in slower)
            )
    others = [
        f"{row['case']} {counts}"
        for row in rows
        if len(counts := {numbers["rows"] for numbers in row["sides"].values() if numbers.get("rows") is not None}) > 1
    ]
    if others:
        yield f"- not as many rows from all: {'; '.join(others)}"
    pages = {row["case"]: row["sides"] for row in rows}
    first = pages.get("builds: first page")
    for name, sides in pages.items():
        if first and re.match("builds: (skip|the same by cursor|next pages)", name):
            for side in SIDES:
                deep, shallow = sides.get(side, {}), first.get(side, {})
                if "p50" in deep and "p50" in shallow:
                    yield f"- {name} : first page, {side}: {deep['p50'] / shallow['p50']:.2f}"


def _table(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| case | " + " | ".join((*SIDES[:2], ":", *SIDES[2:], ":", "st")) + " |"
    yield "|---" * 8 + "|"
    for row in rows:
        sides = row["sides"]
        ratios = [ratio(sides, "ours", "upstream"), ratio(sides, "ours bare", "upstream bare")]
        first, second = ("-" if value is None else f"{value:.2f}" for value in ratios)
        counts = " / ".join(str(sides.get(side, {}).get("statements", "-")) for side in SIDES[2:])
        cells = [shown(sides.get(side)) for side in SIDES]
        yield f"| {' | '.join((row['case'], *cells[:2], first, *cells[2:], second, counts))} |"


def plans(options: argparse.Namespace, databases: Databases, cases: list[Case]) -> str:
    lines = []
    for schema in options.indexes.split(","):
        for database in options.databases.split(","):
            with askers(options, databases.url(database, NAMES[schema]), ["ours bare", "upstream bare"], 0) as asked:
                for case in cases:
                    lines += ["", f"## {database}, {schema}: {case.name}", "", f"`{case.path}`"]
                    for side, asker in asked.items():
                        if side not in case.sides:
                            continue
                        try:
                            answer = asker.tell("plan", case)
                        except (Slow, Failed) as error:
                            lines += ["", f"{side}: {error!r}"]
                            continue
                        lines += ["", f"{side}: {answer['seconds'] * 1000:.1f} ms, {answer['statements']} statements"]
                        for found in answer["plans"]:
                            lines += ["", "```", found["statement"], found["parameters"], "", *found["plan"], "```"]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "zuul-rest-history")
    parser.add_argument("--builds", type=int, default=1_000_000)
    parser.add_argument("--zuul-web", help="upstream's program, in its environment")
    parser.add_argument("--zookeeper", default="127.0.0.1:2181", help="which upstream's does not start without")
    parser.add_argument("--databases", default=",".join(DATABASES))
    parser.add_argument("--indexes", default=",".join(NAMES))
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--only", default="", help="a regular expression for the names of cases")
    parser.add_argument("--requests", type=int, default=20)
    parser.add_argument("--slow", type=float, default=2.0, metavar="SECONDS", help="from where on there are fewer")
    parser.add_argument("--slow-requests", type=int, default=3)
    parser.add_argument("--postgresql-port", type=int, default=25999)
    parser.add_argument("--mariadb-port", type=int, default=25998)
    parser.add_argument("--out", help="a file for the results, in JSON")
    parser.add_argument("--plans", help="measure nothing; a file for the plans of the queries, in Markdown")
    parser.add_argument("--report", nargs="+", metavar="FILE", help="print what earlier runs wrote, and end")
    options = parser.parse_args()
    if options.report:
        print(report(options.report))
        return
    databases = Databases(options.work, options.builds, options.postgresql_port, options.mariadb_port)
    try:
        databases.prepare(options.databases.split(","))
        cases = [case for case in Cases(databases.file()).all if re.search(options.only, case.name)]
        if options.plans:
            Path(options.plans).write_text(plans(options, databases, cases) + "\n")
        else:
            run(options, databases, cases)
    finally:
        databases.stop()
    if options.out:
        print(report([options.out]))


if __name__ == "__main__":
    main()
