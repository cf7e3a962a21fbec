# SPDX-License-Identifier: Apache-2.0
"""What goes over the wire for each method, and what each of the scheduler's ways to say no becomes."""

from __future__ import annotations

import inspect
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from zuul.web.backends.replies import Reply
from zuul.web.backends.rpc.interface import Transport
from zuul.web.backends.rpc.local import LocalTransport
from zuul.web.backends.scheduler import FUNCTIONS, Scheduler
from zuul.web.errors import BadReply, BrokenOff, NotFound, OutcomeUnknown, Refused, RestError, Timeout, Unavailable

PATIENCE_SECONDS = 20
TRACEBACK = 'Traceback (most recent call last):\n  File "/opt/zuul/rpclistener.py", line 1, in secret\n{}\n'


class RecordingTransport:
    """Answers each call with one reply, or raises it, and keeps what was asked."""

    def __init__(self, reply: bytes | Exception) -> None:
        self.reply = reply
        self.calls = []

    def call(self, function, arguments, *, timeout, retry):
        self.calls.append((function, dict(arguments), timeout, retry))
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply

    def connected(self):
        return True

    def close(self):
        pass


@pytest.fixture
def scheduler():
    """A facade whose transport gives a certain reply: `scheduler(b"[]")`."""
    return lambda reply: Scheduler(RecordingTransport(reply), timeout_seconds=7, cache_bytes=1_000_000)


# Per function: the arguments of the method, and a reply that a 3.19.1 scheduler might give. Where only the
# names of upstream's keys matter, values repeat them.
T = {"tenant": "t"}
CLAIMS = {"iss": "issuer", "sub": "me"}
LABELS = b'{"allowed_labels": ["a"], "disallowed_labels": ["b"]}'
READS = {
    "allowed_labels_get": (T, LABELS, (["a"], ["b"])),
    "authorize_user": ({**T, "claims": CLAIMS}, b"true", True),
    "autohold_info": ({"request_id": "1"}, b'{"id": "1"}', {"id": "1"}),
    "autohold_list": ({}, b'[{"id": "1"}]', [{"id": "1"}]),
    "config_errors_list": (T, b'[{"error": "e"}]', None),
    "connection_list": ({}, b'[{"name": "gerrit"}]', None),
    "get_admin_tenants": ({"claims": CLAIMS}, b'["t"]', ["t"]),
    "get_job_log_stream_address": ({"uuid": "u"}, b'{"server": "ze01", "port": 7900}', ("ze01", 7900)),
    "get_running_jobs": ({}, b'[{"id": "1,1"}]', [{"id": "1,1"}]),
    "job_get": ({**T, "job": "j"}, b'[{"name": "j"}]', None),
    "job_list": (T, b'[{"name": "j"}]', None),
    "key_get": ({**T, "project": "p", "key": "ssh"}, b"ssh-rsa AAAA", None),
    "pipeline_list": (T, b'[{"name": "gate"}]', None),
    "project_freeze_jobs": ({**T, "pipeline": "gate", "project": "p", "branch": "b"}, b'[{"name": "j"}]', None),
    "project_get": ({**T, "project": "p"}, b'{"name": "p"}', None),
    "project_list": (T, b'[{"name": "p"}]', None),
    "status_get": (T, b'{"pipelines": []}', b'{"pipelines": []}'),
    "tenant_list": ({}, b'[{"name": "t"}]', None),
    "tenant_sql_connection": (T, b'"database"', "database"),
}
CHANGE = {**T, "pipeline": "gate", "project": "p"}
HOLD = {"reason": "r", "count": 1, "node_hold_expiration": 60}
WRITES = {
    "autohold": {**T, "project": "p", "job": "j", "change": "1,1", "ref": None, **HOLD},
    "autohold_delete": {"request_id": "1"},
    "dequeue": {**CHANGE, "change": "1,1", "ref": None},
    "enqueue": {**CHANGE, "trigger": "gerrit", "change": "1,1"},
    "enqueue_ref": {**CHANGE, "trigger": None, "ref": "refs/heads/b", "oldrev": "0" * 40, "newrev": "1" * 40},
    "promote": {**T, "pipeline": "gate", "change_ids": ["1,1", "2,1"]},
}
# Upstream's keys are read from `args` in its rpclistener.py.
ARGUMENTS = {**{name: read[0] for name, read in READS.items()}, **WRITES}

reads = pytest.mark.parametrize("name", READS)
writes = pytest.mark.parametrize("name", WRITES)
functions = pytest.mark.parametrize("name", ARGUMENTS)
of_a_tenant = pytest.mark.parametrize(
    "name",
    ["allowed_labels_get", "config_errors_list", "job_get", "job_list", "pipeline_list", "project_freeze_jobs",
     "project_get", "project_list"],
)  # fmt: skip


def ask(scheduler, name):
    return getattr(scheduler, name)(**ARGUMENTS[name])


@pytest.mark.parametrize("transport", [RecordingTransport, LocalTransport])
@pytest.mark.parametrize("name", ["call", "connected", "close"])
def test_transports_keep_the_signature(transport, name):
    def parameters(of):
        return [(p.name, p.kind) for p in inspect.signature(getattr(of, name)).parameters.values()]

    assert parameters(transport) == parameters(Transport)


def test_there_is_a_method_for_each_function_and_no_other():
    methods = {name for name, _ in inspect.getmembers(Scheduler, inspect.isfunction) if not name.startswith("_")}

    assert methods == set(FUNCTIONS) == set(ARGUMENTS)
    assert len(FUNCTIONS) == 25


@functions
def test_the_argument_keys_are_upstreams(scheduler, name):
    reply = READS[name][1] if name in READS else b""
    facade = scheduler(reply)

    ask(facade, name)

    assert facade.transport.calls == [(f"zuul:{name}", ARGUMENTS[name], 7, name in READS)]


@reads
def test_a_read_may_be_sent_again_when_the_connection_is_lost(scheduler, name):
    facade = scheduler(READS[name][1])
    ask(facade, name)

    assert [retry for *_, retry in facade.transport.calls] == [True]


@writes
def test_a_write_is_sent_once(scheduler, name):
    facade = scheduler(b"")
    for _ in range(2):
        assert ask(facade, name) is None

    assert [retry for *_, retry in facade.transport.calls] == [False, False]


@reads
def test_a_read_gives_data(scheduler, name):
    _, reply, expected = READS[name]
    value = ask(scheduler(reply), name)

    if expected is None:
        assert isinstance(value, Reply)
        assert value.body == reply
    else:
        assert value == expected


@of_a_tenant
def test_null_means_no_such_tenant(scheduler, name):
    with pytest.raises(NotFound, match="Tenant t does not exist"):
        ask(scheduler(b"null"), name)


@pytest.mark.parametrize(("name", "reply"), [
    ("job_get", b"[]"), ("project_get", b"{}"), ("project_freeze_jobs", b"[]"), ("autohold_info", b"{}"),
    ("key_get", b""),
])  # fmt: skip
def test_emptiness_means_no_such_thing(scheduler, name, reply):
    with pytest.raises(NotFound, match=r"Job j|Project p|project p|Hold request 1"):
        ask(scheduler(reply), name)


@pytest.mark.parametrize("name", ["config_errors_list", "job_list", "pipeline_list", "project_list", "tenant_list"])
def test_an_empty_list_may_be_just_that(scheduler, name):
    assert ask(scheduler(b"[]"), name).body == b"[]"


def test_a_code_of_404_means_no_such_tenant(scheduler):
    with pytest.raises(NotFound, match="Tenant t does not exist"):
        scheduler(b'{"message": "Unknown tenant", "code": 404}').status_get("t")


def test_a_tenant_that_is_not_loaded_has_a_status(scheduler):
    reply = b'{"message": "Tenant not loaded", "code": 204}'

    assert scheduler(reply).status_get("t") == reply


@pytest.mark.parametrize("name", [*READS, *WRITES])
@pytest.mark.parametrize("error", [Unavailable("away"), Timeout("slow"), OutcomeUnknown("unknown"), BadReply("broken")])
def test_the_transports_errors_pass(scheduler, name, error):
    with pytest.raises(RestError) as raised:
        ask(scheduler(error), name)

    if name in WRITES and isinstance(error, BadReply):
        assert (type(raised.value), raised.value.__cause__) == (OutcomeUnknown, error)
        assert raised.value.fields == {"outcome": "unknown"}
    else:
        assert raised.value is error


@writes
def test_a_crash_at_a_write_may_have_done_a_part_of_it(scheduler, name):
    with pytest.raises(BrokenOff) as raised:
        ask(scheduler(Refused("Traceback (most recent call last):\n  ...\nKeyError: 'x'\n")), name)

    assert raised.value.fields == {"outcome": "unknown"}


def test_changes_that_cannot_be_promoted_are_a_refusal_as_nothing_was_done_yet(scheduler):
    text = "Traceback (most recent call last):\n  ...\nException: Unable to find shared change queue for 1,1\n"

    with pytest.raises(Refused, match=r"^Unable to find shared change queue for 1,1$"):
        scheduler(Refused(text)).promote("t", "gate", ["1,1"])


@functions
def test_an_exception_is_a_refusal_in_zuuls_words(scheduler, name):
    with pytest.raises(Refused) as raised:
        ask(scheduler(Refused(" Invalid project: x\n")), name)

    assert raised.value.message == "Invalid project: x"


@functions
@pytest.mark.parametrize("last_line", ["KeyError: 'secret'", "secret", "zuul.exceptions.Secret", "TypeError: secret"])
def test_a_crash_shows_nothing_of_its_inside(scheduler, caplog, name, last_line):
    with pytest.raises(BadReply) as raised:
        ask(scheduler(Refused(TRACEBACK.format(last_line))), name)

    assert "secret" not in raised.value.message.lower()
    assert last_line in caplog.text


@functions
def test_an_ambiguous_name_is_the_clients_doing(scheduler, name):
    last_line = "Exception: Project name 'p' is ambiguous, please fully qualify the project with a hostname"

    with pytest.raises(Refused, match=r"^Project name 'p' is ambiguous"):
        ask(scheduler(Refused(TRACEBACK.format(last_line))), name)


@pytest.mark.parametrize("last_line", ["Exception: Job a depends on b", "zuul.model.NoMatchingParentError: no parent"])
def test_a_job_graph_that_does_not_resolve_is_the_clients_doing(scheduler, last_line):
    with pytest.raises(Refused) as raised:
        ask(scheduler(Refused(TRACEBACK.format(last_line))), "project_freeze_jobs")

    assert raised.value.message == last_line.partition(": ")[2]


@pytest.mark.parametrize("name", sorted({*READS} - {"key_get", "status_get"}))
@pytest.mark.parametrize("reply", [b"[", b"nonsense", b"\xff"])
def test_what_is_no_json_is_a_bad_reply(scheduler, name, reply):
    with pytest.raises(BadReply):
        ask(scheduler(reply), name)


@pytest.mark.parametrize("reply", [b"", b"null", b"[]", b"{", b"nonsense"])
def test_what_is_no_object_is_no_status(scheduler, reply):
    with pytest.raises(BadReply):
        scheduler(reply).status_get("t")


def test_what_is_no_text_is_no_key(scheduler):
    with pytest.raises(BadReply):
        ask(scheduler(b"\xff"), "key_get")


@pytest.mark.parametrize("name", ["allowed_labels_get", "autohold_list", "get_running_jobs", "get_admin_tenants"])
@pytest.mark.parametrize("reply", [b"5", b'"text"', b"true"])
def test_json_of_another_shape_is_a_bad_reply(scheduler, name, reply):
    with pytest.raises(BadReply):
        ask(scheduler(reply), name)


@pytest.mark.parametrize("name", ["autohold_list", "get_running_jobs", "get_admin_tenants"])
def test_null_is_a_bad_reply_where_no_tenant_was_asked_for(scheduler, name):
    with pytest.raises(BadReply):
        ask(scheduler(b"null"), name)


def test_labels_of_a_scheduler_before_3_16_are_all_allowed_ones(scheduler):
    assert scheduler(b'["a"]').allowed_labels_get("t") == (["a"], [])


def test_a_build_that_waits_for_an_executor_has_no_address(scheduler):
    assert scheduler(b'{"server": null, "port": null}').get_job_log_stream_address("u") is None


def test_the_address_of_an_unknown_build_is_not_found(scheduler):
    with pytest.raises(NotFound, match="Build u does not exist"):
        scheduler(b"{}").get_job_log_stream_address("u")


@pytest.mark.parametrize("reply", [b'{"server": 1, "port": 7900}', b'{"server": "ze01", "port": "7900"}'])
def test_an_address_is_a_host_and_a_port(scheduler, reply):
    with pytest.raises(BadReply):
        scheduler(reply).get_job_log_stream_address("u")


def test_a_tenant_may_have_no_database(scheduler):
    assert scheduler(b'""').tenant_sql_connection("t") is None


@pytest.mark.parametrize("reply", [b"false", b"null", b"1", b'"true"', b"{}"])
def test_nobody_is_let_in_by_anything_but_true(scheduler, reply):
    assert scheduler(reply).authorize_user("t", CLAIMS) is False


ANEW = ["autohold_info", "autohold_list", "get_job_log_stream_address", "status_get", "authorize_user",
        "get_admin_tenants"]  # fmt: skip


@reads
def test_reads_are_kept_for_a_moment_but_for_those_that_must_be_new(scheduler, name):
    facade = scheduler(READS[name][1])
    ask(facade, name)
    ask(facade, name)

    assert len(facade.transport.calls) == (2 if name in ANEW else 1)


def test_replies_to_other_arguments_are_other_replies(scheduler):
    facade = scheduler(b'[{"name": "j"}]')
    for tenant in ("a", "b", "a"):
        facade.job_list(tenant)

    assert [arguments for _, arguments, *_ in facade.transport.calls] == [{"tenant": "a"}, {"tenant": "b"}]


def test_what_does_not_exist_is_asked_once_by_those_who_poll_it(scheduler):
    facade = scheduler(b"null")
    for _ in range(2):
        with pytest.raises(NotFound):
            facade.job_list("t")

    assert len(facade.transport.calls) == 1


def test_what_many_ask_at_once_is_asked_once():
    asked = []
    everybody = threading.Barrier(40)
    waiting = threading.Event()

    def job_list(arguments):
        asked.append(arguments)
        assert waiting.wait(PATIENCE_SECONDS)
        return '[{"name": "j"}]'

    transport = LocalTransport({"zuul:job_list": job_list})
    facade = Scheduler(transport, timeout_seconds=PATIENCE_SECONDS, cache_bytes=1_000_000)

    def client():
        everybody.wait(PATIENCE_SECONDS)
        return facade.job_list("t").body

    with ThreadPoolExecutor(40) as pool:
        clients = [pool.submit(client) for _ in range(40)]
        waiting.set()
        assert {json.loads(c.result(PATIENCE_SECONDS))[0]["name"] for c in clients} == {"j"}
    transport.close()
    assert asked == [{"tenant": "t"}]
