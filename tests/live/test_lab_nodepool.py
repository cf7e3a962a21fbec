# SPDX-License-Identifier: Apache-2.0
"""A real Nodepool 3.14 with its launcher: we show what Zuul's and Nodepool's own show, and holds are honoured."""

from __future__ import annotations

import configparser
import json
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from server_process import ServerProcess
from services import free_port, missing, wait_until

pytestmark = pytest.mark.timeout(240)

TENANT = "tenant-one"
TABLES = ("node-list", "label-list", "image-list", "dib-image-list", "request-list")


def fetch(url, accept=None, method="GET", body=None, token=None):
    """Status, header fields and text."""
    headers = {**({"Accept": accept} if accept else {}), **({"Authorization": f"Bearer {token}"} if token else {})}
    data = json.dumps(body).encode() if body is not None else None
    if data is not None:
        headers["Content-Type"] = "application/json"
    request = urllib.request.Request(url, headers=headers, method=method, data=data)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, response.headers, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


@pytest.fixture(scope="module")
def lab(shared, lab_conf):
    def lab(*command):
        done = subprocess.run(
            [shared / "lab" / "lab", *command], capture_output=True, text=True, check=True, timeout=200
        )
        return done.stdout.strip()

    return lab


@pytest.fixture(scope="module")
def webapp(lab_conf):
    """The launcher's own web application."""
    settings = json.loads((Path(lab_conf).parents[1] / "lab.json").read_text())
    return f"http://127.0.0.1:{settings['NODEPOOL_PORT']}"


@pytest.fixture(scope="module")
def nodepool_command(lab_conf):
    folder = Path(lab_conf).parents[1]
    command = folder / "venv" / "nodepool" / "bin" / "nodepool"
    if not command.exists():
        missing("the lab's nodepool command")

    def nodepool_command(*arguments):
        conf = folder / "etc" / "nodepool.yaml"
        done = subprocess.run([command, "-c", conf, *arguments], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    return nodepool_command


@pytest.fixture(scope="module")
def alone(lab_conf, tmp_path_factory):
    """`zuul-rest serve` with the lab's ZooKeeper and nothing else."""
    conf = configparser.RawConfigParser()
    conf.read(lab_conf)
    folder = tmp_path_factory.mktemp("alone")
    port = free_port()
    (folder / "zuul.conf").write_text(f"[zookeeper]\nhosts={conf.get('zookeeper', 'hosts')}\n[web]\nport={port}\n")
    server = ServerProcess(folder, "serve", "-c", str(folder / "zuul.conf"))
    base = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return fetch(f"{base}/api/info")[0] == 200
        except OSError:
            return False

    wait_until(answers, 30, "the first answer")
    yield base
    server.terminate()
    assert server.ended() == 0


def rows(text, key="id"):
    """In one order: ZooKeeper lists children in none."""
    return sorted(json.loads(text), key=lambda row: row[key])


def both(read, of_them, of_us, **more):
    """What both say, at a moment when nothing moved meanwhile."""

    def equal():
        before, ours, after = read(of_them, **more), read(of_us, **more), read(of_them, **more)
        return (after, ours) if before == after == ours else None

    return wait_until(equal, 20, f"{of_us} to say what {of_them} says")[1]


@pytest.mark.parametrize("what", ["labels", "nodes"])
def test_below_api_it_is_what_zuul_web_says(upstream, ours, alone, what):
    key = {"labels": "name", "nodes": "id"}[what]
    path = f"/api/tenant/{TENANT}/{what}"

    found = both(lambda base: rows(fetch(f"{base}{path}")[2], key), upstream, ours)

    assert found
    assert list(found[0]) == list(json.loads(fetch(f"{upstream}{path}")[2])[0]), "the keys are in upstream's order"


@pytest.mark.parametrize("table", TABLES)
def test_tables_as_json_are_those_of_the_launcher(webapp, alone, table):
    key = "label" if table == "label-list" else "id"

    def read(base):
        found = rows(fetch(f"{base}/{table}", "application/json")[2], key)
        return [{**row, "age": row["age"][:8]} if table == "node-list" else row for row in found]

    both(read, webapp, alone)


@pytest.mark.parametrize("query", ["", "?fields=id,label,state,comment", "?node_id={node}"])
def test_a_table_as_text_is_that_of_the_launcher(webapp, alone, query):
    node = json.loads(fetch(f"{alone}/node-list.json")[2])[0]["id"]
    query = query.format(node=node)

    def read(base):
        lines = fetch(f"{base}/node-list{query}")[2].splitlines()
        head, body = lines[:3], sorted(lines[3:])
        return [line[: line.rindex(":")] if ":" in line else line for line in [*head, *body]]  # but for seconds

    assert node in "\n".join(both(read, webapp, alone))


def test_header_fields_of_tables_are_those_of_the_launcher(webapp, alone):
    for accept, kind in ((None, "text/plain"), ("application/json", "application/json")):
        fields = [fetch(f"{base}/label-list", accept)[1] for base in (webapp, alone)]
        for name in ("Access-Control-Allow-Origin",):
            assert fields[0][name] == fields[1][name]
        assert {frozenset(one["Cache-Control"].split(", ")) for one in fields} == {frozenset({"public", "max-age=1"})}
        assert [one.get_content_type() for one in fields] == [kind, kind]
        assert all(one["Last-Modified"] and one["Expires"] for one in fields)
    assert fetch(f"{webapp}/ready")[::2] == fetch(f"{alone}/ready")[::2] == (200, "OK")


def test_what_nodepools_own_command_lists_is_what_we_list(nodepool_command, alone):
    def read(source):
        text = source()
        return sorted(
            tuple(cell.strip() for cell in line.split("|")[1:-1])[:7] for line in text.splitlines() if "|" in line
        )

    fields = "fields=id,provider,label,server_id,public_ipv4,ipv6,state,age,locked"
    both(read, lambda: nodepool_command("list"), lambda: fetch(f"{alone}/node-list?{fields}")[2])
    both(read, lambda: nodepool_command("request-list"), lambda: fetch(f"{alone}/request-list")[2])


def test_requests_are_those_of_zuul_and_nodes_say_whom_they_serve(lab, ours):
    lab("wait")
    lab("push", "demo")

    def node_in_use():
        found = json.loads(fetch(f"{ours}/v1/nodepool/nodes?state=in-use")[2])
        return next((node for node in found if node["locked"] and node["requestor"]), None)

    node = wait_until(node_in_use, 90, "a node in use, of a request that was seen")
    lab("wait")

    assert node["allocated_to"]


def test_a_hold_is_honoured_and_released(lab, ours, nodepool_command):
    token = lab("token", "--admin", TENANT)

    def node_of(label):
        found = json.loads(fetch(f"{ours}/v1/nodepool/nodes?type={label}")[2])
        return found[0] if len(found) == 1 and found[0]["state"] == "ready" else None

    lab("wait")
    node = wait_until(lambda: node_of("debian-large"), 60, "the only large node to be ready")["id"]
    hold = f"{ours}/v1/nodepool/nodes/{node}/hold"
    release = f"{ours}/v1/nodepool/nodes/{node}/release"
    assert fetch(hold, method="POST", body={"comment": "a test"}, token=token)[0] == 204
    try:
        assert "hold" in next(line for line in nodepool_command("list").splitlines() if node in line)
        lab("push", "org/nested")  # its job two-nodes takes that node
        waits = wait_until(
            lambda: json.loads(fetch(f"{ours}/v1/nodepool/requests?node_types=debian-large")[2]) or None,
            60,
            "a request for the held node",
        )
        assert node not in waits[0]["nodes"]
        assert json.loads(fetch(f"{ours}/v1/nodepool/nodes/{node}")[2])["state"] == "hold"
    finally:
        assert fetch(release, method="POST", token=token)[0] == 204
    wait_until(lambda: fetch(f"{ours}/v1/nodepool/nodes/{node}")[0] == 404, 60, "the launcher to delete it")
    lab("wait")
    wait_until(lambda: node_of("debian-large"), 90, "another large node to be ready")
