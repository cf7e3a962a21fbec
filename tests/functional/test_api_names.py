# SPDX-License-Identifier: Apache-2.0
"""Names with slashes, dots and other characters, as they are or percent-encoded; and paths that mean harm."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

EXAMPLE = "/api/tenant/example"
PROJECTS = ["specs", "core/object.store", "tools/deploy/charts.v2", "tools/upgrade.py", "lib/client.py"]


def raw(name):
    return name


def encoded(name):
    return quote(name, safe="").replace(".", "%2E")


spelt = pytest.mark.parametrize("spell", [raw, encoded])


@spelt
@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_is_found_by_its_short_name(app, spell, name):
    assert app.get(f"{EXAMPLE}/project/{spell(name)}").json["name"] == name


@spelt
@pytest.mark.parametrize("name", PROJECTS)
def test_a_project_is_found_by_its_canonical_name(app, spell, name):
    assert app.get(f"{EXAMPLE}/project/{spell(f'review.example.com/{name}')}").json["name"] == name


@spelt
@pytest.mark.parametrize("name", PROJECTS)
def test_keys_of_a_project_are_found(app, spell, name):
    pem = app.get(f"{EXAMPLE}/key/{spell(name)}.pub")
    ssh = app.get(f"{EXAMPLE}/project-ssh-key/{spell(name)}.pub")

    assert load_pem_public_key(pem.body).key_size == 2048
    assert load_ssh_public_key(ssh.body)
    assert ssh.text.startswith("ssh-rsa ") and ssh.text.endswith("\n") and ssh.text.count("\n") == 1
    assert pem.content_type == ssh.content_type == "text/plain"


@pytest.mark.parametrize("kind", ["key", "project-ssh-key"])
@pytest.mark.parametrize("file", ["specs", ".pub", "specs.pem", "nope.pub", "specs.pub/x", "../specs.pub"])
def test_what_is_no_key_is_404(app, refusal, kind, file):
    refusal(app.get(f"{EXAMPLE}/{kind}/{file}", status="*"), 404)


@spelt
@pytest.mark.undeclared("a job with a name alone")
@pytest.mark.parametrize("name", ["unit", "org/unit", "unit.v2", "é", "a b", "50%", "what?", "x#y", "..", "a/../b"])
def test_a_job_may_have_any_name(app_with, spell, name):
    asked = []
    app = app_with(job_get=lambda arguments: asked.append(arguments["job"]) or '[{"name": "x"}]')

    app.get(f"{EXAMPLE}/job/{encoded(name) if set(name) & set('?#%é ') else spell(name)}")

    assert asked == [name]


@pytest.mark.parametrize(
    ("tail", "readings"),
    [
        ("specs/branch/master", [("specs", "master")]),
        ("core/compute/branch/stable/ussuri", [("core/compute", "stable/ussuri")]),
        ("core/compute/branch/a/branch/b", [("core/compute/branch/a", "b"), ("core/compute", "a/branch/b")]),
        ("a/branch/branch/b", [("a/branch", "b"), ("a", "branch/b")]),
        ("branch/branch/b", [("branch", "b")]),
    ],
)
@spelt
def test_frozen_jobs_are_asked_for_by_each_way_to_read_the_url(app_with, refusal, spell, tail, readings):
    asked = []
    app = app_with(project_freeze_jobs=lambda arguments: asked.append(arguments))

    response = app.get(f"{EXAMPLE}/pipeline/check/project/{spell(tail)}/freeze-jobs", status="*")

    refusal(response, 404)
    assert [(a["project"], a["branch"]) for a in asked] == readings
    assert {(a["tenant"], a["pipeline"]) for a in asked} == {("example", "check")}


def test_frozen_jobs_are_those_of_the_first_reading_that_has_any(app):
    jobs = app.get(f"{EXAMPLE}/pipeline/check/project/core/compute/branch/stable/ussuri/freeze-jobs").json

    assert [job["name"] for job in jobs]
    assert app.get(f"{EXAMPLE}/pipeline/check/project/specs/branch/a/branch/b/freeze-jobs").json


def test_one_url_does_not_ask_the_scheduler_hundreds_of_times(app_with, refusal):
    asked = []
    app = app_with(project_freeze_jobs=lambda arguments: asked.append(arguments))

    refusal(app.get(f"{EXAMPLE}/pipeline/check/project/x{'/branch/x' * 500}/freeze-jobs", status="*"), 404)

    assert len(asked) == 4


@pytest.mark.parametrize(
    "tail",
    ["", "specs", "specs/freeze-jobs", "freeze-jobs", "branch/master/freeze-jobs", "specs/branch/freeze-jobs",
     "specs/branch//freeze-jobs", "/branch/master/freeze-jobs", "specs/branch/master", "specs/branch/master/freeze"],
)  # fmt: skip
def test_half_a_url_of_frozen_jobs_is_404(app, refusal, tail):
    refusal(app.get(f"{EXAMPLE}/pipeline/check/project/{tail}", status="*"), 404)


@pytest.mark.parametrize(
    "url",
    ["/api/nope", "/api/info/x", "/api/tenant", "/api/tenant/", "/api/tenant/example",
     "/api/tenant/example/", f"{EXAMPLE}/nope", f"{EXAMPLE}/jobs/x", f"{EXAMPLE}/job",
     f"{EXAMPLE}/job/", f"{EXAMPLE}/job/nope", f"{EXAMPLE}/project", f"{EXAMPLE}/project/",
     f"{EXAMPLE}/project/nope", f"{EXAMPLE}/project/core", f"{EXAMPLE}/project/github.com/specs",
     f"{EXAMPLE}/pipeline", f"{EXAMPLE}/pipeline/check", f"{EXAMPLE}/pipeline//project/specs",
     f"{EXAMPLE}/pipeline/nope/project/specs/branch/master/freeze-jobs",
     f"{EXAMPLE}/pipeline/check/project/nope/branch/master/freeze-jobs", f"{EXAMPLE}/status/change",
     f"{EXAMPLE}/status/change/", f"{EXAMPLE}/status/nope", f"{EXAMPLE}/autohold/nope/x", "/api/tenant//status",
     "/api/tenant/a%2Fb/status", "/api/tenant/nope/status", "/apis", "/v1/nope"],
)  # fmt: skip
def test_what_does_not_exist_is_404(app, refusal, url):
    refusal(app.get(url, status="*"), 404)


@pytest.mark.parametrize(
    "up", ["..", "%2e%2e", "..%2f..%2f..", "..%5c..", "....//", "%2e%2e%2f", "%252e%252e%252f", "."]
)
@pytest.mark.parametrize(
    "place",
    ["/{}/{}/etc/passwd", "/api/{}/{}/etc/passwd", "/api/tenant/{}/status", "/api/tenant/{}/jobs",
     f"{EXAMPLE}/job/{{}}/etc/passwd", f"{EXAMPLE}/project/{{}}/etc/passwd", f"{EXAMPLE}/key/{{}}/etc/passwd.pub",
     f"{EXAMPLE}/autohold/{{}}", f"{EXAMPLE}/pipeline/{{}}/project/specs/branch/master/freeze-jobs"],
)  # fmt: skip
def test_a_way_up_leads_nowhere(app, refusal, up, place):
    refusal(app.get(place.format(up, up), status="*"), 404)


HARM = {"NUL": "\0", "not UTF-8": "\xff", "overlong": "\xc0\xaf", "surrogate": "\xed\xa0\x80", "not WSGI": "\u20ac"}


@pytest.mark.parametrize("harm", HARM.values(), ids=HARM)
@pytest.mark.parametrize(
    "place",
    ["/{}", "/api/{}", "/api/tenant/{}/status", "/api/tenant/{}/jobs", f"{EXAMPLE}/job/{{}}",
     f"{EXAMPLE}/project/a{{}}/b", f"{EXAMPLE}/key/{{}}.pub", f"{EXAMPLE}/autohold/{{}}",
     f"{EXAMPLE}/status/change/{{}}"],
)  # fmt: skip
def test_bytes_that_mean_nothing_in_a_path_are_400(app, send, refusal, harm, place):
    refusal(send(app, PATH_INFO=place.format(harm)), 400)


@pytest.mark.parametrize("harm", ["%00", "a=%ff", "%c0%af=1", "a=\xff"])
@pytest.mark.parametrize("url", ["/", "/api/tenants", f"{EXAMPLE}/status", f"{EXAMPLE}/autohold"])
def test_bytes_that_mean_nothing_in_a_query_are_400(app, send, refusal, harm, url):
    refusal(send(app, url, QUERY_STRING=harm), 400)


def test_a_path_without_its_slash_is_400(app, send, refusal):
    refusal(send(app, PATH_INFO="api/tenants"), 400)


@pytest.mark.parametrize("url", ["/{}", "/api/tenants?x={}", "/api/tenant/{}/status", f"{EXAMPLE}/job/{{}}"])
def test_a_long_url_is_414(app, refusal, url):
    refusal(app.get(url.format("x" * 100_000), status="*"), 414)


@pytest.mark.parametrize("name", ["X-Whatever", "Cookie", "If-None-Match", "Accept"])
@pytest.mark.parametrize("url", ["/", "/api/tenants", f"{EXAMPLE}/jobs"])
def test_long_header_fields_are_431(app, refusal, name, url):
    refusal(app.get(url, headers={name: "x" * 100_000}, status="*"), 431)


@pytest.mark.parametrize("length", ["x", "-1", "1e3", "٣"])
def test_a_body_of_no_length_is_400(app, send, refusal, length):
    refusal(send(app, "/api/tenants", CONTENT_LENGTH=length), 400)


def test_a_body_that_is_announced_too_large_is_413(app, send, refusal):
    refusal(send(app, "/api/tenants", CONTENT_LENGTH=str(2**20 + 1)), 413)


@pytest.mark.parametrize("url", ["/api", "/api/info", f"{EXAMPLE}/jobs", f"{EXAMPLE}/autohold", f"{EXAMPLE}/job/tox"])
def test_a_slash_at_the_end_means_nothing(app, url):
    assert app.get(f"{url}/").body == app.get(url).body
