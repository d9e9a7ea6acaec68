"""What an outcome costs the controller: the access log of 20,000 requests a second, sent as Envoy sends it. A section of `make proof`.

    python -m loadtest.collecting                               1, 5, 25 and 50 %, then five million outcomes at 5 % (12 minutes)
    python -m loadtest.collecting --seconds 30 --outcomes 0 50% some of it, shorter

The controller is the process that people run; entries are one that the real Envoy wrote (loadtest/recorded_entry.hex), with other ids,
units, times and results in it, of a million users. Counted is the CPU of all its threads, in the last part of each run: windows of a
minute are full then, and are looked at. It may use one core.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from random import Random
from typing import Any, Final

import grpc
import httpx
from rich.console import Console
from rich.progress import Progress

from extproc import contract
from extproc.demo import stand
from extproc.demo.changes import by_hand, watch_p95
from extproc.demo.processes import Child, Processes
from extproc.pb.access_log_pb2 import HttpAccessLogEntry
from loadtest.replay import cpu
from loadtest.report import verdict
from loadtest.vitals import resident

CONSOLE: Final = Console(highlight=False)
RATE: Final = 20_000
"""Outcomes a second: sent, and promised."""
SHARES: Final = ("1%", "5%", "25%", "50%")
SECONDS: Final = 100.0
"""Of each run; the first WARM are not counted."""
WARM: Final = 75.0
OUTCOMES: Final = 5_000_000
USERS: Final = 1_000_000
STEADY: Final = 130.0
"""Seconds after which memory is looked at: windows of a minute are kept for a minute and a deadline after their minute is over."""
MINUTE: Final = 60.0
GROWS: Final = 0.05
"""Share of itself by which memory may grow from the minute after STEADY to the last minute: of each the highest, since windows of a minute
come and go."""
IN_MESSAGE: Final = 100
"""Entries: Envoy sends when 64 KiB are full."""
MAKES: Final = 512
"""Entries of different durations, tokens and results."""
ENTRY: Final = Path(__file__).with_name("recorded_entry.hex")
_ID, _UNIT = "00000000-aaaa-4000-8000-%012x", "aaaaaaaaaaaaaaaa"
_SECONDS, _NANOS = 1_700_000_000, 1 << 28
"""Of the start: every value that takes their place is as many bytes long."""
EVERY: Final = 5.0
"""Seconds between two samples."""


# ------------------------------------------------------------------------------------------------------------------------ entries
class _Make:
    """One entry as bytes; what differs from request to request is put into its places."""

    def __init__(self, draw: Random, canary: bool, phase: str, generation: int) -> None:
        entry = HttpAccessLogEntry.FromString(bytes.fromhex(ENTRY.read_text()))
        common = entry.common_properties
        common.start_time.seconds, common.start_time.nanos = _SECONDS, _NANOS
        # Under a second: of longer ones Envoy would tell while they are open, and an outcome would be several entries.
        self.lasted = min(0.95, draw.lognormvariate(-0.9, 0.4))
        common.duration.nanos = int(self.lasted * 1e9)
        common.custom_tags[contract.TTFT_TAG] = str(round(self.lasted * draw.uniform(0.1, 0.5) * 1e6))
        common.stream_id = entry.request.request_id = _ID % 0
        common.upstream_cluster = "gpt-5-mini" if canary else "gpt-5"
        fields = common.metadata.filter_metadata[contract.assignment_namespace(contract.MODEL_LAYER)].fields
        fields[contract.FIELD_UNIT].string_value = _UNIT
        fields[contract.FIELD_ROLLOUT].string_value = "gpt-5-mini"
        fields[contract.FIELD_ARM].string_value = "canary" if canary else "rest"
        fields[contract.FIELD_PHASE].string_value = phase
        fields[contract.FIELD_GENERATION].number_value = generation
        if draw.random() < 0.003:
            entry.response.response_code.value = 503
        raw = entry.SerializeToString()
        self.head, self.raw = _length_delimited(len(raw)), raw
        self.ids = [at for at in range(len(raw)) if raw.startswith((_ID % 0).encode(), at)]
        self.unit = raw.index(_UNIT.encode())
        self.start = raw.index(_varint(_SECONDS) + b"\x10" + _varint(_NANOS))

    def entry(self, request: bytes, unit: bytes, start: float) -> bytes:
        """One request."""
        made = bytearray(self.raw)
        for at in self.ids:
            made[at : at + 36] = request
        made[self.unit : self.unit + 16] = unit
        second = int(start)
        nanos = _NANOS + int((start - second) * 7e8)
        made[self.start : self.start + 11] = _varint(second) + b"\x10" + _varint(nanos)
        return self.head + made


def _varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def _length_delimited(length: int) -> bytes:
    return b"\x0a" + _varint(length)


class Crowd:
    """A million users, who ask at random."""

    def __init__(self, share: float, phase: str, generation: int) -> None:
        self._draw = draw = Random(1)
        self._makes = {arm: [_Make(draw, arm, phase, generation) for _ in range(MAKES)] for arm in (False, True)}
        self._units = [b"%016x" % (user * 0x9E3779B97F4A7C15 & (1 << 64) - 1) for user in range(USERS)]
        self._canaries = round(share * 1000)
        self.sent = 0
        self.canary = 0
        """Requests that met the canary."""

    def message(self, now: float) -> bytes:
        """IN_MESSAGE requests that have just ended."""
        draw, entries = self._draw.random, []
        for _ in range(IN_MESSAGE):
            user = int(draw() * USERS)
            canary = user % 1000 < self._canaries
            self.sent += 1
            self.canary += canary
            make = self._makes[canary][int(draw() * MAKES)]
            entries.append(make.entry((_ID % self.sent).encode(), self._units[user], now - make.lasted))
        logs = b"".join(entries)
        return b"\x12" + _varint(len(logs)) + logs


# ------------------------------------------------------------------------------------------------------------------------ a run
@dataclass(frozen=True, slots=True)
class Sample:
    """Of the controller."""

    at: float
    sent: int
    cpu: float
    """Seconds, of all its threads."""
    memory: int
    """Resident bytes."""


@dataclass(frozen=True, slots=True)
class Run:
    """One share."""

    share: str
    outcomes: int
    cores: float
    """CPU seconds a second, once warm."""
    rate: float
    """Outcomes sent a second, once warm."""
    heard: int
    lost: int
    """Exposures that were not written."""
    exposed: int
    written: int
    memory: tuple[int, int]
    """Resident bytes: the highest of the first steady minute, and of the last one."""

    @property
    def on_one_core(self) -> float:
        """Outcomes a second that one core could take."""
        return self.rate / self.cores


async def run(share: str, seconds: float) -> Run:
    """`seconds` of outcomes at a share."""
    async with Processes() as processes:
        ports = stand.Ports.free(processes.directory)
        child = await _controller(processes, ports)
        token = (processes.directory / "extproc.db.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports.api}", headers=headers, trust_env=False, timeout=30.0) as api:
            generation = await _enter(api, share)
            crowd = Crowd(float(share.rstrip("%")) / 100, share, generation)
            await asyncio.sleep(3.0)
            samples = await _send(child.process.pid, ports.collector, crowd, seconds, share)
            await asyncio.sleep(5.0)
            document: dict[str, Any] = (await api.get("/v1/status")).raise_for_status().json()
            text = (await api.get("/metrics")).text
        heard = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"{contract.METRIC_OUTCOMES}{{"))
        exposures = document["exposures"]
        warm = [one for one in samples if one.at - samples[0].at >= (WARM if seconds > WARM else seconds / 2)]
        cores = (warm[-1].cpu - warm[0].cpu) / (warm[-1].at - warm[0].at)
        rate = (warm[-1].sent - warm[0].sent) / (warm[-1].at - warm[0].at)
        steady = [one for one in warm if one.at - samples[0].at >= STEADY] or warm
        first = max(one.memory for one in steady if one.at <= steady[0].at + MINUTE)
        last = max(one.memory for one in warm if one.at >= warm[-1].at - MINUTE)
        return Run(share, crowd.sent, cores, rate, round(heard), exposures["lost"], crowd.canary, exposures["written"], (first, last))


async def _controller(processes: Processes, ports: stand.Ports) -> Child:
    document = stand.template()
    watch_p95(document)
    by_hand(document)
    stand.fill(document, ports, dict.fromkeys(document["models"], 1))
    return await stand.start_controller(processes, stand.write_spec(document, processes.directory), ports)


async def _enter(api: httpx.AsyncClient, share: str) -> int:
    """Go to the phase of this share; returns its generation."""
    await api.post("/v1/rollouts/gpt-5-mini/start", json={"why": "proof"})
    while True:
        found = (await api.get("/v1/status")).raise_for_status().json()["rollouts"]["gpt-5-mini"]
        if found["phase"] == share:
            return int(found["generation"])
        (await api.post("/v1/rollouts/gpt-5-mini/promote", json={"why": "proof"})).raise_for_status()


async def _send(pid: int, target: str, crowd: Crowd, seconds: float, said: str) -> list[Sample]:
    """At RATE, whatever becomes of it; a message that is late is sent at once."""
    queue: SimpleQueue[bytes | None] = SimpleQueue()
    messages: Iterator[bytes] = iter(queue.get, None)
    samples = []
    with grpc.insecure_channel(target) as channel, Progress(console=CONSOLE) as progress:
        task = progress.add_task(said, total=seconds)
        call = channel.stream_unary(contract.ACCESS_LOG_METHOD).future(messages)
        begin = time.monotonic()
        while (now := time.monotonic()) < begin + seconds:
            if not samples or now >= samples[-1].at + EVERY:
                samples.append(Sample(now, crowd.sent, cpu(pid), resident(pid) or 0))
                progress.update(task, completed=now - begin)
            due = begin + crowd.sent / RATE
            if due > now:
                await asyncio.sleep(due - now)
            queue.put(crowd.message(time.time()))
        samples.append(Sample(time.monotonic(), crowd.sent, cpu(pid), resident(pid) or 0))
        queue.put(None)
        await asyncio.to_thread(call.result, 60.0)
    return samples


# ----------------------------------------------------------------------------------------------------------------------- report
def report(runs: Sequence[Run], long: Run | None = None) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what was promised and not seen."""
    lines = [
        f"`extproc controller`, one process, {RATE:,} entries a second over gRPC from {USERS:,} users, errors, latency and cost compared.",
        f"CPU of all its threads, after {WARM:.0f} s. Promised: {RATE:,} outcomes/s on one core, nothing lost, memory flat.",
        "",
        "| share | sent | heard | sent per second | cores | outcomes/s on one core | exposures: met, written, lost | memory, MiB |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    problems = []
    for one in (*runs, *([long] if long else [])):
        first, last = (size / 2**20 for size in one.memory)
        exposures = f"{one.exposed:,}, {one.written:,}, {one.lost:,}"
        lines.append(
            f"| {one.share} | {one.outcomes:,} | {one.heard:,} | {one.rate:,.0f} | {one.cores:.2f} | {one.on_one_core:,.0f} "
            f"| {exposures} | {first:.0f} to {last:.0f} |"
        )
        if one.on_one_core < RATE:
            problems.append(f"{one.share}: {one.on_one_core:,.0f} outcomes/s on one core, promised are {RATE:,}")
        if one.heard != one.outcomes:
            problems.append(f"{one.share}: {one.outcomes:,} sent, {one.heard:,} heard")
        if one.lost or one.written != one.exposed:
            problems.append(f"{one.share}: {one.exposed:,} met the canary, {one.written:,} written, {one.lost:,} lost")
    if long is not None and long.memory[1] > (1 + GROWS) * long.memory[0]:
        problems.append(f"memory grew from {long.memory[0]:,} to {long.memory[1]:,} bytes")
    return lines, problems


def section(shares: Sequence[str] = SHARES, seconds: float = SECONDS, outcomes: int = OUTCOMES) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what was promised and not seen."""
    runs = [asyncio.run(run(share, seconds)) for share in shares]
    return report(runs, asyncio.run(run("5%", outcomes / RATE)) if outcomes else None)


def main() -> int:
    """Entry point: exit code 1 if something was not as promised."""
    parser = argparse.ArgumentParser(description="What an outcome costs the controller.")
    parser.add_argument("shares", nargs="*", default=SHARES, metavar="SHARE", help=", ".join(SHARES))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each share")
    parser.add_argument("--outcomes", type=int, default=OUTCOMES, help="of the long run at 5 %%; 0 for none")
    given = parser.parse_args()
    lines, wrong = section(given.shares, given.seconds, given.outcomes)
    print("\n".join(lines))
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
