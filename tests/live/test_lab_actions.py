# SPDX-License-Identifier: Apache-2.0
"""Actions in a real Zuul 3.19.1, over our REST and with zuul-client as it is on PyPI, its first version and its last.

In projects of the stand-in for Gerrit: Zuul 3.19.1 cannot dequeue a ref of the git driver.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.request

import pytest
from services import wait_until

pytestmark = pytest.mark.timeout(280)

TENANT = "tenant-one"
BELOW = f"/api/tenant/{TENANT}"
SECONDS = 90


@pytest.fixture(scope="module")
def lab(shared, lab_conf):
    """Runs a command of the lab and gives what it prints."""

    def lab(*command):
        done = subprocess.run(
            [shared / "lab" / "lab", *command], capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout.strip()

    return lab


@pytest.fixture(scope="module")
def token(lab):
    return lab("token", "--admin", TENANT)


@pytest.fixture
def read(ours):
    def read(path):
        with urllib.request.urlopen(f"{ours}{path}", timeout=20) as response:
            return json.load(response)

    return read


@pytest.fixture
def items(read):
    """The live items of a pipeline in their order."""
    return lambda pipeline: read(f"/v1/tenants/{TENANT}/pipelines/{pipeline}/items")


class Rest:
    """Requests of our own, below /api."""

    def __init__(self, base, token):
        self._base = base
        self._token = token

    def ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(f"{self._base}{path}", data=data, headers=headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def _post(self, path, **body):
        answer = self.ask("POST", f"{BELOW}/{path}", body)
        assert answer == (200, b"true"), answer

    def enqueue(self, pipeline, project, change):
        self._post(f"project/{project}/enqueue", pipeline=pipeline, change=change)

    def enqueue_ref(self, pipeline, project, ref, newrev):
        self._post(f"project/{project}/enqueue", pipeline=pipeline, ref=ref, oldrev=None, newrev=newrev)

    def dequeue(self, pipeline, project, **what):
        self._post(f"project/{project}/dequeue", pipeline=pipeline, **what)

    def promote(self, pipeline, *changes):
        self._post("promote", pipeline=pipeline, changes=changes)

    def autohold(self, project, job, reason):
        self._post(f"project/{project}/autohold", job=job, reason=reason, count=1, node_hold_expiration=600)

    def autohold_delete(self, identifier):
        assert self.ask("DELETE", f"{BELOW}/autohold/{identifier}") == (204, b"")

    def autohold_list(self):
        return self.ask("GET", f"{BELOW}/autohold")[1].decode()

    def autohold_info(self, identifier):
        return self.ask("GET", f"{BELOW}/autohold/{identifier}")[1].decode()


def named(item):
    return {"change": item["id"], "ref": item["ref"]}


class RestV1(Rest):
    """Requests of our own, below /v1."""

    def _send(self, method, path, **body):
        answer = self.ask(method, f"/v1/tenants/{TENANT}/{path}", body or None)
        assert answer == (204, b""), answer

    def enqueue(self, pipeline, project, change):
        self._send("POST", f"pipelines/{pipeline}/items", project=project, change=change)

    def enqueue_ref(self, pipeline, project, ref, newrev):
        self._send("POST", f"pipelines/{pipeline}/items", project=project, ref=ref, newrev=newrev)

    def dequeue(self, pipeline, project, **what):
        items = json.loads(self.ask("GET", f"/v1/tenants/{TENANT}/pipelines/{pipeline}/items")[1])
        (item,) = [
            one for one in items if one["project"] == project and what.items() <= {**one, "change": one["id"]}.items()
        ]
        self._send("DELETE", f"pipelines/{pipeline}/items/{item['id']}")

    def promote(self, pipeline, *changes):
        self._send("POST", f"pipelines/{pipeline}/promote", changes=changes)

    def autohold(self, project, job, reason):
        self._send("POST", "holds", project=project, job=job, reason=reason, max_count=1, node_expiration=600)

    def autohold_delete(self, identifier):
        self._send("DELETE", f"holds/{identifier}")


class ZuulClient:
    """The commands of zuul-client."""

    def __init__(self, program, base, token):
        self._start = [program, "--zuul-url", base, "--auth-token", token]

    def run(self, command, *options):
        done = subprocess.run(
            [*self._start, command, "--tenant", TENANT, *options], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def enqueue(self, pipeline, project, change):
        self.run("enqueue", "--pipeline", pipeline, "--project", project, "--change", change)

    def enqueue_ref(self, pipeline, project, ref, newrev):
        self.run("enqueue-ref", "--pipeline", pipeline, "--project", project, "--ref", ref, "--newrev", newrev)

    def dequeue(self, pipeline, project, **what):
        ((name, value),) = what.items()
        self.run("dequeue", "--pipeline", pipeline, "--project", project, f"--{name}", value)

    def promote(self, pipeline, *changes):
        self.run("promote", "--pipeline", pipeline, "--changes", *changes)

    def autohold(self, project, job, reason):
        self.run("autohold", "--project", project, "--job", job, "--reason", reason, "--count", "1",
                 "--node-hold-expiration", "600")  # fmt: skip

    def autohold_delete(self, identifier):
        self.run("autohold-delete", identifier)

    def autohold_list(self):
        return self.run("autohold-list")

    def autohold_info(self, identifier):
        return self.run("autohold-info", identifier)


@pytest.fixture(params=["/api", "/v1", "zuul-client 0.1.0", "zuul-client 14.0.0"])
def act(request, ours, token):
    """Each way to act."""
    if request.param == "/api":
        return Rest(ours, token)
    if request.param == "/v1":
        return RestV1(ours, token)
    program = request.getfixturevalue("zuul_client")(request.param.split()[1])
    return ZuulClient(program, ours, token)


@pytest.fixture
def changes(lab):
    """Makes changes that may go into the gate, and are abandoned in the end if they have not been merged."""
    made = []

    def change(project):
        made.append(lab("change", project, "--approve"))
        return made[-1]

    yield change
    for one in made:
        with contextlib.suppress(AssertionError):
            lab("abandon", one.partition(",")[0])


def test_an_enqueued_ref_starts_a_real_build_and_dequeued_it_ends(shared, lab_conf, act, items):
    conf_folder = lab_conf.rpartition("/etc/")[0]
    head = subprocess.run(
        ["git", "rev-parse", "main"], cwd=f"{conf_folder}/git-review/widget", capture_output=True, text=True, check=True
    ).stdout.strip()

    def building():
        return [job for item in items("manual") if item["id"] == head for job in item["jobs"] if job["uuid"]]

    act.enqueue_ref("manual", "widget", "refs/heads/main", head)
    wait_until(building, SECONDS, "a build")

    act.dequeue("manual", "widget", ref="refs/heads/main")
    wait_until(lambda: not building(), SECONDS, "the end of the build")


def test_promote_puts_a_change_first(act, items, changes):
    of_project = {changes("widget"): "widget", changes("widget-lib"): "widget-lib"}

    def queued():
        return [item["id"] for item in items("gate") if item["id"] in of_project]

    wait_until(lambda: len(queued()) == 2, SECONDS, "both in the gate")
    first, second = queued()

    act.promote("gate", second)
    wait_until(lambda: queued() == [second, first], SECONDS, "the other order")

    act.dequeue("gate", of_project[second], change=second)
    act.dequeue("gate", of_project[first], change=first)
    wait_until(lambda: not queued(), SECONDS, "an empty gate")


def test_a_hold_is_listed_by_upstreams_cli_and_web(lab_conf, upstream, act, request):
    reason = f"asked in {request.node.name}"
    cli = [f"{lab_conf.rpartition('/etc/')[0]}/venv/zuul/bin/zuul", "-c", lab_conf]

    def listed():
        with urllib.request.urlopen(f"{upstream}{BELOW}/autohold", timeout=20) as response:
            return [hold for hold in json.load(response) if hold["reason"] == reason]

    act.autohold("sandbox", "fail-node", reason)
    (hold,) = listed()
    assert (hold["count"], hold["node_hold_expiration"], hold["job"]) == (1, 600, "fail-node")
    assert hold["id"] in subprocess.run([*cli, "autohold-list"], capture_output=True, text=True, check=True).stdout
    assert hold["id"] in act.autohold_list()
    assert reason in act.autohold_info(hold["id"])

    act.autohold_delete(hold["id"])
    assert listed() == []


REFUSED = {
    "an unknown change": ("enqueue", {"pipeline": "gate", "change": "999999,1"}, "Invalid change: 999999,1"),
    "a change that is not there": (
        "dequeue",
        {"pipeline": "gate", "change": "999999,1"},
        "change: 999999,1 of project",
    ),
}


@pytest.mark.parametrize(("action", "body", "words"), REFUSED.values(), ids=REFUSED)
def test_what_zuul_would_not_do_is_refused_with_words(ours, token, action, body, words):
    status, answer = Rest(ours, token).ask("POST", f"{BELOW}/project/widget/{action}", body)

    assert status == 400
    assert json.loads(answer)["faultstring"].startswith(words)


def test_what_was_done_is_in_the_audit(ours, token, act):
    act.autohold("sandbox", "fail-node", "for the audit")
    rest = Rest(ours, token)
    entries = json.loads(rest.ask("GET", "/v1/audit?action=autohold&limit=1")[1])

    assert [(entry["outcome"], entry["asked"]["reason"]) for entry in entries] == [("done", "for the audit")]
    for hold in json.loads(rest.autohold_list()):
        if hold["reason"] == "for the audit":
            rest.autohold_delete(hold["id"])
