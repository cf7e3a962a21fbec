# SPDX-License-Identifier: Apache-2.0
"""Badges: what they tell of, in which form, and where nothing has been reported."""

from __future__ import annotations

import sqlite3
from urllib.parse import quote
from xml.etree import ElementTree

import pytest
from functional.reported import Reported

from zuul.web.backends.rpc.local import LocalTransport

SVG = "{http://www.w3.org/2000/svg}"
URLS = ["/api/tenant/example/badge", "/v1/tenants/example/badge"]
both = pytest.mark.parametrize("url", URLS)
JSON, TEXT = {"Accept": "application/json"}, {"Accept": "text/plain"}


@pytest.fixture(scope="module")
def app(make_apps, functions):
    return make_apps(LocalTransport(functions))


@pytest.fixture(scope="module")
def reported(history_file):
    return Reported(history_file)


def words_of(response):
    """What a picture says: to those who see it and to those who do not."""
    root = ElementTree.fromstring(response.body)
    assert root.tag == f"{SVG}svg" and root.get("role") == "img"
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert root.get("aria-label") == ": ".join(dict.fromkeys(texts))
    assert root.findtext(f"{SVG}title") == root.get("aria-label")
    return tuple(dict.fromkeys(texts)), response.text


def message_of(result):
    return {"SUCCESS": "passing", "SKIPPED": "skipped"}.get(result, "failing")


@both
@pytest.mark.parametrize(
    "query",
    [[], [("pipeline", "gate")], [("project", "core/*"), ("pipeline", "check")], [("branch", "stable/train")],
     [("pipeline", "gate"), ("pipeline", "check"), ("project", "core/compute")]],
)  # fmt: skip
def test_a_badge_tells_of_the_newest_buildset(app, reported, url, query):
    newest = reported.chosen_buildsets("example", query)[0]
    pipelines = [value for name, value in query if name == "pipeline"]
    label = pipelines[0] if len(pipelines) == 1 else "build"
    address = f"{url}?" + "&".join(f"{name}={quote(value)}" for name, value in query)

    found = app.get(address, headers=JSON)
    assert found.content_type == "application/json"
    picked = {name: found.json[name] for name in ("label", "message", "result", "uuid")}
    message = message_of(newest["result"])
    assert picked == {"label": label, "message": message, "result": newest["result"], "uuid": newest["uuid"]}
    assert app.get(address, headers=TEXT).text == f"{label}: {message}\n"
    words, picture = words_of(app.get(address))
    assert words == (label, message) and found.json["color"] in picture


@both
def test_a_badge_tells_of_the_newest_build_of_a_job(app, reported, url):
    results = set()
    for job in {build["job_name"] for build in reported.builds["example"]}:
        newest = reported.chosen_builds("example", [("job_name", job)])[0]
        found = app.get(url, {"job_name": job}, headers=JSON).json
        assert (found["label"], found["result"], found["uuid"]) == (job, newest["result"], newest["uuid"])
        results.add(found["message"])
    assert results >= {"passing", "failing"}


@both
def test_nothing_is_a_grey_picture_and_404_for_programs(app, refusal, url):
    response = app.get(f"{url}?project=nowhere")
    words, picture = words_of(response)
    assert response.content_type == "image/svg+xml"
    assert words == ("build", "unknown") and "#616161" in picture
    for accept in (JSON, TEXT):
        refusal(app.get(f"{url}?project=nowhere", headers=accept, status="*"), 404)
    refusal(app.get(url.replace("example", "nope"), status="*"), 404)


@both
@pytest.mark.parametrize(
    "accept, content_type",
    [(None, "image/svg+xml"), ("", "image/svg+xml"), ("*/*", "image/svg+xml"), ("image/*", "image/svg+xml"),
     ("image/avif,image/webp,*/*;q=0.8", "image/svg+xml"), ("text/*", "text/plain"), ("x/y", "image/svg+xml"),
     ("application/json, text/plain;q=0.5", "application/json"), ("text/html,*/*;q=0.1", "image/svg+xml"),
     ("image/svg+xml;q=0, application/json", "application/json"), ("nonsense", "image/svg+xml")],
)  # fmt: skip
def test_the_form_is_what_is_accepted(app, url, accept, content_type):
    headers = {"Accept": accept} if accept is not None else {}
    response = app.get(url, headers=headers)
    assert response.content_type == content_type
    assert "Accept" in response.headers["Vary"]


@both
def test_a_picture_is_looked_at_anew_and_sent_only_if_it_is_another(app, url):
    first = app.get(url)
    assert first.headers["Cache-Control"] == "no-cache"
    same = app.get(url, headers={"If-None-Match": first.headers["ETag"]}, status="*")
    assert (same.status_int, same.body, same.headers["ETag"]) == (304, b"", first.headers["ETag"])
    tags = {app.get(url, headers=headers).headers["ETag"] for headers in (JSON, TEXT, {})}
    assert len(tags) == 3
    head = app.head(url)
    assert (head.content_type, head.body) == ("image/svg+xml", b"")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "\"'><svg onload=x>", "a&b &amp; ]]>", "\x01\x1b\x7f", "line\nbreak\tand tab",
     "\ufffe\uffff", "\u202eright to left", "Ünïcode 💩", "x" * 3000, " ", ""],
)  # fmt: skip
def test_a_label_of_any_letters_is_a_well_formed_picture(app, name):
    for url in URLS:
        root = ElementTree.fromstring(app.get(url, {"job_name": name}).body)
        texts = [text.text or "" for text in root.iter(f"{SVG}text")]
        assert {element.tag for element in root.iter()} <= {
            f"{SVG}{tag}" for tag in ("svg", "title", "clipPath", "rect", "text", "g")
        }
        assert not [key for element in root.iter() for key in element.attrib if key.startswith("on")]
        assert len(texts[0]) <= 60 and float(root.get("width")) < 1000
        if name.isprintable() and len(name) < 60:
            assert texts[0] == name


@pytest.mark.parametrize("query", ["voting=1", "limit=1", "job_name=a&job_name=b", "fields=label", "change=1"])
def test_a_badge_takes_four_parameters(app, refusal, query):
    for url in URLS:
        refusal(app.get(f"{url}?{query}", status="*"), 400)


def test_results_that_decide_nothing_are_not_failures(make_apps, functions, history_file, tmp_path):
    path = tmp_path / "history.db"
    path.write_bytes(history_file.read_bytes())
    connection = sqlite3.connect(path)
    app = make_apps(LocalTransport(functions), history=path)
    for result, message in (
        ("SKIPPED", "skipped"),
        ("DEQUEUED", "dequeued"),
        ("FAILURE", "failing"),
        (None, "unknown"),
    ):
        connection.execute("UPDATE zuul_buildset SET result = ?", (result,))
        connection.commit()
        found = app.get(URLS[0], headers=JSON).json
        assert (found["message"], found["result"]) == (message, result)
        assert (found["color"] == "#616161") == (result != "FAILURE")
    connection.close()
