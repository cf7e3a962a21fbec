# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections import Counter

import pytest
from resource_types import all_resources, every_resource
from shapes import undeclared
from wsme.exc import InvalidInput
from wsme.rest.json import encode_result, fromjson

from zuul.web.resources.base import JsonObject, Key, Resource, always, sometimes
from zuul.web.resources.config_errors import ConfigError
from zuul.web.resources.connections import Connection
from zuul.web.resources.holds import REQUEST, Hold, HoldDetail
from zuul.web.resources.info import InfoDocument
from zuul.web.resources.jobs import FrozenJob, Job, JobVariant
from zuul.web.resources.pipelines import Pipeline
from zuul.web.resources.projects import Project, ProjectDetail
from zuul.web.resources.status import Item, Status
from zuul.web.resources.tenants import Tenant


@every_resource
def test_has_a_docstring(resource):
    assert "__doc__" in vars(resource) and resource.__doc__.strip()


@every_resource
def test_every_attribute_says_whether_it_is_always_there(resource):
    plain = {
        name
        for ancestor in resource.__mro__
        if issubclass(ancestor, Resource)
        for name, value in vars(ancestor).items()
        if not name.startswith("_") and not isinstance(value, (Key, classmethod))
    }

    assert not plain


@every_resource
def test_sample_renders_as_the_type_declares(resource):
    sample = resource.sample()

    assert type(sample) is resource
    assert undeclared(resource, json.loads(encode_result(sample, resource))) == []


@every_resource
def test_sample_survives_the_way_to_json_and_back(resource):
    rendered = encode_result(resource.sample(), resource)

    assert encode_result(fromjson(resource, json.loads(rendered)), resource) == rendered


def test_no_two_resources_share_a_name():
    names = Counter(resource.__name__ for resource in all_resources())

    assert [name for name, count in names.items() if count > 1] == []


# How keys behave.


class Shelf(Resource):
    """Made for these tests."""

    zebra = always(str)

    apple = always(int, null=True)

    _hidden = 1

    under_score = sometimes(str, name="_under")


class LongShelf(Shelf):
    """Made for these tests."""

    ant = sometimes(float)


def test_keys_are_sent_as_declared_those_of_the_parent_first():
    shelf = LongShelf(ant=1.5, under_score="u", apple=None, zebra="z")

    assert encode_result(shelf, LongShelf) == '{"zebra": "z", "apple": null, "_under": "u", "ant": 1.5}'


def test_a_key_that_was_not_set_is_left_out():
    assert encode_result(Shelf(zebra="z", apple=1), Shelf) == '{"zebra": "z", "apple": 1}'


def test_none_is_sent_as_null_even_for_an_optional_key():
    assert json.loads(encode_result(LongShelf(ant=None), LongShelf)) == {"ant": None}


@pytest.mark.parametrize("name", ["mango", "_under", "sample"])
def test_an_undeclared_key_is_refused(name):
    with pytest.raises(TypeError, match=f"Shelf has no key {name}"):
        Shelf(**{name: "x"})


def test_a_value_of_the_wrong_type_is_refused():
    with pytest.raises(InvalidInput):
        Shelf(apple="many")


def test_a_json_object_passes_through_whatever_is_in_it():
    variables = {"list": [1, None, {"deep": True}], "text": "ä", "number": 0.5, "nothing": None, "empty": {}}
    variant = JobVariant(variables=variables)

    assert json.loads(encode_result(variant, JobVariant)) == {"variables": variables}


@pytest.mark.parametrize("value", [[], "text", 1, True])
def test_a_json_object_is_an_object(value):
    with pytest.raises(ValueError):
        JsonObject.validate(value)


# Holds.


def test_hold_has_the_keys_of_zuul_web_3_alone():
    assert json.loads(encode_result(Hold.from_rpc(REQUEST), Hold)) == {
        "id": "0000000001",
        "tenant": "tenant-one",
        "project": "git.example.com/sandbox",
        "job": "fail-node",
        "ref_filter": ".*",
        "count": 2,
        "reason": "look at the disk",
        "node_hold_expiration": 86400,
    }


def test_hold_detail_adds_the_keys_of_zuul_web_4():
    detail = json.loads(encode_result(HoldDetail.from_rpc(REQUEST), HoldDetail))

    assert detail == json.loads(encode_result(Hold.from_rpc(REQUEST), Hold)) | {
        "max_count": 2,
        "current_count": 1,
        "node_expiration": 86400,
        "expired": None,
        "nodes": [{"build": "c9b1d3d1e8a14b0c9f5d0d3a7f6b2e11", "nodes": ["0000000042"]}],
    }


def test_hold_detail_tells_when_the_hold_was_used_up():
    detail = HoldDetail.from_rpc(REQUEST | {"expired": 1600000000.25, "current_count": 2})

    assert (detail.expired, detail.current_count) == (1600000000.25, 2)


# Zuul 3.19.1's own answers, shortened.

SOURCE = {"project": "project-config", "branch": "master", "path": "zuul.d/jobs.yaml"}

ROLE = {
    "target_name": "project-config",
    "type": "zuul",
    "project_canonical_name": "git.example.com/project-config",
    "implicit": True,
}

VARIANT = {
    "name": "with-secret",
    "branches": [],
    "override_checkout": None,
    "files": [],
    "irrelevant_files": [],
    "variant_description": "",
    "source_context": SOURCE,
    "description": "Uses a secret of project-config.",
    "required_projects": [{"project_name": "git.example.com/demo", "override_branch": None, "override_checkout": None}],
    "semaphore": "lab-lock",
    "variables": {"count": 2, "pause": 0.5, "names": ["a", "b"]},
    "extra_variables": {},
    "host_variables": {"controller": {"primary": True}},
    "group_variables": {},
    "final": True,
    "abstract": False,
    "protected": None,
    "voting": True,
    "timeout": None,
    "tags": ["console"],
    "provides": ["image"],
    "requires": [],
    "dependencies": [{"name": "lint", "soft": True}],
    "attempts": 3,
    "roles": [ROLE],
    "run": [
        {
            "path": "playbooks/with-secret.yaml",
            "roles": [ROLE],
            "secrets": [{"name": "lab-credentials", "alias": "credentials"}],
            "source_context": SOURCE,
        }
    ],
    "pre_run": [],
    "post_run": [],
    "cleanup_run": [],
    "post_review": None,
    "match_on_config_updates": True,
    "parent": "base",
    "nodeset": {
        "name": "small-and-large",
        "nodes": [
            {
                "state": "unknown",
                "hold_job": None,
                "comment": None,
                "name": "controller",
                "aliases": [],
                "label": "debian-small",
            }
        ],
        "groups": [{"name": "workers", "nodes": ["controller"]}],
    },
    "ansible_version": None,
}

NOOP = {name: value for name, value in VARIANT.items() if name != "nodeset"} | {
    "name": "noop",
    "variant_description": None,
    "source_context": None,
    "parent": None,
    "run": [{"path": "noop.yaml", "roles": [], "secrets": [], "source_context": None}],
}

PROJECT = {"name": "org/nested", "connection_name": "local", "canonical_name": "git.example.com/org/nested"}

BUILD_UUID = "2b8e7d6c5f4a4e3b9d0c1a2b3c4d5e6f"

WAITING_JOB = {
    "name": "unit",
    "dependencies": [],
    "elapsed_time": None,
    "remaining_time": None,
    "url": None,
    "finger_url": None,
    "report_url": None,
    "result": None,
    "voting": True,
    "uuid": None,
    "execute_time": None,
    "start_time": None,
    "end_time": None,
    "estimated_time": None,
    "pipeline": None,
    "canceled": None,
    "paused": None,
    "retry": None,
    "tries": 0,
    "queued": False,
    "node_labels": [],
    "node_name": None,
    "worker": None,
}

RUNNING_JOB = WAITING_JOB | {
    "elapsed_time": 2750,
    "remaining_time": 0,
    "url": f"stream/{BUILD_UUID}?logfile=console.log",
    "finger_url": f"finger://executor/{BUILD_UUID}",
    "report_url": f"finger://executor/{BUILD_UUID}",
    "uuid": BUILD_UUID,
    "execute_time": 1600000000.123,
    "start_time": 1600000001.456,
    "estimated_time": 0.0,
    "pipeline": "gate",
    "canceled": False,
    "paused": False,
    "retry": False,
    "tries": 1,
    "queued": True,
    "worker": {"name": "executor", "hostname": "executor"},
}

CHANGE = {
    "active": True,
    "live": True,
    "url": "https://review.example.com/1",
    "ref": "refs/changes/01/1/1",
    "id": "1,1",
    "item_ahead": None,
    "items_behind": ["2,1"],
    "failing_reasons": [],
    "zuul_ref": "Z0123456789abcdef0123456789abcdef",
    "project": "widget",
    "project_canonical": "review.example.com/widget",
    "enqueue_time": 1600000000000,
    "jobs": [RUNNING_JOB, WAITING_JOB],
    "owner": {"name": "Lab User", "email": "lab@example.com", "username": "lab"},
    "remaining_time": None,
}

REF = CHANGE | {
    "url": "",
    "ref": "refs/heads/master",
    "id": None,
    "zuul_ref": None,
    "items_behind": [],
    "jobs": [],
    "owner": None,
    "remaining_time": 0,
}

STATUS = {
    "zuul_version": "3.19.1",
    "trigger_event_queue": {"length": 0},
    "result_event_queue": {"length": 0},
    "management_event_queue": {"length": 0},
    "last_reconfigured": 1600000000000,
    "pipelines": [
        {"name": "check", "description": None, "change_queues": []},
        {
            "name": "gate",
            "description": "Approved changes.",
            "change_queues": [
                {"name": "widgets", "heads": [], "window": 4},
                {"name": "widget", "heads": [[CHANGE], [REF]], "window": 0},
            ],
        },
    ],
}

INFO = {
    "info": {
        "capabilities": {
            "job_history": True,
            "auth": {
                "realms": {
                    "zuul.example.com": {
                        "authority": "zuul_operator",
                        "client_id": "zuul.example.com",
                        "type": "JWT",
                        "driver": "HS256",
                    }
                },
                "default_realm": "zuul.example.com",
            },
        },
        "websocket_url": None,
        "stats": {"prefix": None, "type": "graphite", "url": None},
    }
}

ANSWERS = {
    "tenants": ([Tenant], [{"name": "tenant-one", "projects": 6, "queue": 0}]),
    "connections": (
        [Connection],
        [
            {"name": "lab", "driver": "gitlab"},
            {
                "name": "gerrit",
                "driver": "gerrit",
                "baseurl": "https://review.example.com",
                "canonical_hostname": "review.example.com",
                "server": "127.0.0.1",
                "port": 29418,
            },
            {
                "name": "github.com",
                "driver": "github",
                "baseurl": "https://api.github.com",
                "canonical_hostname": "github.com",
                "server": "github.com",
            },
        ],
    ),
    "info": (InfoDocument, INFO),
    "info of a tenant": (InfoDocument, {"info": INFO["info"] | {"tenant": "tenant-one"}}),
    "info without realms": (
        InfoDocument,
        {
            "info": INFO["info"]
            | {"capabilities": {"job_history": False, "auth": {"realms": {}, "default_realm": None}}}
        },
    ),
    "status": (Status, STATUS),
    "status change": ([Item], [CHANGE]),
    "jobs": (
        [Job],
        [
            {"name": "base"},
            {
                "name": "slow",
                "description": "A minute of console output.",
                "variants": [{"parent": "lines"}, {"branches": ["stable"]}],
                "tags": ["console"],
            },
        ],
    ),
    "job": ([JobVariant], [VARIANT, NOOP]),
    "freeze-jobs": (
        [FrozenJob],
        [
            {"name": "build-image", "dependencies": []},
            {"name": "test-image", "dependencies": [{"name": "build-image", "soft": False}]},
        ],
    ),
    "projects": ([Project], [PROJECT | {"type": "untrusted"}, PROJECT | {"type": "config"}]),
    "project": (
        ProjectDetail,
        PROJECT
        | {
            "configs": [
                {
                    "default_branch": None,
                    "merge_mode": None,
                    "templates": ["image-jobs"],
                    "pipelines": [{"queue_name": None, "name": "check", "jobs": [[VARIANT], [NOOP, NOOP]]}],
                },
                {"default_branch": "master", "merge_mode": "merge-resolve", "templates": [], "pipelines": []},
            ]
        },
    ),
    "pipelines": (
        [Pipeline],
        [
            {"name": "post", "triggers": [{"name": "local", "driver": "git"}]},
            {"name": "manual", "triggers": []},
        ],
    ),
    "config-errors": (
        [ConfigError],
        [
            {"source_context": SOURCE, "error": "Job there-is-no-such-job not defined"},
            {"source_context": {"project": "org/broken"}, "error": "Could not list branches"},
        ],
    ),
    "autohold": (
        [Hold],
        [
            {
                "id": "0000000000",
                "tenant": "tenant-one",
                "project": "git.example.com/sandbox",
                "job": "fail-node",
                "ref_filter": ".*",
                "count": 1,
                "reason": "look at the disk",
                "node_hold_expiration": 0,
            }
        ],
    ),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_of_zuul_is_declared(name):
    datatype, data = ANSWERS[name]

    assert undeclared(datatype, data) == []


# The comparison itself.


@pytest.mark.parametrize(
    ("datatype", "data", "sentence"),
    [
        (Tenant, {"name": "t", "projects": 1, "queue": 0, "size": 1}, ".size is not declared"),
        (Tenant, {"name": "t", "projects": 1}, ".queue is missing"),
        (Tenant, {"name": None, "projects": 1, "queue": 0}, ".name is null"),
        (Tenant, {"name": "t", "projects": "1", "queue": 0}, ".projects is '1', not int"),
        (Tenant, {"name": "t", "projects": 1.0, "queue": 0}, ".projects is 1.0, not int"),
        (Tenant, {"name": "t", "projects": True, "queue": 0}, ".projects is True, not int"),
        (Tenant, {"projects": 1, "name": "t", "queue": 0}, "Tenant has its keys in another order"),
        (Tenant, [], "the whole is [], not Tenant"),
        (Tenant, None, "the whole is None, not Tenant"),
        ([Tenant], {}, "the whole is {}, not a list"),
        ([Tenant], [None], "[0] is None, not Tenant"),
        ({str: Tenant}, [], "the whole is [], not an object"),
        ({str: Tenant}, {"a": 1}, ".a is 1, not Tenant"),
        (float, True, "the whole is True, not float"),
        (bool, 1, "the whole is 1, not bool"),
        (JsonObject, [], "the whole is [], not dict"),
        (Project, PROJECT | {"type": "strange"}, ".type is 'strange': "),
        ([[Tenant]], [[], [5]], "[1][0] is 5, not Tenant"),
    ],
)
def test_undeclared_names_the_difference(datatype, data, sentence):
    (difference,) = undeclared(datatype, data)

    assert difference.startswith(sentence)


def test_undeclared_finds_a_difference_at_any_depth():
    deep = json.loads(json.dumps(STATUS))
    deep["pipelines"][1]["change_queues"][1]["heads"][0][0]["jobs"][1]["tries"] = None

    assert undeclared(Status, deep) == [".pipelines[1].change_queues[1].heads[0][0].jobs[1].tries is null"]


def test_undeclared_lists_all_differences():
    differences = undeclared([Tenant], [{"name": 1, "size": 2}])

    assert differences == [
        "[0].size is not declared",
        "[0].name is 1, not str",
        "[0].projects is missing",
        "[0].queue is missing",
    ]


@pytest.mark.parametrize("number", [1, 1.5])
def test_a_whole_number_is_a_float_too(number):
    assert undeclared(float, number) == []
