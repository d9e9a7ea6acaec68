"""`extproc judge` as people run it, beside simulated models and a simulated judge that run as processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from extproc.demo.processes import Processes
from extproc.demo.stand import ModelHandle, template
from tests.support.judging import RunningJudge, running

KEY = "sk-offline-very-secret-0123456789abcdef"
QUICK = {"ttft": 0.005, "spread": 0.1, "tokens_per_second": 1e6, "output_tokens": 60.0}
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def said(self) -> str:
        return self.stdout + self.stderr


@dataclass(slots=True)
class Stand:
    """Models, judge, a Spec that names them, and a directory."""

    canary: ModelHandle
    stable: ModelHandle
    judge: RunningJudge
    directory: Path
    document: dict[str, Any]

    @property
    def out(self) -> Path:
        return self.directory / "out"

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads((self.out / "report.json").read_bytes())
        return found

    def page(self) -> str:
        return (self.out / "report.html").read_text(encoding="utf-8")

    def write(self) -> Path:
        path = self.directory / "release.yaml"
        path.write_text(yaml.safe_dump(self.document, sort_keys=False), encoding="utf-8")
        return path

    async def start(self, *arguments: object, **environment: str) -> asyncio.subprocess.Process:
        """The command, not waited for."""
        command = [sys.executable, "-m", "extproc", "judge", str(self.write()), "-o", str(self.out), *map(str, arguments)]
        kept = {name: value for name, value in os.environ.items() if name not in PROXIES}
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env={**kept, **environment})

    async def run(self, *arguments: object, **environment: str) -> Done:
        """The command, to its end."""
        return await ended(await self.start(*arguments, **environment))


async def ended(process: asyncio.subprocess.Process) -> Done:
    stdout, stderr = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode is not None
    return Done(process.returncode, stdout.decode(), stderr.decode())


async def interrupt(process: asyncio.subprocess.Process, results: Path, lines: int) -> Done:
    """SIGINT once so many lines of results are there."""
    for _ in range(1800):
        if results.exists() and results.read_bytes().count(b"\n") > lines:
            break
        await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    return await ended(process)


@asynccontextmanager
async def stand(directory: Path, canary: float = 0.85, stable: float = 0.85, margin: str = "10%") -> AsyncIterator[Stand]:
    """Models of these qualities; the judge has half of its usual noise."""
    async with Processes() as processes:
        models = [
            await ModelHandle.start(processes, name, seed, {**QUICK, "quality": quality})
            for name, seed, quality in (("gpt-5-mini", 1, canary), ("gpt-5", 2, stable))
        ]
        with running("--seed", "3", noise=0.07) as judge:
            yield Stand(models[0], models[1], judge, directory, document(models[0], models[1], judge, margin))


def document(canary: ModelHandle, stable: ModelHandle, judge: RunningJudge, margin: str) -> dict[str, Any]:
    """The demo's Spec with a judge, and a gate on it in the first phase."""
    made = template()
    for model in (canary, stable):
        made["models"][model.name]["endpoint"] = {"host": "127.0.0.1", "port": model.port}
    made["models"]["gpt-5-mini"]["credential"] = {"header": "authorization", "prefix": "Bearer ", "env": "OFFLINE_KEY"}
    made["rollouts"]["gpt-5-mini"]["phases"][0]["gates"]["judge"] = {"margin": margin}
    prices = {"input": "$2", "output": "$8"}
    made["judge"] = {"judges": [{"url": judge.url, "model": "judge-sim", "prices": prices, "timeout": "5s"}], "again": "40%"}
    return made


def prompts(path: Path, count: int, more: Sequence[Mapping[str, Any]] = ()) -> Path:
    """So many questions, and some more."""
    lines = [{"id": f"q{number:03d}", "prompt": f"Question {number}: what is the answer?"} for number in range(count)]
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in [*lines, *more]))
    return path
