# SPDX-License-Identifier: Apache-2.0
"""What happens around every request: its id, the access log, and the last catch of defects."""

from __future__ import annotations

import dataclasses
import logging
import re

import pytest

from zuul.web.backends.rpc.local import LocalTransport

EXAMPLE = "/api/tenant/example"
URLS = ["/", "/api/tenants", f"{EXAMPLE}/status", f"{EXAMPLE}/nope", "/nope"]
GENERATED = re.compile(r"[0-9a-f]{16}")

all_urls = pytest.mark.parametrize("url", URLS)


class BrokenSnapshots:
    def get(self, tenant, want_gzip=False, if_none_match=None):
        raise RuntimeError("secret")


@all_urls
def test_a_request_keeps_the_id_that_it_came_with(app, url):
    response = app.get(url, headers={"X-Request-Id": "req-4b/7.x:1=2"}, status="*")

    assert response.headers.getall("X-Request-Id") == ["req-4b/7.x:1=2"]


@all_urls
def test_a_request_without_an_id_gets_one_of_its_own(app, url):
    identifiers = {app.get(url, status="*").headers["X-Request-Id"] for _ in range(3)}

    assert len(identifiers) == 3
    assert all(GENERATED.fullmatch(identifier) for identifier in identifiers)


@pytest.mark.parametrize("hostile", ["a\nb", "a\r\nSet-Cookie: x", "a\n", "", " ", 'a"b', "é", "x" * 129, "x" * 10_000])
def test_an_id_that_is_unfit_for_a_log_is_replaced(app, send, hostile):
    response = send(app, "/api/tenants", HTTP_X_REQUEST_ID=hostile)

    assert response.status_int == 200
    assert GENERATED.fullmatch(response.headers["X-Request-Id"])


def test_a_request_is_one_line_in_the_access_log(app, caplog):
    caplog.set_level(logging.INFO, "zuul.web.access")

    response = app.get("/api/tenants", headers={"X-Request-Id": "mine"})

    (line,) = [record.getMessage() for record in caplog.records if record.name == "zuul.web.access"]
    assert re.fullmatch(rf'mine \S+ "GET /api/tenants" 200 {len(response.body)} \d+\.\dms', line)


@pytest.mark.parametrize("path", ["/a\nb", '/a"b', "/a\x1b[31m", "/\xc3\xa9"])
def test_no_path_breaks_the_access_log(app, send, caplog, path):
    caplog.set_level(logging.INFO, "zuul.web.access")

    send(app, PATH_INFO=path)

    (line,) = [record.getMessage() for record in caplog.records if record.name == "zuul.web.access"]
    assert line.isascii() and line.isprintable() and line.count('"') == 2


def test_the_access_log_can_be_switched_off(make_app, functions, caplog):
    caplog.set_level(logging.INFO, "zuul.web.access")

    make_app(LocalTransport(functions), "access_log = false\n").get("/api/tenants")

    assert not [record for record in caplog.records if record.name == "zuul.web.access"]


@pytest.mark.parametrize("url", ["/api/tenants", f"{EXAMPLE}/jobs", f"{EXAMPLE}/autohold", f"{EXAMPLE}/status"])
def test_a_defect_is_logged_and_tells_nothing(failing_app, refusal, caplog, url):
    response = failing_app(RuntimeError("secret")).get(url, headers={"X-Request-Id": "mine"}, status="*")

    body = refusal(response, 500)
    assert "secret" not in response.text
    assert "RuntimeError: secret" in caplog.text
    if not url.endswith("/status"):  # that error belongs to all who waited for it
        assert body["faultstring"] == "this is a defect; the log has it as mine"


@pytest.mark.parametrize("url", [f"{EXAMPLE}/status", f"{EXAMPLE}/status/change/1,1"])
def test_a_defect_in_a_filter_or_a_controller_looks_the_same(make_app, functions, refusal, caplog, url):
    app = make_app(LocalTransport(functions), alter=lambda s: dataclasses.replace(s, snapshots=BrokenSnapshots()))

    response = app.get(url, headers={"X-Request-Id": "mine"}, status="*")

    assert refusal(response, 500)["faultstring"] == "this is a defect; the log has it as mine"
    assert "secret" not in response.text
    assert "RuntimeError: secret" in caplog.text
    assert "mine" in caplog.text


def test_the_application_lives_on_after_a_defect(app_with, functions, refusal):
    outcomes = iter([RuntimeError("secret")])

    def job_list(arguments):
        for error in outcomes:
            raise error
        return functions["zuul:job_list"](arguments)

    app = app_with(job_list=job_list)
    refusal(app.get(f"{EXAMPLE}/jobs", status="*"), 502)

    assert app.get(f"{EXAMPLE}/jobs").json
