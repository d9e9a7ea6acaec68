"""PLAYBOOK.md is done as it is written: every command of it, in its order, against a demo stand with traffic on the real Envoy.

The models' own ledgers say when the canary was asked for the last time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from extproc import spec as spec_room
from extproc.demo import family
from extproc.demo.population import population
from extproc.demo.processes import Child
from extproc.demo.traffic import TrafficSettings
from extproc.domain import Spec
from extproc.plan.playbook import files
from tests.support.standing import CHAT, Standing, standing

NAME, STABLE = "gpt-5-mini", "gpt-5"
PROMISED = 30.0
"""Seconds from the first key that is pressed to the canary's last request."""
RATE = 30.0
PATIENCE = 90.0
pytestmark = pytest.mark.timeout(400)
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:\nIt prints:\n\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)


@dataclass
class Done:
    """One command, and what it came to."""

    command: str
    prints: str
    said: str
    code: int


@dataclass
class Section:
    """A section whose commands were all done."""

    title: str
    done: list[Done]
    begun: float
    """Unix seconds."""
    asked_before: float | None
    """When the canary had been asked for the last time before, and, of all, after it."""
    last_asked: float | None = None
    seen: dict[str, Any] = field(default_factory=dict)


PEOPLE = 400
LOOKS = ("extproc status", "extproc doctor", "extproc journal")
"""What changes nothing."""


def sections(page: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, commands with what they print), in the order written; sections without a command are left out."""
    parts = re.split(r"^#{2,3} (.*)$", page, flags=re.MULTILINE)[1:]
    found = [
        (title, [(command.strip(), prints.strip()) for command, prints in BLOCK.findall(text)])
        for title, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    return [(title, commands) for title, commands in found if commands]


def as_pattern(prints: str) -> str:
    """What is written, with any number in place of N."""
    return re.sub(r"\bN\b", r"\\d+", re.escape(prints))


class Desk:
    """Somebody at a shell on the machine, and the state of affairs in which each section is opened."""

    def __init__(self, served: Standing, directory: Path) -> None:
        self.served = served
        self.directory = directory
        self.spec: Spec = spec_room.read(str(served.spec))
        self.page = files(self.spec)["PLAYBOOK.md"]
        commands = directory / "bin"
        commands.mkdir()
        shim = commands / "extproc"
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m extproc "$@"\n')
        shim.chmod(0o755)
        where = {"EXTPROC_API": f"http://127.0.0.1:{served.ports.api}", "EXTPROC_STORE": f"sqlite:{served.directory}/extproc.db"}
        self._environment = {**os.environ, **where, "PATH": f"{commands}:{os.environ['PATH']}", "NO_PROXY": "*", "COLUMNS": "200"}
        # The image's user, and that of the machine, has the automation's name.
        self._environment |= {"LOGNAME": "extproc", "USER": "extproc", "EXTPROC_ACTOR": "", "SUDO_USER": ""}
        self.frozen = 0
        self._looked: set[str] = set()
        (directory / "users.txt").write_text("".join(f"{person.id}\n" for person in population(PEOPLE, 1, 0.0)))
        before: Mapping[str, Callable[[], None]] = {
            f"Take {NAME} back": lambda: self.stand_at("50%"),
            f"Switch {NAME} off in Envoy": self.lose_the_controller,
            f"Hand {NAME} back to extproc": self.find_the_controller,
            "Not further": lambda: self.stand_at("100%"),
            "Another attempt": lambda: self.act("rollback"),
        }
        self._before = before

    def type(self, command: str) -> subprocess.CompletedProcess[str]:
        """A command, as it stands in the page."""
        return subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, timeout=150, env=self._environment, cwd=self.directory
        )

    def read(self) -> list[Section]:
        """The whole page, once."""
        return [self._section(title, commands) for title, commands in sections(self.page)]

    def _section(self, title: str, commands: list[tuple[str, str]]) -> Section:
        self._before.get(title, lambda: None)()
        made = Section(title, [], time.time(), self.last_asked())
        for command, prints in commands:
            if command.startswith(LOOKS):
                # Alerts look at the same things: once is enough.
                if command in self._looked:
                    continue
                self._looked.add(command)
            done = self.type(command)
            made.done.append(Done(command, prints, done.stdout + done.stderr, done.returncode))
        made.last_asked = self.last_asked()
        made.seen = {"open": self.served.ledger(NAME)["open"]}
        return made

    def last_asked(self) -> float | None:
        found: float | None = self.served.ledger(NAME)["last_request"]
        return found

    # ---------------------------------------------------------------------------------------------------------- states of affairs
    def act(self, action: str, **options: str) -> None:
        self.served.api("POST", f"/v1/rollouts/{NAME}/{action}", json={"why": "so the section begins", **options})

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.served.api("GET", "/v1/status")["rollouts"][NAME]
        return found

    def stand_at(self, phase: str) -> None:
        """Progressing in a phase, and the canary is asked."""
        if self.status()["status"] in ("pending", "rolled_back"):
            self.act("start")
        while self.status()["phase"] != phase:
            self.act("promote")
        self.until(lambda: time.time() - (self.last_asked() or 0.0) < 0.3)

    def lose_the_controller(self) -> None:
        """It stands still in the midst of a rollout."""
        self.stand_at("50%")
        assert self.served.serving is not None
        self.frozen = family.controller(self.served.serving.process.pid)
        os.kill(self.frozen, signal.SIGSTOP)

    def find_the_controller(self) -> None:
        os.kill(self.frozen, signal.SIGCONT)
        self.until(lambda: not self.served.api("GET", "/v1/status").get("stale"))

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(httpx.HTTPError):
                if holds():
                    return
            time.sleep(0.1)
        raise AssertionError("it did not come to that in time")


def _slow(document: dict[str, Any]) -> None:
    """Nothing moves by itself but what is bad, and no lease ends while it is looked. Two cohorts and three phases show what more would."""
    document["application"]["watch_lease"] = "5m"
    rollout = document["rollouts"][NAME]
    rollout["start"] = "manual"
    rollout["cohorts"] = [one for one in rollout["cohorts"] if one["name"] != "new-zealand"]
    rollout["phases"] = [phase for phase in rollout["phases"] if phase["share"] in ("1%", "50%", "100%")]
    for phase in rollout["phases"]:
        phase["min_dwell"] = "10m"


def traffic(served: Standing) -> Child:
    """People who ask all the time; they do not wait for each other."""
    url = f"http://127.0.0.1:{served.ports.listener}{CHAT}"
    settings = TrafficSettings(url, RATE, NAME, STABLE, people=PEOPLE, streaming=0.0)
    command = [sys.executable, "-m", "extproc.demo.traffic"]

    async def begin() -> Child:
        child = await served.processes.start("traffic", command)
        await child.tell(asdict(settings))
        return child

    found: Child = served.run(begin())
    return found


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A stand under traffic, and its playbook."""
    with standing(_slow) as served:
        traffic(served)
        yield Desk(served, tmp_path_factory.mktemp("desk"))


@pytest.fixture(scope="module")
def story(desk: Desk) -> dict[str, Section]:
    """Every section of the playbook, done."""
    return {section.title: section for section in desk.read()}


def test_every_command_works_and_prints_what_is_written(story: dict[str, Section]) -> None:
    """In the order written; N is any number."""
    assert len(story) >= 10
    for section in story.values():
        for done in section.done:
            where = f"{section.title}: {done.command}\n{done.said}"
            # The doctor finds that this stand listens elsewhere than it was told, and says so by its exit code.
            assert done.code == 0 or done.command.startswith("extproc doctor"), where
            assert "Traceback" not in done.said, where
            if done.prints:
                assert re.fullmatch(as_pattern(done.prints), done.said.strip()), where


def test_instant_with_the_controller(story: dict[str, Section]) -> None:
    """From the first key to the canary's last request at most 30 s, by its ledger; it was asked until then."""
    _instant(story[f"Take {NAME} back"])


def test_a_person_is_no_automation(story: dict[str, Section], desk: Desk) -> None:
    """Whoever acts as the user `extproc` is written down as somebody, not as the automation."""
    entries = desk.served.api("GET", f"/v1/journal?rollout={NAME}&limit=200")["entries"]
    assert {entry["actor"] for entry in entries if entry["why"].startswith("taken back by hand")} == {"somebody as extproc"}


def test_instant_without_the_controller(story: dict[str, Section]) -> None:
    """The controller stands still, State says that half of them meet the canary; Envoy's switch alone takes it from them."""
    _instant(story[f"Switch {NAME} off in Envoy"])


def _instant(section: Section) -> None:
    assert section.asked_before is not None
    assert section.last_asked is not None
    assert section.begun - section.asked_before < 5.0
    took = section.last_asked - section.begun
    assert took <= PROMISED
    counted = re.findall(r"upstream_rq_total: (\d+)", "".join(done.said for done in section.done))
    assert len(counted) == 2
    assert counted[0] == counted[1] != "0"


def test_the_list_of_people_has_their_names(story: dict[str, Section], desk: Desk) -> None:
    """Users who were named and met the canary, and a file that is nobody else's to read."""
    path = desk.directory / f"{NAME}-people.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    known = set((desk.directory / "users.txt").read_text().split())
    assert rows[0][:2] == ["unit", "id"]
    assert len(rows) > 100
    assert {row[1] for row in rows[1:]} <= known
    assert path.stat().st_mode & 0o077 == 0


def test_the_post_mortem_after_an_errors_rollback(story: dict[str, Section], desk: Desk) -> None:
    """The canary begins to fail, extproc rolls back; the text has the Journal's moment, phase, reason, numbers, and the list's counts."""
    desk.stand_at("50%")
    failing = time.time()
    desk.served.run(desk.served.models[NAME].turn({"error_rate": 0.6}))
    desk.until(lambda: desk.status()["status"] == "rolled_back")
    known = ""
    while (now := desk.type(f"extproc exposures {NAME} --format jsonl").stdout) != known:
        known = now
        time.sleep(2.0)
    entry = desk.served.api("GET", f"/v1/journal?rollout={NAME}&limit=1")["entries"][0]
    done = desk.type(f"extproc postmortem {NAME} -o post-mortem.md")
    assert done.returncode == 0, done.stderr
    text = (desk.directory / "post-mortem.md").read_text()
    at = datetime.fromtimestamp(entry["at"], UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-5]
    assert f"was rolled back at {at}, in phase 50%, by extproc itself: {entry['why']}" in text
    listed = desk.type(f"extproc exposures {NAME} --attempt {entry['numbers']['attempt']} --format jsonl")
    lines = [orjson.loads(line) for line in listed.stdout.splitlines()]
    failed = sum(line["failed"] for line in lines)
    units = {line["unit"] for line in lines if line["unit"]}
    assert f"{len(lines):,} requests of {len(units):,} users met `{NAME}`, and {failed:,} of them failed" in text
    assert failed > 5
    detected = re.search(r"([0-9.]+) s after the first failure", text)
    assert detected is not None
    assert float(detected[1]) <= entry["at"] - failing + 0.1
    for one in entry["numbers"]["findings"]:
        assert f"| {one['gate']} | {one['verdict'].replace('_', ' ')} |" in text
        assert one["sentence"].replace("|", "\\|") in text
    assert "$" in text
