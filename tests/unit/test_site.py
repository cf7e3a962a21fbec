# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import signal
import socket
from email.utils import parsedate_to_datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote_to_bytes
from wsgiref.util import FileWrapper, setup_testing_defaults
from wsgiref.validate import validator

import pytest

from zuul.web.site import ASSET_EXTENSIONS, CHUNK_BYTES, CONTENT_TYPES, MESSAGE_CHARACTERS, Site

INDEX = b"<!doctype html><title>dashboard</title>"
SCRIPT = b"console.log('main');\n"
SECRET = b"nobody may read this"
HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
CACHED = "public, max-age=3600"


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Client:
    """GET and HEAD as a server passes them on, each answer checked by the standard library's validator."""

    def __init__(self, site):
        self.site = site

    def get(self, url, headers=(), status=200, method="GET", script_name=""):
        path, _, query = url.partition("?")
        environ = {"PATH_INFO": unquote_to_bytes(path).decode("latin-1"), "QUERY_STRING": query}
        environ |= {"REQUEST_METHOD": method, "SCRIPT_NAME": script_name}
        environ |= {"HTTP_" + name.upper().replace("-", "_"): value for name, value in dict(headers).items()}
        setup_testing_defaults(environ)
        response = Response(*call(validator(self.site), **environ))
        assert status in (response.status, None)
        return response

    def head(self, url, headers=(), status=200):
        return self.get(url, headers, status, method="HEAD")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A dashboard, beside files that it must not give away."""
    root = tmp_path / "static"
    (root / "static" / "js").mkdir(parents=True)
    (root / "index.html").write_bytes(INDEX)
    (root / "static" / "js" / "main.js").write_bytes(SCRIPT)
    (root / "openapi.yaml").write_bytes(b"openapi: 3.0.0\n")
    (tmp_path / "secret.txt").write_bytes(SECRET)
    (tmp_path / "static-old").mkdir()
    (tmp_path / "static-old" / "secret.txt").write_bytes(SECRET)
    return root


@pytest.fixture
def app(root):
    return Client(Site(str(root), 3600))


@pytest.fixture
def landing():
    return Client(Site(None, 3600))


def call(site, PATH_INFO, REQUEST_METHOD="GET", **environ):
    """Call the application with a PATH_INFO that no client library would send."""
    started = []
    environ = {"SCRIPT_NAME": "", **environ, "REQUEST_METHOD": REQUEST_METHOD, "PATH_INFO": PATH_INFO}
    body = site(environ, lambda status, headers, exc_info=None: started.append((status, headers)))
    content = b"".join(body)
    if hasattr(body, "close"):
        body.close()
    ((status, headers),) = started
    assert len(headers) == len(dict(headers))
    return int(status.split()[0]), dict(headers), content


def assert_error(status, headers, content, expected):
    assert status == expected
    assert headers["Content-Type"] == "application/json"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    body = json.loads(content)
    assert (body["faultcode"], body["debuginfo"]) == ("Client", None)
    assert len(body["faultstring"]) <= MESSAGE_CHARACTERS
    assert SECRET not in content


# Files


def test_file_is_served_with_its_headers(app, root):
    response = app.get("/static/js/main.js")
    assert response.body == SCRIPT
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(SCRIPT))
    assert response.headers["Cache-Control"] == CACHED
    assert response.headers["Vary"] == "Accept-Encoding"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    modified = parsedate_to_datetime(response.headers["Last-Modified"]).timestamp()
    assert modified == int((root / "static/js/main.js").stat().st_mtime)
    assert not response.headers["ETag"].startswith("W/")


@pytest.mark.parametrize("extension", sorted(CONTENT_TYPES))
def test_content_type_is_ours_and_not_the_machines(app, root, extension, monkeypatch):
    monkeypatch.setattr("mimetypes.types_map", {extension: "application/x-wrong"})
    (root / f"file{extension}").write_bytes(b"x")
    assert app.get(f"/file{extension}").headers["Content-Type"] == CONTENT_TYPES[extension]


def test_extension_counts_in_any_case(app, root):
    (root / "LOGO.PNG").write_bytes(b"x")
    assert app.get("/LOGO.PNG").headers["Content-Type"] == "image/png"


def test_file_of_unknown_type_is_bytes(app, root):
    (root / "LICENSE").write_bytes(b"words")
    response = app.get("/LICENSE")
    assert (response.headers["Content-Type"], response.body) == ("application/octet-stream", b"words")


def test_file_name_is_utf_8(app, root):
    (root / "grün.svg").write_bytes(b"<svg/>")
    assert app.get("/gr%C3%BCn.svg").body == b"<svg/>"


def test_empty_file(app, root):
    (root / "empty.txt").touch()
    response = app.get("/empty.txt")
    assert (response.body, response.headers["Content-Length"]) == (b"", "0")


@pytest.mark.parametrize("path", ["/", "/index.html", "/t/demo/status"])
def test_index_is_always_asked_for_again(app, path):
    response = app.get(path)
    assert response.body == INDEX
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"


def test_cache_seconds_0_says_nothing_about_files(root):
    app = Client(Site(str(root), 0))
    assert "Cache-Control" not in app.get("/static/js/main.js").headers
    assert app.get("/").headers["Cache-Control"] == "no-cache"


def test_big_file_comes_in_chunks(root):
    (root / "big.js").write_bytes(b"x" * (3 * CHUNK_BYTES + 1))
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/big.js"}
    body = Site(str(root), 0)(environ, lambda status, headers: None)
    sizes = [len(chunk) for chunk in body]
    body.close()
    assert sizes == [CHUNK_BYTES] * 3 + [1]


def test_servers_file_wrapper_is_used_and_closes_the_file(root):
    wrapped = []

    def wrapper(file, size):
        wrapped.append(file)
        return FileWrapper(file, size)

    environ = {"wsgi.file_wrapper": wrapper}
    assert call(Site(str(root), 0), "/static/js/main.js", **environ)[2] == SCRIPT
    assert [file.closed for file in wrapped] == [True]
    assert call(Site(str(root), 0), "/static/js/main.js", "HEAD", **environ)[2] == b""
    assert len(wrapped) == 1


# Methods


@pytest.mark.parametrize("path", ["/", "/static/js/main.js", "/t/demo/status", "/nothing.js"])
def test_head_has_the_headers_of_get_and_no_body(app, path):
    get, head = app.get(path, status=None), app.head(path, status=None)
    assert head.body == b""
    assert (head.status, head.headers) == (get.status, get.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_405(root, method):
    for site in Site(str(root), 0), Site(None, 0):
        status, headers, content = call(site, "/", method)
        assert_error(status, headers, content, 405)
        assert headers["Allow"] == "GET, HEAD"


# Pages


@pytest.mark.parametrize(
    "path",
    [
        "/status",
        "/t/demo/status",
        "/t/demo/status/change/1,2",
        "/t/t1/project/review.example.com/org/some.repo",
        "/t/t1/project/github.com/org/.github",
        "/t/demo/job/build-v1.2",
        "/t/demo/status.html",
        "/static",
        "/static/",
        "/static/js/main.js/",
        "//etc/hostname",
        "/apiary",
        "/t/api/builds",
        "/" + "a" * 5000,
        "/a" * 5000,
    ],
)
def test_page_is_the_index(app, path):
    assert app.get(path).body == INDEX


def test_page_of_a_project_called_like_an_asset(app):
    page = "/t/t1/project/github.com/org/three.js"
    assert app.get(page, headers=HTML).body == INDEX
    app.get(page, headers={"Accept": "*/*"}, status=404)


def test_file_comes_before_page(app):
    assert app.get("/static/js/main.js", headers=HTML).body == SCRIPT


@pytest.mark.parametrize("extension", sorted(ASSET_EXTENSIONS))
def test_missing_asset_is_404(root, extension):
    for accept in {}, {"HTTP_ACCEPT": "*/*"}, {"HTTP_ACCEPT": "text/css,*/*;q=0.1"}:
        assert_error(*call(Site(str(root), 0), f"/static/gone{extension}", **accept), 404)


def test_folder_called_like_an_asset_is_404(app, root):
    (root / "chart.js").mkdir()
    app.get("/chart.js", status=404)


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/nope", "//api/nope", "/v1", "/v1/nope", "/api/x.js", "/v1/x.html"]
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_api_is_never_a_page(root, path, method):
    for site in Site(str(root), 0), Site(None, 0):
        status, headers, content = call(site, path, method, HTTP_ACCEPT="text/html")
        assert status == 404
        if method != "HEAD":
            assert_error(status, headers, content, 404)


# Sub-paths


def test_mounted_below_a_prefix(app):
    assert app.get("/t/demo/status", script_name="/zuul").body == INDEX
    assert app.get("/static/js/main.js", script_name="/zuul").body == SCRIPT
    app.get("/api/nope", script_name="/zuul", status=404)


def test_mount_point_without_slash_is_redirected(root):
    for site in Site(str(root), 0), Site(None, 0):
        status, headers, content = call(site, "", SCRIPT_NAME="/ci/z:ü".encode().decode("latin-1"))
        assert (status, content) == (307, b"")
        assert headers["Location"] == "./z%3A%C3%BC/"


def test_empty_path_at_the_top_is_the_index(root):
    for prefix in "", "/", "/zuul/":
        assert call(Site(str(root), 0), "", SCRIPT_NAME=prefix)[2] == INDEX


@pytest.mark.parametrize("prefix", ["/zuul", "/ci/zuul", "/t/demo", "/zuul/t/demo/status/change"])
def test_asset_is_found_below_a_prefix_that_the_proxy_kept(app, prefix):
    assert app.get(f"{prefix}/static/js/main.js").body == SCRIPT
    assert app.get(f"{prefix}/openapi.yaml").body == b"openapi: 3.0.0\n"
    assert app.get(f"{prefix}/t/demo/status").body == INDEX
    app.get(f"{prefix}/static/js/gone.js", status=404)


def test_search_below_prefixes_ends(app):
    app.get("/a" * 8 + "/openapi.yaml")
    app.get("/a" * 9 + "/openapi.yaml", status=404)


# Nothing outside


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/../secret",
        "/..",
        "/.",
        "/./index.html",
        "/static/../../secret.txt",
        "/static/../index.html",
        "/../static-old/secret.txt",
        "/static/js/../../../secret.txt",
        "/t/demo/project/../../../../../secret.txt",
        "/t/demo/project/../secret.txt",
        "//../secret.txt",
        "/....//secret.txt",
        "/..\\secret.txt",
        "/static\\..\\..\\secret.txt",
        "\\secret.txt",
        "/project/x\\.y",
        "../secret.txt",
    ],
)
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_traversal_is_404(root, path, accept):
    assert_error(*call(Site(str(root), 0), path, HTTP_ACCEPT=accept), 404)


@pytest.mark.parametrize("path", ["/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/..%5csecret.txt"])
def test_encoded_traversal_is_404(app, path):
    response = app.get(path, status=404)
    assert SECRET not in response.body


def test_doubly_encoded_traversal_is_only_a_name(app):
    assert app.get("/%252e%252e%252fsecret").body == INDEX
    app.get("/%252e%252e%252fsecret.txt", status=404)


def test_absolute_path_is_404(root, tmp_path):
    site = Site(str(root), 0)
    assert_error(*call(site, str(tmp_path / "secret.txt")), 404)
    assert_error(*call(site, f"/{tmp_path}/secret.txt"), 404)


@pytest.mark.parametrize("path", ["/", "/index.html", "/t/demo/status"])
def test_query_has_no_influence(app, tmp_path, path):
    for query in f"path={tmp_path}/secret.txt", "path=../secret.txt", "path=static/js/main.js", "x=%00":
        assert app.get(f"{path}?{query}").body == INDEX


@pytest.mark.parametrize("name", ["link", "link.txt", "link.js"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_link_to_a_file_outside_is_404(root, name, accept):
    (root / name).symlink_to("../secret.txt")
    assert_error(*call(Site(str(root), 0), f"/{name}", HTTP_ACCEPT=accept), 404)


def test_link_to_a_folder_outside_is_404(root, tmp_path):
    (root / "out").symlink_to(tmp_path)
    (root / "old").symlink_to(tmp_path / "static-old")
    for path in "/out/secret.txt", "/old/secret.txt", "/out", "/out/nothing":
        assert_error(*call(Site(str(root), 0), path), 404)


def test_index_that_leads_outside_is_404(root):
    (root / "index.html").unlink()
    (root / "index.html").symlink_to("../secret.txt")
    assert_error(*call(Site(str(root), 0), "/"), 404)


def test_gzip_sibling_that_leads_outside_is_not_used(app, root):
    (root / "static/js/main.js.gz").symlink_to("../../../secret.txt")
    response = app.get("/static/js/main.js", headers={"Accept-Encoding": "gzip"})
    assert response.body == SCRIPT


def test_links_that_stay_inside_work(app, root):
    """As in a Kubernetes ConfigMap volume."""
    (root / "..2024_01").mkdir()
    (root / "..2024_01" / "extra.css").write_bytes(b"p {}")
    (root / "..data").symlink_to("..2024_01")
    (root / "extra.css").symlink_to("..data/extra.css")
    assert app.get("/extra.css").body == b"p {}"
    app.get("/..data/extra.css", status=404)


def test_link_has_the_type_of_its_own_name(app, root):
    """As in content-addressed stores."""
    (root / "0af3").write_bytes(b"p {}")
    (root / "linked.css").symlink_to("0af3")
    assert app.get("/linked.css").headers["Content-Type"] == "text/css; charset=utf-8"
    (root / "index.html").rename(root / "9bc1")
    (root / "index.html").symlink_to("9bc1")
    page = app.get("/t/demo/status")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Cache-Control"] == "no-cache"


def test_links_in_circles_are_nothing(app, root):
    (root / "a.js").symlink_to("b.js")
    (root / "b.js").symlink_to("a.js")
    app.get("/a.js", status=404)


def test_static_path_may_be_a_link_that_is_switched(tmp_path, root):
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "index.html").write_bytes(b"newer")
    current = tmp_path / "current"
    current.symlink_to(root)
    app = Client(Site(str(current), 0))
    assert app.get("/").body == INDEX
    current.unlink()
    current.symlink_to(newer)
    assert app.get("/").body == b"newer"


def test_static_path_is_taken_at_the_start(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    app = Client(Site("static", 0))
    monkeypatch.chdir("/")
    assert app.get("/").body == INDEX


@pytest.mark.parametrize("path", ["/.env", "/.git/config", "/static/.htpasswd", "/.hidden/x.js", "/.well-known/x"])
@pytest.mark.parametrize("accept", ["*/*", "text/html"])
def test_dot_files_are_404(root, path, accept):
    file = root / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(SECRET)
    assert_error(*call(Site(str(root), 0), path, HTTP_ACCEPT=accept), 404)


def test_dot_file_in_a_folder_called_project_is_the_page(app, root):
    (root / "project").mkdir()
    (root / "project" / ".env").write_bytes(SECRET)
    assert app.get("/project/.env").body == INDEX


@pytest.fixture
def alarm():
    """Fail instead of hanging, should somebody open a FIFO and wait for its writer."""
    signal.alarm(5)
    yield
    signal.alarm(0)


@pytest.mark.parametrize("name", ["pipe", "pipe.txt"])
def test_fifo_is_404_at_once(alarm, root, name):
    os.mkfifo(root / name)
    assert_error(*call(Site(str(root), 0), f"/{name}"), 404)


def test_fifo_as_index_or_as_gzip_sibling(alarm, app, root):
    os.mkfifo(root / "static/js/main.js.gz")
    assert app.get("/static/js/main.js", headers={"Accept-Encoding": "gzip"}).body == SCRIPT
    (root / "index.html").unlink()
    os.mkfifo(root / "index.html")
    app.get("/", status=404)


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_file_replaced_between_look_and_open_is_404(alarm, root, kind, monkeypatch):
    file = root / "static/js/main.js"
    really_open = os.open

    def replace_and_open(path, flags):
        file.unlink()
        os.mkfifo(file) if kind == "fifo" else file.symlink_to("../../../secret.txt")
        return really_open(path, flags)

    monkeypatch.setattr("os.open", replace_and_open)
    assert_error(*call(Site(str(root), 0), "/static/js/main.js"), 404)


def test_socket_is_404(root, monkeypatch):
    monkeypatch.chdir(root)  # the names of sockets are short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s.txt")
        assert_error(*call(Site(str(root), 0), "/s.txt"), 404)


def test_unreadable_file_is_404_and_logged(root, monkeypatch, caplog):
    def refuse(path, flags):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("os.open", refuse)
    assert_error(*call(Site(str(root), 0), "/static/js/main.js"), 404)
    assert "Permission denied" in caplog.text


# Names that are no text


def test_nul_is_400(root):
    for site in Site(str(root), 0), Site(None, 0):
        for path in "/index.html\0.png", "/\0", "/..\0/secret.txt":
            assert_error(*call(site, path), 400)


def test_invalid_utf_8_is_400(root):
    for path in "/\xff", "/\xc0\xae\xc0\xae/secret.txt", "/t/\xe4", "/\u20ac":
        assert_error(*call(Site(str(root), 0), path), 400)


def test_long_path_is_cut_in_the_message(root):
    _, headers, content = call(Site(str(root), 0), "/<script>" + "x" * 100_000 + ".js")
    assert len(content) < MESSAGE_CHARACTERS + 100
    assert headers["Content-Type"] == "application/json"


# Conditional requests


def test_matching_etag_is_304(app):
    first = app.get("/static/js/main.js")
    for tag in first.headers["ETag"], f"W/{first.headers['ETag']}", f'"x", {first.headers["ETag"]}', "*":
        again = app.get("/static/js/main.js", headers={"If-None-Match": tag}, status=304)
        assert again.body == b""
        assert "Content-Type" not in again.headers
        for name in "ETag", "Last-Modified", "Cache-Control", "Vary":
            assert again.headers[name] == first.headers[name]
    assert app.head("/static/js/main.js", headers={"If-None-Match": "*"}, status=304)


def test_other_etag_is_200(app):
    app.get("/", headers={"If-None-Match": '"x"'}, status=200)


def test_etag_changes_with_time_and_size(app, root):
    file = root / "static/js/main.js"
    facts = file.stat()
    tags = [app.get("/static/js/main.js").headers["ETag"]]
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    tags.append(app.get("/static/js/main.js").headers["ETag"])
    file.write_bytes(SCRIPT * 2)
    os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    tags.append(app.get("/static/js/main.js").headers["ETag"])
    assert len(set(tags)) == 3


def test_not_modified_since_is_304(app):
    first = app.get("/static/js/main.js")
    since = {"If-Modified-Since": first.headers["Last-Modified"]}
    assert app.get("/static/js/main.js", headers=since, status=304).body == b""
    later = {"If-Modified-Since": "Fri, 31 Dec 2100 23:59:59 GMT"}
    app.get("/static/js/main.js", headers=later, status=304)
    earlier = {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}
    app.get("/static/js/main.js", headers=earlier, status=200)


def test_if_none_match_wins_over_if_modified_since(app):
    first = app.get("/static/js/main.js")
    date, tag = first.headers["Last-Modified"], first.headers["ETag"]
    app.get("/static/js/main.js", headers={"If-None-Match": '"x"', "If-Modified-Since": date}, status=200)
    old = "Thu, 01 Jan 1970 00:00:00 GMT"
    app.get("/static/js/main.js", headers={"If-None-Match": tag, "If-Modified-Since": old}, status=304)


@pytest.mark.parametrize(
    "date",
    [
        "",
        " ",
        ",",
        "1",
        "yesterday",
        "0 0 0 0 0 0 0",
        "Mon, 99 Foo 2020 00:00:00 GMT",
        "Mon, 01 Jan 99999 00:00:00 GMT",
        "Mon, 01 Jan 0001 00:00:00 +9999",
        "Mon, 01 Jan 0000 00:00:00 -0000",
        "Mon, 01 Jan 2020 00:00:00 +" + "9" * 30,
        "Mon, 01 Jan " + "9" * 30 + " 00:00:00 GMT",
    ],
)
def test_nonsense_date_is_ignored(app, date):
    app.get("/static/js/main.js", headers={"If-Modified-Since": date}, status=200)


# gzip


@pytest.fixture
def zipped(root):
    data = gzip.compress(SCRIPT)
    (root / "static/js/main.js.gz").write_bytes(data)
    return data


@pytest.mark.parametrize("accept", ["gzip", "br, gzip;q=0.5", "GZIP", "*", "deflate;q=0, *;q=0.1"])
def test_gzip_sibling_is_used(app, zipped, accept):
    response = app.get("/static/js/main.js", headers={"Accept-Encoding": accept})
    assert response.body == zipped
    assert response.headers["Content-Encoding"] == "gzip"
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert response.headers["Content-Length"] == str(len(zipped))
    assert response.headers["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("accept", ["", "identity", "br", "gzip;q=0", "gzip; q=0.000", "*;q=0", "gzip;q=0, *"])
def test_gzip_sibling_is_not_forced_on_anybody(app, zipped, accept):
    response = app.get("/static/js/main.js", headers={"Accept-Encoding": accept})
    assert response.body == SCRIPT
    assert "Content-Encoding" not in response.headers
    assert response.headers["Vary"] == "Accept-Encoding"


def test_the_two_codings_have_different_etags(app, zipped):
    plain = app.get("/static/js/main.js").headers["ETag"]
    with_gzip = {"Accept-Encoding": "gzip"}
    tag = app.get("/static/js/main.js", headers=with_gzip).headers["ETag"]
    assert tag != plain
    app.get("/static/js/main.js", headers={**with_gzip, "If-None-Match": plain}, status=200)
    app.get("/static/js/main.js", headers={**with_gzip, "If-None-Match": tag}, status=304)


def test_etags_differ_even_for_the_same_time_and_size(app, root):
    (root / "static/js/main.js.gz").write_bytes(SCRIPT)
    os.utime(root / "static/js/main.js", (0, 0))
    os.utime(root / "static/js/main.js.gz", (0, 0))
    plain, zipped = (app.get("/static/js/main.js", {"Accept-Encoding": c}) for c in ("identity", "gzip"))
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert plain.headers["ETag"] != zipped.headers["ETag"]


def test_older_gzip_sibling_is_not_used(app, root, zipped):
    os.utime(root / "static/js/main.js.gz", (0, 0))
    assert app.get("/static/js/main.js", headers={"Accept-Encoding": "gzip"}).body == SCRIPT


def test_gzip_sibling_of_the_index(app, root):
    (root / "index.html.gz").write_bytes(gzip.compress(INDEX))
    response = app.get("/t/demo/status", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(response.body) == INDEX
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"


def test_gzip_file_itself_is_bytes(app, zipped):
    response = app.get("/static/js/main.js.gz", headers={"Accept-Encoding": "gzip"})
    assert response.body == zipped
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert "Content-Encoding" not in response.headers


# A static_path that is not there


def test_folder_without_index_is_404_and_logged(tmp_path, caplog):
    for path in tmp_path, tmp_path / "missing":
        assert_error(*call(Site(str(path), 0), "/"), 404)
        assert f"static_path {path} has no index.html" in caplog.text


# Our own page


def test_landing_page(landing):
    response = landing.get("/")
    page = response.body.decode()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    for link in "api", "api/info", "api/tenants", "api/connections":
        assert f'<a href="{link}">' in page
    assert page.count("\ncurl ") + page.count("<code>curl ") == 3
    landing.get("/", headers={"If-None-Match": response.headers["ETag"]}, status=304)
    landing.get("/", headers={"If-Modified-Since": "Fri, 31 Dec 2100 23:59:59 GMT"}, status=200)


def test_empty_static_path_is_our_own_page(landing):
    assert call(Site("", 0), "/")[2] == landing.get("/").body


@pytest.mark.parametrize(
    "path",
    ["/index.html", "/status", "/t/demo/status", "/x.js", "/..", "//etc/passwd", "/dashboard/index.html"],
)
def test_everything_else_is_404_without_a_dashboard(path):
    assert_error(*call(Site(None, 0), path, HTTP_ACCEPT="text/html"), 404)


def test_landing_page_policy_allows_its_own_script_and_style_by_hash(landing):
    response = landing.get("/")
    page = response.body.decode()
    header = response.headers["Content-Security-Policy"]
    policy = dict(part.split(" ", 1) for part in header.split("; "))
    for element in "script", "style":
        (text,) = re.findall(f"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert policy[f"{element}-src"] == f"'sha256-{digest}'"
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert "unsafe" not in header


def test_landing_page_loads_nothing_from_elsewhere(landing):
    class Parser(HTMLParser):
        def handle_starttag(self, tag, attributes):
            attributes = dict(attributes)
            assert "src" not in attributes
            assert "style" not in attributes
            assert not any(name.startswith("on") for name in attributes)
            if tag == "link":
                assert attributes["href"].startswith("data:")
            elif tag == "a":
                # Relative, so that the page works below a prefix; other sites are only linked.
                assert not attributes["href"].startswith("/")

    page = landing.get("/").body.decode()
    Parser().feed(page)
    assert "innerHTML" not in page
