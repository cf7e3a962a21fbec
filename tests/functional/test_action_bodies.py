# SPDX-License-Identifier: Apache-2.0
"""Bodies that are not as they should be: each has its answer, none of them 5xx, and nothing reaches the scheduler."""

from __future__ import annotations

import json

import pytest

PROJECT = "/api/tenant/example/project/core/compute"
ENQUEUE, DEQUEUE, AUTOHOLD = f"{PROJECT}/enqueue", f"{PROJECT}/dequeue", f"{PROJECT}/autohold"
PROMOTE = "/api/tenant/example/promote"
V1 = "/v1/tenants/example"
ITEMS, PROMOTION, HOLDS = f"{V1}/pipelines/gate/items", f"{V1}/pipelines/gate/promote", f"{V1}/holds"

CHANGE = {"pipeline": "gate", "change": "123,4"}
REF = {"pipeline": "post", "ref": "refs/heads/master", "oldrev": "a" * 40, "newrev": "b" * 40}
HOLD = {"job": "functional", "reason": "look", "count": 1}
WRITES = {"enqueue", "enqueue_ref", "dequeue", "promote", "autohold", "autohold_delete"}


def without(body, key):
    return {name: value for name, value in body.items() if name != key}


MALFORMED = {
    # no JSON, or no object
    "no body": (ENQUEUE, b"", "there must be a body, a JSON object"),
    "no JSON": (ENQUEUE, b"change=1,1", "the body is no JSON"),
    "cut short": (ENQUEUE, b'{"pipeline": "gate", "change": "1', "the body is no JSON"),
    "no JSON for a hold, where upstream has 406": (AUTOHOLD, b"{", "the body is no JSON"),
    "a form in JSON's clothes": (AUTOHOLD, b"job=x&count=1", "the body is no JSON"),
    "no UTF-8": (ENQUEUE, b'{"pipeline": "\xff"}', "the body is not valid UTF-8"),
    "UTF-16": (ENQUEUE, json.dumps(CHANGE).encode("utf-16"), "the body is not valid UTF-8"),
    "a byte order mark": (ENQUEUE, b"\xef\xbb\xbf{}", "the body is no JSON"),
    "NaN": (AUTOHOLD, b'{"job": "j", "reason": "r", "count": NaN}', "the body is no JSON"),
    "a number of 5000 digits": (AUTOHOLD, b'{"count": %s}' % (b"9" * 5000), "the body is no JSON"),
    "100000 brackets": (ENQUEUE, b"[" * 100_000, "the body is no JSON"),
    "a list": (ENQUEUE, [CHANGE], "the body: expected an object, not a list"),
    "a text": (PROMOTE, "gate", "the body: expected an object, not text"),
    "null": (PROMOTE, b"null", "the body: expected an object, not null"),
    "a number": (AUTOHOLD, 1, "the body: expected an object, not a whole number"),
    # keys
    "a key twice": (ENQUEUE, b'{"change": "1,1", "pipeline": "a", "change": "2,1"}', "change: there more than once"),
    "an unknown key": (ENQUEUE, {**CHANGE, "tenant": "widgets"}, "tenant: there is no such key"),
    "a project, which the URL has": (ENQUEUE, {**CHANGE, "project": "x"}, "project: there is no such key"),
    "a key with a line break": (ENQUEUE, {**CHANGE, "a\nb": 1}, '"a\\nb": there is no such key'),
    "no pipeline": (ENQUEUE, without(CHANGE, "pipeline"), "pipeline: missing"),
    "neither change nor ref": (ENQUEUE, {"pipeline": "gate"}, "change or ref: one of them must be there"),
    "both null": (ENQUEUE, {**CHANGE, "change": None, "ref": None}, "change or ref: one of them must be there"),
    "change and ref": (ENQUEUE, {**CHANGE, **REF}, "change and ref: only one of them is possible"),
    "a revision of a change": (ENQUEUE, {**CHANGE, "newrev": "b" * 40}, "newrev: goes with a ref"),
    "no project in v1": (ITEMS, {"change": "1,1"}, "project: missing"),
    "a pipeline, which the URL has": (ITEMS, {**CHANGE, "project": "core/compute"}, "pipeline: there is no such key"),
    "dequeue neither": (DEQUEUE, {"pipeline": "gate"}, "change or ref: one of them must be there"),
    "dequeue both": (DEQUEUE, {**CHANGE, "ref": "refs/heads/master"}, "change and ref: only one"),
    "dequeue with a revision": (DEQUEUE, without(REF, "newrev"), "oldrev: there is no such key"),
    "promote nothing said": (PROMOTE, {"pipeline": "gate"}, "changes: missing"),
    "promote upstream's RPC key": (PROMOTE, {"pipeline": "gate", "change_ids": ["1,1"]}, "change_ids: there is no"),
    "a hold without a job": (AUTOHOLD, without(HOLD, "job"), "job: missing"),
    "a hold without a reason": (AUTOHOLD, without(HOLD, "reason"), "reason: missing"),
    "a hold without a count": (AUTOHOLD, without(HOLD, "count"), "count: missing"),
    "a hold without a project": (HOLDS, HOLD, "project: missing"),
    "a hold with two counts": (AUTOHOLD, {**HOLD, "max_count": 2}, "max_count: is not as count"),
    "a hold with two expressions": (AUTOHOLD, {**HOLD, "ref": "a", "ref_filter": "b"}, "ref_filter: is not as ref"),
    "a hold for change and ref": (AUTOHOLD, {**HOLD, "change": "1", "ref": "a"}, "change and ref: only one"),
    # types
    "a pipeline that is a number": (ENQUEUE, {**CHANGE, "pipeline": 1}, "pipeline: expected text, not a whole number"),
    "a pipeline that is null": (ENQUEUE, {**CHANGE, "pipeline": None}, "pipeline: must not be null"),
    "a change that is a number": (ENQUEUE, {**CHANGE, "change": 123}, "change: expected text, not a whole number"),
    "a change that is a list": (ENQUEUE, {**CHANGE, "change": ["1,1"]}, "change: expected text, not a list"),
    "a ref that is an object": (ENQUEUE, {**REF, "ref": {}}, "ref: expected text, not an object"),
    "a trigger that is true": (ENQUEUE, {**CHANGE, "trigger": True}, "trigger: expected text, not true or false"),
    "changes that are a text": (PROMOTE, {"pipeline": "gate", "changes": "1,1"}, "changes: expected a list, not text"),
    "a change among them that is null": (PROMOTE, {"pipeline": "gate", "changes": [None]}, "changes[0]: expected text"),
    "a change among them of another form": (PROMOTION, {"changes": ["1,1", "1"]}, "changes[1]: expected NUMBER"),
    "no change among them": (PROMOTION, {"changes": []}, "changes: there must be one at least"),
    "a change twice": (PROMOTION, {"changes": ["1,1", "2,1", "1,1"]}, "changes[2]: 1,1 is there more than once"),
    "a count that is a text": (AUTOHOLD, {**HOLD, "count": "1"}, "count: expected a whole number, not text"),
    "a count that is true": (AUTOHOLD, {**HOLD, "count": True}, "count: expected a whole number, not true or false"),
    "a count that is broken": (AUTOHOLD, {**HOLD, "count": 1.0}, "count: expected a whole number, not a number"),
    "a count that is null": (AUTOHOLD, {**HOLD, "count": None}, "count: must not be null"),
    "a change of a hold that is a number": (AUTOHOLD, {**HOLD, "change": 1}, "change: expected text"),
    # values
    "a count of 0": (AUTOHOLD, {**HOLD, "count": 0}, "count: expected a whole number from 1 to"),
    "a count below": (AUTOHOLD, {**HOLD, "count": -1}, "count: expected a whole number from 1 to"),
    "a count of 2**31": (HOLDS, {**HOLD, "project": "x", "count": 2**31}, "count: expected a whole number from 1 to"),
    "a max_count of 0": (HOLDS, {"max_count": 0, "project": "x", **without(HOLD, "count")}, "max_count: expected a"),
    "seconds below 0": (AUTOHOLD, {**HOLD, "node_hold_expiration": -1}, "node_hold_expiration: expected a"),
    "no expression": (AUTOHOLD, {**HOLD, "ref": "refs/(heads"}, "ref: is no regular expression: missing )"),
    "no expression, by the other key": (AUTOHOLD, {**HOLD, "ref_filter": "*"}, "ref: is no regular expression"),
    "an expression that overflows": (AUTOHOLD, {**HOLD, "ref": "a{99999999999999999999}"}, "ref: is no regular"),
    "an expression of 1000 brackets": (AUTOHOLD, {**HOLD, "ref": "(" * 1000 + ")" * 1000}, "ref: expected a regular"),
    "a patchset in a hold": (AUTOHOLD, {**HOLD, "change": "1,1"}, "change: expected the number of a change"),
    "a reason of 1001 characters": (AUTOHOLD, {**HOLD, "reason": "x" * 1001}, "reason: expected text, 0 to 1000"),
    "an empty job": (AUTOHOLD, {**HOLD, "job": ""}, "job: expected a name, 1 to 255 characters"),
    "a NUL": (AUTOHOLD, {**HOLD, "reason": "a\0b"}, "reason: has a NUL"),
    "half a character": (AUTOHOLD, {**HOLD, "reason": "\ud800"}, "reason: has half a character"),
    "a line break in a name": (ENQUEUE, {**CHANGE, "pipeline": "gate\n"}, "pipeline: expected a name"),
    "no patchset": (ENQUEUE, {**CHANGE, "change": "123"}, "change: expected NUMBER,PATCHSET of a change"),
    "an empty change": (ENQUEUE, {**CHANGE, "change": ""}, "change: expected NUMBER,PATCHSET of a change"),
    "two patchsets": (ENQUEUE, {**CHANGE, "change": "1,2,3"}, "change: expected NUMBER,PATCHSET"),
    "a change in digits of India": (ENQUEUE, {**CHANGE, "change": "\u0661,1"}, "change: expected NUMBER,PATCHSET"),
    "a ref that is not whole": (ENQUEUE, {**REF, "ref": "master"}, "ref: expected a whole ref"),
    "a ref with a space": (ENQUEUE, {**REF, "ref": "refs/heads/a b"}, "ref: expected a whole ref"),
    "a short revision": (ENQUEUE, {**REF, "oldrev": "abc"}, "oldrev: expected 40 hexadecimal digits"),
    "a revision that Python takes for hexadecimal": (
        ENQUEUE, {**REF, "newrev": "0x" + "a" * 38}, "newrev: expected 40 hexadecimal digits",
    ),
    "a revision with a line break": (ENQUEUE, {**REF, "newrev": "b" * 40 + "\n"}, "newrev: expected 40 hexadecimal"),
    # what is not there
    "an unknown pipeline": (ENQUEUE, {**CHANGE, "pipeline": "nope"}, "pipeline: there is none named nope"),
    "an unknown pipeline to dequeue": (DEQUEUE, {**CHANGE, "pipeline": "nope"}, "pipeline: there is none named nope"),
    "an unknown pipeline to promote": (PROMOTE, {"pipeline": "nope", "changes": ["1,1"]}, "pipeline: there is none"),
    "an unknown project": (ITEMS, {"project": "nope", "change": "1,1"}, "project: there is none named nope"),
    "an unknown project of a hold": (HOLDS, {**HOLD, "project": "nope"}, "project: there is none named nope"),
    "a project of another tenant": (ITEMS, {"project": "widgets/widget.js", "change": "1,1"}, "project: there is none"),
    "a change that is not queued": (DEQUEUE, CHANGE, "change: 123,4 of project core/compute is not in pipeline gate"),
    "a ref that is not queued": (DEQUEUE, {"pipeline": "post", "ref": "refs/heads/x"}, "ref: refs/heads/x of project"),
    "a change that is not queued to promote": (
        PROMOTION, {"changes": ["123,4"]}, "changes[0]: 123,4 is not in pipeline gate",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("url", "body", "words"), MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_body_is_400_that_names_what_is_wrong(acting, refusal, url, body, words):
    body = refusal(acting.post(url, body), 400)

    assert body["faultstring"].startswith(words)
    assert not WRITES.intersection(name for name, _ in acting.called)


OTHER_TYPES = {
    "a form": {"Content-Type": "application/x-www-form-urlencoded"},
    "a form of parts": {"Content-Type": "multipart/form-data; boundary=x"},
    "text": {"Content-Type": "text/plain"},
    "XML": {"Content-Type": "application/xml"},
    "nothing said": {"Content-Type": ""},
    "another charset": {"Content-Type": "application/json; charset=latin-1"},
    "compressed": {"Content-Encoding": "gzip"},
}


@pytest.mark.parametrize("headers", OTHER_TYPES.values(), ids=OTHER_TYPES)
@pytest.mark.parametrize("url", [ENQUEUE, HOLDS])
def test_another_type_of_body_is_415(acting, refusal, url, headers):
    response = acting.post(url, CHANGE, headers=headers)

    refusal(response, 415)
    assert response.headers["Accept-Post"] == "application/json"
    assert not WRITES.intersection(name for name, _ in acting.called)


@pytest.mark.parametrize(
    "name", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
def test_json_is_json_however_it_is_spelt(acting, name):
    assert acting.post(ENQUEUE, CHANGE, headers={"Content-Type": name}).json is True


@pytest.mark.parametrize("url", [ENQUEUE, DEQUEUE, AUTOHOLD])
def test_an_unknown_project_in_the_url_is_404(acting, refusal, url):
    body = {ENQUEUE: CHANGE, DEQUEUE: CHANGE, AUTOHOLD: HOLD}[url]

    refusal(acting.post(url.replace("core/compute", "nope"), body), 404)


@pytest.mark.parametrize("url", [ITEMS, PROMOTION])
def test_an_unknown_pipeline_in_the_url_is_404(acting, refusal, url):
    body = {ITEMS: {"project": "core/compute", "change": "1,1"}, PROMOTION: {"changes": ["1,1"]}}[url]

    refusal(acting.post(url.replace("gate", "nope"), body), 404)


def test_a_query_is_400(acting, refusal):
    assert "unknown query parameter" in refusal(acting.post(f"{ENQUEUE}?change=1,1", CHANGE), 400)["faultstring"]


def test_the_schedulers_own_refusal_is_400_with_its_words(acting, refusal):
    item = next(item for queue in acting.status()["gate"] for item in queue if item["project"] != "core/compute")

    body = refusal(acting.post(ENQUEUE, {"pipeline": "check", "change": item["id"]}), 400)

    assert body["faultstring"] == f'Change {item["id"]} does not belong to project "core/compute",'
    assert (body["error"], body["description"]) == ("Bad Request", body["faultstring"])  # which zuul-client shows


def test_a_short_name_of_several_projects_is_400(acting_with, refusal):
    rows = [{"name": "core/compute", "connection_name": "gerrit", "canonical_name": f"{host}/core/compute",
             "type": "untrusted"} for host in ("a", "b")]  # fmt: skip
    acting = acting_with(project_list=lambda _: json.dumps(rows))

    body = refusal(acting.post(ENQUEUE, CHANGE), 400)

    assert body["faultstring"] == "project: core/compute is ambiguous, use one of a/core/compute, b/core/compute"
