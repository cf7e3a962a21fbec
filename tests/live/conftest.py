# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the live tests."""

from __future__ import annotations

import configparser
import subprocess
import sys
import urllib.request
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import pytest
from services import Gearmand, GearServer, free_port, missing, wait_until


@pytest.fixture(scope="session")
def tls(tmp_path_factory) -> SimpleNamespace:
    """A CA and one certificate, for both ends as Zuul's gearman has it."""
    if which("openssl") is None:
        missing("openssl")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "2", "-subj", "/CN=test-ca")  # fmt: skip
    openssl(
        "req",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-keyout",
        "end.key",
        "-out",
        "end.csr",
        "-subj",
        "/CN=localhost",
    )
    openssl("x509", "-req", "-in", "end.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-out", "end.pem", "-days", "2")  # fmt: skip
    return SimpleNamespace(key=str(folder / "end.key"), cert=str(folder / "end.pem"), ca=str(folder / "ca.pem"))


@pytest.fixture(params=["gear", "gear-tls", "gearmand", "gearmand-tls"])
def gearman(request, tmp_path):
    """A running gearman server of each kind; `.stop()` and `.start()` as a test likes."""
    keys = request.getfixturevalue("tls") if request.param.endswith("-tls") else None
    server = Gearmand(keys, tmp_path) if request.param.startswith("gearmand") else GearServer(keys)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the lab, beside the project."""
    folder = Path(__file__).resolve().parents[2].parent / "shared"
    if not (folder / "lab" / "lab").exists():
        missing("the lab (../shared/lab)")
    return folder


@pytest.fixture(scope="session")
def lab_conf(shared):
    answer = subprocess.run([shared / "lab" / "lab", "status"], capture_output=True, text=True, check=False)
    if answer.returncode != 0:
        missing("a running lab (../shared/lab/lab up)")
    found = subprocess.run([shared / "lab" / "lab", "conf"], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.fixture(scope="session")
def upstream(lab_conf):
    conf = configparser.RawConfigParser()
    conf.read(lab_conf)
    return f"http://127.0.0.1:{conf.get('web', 'port')}"


@pytest.fixture(scope="session")
def ours(lab_conf, tmp_path_factory):
    """`zuul-rest serve` with the lab's own zuul.conf, but for the port."""
    conf = configparser.RawConfigParser()
    conf.read(lab_conf)
    port = free_port()
    conf.set("web", "port", str(port))
    path = tmp_path_factory.mktemp("ours") / "zuul.conf"
    with path.open("w") as file:
        conf.write(file)
    process = subprocess.Popen(
        [sys.executable, "-m", "zuul.web.cli", "serve", "-c", str(path)], stdout=subprocess.DEVNULL
    )
    base = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return urllib.request.urlopen(f"{base}/api/info", timeout=5).status == 200
        except OSError:
            return False

    wait_until(answers, 20, "our first answer")
    yield base
    process.terminate()
    assert process.wait(20) == 0


@pytest.fixture(scope="session")
def zuul_client(tmp_path_factory):
    """The program of one version, in a virtual environment of its own: it shares no dependency with us."""
    made = {}

    def zuul_client(version):
        if version not in made:
            folder = tmp_path_factory.mktemp(f"zuul-client-{version}")
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            install = [folder / "bin" / "pip", "install", "-q", f"zuul-client=={version}", "setuptools<81"]
            done = subprocess.run(install, capture_output=True, text=True)
            if done.returncode:
                missing(f"zuul-client {version} of PyPI")
            made[version] = str(folder / "bin" / "zuul-client")
        return made[version]

    return zuul_client
