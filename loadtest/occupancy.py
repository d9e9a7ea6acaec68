"""How much of the machine others use while something is measured."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Ticks:
    """CPU since boot, in clock ticks."""

    total: int
    busy: int
    """Of the whole machine, all cores."""
    ours: int
    """Of this process and of all that it started."""


def others_share(before: Ticks, after: Ticks) -> float:
    """Share of the machine's CPU that others used; at least 0, since the kernel rounds each process by itself."""
    return max(0, after.busy - before.busy - (after.ours - before.ours)) / max(1, after.total - before.total)


def ticks() -> Ticks:
    """Now. A child counts as ours where it leads a session of its own, as those of extproc.demo.processes do."""
    machine = [int(one) for one in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = machine[3] + machine[4]
    stats: list[tuple[int, int, int, int]] = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended
            fields = path.read_text().rpartition(")")[2].split()
            stats.append((int(path.parent.name), int(fields[1]), int(fields[3]), int(fields[11]) + int(fields[12])))
    sessions = {pid for pid, parent, _, _ in stats if parent == os.getpid()}
    ours = sum(ticks for pid, _, session, ticks in stats if pid == os.getpid() or session in sessions)
    return Ticks(sum(machine), sum(machine) - idle, ours)
