"""Two controllers of one etcd, the leader is killed: the list of affected requests is one, and is compared with what was sent."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import typer
from typer.testing import CliRunner

from extproc import contract
from extproc.cli import exposures as exposures_command
from extproc.cli import postmortem as postmortem_command
from extproc.cli.write import filled_template
from extproc.demo.processes import free_port
from extproc.store.etcd.address import parse_address
from extproc.store.exposures import Cause
from extproc.store.exposures.holes import gaps_of_all
from extproc.store.exposures.told import Told
from extproc.store.exposures.wanted import Wanted
from tests.support.access_log import Sender
from tests.support.etcd import Etcd, etcd, until
from tests.support.exposing import ENVIRONMENT, EXTPROC, PATIENCE, sending

UNDER_WAY = 5.0
"""Seconds that an entry may be under way on a busy machine; the list says half a second."""
APP = typer.Typer()
for room in (exposures_command, postmortem_command):
    room.register(APP)


class Machine:
    """One controller, with a disk of its own."""

    def __init__(self, name: str, directory: Path, server: Etcd, spec: Path) -> None:
        self.name, self.directory = name, directory / name
        self.directory.mkdir()
        self.store = server.url("extproc", self.directory)
        self.collector = f"unix:{self.directory}/c.sock"
        self.port, self.beyond = free_port(), free_port()
        self._spec = spec
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        line = [*EXTPROC, "controller", "--spec", str(self._spec), "--store", self.store, "--name", self.name, "--lease", "30"]
        line += ["--collector", self.collector, "--api-port", str(self.port), "--api-listen", f"127.0.0.1:{self.beyond}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(line, stdout=log, stderr=log, env=ENVIRONMENT, cwd=self.directory, start_new_session=True)

    def kill(self) -> None:
        """SIGKILL, for it and its children."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(PATIENCE)
            self._process = None

    @property
    def token(self) -> str:
        return next(self.directory.glob("*.token")).read_text().strip()

    def health(self) -> str | None:
        """What it says of itself."""
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", trust_env=False, timeout=PATIENCE).text
        return None

    def stands_by(self) -> bool:
        return "stands by" in (self.health() or "")

    def leads(self) -> bool:
        said = self.health()
        return said is not None and "stands by" not in said and "has not answered" not in said

    def ask(self, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}"}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False, timeout=PATIENCE)

    def has(self, count: int) -> bool:
        """True as soon as so many exposures are on its disk."""
        return bool(self.ask("/v1/status").json()["exposures"]["written"] >= count)

    def run(self, command: str, *words: str, token: str = "") -> tuple[str, str]:
        """A command on this machine: standard output and error."""
        environment = {contract.TOKEN_ENVIRONMENT: token or None}
        done = CliRunner().invoke(APP, [command, "new", "--store", self.store, *words], env=environment, catch_exceptions=False)
        assert done.exit_code == 0, done.stderr
        return done.stdout, done.stderr

    def list(self, *words: str, token: str = "") -> tuple[list[dict[str, Any]], str]:
        out, error = self.run("exposures", "--format", "jsonl", *words, token=token)
        return [orjson.loads(line) for line in out.splitlines()], error


class Story:
    """Some requests before the leader is killed, some while nobody leads, some after."""

    def __init__(self, directory: Path, ends: ExitStack) -> None:
        server = ends.enter_context(etcd(directory / "etcd"))
        spec = directory / "r.yaml"
        spec.write_text(filled_template("exposures", "old", "new"))
        self.one, self.two = (Machine(name, directory, server, spec) for name in ("one", "two"))
        for machine in (self.one, self.two):
            ends.callback(machine.kill)
        self.one.start()
        until(self.one.leads)
        self.two.start()
        until(self.two.stands_by)
        # The rollout starts by itself.
        # One Envoy tells the leader; the other one tells whoever stands by, who passes it on.
        self.direct, self.relayed = Sender(self.one.collector), Sender(self.two.collector)
        self.direct.send(10, 20, 0.02)
        self.relayed.send(10, 20, 0.02)
        until(lambda: self.one.has(len(self.direct.exposed) + len(self.relayed.exposed)))
        self.kept = [*self.direct.exposed]
        unheard = sending(self.direct, 20, 20, 0.02)
        # It has arrived at `two` when this returns; what the leader has not kept by now is told again to the next one.
        self.relayed.send(10, 20, 0.02)
        self.killed = time.time()
        self.one.kill()
        self.relayed.send(3, 20, 0.02)
        self.kept += self.relayed.exposed
        unheard.join()
        # Its lease would run out; a short one would do so on a busy machine, too.
        server.ctl("del", parse_address(self.two.store).prefix + "/leader")
        until(self.two.leads)
        self.one.start()
        after = Sender(self.two.collector)
        after.send(5, 20, 0.02)
        self.kept += after.exposed
        self.sent = [*self.direct.exposed, *self.relayed.exposed, *after.exposed]
        until(lambda: self.has_all({one.request for one in self.kept}))

    def has_all(self, requests: set[str]) -> bool:
        """True as soon as they are on one of the disks."""
        time.sleep(0.2)
        return requests <= {one["request"] for one in self.list_of_all()[0]}

    def list_of_all(self) -> tuple[list[dict[str, Any]], str]:
        return self.two.list("--from", str(self.one.directory))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with ExitStack() as ends:
        yield Story(tmp_path_factory.mktemp("leaders"), ends)


def test_the_merged_list_is_the_ledger(story: Story) -> None:
    """Nothing twice, nothing that was not sent; what is not in it was told to the dead leader alone, in the time that the list says it does
    not have."""
    found, said = story.list_of_all()
    requests = [one["request"] for one in found]
    ledger = {one.request: one for one in story.sent}
    assert len(requests) == len(set(requests))
    assert set(requests) <= set(ledger)
    assert [one["start"] for one in found] == sorted(one["start"] for one in found)
    assert all(one["attempt"] == 1 for one in found if one["attempt"] is not None)
    missing = [one for request, one in ledger.items() if request not in set(requests)]
    (gap,) = _gaps(story)
    assert gap["since"] <= story.killed <= gap["until"]
    assert all(gap["since"] - UNDER_WAY <= one.end <= gap["until"] for one in missing)
    assert "PARTIAL" not in said
    assert said.count("the controller was killed") == 1
    assert "put together from 2 lists" in said
    assert f"{len(found):,} requests met the canary" in said


def _gaps(story: Story) -> list[dict[str, Any]]:
    """Times of both lists together that nobody heard; a busy machine may stand still, and say so."""
    lists = [Told(one.name, one.run("exposures", "--part")[0].splitlines(), Wanted("new")) for one in (story.one, story.two)]
    for one in lists:
        for _ in one.pages():
            pass
    return [
        {"since": gap.since, "until": gap.until}
        for gap in gaps_of_all([one.summary for one in lists], time.time())
        if gap.cause is Cause.KILLED
    ]


def test_half_of_the_list_says_that_it_is_half(story: Story, tmp_path: Path) -> None:
    """Who led and was not asked, from when, why, and commands that make it whole: they do. The post-mortem says so too."""
    half, said = story.two.list(token="of nobody")
    (partial,) = [line for line in said.splitlines() if line.startswith("PARTIAL ")]
    assert partial.startswith("PARTIAL one led from 2")
    assert f"127.0.0.1:{story.one.beyond}" in partial
    assert "extproc exposures new --store" in partial
    whole, _ = story.list_of_all()
    assert len(half) < len(whole)
    part = tmp_path / "one.part"
    story.one.run("exposures", "--part", "-o", str(part))
    assert story.two.list("--from", str(part))[0] == whole
    text, _ = story.two.run("postmortem", token="of nobody")
    assert "are partial" in text
    assert "one led from" in text
    text, _ = story.two.run("postmortem", "--from", str(part))
    assert "are partial" not in text
    assert f"| requests that met the canary | {len(whole):,} |" in text


def test_whoever_stands_by_is_asked_by_itself(story: Story) -> None:
    """It does not lead, and answers for what it has; the API of the leader says in its summary whose list is missing there."""
    whole, _ = story.list_of_all()
    until(story.one.stands_by)
    answer = story.one.ask("/v1/exposures?rollout=new&limit=1")
    assert answer.status_code == 200
    summary = orjson.loads(answer.text.splitlines()[-1])["summary"]
    assert summary["owners"] == ["one"]
    assert [said.partition(" led ")[0] for said in summary["elsewhere"]] == ["two"]
    found, said = story.two.list(token=story.one.token)
    assert found == whole
    assert "PARTIAL" not in said
    assert f"http://127.0.0.1:{story.one.beyond} (one)" in said
