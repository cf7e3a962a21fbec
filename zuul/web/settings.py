# SPDX-License-Identifier: Apache-2.0
"""zuul.conf, read once into one frozen `Settings`: every option, its default, unit and meaning.

The file is upstream's and shared with the other Zuul services, so their sections and options pass unseen.
To add an option to [web] or [rest], add a field to `Web` or `Rest` and its line to doc/configuration.md.

No error sentence repeats a value: any value may be a secret, if only by interpolation.
"""

from __future__ import annotations

import configparser
import difflib
import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, Generic, NoReturn, TypeVar, cast
from urllib.parse import urlsplit

from zuul.web.rules import Rule, parse_rules

PLACES = ("/etc/zuul/zuul.conf", "~/zuul.conf")
"""Where upstream looks when nobody names a file; the first that exists is read."""

AUTH_DRIVERS = ("HS256", "RS256", "RS256withJWKS", "OpenIDConnect")

TEN_YEARS = 315_360_000
GIBIBYTE = 1024**3

T = TypeVar("T")
D = TypeVar("D")


class ConfigError(Exception):
    """One sentence for the operator: file, section, option and what is allowed."""


# What an option may hold.


@dataclass(frozen=True)
class Kind(Generic[T]):
    """`parse` turns the text into the value or raises ValueError; `allowed` completes "must be"."""

    allowed: str
    parse: Callable[[str], T]


def whole(minimum: int, maximum: int) -> Kind[int]:
    def parse(text: str) -> int:
        return _within(int(text), minimum, maximum)

    return Kind(f"a whole number from {minimum} to {maximum}", parse)


def number(minimum: float, maximum: float) -> Kind[float]:
    def parse(text: str) -> float:
        return _within(float(text), minimum, maximum)

    limits = f"of at least {minimum:g}" if maximum == math.inf else f"from {minimum:g} to {maximum:g}"
    return Kind(f"a number {limits}", parse)


def url(*schemes: str) -> Kind[str]:
    def parse(text: str) -> str:
        parts = urlsplit(text)
        # urlsplit looks at a port only when asked, and drops line ends
        whole_url = parts.port != 0 and re.search(r"\s", text) is None
        return _accept(text, whole_url and parts.scheme in schemes and bool(parts.hostname))

    return Kind(f"a URL that starts with {' or '.join(f'{scheme}://' for scheme in schemes)}", parse)


def choice(*words: str) -> Kind[str]:
    return Kind(f"one of {', '.join(words)}", lambda text: _accept(text, text in words))


def endpoints(default_port: int) -> Kind[tuple[tuple[str, int], ...]]:
    def parse(text: str) -> tuple[tuple[str, int], ...]:
        return tuple(_endpoint(entry.strip(), default_port) for entry in text.split(","))

    return Kind("a list, separated by commas, of host, host:port or [IPv6 address]:port", parse)


def _within(value: T, minimum: Any, maximum: Any) -> T:
    if not minimum <= value <= maximum:  # a NaN is not between anything either
        raise ValueError
    return value


def _accept(text: str, good: bool) -> str:
    if not good:
        raise ValueError
    return text


def _host(text: str) -> str:
    if ":" in text:
        ipaddress.IPv6Address(text)
        return text
    return _accept(text, re.fullmatch(r"[^\s\[\]/,@]+", text) is not None)


def _endpoint(text: str, default_port: int) -> tuple[str, int]:
    match = re.fullmatch(r"\[([^\[\]]*:[^\[\]]*)\](?::([0-9]+))?", text) or re.fullmatch(r"([^:]*)(?::([0-9]+))?", text)
    host, port = match.groups() if match else (text, None)  # otherwise an IPv6 address without brackets
    return _host(host), PORT.parse(port) if port else default_port


def _path(text: str) -> str:
    return os.path.expanduser(_accept(text, bool(text) and "\0" not in text))


def _file(text: str) -> str:
    path = _path(text)
    return _accept(path, os.path.isfile(path) and os.access(path, os.R_OK))


def _directory(text: str) -> str:
    path = _path(text)
    return _accept(path, os.path.isdir(path) and os.access(path, os.R_OK | os.X_OK))


def _origins(text: str) -> tuple[str, ...]:
    found = tuple(origin.strip().lower() for origin in text.split(","))
    if all(origin == "*" or re.fullmatch(r"https?://[^/\s,]+", origin) for origin in found):
        return found
    raise ValueError


def _names(text: str) -> tuple[str, ...]:
    names = (name.strip() for name in text.split(","))
    return tuple(_accept(name, re.fullmatch(r"[^/\0\s]+", name) is not None) for name in names)


def _boolean(text: str) -> bool:
    try:
        return configparser.ConfigParser.BOOLEAN_STATES[text.lower()]
    except KeyError:
        raise ValueError from None


def _flag(text: str) -> bool:
    # Upstream takes only "true" for true, and every other word, "yes" included, for false. A word that means
    # true to people and false to upstream is refused.
    value = _boolean(text)
    if value and text.lower() != "true":
        raise ValueError
    return value


TEXT: Kind[str] = Kind("some text", lambda text: _accept(text, bool(text)))
TENANT: Kind[str] = Kind(
    "the name of a tenant, without a slash", lambda text: _accept(text, re.fullmatch(r"[^/\0]+", text) is not None)
)
HOST: Kind[str] = Kind("a host name or an IP address without brackets", _host)
PORT = whole(1, 65535)
HTTP_URL = url("http", "https")
ORIGINS: Kind[tuple[str, ...]] = Kind("origins such as https://zuul.example.com, with commas, or *", _origins)
TENANTS: Kind[tuple[str, ...]] = Kind("names of tenants, with commas, or *", _names)
RULES: Kind[tuple[Rule, ...]] = Kind("rules such as groups=ci, with commas", parse_rules)
PATH: Kind[str] = Kind("a path", _path)
FILE: Kind[str] = Kind("the path of a readable file", _file)
DIRECTORY: Kind[str] = Kind("the path of a readable directory", _directory)
BOOLEAN: Kind[bool] = Kind("true or false", _boolean)
FLAG: Kind[bool] = Kind("true or false", _flag)


# The sections. Field names of `Web` and `Rest` are option names unless `name` says otherwise.


@dataclass(frozen=True)
class Option:
    """One option of [web] or [rest], for whoever lists them."""

    section: str
    name: str
    field: str
    kind: Kind[Any]
    default: object
    unit: str
    meaning: str


def option(kind: Kind[T], default: D, meaning: str, *, unit: str = "", name: str = "") -> T | D:
    """A dataclass field that is an option; an empty value counts as absent where the default is None."""
    return cast(
        "T | D",
        field(default=default, metadata={"kind": kind, "meaning": meaning, "unit": unit, "name": name}),
    )


@dataclass(frozen=True)
class Web:
    """[web]: what Zuul 3.19.1 reads there, with its names and defaults."""

    listen_address: str = option(HOST, "127.0.0.1", "Address to listen on; `0.0.0.0` or `::` for all.")
    port: int = option(whole(0, 65535), 9000, "TCP port to listen on; 0 takes any free one.")
    websocket_url: str | None = option(
        url("ws", "wss", "http", "https"),
        None,
        "Base URL of the websockets, if clients reach them elsewhere.",
    )
    stats_url: str | None = option(HTTP_URL, None, "URL of the statistics server, for `/api/info`.")
    stats_type: str = option(TEXT, "graphite", "Type of the statistics server, for `/api/info`.")
    static_path: str | None = option(DIRECTORY, None, "Directory of the web pages; without it, our own.")
    static_cache_expiry_seconds: int = option(
        whole(0, TEN_YEARS),
        3600,
        "How long browsers may keep static files; 0: not at all.",
        unit="seconds",
        name="static_cache_expiry",
    )
    command_socket: str | None = option(PATH, None, "Unix socket for commands such as `stop`.")
    log_config: str | None = option(FILE, None, "Logging configuration.")
    pidfile: str | None = option(PATH, None, "File that holds the process id.")
    root: str | None = option(HTTP_URL, None, "URL under which users see the web service.")
    status_url: str | None = option(TEXT, None, "Link to the status page that the scheduler's reporters use.")


@dataclass(frozen=True)
class Rest:
    """[rest]: ours alone."""

    rpc_timeout: float = option(number(0.1, 600), 10.0, "How long a call to the scheduler may take.", unit="seconds")
    status_stale: float = option(
        number(1, 86400), 60.0, "How old a status may be when the scheduler does not answer.", unit="seconds"
    )
    nodepool_stale: float = option(
        number(1, 86400), 300.0, "How old what we know of Nodepool may be when ZooKeeper is away.", unit="seconds"
    )
    threads: int = option(whole(1, 1024), 64, "Worker threads of the all-in-one server.", unit="threads")
    cache_bytes: int = option(
        whole(1024**2, 16 * GIBIBYTE), 64 * 1024**2, "Bound of the cache of scheduler replies.", unit="bytes"
    )
    max_body_bytes: int = option(whole(1024, GIBIBYTE), 1024**2, "Largest request body.", unit="bytes")
    access_log: bool = option(BOOLEAN, True, "Whether every request is logged.")
    streamer_address: str | None = option(
        HOST, None, "Address that `zuul-rest streamer` listens on; without it, [web] listen_address."
    )
    streamer_port: int = option(whole(0, 65535), 9001, "TCP port that `zuul-rest streamer` listens on.")
    streams: int = option(
        whole(1, 1000000), 10000, "How many logs and events are streamed at once.", unit="connections"
    )
    streams_per_address: int = option(
        whole(0, 1000000),
        0,
        "How many of them one client address may have; 0: all, as behind a proxy all clients have one address.",
        unit="connections",
    )
    stream_patience: float = option(
        number(1, 3600), 30.0, "How long a viewer may not read before it is closed.", unit="seconds"
    )
    allowed_origins: tuple[str, ...] | None = option(
        ORIGINS,
        None,
        "Origins whose pages may act, send cookies and open websockets; `*`: any; without it, the same host.",
    )
    read_origins: tuple[str, ...] = option(ORIGINS, ("*",), "Origins whose pages may read, besides those, or `*`.")
    log_wait: float = option(
        number(0, 86400), 600.0, "How long the log of a queued build is waited for.", unit="seconds"
    )
    log_spool_dir: str | None = option(
        DIRECTORY, None, "Directory for the logs that are being read; without it, the system's for temporary files."
    )
    log_spool_bytes: int = option(
        whole(4 * 1024**2, 64 * GIBIBYTE), 256 * 1024**2, "How much of each log is kept there.", unit="bytes"
    )
    log_spool_total_bytes: int = option(
        whole(4 * 1024**2, 1024 * GIBIBYTE), 4 * GIBIBYTE, "How much of all logs is kept there.", unit="bytes"
    )
    event_window: float = option(
        number(1, 3600), 60.0, "For how long events are kept for listeners who connect again.", unit="seconds"
    )
    sql_timeout: float = option(
        number(0.1, 600), 10.0, "How long the database may take for a statement.", unit="seconds"
    )
    sql_connections: int = option(
        whole(1, 256), 5, "Connections to each database, of each process.", unit="connections"
    )
    whitelabel_tenant: str | None = option(
        TENANT, None, "The one tenant to serve at the root: `/api/status`, `/status.json` and so on."
    )
    authorization_cache: float = option(
        number(0, 3600), 30.0, "How long the scheduler's word on who is an administrator counts.", unit="seconds"
    )
    protected_tenants: tuple[str, ...] | None = option(
        TENANTS, None, "Tenants that nobody reads without a token, their logs and events included; `*`: all."
    )
    may_read: tuple[Rule, ...] | None = option(
        RULES, None, "Who reads those tenants, besides their administrators and whoever may do something there."
    )
    may_enqueue: tuple[Rule, ...] | None = option(RULES, None, "Who may enqueue, besides administrators.")
    may_dequeue: tuple[Rule, ...] | None = option(RULES, None, "Who may dequeue, besides administrators.")
    may_promote: tuple[Rule, ...] | None = option(RULES, None, "Who may promote, besides administrators.")
    may_autohold: tuple[Rule, ...] | None = option(RULES, None, "Who may make and end holds, besides administrators.")
    may_nodes: tuple[Rule, ...] | None = option(RULES, None, "Who may touch nodes, besides administrators.")


@dataclass(frozen=True)
class Gearman:
    """[gearman]: where the scheduler's functions are. All three TLS files or none."""

    servers: tuple[tuple[str, int], ...]
    ssl_key: str | None = None
    ssl_cert: str | None = None
    ssl_ca: str | None = None


@dataclass(frozen=True)
class ZooKeeper:
    """[zookeeper]: the ensemble. All three TLS files or none.

    `hosts` is a list with commas, each with its port; `chroot` is "" or a path that starts with a slash.
    """

    hosts: str
    chroot: str = ""
    session_timeout_seconds: float = 10.0
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_ca: str | None = None


@dataclass(frozen=True)
class AuthSection:
    """[auth NAME]: who may sign tokens. `options` is the whole section, checked, with its secret."""

    name: str
    driver: str
    realm: str | None
    default: bool
    client_id: str
    issuer_id: str
    uid_claim: str
    options: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Connection:
    """[connection NAME]: a code host or a database. `options` is the whole section, with its secrets."""

    name: str
    driver: str
    options: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Settings:
    path: str
    gearman: Gearman | None
    zookeeper: ZooKeeper | None
    web: Web
    statsd_prefix: str | None
    auth: tuple[AuthSection, ...]
    connections: tuple[Connection, ...]
    rest: Rest


def describe() -> tuple[Option, ...]:
    """Every option of [web] and [rest]."""
    return (*_table("web", Web), *_table("rest", Rest))


def read(path: str | None) -> Settings:
    """The settings in the file at `path`, or in the first of `PLACES` that exists.

    :raises ConfigError: the file cannot be read, or an option that we read holds what it must not.
    """
    file = _File(_locate(path))
    settings = Settings(
        path=file.path,
        gearman=_gearman(file),
        zookeeper=_zookeeper(file),
        web=Web(**file.declared("web", Web)),
        statsd_prefix=file.value("statsd", "prefix", TEXT, None),
        auth=tuple(_auth(file, section, name) for section, name in file.named("auth")),
        connections=tuple(_connection(file, section, name) for section, name in file.named("connection")),
        rest=Rest(**file.declared("rest", Rest)),
    )
    if settings.rest.protected_tenants and not settings.auth:
        file.refuse("rest", "protected_tenants", "takes a section [auth NAME], or nobody could read them")
    return settings


def _table(section: str, declaration: type[Web] | type[Rest]) -> Iterator[Option]:
    for declared in fields(declaration):
        about = declared.metadata
        name = about["name"] or declared.name
        yield Option(section, name, declared.name, about["kind"], declared.default, about["unit"], about["meaning"])


def _locate(path: str | None) -> str:
    if path is not None:
        return os.path.expanduser(path)
    for place in PLACES:
        if os.path.exists(os.path.expanduser(place)):
            return os.path.expanduser(place)
    raise ConfigError(f"There is no configuration file: neither {' nor '.join(PLACES)} exists.")


class _File:
    """A parsed zuul.conf that answers with checked values or raises `ConfigError`."""

    def __init__(self, path: str) -> None:
        self.path = path
        # In lower case, as the parser keeps all names; two that differ in case only would upset it.
        self._environment = {name.lower(): value for name, value in os.environ.items() if name.startswith("ZUUL_")}
        self._parser = configparser.ConfigParser(self._environment)
        try:
            with open(path, encoding="utf-8") as lines:
                self._parser.read_file(lines, source=path)
        except OSError as error:
            raise ConfigError(f"{path}: the file must be readable ({error.strerror}).") from error
        except (UnicodeDecodeError, configparser.Error) as error:
            # Not `from error`, here and below: these errors quote the file, and tracebacks end up in logs.
            raise ConfigError(f"{path}: {_fault(error)}.") from None

    def has(self, section: str) -> bool:
        return self._parser.has_section(section)

    def named(self, kind: str) -> Iterator[tuple[str, str]]:
        """Sections such as [auth NAME] and their NAME, which may be in quotes."""
        seen: dict[str, str] = {}
        for section in self._parser.sections():
            match = re.fullmatch(rf"{kind} (['\"]?)(.*)\1", section, re.IGNORECASE)
            if match is None:
                continue
            name = match[2]
            if name in seen:
                raise ConfigError(f"{self.path}: [{section}] must have a name of its own, not that of [{seen[name]}].")
            seen[name] = section
            yield section, name

    def value(self, section: str, option: str, kind: Kind[T], default: D) -> T | D:
        if not self._parser.has_option(section, option):
            return default
        text = self._text(section, option)
        if not text and default is None:
            return default
        try:
            return kind.parse(text)
        except ValueError:
            self.refuse(section, option, f"must be {kind.allowed}")

    def required(self, section: str, option: str, kind: Kind[T]) -> T:
        value = self.value(section, option, kind, None)
        if value is None:
            self.refuse(section, option, f"is missing, it must be {kind.allowed}")
        return value

    def all_or_none(self, section: str, *options: str) -> tuple[str | None, ...]:
        """The paths of files that only make sense together."""
        paths = tuple(self.value(section, option, FILE, None) for option in options)
        if None in paths and any(paths):
            self.refuse(
                section,
                options[paths.index(None)],
                f"is missing: {', '.join(options)} must be given together",
            )
        return paths

    def declared(self, section: str, declaration: type[Web] | type[Rest]) -> dict[str, Any]:
        """The fields of a section in which every option must be known."""
        table = {option.name: option for option in _table(section, declaration)}
        present = self._parser.options(section) if self.has(section) else ()
        for name in present:
            if name not in table and name not in self._parser.defaults():
                close = difflib.get_close_matches(name, table, n=1)
                hint = f"did you mean {close[0]}" if close else f"allowed are {', '.join(table)}"
                self.refuse(section, name, f"is not an option: {hint}")
        return {o.field: self.value(section, o.name, o.kind, o.default) for o in table.values()}

    def options(self, section: str) -> Mapping[str, str]:
        """All of a section as text, with what it inherits from [DEFAULT] but without the environment."""
        names = [name for name in self._parser.options(section) if name not in self._environment]
        return MappingProxyType({name: self._text(section, name) for name in names})

    def refuse(self, section: str, option: str, reason: str) -> NoReturn:
        raise ConfigError(f"{self.path}: [{section}] {option} {reason}.") from None

    def _text(self, section: str, option: str) -> str:
        try:
            return self._parser.get(section, option)
        except configparser.InterpolationError:
            self.refuse(section, option, "must write a plain % as %% and use %(NAME)s only for a NAME that is set")


def _fault(error: UnicodeDecodeError | configparser.Error) -> str:
    """What is wrong with the file as a whole, without its text."""
    if isinstance(error, UnicodeDecodeError):
        return "the file must be UTF-8 text"
    if isinstance(error, configparser.DuplicateOptionError):
        return f"[{error.section}] {error.option} must be given once, but line {error.lineno} repeats it"
    if isinstance(error, configparser.DuplicateSectionError):
        return f"section [{error.section}] must be there once, but line {error.lineno} repeats it"
    if isinstance(error, configparser.MissingSectionHeaderError):
        return f"line {error.lineno} must not stand before the first [section]"
    numbers = [number for number, _ in getattr(error, "errors", ())] or [getattr(error, "lineno", "?")]
    return f"line {numbers[0]} must be a [section], `name = value` or a comment"


def _gearman(file: _File) -> Gearman | None:
    port = file.value("gearman", "port", PORT, 4730)
    servers = file.value("gearman", "server", endpoints(port), None)
    key, cert, ca = file.all_or_none("gearman", "ssl_key", "ssl_cert", "ssl_ca")
    return Gearman(servers, key, cert, ca) if servers else None


def _zookeeper(file: _File) -> ZooKeeper | None:
    found = file.value(
        "zookeeper",
        "hosts",
        Kind(f"{endpoints(2181).allowed}, maybe with a /chroot at its end", _ensemble),
        None,
    )
    timeout_seconds = file.value("zookeeper", "session_timeout", number(0.1, 3600), 10.0)
    cert, key, ca = file.all_or_none("zookeeper", "tls_cert", "tls_key", "tls_ca")
    if found is None:
        return None
    hosts, chroot = found
    return ZooKeeper(hosts, chroot, timeout_seconds, cert, key, ca)


def _ensemble(text: str) -> tuple[str, str]:
    """Hosts, each with its port, and chroot."""
    hosts, slash, chroot = text.partition("/")
    chroot = _accept(slash + chroot, re.fullmatch(r"(/[^/\s,]+)*/?", slash + chroot) is not None).rstrip("/")
    pairs = endpoints(2181).parse(hosts)
    return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in pairs), chroot


def _auth(file: _File, section: str, name: str) -> AuthSection:
    driver = file.required(section, "driver", choice(*AUTH_DRIVERS))
    options = dict(file.options(section))
    # Without its key a driver could verify nothing, and with an empty secret anybody could sign.
    if driver == "HS256":
        file.required(section, "secret", TEXT)
    elif driver == "RS256":
        options["public_key"] = file.required(section, "public_key", FILE)
    else:
        file.value(section, "keys_url", HTTP_URL, None)
    file.value(section, "allow_authz_override", FLAG, False)
    file.value(section, "max_validity_time", number(0, math.inf), math.inf)
    file.value(section, "skew", whole(-86400, 86400), 0)
    return AuthSection(
        name=name,
        driver=driver,
        realm=file.value(section, "realm", TEXT, None),
        default=file.value(section, "default", FLAG, False),
        client_id=file.required(section, "client_id", TEXT),
        issuer_id=file.required(section, "issuer_id", TEXT),
        uid_claim=file.value(section, "uid_claim", TEXT, "sub"),
        options=MappingProxyType(options),
    )


def _connection(file: _File, section: str, name: str) -> Connection:
    return Connection(name, file.required(section, "driver", TEXT), file.options(section))
