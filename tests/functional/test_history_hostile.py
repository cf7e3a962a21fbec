# SPDX-License-Identifier: Apache-2.0
"""What nobody should send to a database, in every parameter of every URL of the history: never an error of ours, and
never a row of another tenant."""

from __future__ import annotations

from urllib.parse import quote_from_bytes

import pytest
from functional.reported import Reported

from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.errors import Unavailable

TENANT = "widgets"
MOST_BYTES = 8000
"""About what a URL may have."""
API, V1 = f"/api/tenant/{TENANT}", f"/v1/tenants/{TENANT}"

HOSTILE = [
    b"' OR '1'='1", b"'; DROP TABLE zuul_build; --", b'" OR ""="', b"\\' OR 1=1 --", b"1) OR (1=1",
    b"x' UNION SELECT 1--",
    b"%", b"_%", b"*", b"**", b"?*", b"[a-z]*", b"[^x", b"!*", b"\\", b"\\*", b"*" * 500, b"*a" * 300,
    b"[" * 2000 + b"*",
    b"\0", b"a\0b*", b"\x01\x1f\x7f", b"\r\nX-Injected: 1", b"\xed\xa0\x80", b"\xff\xfe", b"\xf0\x9f\x92\xa9*",
    "\u202e\ufffe\u00e9\u212a".encode(), b"%(tenant)s", b":tenant", b"{0}", b"${x}", b"None", b"null", b"true", b"",
    b" ",
    b"-1", b"0", b"2147483648", b"-9223372036854775809", b"9223372036854775808", b"9" * 19, b"9" * 400, b"1e9", b"0x1F",
    b"1.5", b"\xd9\xa3", b"1_000", b"NaN", b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"2020-02-30",
    b"x" * 7_000, b"x" * 10_000, b"a" * 7_000 + b"*", b"\xc3\xa9*" * 900,
]  # fmt: skip

ITEMS = ("project", "pipeline", "branch", "change", "patchset", "ref", "newrev", "event_id", "result", "exclude_result",
         "complete", "start_time", "end_time")  # fmt: skip
PAGES = ("limit", "skip", "offset", "marker", "idx_min", "idx_max", "sort_field", "sort_dir", "fields", "omit")
OF_BUILDS = (*ITEMS, *PAGES, "uuid", "job_name", "voting", "node_name", "held", "final")
TIMES = (*ITEMS, "job_name", "final", "limit", "skip", "fields")
URLS = {
    f"{API}/builds": OF_BUILDS,
    f"{V1}/builds": OF_BUILDS,
    f"{API}/buildsets": (*ITEMS, *PAGES, "uuid"),
    f"{V1}/buildsets": (*ITEMS, *PAGES, "uuid"),
    f"{API}/build-times": TIMES,
    f"{V1}/latest-builds": TIMES,
    f"{V1}/jobs/unit/stats": (*ITEMS, "fields"),
    f"{API}/badge": ("project", "pipeline", "branch", "job_name"),
    f"{V1}/badge": ("project", "pipeline", "branch", "job_name"),
}


@pytest.fixture(scope="module")
def app(make_apps, functions):
    return make_apps(LocalTransport(functions))


@pytest.fixture(scope="module")
def orphaned(make_apps):
    """The application while no scheduler is there to say which tenants there are."""

    class Away:
        def call(self, *_, **__):
            raise Unavailable("nobody is there")

        def connected(self):
            return False

        def close(self):
            pass

    return make_apps(Away())


@pytest.fixture(scope="module")
def own(history_file):
    """The numbers of the tenant's rows, by the resource."""
    reported = Reported(history_file)
    builds = {row["id"] for row in reported.builds[TENANT]}
    sets = {row["id"] for row in reported.buildsets[TENANT]}
    return {"builds": builds, "build-times": builds, "latest-builds": builds, "buildsets": sets}


def check(app, own, url, statuses=(200, 400)):
    """The answer is one of ours, and its rows are the tenant's."""
    response = app.get(url, status="*")
    if response.status_int == 414:
        assert len(url) > MOST_BYTES
        return response
    assert response.status_int in statuses, (url[:200], response.text[:300])
    assert not [name for name in response.headers if "inject" in name.lower()]
    if response.status_int == 200 and isinstance(
        rows := response.json if "json" in response.content_type else None, list
    ):
        ids = {row["_id"] for row in rows if "_id" in row}
        assert ids <= own[url.partition("?")[0].rpartition("/")[2]], url[:200]
    elif response.status_int >= 400:
        assert response.json["faultstring"] and "Traceback" not in response.text
    return response


def test_every_parameter_with_many_values(app, own):
    url = f"{API}/builds"
    for number, name in enumerate(URLS[url]):
        statuses = (200, 400, 404) if name == "marker" else (200, 400)
        for value in HOSTILE[number % 4 :: 4]:
            fewer = "&limit=20" if name != "limit" else ""
            check(app, own, f"{url}?{name}={quote_from_bytes(value)}{fewer}", statuses)


@pytest.mark.parametrize("url", URLS)
def test_every_url_with_every_value(app, own, url):
    names = URLS[url]
    for number, value in enumerate(HOSTILE):
        name = names[(number * 5 + len(url)) % len(names)]
        statuses = (200, 400, 404) if name == "marker" else (200, 400)
        check(app, own, f"{url}?{name}={quote_from_bytes(value)}&{names[0]}=widgets*", statuses)


@pytest.mark.parametrize(
    "url",
    [f"{API}/build/%s", f"{V1}/buildsets/%s", f"{V1}/jobs/%s/stats", "/api/tenant/%s/builds", "/v1/tenants/%s/badge"],
)
def test_every_value_in_a_path(app, orphaned, own, url):
    for value in HOSTILE:
        path = url % quote_from_bytes(value, safe="")
        if value:
            check(app, own, path, (200, 400, 404) if "stats" in url else (400, 404))
        if "/badge" not in url and value:
            response = orphaned.get(path, status="*")
            assert response.status_int in (200, 400, 404, 414, 503), path[:200]
            assert "tenant/" not in url or response.status_int != 200 or response.json == []


@pytest.mark.parametrize("asked", ["branch=%d", "ref=%d", "change=%d", "voting=1", "result=", "job_name=*"])
def test_as_many_values_as_a_url_can_have(app, own, asked):
    values = "&".join(asked % n if "%" in asked else asked for n in range(MOST_BYTES // (len(asked) + 3)))
    for resource in ("builds", "buildsets") if asked[:3] not in ("vot", "job") else ("builds",):
        assert check(app, own, f"{API}/{resource}?{values}").status_int == 200


@pytest.mark.parametrize("count, status", [(100, 200), (101, 400), (500, 400)])
def test_a_hundred_values_with_a_star(app, own, refusal, count, status):
    for resource in ("builds", "buildsets", "build-times"):
        url = f"{API}/{resource}?branch=main&" + "&".join(f"branch={n}*" for n in range(count))
        response = check(app, own, url)
        assert response.status_int == status
        if status == 400:
            assert refusal(response, 400)["faultstring"] == "branch has at most 100 values with a *"


def test_names_of_parameters_are_as_they_are_declared(app, refusal):
    for url in URLS:
        for name in ("Project", "project[]", "nope", "tenant", "self", "__body__", "id", "buildset.uuid", ""):
            response = app.get(f"{url}?{name}=x", status="*")
            assert refusal(response, 400)["faultstring"].startswith("unknown query parameter"), (url, name)
