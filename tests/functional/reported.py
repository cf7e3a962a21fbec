# SPDX-License-Identifier: Apache-2.0
"""What a database of builds should answer, said again in plain Python over all of its rows."""

from __future__ import annotations

import json
import re
import sqlite3
from datetime import datetime
from typing import Any

Row = dict[str, Any]

ITEM = ("project", "branch", "pipeline", "change", "patchset", "ref", "newrev", "ref_url", "event_id")
RESULT = ("uuid", "job_name", "result", "start_time", "end_time", "voting", "log_url", "node_name", "error_detail")
WILD = ("project", "pipeline", "branch", "job_name")


class Reported:
    """All rows of a SQLite file: `builds` and `buildsets` by tenant, each in the order of their numbers."""

    def __init__(self, path: Any) -> None:
        connection = sqlite3.connect(path)
        connection.row_factory = sqlite3.Row

        def rows(table: str) -> list[Row]:
            return [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY id")]

        self.builds: dict[str, list[Row]] = {}
        self.buildsets: dict[str, list[Row]] = {}
        by_id = {}
        for buildset in rows("zuul_buildset"):
            by_id[buildset["id"]] = buildset
            buildset["builds"] = []
            self.buildsets.setdefault(buildset["tenant"], []).append(buildset)
        builds = {build["id"]: build for build in rows("zuul_build")}
        for build in builds.values():
            buildset = by_id[build["buildset_id"]]
            build |= {"start_time": _time(build["start_time"]), "end_time": _time(build["end_time"])}
            build |= {"artifacts": [], "provides": [], "buildset": buildset, "voting": bool(build["voting"])}
            build |= {name: buildset[name] for name in ITEM}
            buildset["builds"].append(build)
            self.builds.setdefault(buildset["tenant"], []).append(build)
        for artifact in rows("zuul_artifact"):
            more = {"metadata": json.loads(artifact["metadata"])} if artifact["metadata"] else {}
            found = {"name": artifact["name"], "url": artifact["url"], **more}
            builds[artifact["build_id"]]["artifacts"].append(found)
        for provides in rows("zuul_provides"):
            builds[provides["build_id"]]["provides"].append({"name": provides["name"]})
        connection.close()

    def chosen_builds(self, tenant: str, query: list[tuple[str, str]]) -> list[Row]:
        """Those that a query is to find, the newest first."""
        return [build for build in reversed(self.builds.get(tenant, [])) if _fits(build, query, [build["end_time"]])]

    def chosen_buildsets(self, tenant: str, query: list[tuple[str, str]]) -> list[Row]:
        found = reversed(self.buildsets.get(tenant, []))
        return [one for one in found if _fits(one, query, [build["end_time"] for build in one["builds"]])]


def _fits(row: Row, query: list[tuple[str, str]], ends: list[datetime]) -> bool:
    """Whether a row is as every parameter says, where any value of one that is given several times will do."""
    asked: dict[str, list[str]] = {}
    for name, text in query:
        asked.setdefault(name, []).append(text)
    return all(_fits_one(row, name, values, ends) for name, values in asked.items())


def _fits_one(row: Row, name: str, values: list[str], ends: list[datetime]) -> bool:
    if name in ("complete", "final"):  # of 3.19.1, so all are both
        return any(text.lower() in ("true", "1") for text in values)
    if name == "start_time":
        return bool(ends) and max(ends) >= datetime.fromisoformat(values[0])
    if name == "end_time":
        return bool(ends) and max(ends) <= datetime.fromisoformat(values[0])
    if name == "exclude_result":
        return row["result"] not in values
    value = row[name]
    if name == "voting":
        return value in [text.lower() in ("true", "1") for text in values]
    if name == "change":
        return value in [int(text) for text in values]
    return value is not None and any(_is(name, value, text) for text in values)


def _is(name: str, value: str, text: str) -> bool:
    if name in WILD:
        pattern = ".*".join(re.escape(part) for part in text.split("*"))
        return re.fullmatch(pattern, value, re.DOTALL) is not None
    return value == text


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def result_json(build: Row, *, rfc3339: bool = False) -> Row:
    """What is sent of a build within its buildset."""
    found = {"_id": build["id"], **{name: build[name] for name in RESULT}}
    for name in ("start_time", "end_time"):
        found[name] = time_json(build[name], rfc3339)
    start, end = build["start_time"], build["end_time"]
    found["duration"] = (end - start).total_seconds() if start and end else None
    return found | {"artifacts": build["artifacts"], "provides": build["provides"]}


def build_json(build: Row, *, rfc3339: bool = False) -> Row:
    """What is sent of a build."""
    item = {name: build[name] for name in ITEM}
    return result_json(build, rfc3339=rfc3339) | item | {"buildset": {"uuid": build["buildset"]["uuid"]}}


def buildset_json(buildset: Row) -> Row:
    """What is sent of a buildset."""
    names = ("uuid", "result", "message", *ITEM)
    return {"_id": buildset["id"], **{name: buildset[name] for name in names}}


def time_json(value: datetime | None, rfc3339: bool) -> str | None:
    if value is None:
        return None
    return f"{value.isoformat()}Z" if rfc3339 else value.isoformat(timespec="seconds")
