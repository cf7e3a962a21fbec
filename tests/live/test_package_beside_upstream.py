# SPDX-License-Identifier: Apache-2.0
"""Our wheel beside upstream's: no path in common, and ours works from within theirs. Needs a package index."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from distributions import build_distributions
from services import missing

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")


def run(*command, **options):
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, **options)


@pytest.fixture(scope="module")
def our_wheel(tmp_path_factory) -> Path:
    return build_distributions(tmp_path_factory.mktemp("ours"))[1]


@pytest.fixture(scope="module", params=["zuul==3.19.1", "zuul"])
def upstream_wheel(request, tmp_path_factory) -> Path:
    """The reference version and the newest that there is for this Python."""
    folder = tmp_path_factory.mktemp("upstream")
    done = run(
        *PIP, "download", "--no-deps", "--ignore-requires-python", "--only-binary=:all:", "--timeout=10", "--retries=1",
        "--dest", str(folder), request.param,
    )  # fmt: skip
    if done.returncode != 0:
        missing(f"a package index that has {request.param}")
    return next(folder.glob("*.whl"))


def files_of(wheel):
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


def test_no_path_is_in_both(our_wheel, upstream_wheel):
    assert files_of(our_wheel) & files_of(upstream_wheel) == set()


def test_the_paths_that_the_unit_test_knows_are_all_below_zuul_web(upstream_wheel):
    below = {path for path in files_of(upstream_wheel) if path.startswith("zuul/web/")}
    known = ("zuul/web/__init__.py", "zuul/web/handler.py", "zuul/web/logutil.py", "zuul/web/static/")
    assert {path for path in below if not path.startswith(known)} == set()


def test_our_modules_are_found_beside_upstreams(our_wheel, upstream_wheel, tmp_path):
    # In one command: for a second one pip takes the folder zuul/ as it is and leaves ours out.
    wheels = (str(upstream_wheel), str(our_wheel))
    done = run(*PIP, "install", "--no-deps", "--ignore-requires-python", "--target", str(tmp_path), *wheels)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "zuul" / "__init__.py").exists()
    # Upstream's zuul/web/__init__.py wants CherryPy and more, none of which is here; so it is found, but not run.
    script = (
        "import importlib.machinery, importlib.util, sys\n"
        "path = None\n"
        "for name in ('zuul', 'zuul.web'):\n"
        "    spec = importlib.machinery.PathFinder.find_spec(name, path)\n"
        "    assert spec.origin.endswith('/__init__.py'), spec\n"
        "    sys.modules[name] = importlib.util.module_from_spec(spec)\n"
        "    path = spec.submodule_search_locations\n"
        "import zuul.web.application\n"
        "import zuul.web.errors\n"
        "print(sys.modules['zuul.web.errors'].__file__)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = run(sys.executable, "-c", script, cwd=tmp_path, env=environment)
    assert done.stdout.strip() == str(tmp_path / "zuul" / "web" / "errors.py"), done.stderr
