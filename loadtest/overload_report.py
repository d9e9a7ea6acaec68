"""What an overload is made of, what was seen of each of its stages, what was promised and not seen, and all of it as Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from extproc import contract
from loadtest.steady import LATE, Second
from loadtest.student import quantile
from loadtest.vitals import ENDS

WORKERS: Final = 2
SETTLED: Final = 2.0
"""Seconds at the beginning of a stage that say more of the one before."""
FACTOR: Final = 5.0
"""By which p99 may exceed that of the quiet machine while it is comfortable."""
LEAST_P99: Final = 0.010
"""Seconds that p99 may always have: on a machine of two cores even a quiet one has such moments."""
LATE_SHARE: Final = 0.02
"""Of the sends; where more were late, the load generator was the bottleneck, and it is said."""
OPEN_SHARE: Final = 0.001
"""Of the requests that may fail open at a comfortable rate."""
LONGEST_LAG: Final = 1.0
"""Seconds by which the evaluate loop may be late, whatever the load."""
GROWTH: Final = 24 << 20
"""Bytes by which a process may grow from its comfortable minutes to the end."""
BOUND: Final = 2.0
"""Seconds that p99 of the time from sending to answer may have at any load: each client has one request open, so nothing queues for longer."""
TICK: Final = 10.0
"""Seconds of a row of the timeline."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run; seconds."""

    rate: float = 0.0
    """The comfortable rate; 0: look for it."""
    step: float = 20.0
    """Of each step of the search, and of the quiet time before it."""
    comfortable: float = 600.0
    twice: float = 60.0
    after: float = 30.0
    stopped: float = 5.0
    slow: float = 20.0
    connections: int = 512
    quiet_rate: float = 100.0
    first_rate: float = 400.0
    seed: int = 1


SHORT: Final = Plan(step=8.0, comfortable=60.0, twice=20.0, after=15.0, slow=10.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """A stretch at one rate; monotonic seconds."""

    name: str
    rate: float
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One second, as Envoy, the controller and the kernel tell it."""

    at: float
    counters: dict[str, int]
    """Since Envoy's start; `upstream_rq_active` is a gauge; `shed` is of the routers."""
    memory: dict[tuple[str, int], int]
    lag: float
    """Seconds by which the evaluate loop is late."""
    blind: bool
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one stretch."""

    seconds: float
    sent: int
    answered: int
    errors: int
    held: int
    late: int
    latencies: tuple[float, float, float]
    """p50, p99, p99.9 from sending to answer, seconds."""
    scheduled: float
    """p99 from the scheduled instant."""
    counted: dict[str, int]
    """What Envoy's counters grew by."""
    lag: float
    """The largest."""
    client: float
    """Share of one core that the load generator used."""

    @property
    def open_share(self) -> float:
        """Of the requests that were sent: those that went to stable without a decision."""
        return self.counted["failure_mode_allowed"] / max(1, self.sent)


@dataclass(slots=True)
class Seen:
    """What a run saw."""

    plan: Plan
    stages: list[Stage] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    rate: float = 0.0
    limit: str = ""
    """Why the next rate was not comfortable any more."""
    decided: bool = False

    def figures(self, begin: float, end: float) -> Figures:
        """Of a stretch of time."""
        seconds = [one for one in self.seconds if begin < one.at <= end]
        samples = [one for one in self.samples if begin - 1.0 <= one.at <= end + 1.0]
        taken = sorted(one for second in seconds for one in second.taken)
        scheduled = sorted(one for second in seconds for one in second.scheduled)
        first, last = (samples[0].counters, samples[-1].counters) if samples else ({}, {})
        counted = {name: last.get(name, 0) - first.get(name, 0) for name in COUNTERS}
        used = (seconds[-1].cpu - seconds[0].cpu) / (seconds[-1].at - seconds[0].at) if len(seconds) > 1 else 0.0
        sums = (sum(getattr(one, name) for one in seconds) for name in ("errors", "held", "late"))
        p50, p99, p999 = (quantile(taken, q) / 1e6 if taken else 0.0 for q in (0.5, 0.99, 0.999))
        late = quantile(scheduled, 0.99) / 1e6 if scheduled else 0.0
        lag = max((one.lag for one in samples), default=0.0)
        sent = sum(one.sent for one in seconds)
        return Figures(end - begin, sent, len(taken), *sums, (p50, p99, p999), late, counted, lag, used)

    def of(self, stage: Stage) -> Figures:
        """Of a stage, its beginning left out."""
        return self.figures(min(stage.begin + SETTLED, stage.end - 1.0), stage.end)

    def stage(self, name: str) -> Stage:
        """By its name."""
        return next(stage for stage in self.stages if stage.name == name)

    def line(self, stage: Stage) -> str:
        """One stage in one line, for the terminal."""
        seen = self.of(stage)
        p50, p99, _ = seen.latencies
        return (
            f"{stage.name:14} {stage.rate:6.0f}/s asked, {seen.answered / seen.seconds:6.0f}/s answered, p50 {_ms(p50)}, p99 {_ms(p99)} "
            f"(from schedule {_ms(seen.scheduled)}), {seen.errors} errors, {seen.held} held, late {seen.late / max(1, seen.sent):.1%}, "
            f"open {seen.open_share:.2%} {seen.counted}, lag {_ms(seen.lag)}, client {seen.client:.0%}"
        )


COUNTERS: Final = (
    "streams_started",
    "stream_msgs_received",
    "failure_mode_allowed",
    "message_timeouts",
    "upstream_rq_pending_overflow",
    "upstream_rq_retry",
    "logs_dropped",
    "shed",
)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"


def comfortable(seen: Seen, quiet: Stage, stage: Stage) -> str:
    """Why a stage was not comfortable; empty where it was."""
    limit = max(FACTOR * seen.of(quiet).latencies[1], LEAST_P99)
    found = seen.of(stage)
    p99 = max(found.latencies[1], found.scheduled)
    if p99 > limit:
        return f"p99 {_ms(p99)}, more than {_ms(limit)}"
    if found.errors or found.held:
        return f"{found.errors} errors, {found.held} requests found no client free"
    if found.open_share > OPEN_SHARE:
        return f"{found.open_share:.2%} failed open"
    return ""


def verdict(seen: Seen) -> list[str]:
    return []


def told(seen: Seen) -> list[str]:
    return [seen.line(stage) for stage in seen.stages]
