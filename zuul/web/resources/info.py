# SPDX-License-Identifier: Apache-2.0
"""What a client must know of this installation before anything else. It comes from zuul.conf alone."""

from __future__ import annotations

from zuul.web.resources.base import Resource, always, sometimes


class Realm(Resource):
    """Where a client gets a token, from one `[auth NAME]` section."""

    authority = always(str)
    """The issuer of its tokens, their claim `iss`: option issuer_id. The URL of the provider for OpenIDConnect."""

    client_id = always(str)
    """The audience of its tokens, their claim `aud`."""

    type = always(str)
    """JWT; there is no other."""

    driver = always(str)
    """How signatures are checked: HS256, RS256 or OpenIDConnect (also for the option's old word, RS256withJWKS)."""

    scope = sometimes(str)
    """What to ask the provider for; only where the driver is OpenIDConnect."""

    @classmethod
    def sample(cls) -> Realm:
        return cls(authority="zuul_operator", client_id="zuul.example.com", type="JWT", driver="HS256")


class Authentication(Resource):
    """The realms that tokens are accepted from."""

    realms = always({str: Realm})
    """By the name of the realm; empty where nobody may log in."""

    default_realm = always(str, null=True)
    """Null where there are no realms."""

    @classmethod
    def sample(cls) -> Authentication:
        return cls(realms={"zuul.example.com": Realm.sample()}, default_realm="zuul.example.com")


class Capabilities(Resource):
    """What this installation can do."""

    job_history = always(bool)
    """Whether builds and buildsets can be asked for, that is, whether there is an SQL connection."""

    auth = always(Authentication)
    """How to log in."""

    @classmethod
    def sample(cls) -> Capabilities:
        return cls(job_history=True, auth=Authentication.sample())


class Stats(Resource):
    """Where the scheduler's statistics can be read."""

    prefix = always(str, null=True)
    """What all metric names start with: option prefix of [statsd]."""

    type = always(str)
    """What answers at `url`: graphite."""

    url = always(str, null=True)
    """Null where statistics are not public."""

    @classmethod
    def sample(cls) -> Stats:
        return cls(prefix="zuul", type="graphite", url="https://graphite.example.com")


class Info(Resource):
    """The installation, for all tenants or one."""

    capabilities = always(Capabilities)
    """What clients may offer their users."""

    websocket_url = always(str, null=True)
    """Where consoles are streamed from; null: from the URL of this API."""

    stats = always(Stats)
    """Where statistics are."""

    tenant = sometimes(str)
    """The tenant asked about. Left out at /api/info, so that a client behind a proxy which serves a single tenant
    there finds it out by this key."""

    @classmethod
    def sample(cls) -> Info:
        return cls(
            capabilities=Capabilities.sample(),
            websocket_url="wss://zuul.example.com",
            stats=Stats.sample(),
            tenant="tenant-one",
        )


class InfoDocument(Resource):
    """The envelope that `Info` is sent in."""

    info = always(Info)
    """All there is to say; the envelope is upstream's."""

    @classmethod
    def sample(cls) -> InfoDocument:
        return cls(info=Info.sample())
