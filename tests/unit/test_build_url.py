# SPDX-License-Identifier: Apache-2.0
"""The names under which `zuul-rest tail` finds a build."""

from __future__ import annotations

import pytest

from zuul.web.build_url import Build, build_of, log_url
from zuul.web.settings import ConfigError

UUID = "3c2d5b0f6b3c4f0e9d1a7c55d0b2a111"


def roots(server):
    return f"{server}/v1", f"{server}/api/v1"


def nobody():
    raise AssertionError("the argument names the server")


@pytest.mark.parametrize(
    "word",
    [
        UUID,
        f"stream/{UUID}?logfile=console.log",
        f"/t/example/stream/{UUID}?logfile=console.log",
        f"build/{UUID}",
        f"finger://executor01.example.com/{UUID}",
        f"finger://executor01.example.com:7979/{UUID}",
    ],
)
def test_without_a_server_there_is_a_uuid(word):
    server = "https://zuul.example.com"

    assert build_of(word, lambda: server, "example") == Build(UUID, "example", roots(server))
    assert build_of(word, lambda: server, None).tenant is None


@pytest.mark.parametrize(
    "url, tenant, found",
    [
        (f"http://host:9000/v1/tenants/example/builds/{UUID}/log", "example", ("http://host:9000/v1",)),
        (f"http://host/v1/tenants/example/builds/{UUID}/log?start=7", "example", ("http://host/v1",)),
        (f"http://host/v1/tenants/example/builds/{UUID}", "example", ("http://host/v1",)),
        (f"https://host/api/v1/tenants/example/builds/{UUID}/log", "example", ("https://host/api/v1",)),
        (f"https://host/zuul/v1/tenants/a%2Fb%20c/builds/{UUID}/log", "a/b c", ("https://host/zuul/v1",)),
        (f"https://host/api/tenant/example/build/{UUID}", "example", roots("https://host")),
        (f"https://host/zuul/api/tenant/example/build/{UUID}", "example", roots("https://host/zuul")),
        (f"https://host/api/build/{UUID}", None, roots("https://host")),
        (f"https://host/t/example/stream/{UUID}?logfile=console.log", "example", roots("https://host")),
        (f"https://[::1]:9000/t/example/stream/{UUID}", "example", roots("https://[::1]:9000")),
        (f"https://host/ci/zuul/t/example/stream/{UUID}#x", "example", roots("https://host/ci/zuul")),
        (f"https://host/t/t/example/stream/{UUID}", "example", roots("https://host/t")),
        (f"https://host/t/t/build/{UUID}", "t", roots("https://host")),
        (f"https://host/t/example/build/{UUID}/console", "example", roots("https://host")),
        (f"https://host/t/example/build/{UUID}/log/job-output.txt#12", "example", roots("https://host")),
        (f"https://host/stream/{UUID}?logfile=console.log", None, roots("https://host")),
        (f"https://host/zuul/stream/{UUID}", None, roots("https://host/zuul")),
        (f"https://host/z%C3%BC/ö/build/{UUID}", None, roots("https://host/z%C3%BC/%C3%B6")),
        (f"https://host/t/example/stream.html?uuid={UUID}&logfile=console.log", "example", roots("https://host")),
        (f"https://host/stream.html?uuid={UUID}", None, roots("https://host")),
    ],
)
def test_a_url_names_server_and_build_and_maybe_the_tenant(url, tenant, found):
    assert build_of(url, nobody, None) == Build(UUID, tenant, found)
    assert build_of(url, nobody, "mine").tenant == (tenant or "mine")


@pytest.mark.parametrize("end", ["", "/", "/v1", "/v1/", "/api", "/api/", "/api/v1", "?x#y"])
def test_a_server_may_be_given_with_the_root_of_its_api(end):
    assert build_of(UUID, lambda: f"https://host/zuul{end}", None).roots == roots("https://host/zuul")
    assert build_of(UUID, lambda: f"https://host{end}", None).server == "https://host"


@pytest.mark.parametrize(
    "argument, server, words",
    [
        ("", "http://host", "neither a build's uuid nor a URL"),
        ("console.log", "http://host", "neither a build's uuid nor a URL"),
        (UUID[1:], "http://host", "neither a build's uuid nor a URL"),
        (UUID + "0", "http://host", "neither a build's uuid nor a URL"),
        (f"ftp://host/{UUID}", "http://host", "neither a build's uuid nor a URL"),
        ("http://host/t/example/status", "", "names no build"),
        ("http://host/stream.html", "", "names no build"),
        (f"http://host/t/example/job/{UUID}", "", "names no build"),
        (f"http://host:x/stream/{UUID}", "", "a server must be given as a URL"),
        (f"http://[::1/stream/{UUID}", "", "a server must be given as a URL"),
        (f"http:///stream/{UUID}", "", "a server must be given as a URL"),
        (UUID, "zuul.example.com", "a server must be given as a URL that starts with http:// or https://"),
        (UUID, "zuul.example.com:9000", "a server must be given as a URL"),
        (UUID, "http://me:secret@host:x", "a server must be given as a URL"),
        (UUID, "http://me:secret@host", "a user and a password"),
        (f"http://me:secret@host/stream/{UUID}", "", "a user and a password"),
    ],
)
def test_what_names_no_build_is_a_wrong_call(argument, server, words):
    with pytest.raises(ConfigError, match=words) as error:
        build_of(argument, lambda: server, None)

    assert "secret" not in str(error.value)


def test_a_tenants_name_is_quoted():
    assert log_url("http://host/v1", "a/b c", UUID) == f"http://host/v1/tenants/a%2Fb%20c/builds/{UUID}/log"
