# SPDX-License-Identifier: Apache-2.0
"""The page /docs/ in a browser, without any other host."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from shutil import which

import pytest
from services import free_port, listening, missing, wait_until


@pytest.fixture(scope="module")
def sandbox():
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "zuul.web.cli", "sandbox", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: listening(port), 30, "the sandbox's port")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


@pytest.fixture(scope="module")
def page(sandbox, tmp_path_factory) -> str:
    """What a browser makes of /docs/, and what it said on its way."""
    if which("chromium") is None:
        missing("chromium")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [
        "--virtual-time-budget=20000",
        "--enable-logging=stderr",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    ]
    command += [f"--user-data-dir={tmp_path_factory.mktemp('browser')}", "--dump-dom", f"{sandbox}/docs/"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert [line for line in said if "Refused" in line or "Content Security Policy" in line] == []
    return done.stdout


def test_the_page_shows_all_operations(sandbox, page):
    with urllib.request.urlopen(f"{sandbox}/openapi.json") as response:
        document = json.load(response)

    assert len(document["paths"]) > 40
    for path in document["paths"]:
        assert f'data-path="{path}"' in page


@pytest.mark.parametrize("words", ["Unable to render", "version field", "Failed to load", "errors__"])
def test_the_page_shows_no_error(page, words):
    assert words not in page
