"""What an overload is made of, what was seen of each of its stages, what was promised and not seen, and all of it as Markdown."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from extproc.render import EnvoySettings
from extproc.render.clusters import WAITING
from loadtest.steady import LATE, Second
from loadtest.student import quantile
from loadtest.vitals import memories

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
GROWTH: Final = 8 << 20
"""Bytes by which a process may grow in the comfortable minutes."""
MOST_MORE: Final = 64 << 20
"""Bytes that a process may ever have more than at their beginning: what is held for twice as many requests is given back late, or kept."""
BOUND: Final = 2.0
"""Seconds that p99 from sending to answer may have at any load: each client has one request open, so that queues are bounded."""
ROW: Final = 10.0
"""Seconds of a row of the timeline."""
WARM: Final = 10.0
"""Seconds of a process's life that do not count for its memory."""
MIB: Final = 1 << 20
HUNG: Final = 2.5
"""Seconds for which a worker stands still before the supervisor replaces it, at least."""
MESSAGE_TIMEOUT: Final = EnvoySettings().message_timeout


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
    stopped_rate: float = 0.0
    """Requests per second while every worker stands still; 0: twice the comfortable rate, and enough to fill the circuit breaker."""
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
    cpu: dict[tuple[str, int], float]
    """(role, process id) -> seconds of CPU since its start."""
    lag: float
    """Seconds by which the evaluate loop is late."""
    blind: bool
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one stretch."""

    seconds: int
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

    def figures(self, begin: float, end: float) -> Figures:
        """Of a stretch of time; each second belongs to the stretch in which most of it lies."""
        seconds = [one for one in self.seconds if begin < one.at - 0.5 <= end]
        samples = [one for one in self.samples if begin < one.at <= end]
        taken = sorted(one for second in seconds for one in second.taken)
        scheduled = sorted(one for second in seconds for one in second.scheduled)
        counted = {name: round(self.counter(name, end) - self.counter(name, begin)) for name in COUNTERS}
        used = (seconds[-1].cpu - seconds[0].cpu) / (seconds[-1].at - seconds[0].at) if len(seconds) > 1 else 0.0
        sums = (sum(getattr(one, name) for one in seconds) for name in ("errors", "held", "late"))
        p50, p99, p999 = (quantile(taken, q) / 1e6 if taken else 0.0 for q in (0.5, 0.99, 0.999))
        late = quantile(scheduled, 0.99) / 1e6 if scheduled else 0.0
        lag = max((one.lag for one in samples), default=0.0)
        sent = sum(one.sent for one in seconds)
        return Figures(max(1, len(seconds)), sent, len(taken), *sums, (p50, p99, p999), late, counted, lag, used)

    def counter(self, name: str, at: float) -> float:
        """A counter at an instant, from the samples around it."""
        index = bisect_left(self.samples, at, key=lambda sample: sample.at)
        after = self.samples[min(index, len(self.samples) - 1)]
        before = self.samples[max(0, index - 1)]
        early, late = before.counters.get(name, 0), after.counters.get(name, 0)
        if after.at <= before.at:
            return late
        return early + (late - early) * min(1.0, max(0.0, (at - before.at) / (after.at - before.at)))

    def cores(self, stage: Stage) -> dict[str, float]:
        """Cores that the processes of a role used on average; those that were there all the time."""
        inside = [sample for sample in self.samples if stage.begin < sample.at <= stage.end]
        found: dict[str, float] = {}
        if len(inside) > 1:
            first, last = inside[0], inside[-1]
            for role, pid in first.cpu.keys() & last.cpu.keys():
                used = last.cpu[role, pid] - first.cpu[role, pid]
                found[role] = found.get(role, 0.0) + used / (last.at - first.at)
        return found

    def of(self, stage: Stage) -> Figures:
        """Of a stage, its beginning left out."""
        return self.figures(min(stage.begin + SETTLED, stage.end - 1.0), stage.end)

    def whole(self, stage: Stage) -> Figures:
        """Of a stage, its beginning included."""
        return self.figures(stage.begin, stage.end)

    def rows(self) -> list[Stage]:
        """Every stage in pieces of ROW seconds."""
        found = []
        for stage in self.stages:
            begin = stage.begin
            while begin < stage.end - 0.5:
                found.append(Stage(stage.name, stage.rate, begin, min(begin + ROW, stage.end)))
                begin += ROW
        return found

    def after(self, name: str) -> list[Sample]:
        """Samples from the beginning of a stage on."""
        return [sample for sample in self.samples if sample.at >= self.stage(name).begin]

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


BREAKER: Final = "upstream_rq_active_overflow"
"""What went beyond max_requests, as Envoy 1.40 counts it."""
COUNTERS: Final = (
    "streams_started",
    "stream_msgs_received",
    "failure_mode_allowed",
    "message_timeouts",
    BREAKER,
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


# -------------------------------------------------------------------------------------------------------------------- verdict
def verdict(seen: Seen) -> list[str]:
    """What was promised and not seen."""
    found = [f"{stage.name}: {errors} requests failed" for stage in seen.stages if (errors := seen.whole(stage).errors)]
    for name in ("comfortable", "after", "at the end"):
        figures = seen.of(seen.stage(name))
        if figures.open_share > OPEN_SHARE:
            found.append(f"{name}: {figures.open_share:.2%} failed open, at most {OPEN_SHARE:.1%} promised")
        if figures.late > LATE_SHARE * figures.sent:
            found.append(
                f"{name}: the load generator sent {figures.late / figures.sent:.1%} late, it was the bottleneck: this shows little"
            )
    for stage in seen.stages:
        figures = seen.whole(stage)
        if figures.latencies[1] > BOUND:
            found.append(f"{stage.name}: p99 {_ms(figures.latencies[1])}, at most {_ms(BOUND)} promised")
        if figures.lag > LONGEST_LAG:
            found.append(f"{stage.name}: the evaluate loop was {figures.lag:.1f} s late, at most {LONGEST_LAG:g} s promised")
    return [*found, *_stopped_wrong(seen), *_after_wrong(seen), *_grown(seen)]


def _stopped_wrong(seen: Seen) -> list[str]:
    """With nobody to decide: all fail open, those beyond the breaker at once, and nobody waits for longer than for one message_timeout."""
    stage = seen.stage("stopped")
    figures, found = seen.figures(stage.begin, stage.begin + HUNG), []
    waiting = stage.rate * MESSAGE_TIMEOUT
    if waiting > 1.2 * WAITING * WORKERS and not figures.counted[BREAKER]:
        found.append(f"stopped: about {waiting:.0f} decisions were waited for at once, and the circuit breaker did not open")
    counted = figures.counted
    opened = counted["failure_mode_allowed"] / max(1, counted["failure_mode_allowed"] + counted["stream_msgs_received"])
    if opened < 0.9:
        found.append(f"stopped: only {opened:.0%} failed open")
    return found


def _after_wrong(seen: Seen) -> list[str]:
    before, after = seen.of(seen.stage("comfortable")), seen.of(seen.stage("at the end"))
    limit = max(2 * before.latencies[1], LEAST_P99)
    found = []
    if after.latencies[1] > limit:
        found.append(f"at the end: p99 {_ms(after.latencies[1])}, it was {_ms(before.latencies[1])} before")
    if seen.samples[-1].blind or seen.samples[-1].withdrawn:
        found.append("at the end: canary traffic is still withdrawn")
    return found


def _grown(seen: Seen) -> list[str]:
    steady = seen.stage("comfortable")
    inside = [sample for sample in seen.after("comfortable") if sample.at <= steady.end]
    found = [
        f"{one.role} {one.pid}: grew by {one.growth / MIB:.1f} MiB in the comfortable minutes, at most {GROWTH / MIB:.0f} promised"
        for one in memories(inside, WARM)
        if one.growth > GROWTH
    ]
    return found + [
        f"{one.role} {one.pid}: had {(one.peak - one.first) / MIB:.1f} MiB more than at first, at most {MOST_MORE / MIB:.0f} promised"
        for one in memories(seen.after("comfortable"), WARM)
        if one.peak - one.first > MOST_MORE
    ]


# ------------------------------------------------------------------------------------------------------------------- Markdown
def told(seen: Seen) -> list[str]:
    """Markdown."""
    plan = seen.plan
    shown = [stage for stage in seen.stages if stage.name == "quiet" or stage.begin >= seen.stage("comfortable").begin]
    return [
        f"`python -m loadtest.overload` (seed {plan.seed}): `extproc serve` with {WORKERS} workers, Envoy with two threads, a model that",
        f"answers at once and an open-loop load generator of {plan.connections} clients, all on one machine of {os.cpu_count()} cores; a",
        f"quarter of the people meets the canary. Comfortable: {seen.rate:,.0f} requests/s" + (f" ({seen.limit})." if seen.limit else "."),
        "",
        "| stage | seconds | sent/s | answered/s | p50 | p99 | p99.9 | worst 10 s | failed open | breaker | timeouts | errors | lag |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        *(_row(seen, stage) for stage in shown),
        "",
        "Latency from sending to answer, ms; `worst 10 s`: the largest p99 of ten seconds. `failed open`: went to stable without a",
        f"decision; `breaker`: of these at once, because {WAITING} decisions per worker were already waited for. `lag`: the worst lateness",
        "of the evaluate loop.",
        *_told_of_the_client(seen, shown),
        "",
        *_told_of_the_stop(seen),
        "",
        *_told_of_cpu(seen),
        "",
        *_told_of_memory(seen),
    ]


def _row(seen: Seen, stage: Stage) -> str:
    whole = seen.whole(stage)
    worst = max((seen.figures(row.begin, row.end).latencies[1] for row in seen.rows() if stage.begin <= row.begin < stage.end), default=0.0)
    latencies = " | ".join(f"{one * 1000:.1f}" for one in (*whole.latencies, worst))
    rates = f"{whole.sent / whole.seconds:,.0f} | {whole.answered / whole.seconds:,.0f}"
    counted = whole.counted
    opened = f"{counted['failure_mode_allowed']:,} ({whole.open_share:.2%})"
    breaker, timeouts = f"{counted[BREAKER]:,}", f"{counted['message_timeouts']:,}"
    lag = f"{whole.lag * 1000:.0f} ms"
    return f"| {stage.name} | {whole.seconds:.0f} | {rates} | {latencies} | {opened} | {breaker} | {timeouts} | {whole.errors} | {lag} |"


def _told_of_the_client(seen: Seen, shown: Sequence[Stage]) -> list[str]:
    worst = max(shown, key=lambda stage: seen.whole(stage).late / max(1, seen.whole(stage).sent))
    figures = seen.whole(worst)
    busy = max(seen.whole(stage).client for stage in shown)
    said = (
        f"The load generator used at most {busy:.0%} of a core and sent at worst {figures.late / max(1, figures.sent):.2%} of its requests"
    )
    said += f" more than {LATE * 1000:g} ms late ({worst.name}); {sum(seen.whole(stage).held for stage in shown):,} found no client free."
    dropped = sum(seen.whole(stage).counted["logs_dropped"] for stage in shown)
    blind = sum(sample.blind for sample in seen.samples)
    return [said, f"Envoy dropped {dropped:,} access-log entries; canary traffic was withdrawn for blindness in {blind} of the seconds."]


def _told_of_the_stop(seen: Seen) -> list[str]:
    stage = seen.stage("stopped")
    lines = [
        f"All {WORKERS} workers stopped (SIGSTOP) at {stage.rate:,.0f} requests/s; the supervisor replaces them after three unanswered",
        "questions. Second by second:",
        "",
        "| second | sent | p50 | p99 | failed open | at once (breaker) | after message_timeout |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    at = stage.begin
    while at < stage.end - 0.5:
        figures = seen.figures(at, at + 1.0)
        p50, p99, _ = (f"{one * 1000:.1f}" for one in figures.latencies)
        counted = figures.counted
        numbers = " | ".join(f"{counted[name]:,}" for name in ("failure_mode_allowed", BREAKER, "message_timeouts"))
        lines.append(f"| {at - stage.begin + 1:.0f} | {figures.sent:,} | {p50} | {p99} | {numbers} |")
        at += 1.0
    shed = seen.samples[-1].counters["shed"]
    return [*lines, "", f"Workers that were behind left {shed:,} requests undecided that Envoy had given up before (`extproc_shed_total`)."]


def _told_of_cpu(seen: Seen) -> list[str]:
    """Who is the bottleneck."""
    stages = [seen.stage(name) for name in ("quiet", "comfortable", "twice")]
    used = [{**seen.cores(stage), "load generator": seen.whole(stage).client} for stage in stages]
    lines = ["| cores used | " + " | ".join(stage.name for stage in stages) + " |", "| --- | ---: | ---: | ---: |"]
    for role in sorted(used[-1], key=lambda role: -used[-1][role]):
        lines.append(f"| {role} | " + " | ".join(f"{one.get(role, 0.0):.2f}" for one in used) + " |")
    return lines


def _told_of_memory(seen: Seen) -> list[str]:
    lines = ["| process, from the comfortable minutes on | watched | MiB at first | at last | growth | peak |"]
    lines += ["| --- | ---: | ---: | ---: | ---: | ---: |"]
    for one in memories(seen.after("comfortable"), WARM):
        first, last, growth, peak = (size / MIB for size in (one.first, one.last, one.growth, one.peak))
        lines.append(f"| {one.role} | {one.seconds:.0f} s | {first:.1f} | {last:.1f} | {growth:.1f} | {peak:.1f} |")
    return lines
