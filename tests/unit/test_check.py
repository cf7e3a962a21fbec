# SPDX-License-Identifier: Apache-2.0
"""`zuul-rest check`: a line for each thing that a zuul.conf names, and never a password or a traceback."""

from __future__ import annotations

import errno
import inspect
import socket
import sqlite3
import ssl
import sys
import threading
from types import SimpleNamespace

import pytest
from forged_tokens import jwk, public_pem

from zuul.web.backends.history import Found, probe
from zuul.web.backends.history.tables import RECOMMENDED
from zuul.web.backends.scheduler import FUNCTIONS
from zuul.web.check import Probes, check
from zuul.web.errors import Unavailable
from zuul.web.sandbox.history import make_database
from zuul.web.settings import AuthSection, Connection, Gearman, Rest, Settings, Web, ZooKeeper

ALL = {f"zuul:{function}": 1 for function in FUNCTIONS}


def raising(error):
    def probe(*arguments):
        raise error

    return probe


def settings(gearman=None, zookeeper=None, connections=(), web=None, auth=()):
    return Settings("zuul.conf", gearman, zookeeper, web or Web(), None, auth, connections, Rest())


def probes(**others):
    listener = SimpleNamespace(close=lambda: None)
    calm = {
        "registered_functions": lambda host, port, tls, timeout_seconds: ALL,
        "nodepool": lambda zookeeper, timeout_seconds: True,
        "history": lambda dburi, timeout_seconds, table_prefix: Found(True),
        "fetch_json": lambda url, seconds: {"keys": [jwk()]},
        "listen_socket": lambda address, port: listener,
    }
    return Probes(**{**calm, **others})


GEARMAN = Gearman((("gearman.example.com", 4730), ("::1", 4731)))
ZOOKEEPER = ZooKeeper("zk1:2181,zk2:2181", chroot="/ci")
DATABASE = Connection("database", "sql", {"driver": "sql", "dburi": "postgresql://u:geheim@db/zuul"})


def lines_of(capsys):
    output = capsys.readouterr()
    assert output.err == ""
    return output.out.splitlines()


def test_where_all_is_well_each_thing_has_its_line_and_the_status_is_0(capsys):
    assert check(settings(GEARMAN, ZOOKEEPER, (DATABASE,)), probes()) == 0
    assert lines_of(capsys) == [
        "ok    gearman gearman.example.com:4730: connected, 25 of 25 functions",
        "ok    gearman [::1]:4731: connected, 25 of 25 functions",
        "ok    zookeeper zk1:2181,zk2:2181/ci: connected, /ci/nodepool exists",
        "ok    sql [connection database]: connected, table zuul_build exists, with all indexes that make it fast",
        "ok    listen 127.0.0.1:9000: free",
    ]


def test_what_is_not_configured_is_skipped_and_no_failure(capsys):
    other = Connection("gerrit", "gerrit", {})
    assert check(settings(connections=(other,), web=Web(port=0)), probes()) == 0
    assert lines_of(capsys) == [
        "skip  gearman: not configured",
        "skip  zookeeper: not configured",
        "skip  sql: not configured",
        "ok    listen 127.0.0.1:0: any port is free",
    ]


@pytest.mark.parametrize(
    "error, words",
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "start zuul-scheduler"),
        (socket.gaierror(-2, "Name or service not known"), "correct [gearman] server"),
        (TimeoutError("timed out"), "no answer within 4 s"),
        (ConnectionResetError("the server closed the connection"), "if the server wants TLS"),
        (ssl.SSLError(1, "wrong version number"), "wrong version number; correct [gearman] ssl_key"),
        (OSError(errno.EHOSTUNREACH, "No route to host"), "No route to host"),
    ],
)
def test_a_gearman_server_that_cannot_be_reached(capsys, error, words):
    assert check(settings(GEARMAN), probes(registered_functions=raising(error))) == 1
    first = lines_of(capsys)[0]
    assert first.startswith("FAIL  gearman gearman.example.com:4730: ")
    assert words in first


def test_functions_without_a_worker_are_named(capsys):
    some = {**ALL, "zuul:promote": 0}
    del some["zuul:autohold_info"]
    assert check(settings(GEARMAN), probes(registered_functions=lambda *_: some)) == 1
    assert "connected, 23 of 25 functions, not autohold_info, promote; " in lines_of(capsys)[0]


def test_a_gearman_server_without_a_scheduler(capsys):
    others = {"merger:merge": 1, "zuul:status_get": 0}
    assert check(settings(GEARMAN), probes(registered_functions=lambda *_: others)) == 1
    assert "no scheduler is connected to it" in lines_of(capsys)[0]


def test_gearman_is_asked_with_all_three_tls_files(capsys):
    asked = []

    def ask(host, port, tls, timeout_seconds):
        asked.append(tls)
        return ALL

    check(settings(Gearman((("a", 1),), "key", "cert", "ca")), probes(registered_functions=ask))
    assert asked == [("key", "cert", "ca")]


def test_a_zookeeper_without_nodepool(capsys):
    assert check(settings(zookeeper=ZOOKEEPER), probes(nodepool=lambda *_: False)) == 1
    assert "/ci/nodepool does not exist; start nodepool-launcher" in lines_of(capsys)[1]


def test_a_zookeeper_that_lets_nobody_in(capsys):
    assert check(settings(zookeeper=ZOOKEEPER), probes(nodepool=raising(Unavailable("nobody there")))) == 1
    assert "nobody there; start ZooKeeper, or correct [zookeeper] hosts" in lines_of(capsys)[1]


def test_a_database_without_the_table(capsys):
    asked = []
    database = Connection("db", "sql", {"dburi": "sqlite://", "table_prefix": "ci_"})
    answer = probes(history=lambda dburi, timeout_seconds, prefix: Found(bool(asked.append((dburi, prefix)))))
    assert check(settings(connections=(database,)), answer) == 1
    assert "FAIL  sql [connection db]: connected, but there is no table ci_zuul_build; " in lines_of(capsys)[2]
    assert asked == [("sqlite://", "ci_")]


def test_a_database_without_a_url(capsys):
    assert check(settings(connections=(Connection("db", "sql", {}),)), probes()) == 1
    assert "dburi is missing" in lines_of(capsys)[2]


@pytest.mark.parametrize(
    "number, words", [(errno.EADDRINUSE, "[web] port"), (errno.EACCES, "1024"), (errno.EADDRNOTAVAIL, "listen_address")]
)
def test_a_port_that_cannot_be_listened_on(capsys, number, words):
    assert check(settings(), probes(listen_socket=raising(OSError(number, "no")))) == 1
    assert words in lines_of(capsys)[3]


def test_a_probe_that_hangs_ends_with_its_time(capsys):
    forever = threading.Event()
    assert check(settings(GEARMAN), probes(registered_functions=lambda *_: forever.wait(60), seconds=0.01)) == 1
    forever.set()
    assert "FAIL  gearman gearman.example.com:4730: no answer within 0.01 s" in lines_of(capsys)[0]


def test_an_error_that_nobody_expected_is_a_line_without_its_words(capsys):
    failing = probes(history=raising(RuntimeError("postgresql://u:geheim@db/zuul")))
    assert check(settings(connections=(DATABASE,)), failing) == 1
    assert lines_of(capsys)[2].startswith("FAIL  sql [connection database]: RuntimeError")


@pytest.mark.parametrize("name", ["registered_functions", "nodepool", "history", "listen_socket"])
def test_the_fakes_take_what_the_real_probes_take(name):
    real = inspect.signature(getattr(Probes(), name))
    fake = inspect.signature(getattr(probes(), name))
    assert list(fake.parameters) == list(real.parameters)


# The database itself, as far as that goes without a server.


def test_a_database_file_is_never_made_by_looking(tmp_path):
    with pytest.raises(Unavailable, match="there is no file"):
        probe(f"sqlite:///{tmp_path}/no.db", 1)
    assert list(tmp_path.iterdir()) == []


def test_the_table_of_builds_is_found_under_its_prefix(tmp_path):
    url = f"sqlite:///{tmp_path}/zuul.db"
    make_database(url, builds=0, table_prefix="ci_")

    assert probe(url, 1, "ci_").tables
    assert not probe(url, 1).tables


def test_the_indexes_that_a_database_lacks_are_those_that_it_is_told_to_make(tmp_path, capsys):
    url = f"sqlite:///{tmp_path}/zuul.db"
    make_database(url, builds=0)
    database = Connection("database", "sql", {"dburi": url})
    assert check(settings(connections=(database,)), probes(history=probe)) == 0
    statements = [line.strip().partition(";")[0] for line in lines_of(capsys) if "CREATE INDEX" in line]
    assert len(statements) == len(RECOMMENDED)
    connection = sqlite3.connect(tmp_path / "zuul.db")
    for statement in statements:
        connection.execute(statement)
    connection.close()

    assert probe(url, 1).advice == ()


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "zuul.db").write_text("x" * 4096)
    with pytest.raises(Unavailable, match="file is not a database"):
        probe(f"sqlite:///{tmp_path}/zuul.db", 1)


@pytest.mark.parametrize("dburi", ["no url geheim", "nodriver://u:geheim@h/d", "postgresql://u:ge:heim@h:p/d"])
def test_a_url_that_is_none_is_not_repeated(dburi):
    with pytest.raises(Unavailable) as refusal:
        probe(dburi, 1)
    assert "heim" not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_missing_driver_is_named_with_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "MySQLdb", None)
    with pytest.raises(Unavailable, match="pip install 'mysqlclient'"):
        probe("mysql+mysqldb://u:geheim@h/d", 1)


def section(driver, **options):
    return AuthSection("ops", driver, None, False, "zuul", "https://idp.example.com", "sub", options)


def token_line(capsys, section, **others):
    """Its verdict and finding, and the status."""
    status = check(settings(auth=(section,)), probes(**others))
    (line,) = [line for line in lines_of(capsys) if "tokens" in line]
    assert "geheim" not in line
    return line, status


def test_sections_that_can_verify_tokens_are_well(capsys, tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes(public_pem())

    assert token_line(capsys, section("HS256", secret="geheim" * 8)) == ("ok    tokens [auth ops]: HS256", 0)
    assert token_line(capsys, section("RS256", public_key=str(key))) == ("ok    tokens [auth ops]: RS256", 0)
    line, status = token_line(capsys, section("OpenIDConnect", keys_url="https://idp.example.com/keys"))
    assert (line, status) == ("ok    tokens [auth ops]: OpenIDConnect, the provider publishes 1 keys", 0)


def test_a_short_secret_is_named_short(capsys):
    line, status = token_line(capsys, section("HS256", secret="geheim"))

    assert status == 0 and line.endswith("but a secret of 32 bytes or more could not be guessed")


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        (raising(OSError("timed out at https://idp.example.com")), "timed out at https://idp.example.com; correct"),
        (lambda url, seconds: [], "its configuration is no JSON object"),
        (lambda url, seconds: {"issuer": "https://evil.example.com"}, "its configuration is of another issuer"),
    ],
)
def test_a_provider_without_keys_is_a_failure(capsys, fetch, words):
    line, status = token_line(capsys, section("OpenIDConnect"), fetch_json=fetch)

    assert status == 1 and line.startswith("FAIL") and words in line


def test_a_provider_with_other_keys_is_a_failure(capsys):
    line, status = token_line(
        capsys,
        section("OpenIDConnect", keys_url="https://idp.example.com/"),
        fetch_json=lambda url, seconds: {"keys": []},
    )

    assert status == 1 and "no RSA keys" in line


def test_a_key_that_cannot_be_read_is_a_failure(capsys):
    line, status = token_line(capsys, section("RS256", public_key="/nope"))

    assert status == 1 and "public_key cannot be read: No such file or directory" in line
