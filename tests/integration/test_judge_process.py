"""The judge's process beside a real controller: killed in the middle it goes on from its file, and nobody else notices."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import yaml

from extproc import contract
from extproc.demo import stand
from extproc.demo.changes import judged
from extproc.demo.family import children
from extproc.demo.processes import Child, Processes
from extproc.store.samples import SampleReader
from tests.support.lateness import Lateness, lateness
from tests.support.samples import chat, completion, copied

KEY = "judge-key-that-nobody-may-read-5d1c"
COPIES = 60
KILLED_AT = 25


def _judges(controller: Child) -> list[int]:
    """Process ids of the controller's judge."""
    return [pid for pid in children(controller.process.pid) if b"judge_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


async def _send(address: str, number: int) -> None:
    """One copy as Envoy sends it; tried again where nobody is there, which Envoy would not do."""
    deadline = time.monotonic() + 60
    while True:
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                call = channel.stream_stream(contract.PROCESS_METHOD)()
                question, answer = chat("How far is the moon?"), completion(f"About 384,400 km, and this is answer {number}.")
                for message in copied(question, answer, 3, request_id=f"request-{number}", rollout="gpt-5-mini", generation=2):
                    await call.write(message)
                await call.done_writing()
                assert await call.code() is grpc.StatusCode.OK
                return
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError, AssertionError):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)


async def _until(condition: Any, patience: float = 90.0) -> None:
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)


def _scored(path: Path) -> dict[str, float | None]:
    reader = SampleReader(path)
    try:
        return {sample.request: value for sample, value, _ in reader.latest("gpt-5-mini", 1000)}
    finally:
        reader.close()


@pytest.mark.timeout(300)
def test_a_judge_that_is_killed_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every sample that was written down gets its score, before the kill or after; the controller evaluates on time all the while; and the
    judge's key is in no log."""
    monkeypatch.setenv("JUDGE_TEST_KEY", KEY)
    with lateness() as machine:
        asyncio.run(_killed(machine))


async def _killed(machine: Lateness) -> None:
    async with Processes() as processes:
        document, ports = stand.template(), stand.Ports.free(processes.directory)
        judged(document)
        judge = await stand.ModelHandle.judge(processes, 1)
        await judge.turn({"latency": 2.0, "key": KEY})
        document["judge"]["within"] = "60s"
        document["judge"]["judges"][0]["credential"] = {"env": "JUDGE_TEST_KEY"}
        stand.fill(document, ports, {**dict.fromkeys(document["models"], 1), stand.JUDGE: judge.port})
        spec = stand.write_spec(document, processes.directory)
        controller = await stand.start_controller(processes, spec, ports)
        await _until(lambda: bool(_judges(controller)))
        samples = Path(contract.samples_path(f"sqlite:{processes.directory}/extproc.db"))
        for number in range(COPIES):
            await _send(ports.sampler, number)
            if number == KILLED_AT:
                await _until(lambda: len(_scored(samples)) == KILLED_AT + 1)
                os.kill(_judges(controller)[0], signal.SIGKILL)
        await _until(lambda: len(written := _scored(samples)) == COPIES and None not in written.values())
        async with httpx.AsyncClient(trust_env=False, timeout=60.0) as http:
            token = (processes.directory / "extproc.db.token").read_text().strip()
            answer = await http.get(f"http://127.0.0.1:{ports.api}/v1/status", headers={"authorization": f"Bearer {token}"})
        status = answer.json()
        assert status["judge"]["silent"] == ""
        # A machine that stands still makes everybody late.
        assert status["loop"]["missed_ticks"] <= int(machine.total)
        assert KEY not in yaml.safe_dump(status)
        for log in processes.directory.glob("*.log"):
            assert KEY not in log.read_text(errors="replace"), log
