# SPDX-License-Identifier: Apache-2.0
"""The rules of the layout, over the syntax trees: imports point down, and each library has its one place."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "zuul" / "web"

FLOORS = {
    "entry": (
        "application",
        "wsgi",
        "server",
        "channel",
        "cli",
        "check",
        "openapi",
        "tail",
        "build_url",
        "event_source",
    ),
    "controllers": ("controllers", "streaming", "sandbox", "site", "documentation"),
    "expose": (
        "negotiation",
        "origins",
        "expose",
        "hooks",
        "filters",
        "urls",
        "bodies",
        "audit",
        "collections",
        "queries",
        "rendering",
        "renderings",
        "snapshots",
        "sharing",
        "tables",
    ),
    "backends": ("backends", "resources", "auth"),
    "errors": ("errors", "settings", "rules"),
}
"""From top to bottom. A module may import from its own floor and from those below."""

OWNERS = {
    "gear": ("backends/rpc/gearman_link.py", "backends/rpc/gearman_worker.py"),
    "kazoo": ("backends/nodepool/", "backends/rpc/zookeeper.py"),
    "prettytable": ("tables.py",),
    "sqlalchemy": ("backends/history/", "backends/spool.py", "sandbox/database.py", "sandbox/history.py"),
    "twisted": ("server.py", "channel.py", "streaming/", "backends/finger.py"),
    "autobahn": ("streaming/",),
    "pecan": ("expose.py", "hooks.py", "urls.py", "controllers/root.py"),
    "wsme": ("expose.py", "resources/"),
    "wsme.types": (
        "expose.py",
        "bodies.py",
        "queries.py",
        "collections.py",
        "rendering.py",
        "resources/",
        "controllers/",
        "openapi/",
    ),
}
"""Who may import a library, as a file or a folder. The longest name that fits counts."""

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))

every_module = pytest.mark.parametrize("module", MODULES)


def imports_of(source: str) -> set[str]:
    """Full names of what a module imports, wherever in it. `from a import b` is `a.b`."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def imports(module: str) -> set[str]:
    return imports_of((PACKAGE / module).read_text())


def place(name: str) -> str:
    """`backends` of `zuul.web.backends.rpc.local.LocalTransport`, or of `backends/rpc/local.py`."""
    return name.removeprefix("zuul.web.").replace("/", ".").removesuffix(".py").split(".")[0]


def floor(name: str) -> int:
    """0 is the top."""
    for number, places in enumerate(FLOORS.values()):
        if place(name) in places:
            return number
    raise AssertionError(f"{name} is on no floor: give it one in FLOORS")


def owners(library: str) -> tuple[str, ...] | None:
    fitting = [name for name in OWNERS if f"{library}.".startswith(f"{name}.")]
    return OWNERS[max(fitting, key=len)] if fitting else None


def test_there_are_modules_to_look_at():
    assert {"errors.py", "backends/rpc/gearman.py", "controllers/api.py"} <= set(MODULES)


def test_imports_are_found_wherever_they_are():
    source = "import a.b\ndef f():\n    from c.d import e, g as h\nif x:\n    import i as j, k"

    assert imports_of(source) == {"a.b", "c.d.e", "c.d.g", "i", "k"}


@every_module
def test_imports_point_down(module):
    upward = {name for name in imports(module) if name.startswith("zuul.web.") and floor(name) < floor(module)}

    assert not upward


@every_module
def test_nothing_of_upstreams_is_imported(module):
    assert not {name for name in imports(module) if name.split(".")[0] == "zuul" and not name.startswith("zuul.web.")}


@every_module
def test_a_library_has_its_place(module):
    misplaced = {
        library
        for library in imports(module)
        if (allowed := owners(library)) is not None and not module.startswith(allowed)
    }

    assert not misplaced


@every_module
def test_only_the_entry_and_the_sandbox_itself_know_the_sandbox(module):
    if place(module) not in ("sandbox", *FLOORS["entry"]):
        assert not {name for name in imports(module) if name.startswith("zuul.web.sandbox")}


def test_the_sandbox_knows_the_tier_by_its_transports_alone():
    known = {
        name
        for module in MODULES
        if place(module) == "sandbox"
        for name in imports(module)
        if name.startswith("zuul.web.") and place(name) != "sandbox"
    }

    assert all(name.startswith("zuul.web.backends.rpc.") for name in known)


@pytest.mark.parametrize("name", ["__init__.py", "../__init__.py", "handler.py", "logutil.py", "static"])
def test_no_file_has_the_name_of_one_of_upstreams(name):
    assert not (PACKAGE / name).exists()


@every_module
def test_a_module_says_its_licence(module):
    source = (PACKAGE / module).read_text()

    assert not source or source.startswith("# SPDX-License-Identifier: Apache-2.0\n")
