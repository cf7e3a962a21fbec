# SPDX-License-Identifier: Apache-2.0
"""Beside upstream's zuul-web over one database: the same answers where it is right, and a list of where it is not."""

from __future__ import annotations

import collections
import itertools
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest
from services import wait_until

TENANTS = ("tenant-one", "tenant-two")
OF_BOTH = ("project", "pipeline", "branch", "change", "patchset", "ref", "newrev", "uuid", "result")
OF_BUILDS = (*OF_BOTH, "job_name", "voting", "node_name")


def get(url):
    """Status, type and body of a GET."""
    try:
        with urllib.request.urlopen(url, timeout=60) as response:
            return response.status, response.headers.get_content_type(), response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def rows_of(base, tenant, resource):
    return json.loads(get(f"{base}/api/tenant/{tenant}/{resource}?limit=1000")[2])


def as_upstream(found):
    """Without what we add."""
    if isinstance(found, list):
        return [as_upstream(one) for one in found]
    if isinstance(found, dict):
        return {name: as_upstream(value) for name, value in found.items() if name != "_id"}
    return found


@pytest.fixture(scope="module")
def upstream_rows(upstream):
    """What the lab's database has, by tenant and resource."""
    rows = {(t, r): rows_of(upstream, t, r) for t in TENANTS for r in ("builds", "buildsets")}
    assert len(rows["tenant-one", "builds"]) > 20, "the lab has hardly run anything: lab push demo; lab push org/nested"
    return rows


def values_of(rows, name):
    """Each value that is there, as a URL has it."""
    found = {row[name] for row in rows if row[name] is not None}
    return sorted(str(value) for value in found)


def queries(rows, names):
    """All values of one parameter, then pairs, repetitions, pages, and what is nowhere."""
    known = {name: values_of(rows, name) for name in names}
    yield []
    for name in names:
        few = known[name] if len(known[name]) < 12 else [*known[name][:2], *known[name][-2:]]
        yield from ([(name, value)] for value in few)
        yield [(name, "999999" if name == "change" else "true" if name == "voting" else "nowhere")]
        if len(known[name]) > 1:
            yield [(name, known[name][0]), (name, known[name][-1])]
    newest = rows[0]
    together = [name for name in names if newest[name] is not None]
    for one, other in itertools.combinations(together, 2):
        yield [(one, str(newest[one])), (other, str(newest[other]))]
    yield [(name, str(newest[name])) for name in together]
    for text in ("'", "%", "_", "d%", "\\", "demo ", "Demo", "\u00e9", "\U0001f4a9", "' OR 1=1 --", ""):
        yield [("project", text)]
    for limit, skip in itertools.product((0, 1, 3, 50, 1000), (0, 1, 10, 100_000)):
        yield [("limit", str(limit)), ("skip", str(skip))]
    yield [("limit", "5"), ("skip", "2"), ("pipeline", str(newest["pipeline"])), ("result", "SUCCESS")]


def urls(rows):
    """Paths below both servers, with the route that each belongs to."""
    for tenant in TENANTS:
        below = f"/api/tenant/{tenant}"
        builds, sets = rows[tenant, "builds"], rows[tenant, "buildsets"]
        for resource, found, names in (("builds", builds, OF_BUILDS), ("buildsets", sets, OF_BOTH)):
            for query in queries(found, names) if found else [[], [("limit", "3")], [("project", "demo")]]:
                yield resource, f"{below}/{resource}?{urllib.parse.urlencode(query)}"
        uuids = [row["uuid"] for row in builds if row["uuid"]]
        yield from (("build", f"{below}/build/{uuid}") for uuid in [*uuids[:20], *uuids[-5:], "nowhere"])
        yield from (("buildset", f"{below}/buildset/{row['uuid']}") for row in sets[:20])
        yield "buildset", f"{below}/buildset/nowhere"
        others = next(row for one in TENANTS if one != tenant for row in [*rows[one, "builds"], {"uuid": "x"}])
        yield "build", f"{below}/build/{others['uuid']}"
    for resource in ("builds", "buildsets", "build/x", "buildset/x"):
        yield resource.partition("/")[0], f"/api/tenant/nope/{resource}"


def differences(upstream, ours, path):
    """What differs, as text; nothing if all is the same."""
    their_status, _, theirs = get(upstream + path)
    our_status, _, our = get(ours + path)
    if their_status == our_status == 200:
        same = as_upstream(json.loads(our)) == json.loads(theirs)
    else:
        same = their_status == our_status and json.loads(our)["faultcode"] == "Client"
    return "" if same else f"{path}\n  upstream {their_status} {theirs[:300]}\n  ours     {our_status} {our[:300]}"


@pytest.mark.timeout(280)
def test_the_same_as_upstream_says(upstream, ours, upstream_rows):
    counts = collections.Counter()
    for route, path in urls(upstream_rows):
        # Between the two questions something may be reported, so equal once is enough.
        found = differences(upstream, ours, path)
        assert not found or wait_until(
            lambda path=path: not differences(upstream, ours, path), 20, f"equality: {found}"
        )
        counts[route] += 1
    print("".join(f"\n{count:4} equal  /api/tenant/{{tenant}}/{route}" for route, count in sorted(counts.items())))
    assert counts["builds"] >= 60 and counts["buildsets"] >= 40 and counts["build"] >= 10 and counts["buildset"] >= 5


WRONG = [
    ("builds?limit=abc", 500, 400, "a number that is none is PostgreSQL's error"),
    ("builds?limit=", 500, 400, "the same"),
    ("builds?limit=-1", 500, 400, "the same"),
    ("builds?limit=99999999999999999999", 500, 400, "the same; ours gives at most 1000 rows"),
    ("builds?limit=1&limit=2", 500, 400, "a list where one number is meant"),
    ("builds?skip=abc", 500, 400, "as with limit"),
    ("builds?skip=-1", 500, 400, "as with limit"),
    ("builds?skip=99999999999999999999", 500, 400, "as with limit"),
    ("builds?change=abc", 500, 400, "PostgreSQL's error again"),
    ("builds?change=", 500, 400, "the same"),
    ("builds?change=99999999999", 500, 200, "no change has such a number, so there are none"),
    ("buildsets?change=-99999999999", 500, 200, "the same"),
    ("builds?voting=", 500, 400, "neither true nor false"),
    ("builds?voting=maybe", 500, 400, "neither true nor false"),
    ("builds?uuid=%00", 500, 400, "no text of PostgreSQL's has a NUL"),
    ("builds?project=a%00b", 500, 400, "the same"),
    ("builds?project=%ED%A0%80", 404, 400, "no UTF-8"),
    ("builds?nope=1", 404, 400, "CherryPy says that there is no such page"),
    ("buildsets?voting=1", 404, 400, "the same"),
    ("builds?event_id=x", 404, 200, "in its database, but no parameter before 4"),
    ("buildsets?event_id=x", 404, 200, "the same"),
    ("builds?held=true", 404, 200, "no parameter before 4"),
    ("builds?final=1&complete=1", 404, 200, "the same"),
    ("builds?exclude_result=SUCCESS", 404, 200, "the same"),
    ("builds?sort_field=_id&sort_dir=asc", 404, 200, "ours alone"),
    ("builds?offset=1", 404, 200, "ours alone; upstream has skip"),
    ("badge?job_name=slow", 404, 200, "ours alone"),
    ("badge?project=nowhere", 404, 200, "a page with a picture in it can not show a 404; ours is grey"),
    ("badge?nope=1", 404, 400, "an unknown parameter"),
]
"""What is asked of a tenant, upstream's status, ours, and why."""


@pytest.mark.parametrize("query, theirs, our, reason", WRONG, ids=[row[0] for row in WRONG])
def test_where_upstream_is_wrong_or_fails(upstream, ours, query, theirs, our, reason):
    path = f"/api/tenant/tenant-one/{query}"
    assert get(upstream + path)[0] == theirs
    status, content_type, body = get(ours + path)
    assert status == our and content_type in ("application/json", "image/svg+xml")
    if status >= 400:
        assert json.loads(body)["faultcode"] == "Client" and b"psycopg" not in body


def test_a_star_stands_for_any_text_which_upstream_does_not_know(upstream, ours, upstream_rows):
    rows = upstream_rows["tenant-one", "builds"]
    expected = [row for row in rows if row["job_name"].startswith("s")]
    path = "/api/tenant/tenant-one/builds?job_name=s*&limit=1000"
    assert expected and json.loads(get(upstream + path)[2]) == []
    wait_until(lambda: as_upstream(json.loads(get(ours + path)[2]))[-len(expected) :] == expected, 20, "those with s")


def test_voting_in_any_case_means_the_same(upstream, ours):
    for texts in (("true", "True", "TRUE", "1"), ("false", "False", "FALSE", "0")):
        answers = {get(f"{ours}/api/tenant/tenant-one/builds?limit=20&voting={text}")[2] for text in texts}
        assert len(answers) == 1


@pytest.mark.parametrize(
    "query", ["", "?pipeline=check", "?project=demo&branch=master", "?pipeline=check&pipeline=post"]
)
def test_badges_of_what_there_is(upstream, ours, query):
    path = f"/api/tenant/tenant-one/badge{query}"
    their_status, their_type, theirs = get(upstream + path)
    status, content_type, body = get(ours + path)
    assert (status, content_type) == (their_status, their_type) == (200, "image/svg+xml")
    assert (b"passing" in theirs) == (b"passing" in body)


def test_what_a_build_leaves_and_provides(upstream, ours, upstream_rows):
    """The lab's org/nested has a job with an artifact that provides something: lab push org/nested."""
    rows = upstream_rows["tenant-one", "builds"]
    with_artifacts = [row for row in rows if row["artifacts"]]
    with_provides = [row for row in rows if row["provides"]]
    print(f"{len(rows)} builds, {len(with_artifacts)} with artifacts, {len(with_provides)} that provide something")
    for row in [*with_artifacts[:5], *with_provides[:5]]:
        path = f"/api/tenant/tenant-one/build/{row['uuid']}"
        assert as_upstream(json.loads(get(ours + path)[2])) == row == json.loads(get(upstream + path)[2])
