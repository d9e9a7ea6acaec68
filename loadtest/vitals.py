"""What a soak looks at each second: Envoy's counters of ext_proc and the memory of every process. And what is made of it."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from extproc import contract
from extproc.demo.envoy import Envoy

EVERY: Final = 1.0
"""Seconds between samples."""
COUNTERS: Final = ("streams_started", "stream_msgs_received", "failure_mode_allowed", "streams_failed", "message_timeouts")
RETRIES: Final = "upstream_rq_retry"
"""Streams that Envoy sent again, to another worker or over another connection."""
_PATTERN: Final = rf"(\.ext_proc\.|^cluster\.{contract.ROUTER_CLUSTER}\.{RETRIES}$)"
ENDS: Final = 10
"""Samples of which the beginning and the end of a process's memory are the medians."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One second."""

    at: float
    """On the event loop's clock."""
    counters: dict[str, int]
    """COUNTERS and RETRIES, since Envoy's start."""
    memory: dict[tuple[str, int], int]
    """(role, process id) -> resident bytes."""


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch in which something was done to a worker."""

    kind: str
    begin: float
    end: float

    def meets(self, begin: float, end: float) -> bool:
        """True where the two stretches have an instant in common."""
        return begin <= self.end and end >= self.begin


async def counters(envoy: Envoy) -> dict[str, int]:
    """Envoy's counters now."""
    stats = await envoy.stats(_PATTERN)
    return {name: sum(value for key, value in stats.items() if key.rpartition(".")[2] == name) for name in (*COUNTERS, RETRIES)}


def resident(pid: int) -> int | None:
    """Resident bytes of a process; None where it is gone."""
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except OSError:
        return None
    return int(found[1]) * 1024 if found is not None else None


def cpu_of(pid: int) -> float | None:
    """Seconds of CPU that a process has used; None where it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def watch(envoy: Envoy, processes: Callable[[], Iterable[tuple[str, int]]], samples: list[Sample]) -> None:
    """Add a sample each second, until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        memory = {(role, pid): size for role, pid in processes() if (size := resident(pid)) is not None}
        counted = await counters(envoy)
        samples.append(Sample(clock(), counted, memory))
        await asyncio.sleep(EVERY)


def outside(samples: Sequence[Sample], windows: Sequence[Window], name: str) -> int:
    """What a counter grew by in the stretches between samples that meet no window."""
    return sum(
        after.counters[name] - before.counters[name]
        for before, after in pairwise(samples)
        if not any(window.meets(before.at, after.at) for window in windows)
    )


def inside(samples: Sequence[Sample], windows: Sequence[Window], kind: str, name: str) -> int:
    """What a counter grew by in the stretches between samples that meet a window of this kind."""
    return sum(
        after.counters[name] - before.counters[name]
        for before, after in pairwise(samples)
        if any(window.kind == kind and window.meets(before.at, after.at) for window in windows)
    )


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in bytes."""

    role: str
    pid: int
    seconds: float
    """How long it was watched, its warming up left out."""
    first: int
    last: int
    """Medians of its first and last samples."""
    peak: int

    @property
    def growth(self) -> int:
        """From the beginning to the end."""
        return self.last - self.first


def memories(samples: Sequence[Sample], warm: float) -> list[Memory]:
    """Of every process that was watched for long enough after `warm` seconds of its own."""
    series: dict[tuple[str, int], list[tuple[float, int]]] = {}
    for sample in samples:
        for key, size in sample.memory.items():
            series.setdefault(key, []).append((sample.at, size))
    found = []
    for (role, pid), points in series.items():
        settled = [(at, size) for at, size in points if at >= points[0][0] + warm]
        if len(settled) >= 2 * ENDS:
            sizes = [size for _, size in settled]
            first, last = int(statistics.median(sizes[:ENDS])), int(statistics.median(sizes[-ENDS:]))
            found.append(Memory(role, pid, settled[-1][0] - settled[0][0], first, last, max(sizes)))
    return found
