"""Simulated releases by the thousand: the plain e-processes against the published table, the full design in its own. Two sections of
`make proof`.

    python -m loadtest.simulations statistics               the plain form (about ten minutes on two cores)
    python -m loadtest.simulations simulation --runs 200    the full design; 2,000 releases of each harmless world take an hour
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from rich.console import Console

from extproc import spec
from extproc.cli import rehearsal
from extproc.domain import Action
from extproc.release.compare import MeanTest
from extproc.release.eprocess import BET_WEIGHTS, BETS, BetE, bet_gains, combine
from extproc.release.simulate import TABLE, WORLDS, Run, World, at_share, full_rows, plain_rows
from extproc.release.simulate.peers import FLAGGER, KAYENTA, MANN_WHITNEY, PLANNED, Z_TEST
from extproc.release.simulate.plain import COST_SIGMA, OURS, PER_CANARY, cost, requests_to_advance, score
from loadtest.report import verdict
from loadtest.student import quantile

CONSOLE: Final = Console(highlight=False)
EXAMPLE: Final = Path(__file__).parents[1] / "envoy" / "release.yaml"
SEED: Final = 1

Section = tuple[list[str], list[str]]
"""Lines of Markdown, and what was promised and not seen."""


# ------------------------------------------------------------------------------------------------------------------ statistics
@dataclass(frozen=True, slots=True)
class Published:
    """A cell of the design's table: share rolled back, and the median of all requests where it says one."""

    share: float
    requests: int | None = None


PUBLISHED: Final[Mapping[str, Mapping[str, Published]]] = {
    "errors: A/A .5 %": {
        OURS: Published(0.0033),
        Z_TEST: Published(0.31),
        FLAGGER: Published(1.0),
        KAYENTA: Published(0.012),
        PLANNED: Published(0.0125),
    },
    "errors: .5 -> 1 %": {
        OURS: Published(0.82, 48_980),
        Z_TEST: Published(0.997, 8_340),
        FLAGGER: Published(1.0, 13_340),
        KAYENTA: Published(0.068, 50_000),
        PLANNED: Published(0.96, 42_860),
    },
    "errors: .5 -> 5 %": {
        OURS: Published(1.0, 1_840),
        Z_TEST: Published(1.0, 1_660),
        FLAGGER: Published(1.0, 8_340),
        KAYENTA: Published(1.0, 16_660),
        PLANNED: Published(1.0, 7_140),
    },
    "errors: .5 -> 100 %": {
        OURS: Published(1.0, 60),
        Z_TEST: Published(1.0, 1_660),
        FLAGGER: Published(1.0, 8_340),
        KAYENTA: Published(1.0, 16_660),
        PLANNED: Published(1.0, 7_140),
    },
    "latency: A/A": {OURS: Published(0.001), MANN_WHITNEY: Published(0.31), FLAGGER: Published(0.98)},
    "latency: +10 %": {OURS: Published(1.0, 24_150), MANN_WHITNEY: Published(1.0, 6_660), FLAGGER: Published(1.0, 28_340)},
    "latency: +50 %": {OURS: Published(1.0, 1_800), MANN_WHITNEY: Published(1.0, 1_660), FLAGGER: Published(1.0, 11_660)},
    "judge: A/A": {OURS: Published(0.001), FLAGGER: Published(0.99)},
    "judge: .80 -> .77": {OURS: Published(1.0, 10_400), FLAGGER: Published(1.0, 11_660)},
    "cost: A/A": {OURS: Published(0.002), FLAGGER: Published(0.999)},
    "cost: +15 %": {OURS: Published(1.0, 20_070), FLAGGER: Published(1.0, 13_340)},
}
NEAR: Final = 0.3
"""A median may differ by so much of itself: simulations differ in details that the table does not tell (spreads, minutes)."""
ROOM: Final = 0.03
"""And a share by so much, beside four standard deviations."""


def statistics_section(runs: int = 1000) -> Section:
    """Every row of the table, by every rule."""
    lines = [
        "The plain e-processes at request level (no strata, no epochs, no maturity), as `extproc simulate SPEC --plain` shows them:",
        "100,000 requests, 5 % canary, alpha .01 for each measure, a look after every canary request; peers look once a minute. Median",
        "of all requests (canary requests in brackets) over the releases that were rolled back.",
        "",
        "| world | rule | releases | rolled back | published | median | published |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    problems: list[str] = []
    for name in TABLE:
        number = runs if name == "errors: A/A .5 %" else max(20, runs // 4)
        for row in plain_rows(name, rehearsal.plain(name, number, SEED, CONSOLE)):
            told = PUBLISHED[name][row.rule]
            median = "-" if row.requests is None else f"{row.requests:,.0f} ({row.canary:,.0f})"
            shown = "-" if told.requests is None else f"{told.requests:,}"
            lines.append(f"| {name} | {row.rule} | {row.runs:,} | {row.share:.2%} | {told.share:.4g} | {median} | {shown} |")
            deviation = math.sqrt(max(told.share * (1 - told.share), 1 / row.runs) / row.runs)
            if abs(row.share - told.share) > 4 * deviation + ROOM:
                problems.append(f"{name}, {row.rule}: {row.share:.2%} were rolled back, published are {told.share:.2%}")
            if told.requests is not None and told.share == 1 and abs((row.requests or math.inf) / told.requests - 1) > NEAR:
                problems.append(f"{name}, {row.rule}: median {median}, published {shown}")
    advance, missed = _advance(runs)
    return lines + advance, problems + missed


REQUESTS_AT_MOST: Final = 100_000
SAFE: Final[Sequence[tuple[str, str, tuple[int, int]]]] = (
    ("errors of 0 %", "+5 pp", (106, 106)),
    ("errors of 0 %", "+1 pp", (542, 542)),
    ("errors of 0 %", "+0.5 pp", (1_086, 1_086)),
    ("errors of 0.5 %", "+5 pp", (100, 105)),
    ("errors of 0.5 %", "+1 pp", (894, 1_032)),
    ("errors of 0.5 %", "+0.5 pp", (2_407, 2_810)),
    ("judge", ".05", (166, 166)),
    ("judge", ".03", (370, 370)),
    ("judge", ".02", (834, 834)),
    ("cost", "+20 %", (475, 475)),
    ("cost", "+10 %", (1_454, 1_454)),
)


def _advance(runs: int) -> Section:
    """Canary requests until an identical canary is shown to be safe."""
    lines = ["", "Canary requests until an identical canary is shown to be within the margin (median):", ""]
    lines += ["| measure | margin | releases | median | published |", "| --- | ---: | ---: | ---: | --- |"]
    problems = []
    for measure, margin, published in SAFE:
        number = 1 if measure == "errors of 0 %" else max(21, runs // 5)
        found = [_shown_safe(measure, margin, Random(f"{SEED}/{measure}/{margin}/{run}")) for run in range(number)]
        median = statistics.median(found)
        lines.append(f"| {measure} | {margin} | {number} | {median:,.0f} | {' to '.join(f'{one:,}' for one in sorted(set(published)))} |")
        if not published[0] * (1 - NEAR) <= median <= published[1] * (1 + NEAR):
            problems.append(f"{measure} within {margin}: {median:,.0f} canary requests, published {published}")
    return lines, problems


def _shown_safe(measure: str, margin: str, draw: Random) -> float:
    value = float(margin.lstrip("+").split()[0])
    if measure == "judge":
        e, one = BetE(1.0, abs_=-value), partial(score, draw, 0.80)
    elif measure == "cost":
        return _cheap(value / 100, draw)
    else:
        rate = float(measure.split()[2]) / 100
        e, one = BetE(1.0, abs_=-value / 100), lambda: 1.0 - (draw.random() < rate)
    return requests_to_advance(e, one, one) or math.inf


def _cheap(margin: float, draw: Random) -> float:
    """By the bet that guardrails of means make: a relative margin, with stable's p99.9 as cap."""
    stake = MeanTest("cost", 0, margin, relative=True, more_is_worse=True, safety=True).stake(math.exp(3.09 * COST_SIGMA))
    assert stake is not None
    vector = [0.0] * len(BETS)
    for seen in range(1, REQUESTS_AT_MOST + 1):
        z = stake.move([[cost(draw)]], [[cost(draw)] for _ in range(PER_CANARY)])
        assert z is not None
        vector = [before + gain for before, gain in zip(vector, bet_gains(z), strict=True)]
        if combine(vector, BET_WEIGHTS) >= math.log(20):
            return seen
    return math.inf


# ------------------------------------------------------------------------------------------------------------------ simulation
HARMLESS: Final = (
    WORLDS["aa"],
    WORLDS["clustered"],
    replace(WORLDS["incident"], incident=(8.0, 16.0)),  # seconds: a release of so many requests is short
    WORLDS["slow"],
    WORLDS["ramp"],
    replace(WORLDS["late"], fault_at=math.inf, sentence="before a total failure that comes later"),
)
HARMFUL: Final = ("broken", "errors", "latency", "cost")
SHARES: Final = (0.01, 0.05, 0.25, 0.5)
REQUESTS: Final = 2_000
RATE: Final = 80.0
CANARY_RATE: Final = 20.0
LONGEST: Final = 90.0
"""Seconds in which a harmful canary is to be found."""
USERS: Final = 3_000
REQUESTS_PER_USER: Final = 8.0
"""Few people who ask often; in the request form hardly anybody asks twice."""


def simulation_section(runs: int = 2_000) -> Section:
    """False rollbacks of harmless canaries, and how soon harmful ones go, by the Evidence, gates and decisions of the controller."""
    loaded = spec.read(str(EXAMPLE))
    (rollout,) = loaded.rollouts.values()
    phase = next(index for index, one in enumerate(rollout.phases) if one.share == 0.25)
    given = rehearsal.setting(loaded, rollout, phase, RATE, REQUESTS)
    lines = [
        f"The gates of envoy/release.yaml ({len(rollout.phases[phase].gates)} measures, {len(rollout.phases[phase].ceilings)} ceilings,",
        f"{len(rollout.cohorts)} cohorts) in the full design: epochs, maturity, strata, and the controller's own decisions once a second.",
        f"Harmless canaries: {runs:,} releases of {REQUESTS:,} requests each, {RATE:.0f} a second, at 25 % (`ramp`: through all phases).",
        "",
        "| world | what happens | rolled back, wrongly | at most, by chance | z each minute | Flagger-like | Kayenta-like | paged |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    problems: list[str] = []
    for world in HARMLESS:
        made = rehearsal.releases(given, world, runs, SEED, CONSOLE)
        ours, *peers = full_rows(world, made)
        others = " | ".join(f"{one.share:.1%}" for one in peers)
        paged = sum(run.paged for run in made) / runs
        wrong = f"{ours.share:.2%} ({ours.stopped})"
        lines.append(f"| {world.name} | {world.sentence} | {wrong} | {rollout.alpha:.0%} | {others} | {paged:.1%} |")
        CONSOLE.print(lines[-1])
        if ours.share > rollout.alpha:
            problems.append(f"{world.name}: {ours.share:.2%} of harmless canaries were rolled back, alpha is {rollout.alpha:.0%}")
    found, missed = _detection(max(8, runs // 50), loaded)
    return lines + found, problems + missed


def _detection(runs: int, loaded: spec.Spec) -> Section:
    (rollout,) = loaded.rollouts.values()
    lines = [
        "",
        f"Harmful canaries: {runs} releases of each, {CANARY_RATE:.0f} canary requests a second, for at most {LONGEST:.0f} s. Median",
        "canary requests (all requests in brackets) and seconds from the fault to the rollback; in the unit form few ask eight times",
        "each.",
        "",
        "| canary | share | form | rolled back | canary requests | seconds | p95 | by |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    problems = []
    for name in HARMFUL:
        for share in SHARES:
            held, place = at_share(rollout, share)
            rate = CANARY_RATE / share
            given = rehearsal.setting(loaded, held, place, rate, round(rate * LONGEST))
            for form in ("request", "unit"):
                world = WORLDS[name] if form == "request" else _by_unit(WORLDS[name], share)
                made = rehearsal.releases(given, world, runs, SEED, CONSOLE)
                lines.append(_detected(name, share, form, made))
                CONSOLE.print(lines[-1])
                if name == "broken" and any(run.action is Action.HOLD for run in made):
                    problems.append(f"a canary that always fails was not rolled back at {share:.0%} in the {form} form")
    return lines, problems


def _by_unit(world: World, share: float) -> World:
    """As many canary people at each share: what is asked is how often they ask."""
    return replace(world, users=round(USERS * 0.25 / share), requests_per_user=REQUESTS_PER_USER)


def _detected(name: str, share: float, form: str, made: Sequence[Run]) -> str:
    stops = [(run.stop, run.seconds) for run in made if run.stop is not None and run.seconds is not None]
    head = f"| {name} | {share:.0%} | {form} | {len(stops) / len(made):.0%}"
    if not stops:
        return f"{head} | - | - | - | - |"
    canary, everybody = (statistics.median(getattr(stop, of) for stop, _ in stops) for of in ("canary", "requests"))
    took = sorted(seconds for _, seconds in stops)
    gates = [gate for run in made for gate in run.gates if gate != "together"]
    by = max(set(gates), key=gates.count) if gates else "together"
    return f"{head} | {canary:,.0f} ({everybody:,.0f}) | {statistics.median(took):.0f} | {quantile(took, 0.95):.0f} | {by} |"


SECTIONS: Final[Mapping[str, Callable[[int], Section]]] = {"statistics": statistics_section, "simulation": simulation_section}


def main() -> int:
    """Entry point: exit code 1 if a figure is not what was promised."""
    parser = argparse.ArgumentParser(description="Simulated releases by the thousand.")
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--runs", type=int, default=1000, help="releases of each harmless world")
    given = parser.parse_args()
    lines, wrong = SECTIONS[given.section](given.runs)
    print("\n".join(lines))
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
