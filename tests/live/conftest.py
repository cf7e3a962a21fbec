# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the live tests."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which
from types import SimpleNamespace

import pytest
from services import Gearmand, GearServer, missing


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
