# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium with one page, asked what it shows over its own websocket (DevTools)."""

from __future__ import annotations

import json
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from shutil import which
from typing import Any

from services import missing, wait_until
from streams import WebSocket


class Browser:
    """A context. Hosts other than 127.0.0.1 do not exist for it."""

    def __init__(self, folder: Path, url: str) -> None:
        if which("chromium") is None:
            missing("chromium")
        self._folder = folder
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-first-run"]
        command += [f"--user-data-dir={folder}", "--remote-debugging-port=0", url]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._number = 0
        try:
            self._port = wait_until(self._find_port, 60, "the port of Chromium's DevTools")
            address = wait_until(self._find_page, 60, "a page in Chromium")
            self._page = WebSocket(self._port, urllib.parse.urlsplit(address).path, must_hang_up=False)
        except BaseException:
            self._process.kill()
            self._process.wait(20)
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._page.drop()
        self._process.terminate()
        self._process.wait(20)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        self._number += 1
        asked = {"id": self._number, "method": "Runtime.evaluate"}
        self._page.send(json.dumps({**asked, "params": {"expression": expression, "returnByValue": True}}))
        while True:
            answer = self._page.json()
            if answer.get("id") == self._number:
                return answer["result"]["result"].get("value")

    def _find_port(self) -> int | None:
        assert self._process.poll() is None, "Chromium has ended"
        try:
            return int((self._folder / "DevToolsActivePort").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            return None

    def _find_page(self) -> str | None:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/json/list", timeout=20) as response:
            pages = json.load(response)
        return next((str(page["webSocketDebuggerUrl"]) for page in pages if page["type"] == "page"), None)
