"""How soon nobody meets a broken canary any more: faults injected one after the other on the real Envoy. A section of `make proof`.

    python -m loadtest.reaction                                 everything, 20 times each; the late one after ten quiet minutes (45 minutes)
    python -m loadtest.reaction --runs 3 --quiet 60 errors late  some of it, shorter

The late fault waits, so it is tried on several stands at once, beside the one on which the others follow each other. A quarter of the
people meet the canary, 20 requests per second; errors, mean and p95 of latency, and cost are compared. Each injection is the first attempt
of a release of its own (another attempt would have half the alpha). Timed by clients: from the fault to the last request that was sent
and met the canary, whatever became of it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rich.console import Console
from rich.progress import Progress

from extproc.demo import stand
from extproc.demo.changes import watch_p95
from extproc.demo.processes import DemoError, Processes
from loadtest.field import LAST_ANSWERS, QUIET, RATE, SHARE, WORKERS, Crowd, Field
from loadtest.report import verdict
from loadtest.student import quantile

CONSOLE: Final = Console(highlight=False)
RUNS: Final = 20
LONG_QUIET: Final = 600.0
AT_ONCE: Final = 5
"""Stands on which the late fault is tried beside each other; with the one of the other faults they kept two cores three quarters busy."""
STANDS: Final = 3
"""Stands that are built for one plan, at most."""
AFTER: Final = 2.0
"""Seconds after the rollback in which nobody may meet the canary; the promise is 0.1 s, and what was under way is none."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to break."""

    key: str
    said: str
    knobs: Mapping[str, float] = field(default_factory=dict)
    """Empty: its process is killed."""
    late: bool = False
    """After a long quiet time."""
    promise: float = math.inf
    """Seconds; infinite where nothing is promised."""


_ALL: Final = (
    Fault("errors", "every answer is a 500", {"error_rate": 1.0}, promise=5.0),
    Fault("slow", "first token and every further one take half again as long", {"ttft": 0.09, "tokens_per_second": 533.0}),
    Fault("hang", "no request is answered any more, none is refused", {"hang_rate": 1.0}),
    Fault("crash", "kill -9 of the canary: open requests are reset, connections refused", promise=5.0),
    Fault("late", "every answer is a 500, after a long quiet time in the phase", {"error_rate": 1.0}, late=True, promise=5.0),
)
FAULTS: Final = {fault.key: fault for fault in _ALL}


@dataclass(frozen=True, slots=True)
class Injection:
    """What was seen of one."""

    seconds: float
    """From the fault to the last canary request; infinite where it was not rolled back."""
    met: int
    """Requests that met the canary in that time."""
    why: str


async def inject(field: Field, fault: Fault, quiet: float) -> Injection:
    """One fault, from a new release to the end of its last request."""
    clock = asyncio.get_running_loop().time
    async with field.release("reaction"):
        await asyncio.sleep(quiet)
        before = await field.stands()
        if before.status != "progressing":
            return Injection(math.inf, 0, f"was {before.status} before the fault: {before.said}")
        begin = clock()
        if fault.knobs:
            await field.turn(fault.knobs)
        else:
            field.kill_canary()
        standing = await field.until(lambda now: now.status != "progressing")
        await asyncio.sleep(AFTER)
        end = clock()
    await (field.mend() if fault.knobs else field.revive_canary())
    if fault.knobs.get("hang_rate"):
        await asyncio.sleep(LAST_ANSWERS)
    if standing.status != "rolled_back":
        return Injection(math.inf, 0, f"{standing.status}: {standing.said}")
    return Injection(*field.met(begin, end), standing.why)


Seen = Callable[[Fault, Injection], None]


@dataclass(slots=True)
class Series:
    """What was seen so far."""

    found: dict[str, list[Injection]]
    broken: list[str] = field(default_factory=list)
    """Why a stand had to be built anew; what was tried on it then is tried again."""


async def measure(faults: Sequence[Fault], runs: int, long_quiet: float, at_once: int) -> Series:
    """Late faults on so many stands beside each other, all others one after the other on a stand of their own."""
    series = Series({fault.key: [] for fault in faults})
    one_by_one = asyncio.Lock()
    with Progress(console=CONSOLE) as progress:
        tasks = {fault.key: progress.add_task(fault.key, total=runs) for fault in faults}

        def seen(fault: Fault, injection: Injection) -> None:
            series.found[fault.key].append(injection)
            progress.advance(tasks[fault.key])

        async with asyncio.TaskGroup() as group:
            for plan in plans(faults, runs, at_once):
                group.create_task(_all_of(plan, long_quiet, one_by_one, seen, series.broken))
    return series


def plans(faults: Sequence[Fault], runs: int, at_once: int) -> list[list[Fault]]:
    """What is injected on each stand, in this order."""
    early = [fault for fault in faults if not fault.late for _ in range(runs)]
    late = [fault for fault in faults if fault.late for _ in range(runs)]
    return [plan for plan in (early, *(late[place::at_once] for place in range(at_once))) if plan]


async def _all_of(plan: list[Fault], long_quiet: float, one_by_one: asyncio.Lock, seen: Seen, broken: list[str]) -> None:
    """What is left of a plan, on another stand where one broke: hours of the others are not to be lost by it."""
    for _ in range(STANDS):
        if not plan:
            break
        try:
            await _on_a_stand(plan, long_quiet, one_by_one, seen)
        except DemoError as error:
            broken.append(f"{plan[0].key}: a stand broke: {error}")


async def _on_a_stand(plan: list[Fault], long_quiet: float, one_by_one: asyncio.Lock, seen: Seen) -> None:
    async with Processes() as processes:
        document = stand.template()
        watch_p95(document)
        field = Field(processes, document, Crowd())
        # A port that is found free is taken by the time that the next stand looks for some.
        async with one_by_one:
            await field.start()
        try:
            while plan:
                seen(plan[0], await inject(field, plan[0], long_quiet if plan[0].late else QUIET))
                del plan[0]
        finally:
            await field.stop()


# --------------------------------------------------------------------------------------------------------------------- report
def report(series: Series, runs: int, long_quiet: float, at_once: int) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what was promised and not seen."""
    quiet = f"{long_quiet / 60:g} minutes" if long_quiet >= 60 else f"{long_quiet:g} s"
    lines = [
        f"`python -m loadtest.reaction --runs {runs} --quiet {long_quiet:g}`: the real Envoy, `extproc serve` with {WORKERS} workers,",
        f"{SHARE:.0%} share, {RATE * SHARE:.0f} canary requests/s, hardly anybody asks twice. From the fault to the last request that was",
        "sent and met the canary, as clients saw it; each injection is the first attempt of a release of its own. The late one comes",
        f"after {quiet} in the phase, tried on {at_once} stands beside each other and beside the one of the other faults, all on one",
        "machine.",
    ]
    if runs < RUNS or long_quiet < LONG_QUIET:
        lines += ["", f"**A short form**: the full one has {RUNS} injections of each, and {LONG_QUIET / 60:g} quiet minutes."]
    lines += ["", "| fault | what | injections | p50 | p99 | worst | canary requests meanwhile (median) | promised |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    problems = list(series.broken)
    for key, injections in series.found.items():
        if len(injections) < runs:
            problems.append(f"{key}: {len(injections)} of {runs} injections")
        if not injections:
            continue
        fault, took = FAULTS[key], sorted(one.seconds for one in injections)
        told = [f"{one:.1f} s" for one in (quantile(took, 0.5), quantile(took, 0.99), took[-1])]
        promised = "-" if math.isinf(fault.promise) else f"{fault.promise:g} s"
        met = statistics.median(one.met for one in injections)
        lines.append(f"| {key} | {fault.said} | {len(took)} | {' | '.join(told)} | {met:.0f} | {promised} |")
        problems += [f"{key}: {one.why}" for one in injections if math.isinf(one.seconds)]
        if fault.promise < max(took) < math.inf:
            problems.append(f"{key}: the last canary request came {max(took):.1f} s after the fault, promised are {fault.promise:g} s")
    lines += ["", "What each was rolled back for, the last time:", ""]
    lines += [f"* {key}: {injections[-1].why}" for key, injections in series.found.items() if injections]
    return lines, problems


def section(
    keys: Sequence[str] = (), runs: int = RUNS, long_quiet: float = LONG_QUIET, at_once: int = AT_ONCE
) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what was promised and not seen."""
    faults = [FAULTS[key] for key in keys or FAULTS]
    return report(asyncio.run(measure(faults, runs, long_quiet, at_once)), runs, long_quiet, at_once)


def main() -> int:
    """Entry point: exit code 1 if something was not as promised."""
    parser = argparse.ArgumentParser(description="Faults of a canary, and how soon nobody meets them any more.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--runs", type=int, default=RUNS, help="injections of each")
    parser.add_argument("--quiet", type=float, default=LONG_QUIET, help="seconds before the late fault")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="stands on which the late fault is tried beside each other")
    given = parser.parse_args()
    if unknown := set(given.faults) - set(FAULTS):
        parser.error(f"no fault {' '.join(sorted(unknown))}; there are {' '.join(FAULTS)}")
    lines, wrong = section(given.faults, given.runs, given.quiet, max(1, given.at_once))
    print("\n".join(lines))
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
