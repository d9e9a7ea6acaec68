"""A controller that is fed as Envoy feeds it, and what its list of exposures says, against the sender's ledger."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import orjson

from extproc import contract
from extproc.cli.write import filled_template
from extproc.demo.processes import free_port
from tests.support.access_log import Sender, Sent

ROOT = Path(__file__).parents[2]
EXTPROC = [sys.executable, "-m", "extproc"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
PATIENCE = 90.0


class Controller:
    """One store; a controller on it, and the next one."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = f"sqlite:{directory}/x.db"
        self.collector = f"unix:{directory}/c.sock"
        self.path = Path(contract.exposures_path(self.store))
        self.port = free_port()
        self.spec = directory / "r.yaml"
        self.spec.write_text(filled_template("exposures", "old", "new"))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it is ready."""
        out = self.directory / "out"
        arguments = ["--spec", self.spec, "--store", self.store, "--collector", self.collector, "--api-port", self.port]
        with out.open("wb") as file, (self.directory / "err").open("ab") as errors:
            line = [*EXTPROC, "controller", *map(str, arguments)]
            self.process = subprocess.Popen(line, stdout=file, stderr=errors, env=ENVIRONMENT, cwd=self.directory)
        until(lambda: b"ready" in out.read_bytes())

    def end(self, number: signal.Signals) -> None:
        """By a signal."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process = None

    def get(self, path: str) -> httpx.Response:
        token = (self.directory / "x.db.token").read_text().strip()
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.get(url, headers={"authorization": f"Bearer {token}"}, trust_env=False, timeout=PATIENCE)

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = self.get("/v1/status").json()
        return document

    def list(self, *words: str) -> tuple[list[dict[str, Any]], str]:
        """Lines and the summary, as the command says them."""
        line = [*EXTPROC, "exposures", "new", "--format", "jsonl", "--store", self.store, *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=120, env=ENVIRONMENT, cwd=self.directory)
        assert done.returncode == 0, done.stderr
        return [orjson.loads(line) for line in done.stdout.splitlines()], done.stderr

    def gaps(self) -> list[dict[str, Any]]:
        """As the API says them."""
        answer = self.get("/v1/exposures?rollout=new&limit=1")
        gaps: list[dict[str, Any]] = orjson.loads(answer.text.splitlines()[-1])["summary"]["gaps"]
        return gaps

    def written(self, count: int) -> None:
        """Wait until so many exposures are on disk."""
        until(lambda: self.status()["exposures"]["written"] >= count)

    def at_rest(self) -> None:
        """Wait until nothing waits, and nothing more has been written for a while."""
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 2.0:
            exposures = self.status()["exposures"]
            if exposures["written"] != seen or exposures["waiting"]:
                seen, since = exposures["written"], time.monotonic()
            time.sleep(0.2)


def until(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@contextmanager
def running(directory: Path) -> Iterator[Controller]:
    made = Controller(directory)
    try:
        made.start()
        yield made
    finally:
        made.end(signal.SIGKILL)


def sending(sender: Sender, messages: int, per_message: int, every: float) -> Thread:
    thread = Thread(target=sender.send, args=(messages, per_message, every))
    thread.start()
    return thread


def line(one: Sent) -> dict[str, Any]:
    """What the list has to say of a request."""
    return {
        "rollout": "new",
        "generation": one.generation,
        "phase": one.phase,
        "cohort": one.cohort,
        "arm": one.arm,
        "reason": one.reason,
        "request": one.request,
        "unit": one.unit,
        "durable": one.durable,
        "ended": not one.open,
        "status": None if one.open else one.status,
        "failed": one.failed,
        "client_aborted": False,
        "throttled": one.status == 429,
        "answered_by": one.answered_by,
        "model": one.model,
        "input_tokens": 10,
        "cached_tokens": None,
        "output_tokens": one.output_tokens,
        "reasoning_tokens": None,
    }


def unlike(shown: dict[str, Any], one: Sent) -> list[str]:
    """In what a line differs from the ledger."""
    expected = line(one)
    wrong = [name for name, value in expected.items() if shown[name] != value]
    start = datetime.fromisoformat(shown["start"]).timestamp()
    return wrong + ["start"] * (abs(start - one.start) > 2e-6) + ["seconds"] * (abs(shown["seconds"] - one.seconds) > 2e-6)
