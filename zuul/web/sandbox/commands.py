# SPDX-License-Identifier: Apache-2.0
"""What the command of a job prints: tests that pass, images that are pulled; and why it failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from zuul.web.sandbox.queues import Build
from zuul.web.sandbox.terminal import Piece, bold, burst, cyan, dim, green, magenta, progress, red, yellow

SUBJECTS = (
    "Merge “Retry on deadlock”",
    "Fix the naïve cache key",
    "文書の誤字を直す",
    "Remove six 🎉",
    "Use the résumé of the session",
    "Поправить перевод",
)
LIBRARIES = (
    "oslo.config",
    "requests",
    "PyYAML",
    "cryptography",
    "SQLAlchemy",
    "lxml",
    "eventlet",
    "netaddr",
    "stevedore",
)
DISTRO = (
    "build-essential curl gettext git graphviz jq libffi-dev libjpeg-dev libldap2-dev libpcre3-dev libpq-dev "
    "libsasl2-dev libssl-dev libvirt-dev libxml2-dev libxslt1-dev locales mysql-server pkg-config postgresql-12 "
    "python3-dev python3-venv qemu-utils rabbitmq-server sqlite3 tzdata uuid-runtime xz-utils zlib1g-dev"
)
PACKAGES = tuple(DISTRO.split())
MODULES = ("api", "auth", "cache", "compute", "db.models", "drivers.ceph", "i18n", "manager", "policy", "rpc", "utils")
WHAT = ("create", "delete", "list", "update", "resize", "rebuild", "attach", "rename", "filter", "lock", "migrate")
HOW = (
    "",
    "_with_invalid_input",
    "_is_idempotent",
    "_when_locked",
    "_over_quota",
    "_twice",
    "_as_admin",
    "[naïve café]",
    "[Zażółć gęślą jaźń]",
    "[日本語テスト]",
    "[한국어]",
    "[ユニコード-🦊]",
    "[👩‍🔬 e\u0301tude]",  # joined by a zero-width joiner, and an accent that combines
)
REASONS = (
    "AssertionError: 404 != 200",
    "AssertionError: 'café' != 'cafe\u0301'",
    "TimeoutError: no answer from the database within 30 s",
    "KeyError: 'flavor'",
)

Steps = Callable[[Random, Build, int], Iterator[Piece]]
Ending = Callable[[Random, Build, int], Iterator[Piece]]


@dataclass(frozen=True)
class Kind:
    """What jobs of a kind print, in so many lines: first the steps, then how it ended."""

    names: str
    """A regular expression for the names of such jobs."""
    task: str
    steps: Steps
    passed: Ending
    failed: Ending

    def output(self, rng: Random, build: Build, lines: int) -> Iterator[Piece]:
        """Nothing after the steps where the build was ended from outside."""
        yield from self.steps(rng, build, lines)
        if build.outcome == "FAILURE":
            yield from self.failed(rng, build, lines)
        elif build.outcome != "TIMED_OUT":
            yield from self.passed(rng, build, lines)


def kind_of(job: str) -> Kind:
    """The first kind whose names fit; the last one fits all."""
    return next(kind for kind in KINDS if re.search(kind.names, job))


def packages(rng: Random, lines: int) -> Iterator[Piece]:
    """Packages of the system that are installed."""
    for number, package in enumerate(rng.sample(PACKAGES, min(lines, len(PACKAGES)))):
        version = f"{rng.randrange(1, 9)}.{rng.randrange(20)}-{rng.randrange(1, 5)}ubuntu0.{rng.randrange(9)}"
        address = "http://mirror.example.com/ubuntu focal-updates/main"
        size = f"{rng.uniform(4, 9000):,.1f} kB"
        yield Piece(f"Get:{number + 1} {address} amd64 {package} amd64 {version} [{size}]", rng.uniform(0.05, 0.6))


def _requirements(rng: Random, lines: int) -> Iterator[Piece]:
    for library in rng.sample(LIBRARIES, min(max(lines // 16, 1), len(LIBRARIES))):
        version = f"{rng.randrange(1, 9)}.{rng.randrange(30)}.{rng.randrange(9)}"
        yield Piece(f"Collecting {library}>={version}", 0.8)
        yield Piece(f"  Downloading {library.replace('.', '_')}-{version}-py3-none-any.whl", 0.3)
        yield from progress(rng, "    ", rng.uniform(0.4, 30), 4)
    if lines > 100:
        pinned = " ".join(f"{name}=={rng.randrange(1, 9)}.{rng.randrange(30)}" for name in LIBRARIES * 6)
        yield Piece(f"Successfully installed {pinned}", 3)  # the long line of each log


def _tests(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    name = build.job.name.rpartition("-")[2]
    yield Piece(f"{bold(name)} create: /home/zuul/src/{build.change.project.name}/.tox/{name}")
    yield from _requirements(rng, lines)
    count = max(lines * 3 // 4, 2)
    yield Piece(bold("=" * 24 + " test session starts " + "=" * 24), 3)
    yield from burst(
        "platform linux -- Python 3.8.5, pytest-6.1.2, py-1.9.0 -- /usr/bin/python3", f"collected {count} items"
    )
    for number in range(1, count + 1):
        share = cyan(f"[{100 * number // count:3d}%]")
        luck = rng.random()
        status = yellow("SKIPPED") if luck < 0.02 else yellow("XFAIL") if luck < 0.025 else green("PASSED")
        yield Piece(f"{_test(rng)} {status} {share}", _tempo(rng))


def _tests_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    if "cover" in build.job.name:
        yield from burst(bold("Name                                Stmts   Miss  Cover"), "-" * 55)
        for module in MODULES:
            total, missing = rng.randrange(40, 900), rng.randrange(30)
            share = f"{100 - 100 * missing // total}%"
            yield Piece(f"{module.replace('.', '/') + '.py':<36}{total:>5}{missing:>7}{share:>7}", 0.05)
    yield Piece(
        green(f"{'=' * 18} {bold(f'{lines * 3 // 4} passed')}{green(f' in {seconds_of(build):.2f}s')} {'=' * 18}"), 2
    )
    yield Piece(green("  congratulations :) ✨"), 0.5)


def _tests_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    test, reason = _test(rng), rng.choice(REASONS)
    yield from burst(f"{test} {red('FAILED')}", "", "=" * 33 + " FAILURES " + "=" * 33)
    yield from burst(
        red(bold(f"{'_' * 20} {test.rpartition('::')[2]} {'_' * 20}")),
        f"    def {test.rpartition('::')[2].partition('[')[0]}(self):",
        "        server = self.create_server(name='zażółć')",
        bold(">       self.assertEqual(expected, self.api.show(server.id))"),
        red(f"E       {reason}"),
        "",
        f"{test.partition('::')[0]}:{rng.randrange(20, 900)}: {red(reason.partition(':')[0])}",
        "=" * 25 + " short test summary info " + "=" * 25,
        f"{red('FAILED')} {test} - {reason}",
        red(f"{'=' * 14} {bold('1 failed')}{red(f', {lines * 3 // 4} passed in {seconds_of(build):.2f}s')} {'=' * 14}"),
    )


def _lint(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from _requirements(rng, lines // 2)
    yield Piece(f"Checking {bold(build.change.project.name)}", 2)
    for _ in range(max(lines * 2 // 3, 2)):
        yield Piece(f"{green('✓')} {_file(rng)}", _tempo(rng))


def _lint_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield Piece(green(bold("All checks passed!")) + " ✨ 🍰 ✨")


def _lint_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    file = _file(rng)
    length = rng.randrange(121, 140)
    yield from burst(
        f"{bold(file)}:{rng.randrange(300)}:121: {red('E501')} line too long ({length} > 120 characters)",
        "    message = _('Die Übersetzung ist länger, als es eine Zeile in diesem Projekt sein darf: %(name)s')",
        f"{bold(file)}:{rng.randrange(300)}:1: {red('F401')} 'os' imported but unused",
        red("Found 2 errors."),
    )


def _docs(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from _requirements(rng, lines)
    yield Piece(bold("Running Sphinx v3.3.1"), 2)
    pages = max(lines * 3 // 8, 2)
    for verb, colour in (("reading sources", magenta), ("writing output", green)):
        for number in range(1, pages + 1):
            page = f"{rng.choice(('admin', 'user', 'contributor', '日本語', 'français'))}/{rng.choice(MODULES)}"
            yield Piece(f"{verb}... [{100 * number // pages:3d}%] {colour(page)}", _tempo(rng))


def _docs_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from burst("build succeeded.", "", "The HTML pages are in doc/build/html.")


def _docs_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    where = f"doc/source/admin/{rng.choice(MODULES)}.rst:{rng.randrange(300)}"
    yield from burst("", red("Warning, treated as error:"), red(f"{where}: Unknown target name: “getting started”."))


def _image(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield Piece(f"Sending build context to Docker daemon  {rng.uniform(1, 90):.2f}MB")
    steps = max(min(lines // 12, 16), 2)
    share = max(lines // steps - 2, 1)
    for step in range(1, steps + 1):
        doing = DOCKERFILE[(step - 1) % len(DOCKERFILE)]
        yield Piece(bold(f"Step {step}/{steps} : {doing.format(build.change.project.name)}"), 2)
        if doing.startswith("FROM"):
            for _ in range(max(share // 7, 1)):
                layer = f"{rng.getrandbits(48):012x}"
                yield from progress(rng, f"{layer}: Downloading", rng.uniform(2, 180))
                yield Piece(f"{layer}: Pull complete", 0.2)
        elif doing.startswith("RUN apt"):
            yield from packages(rng, share)
        elif doing.startswith("RUN pip"):
            yield from _requirements(rng, share)
        elif doing.startswith("RUN make"):
            for _ in range(share):
                yield Piece(f"  CC    {_file(rng).removesuffix('.py')}.o", rng.uniform(0.05, 0.8))
        yield Piece(f" ---> {cyan(f'{rng.getrandbits(48):012x}')}", 0.6)


DOCKERFILE = (
    "FROM docker.io/library/python:3.8-slim",
    "RUN apt-get update && apt-get install --yes -f /bindep.txt",
    "COPY . /src/{0}",
    "RUN make -C /src/{0} -j8",
    "RUN pip install -r /src/{0}/requirements.txt",
    "ENV LANG=C.UTF-8",
)


def _image_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    image = build.change.project.name.replace(".", "-")
    yield Piece(f"Successfully built {cyan(f'{rng.getrandbits(48):012x}')} 🐳")
    yield Piece(f"Successfully tagged registry.example.com:5000/{image}:{build.change.number or 'latest'}", 0.3)
    if "upload" in build.job.name:
        yield from progress(rng, "Pushing", rng.uniform(50, 400))
    elif "test" in build.job.name:
        yield from burst("GET /healthz", green("200 OK — the container is healthy ♥"))


def _registry_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield Piece(green("registry_1  | level=info msg=“listening on [::]:5000, tls”"), 2)


def _image_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    package = rng.choice(PACKAGES)
    yield from burst(
        red(f"E: Failed to fetch http://mirror.example.com/ubuntu/pool/main/{package}.deb  503 Service Unavailable"),
        f"The command '/bin/sh -c apt-get install -y {package}' returned a non-zero code: {red('100')}",
    )


def _services(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    deployed = lines // 3
    for number in range(max(deployed, 2)):
        if number % 25 == 0:
            yield Piece(bold(f"==> Deploying {SERVICES[number // 25 % len(SERVICES)]}"), 4)
        yield Piece(f"{dim('+')} {rng.choice(DEPLOYING).format(rng.randrange(1, 250))}", _tempo(rng))
    yield Piece(green("All services are up ✔"), 5)
    for _ in range(max(lines - deployed, 2)):
        yield Piece(f"{_scenario(rng)} [{rng.expovariate(0.2):.6f}s] ... {green('ok')}", _tempo(rng))


SERVICES = ("database", "messaging", "identity", "image", "compute", "network", "volume", "dashboard")
DEPLOYING = (
    "openstack service create --name=svc{0} --description 'Dienst für Prüfungen'",
    "sudo systemctl enable --now devstack@api-{0}.service",
    "wait_for_service 60 http://203.0.113.{0}/healthz",
    "iniset /etc/service/service.conf database connection mysql+pymysql://root@127.0.0.1/db{0}?charset=utf8",
    "sudo ip route add 10.{0}.0.0/16 dev br-ex",
    "db_sync: upgrade -> {0:03d}",
)


def _services_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from burst("", bold("====== Totals ======"), f"Ran: {lines * 2 // 3} tests in {seconds_of(build):.2f} sec.")
    yield from burst(green(f" - Passed: {lines * 2 // 3}"), " - Skipped: 0", " - Failed: 0")


def _services_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from burst(
        f"{_scenario(rng)} [300.021837s] ... {red('FAILED')}",
        "    Traceback (most recent call last):",
        f'      File "/opt/stack/tempest/common/waiters.py", line {rng.randrange(900)}, in wait_for_server_status',
        red("    tempest.lib.exceptions.TimeoutException: Server 例-1 failed to reach ACTIVE within 300 s"),
        f" - Passed: {lines * 2 // 3}",
        red(" - Failed: 1"),
    )


def _go(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    for number in range(max(lines // 2, 2)):
        if number % 12 == 0:
            yield Piece(
                f"{green('ok')}  \tgithub.com/{build.change.project.name}/{rng.choice(MODULES)}\t{rng.random():.3f}s"
            )
        test = f"Test{rng.choice(WHAT).title()}/{rng.choice(('empty', 'größer', '漢字', 'retry', 'parallel'))}"
        yield Piece(f"=== RUN   {test}", _tempo(rng))
        yield Piece(f"{green('--- PASS:')} {test} ({rng.random():.2f}s)", 0.3)


def _go_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield Piece(green("PASS") + " — 0 races found")


def _go_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    file = f"{rng.choice(WHAT)}_test.go:{rng.randrange(400)}"
    yield from burst(
        red("--- FAIL: TestConcurrentUpdate (0.13s)"), f"    {file}: got “größer”, want “kleiner”", red("FAIL")
    )


def _npm(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from progress(rng, "fetching packages 📦", rng.uniform(20, 200), max(min(lines // 6, 12), 2))
    for number in range(max(lines * 4 // 5, 2)):
        if number % 9 == 0:
            yield Piece(
                f"\x1b[42m\x1b[30m PASS \x1b[0m src/{dim(rng.choice(MODULES) + '/')}{bold('index.test.jsx')}", 2
            )
        what = rng.choice(("renders", "sorts", "filters", "translates (Ελληνικά)", "escapes “<b>”", "shows 🦄"))
        yield Piece(
            f"  {green('✓')} {dim(f'{what} the {rng.choice(WHAT)} dialog ({rng.randrange(1, 90)} ms)')}", _tempo(rng)
        )


def _npm_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from burst(
        "", f"{bold('Tests:')}  {green(f'{lines * 4 // 5} passed')}", f"{bold('Time:')}   {seconds_of(build):.2f} s"
    )


def _npm_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield from burst(
        f"  {red('✕')} keeps the selection (21 ms)",
        red("  ● expect(received).toEqual(expected)"),
        f"    Expected: {green('“日本”')}",
        f"    Received: {red('“にほん”')}",
        red("npm ERR! Test failed.  See above for more details."),
    )


def _work(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    for number in range(1, max(lines, 2) + 1):
        if number % 20 == 10:
            yield from progress(rng, "Transferring", rng.uniform(1, 60), 5)
        share = cyan(f"[{100 * number // max(lines, 2):3d}%]")
        yield Piece(f"{share} {rng.choice(('Reading', 'Checking', 'Sending'))} {_file(rng)}", _tempo(rng))


def _work_passed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield Piece(green(f"{build.job.name}: done ✔"))


def _work_failed(rng: Random, build: Build, lines: int) -> Iterator[Piece]:
    yield Piece(red(f"{build.job.name}: {_file(rng)}: the remote end refused “{rng.choice(SUBJECTS)}”"))


def _test(rng: Random) -> str:
    module = rng.choice(MODULES)
    case = "".join(part.title() for part in re.split(r"\W", module))
    how = rng.choice(HOW if rng.random() < 0.15 else HOW[:7])
    return f"tests/unit/test_{module.replace('.', '_')}.py::{case}Test::test_{rng.choice(WHAT)}{how}"


def _scenario(rng: Random) -> str:
    """A test as the runner of the integration tests shows it, with its worker."""
    file, case, test = _test(rng).removeprefix("tests/unit/").split("::")
    return f"{{{rng.randrange(4)}}} tempest.api.{file.removesuffix('.py')}.{case}.{test}"


def _file(rng: Random) -> str:
    name = rng.choice(WHAT) if rng.random() < 0.95 else rng.choice(("größe", "Übersicht", "設定", "naïve"))
    return f"{rng.choice(MODULES).replace('.', '/')}/{name}.py"


def _tempo(rng: Random) -> float:
    """Mostly steady, sometimes a burst, now and then a wait."""
    luck = rng.random()
    return 0.03 if luck < 0.3 else rng.uniform(8, 20) if luck > 0.99 else rng.expovariate(1)


def seconds_of(build: Build) -> float:
    """How long the command took."""
    return ((build.pauses_at or build.ends) - build.starts) * 0.7


KINDS = (
    Kind(r"pep8|lint|syntax", "lint : Check the style", _lint, _lint_passed, _lint_failed),
    Kind(r"registry", "run-buildset-registry : Start the registry", _image, _registry_passed, _image_failed),
    Kind(r"image|container", "build-container-image : Build the image", _image, _image_passed, _image_failed),
    Kind(r"docs", "sphinx : Build the documentation", _docs, _docs_passed, _docs_failed),
    Kind(r"tox|py\d|unit|cover|constraints", "tox : Run the tests", _tests, _tests_passed, _tests_failed),
    Kind(
        r"integration|functional|upgrade",
        "run-tempest : Deploy and test",
        _services,
        _services_passed,
        _services_failed,
    ),
    Kind(r"^go-", "go : Run the tests", _go, _go_passed, _go_failed),
    Kind(r"npm|yarn|js", "npm : Run the script", _npm, _npm_passed, _npm_failed),
    Kind(r"", "shell : Run the job's command", _work, _work_passed, _work_failed),
)
