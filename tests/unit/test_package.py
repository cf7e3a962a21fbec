# SPDX-License-Identifier: Apache-2.0
"""What we hand out: the sdist, and the wheel that is made from it.

The wheel installs beside upstream's `zuul`, so no path of ours may be one of theirs. Here that is
checked against what never changed in upstream, without a network; tests/live has both real wheels.
"""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from distributions import ROOT, build_distributions

UPSTREAM = ("zuul/__init__.py", "zuul/web/__init__.py", "zuul/web/handler.py", "zuul/web/logutil.py")
UPSTREAM_FOLDERS = ("zuul/web/static/",)
"""Upstream's paths below zuul/web, from 3.19.1 to 14.3; the rest of its package is not below zuul/web."""

DATA = (
    "zuul/web/dashboard/index.html",
    "zuul/web/zuul-rest-paste.ini",
    "zuul/web/sandbox/scenarios/default.yaml",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    return build_distributions(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def wheel(built) -> dict[str, bytes]:
    """The files of the wheel."""
    with zipfile.ZipFile(built[1]) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def sdist(built) -> dict[str, bytes]:
    """The files of the sdist, without its top folder. A link is an empty file here."""
    with tarfile.open(built[0]) as archive:
        members = [member for member in archive.getmembers() if not member.isdir()]
        return {
            member.name.partition("/")[2]: archive.extractfile(member).read() if member.isfile() else b""
            for member in members
        }


def test_no_path_is_upstreams(wheel):
    assert [path for path in wheel if path in UPSTREAM or path.startswith(UPSTREAM_FOLDERS)] == []


def test_all_of_it_is_below_zuul_web(wheel):
    others = [path for path in wheel if not path.startswith(("zuul/web/", "zuul_rest-"))]
    assert others == []


def test_the_command_has_a_name_of_its_own(wheel):
    (entry_points,) = (text.decode() for path, text in wheel.items() if path.endswith("/entry_points.txt"))
    scripts = entry_points.partition("[console_scripts]\n")[2].partition("\n[")[0].split("\n")
    assert [line.partition(" ")[0] for line in scripts if line] == ["zuul-rest"]


def test_every_module_of_the_tree_is_in_the_wheel(wheel):
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "zuul").rglob("*.py")}
    assert modules - set(wheel) == set()
    assert {path for path in wheel if path.endswith(".py")} - modules == set()


@pytest.mark.parametrize("path", DATA)
@pytest.mark.parametrize("archive", ["wheel", "sdist"])
def test_data_is_there_with_its_content(request, archive, path):
    assert request.getfixturevalue(archive).get(path) == (ROOT / path).read_bytes()


def test_every_data_file_of_the_tree_is_in_the_wheel(wheel):
    folders = (ROOT / "zuul" / "web" / "dashboard", ROOT / "zuul" / "web" / "sandbox" / "scenarios")
    files = {str(path.relative_to(ROOT)) for folder in folders for path in folder.rglob("*") if path.is_file()}
    assert files - set(wheel) == set()
