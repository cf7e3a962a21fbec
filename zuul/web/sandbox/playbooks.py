# SPDX-License-Identifier: Apache-2.0
"""The whole output of a build: the executor's banners, and in between plays and tasks as Ansible shows them."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from random import Random

from zuul.web.sandbox import commands
from zuul.web.sandbox.queues import Build
from zuul.web.sandbox.terminal import Piece, blue, bold, cyan, green, red, yellow

CONFIG_PROJECT = "infra/project-config"
LONG_KEY = "AAAAB3NzaC1yc2EAAAADAQABAAABAQ" + "C7f0dGhlIHF1aWNrIGJyb3duIGZveCBqdW1wcyBvdmVyIHRoZSBsYXp5IGRvZw" * 4

Tasks = tuple[tuple[str, str], ...]
"""Names, and how they end on each node."""

LINES_PER_TASK = 30
"""A build has a task before and after its run for so many lines in all, as far as there are tasks."""

PRE_TASKS: Tasks = (
    ("set-zuul-log-path-fact : Set log path for a build", "ok"),
    ("validate-host : Collect information about the host", "changed"),
    ("prepare-workspace : Start the console daemon", "ok"),
    ("prepare-workspace : Synchronize the sources to the workspace", "changed"),
    ("add-build-sshkey : Create a temporary SSH key", "changed"),
    ("add-build-sshkey : Install the public key on all nodes", "changed"),
    ("configure-mirrors : Write the configuration of the package mirrors", "changed"),
    ("ensure-python : Install the interpreter", "ok"),
    ("bindep : Look for missing packages", "ok"),
    ("bindep : Install distro packages", "changed"),
)
POST_TASKS: Tasks = (
    ("fetch-output : Collect log output", "changed"),
    ("fetch-output : Collect artifacts", "ok"),
    ("merge-output-to-logs : Move artifacts and docs to the logs", "changed"),
    ("remove-build-sshkey : Remove the temporary SSH key", "changed"),
    ("ara-report : Generate the report of this build", "ok"),
)


class Playbooks:
    """Makes the output of one build, phase by phase, in about so many lines.

    All that varies comes from one source of randomness seeded by the build, so the phases have to be made
    in their order: `before`, `run`, `after`.
    """

    def __init__(self, build: Build, lines: int) -> None:
        self._build = build
        self._lines = lines
        self._rng = Random(build.uuid)
        self._hosts = tuple(build.job.nodes) or ("localhost",)
        self._recap: Counter[tuple[str, str]] = Counter()

    def before(self) -> Iterator[Piece]:
        """Up to the run; where a build is to be retried, up to what went wrong."""
        yield Piece("Job console starting...", 0)
        yield Piece("Updating repositories", 0.5)
        yield Piece("Preparing job workspace", 2)
        yield Piece("Running Ansible setup...", 1)
        lost = self._build.outcome in ("RETRY", "RETRY_LIMIT")
        playbooks = self._some_playbooks(self._build.job.pre_run) or ("playbooks/base/pre.yaml",)
        for playbook in playbooks:
            unreachable = lost and playbook == playbooks[-1]
            yield from self._banner("PRE-RUN START", playbook)
            yield from self._play("all")
            tasks: Tasks
            if playbook == playbooks[0]:
                yield from self._information()
                tasks = self._some(PRE_TASKS)
            else:
                tasks = self._some(((f"{playbook.split('/')[-2]} : Prepare the environment of the job", "changed"),))
            for name, status in tasks:
                yield from self._task(name)
                if "Synchronize" in name:
                    yield from self._synchronized()
                elif "Install distro" in name:
                    yield from self._said(commands.packages(self._rng, self._lines // 20))
                yield from self._statuses(status)
            if unreachable:
                yield from self._task("ensure-output-dirs : Create the folders of logs and artifacts")
                yield from self._unreachable()
            yield from self._end_of_play()
            yield from self._banner(f"PRE-RUN END {'RESULT_UNREACHABLE' if unreachable else 'RESULT_NORMAL'}", playbook)

    def run(self) -> Iterator[Piece]:
        """What the job is for; nothing if it did not come so far."""
        outcome = self._build.outcome
        if outcome in ("RETRY", "RETRY_LIMIT"):
            return
        playbook = (self._build.job.run or (f"playbooks/{self._build.job.name}/run.yaml",))[-1]
        kind = commands.kind_of(self._build.job.name)
        yield from self._banner("RUN START", playbook)
        yield from self._play(self._hosts[0] if len(self._hosts) == 1 else "all")
        if len(self._hosts) > 1:
            yield from self._task("multi-node-bridge : Join the nodes to one network")
            yield from self._statuses("changed")
        yield from self._task(kind.task)
        yield from self._said(kind.output(self._rng, self._build, max(self._lines * 3 // 4, 4)))
        host = self._hosts[0]
        if outcome == "TIMED_OUT":
            yield self._of(host, yellow("Terminated: the run took longer than the timeout of the job"), 6)
            yield from self._banner("RUN END RESULT_TIMED_OUT", playbook)
            return
        if outcome == "FAILURE":
            yield self._of(host, red("ERROR"), 0.3)
            yield self._of(host, red("{"), 0.02)
            delta = datetime.timedelta(seconds=commands.seconds_of(self._build))
            for line in (f'"delta": "{delta}",', '"msg": "non-zero return code",', '"rc": 1'):
                yield self._of(host, red(f"  {line}"), 0.02)
            yield self._of(host, red("}"), 0.02)
            self._recap[host, "failed"] += 1
        else:
            self._recap[host, "changed"] += 1
            self._recap[host, "ok"] += 1
            yield self._of(host, yellow("changed"), 0.4)
        yield from self._end_of_play()
        yield from self._banner("RUN END RESULT_NORMAL", playbook)

    def after(self) -> Iterator[Piece]:
        """Collecting logs; the end of it is the end of the log."""
        tasks: Tasks
        playbooks = self._some_playbooks(self._build.job.post_run) or ("playbooks/base/post.yaml",)
        for playbook in playbooks:
            last = playbook == playbooks[-1]
            folder = playbook.split("/")[-2]
            yield from self._banner("POST-RUN START", playbook)
            yield from self._play("localhost" if folder == "base" and last else "all")
            if folder != "base":
                tasks = ((f"fetch-{folder}-output : Collect the reports", "changed"),)
            else:
                tasks = () if last else self._some(POST_TASKS)
            for name, status in tasks:
                yield from self._task(name)
                yield from self._statuses(status)
            if last:
                yield from self._upload()
            yield from self._end_of_play()
            yield from self._banner("POST-RUN END RESULT_NORMAL", playbook)

    def _information(self) -> Iterator[Piece]:
        build, change = self._build, self._build.change
        yield from self._task("emit-job-header : Print job information")
        lines = [
            "# Job Information",
            "Ansible Version: 2.9.15",
            f"Job: {bold(build.job.name)}",
            f"Project: {bold(change.project.canonical_name)}",
            f"Pipeline: {build.pipeline}",
            f"Executor: {build.executor}",
            f"Triggered by: {blue(change.url or change.ref)}",
        ]
        if change.owner:
            lines.append(f"Owner: {change.owner['name']}")
        for number, line in enumerate(lines):
            yield Piece(line, 0.02 if number else 0.3)
        yield from self._task("emit-job-header : Print node information")
        for node, (host, label) in zip(build.nodes, build.job.nodes.items(), strict=False):
            yield self._of(host, green("ok:"))
            yield self._of(host, f"  Hostname: {label}-{node}", 0.02)
            yield self._of(host, f"  Label: {label}", 0.02)
            yield self._of(host, f"  Interface IP: 203.0.113.{self._rng.randrange(2, 250)}", 0.02)
            self._recap[host, "ok"] += 1

    def _synchronized(self) -> Iterator[Piece]:
        project = self._build.change.project
        host = self._hosts[0]
        yield self._of(host, f"{project.canonical_name} checked out at {self._build.change.branch}", 0.3)
        commit = f"{self._rng.getrandbits(40):010x}"
        yield self._of(host, f"HEAD is now at {yellow(commit)} {self._rng.choice(commands.SUBJECTS)}", 0.3)

    def _upload(self) -> Iterator[Piece]:
        build = self._build
        failed = build.outcome == "POST_FAILURE"
        yield from self._task("upload-logs : Upload the logs of this build")
        host = "localhost"
        for name, kilobytes in (("job-output.json.gz", 84), ("zuul-manifest.json", 3), ("zuul-info/inventory.yaml", 6)):
            size = f"{kilobytes * self._rng.uniform(0.5, 3):.1f} kB"
            yield self._of(host, f"  {name:<28}{size:>10}  {red('✗') if failed else green('✓')}", 0.5)
        if failed:
            yield self._of(host, red("failed: Connection to logs.example.com closed: no space left on device"), 2)
        else:
            yield self._of(host, f"{green('ok:')} 日誌已上傳 · logs uploaded · журналы загружены", 0.4)
        self._recap[host, "failed" if failed else "ok"] += 1

    def _unreachable(self) -> Iterator[Piece]:
        host = self._hosts[-1]
        yield self._of(host, red("UNREACHABLE! => {"), 8)
        message = f"Failed to connect to the host via ssh: Connection timed out; tried the key {LONG_KEY}"
        yield self._of(host, red(f'  "msg": "{message}",'), 0.02)
        yield self._of(host, red('  "unreachable": true'), 0.02)
        yield self._of(host, red("}"), 0.02)
        self._recap[host, "unreachable"] += 1

    # The shape of Ansible's output

    def _banner(self, step: str, playbook: str) -> Iterator[Piece]:
        text = f"{step}: [trusted : {CONFIG_PROJECT}/{playbook}@master]"
        good = "END" not in step or "NORMAL" in step
        yield Piece(cyan(text) if good else red(text), 0.5)

    def _play(self, hosts: str) -> Iterator[Piece]:
        yield Piece("", 0.3)
        yield Piece(bold(f"PLAY [{hosts}]"), 0.02)

    def _task(self, name: str) -> Iterator[Piece]:
        yield Piece("", 0.6)
        yield Piece(bold(f"TASK [{name}]"), 0.02)

    def _statuses(self, status: str) -> Iterator[Piece]:
        for host in self._hosts:
            yield self._of(host, green("ok") if status == "ok" else yellow("changed"), self._rng.uniform(0.5, 3))
            self._recap[host, "ok"] += 1
            self._recap[host, "changed"] += status == "changed"

    def _end_of_play(self) -> Iterator[Piece]:
        yield Piece("", 0.5)
        yield Piece(bold("PLAY RECAP"), 0.02)
        for host in dict.fromkeys(host for host, _ in self._recap):
            shown = []
            for status, colour in (("ok", green), ("changed", yellow), ("unreachable", red), ("failed", red)):
                count = self._recap[host, status]
                shown.append(colour(f"{status}: {count}") if count else f"{status}: 0")
            yield self._of(host, " ".join([*shown, "skipped: 0", "rescued: 0", "ignored: 0"]), 0.02)
        yield Piece("", 0.02)
        self._recap.clear()

    def _said(self, output: Iterable[Piece]) -> Iterator[Piece]:
        """Output of a command, which comes from the first node; of several, from one after another."""
        host = self._hosts[0]
        for piece in output:
            yield piece._replace(text=f"{host} | {piece.text}")
            if len(self._hosts) > 1 and piece.end == "\n" and self._rng.random() < 0.1:
                host = self._rng.choice(self._hosts)

    def _of(self, host: str, text: str, pause: float = 1.0) -> Piece:
        return Piece(f"{host} | {text}", pause)

    def _some_playbooks(self, paths: tuple[str, ...]) -> tuple[str, ...]:
        """The last one alone where a build is over before many lines could be read."""
        return paths[-1:] if self._lines < 2 * LINES_PER_TASK else paths

    def _some(self, tasks: Tasks) -> Tasks:
        return tasks[: max(self._lines // LINES_PER_TASK, 1)]
