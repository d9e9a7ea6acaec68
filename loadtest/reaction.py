"""How soon nobody meets a broken canary any more: faults injected one after the other on the real Envoy. A section of `make proof`.

    python -m loadtest.reaction                                 everything, 20 times each; the late one after ten quiet minutes (4 hours)
    python -m loadtest.reaction --runs 3 --quiet 60 errors late  some of it, shorter

A quarter of the people meet the canary, 20 requests per second; errors, mean and p95 of latency, and cost are compared. Each injection is
the first attempt of a release of its own (another attempt would have half the alpha). Timed by clients: from the fault to the last
request that was sent and met the canary, whatever became of it.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import statistics
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import track

from extproc.demo import stand
from extproc.demo.changes import watch_p95
from extproc.demo.processes import Child, DemoError, Processes
from extproc.errors import Problem
from loadtest.fault_stand import listen, start_student
from loadtest.fault_student import StudentSettings
from loadtest.faults_report import Answer
from loadtest.report import verdict
from loadtest.student import quantile

CONSOLE: Final = Console(highlight=False)
RUNS: Final = 20
QUIET: Final = 8.0
"""Seconds at 25 % before a fault: enough for stable's quantiles, too few to be called quiet."""
LONG_QUIET: Final = 600.0
SHARE: Final = 0.25
RATE: Final = 20.0 / SHARE
PEOPLE: Final = 20_000
"""They ask in turn: in an injection hardly anybody asks twice."""
STREAMING: Final = 0.1
WELL: Final = {"ttft": 0.06, "tokens_per_second": 800.0, "output_tokens": 60.0, "error_rate": 0.0, "hang_rate": 0.0}
WORKERS: Final = 2
GIVEN_UP: Final = 90.0
"""Seconds after which a fault has not been seen."""
AFTER: Final = 2.0
"""Seconds after the rollback in which nobody may meet the canary; the promise is 0.1 s, and what was under way is none."""
LAST_ANSWERS: Final = 20.0
"""Seconds until a request that hangs is given up by its client, and told."""


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


class Field:
    """Models, Envoy and a student that stay; `extproc serve` begins anew, with an empty store, for each injection."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._ports = stand.Ports.free(processes.directory)
        self._document = stand.template()
        ((self.rollout, rollout),) = self._document["rollouts"].items()
        self.stable, self.canary = rollout["stable"], rollout["canary"]
        rollout["start"] = "manual"
        for phase in rollout["phases"]:
            phase["min_dwell"], phase["max_dwell"] = "2h", "4h"
        watch_p95(self._document)
        self.models: dict[str, stand.ModelHandle] = {}
        self.answers: list[Answer] = []
        self._http = httpx.AsyncClient(trust_env=False, timeout=5.0)
        self._student: Child
        self._listening: asyncio.Task[None]

    async def start(self) -> None:
        """All that stays."""
        for seed, name in enumerate((self.stable, self.canary)):
            self.models[name] = await stand.ModelHandle.start(self._processes, name, seed, WELL)
        stand.fill(self._document, self._ports, {name: model.port for name, model in self.models.items()})
        self._spec = stand.write_spec(self._document, self._processes.directory)
        await stand.start_envoy(self._processes, self._spec, self._ports, WORKERS)
        url = f"http://127.0.0.1:{self._ports.listener}/v1/chat/completions"
        settings = StudentSettings(url, self.stable, RATE, PEOPLE, STREAMING, 1)
        self._student = await start_student(self._processes, settings)
        self._listening = asyncio.create_task(listen(self._student, self.answers))

    async def stop(self) -> None:
        """Every answer is there."""
        self._student.close_input()
        await asyncio.wait_for(self._listening, LAST_ANSWERS)
        await self._http.aclose()

    @asynccontextmanager
    async def release(self) -> AsyncIterator[None]:
        """A release at 25 %; nothing of it is left afterwards."""
        serve = await stand.start_serve(self._processes, self._spec, self._ports, WORKERS)
        try:
            for action in ("start", "promote", "promote"):
                (await self._ask("POST", f"/v1/rollouts/{self.rollout}/{action}", json={"why": "reaction"})).raise_for_status()
            yield
        finally:
            await self._processes.stop(serve)
            for path in self._processes.directory.glob("extproc.db*"):
                path.unlink()

    async def stands(self) -> tuple[str, str]:
        """(status, why) of the rollout; raises DemoError where that cannot be asked."""
        found: dict[str, Any] = (await self._ask("GET", "/v1/status")).raise_for_status().json()["rollouts"][self.rollout]
        return found["status"], found["why"] if found["status"] == "rolled_back" else found["now"]

    async def _ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        token = (self._processes.directory / "extproc.db.token").read_text().strip()
        headers = {"authorization": f"Bearer {token}"}
        return await self._http.request(method, f"http://127.0.0.1:{self._ports.api}{path}", headers=headers, **arguments)

    async def break_canary(self, fault: Fault) -> None:
        """From now on."""
        if fault.knobs:
            await self.models[self.canary].turn(fault.knobs)
        else:
            self.models[self.canary].child.process.kill()

    async def mend_canary(self, fault: Fault) -> None:
        """As it was."""
        model = self.models[self.canary]
        if fault.knobs:
            await model.turn(WELL)
        else:
            await self._processes.stop(model.child)
            self.models[self.canary] = await stand.ModelHandle.start(self._processes, self.canary, 1, WELL, model.port)

    async def meets_canary(self, since: float) -> None:
        """Wait until somebody does; raises DemoError where nobody does in time."""
        clock = asyncio.get_running_loop().time
        while not any(one.model == self.canary and one.sent > since for one in self.answers[-200:]):
            if clock() > since + LAST_ANSWERS:
                raise DemoError(Problem("reaction.nobody", self.canary, "nobody meets the canary", "look at `extproc doctor`"))
            await asyncio.sleep(0.05)


async def inject(field: Field, fault: Fault, quiet: float) -> Injection:
    """One fault, from a new release to the end of its last request."""
    clock = asyncio.get_running_loop().time
    async with field.release():
        await field.meets_canary(clock())
        await asyncio.sleep(quiet)
        status, why = await field.stands()
        if status != "progressing":
            return Injection(math.inf, 0, f"was {status} before the fault: {why}")
        begin = clock()
        await field.break_canary(fault)
        while status == "progressing" and clock() < begin + GIVEN_UP:
            await asyncio.sleep(0.1)
            with suppress(httpx.TransportError):
                status, why = await field.stands()
        await asyncio.sleep(AFTER)
        end = clock()
    await field.mend_canary(fault)
    if fault.knobs.get("hang_rate"):
        await asyncio.sleep(LAST_ANSWERS)
    if status != "rolled_back":
        return Injection(math.inf, 0, f"{status}: {why}")
    met = [one.sent for one in field.answers if begin <= one.sent < end and (one.model == field.canary or one.problem)]
    return Injection(max(met, default=begin) - begin, len(met), why)


async def measure(faults: Sequence[Fault], runs: int, long_quiet: float) -> dict[str, list[Injection]]:
    """All of them, one after the other."""
    found: dict[str, list[Injection]] = {}
    async with Processes() as processes:
        field = Field(processes)
        await field.start()
        for fault in faults:
            quiet = long_quiet if fault.late else QUIET
            found[fault.key] = [await inject(field, fault, quiet) for _ in track(range(runs), fault.key, console=CONSOLE)]
        await field.stop()
    return found


# --------------------------------------------------------------------------------------------------------------------- report
def report(found: Mapping[str, Sequence[Injection]], runs: int, long_quiet: float) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what was promised and not seen."""
    quiet = f"{long_quiet / 60:g} minutes" if long_quiet >= 60 else f"{long_quiet:g} s"
    lines = [
        f"`python -m loadtest.reaction --runs {runs} --quiet {long_quiet:g}`: the real Envoy, `extproc serve` with {WORKERS} workers,",
        f"{SHARE:.0%} share, {RATE * SHARE:.0f} canary requests/s, hardly anybody asks twice. From the fault to the last request that was",
        "sent and met the canary, as clients saw it; each injection is the first attempt of a release of its own. The late one comes",
        f"after {quiet} in the phase.",
    ]
    if runs < RUNS or long_quiet < LONG_QUIET:
        lines += ["", f"**A short form**: the full one has {RUNS} injections of each, and {LONG_QUIET / 60:g} quiet minutes."]
    lines += ["", "| fault | what | injections | p50 | p99 | worst | canary requests meanwhile (median) | promised |"]
    lines += ["| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"]
    problems: list[str] = []
    for key, injections in found.items():
        fault, took = FAULTS[key], sorted(one.seconds for one in injections)
        told = [f"{one:.1f} s" for one in (quantile(took, 0.5), quantile(took, 0.99), took[-1])]
        promised = "-" if math.isinf(fault.promise) else f"{fault.promise:g} s"
        met = statistics.median(one.met for one in injections)
        lines.append(f"| {key} | {fault.said} | {len(took)} | {' | '.join(told)} | {met:.0f} | {promised} |")
        problems += [f"{key}: {one.why}" for one in injections if math.isinf(one.seconds)]
        if fault.promise < max(took) < math.inf:
            problems.append(f"{key}: the last canary request came {max(took):.1f} s after the fault, promised are {fault.promise:g} s")
    lines += ["", "What each was rolled back for, the last time:", ""]
    lines += [f"* {key}: {injections[-1].why}" for key, injections in found.items()]
    return lines, problems


def section(keys: Sequence[str] = (), runs: int = RUNS, long_quiet: float = LONG_QUIET) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what was promised and not seen."""
    faults = [FAULTS[key] for key in keys or FAULTS]
    return report(asyncio.run(measure(faults, runs, long_quiet)), runs, long_quiet)


def main() -> int:
    """Entry point: exit code 1 if something was not as promised."""
    parser = argparse.ArgumentParser(description="Faults of a canary, and how soon nobody meets them any more.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--runs", type=int, default=RUNS, help="injections of each")
    parser.add_argument("--quiet", type=float, default=LONG_QUIET, help="seconds before the late fault")
    given = parser.parse_args()
    if unknown := set(given.faults) - set(FAULTS):
        parser.error(f"no fault {' '.join(sorted(unknown))}; there are {' '.join(FAULTS)}")
    lines, wrong = section(given.faults, given.runs, given.quiet)
    print("\n".join(lines))
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
