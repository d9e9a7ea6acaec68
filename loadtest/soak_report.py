"""What a soak is made of, what it saw, what was promised and not seen, and all of it as Markdown."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any, Final

from loadtest.vitals import RETRIES, Memory, Sample, Window, inside, memories, outside

WORKERS: Final = 2
MEMORY_BOUND: Final = 10 << 20
"""Bytes that a process may grow by after it is warm."""


class Act(StrEnum):
    """What is done to it."""

    STATE = "state"
    FREEZE = "freeze"
    KILL = "kill"
    HANDOVER = "handover"


DECK: Final = (Act.STATE,) * 3 + (Act.FREEZE,) * 2 + (Act.KILL,) * 2 + (Act.HANDOVER,)
"""The shares of the acts; shuffled, and again when it is through."""
ROUGH: Final = (Act.KILL, Act.FREEZE)
"""Acts around which a request may fail open."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One soak."""

    seconds: float = 600.0
    rate: float = 200.0
    """Requests per second."""
    every: float = 20.0
    """Seconds between acts."""
    seed: int = 1
    warm: float = 60.0
    """Seconds of a process's life that do not count for its memory."""
    slow: float = 1e-4
    """Share of requests whose decision may come too late (50 ms) although nothing was done to a worker: a virtual machine pauses at times.
    The table shows them; a stream that *failed* is never forgiven."""
    lateness: float = 0.0
    """Seconds by which the machine itself may be late, where others use it too."""
    acts: tuple[Act, ...] = ()
    """The acts in this order; empty: from the deck."""

    def deck(self) -> Iterator[Act]:
        """What to do next, without end where the deck decides."""
        if self.acts:
            yield from self.acts
            return
        random = Random(self.seed)
        while True:
            yield from random.sample(DECK, len(DECK))


@dataclass(slots=True)
class Seen:
    """What a soak saw."""

    plan: Plan
    clients: dict[str, Any] = field(default_factory=dict)
    """demo.tally.Tally.total."""
    seconds: list[dict[str, Any]] = field(default_factory=list)
    """demo.tally.Tally.second, one a second."""
    samples: list[Sample] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    served: int = 0
    """Good answers by the models' own ledgers."""
    shown: list[float] = field(default_factory=list)
    """Seconds from each act of a person to the last worker."""
    problems: list[str] = field(default_factory=list)


def verdict(seen: Seen) -> list[str]:
    """What was promised and not seen."""
    problems = list(seen.problems)
    clients, last = seen.clients, seen.samples[-1].counters
    if clients["errors"]:
        problems.append(f"clients met errors: {clients['errors']}")
    if clients["sent"] != clients["ok"] or clients["held"]:
        problems.append(f"{clients['sent']} requests, {clients['ok']} good answers, {clients['held']} not sent")
    if seen.served != clients["ok"]:
        problems.append(f"the models served {seen.served} good answers, clients got {clients['ok']}")
    lost = clients["sent"] - last["stream_msgs_received"] - last["failure_mode_allowed"]
    if lost:
        problems.append(f"{lost} requests were neither decided nor failed open")
    rough = [window for window in seen.windows if window.kind in ROUGH]
    for name in ("failure_mode_allowed", "streams_failed", "message_timeouts"):
        allowed = 0 if name == "streams_failed" else int(seen.plan.slow * clients["sent"])
        if (count := outside(seen.samples, rough, name)) > allowed:
            problems.append(f"{name} grew by {count} while no worker was killed or frozen")
    for one in memories(seen.samples, seen.plan.warm):
        if one.role in ("worker", "Envoy") and one.growth > MEMORY_BOUND:
            problems.append(f"{one.role} {one.pid} grew by {_mib(one.growth)} MiB in {one.seconds:.0f} s")
    return problems


def told(seen: Seen) -> list[str]:
    """The soak as Markdown."""
    clients, last, plan = seen.clients, seen.samples[-1].counters, seen.plan
    acts = Counter(window.kind for window in seen.windows)
    shown = f"; every worker decided by a person's act within {max(seen.shown) * 1000:.0f} ms" if seen.shown else ""
    lines = [
        f"`python -m loadtest.soak`: {plan.seconds / 60:g} minutes at {plan.rate:g} requests/s (open loop, seed {plan.seed}) through the",
        f"real Envoy (2 threads), a router of {WORKERS} workers on the native transport, controller and store; an act every",
        f"{plan.every:g} s{shown}.",
        "",
        "| what | seen |",
        "| --- | --- |",
        f"| requests, good answers, errors | {clients['sent']:,}, {clients['ok']:,}, {sum(clients['errors'].values())} |",
        f"| latency p50, p95, p99 (the models' included) | {' s, '.join(str(clients[name]) for name in ('p50', 'p95', 'p99'))} s |",
        f"| ext_proc streams begun, answered | {last['streams_started']:,}, {last['stream_msgs_received']:,} |",
        f"| requests failed open | {last['failure_mode_allowed']} ({last['failure_mode_allowed'] / max(1, clients['sent']):.4%}) |",
        f"| load average of the machine at the end, cores | {os.getloadavg()[1]:.1f}, {os.cpu_count()} |",
        f"| streams failed, timeouts, retries | {last['streams_failed']}, {last['message_timeouts']}, {last[RETRIES]} |",
        "",
        "| act | times | failed open around it | streams failed | timeouts | retries |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    columns = ("failure_mode_allowed", "streams_failed", "message_timeouts", RETRIES)
    for act in Act:
        counted = " | ".join(str(inside(seen.samples, seen.windows, act, name)) for name in columns)
        lines.append(f"| {act} | {acts[act]} | {counted} |")
    counted = " | ".join(str(outside(seen.samples, seen.windows, name)) for name in columns)
    lines += [f"| none | | {counted} |", "", *_memory_table(memories(seen.samples, plan.warm), plan.warm)]
    return lines


def _memory_table(found: list[Memory], warm: float) -> list[str]:
    lines = [f"| process, after {warm:g} s of its life | watched | MiB at first | at last | growth | peak |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for one in found:
        sizes = " | ".join(_mib(size) for size in (one.first, one.last, one.growth, one.peak))
        lines.append(f"| {one.role} | {one.seconds:.0f} s | {sizes} |")
    return lines


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f}"
