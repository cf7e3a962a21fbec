# SPDX-License-Identifier: Apache-2.0
"""What zuul.conf may say, what comes of it, and the sentence that a wrong one gets."""

from __future__ import annotations

import dataclasses
import os
import traceback
from pathlib import Path

import pytest

from zuul.web import settings
from zuul.web.auth.identity import GRANTED
from zuul.web.rules import Rule
from zuul.web.settings import ConfigError, Gearman, Rest, Web, ZooKeeper

CONFIGURATION_PAGE = Path(__file__).parents[2] / "doc" / "configuration.md"

HS256 = "[auth ops]\ndriver=HS256\nclient_id=zuul\nissuer_id=idp\nsecret=s3cr3t\n"


@pytest.fixture(autouse=True)
def _no_zuul_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("ZUUL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def conf(tmp_path):
    """The settings of a file with the given text."""

    def read(text):
        path = tmp_path / "zuul.conf"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return settings.read(str(path))

    return read


@pytest.fixture
def refusal(conf, tmp_path):
    """The sentence that the given text is refused with, less the path that it starts with."""

    def read(text):
        with pytest.raises(ConfigError) as caught:
            conf(text)
        path, _, sentence = str(caught.value).partition("zuul.conf: ")
        assert Path(path) == tmp_path
        assert sentence.endswith(".") and "\n" not in sentence
        return sentence

    return read


@pytest.fixture
def files(tmp_path):
    """Three readable files."""
    paths = [tmp_path / name for name in ("key.pem", "cert.pem", "ca.pem")]
    for path in paths:
        path.write_text("pem")
    return [str(path) for path in paths]


# The file.


def test_an_empty_file_gives_every_default(conf, tmp_path):
    assert conf("") == settings.Settings(
        path=str(tmp_path / "zuul.conf"),
        gearman=None,
        zookeeper=None,
        web=Web(),
        statsd_prefix=None,
        auth=(),
        connections=(),
        rest=Rest(),
    )


def test_without_a_path_the_first_of_upstreams_places_is_read(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(settings, "PLACES", (str(tmp_path / "etc.conf"), "~/home.conf"))
    (tmp_path / "home.conf").write_text("[web]\nport=1\n")
    assert settings.read(None).path == str(tmp_path / "home.conf")
    (tmp_path / "etc.conf").write_text("[web]\nport=2\n")
    assert settings.read(None).web.port == 2


def test_without_a_path_and_a_file_the_places_are_named(monkeypatch):
    monkeypatch.setattr(settings, "PLACES", ("/nowhere/a", "~/nowhere/b"))
    with pytest.raises(ConfigError, match="neither /nowhere/a nor ~/nowhere/b exists"):
        settings.read(None)


def test_upstreams_places():
    assert settings.PLACES == ("/etc/zuul/zuul.conf", "~/zuul.conf")


@pytest.mark.parametrize("name", ["absent.conf", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(ConfigError, match="the file must be readable") as caught:
        settings.read(str(tmp_path / name))
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"[web]\nroot=\xff\n", "the file must be UTF-8 text."),
        ("port=1\n[web]\n", "line 1 must not stand before the first [section]."),
        ("[web]\nport=1\nnonsense\n", "line 3 must be a [section], `name = value` or a comment."),
        ("[web]\nport=1\nport=2\n", "[web] port must be given once, but line 3 repeats it."),
        ("[web]\n[web]\n", "section [web] must be there once, but line 2 repeats it."),
    ],
)
def test_a_file_that_does_not_parse_is_refused_with_the_line(refusal, text, sentence):
    assert refusal(text) == sentence


def test_settings_cannot_be_changed(conf):
    with pytest.raises(dataclasses.FrozenInstanceError):
        conf("").web.port = 1
    with pytest.raises(TypeError):
        conf(HS256).auth[0].options["secret"] = "other"


# Interpolation and inheritance.


def test_the_environment_can_be_interpolated(conf, monkeypatch):
    monkeypatch.setenv("ZUUL_WEB_PORT", "8080")
    assert conf("[web]\nport=%(ZUUL_WEB_PORT)s\n").web.port == 8080


def test_the_environment_is_neither_an_option_nor_an_error(conf, monkeypatch):
    monkeypatch.setenv("ZUUL_ANY", "50%")
    monkeypatch.setenv("ZUUL_any", "differs in case only")
    read = conf("[web]\nport=1\n[rest]\nthreads=2\n[connection c]\ndriver=sql\n" + HS256)
    assert (read.web.port, read.rest.threads) == (1, 2)
    assert dict(read.connections[0].options) == {"driver": "sql"}
    assert "zuul_any" not in read.auth[0].options


def test_other_variables_cannot_be_interpolated(refusal, monkeypatch):
    monkeypatch.setenv("OTHER", "8080")
    assert "[web] port must write a plain % as %%" in refusal("[web]\nport=%(OTHER)s\n")


@pytest.mark.parametrize("value", ["50%", "%(absent)s", "%(root", "%(root)s"])
def test_bad_interpolation_is_refused_with_section_and_option(refusal, value):
    assert refusal(f"[web]\nroot={value}\n").startswith("[web] root must write a plain % as %%")


def test_the_default_section_is_inherited_and_no_unknown_option(conf):
    read = conf("[DEFAULT]\nport=8080\nbaseurl=x\n[web]\n[connection c]\ndriver=git\n")
    assert read.web.port == 8080
    assert read.connections[0].options["baseurl"] == "x"


# [web] and [rest].


def test_every_web_option_is_read(conf, tmp_path, files):
    values = {
        "listen_address": "::",
        "port": "0",
        "websocket_url": "wss://zuul.example.com/",
        "stats_url": "https://graphite.example.com",
        "stats_type": "other",
        "static_path": str(tmp_path),
        "static_cache_expiry": "0",
        "command_socket": "/run/zuul/web.socket",
        "log_config": files[0],
        "pidfile": "/run/zuul/web.pid",
        "root": "https://zuul.example.com/",
        "status_url": "https://zuul.example.com/{change.number}",
    }
    assert set(values) == {option.name for option in settings.describe() if option.section == "web"}
    read = dataclasses.asdict(conf("[web]\n" + "".join(f"{k}={v}\n" for k, v in values.items())).web)
    expected = {**values, "port": 0, "static_cache_expiry_seconds": 0}
    del expected["static_cache_expiry"]
    assert read == expected


def test_every_rest_option_is_read(conf):
    values = {
        "rpc_timeout": 2.5,
        "status_stale": 5.0,
        "nodepool_stale": 6.0,
        "threads": 8,
        "cache_bytes": 2097152,
        "max_body_bytes": 4096,
        "access_log": False,
        "whitelabel_tenant": "example",
        "streamer_address": "::1",
        "streamer_port": 9100,
        "streams": 20,
        "streams_per_address": 2,
        "stream_patience": 1.5,
        "allowed_origins": "https://One.example.com, http://two.example.com:81",
        "log_wait": 0.0,
        "log_spool_dir": "/",
        "log_spool_bytes": 4194304,
        "log_spool_total_bytes": 8388608,
        "event_window": 2.0,
        "sql_timeout": 3.0,
        "sql_connections": 2,
        "authorization_cache": 5.0,
        "protected_tenants": "one, two",
        "read_origins": "https://three.example.com",
        **{f"may_{action}": "groups=ci" for action in ("read", *GRANTED)},
    }
    assert set(values) == {option.name for option in settings.describe() if option.section == "rest"}
    read = conf(HS256 + "[rest]\n" + "".join(f"{k}={v}\n" for k, v in values.items())).rest
    expected = {
        **values,
        "allowed_origins": ("https://one.example.com", "http://two.example.com:81"),
        "read_origins": ("https://three.example.com",),
        "protected_tenants": ("one", "two"),
        **{f"may_{action}": (Rule((("groups", "ci"),)),) for action in ("read", *GRANTED)},
    }
    assert vars(read) == expected


def test_protected_tenants_take_somebody_who_makes_tokens(conf, refusal):
    assert conf(HS256 + "[rest]\nprotected_tenants=*\n").rest.protected_tenants == ("*",)
    assert refusal("[rest]\nprotected_tenants=one\n") == (
        "[rest] protected_tenants takes a section [auth NAME], or nobody could read them."
    )


def test_an_empty_value_is_absent_where_nothing_is_the_default(conf):
    assert conf("[web]\nstatic_path=\nroot=\n").web == Web()


@pytest.mark.parametrize("option", ["pidfile", "command_socket"])
def test_a_tilde_in_a_path_is_the_home_directory(conf, monkeypatch, option):
    monkeypatch.setenv("HOME", "/home/zuul")
    assert getattr(conf(f"[web]\n{option}=~/x\n").web, option) == "/home/zuul/x"


@pytest.mark.parametrize(
    ("section", "option", "value", "allowed"),
    [
        ("web", "port", "", "a whole number from 0 to 65535"),
        ("web", "port", "http", "a whole number from 0 to 65535"),
        ("web", "port", "65536", "a whole number from 0 to 65535"),
        ("web", "listen_address", "", "a host name or an IP address without brackets"),
        ("web", "listen_address", "[::1]", "a host name or an IP address without brackets"),
        ("web", "listen_address", "127.0.0.1:80", "a host name or an IP address without brackets"),
        ("web", "static_path", "/nowhere/at/all", "the path of a readable directory"),
        ("web", "log_config", "/nowhere/at/all", "the path of a readable file"),
        ("web", "static_cache_expiry", "-1", "a whole number from 0 to 315360000"),
        ("web", "root", "zuul.example.com", "a URL that starts with http:// or https://"),
        ("web", "root", "http://", "a URL that starts with http:// or https://"),
        ("web", "root", "http://zuul.example.com:port/", "a URL that starts with http:// or https://"),
        ("web", "root", "http://zuul.example.com/\n two", "a URL that starts with http:// or https://"),
        ("rest", "rpc_timeout", "nan", "a number from 0.1 to 600"),
        ("rest", "rpc_timeout", "inf", "a number from 0.1 to 600"),
        ("rest", "status_stale", "0", "a number from 1 to 86400"),
        ("rest", "threads", "0", "a whole number from 1 to 1024"),
        ("rest", "threads", "2.5", "a whole number from 1 to 1024"),
        ("rest", "cache_bytes", "64M", "a whole number from 1048576 to 17179869184"),
        ("rest", "max_body_bytes", "1", "a whole number from 1024 to 1073741824"),
        ("rest", "access_log", "maybe", "true or false"),
        ("rest", "allowed_origins", "zuul.example.com", "origins such as https://zuul.example.com, with commas, or *"),
        ("rest", "allowed_origins", "https://a/path", "origins such as https://zuul.example.com, with commas, or *"),
        ("zookeeper", "session_timeout", "0", "a number from 0.1 to 3600"),
        ("gearman", "port", "0", "a whole number from 1 to 65535"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(refusal, section, option, value, allowed):
    assert refusal(f"[{section}]\n{option}={value}\n") == f"[{section}] {option} must be {allowed}."


def test_an_unknown_option_is_refused_with_the_nearest(refusal):
    assert refusal("[rest]\nthread=1\n") == "[rest] thread is not an option: did you mean threads."
    assert refusal("[web]\nlisten_adress=::\n") == "[web] listen_adress is not an option: did you mean listen_address."


def test_an_unknown_option_that_is_like_no_other_is_refused_with_all(refusal):
    names = ", ".join(option.name for option in settings.describe() if option.section == "rest")
    assert refusal("[rest]\nzzz=1\n") == f"[rest] zzz is not an option: allowed are {names}."


def test_options_and_sections_of_other_services_pass(conf):
    text = "[scheduler]\nx=%\n[rests]\ny=1\n[gearman]\nserver=g\nz=%\n[statsd]\nserver=s\n[connections]\na=b\n"
    assert conf(text).gearman == Gearman((("g", 4730),))


@pytest.mark.parametrize("option", settings.describe(), ids=lambda option: f"{option.section}-{option.name}")
def test_the_configuration_page_has_every_option_as_it_is(option):
    page = CONFIGURATION_PAGE.read_text(encoding="utf-8")
    _, _, rest = page.partition(f"\n## `[{option.section}]`")
    chapter, _, _ = rest.partition("\n## ")
    cells = (
        f"`{option.name}`",
        shown(option.default),
        option.unit or "-",
        option.kind.allowed,
        option.meaning,
    )
    assert f"| {' | '.join(cells)} |" in chapter.splitlines()


def shown(default):
    """A default as somebody would write it into the file."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(default)
    return f"{default:g}" if isinstance(default, float) else str(default)


@pytest.mark.parametrize("option", settings.describe(), ids=lambda option: f"{option.section}-{option.name}")
def test_every_default_would_be_accepted_from_the_file(option):
    if option.default is not None:
        assert option.kind.parse(shown(option.default)) == option.default


def test_the_example_of_the_configuration_page_is_valid(conf, monkeypatch):
    monkeypatch.setenv("ZUUL_DB_PASSWORD", "s3cr3t")
    example = CONFIGURATION_PAGE.read_text(encoding="utf-8").split("```")[1].partition("\n")[2]
    read = conf(example)
    assert read.gearman and read.zookeeper and read.connections


# [gearman], [zookeeper], [statsd].


@pytest.mark.parametrize(
    ("server", "servers"),
    [
        ("g", (("g", 4731),)),
        ("g:1, [::1]:2 ,h", (("g", 1), ("::1", 2), ("h", 4731))),
        ("[fe80::1]", (("fe80::1", 4731),)),
        ("::1", (("::1", 4731),)),
        ("g,\n h", (("g", 4731), ("h", 4731))),
    ],
)
def test_gearman_servers_take_the_port_unless_they_have_one(conf, server, servers):
    assert conf(f"[gearman]\nport=4731\nserver={server}\n").gearman == Gearman(servers)


@pytest.mark.parametrize("text", ["[gearman]\n", "[gearman]\nserver=\nport=1\n", "[zookeeper]\nhosts=\n"])
def test_without_hosts_there_is_no_gearman_and_no_zookeeper(conf, text):
    assert (conf(text).gearman, conf(text).zookeeper) == (None, None)


@pytest.mark.parametrize("hosts", ["a,,b", "a,", "a:0", "a:65536", "a:", "a:b", "[::1", "[a]:1", "a b", ":1", "u@h"])
@pytest.mark.parametrize(("section", "option"), [("gearman", "server"), ("zookeeper", "hosts")])
def test_hosts_that_are_none_are_refused(refusal, section, option, hosts):
    assert refusal(f"[{section}]\n{option}={hosts}\n").startswith(f"[{section}] {option} must be a list")


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ("z", ZooKeeper("z:2181")),
        ("z:1,[::1]:2/zuul/a", ZooKeeper("z:1,[::1]:2", "/zuul/a")),
        ("y, z/", ZooKeeper("y:2181,z:2181")),
    ],
)
def test_zookeeper_hosts_have_ports_and_lose_their_chroot(conf, hosts, expected):
    assert conf(f"[zookeeper]\nhosts={hosts}\n").zookeeper == expected


@pytest.mark.parametrize("hosts", ["z/a,y/a", "z//a", "z/a b"])
def test_a_chroot_that_is_not_one_path_at_the_end_is_refused(refusal, hosts):
    assert "maybe with a /chroot at its end" in refusal(f"[zookeeper]\nhosts={hosts}\n")


def test_the_session_timeout_of_zookeeper_is_read(conf):
    assert conf("[zookeeper]\nhosts=z\nsession_timeout=2.5\n").zookeeper == ZooKeeper("z:2181", "", 2.5)


def test_tls_files_are_read(conf, files):
    key, cert, ca = files
    read = conf(
        f"[gearman]\nserver=g\nssl_key={key}\nssl_cert={cert}\nssl_ca={ca}\n"
        f"[zookeeper]\nhosts=z\ntls_key={key}\ntls_cert={cert}\ntls_ca={ca}\n"
    )
    assert read.gearman == Gearman((("g", 4730),), ssl_key=key, ssl_cert=cert, ssl_ca=ca)
    assert read.zookeeper == ZooKeeper("z:2181", tls_key=key, tls_cert=cert, tls_ca=ca)


@pytest.mark.parametrize(("section", "prefix"), [("gearman", "ssl"), ("zookeeper", "tls")])
def test_tls_files_go_together_and_must_be_readable(refusal, files, section, prefix):
    key, cert, _ = files
    sentence = refusal(f"[{section}]\n{prefix}_key={key}\n{prefix}_cert={cert}\n")
    assert sentence.startswith(f"[{section}] {prefix}_ca is missing: ")
    assert refusal(f"[{section}]\n{prefix}_key=/nowhere/key\n") == (
        f"[{section}] {prefix}_key must be the path of a readable file."
    )


def test_the_prefix_of_statsd_is_read(conf):
    assert conf("[statsd]\nserver=s\nprefix=ci\n").statsd_prefix == "ci"


# [auth NAME] and [connection NAME].


def test_an_auth_section_is_read_with_upstreams_defaults(conf):
    (ops,) = conf(HS256).auth
    assert (ops.name, ops.driver, ops.client_id, ops.issuer_id) == ("ops", "HS256", "zuul", "idp")
    assert (ops.realm, ops.default, ops.uid_claim) == (None, False, "sub")
    assert ops.options["secret"] == "s3cr3t"


def test_an_auth_section_is_read_in_full(conf):
    (ops,) = conf(HS256 + "realm=example.com\ndefault=True\nuid_claim=email\nskew=5\nmax_validity_time=60\n").auth
    assert (ops.realm, ops.default, ops.uid_claim) == ("example.com", True, "email")


@pytest.mark.parametrize("driver", ["OpenIDConnect", "RS256withJWKS"])
def test_the_openid_drivers_need_no_key(conf, driver):
    assert conf(f"[auth o]\ndriver={driver}\nclient_id=c\nissuer_id=https://idp\n").auth[0].driver == driver


def test_the_public_key_of_rs256_is_a_file(conf, refusal, monkeypatch, tmp_path, files):
    text = "[auth k]\ndriver=RS256\nclient_id=c\nissuer_id=i\n"
    assert refusal(text) == "[auth k] public_key is missing, it must be the path of a readable file."
    monkeypatch.setenv("HOME", str(tmp_path))
    assert conf(text + "public_key=~/key.pem\n").auth[0].options["public_key"] == files[0]


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("kind a b", "a b"),
        ("kind 'a'", "a"),
        ('kind "github.com"', "github.com"),
        ("KIND a", "a"),
        ('kind "a', '"a'),
    ],
)
@pytest.mark.parametrize("kind", ["auth", "connection"])
def test_names_may_be_in_quotes(conf, kind, section, name):
    section = section.replace("kind", kind).replace("KIND", kind.upper())
    read = conf(f"[{section}]\ndriver=HS256\nclient_id=c\nissuer_id=i\nsecret=s\n")
    assert [found.name for found in (read.auth or read.connections)] == [name]


def test_two_sections_of_one_name_are_refused(refusal):
    text = "[connection a]\ndriver=git\n[connection 'a']\ndriver=git\n"
    assert refusal(text) == "[connection 'a'] must have a name of its own, not that of [connection a]."


def test_connections_keep_their_order_and_options(conf):
    read = conf("[connection b]\ndriver=git\nbaseurl=x\n[connection a]\ndriver=sql\ndburi=sqlite://\n").connections
    assert [(connection.name, connection.driver) for connection in read] == [("b", "git"), ("a", "sql")]
    assert dict(read[0].options) == {"driver": "git", "baseurl": "x"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "[auth a]\n",
            "[auth a] driver is missing, it must be one of HS256, RS256, RS256withJWKS, OpenIDConnect.",
        ),
        (
            "[auth a]\ndriver=none\n",
            "[auth a] driver must be one of HS256, RS256, RS256withJWKS, OpenIDConnect.",
        ),
        (HS256.replace("s3cr3t", ""), "[auth ops] secret is missing, it must be some text."),
        (HS256.replace("zuul", ""), "[auth ops] client_id is missing, it must be some text."),
        (HS256.replace("idp", ""), "[auth ops] issuer_id is missing, it must be some text."),
        (HS256 + "uid_claim=\n", "[auth ops] uid_claim must be some text."),
        (HS256 + "skew=a\n", "[auth ops] skew must be a whole number from -86400 to 86400."),
        (HS256 + "max_validity_time=-1\n", "[auth ops] max_validity_time must be a number of at least 0."),
        (HS256 + "allow_authz_override=maybe\n", "[auth ops] allow_authz_override must be true or false."),
        ("[connection c]\n", "[connection c] driver is missing, it must be some text."),
    ],
)
def test_a_wrong_auth_or_connection_section_is_refused(refusal, text, sentence):
    assert refusal(text) == sentence


def test_yes_is_refused_where_upstream_would_take_it_for_false(conf, refusal):
    assert refusal(HS256 + "default=yes\n") == "[auth ops] default must be true or false."
    assert conf(HS256 + "default=no\n").auth[0].default is False


# Secrets.


def test_no_secret_is_shown(conf):
    read = conf(
        HS256
        + "[connection g]\ndriver=github\nwebhook_token=s3cr3t\n[connection d]\ndriver=sql\ndburi=pg://z:s3cr3t@h\n"
    )
    assert read.connections[1].options["dburi"] == "pg://z:s3cr3t@h"
    assert "s3cr3t" not in repr(read) + str(read) + repr(read.auth) + repr(read.connections)


@pytest.mark.parametrize(
    "text",
    [
        HS256 + "skew=%(secret)s\n",
        HS256 + "default=%(secret)s\n",
        HS256.replace("HS256", "s3cr3t"),
        HS256.replace("s3cr3t", "s3cr3t%"),
        HS256.replace("s3cr3t", "%(s3cr3t)s"),
        HS256.replace("secret=s3cr3t", "secret s3cr3t"),
        HS256 + "secret=s3cr3t2\n",
        "s3cr3t\n" + HS256,
        HS256.encode() + b"realm=\xff\n",
        "[connection d]\ndriver=sql\ndburi=pg://z:s3cr3t%40@h\n",
        "[connection g]\ndriver=github\nwebhook_token=%(ZUUL_TOKEN)s\n",
        "[web]\nport=%(ZUUL_TOKEN)s\n",
        "[web]\nroot=pg://z:s3cr3t@h\n",
    ],
)
def test_no_error_shows_a_secret_not_even_in_its_traceback(conf, monkeypatch, text):
    monkeypatch.setenv("ZUUL_TOKEN", "s3cr3t%")
    with pytest.raises(ConfigError) as caught:
        conf(text)
    assert "s3cr3t" not in str(caught.value)
    assert "s3cr3t" not in "".join(traceback.format_exception(caught.value))
