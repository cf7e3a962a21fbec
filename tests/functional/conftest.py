# SPDX-License-Identifier: Apache-2.0
"""The whole WSGI application as Paste composes it, over a sandbox scheduler whose time stands still."""

from __future__ import annotations

import contextlib
import json

import pytest
from contract import CheckedApp, checking
from functional.admins import Acting
from log_server import ScriptedServer
from webob import Request

from zuul.web import application
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.sandbox.history import make_database
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler
from zuul.web.settings import read

BUILDS = 2000

ZUUL_CONF = """
[gearman]
server = localhost

[connection database]
driver = sql
dburi = sqlite:///{history}

[web]
[rest]
"""


class RaisingTransport:
    """Every call ends in the same error."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def call(self, function, arguments, *, timeout, retry):
        raise self.error

    def connected(self):
        return False

    def close(self):
        pass


@pytest.fixture(scope="session")
def functions():
    """The sandbox scheduler's worker functions. Nothing here acts, so all tests share them."""
    return SandboxScheduler(load(None), clock=lambda: 1_600_000_000.0).functions


@pytest.fixture(scope="session")
def history_file(tmp_path_factory):
    """A database of builds, the same each time. Nobody writes to it."""
    path = tmp_path_factory.mktemp("history") / "history.db"
    make_database(f"sqlite:///{path}", builds=BUILDS)
    return path


@contextlib.contextmanager
def making(folder, node, history_file):
    built = []

    def make_app(transport, more_conf="", alter=lambda services: services, history=history_file):
        path = folder / f"zuul-{len(built)}.conf"
        path.write_text(ZUUL_CONF.format(history=history) + more_conf)
        services = application.Services.build(read(str(path)), transport)
        built.append(services)
        application.provide(str(path), alter(services))
        return CheckedApp(application.load(str(path)), node)

    try:
        yield make_app
    finally:
        for services in built:
            services.close()


@pytest.fixture
def make_app(tmp_path, request, history_file):
    """Builds the application; with other lines in zuul.conf, with services that a test has altered, or with another
    file of builds."""
    with making(tmp_path, request.node, history_file) as make_app:
        yield make_app


@pytest.fixture(scope="module")
def make_apps(tmp_path_factory, request, history_file):
    """The same for applications that all tests of a module share."""
    with making(tmp_path_factory.mktemp("apps"), request.node, history_file) as make_app:
        yield make_app


@pytest.fixture
def app(make_app, functions):
    return make_app(LocalTransport(functions))


@pytest.fixture
def app_with(make_app, functions):
    """The application over a scheduler of which some functions are replaced: `app_with(job_list=...)`."""

    def app_with(**replaced):
        return make_app(LocalTransport({**functions, **{f"zuul:{name}": f for name, f in replaced.items()}}))

    return app_with


@pytest.fixture
def raising_transport():
    return RaisingTransport


@pytest.fixture
def failing_app(make_app, raising_transport):
    """The application over a scheduler that answers every call with one error."""
    return lambda error: make_app(raising_transport(error))


@pytest.fixture
def send():
    """Sends what WebTest would mend or refuse, or whose answer it would unpack: `send(app, PATH_INFO=...)`."""

    def send(app, url="/", **environ):
        request = Request.blank(url)
        request.environ.update(environ)
        check = checking(app, request.environ)
        response = request.get_response(app.app)
        check(response)
        return response

    return send


@pytest.fixture
def refusal():
    """Checks that a response is an error in the one shape, and gives its body."""

    def refusal(response, status):
        assert response.status_int == status, response.text
        assert response.content_type == "application/json"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Request-Id"]
        body = json.loads(response.body)
        assert list(body)[:3] == ["faultcode", "faultstring", "debuginfo"]
        assert body["faultcode"] == ("Server" if status >= 500 else "Client")
        assert body["faultstring"] and isinstance(body["faultstring"], str)
        assert body["debuginfo"] is None
        assert "Traceback" not in response.text and "<html" not in response.text.lower()
        return body

    return refusal


@pytest.fixture
def acting(make_app):
    """The application over a sandbox of its own, and its administrators."""
    return Acting(make_app)


@pytest.fixture
def acting_with(make_app):
    """The same over a scheduler of which some functions are replaced."""
    return lambda **replaced: Acting(make_app, **replaced)


@pytest.fixture
def server(monkeypatch):
    """A server that answers by its `script`."""
    monkeypatch.setenv("no_proxy", "*")
    server = ScriptedServer()
    yield server
    server.close()
