# SPDX-License-Identifier: Apache-2.0
"""The logs of builds: what they say when, and how they end."""

from __future__ import annotations

import dataclasses
import itertools
import re
import unicodedata

import pytest

from zuul.web.sandbox import console
from zuul.web.sandbox.commands import KINDS, kind_of
from zuul.web.sandbox.console import Console, Consoles
from zuul.web.sandbox.scenario import load
from zuul.web.sandbox.scheduler import SandboxScheduler

SCENARIO = load(None)
NOW = 1_600_000_000.0
END = float("inf")
OUTCOMES = ("SUCCESS", "FAILURE", "POST_FAILURE", "TIMED_OUT", "RETRY", "RETRY_LIMIT")


def builds_at(speed):
    """One build of each job that runs."""
    simulation = SandboxScheduler(SCENARIO, speed=speed, clock=lambda: NOW)._simulation
    return {build.job.name: build for build in simulation.builds.values() if build.ends > build.starts}


BUILDS = builds_at(1)
FAST_BUILDS = builds_at(100)

each_job = pytest.mark.parametrize("job", sorted(BUILDS))


def lasting(build, seconds):
    return dataclasses.replace(build, ends=build.starts + seconds, pauses_at=None)


def plain(text):
    """Without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", text.decode())


def moments(build, count=50):
    return [build.starts + (build.ends - build.starts) * n / count for n in range(count + 1)]


@each_job
@pytest.mark.parametrize("builds", [BUILDS, FAST_BUILDS], ids=["real time", "100 times as fast"])
def test_what_was_said_is_the_beginning_of_what_is_said_later(builds, job):
    build = builds.get(job) or BUILDS[job]
    log = Console(build)
    assert log.text_until(build.starts - 0.001) == b""
    texts = [log.text_until(moment) for moment in moments(build)]
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
    assert len({len(text) for text in texts}) > 10
    assert texts[-1] == log.text_until(END)


@each_job
def test_the_log_is_made_anew_to_the_byte(job):
    build = BUILDS[job]
    assert Console(dataclasses.replace(build)).text_until(END) == Console(build).text_until(END)


@each_job
@pytest.mark.parametrize("outcome", OUTCOMES)
def test_every_moment_is_valid_utf8_in_lines_with_their_time(job, outcome):
    build = lasting(dataclasses.replace(BUILDS[job], outcome=outcome), 600)
    log = Console(build)
    for moment in moments(build, 20):
        log.text_until(moment).decode()
    text = plain(log.text_until(END))
    assert text.endswith("\n")
    lines = re.split("[\r\n]", text)[:-1]
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} \| .*", line) for line in lines)
    assert [line[:26] for line in lines] == sorted(line[:26] for line in lines)


@each_job
def test_colours_are_switched_off_in_their_own_line(job):
    for line in Console(BUILDS[job]).text_until(END).decode().splitlines():
        assert not line.rpartition("\x1b[")[1] or line.rpartition("\x1b[")[2].startswith("0m")


@pytest.mark.parametrize(
    ("outcome", "said", "unsaid"),
    [
        ("SUCCESS", ["passed", "RUN END RESULT_NORMAL", "logs uploaded"], ["failed: 1", "FAILED"]),
        ("FAILURE", ["FAILED", '"msg": "non-zero return code"', "failed: 1", "logs uploaded"], ["congratulations"]),
        ("POST_FAILURE", ["congratulations", "no space left on device", "failed: 1"], ["logs uploaded"]),
        ("TIMED_OUT", ["timeout of the job", "RUN END RESULT_TIMED_OUT", "logs uploaded"], ["congratulations"]),
        ("RETRY", ["UNREACHABLE!", "unreachable: 1", "PRE-RUN END RESULT_UNREACHABLE"], ["| RUN START", "POST-RUN"]),
        ("RETRY_LIMIT", ["UNREACHABLE!", "unreachable: 1"], ["| RUN START", "POST-RUN"]),
    ],
)
def test_a_log_ends_as_its_build_does(outcome, said, unsaid):
    text = plain(Console(dataclasses.replace(BUILDS["tox-py38"], outcome=outcome)).text_until(END))
    assert [part for part in said if part not in text] == []
    assert [part for part in unsaid if part in text] == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.task)
def test_a_failure_is_known_by_its_reason(kind):
    """The same build that passed says all the same up to there."""
    job = next((name for name in sorted(BUILDS) if kind_of(name) is kind), None)
    build = lasting(BUILDS[job or "tox-py38"], 300)
    if job is None:  # none of these runs at the moment
        build = dataclasses.replace(build, job=dataclasses.replace(build.job, name="propose-updates"))
    passed, failed = (
        [line.partition(b" | ")[2] for line in Console(one).text_until(END).splitlines()]
        for one in (dataclasses.replace(build, outcome=outcome) for outcome in ("SUCCESS", "FAILURE"))
    )
    common = next(n for n, (one, other) in enumerate(zip(passed, failed, strict=False)) if one != other)
    assert common > len(passed) / 2
    assert any(b"\x1b[31m" in line for line in failed[common : common + 5])


def test_every_job_of_the_scenario_has_its_own_kind_of_log():
    """Up to those that are like no other."""
    others = {name for name in SCENARIO.tenants["example"].jobs if kind_of(name) is KINDS[-1]}
    assert others == {"base", "base-minimal", "noop", "propose-updates", "publish-package", "select-tests"}


@pytest.mark.parametrize(("seconds", "lines"), [(30, 150), (600, 900), (3600, 5000), (86_400, 5500), (10**7, 5500)])
@each_job
def test_a_log_is_bounded_however_long_its_build_takes(job, seconds, lines):
    text = Console(lasting(BUILDS[job], seconds)).text_until(END)
    assert len(re.split(b"[\r\n]", text)) < lines
    assert len(text) < 200 * lines


def test_a_build_of_an_hour_says_some_thousand_lines():
    text = Console(lasting(BUILDS["tox-py38"], 3600)).text_until(END)
    assert 2000 < text.count(b"\n") < 5000


def test_there_are_characters_of_all_kinds_progress_bars_and_long_lines():
    text = b"".join(Console(lasting(build, 2000)).text_until(END) for build in BUILDS.values()).decode()
    assert {len(character.encode()) for character in set(text)} == {1, 2, 3, 4}
    assert any(unicodedata.combining(character) for character in set(text))
    assert "\r" in text
    assert max(map(len, text.splitlines())) > 500


def test_the_header_names_job_project_and_node():
    build = BUILDS["integration-multinode"]
    text = plain(Console(build).text_until(END))
    for part in (build.job.name, build.change.project.canonical_name, build.change.url, build.executor, build.nodes[2]):
        assert part in text
    assert all(f" | {host} | " in text for host in ("controller", "compute1", "compute2"))


def test_a_build_that_pauses_says_so_and_goes_on_later():
    build = lasting(BUILDS["buildset-registry"], 90)
    paused = dataclasses.replace(build, pauses_at=build.ends)
    text = Console(paused).text_until(END)
    assert plain(text).endswith("Job paused\n")
    assert b"POST-RUN" not in text
    resumed = dataclasses.replace(paused, resumed_at=build.ends + 500, ends=build.ends + 508)
    log = Console(resumed)
    assert log.text_until(build.ends + 499) == text
    assert plain(log.text_until(END).removeprefix(text)).splitlines()[0].endswith("Job resumed")
    assert log.text_until(build.ends + 508) == log.text_until(END)
    assert b"logs uploaded" in log.text_until(END)


def test_readers_share_a_console_and_only_the_last_ones_are_kept(monkeypatch):
    monkeypatch.setattr(console, "KEPT", 2)
    consoles = Consoles()
    one, *others = (lasting(build, 5) for build in list(BUILDS.values())[:4])
    held = consoles.of(one)
    for other in others:
        consoles.of(other)
    assert consoles.of(one) is held
    assert len(consoles._last) == 2
    assert len(consoles._all) == 2
