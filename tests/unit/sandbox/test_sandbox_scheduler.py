# SPDX-License-Identifier: Apache-2.0
"""The worker functions that read: shapes key by key, and what unknown names get."""

from __future__ import annotations

import json
import threading
import time

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

SCENARIO = load(None)


def names(text):
    return text.split()


NAMES = names("""
    autohold autohold_delete autohold_info autohold_list allowed_labels_get dequeue enqueue enqueue_ref
    promote get_admin_tenants get_running_jobs get_job_log_stream_address tenant_list tenant_sql_connection
    status_get job_get job_list project_get project_list project_freeze_jobs pipeline_list key_get
    config_errors_list connection_list authorize_user
""")
STATUS = names("""
    zuul_version trigger_event_queue result_event_queue management_event_queue last_reconfigured pipelines
""")
ITEM = names("""
    active live url ref id item_ahead items_behind failing_reasons zuul_ref project project_canonical
    enqueue_time jobs owner remaining_time
""")
STATUS_JOB = names("""
    name dependencies elapsed_time remaining_time url finger_url report_url result voting uuid execute_time
    start_time end_time estimated_time pipeline canceled paused retry tries queued node_labels node_name
    worker
""")
JOB = names("""
    name branches override_checkout files irrelevant_files variant_description source_context description
    required_projects semaphore variables extra_variables host_variables group_variables final abstract
    protected voting timeout tags provides requires dependencies attempts roles run pre_run post_run
    cleanup_run post_review match_on_config_updates parent nodeset ansible_version
""")
HOLD = names("""
    id expired tenant project job ref_filter max_count current_count reason node_expiration nodes
""")
SOURCE = names("project branch path")
NULL_WITHOUT_TENANT = names("""
    allowed_labels_get config_errors_list job_get job_list pipeline_list project_freeze_jobs project_get
    project_list
""")


@pytest.fixture(scope="module")
def scheduler():
    """Shared, since nothing here acts."""
    return SandboxScheduler(SCENARIO, clock=lambda: 1_600_000_000.0)


@pytest.fixture
def call(scheduler):
    """Calls a worker function and decodes its answer."""

    def call(function, **arguments):
        return json.loads(scheduler.functions[f"zuul:{function}"](arguments))

    return call


def items_of(status):
    return [
        item for p in status["pipelines"] for queue in p["change_queues"] for head in queue["heads"] for item in head
    ]


def test_there_are_upstreams_functions_and_no_others(scheduler):
    assert sorted(scheduler.functions) == sorted(f"zuul:{name}" for name in NAMES)


def test_tenants_are_listed_by_name(scheduler, call):
    assert scheduler.tenants == ["example", "widgets", "platform.example"]
    assert [tenant["name"] for tenant in call("tenant_list")] == scheduler.tenants
    assert all(list(tenant) == ["name", "projects", "queue"] for tenant in call("tenant_list"))
    assert call("tenant_list")[0]["projects"] == 24


@pytest.mark.parametrize("function", NULL_WITHOUT_TENANT)
def test_an_unknown_tenant_gets_null(call, function):
    assert call(function, tenant="nope", job="base", project="specs", pipeline="check") is None


def test_an_unknown_tenant_has_no_status(call):
    assert call("status_get", tenant="nope") == {"message": "Unknown tenant", "code": 404}


def test_an_unknown_tenant_has_no_sql_connection_key_or_admins(scheduler, call):
    assert call("tenant_sql_connection", tenant="nope") == ""
    assert call("authorize_user", tenant="nope", claims={"groups": ["infra-admins"]}) is False
    assert scheduler.functions["zuul:key_get"]({"tenant": "nope", "project": "specs"}) == ""


def test_the_status_has_upstreams_keys(call):
    status = call("status_get", tenant="example")
    assert list(status) == STATUS
    assert status["zuul_version"] == "3.19.1"
    assert status["last_reconfigured"] % 1000 == 0
    for queue in ("trigger_event_queue", "result_event_queue", "management_event_queue"):
        assert list(status[queue]) == ["length"]
    assert [pipeline["name"] for pipeline in status["pipelines"]] == ["check", "gate", "post", "periodic"]
    assert all(list(pipeline) == ["name", "description", "change_queues"] for pipeline in status["pipelines"])
    queues = [queue for pipeline in status["pipelines"] for queue in pipeline["change_queues"]]
    assert all(list(queue) == ["name", "heads", "window"] for queue in queues)
    assert all(list(item) == ITEM for item in items_of(status))
    assert all(list(job) == STATUS_JOB for item in items_of(status) for job in item["jobs"])


def test_jobs_show_what_their_stage_allows(call):
    jobs = [job for item in items_of(call("status_get", tenant="example")) for job in item["jobs"]]
    for job in jobs:
        if job["uuid"] is None and job["result"] is None:
            assert (job["url"], job["worker"], job["start_time"], job["canceled"]) == (None, None, None, None)
        elif job["uuid"] is None:
            assert (job["result"], job["worker"]) == ("SKIPPED", {"name": "Unknown", "hostname": None})
        elif job["result"]:
            assert job["report_url"].startswith("https://logs.example.com/")
            assert (job["remaining_time"], len(job["node_name"])) == (0, 10)
        elif job["start_time"]:
            assert job["finger_url"] == job["report_url"] == f"finger://{job['worker']['hostname']}/{job['uuid']}"
            assert job["url"] == f"stream/{job['uuid']}?logfile=console.log"
            assert (job["node_labels"], job["node_name"]) == ([], None)


def test_the_owner_of_a_gerrit_change_is_shown(call):
    items = [i for i in items_of(call("status_get", tenant="example")) if i["ref"].startswith("refs/changes/")]
    assert items
    assert all(sorted(item["owner"]) == ["email", "name", "username"] for item in items)


def test_running_jobs_are_the_items_of_all_tenants(scheduler, call):
    items = call("get_running_jobs")
    assert all(list(item) == ITEM for item in items)
    shown = [items_of(call("status_get", tenant=name)) for name in scheduler.tenants]
    assert len(items) == sum(map(len, shown))


def test_what_runs_is_what_freeze_jobs_says(call):
    """In this tenant all projects have a single branch."""
    for pipeline in call("status_get", tenant="platform.example")["pipelines"]:
        for item in items_of({"pipelines": [pipeline]}):
            frozen = call(
                "project_freeze_jobs", tenant="platform.example", project=item["project"], pipeline=pipeline["name"]
            )
            if item["live"]:
                assert [job["name"] for job in item["jobs"]] == [job["name"] for job in frozen]


def test_every_job_that_freezes_is_listed_and_can_be_had(scheduler, call):
    listed = {job["name"] for job in call("job_list", tenant="example")}
    for project in call("project_list", tenant="example"):
        frozen = call("project_freeze_jobs", tenant="example", project=project["canonical_name"], pipeline="check")
        assert all(list(job) == ["name", "dependencies"] for job in frozen)
        assert {job["name"] for job in frozen} <= listed
    assert all(call("job_get", tenant="example", job=name) for name in listed)


def test_freeze_jobs_of_something_unknown_is_null(call):
    assert call("project_freeze_jobs", tenant="example", project="nope", pipeline="check") is None
    assert call("project_freeze_jobs", tenant="example", project="specs", pipeline="nope") is None


def test_job_get_has_upstreams_keys(call):
    for name in ("noop", "base", "tox-py38", "integration-multinode"):
        assert all(list(variant) == JOB for variant in call("job_get", tenant="example", job=name))
    variants = call("job_get", tenant="example", job="tox-py38")
    assert [variant["branches"] for variant in variants] == [[], ["stable/.*"]]
    assert [variant["parent"] for variant in variants] == ["tox", "base"]
    assert list(variants[0]["source_context"]) == SOURCE
    node = variants[1]["nodeset"]["nodes"][0]
    assert list(node) == ["state", "hold_job", "comment", "name", "aliases", "label"]
    playbook = call("job_get", tenant="example", job="tox")[0]["run"][0]
    assert list(playbook) == ["path", "roles", "secrets", "source_context"]
    assert list(playbook["roles"][0]) == ["target_name", "type", "project_canonical_name", "implicit"]
    assert call("job_get", tenant="example", job="noop")[0]["source_context"] is None
    assert call("job_get", tenant="example", job="base")[0]["parent"] is None


def test_an_unknown_job_has_no_variants(call):
    assert call("job_get", tenant="example", job="nope") == []


def test_the_job_list_leaves_out_what_is_empty(call):
    jobs = {job["name"]: job for job in call("job_list", tenant="example")}
    assert list(jobs) == sorted(jobs)
    assert jobs["noop"] == {"name": "noop", "description": "A job that will always succeed, no operation."}
    assert jobs["tox-py38"] == {
        "name": "tox-py38",
        "description": "Run the unit tests under Python 3.8.",
        "variants": [{"parent": "tox"}, {"parent": "base", "branches": ["stable/.*"]}],
        "tags": ["unit"],
    }


def test_projects_are_listed_by_name_with_their_type(call):
    projects = call("project_list", tenant="example")
    assert len(projects) == 26
    assert [project["name"] for project in projects] == sorted(project["name"] for project in projects)
    assert projects[0] == {
        "name": "core/baremetal",
        "connection_name": "gerrit",
        "canonical_name": "review.example.com/core/baremetal",
        "type": "untrusted",
    }
    assert sum(project["type"] == "config" for project in projects) == 2


@pytest.mark.parametrize("name", ["core/object.store", "review.example.com/core/object.store"])
def test_a_project_has_its_own_configuration_and_that_of_its_templates(call, name):
    project = call("project_get", tenant="example", project=name)
    assert list(project) == ["name", "connection_name", "canonical_name", "configs"]
    assert [config["templates"] for config in project["configs"]] == [["python", "functional"], [], []]
    assert [config["merge_mode"] for config in project["configs"]] == ["cherry-pick", None, None]
    assert all(list(c) == ["default_branch", "merge_mode", "templates", "pipelines"] for c in project["configs"])
    pipelines = project["configs"][1]["pipelines"]
    assert [pipeline["name"] for pipeline in pipelines] == ["check", "gate", "post"]
    assert all(list(pipeline) == ["queue_name", "name", "jobs"] for pipeline in pipelines)
    assert all(list(variant) == JOB for variants in pipelines[0]["jobs"] for variant in variants)


def test_an_unknown_project_is_an_empty_object(call):
    assert call("project_get", tenant="example", project="nope") == {}
    assert call("project_get", tenant="example", project="github.com/specs") == {}


def test_pipelines_name_their_triggers(call):
    assert call("pipeline_list", tenant="example")[0] == {
        "name": "check",
        "triggers": [
            {"name": "gerrit", "driver": "gerrit"},
            {"name": "github.com", "driver": "github"},
            {"name": "zuul", "driver": "zuul"},
        ],
    }


def test_connections_show_what_their_driver_tells(call):
    gerrit, github = call("connection_list")
    assert list(gerrit) == ["name", "driver", "baseurl", "canonical_hostname", "server", "port"]
    assert list(github) == ["name", "driver", "baseurl", "canonical_hostname", "server"]


def test_labels_are_always_two_lists(call):
    assert call("allowed_labels_get", tenant="example") == {
        "allowed_labels": [],
        "disallowed_labels": [".*-arm64-large"],
    }


def test_one_tenant_has_a_config_error(call):
    (error,) = call("config_errors_list", tenant="example")
    assert list(error) == ["source_context", "error"]
    assert list(error["source_context"]) == SOURCE
    assert call("config_errors_list", tenant="widgets") == []


def test_the_sql_connection_is_named(call):
    assert call("tenant_sql_connection", tenant="example") == "database"


def test_keys_are_real_and_not_json(scheduler):
    key_get = scheduler.functions["zuul:key_get"]
    pem = key_get({"tenant": "example", "project": "core/object.store"})
    assert load_pem_public_key(pem.encode()).key_size == 2048
    assert pem == key_get({"tenant": "example", "project": "specs", "key": "secrets"})
    ssh = key_get({"tenant": "example", "project": "specs", "key": "ssh"})
    assert ssh.startswith("ssh-rsa ")
    assert load_ssh_public_key(ssh.encode())


def test_unknown_keys_are_empty(scheduler):
    key_get = scheduler.functions["zuul:key_get"]
    assert key_get({"tenant": "example", "project": "nope"}) == ""
    assert key_get({"tenant": "example", "project": "specs", "key": "nope"}) == ""


@pytest.mark.parametrize(
    ("claims", "tenants"),
    [
        ({}, []),
        ({"groups": ["infra-admins", "others"]}, ["example", "widgets", "platform.example"]),
        ({"preferred_username": "root"}, ["example", "widgets", "platform.example"]),
        ({"groups": "widgets-admins"}, ["widgets"]),
        ({"groups": ["release-managers"]}, []),
        (
            {"groups": ["release-managers"], "resource_access": {"zuul": {"role": ["admin"]}}},
            ["platform.example"],
        ),
    ],
)
def test_admins_are_those_whose_claims_match_a_rule(scheduler, call, claims, tenants):
    assert call("get_admin_tenants", claims=claims) == tenants
    assert [name for name in scheduler.tenants if call("authorize_user", tenant=name, claims=claims)] == tenants


def test_holds_have_upstreams_keys(call):
    holds = call("autohold_list")
    assert [hold["id"] for hold in holds] == ["0000000001", "0000000002"]
    assert all(list(hold) == HOLD for hold in holds)
    assert call("autohold_info", request_id="0000000002") == holds[1]
    assert call("autohold_info", request_id="nope") == {}


def test_a_build_has_the_address_of_its_log_from_its_start_until_its_item_leaves():
    """As upstream: null before the executor has told it, and still there when the build has ended."""
    scheduler = SandboxScheduler(SCENARIO, log_stream=("localhost", 7900), clock=lambda: 1_600_000_000.0)
    address = scheduler.functions["zuul:get_job_log_stream_address"]
    status = json.loads(scheduler.functions["zuul:status_get"]({"tenant": "example"}))
    builds = [job for item in items_of(status) for job in item["jobs"] if job["uuid"]]
    for build in builds:
        expected = {"server": "localhost", "port": 7900} if build["start_time"] else {"server": None, "port": None}
        assert json.loads(address({"uuid": build["uuid"]})) == expected
    assert {bool(build["start_time"]) for build in builds} == {True, False}
    assert json.loads(address({"uuid": "nope"})) == {}


@pytest.mark.parametrize(("port", "host"), [(7900, "127.0.0.1"), (7901, "127.0.0.1:7901")])
def test_finger_urls_name_another_port_than_upstreams_default(port, host):
    scheduler = SandboxScheduler(SCENARIO, log_stream=("127.0.0.1", port), clock=lambda: 1_600_000_000.0)
    status = json.loads(scheduler.functions["zuul:status_get"]({"tenant": "example"}))
    builds = [job for item in items_of(status) for job in item["jobs"] if job["finger_url"]]
    assert builds
    assert all(job["finger_url"] == f"finger://{host}/{job['uuid']}" for job in builds)


def test_without_a_log_stream_no_build_has_an_address(scheduler, call):
    uuids = [job["uuid"] for item in call("get_running_jobs") for job in item["jobs"] if job["start_time"]]
    assert uuids
    assert all(call("get_job_log_stream_address", uuid=uuid) == {} for uuid in uuids)


def test_the_status_is_rendered_once_a_second():
    now = [1_600_000_000.2]
    scheduler = SandboxScheduler(SCENARIO, clock=lambda: now[0])
    status_get = scheduler.functions["zuul:status_get"]
    first = status_get({"tenant": "example"})
    now[0] += 0.7
    assert status_get({"tenant": "example"}) is first
    now[0] += 0.2
    assert status_get({"tenant": "example"}) != first


def test_a_big_installation_starts_and_renders_quickly():
    """In seconds of this thread's own, whatever else the machine does."""
    started = time.thread_time()
    scheduler = SandboxScheduler(load(None, items=2000))
    created = time.thread_time()
    scheduler.functions["zuul:status_get"]({"tenant": "example"})
    assert created - started < 3
    assert time.thread_time() - created < 1


def test_threads_may_call_at_once(scheduler):
    errors = []

    def ask():
        try:
            for name in ("status_get", "tenant_list", "get_running_jobs"):
                json.loads(scheduler.functions[f"zuul:{name}"]({"tenant": "example"}))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_speed_of_nothing_is_refused():
    with pytest.raises(ValueError, match="the speed must be greater than 0, not 0"):
        SandboxScheduler(SCENARIO, speed=0)
