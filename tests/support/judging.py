"""A simulated judge as a process, and clients that ask it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

from extproc.demo.quality import text_of_quality
from extproc.domain import ApplicationType, Credential, Exhibit, JudgeEndpoint, Prices
from extproc.judge.client import JudgeClient
from extproc.judge.shipped import rubric_for

RUBRIC = rubric_for(ApplicationType.CHATBOT)
NONCE = "0123456789abcdef"
QUESTION = (("user", "What is the answer?"),)
PATIENCE = 60.0
QUIET = {"noise": 0.0, "latency": 0.0}


def exhibit(quality: float = 0.8, more: str = "", tokens: int = 200, seed: int = 1) -> Exhibit:
    """An answer of this quality, with something added."""
    return Exhibit(QUESTION, text_of_quality(quality, tokens, Random(seed)) + more)


@dataclass
class RunningJudge:
    """One judge process."""

    address: str
    control: str
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://{self.address}/v1"

    def turn(self, **knobs: Any) -> httpx.Response:
        return httpx.post(f"http://{self.control}/knobs", json=knobs, trust_env=False, timeout=PATIENCE)

    def ledger(self) -> dict[str, int]:
        found: dict[str, int] = httpx.get(f"http://{self.control}/ledger", trust_env=False, timeout=PATIENCE).json()
        return found

    def last(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"http://{self.control}/last", trust_env=False, timeout=PATIENCE).json()
        return found


@contextmanager
def running(*arguments: str, **knobs: Any) -> Iterator[RunningJudge]:
    """A judge that neither hesitates nor errs, unless told to."""
    command = [sys.executable, "-m", "extproc.demo.judge_model", "--with-parent", "--knobs", json.dumps({**QUIET, **knobs}), *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        said = json.loads(process.stdout.readline())
        yield RunningJudge(said["address"], said["control"], process)
    finally:
        process.stdin.close()
        process.stdout.close()
        assert process.wait(PATIENCE) == 0


def endpoint(
    url: str,
    name: str = "ours",
    credential: Credential | None = None,
    prices: Prices | None = None,
    timeout: float = 30.0,
    concurrency: int = 4,
    temperature: float | None = 0.0,
) -> JudgeEndpoint:
    return JudgeEndpoint(name, url, "judge-model", credential, prices, temperature, timeout, concurrency)


def client(of: JudgeEndpoint, **more: Any) -> JudgeClient:
    """One that trusts no proxy of this machine, and waits no longer than it has to."""
    return JudgeClient(of, draw=lambda: 0.0, http=httpx.AsyncClient(follow_redirects=False, trust_env=False), **more)
