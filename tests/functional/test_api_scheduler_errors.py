# SPDX-License-Identifier: Apache-2.0
"""How clients see a scheduler that is away, slow, refusing or broken."""

from __future__ import annotations

import inspect

import pytest

from zuul.web.backends.rpc.interface import Transport, WorkException
from zuul.web.errors import BadReply, OutcomeUnknown, Refused, Timeout, Unavailable

EXAMPLE = "/api/tenant/example"
STATUS = f"{EXAMPLE}/status"
FREEZE = f"{EXAMPLE}/pipeline/check/project/specs/branch/master/freeze-jobs"
CALLS = [
    "/api/tenants",
    "/api/connections",
    f"{EXAMPLE}/jobs",
    f"{EXAMPLE}/job/unit",
    f"{EXAMPLE}/projects",
    f"{EXAMPLE}/project/specs",
    f"{EXAMPLE}/pipelines",
    FREEZE,
    f"{EXAMPLE}/key/specs.pub",
    f"{EXAMPLE}/project-ssh-key/specs.pub",
    f"{EXAMPLE}/config-errors",
    f"{EXAMPLE}/autohold",
    f"{EXAMPLE}/autohold/1",
]
SNAPSHOTS = [STATUS, f"{STATUS}/change/1,1"]
TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/zuul/rpclistener.py", line 1, in secret\n{}\n'

calls = pytest.mark.parametrize("url", CALLS)
snapshots = pytest.mark.parametrize("url", SNAPSHOTS)
all_urls = pytest.mark.parametrize("url", [*CALLS, *SNAPSHOTS])


@pytest.mark.parametrize("name", ["call", "connected", "close"])
def test_the_fake_transport_keeps_the_signature(raising_transport, name):
    def parameters(transport):
        return [(p.name, p.kind) for p in inspect.signature(getattr(transport, name)).parameters.values()]

    assert parameters(raising_transport) == parameters(Transport)


@all_urls
def test_nobody_to_ask_is_503_with_a_time_to_try_again(failing_app, refusal, url):
    response = failing_app(Unavailable("no gearman server is connected")).get(url, status="*")

    assert refusal(response, 503)["faultstring"] == "no gearman server is connected"
    assert int(response.headers["Retry-After"]) > 0


@calls
def test_no_answer_in_time_is_504(failing_app, refusal, url):
    body = refusal(failing_app(Timeout("not started in time")).get(url, status="*"), 504)

    assert "outcome" not in body


@snapshots
def test_a_status_that_never_came_is_503(failing_app, refusal, url):
    response = failing_app(Timeout("not started in time")).get(url, status="*")

    refusal(response, 503)
    assert int(response.headers["Retry-After"]) > 0


@calls
def test_what_nobody_knows_is_said(failing_app, refusal, url):
    body = refusal(failing_app(OutcomeUnknown("given up")).get(url, status="*"), 504)

    assert body["outcome"] == "unknown"


@all_urls
def test_a_failure_without_a_word_is_502(failing_app, refusal, url):
    refusal(failing_app(BadReply("failed without a word")).get(url, status="*"), 502)


@all_urls
def test_a_refusal_is_400_in_the_schedulers_words(failing_app, refusal, url):
    body = refusal(failing_app(Refused("Invalid project: x\n")).get(url, status="*"), 400)

    assert body["faultstring"] == "Invalid project: x"


@all_urls
@pytest.mark.parametrize("last_line", ["KeyError: 'secret'", "zuul.exceptions.Secret", "secret"])
def test_a_crash_of_the_scheduler_shows_nothing_of_its_inside(failing_app, refusal, caplog, url, last_line):
    body = refusal(failing_app(Refused(TRACEBACK.format(last_line))).get(url, status="*"), 502)

    assert "secret" not in str(body) and "rpclistener" not in str(body)
    assert "in secret" in caplog.text


@pytest.mark.parametrize(
    ("url", "last_line"),
    [
        (f"{EXAMPLE}/project/specs", "Exception: Project name 'specs' is ambiguous, please fully qualify it"),
        (FREEZE, "Exception: Job a depends on b which was not run."),
        (FREEZE, "zuul.model.NoMatchingParentError: Unable to find any matching parent"),
    ],
)
def test_a_crash_that_is_the_clients_doing_is_400_in_its_last_words(failing_app, refusal, url, last_line):
    body = refusal(failing_app(Refused(TRACEBACK.format(last_line))).get(url, status="*"), 400)

    assert body["faultstring"] == last_line.partition(": ")[2]


@pytest.mark.parametrize("reply", [b"", b"[", b"\xff", b"nonsense"])
@pytest.mark.parametrize(
    ("url", "function"),
    [
        ("/api/tenants", "tenant_list"),
        ("/api/connections", "connection_list"),
        (f"{EXAMPLE}/jobs", "job_list"),
        (f"{EXAMPLE}/config-errors", "config_errors_list"),
        (f"{EXAMPLE}/autohold", "autohold_list"),
        (STATUS, "status_get"),
    ],
)
def test_an_answer_that_is_no_json_is_502(app_with, refusal, url, function, reply):
    refusal(app_with(**{function: lambda arguments: reply}).get(url, status="*"), 502)


@pytest.mark.undeclared("the scheduler sends two keys in place of a status")
def test_a_tenant_that_is_not_loaded_yet_has_the_schedulers_words_for_a_status(app_with):
    reply = b'{"message": "Tenant has not been loaded", "code": 204}'
    app = app_with(status_get=lambda arguments: reply)

    assert app.get(STATUS).body == reply
    assert app.get(f"{STATUS}/change/1,1").json == []


def test_a_failure_is_not_remembered(app_with, functions, refusal):
    failures = iter([WorkException("not now")])

    def job_list(arguments):
        for failure in failures:
            raise failure
        return functions["zuul:job_list"](arguments)

    app = app_with(job_list=job_list)
    refusal(app.get(f"{EXAMPLE}/jobs", status="*"), 400)

    assert app.get(f"{EXAMPLE}/jobs").json
