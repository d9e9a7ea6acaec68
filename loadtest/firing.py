"""Does everything fire that a Spec can ask for? Each gate, each ceiling and a Prometheus metric alone, on the real Envoy.

    python -m loadtest.firing                                  all of them (about eighteen minutes)
    python -m loadtest.firing gate:errors ceiling:latency_p95  some

For each case a release of its own with nothing but that gate, or that ceiling; the canary is made bad in that one quality, and the
release has to be rolled back with a reason that names it. Where both arms are over a ceiling it has to be held, and a person called.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import httpx
from rich.console import Console
from rich.progress import track

from extproc.demo import stand
from extproc.demo.changes import same_prices
from extproc.demo.processes import DemoError, Processes
from extproc.errors import Problem
from extproc.measures import MEASURES
from loadtest import scraping
from loadtest.field import GIVEN_UP, QUIET, RATE, SHARE, WELL, WORKERS, Crowd, Field, Standing
from loadtest.report import verdict

CONSOLE: Final = Console(highlight=False)
PATIENCE: Final = 2.0
"""Seconds after which clients give a request up: longer than any answer of a model that is well, shorter than the deadline."""
AFTER: Final = PATIENCE + 0.5
"""Seconds until every request is told of that was under way; what was held must still be, then."""
CROWD: Final = Crowd(
    streaming=1.0,
    patience=PATIENCE,
    knobs={**WELL, "spread": 0.4, "error_status": 500, "input_factor": 1.0, "cached_share": 0.6, "reasoning_share": 0.3},
)
"""Everybody wants a stream: without one the first token comes with the last."""
METRIC: Final = "failing"
READY: Final = 30.0


class Ends(StrEnum):
    """What has to become of a release."""

    ROLLED_BACK = "rolled back"
    HELD = "held, a person is called"
    RETURNED = "back in the phase before"


@dataclass(frozen=True, slots=True)
class Bad:
    """One way to be worse."""

    said: str
    knobs: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Case:
    """One gate, ceiling or metric, and a canary that breaks it."""

    key: str
    bad: Bad
    gating: Mapping[str, Any]
    """`gates`, `ceilings`, `metrics` of the rollout."""
    says: str
    """How the reason begins."""
    ends: Ends = Ends.ROLLED_BACK
    both_arms: bool = False
    """Stable is made as bad."""
    on_fail: str = "roll_back"

    def names_it(self, why: str) -> bool:
        """True where a reason is about this gate, this ceiling or this metric, and nothing else of that name."""
        return why.startswith(self.says) and (", ceiling " in why) is bool(self.gating["ceilings"])


@dataclass(frozen=True, slots=True)
class Fired:
    """What was seen of one case."""

    case: Case
    seconds: float
    """From the change to the last canary request, where it was rolled back; else to the hold or the return. Infinite: neither."""
    met: int
    """Canary requests in that time; of a hold none are counted: nobody is moved."""
    why: str


# ----------------------------------------------------------------------------------------------------------------------- cases
_FAILS: Final = Bad("every second answer is a 500", {"error_rate": 0.5})
_LATE_FIRST: Final = Bad(
    "the first token takes twice as long, the others come sooner: the answer ends when it did", {"ttft": 0.12, "tokens_per_second": 4000.0}
)
_TAIL: Final = Bad("a few first tokens take far longer; their mean is the same", {"spread": 1.2})
_SLOW: Final = Bad("every token after the first takes twice as long", {"tokens_per_second": 400.0})
_LONG: Final = Bad("answers have twice the tokens, in the same time", {"output_tokens": 120.0, "tokens_per_second": 1600.0})
_HUNGRY: Final = Bad("its tokenizer reads twice the tokens in the same text", {"input_factor": 2.0})
_PONDERS: Final = Bad("70 % of the output is reasoning, not 30 %", {"reasoning_share": 0.7})
_THROTTLES: Final = Bad("every second answer is a 429", {"error_rate": 0.5, "error_status": 429})
_HANGS: Final = Bad(f"every second answer does not come; clients give up after {PATIENCE:g} s", {"hang_rate": 0.5})
_DRIPS: Final = Bad(f"tokens come one by one, 15 in a second; clients give up after {PATIENCE:g} s", {"tokens_per_second": 15.0})
_NO_CACHE: Final = Bad("10 % of the input comes from the cache, not 60 %", {"cached_share": 0.1})

GATES: Final[Mapping[str, Bad]] = {
    "errors": _FAILS,
    "throttled": _THROTTLES,
    "client_aborts": _HANGS,
    "abandons": _DRIPS,
    "ttft_mean": _LATE_FIRST,
    "ttft_p50": _LATE_FIRST,
    "ttft_p95": _TAIL,
    "ttft_p99": _TAIL,
    "latency_mean": _SLOW,
    "latency_p50": _SLOW,
    "latency_p95": _TAIL,
    "latency_p99": _TAIL,
    "cost": _LONG,
    "input_tokens": _HUNGRY,
    "cached_tokens": _NO_CACHE,
    "output_tokens": _LONG,
    "reasoning_tokens": _PONDERS,
    "output_rate": _SLOW,
}
"""By measure, how a canary is worse than stable."""
BY_PEOPLE: Final[Mapping[str, str]] = {
    "judge": "worse-answers",
    "tripwires": "refusals",
    "retries": "retries",
    "regenerates": "regenerates",
    "session_length": "short-sessions",
    "thumbs": "thumbs-down",
}
"""Measures that only somebody who reads answers tells of -> the scenario of `extproc demo` that shows each of them fire."""

_FAR_LATER: Final = Bad("the first token takes 0.4 s, not 0.06 s", {"ttft": 0.4})
_FAR_SLOWER: Final = Bad("100 tokens per second, not 800", {"tokens_per_second": 100.0})
_FAR_LONGER: Final = Bad("answers have three times the tokens, in the same time", {"output_tokens": 180.0, "tokens_per_second": 2400.0})

CEILINGS: Final[Mapping[str, tuple[str | int, Bad]]] = {
    "errors": ("10%", _FAILS),
    "throttled": ("10%", _THROTTLES),
    "client_aborts": ("10%", _HANGS),
    "abandons": ("10%", _DRIPS),
    "ttft_mean": ("300ms", _FAR_LATER),
    "ttft_p50": ("300ms", _FAR_LATER),
    "ttft_p95": ("400ms", _FAR_LATER),
    "ttft_p99": ("600ms", _FAR_LATER),
    "latency_mean": ("500ms", _FAR_SLOWER),
    "latency_p50": ("400ms", _FAR_SLOWER),
    "latency_p95": ("600ms", _FAR_SLOWER),
    "latency_p99": ("1s", _FAR_SLOWER),
    "cost": ("$0.001", _FAR_LONGER),
    "input_tokens": (90, _HUNGRY),
    "output_tokens": (100, _FAR_LONGER),
    "reasoning_tokens": (30, _PONDERS),
}
"""By measure, a limit that a model that is well keeps, and how a canary breaks it."""
SHARED: Final = ("errors", "latency_p95", "output_tokens")
"""An event, a quantile and a mean: ceilings that both arms break."""


def _gate(name: str, bad: Bad) -> Case:
    return Case(f"gate:{name}", bad, _only(gates={name: {}}), f"{name}: ")


def _ceiling(name: str, limit: str | int, bad: Bad) -> Case:
    return Case(f"ceiling:{name}", bad, _only(ceilings={name: limit}), f"{name}: ")


def _shared(name: str, limit: str | int, bad: Bad) -> Case:
    says = f"incident in both arms, held: {name}: "
    return Case(f"both:{name}", bad, _only(ceilings={name: limit}), says, Ends.HELD, both_arms=True)


def _metric(on_fail: str, ends: Ends) -> Case:
    """A number that Envoy has and Prometheus asks for: failures of the canary's cluster in a second."""
    ours = 'envoy_cluster_name=~".*gpt-5-mini.*",envoy_response_code_class="5"'
    query = f"sum(rate(envoy_cluster_upstream_rq_xx{{{ours}}}[5s])) or vector(0)"
    says = f"{'held: ' if ends is Ends.HELD else ''}metric {METRIC}: "
    return Case(f"metric:{on_fail}", _FAILS, _only(metrics={METRIC: {"query": query, "max": 1, "on_fail": on_fail}}), says, ends)


def _only(**written: Any) -> dict[str, Any]:
    return {"gates": {}, "ceilings": {}, "metrics": {}, **written}


_ALL: Final = (
    *(_gate(name, bad) for name, bad in GATES.items()),
    *(_ceiling(name, limit, bad) for name, (limit, bad) in CEILINGS.items()),
    *(_shared(name, *CEILINGS[name]) for name in SHARED),
    _metric("roll_back", Ends.ROLLED_BACK),
    _metric("hold", Ends.HELD),
    Case("return:errors", _FAILS, _only(gates={"errors": {}}), "errors: ", Ends.RETURNED, on_fail="return"),
)
CASES: Final = {case.key: case for case in _ALL}


# ------------------------------------------------------------------------------------------------------------------------- run
def written(document: dict[str, Any], case: Case) -> None:
    """Put a case's gates into the Spec's only rollout; its last phase, which nobody comes to, has a ceiling because it must."""
    (rollout,) = document["rollouts"].values()
    rollout.update(case.gating)
    *phases, last = rollout["phases"]
    for phase in phases:
        phase.pop("gates", None)
    phases[-2]["on_fail"] = case.on_fail
    last.update({"gates": {}, "ceilings": {"errors": "50%"}, "metrics": {}})


async def fire(field: Field, case: Case) -> Fired:
    """One case, from a new release to its end."""
    clock = asyncio.get_running_loop().time
    written(field.document, case)
    async with field.release("gates"):
        await asyncio.sleep(QUIET)
        before = await field.stands()
        if before.status != "progressing" or before.page:
            return Fired(case, math.inf, 0, f"was {before.status} before anything was done: {before.said}")
        begin = clock()
        await field.turn(case.bad.knobs, (field.stable, field.canary) if case.both_arms else ())
        await field.until(lambda now: _end(now, before) is not None)
        moved = clock() - begin
        await asyncio.sleep(AFTER)
        standing, end = await field.stands(), clock()
    await field.mend()
    reached = _end(standing, before)
    if reached is not case.ends:
        return Fired(case, math.inf, 0, f"{reached or standing.status}: {standing.said}")
    if reached is Ends.HELD:
        return Fired(case, moved, 0, standing.now)
    return Fired(case, *field.met(begin, end if reached is Ends.ROLLED_BACK else begin + moved), standing.why)


def _end(standing: Standing, before: Standing) -> Ends | None:
    """What became of it; None while nothing has."""
    if standing.status == "rolled_back":
        return Ends.ROLLED_BACK
    if standing.phase != before.phase:
        return Ends.RETURNED
    return Ends.HELD if standing.status == "progressing" and standing.page else None


async def start_prometheus(field: Field) -> str:
    """Debian's, that looks at the Envoy each second; returns its URL when it has seen it. Raises DemoError."""
    program = shutil.which("prometheus")
    if program is None:
        raise DemoError(Problem("gates.prometheus", "prometheus", "is not installed", "make tools"))
    words, url = scraping.command(program, field.processes.directory, field.envoy_admin, "/stats/prometheus")
    child, clock = await field.processes.start("prometheus", words), asyncio.get_running_loop().time
    deadline = clock() + READY
    async with httpx.AsyncClient(trust_env=False, timeout=2.0) as client:
        while clock() < deadline:
            try:
                if (await client.get(f"{url}/api/v1/query", params={"query": "up == 1"})).json()["data"]["result"]:
                    return url
            except (httpx.TransportError, ValueError, KeyError):
                pass
            await asyncio.sleep(0.2)
    raise DemoError(child.problem("gates.prometheus", f"has not seen the Envoy within {READY:g} s"))


async def measure(cases: Sequence[Case]) -> list[Fired]:
    """All of them, one after the other."""
    async with Processes() as processes:
        document = stand.template()
        same_prices(document)
        (rollout,) = document["rollouts"].values()
        rollout["cohorts"] = [{"name": "everyone"}]
        field = Field(processes, document, CROWD)
        await field.start()
        if any(case.gating["metrics"] for case in cases):
            document["prometheus"] = {"url": await start_prometheus(field), "every": "1s"}
        found = [await fire(field, case) for case in track(cases, "gates", console=CONSOLE)]
        await field.stop()
    return found


# --------------------------------------------------------------------------------------------------------------------- report
def report(found: Sequence[Fired]) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what did not fire, or fired for another reason."""
    lines = [
        f"`python -m loadtest.firing`: the real Envoy, `extproc serve` with {WORKERS} workers, {SHARE:.0%} share,",
        f"{RATE * SHARE:.0f} canary requests/s, hardly anybody asks twice, every answer is a stream, the deadline is 3 s. Each of",
        f"the {len(MEASURES) - len(BY_PEOPLE)} measures that outcomes tell of is the only gate of a release of its own, then (where less",
        "is not worse) its only ceiling.",
        "After a few quiet seconds the canary is made bad in that one quality. Timed from there to the last request that was sent and met",
        "the canary, as clients saw it; where it is held (`both`: stable is made as bad; nobody is moved) or returns, to that. Given up",
        f"after {GIVEN_UP:g} s. `metric` asks the real Prometheus for a rate that it scrapes from Envoy. How one cohort alone goes back is",
        "shown by `extproc demo --scenario one-country`; what only those tell who read answers, by "
        + ", ".join(f"`{name}`" for name in BY_PEOPLE.values()),
    ]
    if missing := CASES.keys() - {one.case.key for one in found}:
        lines += ["", f"**A short form**: {len(missing)} of {len(CASES)} are not in it."]
    lines += ["", "| gate or ceiling | what was done | has to be | seconds | canary requests | what it said |"]
    lines += ["| --- | --- | --- | ---: | ---: | --- |"]
    problems: list[str] = []
    for one in found:
        case, fires = one.case, not math.isinf(one.seconds)
        took = f"{one.seconds:.1f}" if fires else "never"
        asked = f" {next(iter(case.gating['ceilings'].values()))}" if case.gating["ceilings"] else ""
        who = "both models: " if case.both_arms else ""
        met = str(one.met) if one.met else "-"
        lines.append(f"| {case.key}{asked} | {who}{case.bad.said} | {case.ends} | {took} | {met} | {one.why} |")
        if not fires:
            problems.append(f"{case.key}: did not fire: {one.why}")
        elif not case.names_it(one.why):
            problems.append(f"{case.key}: the reason is another one: {one.why}")
    fired = len(found) - len(problems)
    lines += ["", f"{fired} of {len(found)} did what they have to, and said so."]
    return lines, problems


def section(keys: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Lines of Markdown, and what did not fire, or fired for another reason."""
    return report(asyncio.run(measure([CASES[key] for key in keys or CASES])))


def main() -> int:
    """Entry point: exit code 1 if something did not fire."""
    parser = argparse.ArgumentParser(description="Every gate and every ceiling against a canary that is bad in that one quality.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    given = parser.parse_args()
    if unknown := set(given.cases) - set(CASES):
        parser.error(f"no case {' '.join(sorted(unknown))}; there are {' '.join(CASES)}")
    lines, wrong = section(given.cases)
    print("\n".join(lines))
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
