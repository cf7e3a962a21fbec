# SPDX-License-Identifier: Apache-2.0
"""`zuul-rest check`: tries everything that a zuul.conf names, and says what to do about what fails.

Every probe has `PROBE_SECONDS`, runs in a thread of its own so that none can hang the command, and
ends in one line. Nothing is changed anywhere.
"""

from __future__ import annotations

import errno
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from zuul.web.auth.fetching import fetch_json
from zuul.web.auth.keys import configured
from zuul.web.auth.provider import Provider
from zuul.web.backends import history, nodepool
from zuul.web.backends.rpc.gearman import registered_functions
from zuul.web.backends.scheduler import FUNCTIONS
from zuul.web.errors import Unavailable
from zuul.web.server import listen_socket
from zuul.web.settings import AuthSection, ConfigError, Connection, Gearman, Settings, Web, ZooKeeper

log = logging.getLogger("zuul.web.check")

PROBE_SECONDS = 5.0
ANSWER_SECONDS = 4.0
"""What a probe itself waits: less than it has, so that it can still tell what it waited for."""
SAFE_SECRET_BYTES = 32


@dataclass(frozen=True)
class Probes:
    """The functions that touch the world outside; others in tests."""

    registered_functions: Callable[[str, int, tuple[str, str, str] | None, float], dict[str, int]] = (
        registered_functions
    )
    nodepool: Callable[[ZooKeeper, float], bool] = nodepool.reachable
    history: Callable[[str, float, str], history.Found] = history.probe
    fetch_json: Callable[[str, float], object] = fetch_json
    listen_socket: Callable[[str, int], socket.socket] = listen_socket
    seconds: float = PROBE_SECONDS


Probe = Callable[[], str]
"""Returns what is well; raises `_Wrong`."""


class _Wrong(Exception):
    """What is wrong; what to do about it."""


def check(settings: Settings, probes: Probes | None = None) -> int:
    """Print a line for each thing that the settings name. Returns 1 if one failed, else 0."""
    logging.getLogger().addHandler(logging.NullHandler())  # else the libraries' warnings go to stderr
    probes = probes or Probes()
    failed = False
    for subject, probe in _probes(settings, probes):
        verdict, finding = ("skip", "not configured") if probe is None else _run(probe, probes.seconds)
        print(f"{verdict:<5} {subject}: {finding}", flush=True)
        failed = failed or verdict == "FAIL"
    return 1 if failed else 0


def _probes(settings: Settings, probes: Probes) -> Iterator[tuple[str, Probe | None]]:
    if settings.gearman is None:
        yield "gearman", None
    else:
        for server in settings.gearman.servers:
            yield f"gearman {_address(*server)}", partial(_gearman, probes, settings.gearman, server)
    if settings.zookeeper is None:
        yield "zookeeper", None
    else:
        subject = f"zookeeper {settings.zookeeper.hosts}{settings.zookeeper.chroot}"
        yield subject, partial(_zookeeper, probes, settings.zookeeper)
    databases = [connection for connection in settings.connections if connection.driver == "sql"]
    if not databases:
        yield "sql", None
    for connection in databases:
        yield f"sql [connection {connection.name}]", partial(_database, probes, connection)
    for section in settings.auth:
        yield f"tokens [auth {section.name}]", partial(_tokens, probes, section)
    web = settings.web
    yield f"listen {_address(web.listen_address, web.port)}", partial(_listen, probes, web)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _run(probe: Probe, seconds: float) -> tuple[str, str]:
    outcome: list[tuple[str, str]] = []

    def run() -> None:
        try:
            outcome.append(("ok", probe()))
        except _Wrong as wrong:
            outcome.append(("FAIL", " ".join(str(wrong).split())))
        except Exception as error:  # an edge: whatever a library throws becomes a line too
            log.debug("a probe failed", exc_info=True)
            outcome.append(("FAIL", f"{type(error).__name__}, which zuul-rest did not expect; please report it"))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return outcome[0] if outcome else ("FAIL", f"no answer within {seconds:g} s; is there a firewall in between?")


def _gearman(probes: Probes, gearman: Gearman, server: tuple[str, int]) -> str:
    try:
        workers = probes.registered_functions(*server, _tls(gearman), ANSWER_SECONDS)
    except OSError as error:
        raise _Wrong(f"{_reason(error)}; {_gearman_advice(error, gearman)}") from error
    missing = [function for function in FUNCTIONS if not workers.get(f"zuul:{function}")]
    found = f"connected, {len(FUNCTIONS) - len(missing)} of {len(FUNCTIONS)} functions"
    if len(missing) == len(FUNCTIONS):
        raise _Wrong(f"{found}; no scheduler is connected to it: start zuul-scheduler, or name the server it uses")
    if missing:
        raise _Wrong(f"{found}, not {', '.join(missing)}; is the scheduler a Zuul from 3.19 to 4.1?")
    return found


def _tls(gearman: Gearman) -> tuple[str, str, str] | None:
    if gearman.ssl_key and gearman.ssl_cert and gearman.ssl_ca:
        return gearman.ssl_key, gearman.ssl_cert, gearman.ssl_ca
    return None


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    return error.strerror or str(error)


def _gearman_advice(error: OSError, gearman: Gearman) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "start zuul-scheduler with its gearman server, or correct [gearman] server and port"
    if isinstance(error, socket.gaierror):
        return "correct [gearman] server"
    if isinstance(error, ssl.SSLError):
        return "correct [gearman] ssl_key, ssl_cert and ssl_ca, or drop them if the server speaks no TLS"
    if isinstance(error, ConnectionError) and _tls(gearman) is None:
        return "if the server wants TLS, give [gearman] ssl_key, ssl_cert and ssl_ca"
    return "correct [gearman] server, port and ssl_*, or let the connection through"


def _zookeeper(probes: Probes, zookeeper: ZooKeeper) -> str:
    try:
        found = probes.nodepool(zookeeper, ANSWER_SECONDS)
    except Unavailable as error:
        tls = " and tls_*" if zookeeper.tls_cert else ""
        raise _Wrong(f"{error.message}; start ZooKeeper, or correct [zookeeper] hosts{tls}") from error
    if not found:
        raise _Wrong(
            f"connected, but {zookeeper.chroot}/nodepool does not exist; start nodepool-launcher, "
            "or correct the /chroot at the end of [zookeeper] hosts"
        )
    return f"connected, {zookeeper.chroot}/nodepool exists"


def _database(probes: Probes, connection: Connection) -> str:
    dburi = connection.options.get("dburi")
    if not dburi:
        raise _Wrong("dburi is missing; give the URL that the scheduler uses")
    prefix = connection.options.get("table_prefix") or ""
    try:
        found = probes.history(dburi, ANSWER_SECONDS, prefix)
    except Unavailable as error:
        raise _Wrong(error.message) from error  # which says what to do
    if not found.tables:
        raise _Wrong(
            f"connected, but there is no table {prefix}zuul_build; start zuul-scheduler, which makes it, "
            "or correct table_prefix"
        )
    exists = f"connected, table {prefix}zuul_build exists"
    if not found.advice:
        return f"{exists}, with all indexes that make it fast"
    advice = "".join(f"\n        {statement};  -- {purpose}" for statement, purpose in found.advice)
    return f"{exists}, but a large history is read faster with these indexes (doc/history.md):{advice}"


def _tokens(probes: Probes, section: AuthSection) -> str:
    if section.driver in ("HS256", "RS256"):
        try:
            configured(section)
        except ConfigError as error:
            raise _Wrong(f"{error} Correct it, or zuul-rest does not start") from error
        short = section.driver == "HS256" and len(section.options["secret"].encode()) < SAFE_SECRET_BYTES
        advice = f", but a secret of {SAFE_SECRET_BYTES} bytes or more could not be guessed" if short else ""
        return f"{section.driver}{advice}"

    def fetch(url: str) -> object:
        return probes.fetch_json(url, ANSWER_SECONDS / 2)  # there are two: the configuration and the keys

    try:
        keys = Provider(section.issuer_id, section.options.get("keys_url") or None, fetch).published()
    except (OSError, ValueError) as error:
        raise _Wrong(f"{error}; correct issuer_id or keys_url, or let the connection through") from error
    if not keys:
        raise _Wrong("the provider publishes no RSA keys for signatures; have it sign with RS256")
    return f"{section.driver}, the provider publishes {len(keys)} keys"


def _listen(probes: Probes, web: Web) -> str:
    try:
        probes.listen_socket(web.listen_address, web.port).close()
    except OSError as error:
        advice = {
            errno.EADDRINUSE: "if zuul-rest itself runs there, all is well; else correct [web] port",
            errno.EACCES: "take a [web] port from 1024, behind a proxy if need be",
        }.get(error.errno or 0, "correct [web] listen_address")
        raise _Wrong(f"{_reason(error)}; {advice}") from error
    return "any port is free" if web.port == 0 else "free"
