"""The table of faults: what a sceptical operator tries in the first hour, done to the real Envoy under load, one after the other.

    python -m loadtest.faults                     all of them (about five minutes); a section of `make proof`
    python -m loadtest.faults kill-worker lock    some

Half of the people meet the canary; a person has paused the rollout, so nothing but a fault moves anybody. For each fault: no client sees
an error, canary traffic is where it must be within its bound, a metric and a line of `extproc status` say so, and everything is well
again by itself, or as soon as what had been done is undone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from extproc import contract
from loadtest.fault_stand import WORKERS, Ground, ground, until
from loadtest.faults_report import BEAT, LEASE, SLACK, Answer, Done, Figures, Plan, figures, picture, problems, table
from loadtest.report import verdict

CONSOLE: Final = Console(highlight=False)
DOCS: Final = Path(__file__).parents[1] / "docs" / "proof"
SEEN_WITHIN: Final = 30.0
"""Seconds in which metric and status must have said so."""
WELL_WITHIN: Final = 60.0
FRESH: Final = 0.7
"""Seconds: an answer of the canary to a request sent since then says that it is met now."""
RECENT: Final = 500
"""Answers among which that is looked for."""
WITHDRAWN_WITHIN: Final = LEASE + BEAT + SLACK
BLIND_WITHIN: Final = LEASE + 2 * BEAT + 2.0 + SLACK
"""The lease, the allowance for outcomes that are on their way, an evaluation, and the heartbeat that tells of it."""

Doing = Callable[[Ground], AbstractAsyncContextManager[str]]
"""Does it, says what was done, and undoes it at the end."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One row."""

    key: str
    name: str
    do: Doing
    metric: tuple[str, ...]
    """Beginning of the series, then words in its labels. Envoy's own begins with `envoy `."""
    status: str
    """A word of the line of `extproc status`."""
    hold: float = 0.0
    """Seconds for which it lasts."""
    withdraws: float | None = None
    """Seconds within which canary traffic is on stable."""


def _signals(number: signal.Signals, undo: signal.Signals | None, whom: Callable[[Ground], int], said: str) -> Doing:
    @asynccontextmanager
    async def do(there: Ground) -> AsyncIterator[str]:
        pid = whom(there)
        os.kill(pid, number)
        try:
            yield said
        finally:
            if undo is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, undo)

    return do


@asynccontextmanager
async def _all_routers(there: Ground) -> AsyncIterator[str]:
    for pid in (there.supervisor, *there.workers(), there.controller()):
        os.kill(pid, signal.SIGKILL)
    try:
        yield "kill -9 of `extproc serve` and of all that it had started; then it is started again"
    finally:
        await there.bury_serve()
        await there.start_serve()


@asynccontextmanager
async def _slow_worker(there: Ground) -> AsyncIterator[str]:
    pid = there.workers()[0]

    async def stutter() -> None:
        try:
            while True:
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(0.1)
                os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(0.4)
        except ProcessLookupError:
            return

    stuttering = asyncio.create_task(stutter())
    try:
        yield "one of two workers stands still for 100 of every 500 ms"
    finally:
        stuttering.cancel()
        with suppress(asyncio.CancelledError):
            await stuttering
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@asynccontextmanager
async def _full_disk(there: Ground) -> AsyncIterator[str]:
    with there.full_disk() as said:
        yield said


@asynccontextmanager
async def _bad_spec(there: Ground) -> AsyncIterator[str]:
    there.write_spec("version: 1\nrollouts: [this is no Spec]\n")
    try:
        yield "the Spec's file is overwritten with one that is none"
    finally:
        there.write_spec()


@asynccontextmanager
async def _cut(there: Ground) -> AsyncIterator[str]:
    await there.cable.cut()
    try:
        yield "the socket to which Envoy sends its access log is cut off"
    finally:
        await there.cable.mend()


@asynccontextmanager
async def _new_envoy(there: Ground) -> AsyncIterator[str]:
    await there.replace_envoy()
    yield "Envoy is replaced by its own hot restart; the old process drains and ends"


@asynccontextmanager
async def _locked(there: Ground) -> AsyncIterator[str]:
    child = await there.lock_store()
    try:
        yield "another process holds an exclusive transaction on the store's file"
    finally:
        await there.unlock_store(child)


def _first_worker(there: Ground) -> int:
    return there.workers()[0]


KILL, STOP, CONT = signal.SIGKILL, signal.SIGSTOP, signal.SIGCONT
ROUTER: Final = "router.sock"
_ALL: Final = (
    Fault("kill-worker", "a worker is killed", _signals(KILL, None, _first_worker, "kill -9 of one of two workers"),
          (contract.METRIC_WORKER_RESTARTS, "died"), ROUTER),
    Fault("stop-worker", "a worker hangs", _signals(STOP, None, _first_worker, "SIGSTOP of one of two workers"),
          (contract.METRIC_WORKER_RESTARTS, "hung"), ROUTER),
    Fault("slow-worker", "a worker is slow", _slow_worker, ("envoy message_timeouts",), ROUTER, hold=6.0),
    Fault("kill-all", "all of extproc is killed", _all_routers, ("envoy failure_mode_allowed",), "api.unreachable",
          hold=4.0, withdraws=SLACK),
    Fault("bad-spec", "a bad Spec", _bad_spec, (contract.METRIC_SPEC_PROBLEM,), "is not in force", hold=LEASE + 1),
    Fault("kill-controller", "the controller is killed", _signals(KILL, None, Ground.controller, "kill -9 of the controller"),
          (contract.METRIC_HEARTBEAT_AGE,), "restarted"),
    Fault("freeze-controller", "the controller is frozen", _signals(STOP, CONT, Ground.controller, "SIGSTOP of the controller"),
          (contract.METRIC_WITHDRAWN,), "has not answered", hold=2 * LEASE + 4, withdraws=WITHDRAWN_WITHIN),
    Fault("full-disk", "the disk is full", _full_disk, (contract.METRIC_STORE_FAILURES, "full"), "cannot be used",
          hold=2 * LEASE + 4, withdraws=WITHDRAWN_WITHIN),
    Fault("lock", "the store is locked", _locked, (contract.METRIC_STORE_FAILURES, "busy"), "cannot be used",
          hold=2 * LEASE + 4, withdraws=WITHDRAWN_WITHIN),
    Fault("cut-log", "the access log is cut off", _cut, (contract.METRIC_BLIND,), "blind", hold=2 * LEASE + 8, withdraws=BLIND_WITHIN),
    Fault("new-envoy", "Envoy is restarted", _new_envoy, ("envoy server.hot_restart_generation",), ROUTER),
)  # fmt: skip
FAULTS: Final = {fault.key: fault for fault in _ALL}


async def _says(there: Ground, fault: Fault) -> tuple[str, str]:
    """(the metric's line, the status line); empty where nothing is said yet."""
    name, *words = fault.metric
    if name.startswith("envoy "):
        stat, value = await there.envoy_stat(name.removeprefix("envoy "))
        line = f"{stat}: {value}" if value else ""
    else:
        line = await there.metric(name, *words)
    return line, await there.told(fault.status)


async def _do(there: Ground, fault: Fault, plan: Plan, clock: Callable[[], float]) -> Done:
    quiet_from = clock()
    await asyncio.sleep(plan.quiet)
    begin = clock()
    found: list[str] = []
    metric = status = ""
    async with fault.do(there) as said:
        while (not metric or not status) and clock() - begin < SEEN_WITHIN:
            lines = await _says(there, fault)
            metric = metric or lines[0]
            # What the status says before the metric does may be from before the fault.
            status = status or (lines[1] if metric else "")
        await asyncio.sleep(max(0.0, fault.hold - (clock() - begin)))
        end = clock()

    async def well() -> bool:
        there.check()
        met = any(one.model == there.canary and one.sent > clock() - FRESH for one in there.answers[-RECENT:])
        return met and await there.serving() == WORKERS and not await there.metric(contract.METRIC_WITHDRAWN)

    if not await until(well, WELL_WITHIN):
        found.append(f"was not well again within {WELL_WITHIN:g} s")
    at = clock()
    await asyncio.sleep(plan.quiet / 2)
    end, recovery = (end, at - end) if fault.hold else (at, at - begin)
    return Done(fault.name, said, fault.withdraws, quiet_from, begin, end, recovery, clock(), metric, status, tuple(found))


async def measure(keys: Sequence[str], plan: Plan) -> tuple[list[Done], list[Answer], str]:
    """Done one after the other, every answer, and the canary's name."""
    async with ground(plan) as there:
        clock = asyncio.get_running_loop().time
        await until(lambda: _half(there), WELL_WITHIN)
        found = []
        for key in keys:
            CONSOLE.print(f"… {FAULTS[key].name}")
            found.append(await _do(there, FAULTS[key], plan, clock))
        answers, canary = there.answers, there.canary
    return found, answers, canary


async def _half(there: Ground) -> bool:
    there.check()
    return any(one.model == there.canary for one in there.answers)


def section(keys: Sequence[str] = (), plan: Plan = Plan()) -> tuple[list[str], list[str]]:  # noqa: B008 - frozen
    """Lines of Markdown, and what was promised and not seen; writes the picture of all of them."""
    found, answers, canary = asyncio.run(measure(keys or list(FAULTS), plan))
    rows: list[tuple[Done, Figures]] = [(done, figures(done, answers, canary)) for done in found]
    if not keys:
        (DOCS / "faults.svg").write_text(picture(rows, answers, canary))
    lines = [
        f"`python -m loadtest.faults`: the real Envoy, `extproc serve` with {WORKERS} workers, `watch_lease` {LEASE:g} s, {plan.rate:g}",
        f"requests/s of {plan.people} people (one in five streams), the rollout paused at 50 %. Every answer to every request counts.",
        "",
        "![the canary's share of answers through each fault](faults.svg)",
        "",
        *table(rows),
    ]
    return lines, [one for done, seen in rows for one in problems(done, seen)]


def main() -> int:
    """Entry point: exit code 1 if something was not as promised."""
    parser = argparse.ArgumentParser(description="Faults, done to the real Envoy under load.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    keys = parser.parse_args().faults
    if unknown := set(keys) - set(FAULTS):
        parser.error(f"no fault {' '.join(sorted(unknown))}; there are {' '.join(FAULTS)}")
    lines, wrong = section(keys)
    print("\n".join(lines))
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
