# SPDX-License-Identifier: Apache-2.0
"""The root: a page for people, a directory for programs."""

from __future__ import annotations

import pytest
from shapes import undeclared
from webtest import TestApp

from zuul.web.controllers.root import pecan_application, url_map
from zuul.web.expose import V1
from zuul.web.resources.directories import Link
from zuul.web.site import Site

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.mark.parametrize("accept", ["", "*/*", "application/json"])
def test_programs_get_a_directory(app, accept):
    response = app.get("/", headers={"Accept": accept})

    assert undeclared([Link], response.json) == []
    assert response.headers["ETag"] and "Accept" in response.headers["Vary"]
    for link in response.json:
        if link["href"].startswith(("/v1", "/api")):
            assert app.get(link["href"]).content_type == "application/json"


def test_the_directory_is_xml_for_who_prefers_that(app):
    assert app.get("/", headers={"Accept": "application/xml"}).text.startswith("<result><item><href>/v1</href>")


def test_browsers_get_a_page(app):
    response = app.get("/", headers={"Accept": BROWSER})

    assert response.content_type == "text/html"
    assert response.headers["Vary"] == "Accept"


def test_other_methods_are_refused_and_options_answered(app, refusal):
    assert app.options("/").headers["Allow"] == "GET, HEAD, OPTIONS"
    refusal(app.post("/", status="*"), 405)


def test_below_a_prefix_links_begin_with_it(app):
    links = app.get("/", extra_environ={"SCRIPT_NAME": "/zuul"}).json

    assert links[0]["href"] == "/zuul/v1"


@pytest.mark.parametrize(
    "accept, page",
    [("", True), ("*/*", True), (BROWSER, True), ("application/json", False), ("application/xml", False)],
)
def test_a_dashboards_page_is_for_all_but_those_who_name_something_else(tmp_path, accept, page):
    (tmp_path / "index.html").write_text("<html>dashboard</html>")
    site = TestApp(Site(str(tmp_path), 0, pecan_application(url_map(), V1)))

    response = site.get("/", headers={"Accept": accept})

    assert (response.content_type == "text/html") is page
    assert "Accept" in response.headers["Vary"]
