# SPDX-License-Identifier: Apache-2.0
"""What `zuul-rest tail` is given: a build's uuid, or one of the many URLs under which people know a build."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

from zuul.web.settings import HTTP_URL, ConfigError


@dataclass(frozen=True)
class Build:
    uuid: str
    tenant: str | None
    """None: whichever has it."""
    roots: tuple[str, ...]
    """URLs at which /v1 may be, the likeliest first."""

    @property
    def server(self) -> str:
        """For messages."""
        return re.sub("(/api)?/v1$", "", self.roots[0])


def build_of(argument: str, server: Callable[[], str], tenant: str | None) -> Build:
    """The build that an argument names; where it names no server or no tenant, those given here count.

    :raises ConfigError: the argument names no build, or the server's URL is none.
    """
    if not re.match("https?://", argument, re.IGNORECASE):
        uuid = _uuid_of_a_word(argument)
        if uuid is None:
            raise ConfigError(f"{argument}: this is neither a build's uuid nor a URL that names one")
        return Build(uuid, tenant, _roots(_checked(server())))
    url = urlsplit(_checked(argument))
    match = next((match for path in _paths if (match := path.fullmatch(url.path))), None)
    found = {name: value for name, value in match.groupdict().items() if value} if match else {}
    uuid = found.get("uuid") or _uuid(parse_qs(url.query).get("uuid", [""])[0])
    if match is None or uuid is None:
        raise ConfigError(f"{argument}: this URL names no build")
    place = f"{url.scheme}://{url.netloc}" + quote(found.get("v1") or found.get("base", ""), safe="/%:@!$&'()*+,;=~")
    roots = (place,) if "v1" in found else _roots(place)
    return Build(uuid, unquote(found["tenant"]) if "tenant" in found else tenant, roots)


def log_url(root: str, tenant: str, uuid: str) -> str:
    return f"{root}/tenants/{quote(tenant, safe='')}/builds/{uuid}/log"


_TENANT = "(?P<tenant>[^/]+)"
_UUID = "(?P<uuid>[0-9a-f]{32})"

_paths = [
    re.compile(path)
    for path in (
        rf"(?P<v1>.*?/v1)/tenants/{_TENANT}/builds/{_UUID}(/.*)?",
        rf"(?P<base>.*?)/api/tenant/{_TENANT}/build/{_UUID}(/.*)?",
        rf"(?P<base>.*?)/t/{_TENANT}/(stream|build)/{_UUID}(/.*)?",
        rf"(?P<base>.*?)(/api)?/(stream|build)/{_UUID}(/.*)?",
        rf"(?P<base>.*?)/t/{_TENANT}/stream\.html",  # these two have the uuid in their query
        r"(?P<base>.*?)/stream\.html",
    )
]
"""Before `base` or `v1` lies the server, which may be mounted below a prefix. The first that fits counts."""


def _uuid(text: str) -> str | None:
    return text if re.fullmatch(_UUID, text) else None


def _uuid_of_a_word(argument: str) -> str | None:
    """Of the uuid itself, and of what a status has as a build's URL: `stream/UUID?...`, `finger://HOST/UUID`."""
    match = re.fullmatch(rf"(?:finger://[^/]+/|/?(?:t/[^/]+/)?(?:stream|build)/)?{_UUID}(?:[/?].*)?", argument)
    return match["uuid"] if match else None


def _checked(url: str) -> str:
    try:
        HTTP_URL.parse(url)
    except ValueError:
        raise ConfigError(f"a server must be given as {HTTP_URL.allowed}") from None  # which may hold a password
    if urlsplit(url).username is not None:
        raise ConfigError("a URL must not have a user and a password in it")
    return url


def _roots(server: str) -> tuple[str, ...]:
    """Where a proxy passes `/api` alone, /v1 is there; where it rewrites `/api`, it is not."""
    server = re.sub(r"/*((/api)?/v1|/api)?/*$", "", urlsplit(server)._replace(query="", fragment="").geturl())
    return f"{server}/v1", f"{server}/api/v1"
