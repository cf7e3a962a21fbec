# SPDX-License-Identifier: Apache-2.0
"""What zuul-client reads of a real Zuul 3.19.1 through us, as it is on PyPI, its first version and its last.

What it does with a token is in test_lab_actions.py.
"""

from __future__ import annotations

import json
import subprocess
import urllib.request
from base64 import b64decode
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)

TENANT = "tenant-one"
SECRET = "a secret of 700 bytes, more than a key of 4096 bits takes at once. " * 10 + "0123456789 0123456789 012345678"
LAST = "14.0.0"


@pytest.fixture
def run(ours, zuul_client):
    """What a command of one version prints."""

    def run(version, *command, sent=None):
        program = [zuul_client(version), "--zuul-url", ours]
        done = subprocess.run([*program, *command], input=sent, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def asked_upstream(upstream, path):
    with urllib.request.urlopen(f"{upstream}{path}", timeout=20) as response:
        return json.load(response)


@pytest.mark.parametrize("version", ["0.1.0", LAST])
@pytest.mark.parametrize("project", ["widget", "review.example.com/widget"])
def test_what_it_encrypts_zuul_can_decrypt(lab_conf, run, version, project):
    (key,) = Path(lab_conf.rpartition("/etc/")[0]).rglob("keys/secrets/project/gerrit/widget/0.pem")
    decrypt = ["openssl", "pkeyutl", "-decrypt", "-inkey", key, "-pkeyopt", "rsa_padding_mode:oaep"]

    printed = run(version, "encrypt", "--tenant", TENANT, "--project", project, "--no-strip", sent=SECRET)

    chunks = [b64decode(chunk) for chunk in printed.partition("pkcs1-oaep")[2].split("- ")[1:]]
    assert len(chunks) == 2
    parts = [subprocess.run(decrypt, input=chunk, capture_output=True, check=True).stdout for chunk in chunks]
    assert b"".join(parts).decode() == SECRET


def test_it_draws_the_graph_of_jobs(upstream, run):
    place = ["--tenant", TENANT, "--pipeline", "gate", "--project", "widget", "--branch", "main"]
    frozen = asked_upstream(upstream, f"/api/tenant/{TENANT}/pipeline/gate/project/widget/branch/main/freeze-jobs")

    assert json.loads(run(LAST, "--format", "json", "job-graph", *place)) == frozen
    table = run(LAST, "job-graph", *place)
    assert frozen and all(f"| {job['name']} " in table for job in frozen)


def test_it_lists_tenants(ours, upstream, zuul_client):
    """No version has a command for it; the last one's library has, for its commands about all tenants."""
    python = Path(zuul_client(LAST)).with_name("python")
    script = f"import json; from zuulclient.api import ZuulRESTClient as C; print(json.dumps(C({ours!r}).tenants()))"

    printed = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True, timeout=60).stdout

    assert json.loads(printed) == asked_upstream(upstream, "/api/tenants")
