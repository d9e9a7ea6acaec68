"""The judge's gate by the thousand: false rollbacks, how many answers a worse canary takes, how many a canary that is as good. A section of
`make proof`.

    python -m loadtest.judged [--runs 400]

The Evidence that runs in the controller is fed with ratings: an answer has a worth of its own, and the judge adds its noise (test-retest
.15). The gate stands beside those of errors, latency and cost, which see nothing: it crosses at its weight.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Final

import yaml
from rich.console import Console
from rich.progress import track

from extproc.cli.write import filled_template
from extproc.domain import Arm, Rating, Rollout
from extproc.release import Evidence, harm_limit
from extproc.release.eprocess import BetE
from extproc.release.gate import SAFE_LIMIT, weights
from extproc.release.plan import Assumed, units_to_advance
from extproc.spec import load
from loadtest.report import verdict

NOISE: Final = 0.15
"""Of the judge: standard deviation of two scores of the same answer around their mean."""
SPREAD: Final = 0.2
"""Of the answers' own worth."""
PHASES: Final = (0, 1, 2)
"""1, 5 and 25 %: margins .05, .03, .02."""
BEGIN: Final = 1_000_000_000.0
WITHIN: Final = 60.0
LONGEST: Final = 6_000
"""Answers of an arm after which a release is let go."""
MOST: Final = 12_000
"""The same of one that is as good: it is to pass, however long that takes."""
CONSOLE: Final = Console(highlight=False)
Section = tuple[list[str], list[str]]


@dataclass(frozen=True, slots=True)
class World:
    """What canary and stable are worth, and who asks."""

    name: str
    canary: float
    stable: float = 0.80
    people: int = 0
    """So many ask, again and again, each with answers of an own worth; 0: everybody asks once."""
    drift: float = 0.0
    """The judge grows milder by so much from the first answer to the last, for both arms alike."""
    answers: int = LONGEST
    by_chance: bool = False
    """Which arm's answer comes next is tossed for, as in traffic; else one of each in turn."""


A_A: Final = (
    World("A/A", 0.80, answers=3_000),
    World("A/A, the judge drifts by +.2", 0.80, drift=0.2, answers=3_000),
    World("A/A, 150 people ask again and again", 0.80, people=150, answers=3_000),
)
WORSE: Final = (World(".80 -> .77", 0.77), World(".80 -> .75", 0.75), World(".80 -> .70", 0.70), World(".80 -> .50", 0.50))


@dataclass(frozen=True, slots=True)
class Run:
    """One release."""

    rolled_back: int | None
    """After so many canary answers; None: never."""
    safe: tuple[int | None, ...]
    """By phase: after so many canary answers the gate passed."""


def judged_rollout() -> Rollout:
    """The template's rollout with a judge, and the gates that it has then."""
    document = yaml.safe_load(filled_template("proof", "old", "new"))
    document["judge"] = {"judges": [{"url": "http://127.0.0.1:1/v1", "model": "judge"}], "within": f"{WITHIN:g}s"}
    (rollout,) = load(yaml.safe_dump(document)).rollouts.values()
    return rollout


def release(rollout: Rollout, world: World, phases: Sequence[int], number: int) -> Run:
    """One seeded release, looked at after every canary answer."""
    draw = Random(f"{world.name}/{number}")
    found = [Evidence(rollout, 8.0) for _ in phases]
    for evidence, phase in zip(found, phases, strict=True):
        evidence.begin_visit(1, phase)
    weight = weights(rollout)["judge"]
    limit = harm_limit(rollout, 1)
    worths = {(arm, one): draw.gauss(0.0, SPREAD) for arm in range(2) for one in range(world.people)}
    rolled_back: int | None = None
    places: list[int | None] = [None] * len(phases)
    for answer in range(1, world.answers + 1):
        for index in range(1 + (_run_of_control(draw) if world.by_chance else 1)):
            arm, mean = (Arm.CONTROL, world.stable) if index else (Arm.CANARY, world.canary)
            unit = draw.randrange(world.people) if world.people else answer
            own = worths[index, unit] if world.people else draw.gauss(0.0, SPREAD)
            milder = world.drift * answer / world.answers
            value = min(1.0, max(0.0, mean + own + milder + draw.gauss(0.0, NOISE)))
            told = Rating("judge", f"{answer}-{index}", rollout.name, 1, "everyone", arm, f"{unit:012x}{index:04x}", BEGIN + answer, value)
            for evidence in found:
                evidence.hear(told)
        for place, evidence in enumerate(found):
            evidence.rated.advance(BEGIN + answer + WITHIN, 1, {1: phases[place]}, frozenset())
            if places[place] is None and evidence.log_e_safe("judge") >= SAFE_LIMIT:
                places[place] = answer
        harm = found[-1].log_e_harm("judge")
        if rolled_back is None and math.log(weight) + harm >= limit - 1e-9:
            rolled_back = answer
            break
        if not world.people and world.canary == world.stable and world.answers == MOST and None not in places:
            break
    return Run(rolled_back, tuple(places))


def _run_of_control(draw: Random) -> int:
    """Answers of control before the next one of the canary, each arm as likely as the other."""
    count = 0
    while draw.random() < 0.5:
        count += 1
    return count


def _all(world: World, phases: Sequence[int], runs: int, pool: ProcessPoolExecutor) -> list[Run]:
    one: Callable[[int], Run] = partial(release, judged_rollout(), world, phases)
    return list(track(pool.map(one, range(runs), chunksize=4), world.name, total=runs, console=CONSOLE))


def section(runs: int = 400) -> Section:
    """All worlds."""
    rollout = judged_rollout()
    weight = weights(rollout)["judge"]
    lines = [
        f"The judge's gate as it runs in the controller (scales, epochs, units, maturity), with alpha {rollout.alpha:g} of the release and",
        f"a weight of {weight:.2f} beside the default gates, which see nothing here. Answers are worth .80 with a standard deviation of",
        f"{SPREAD:g}, the judge's noise is {NOISE:g}; as many answers of canary and control are judged. A look after each.",
        "",
        "| harmless | releases | answers of each arm | rolled back | at most |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    problems: list[str] = []
    with ProcessPoolExecutor() as pool:
        for world in A_A:
            made = _all(world, (1,), runs, pool)
            share = sum(run.rolled_back is not None for run in made) / runs
            lines.append(f"| {world.name} | {runs} | {world.answers:,} | {share:.2%} | {rollout.alpha:.0%} |")
            if share > rollout.alpha + 3 * math.sqrt(rollout.alpha * (1 - rollout.alpha) / runs):
                problems.append(f"{world.name}: {share:.2%} false rollbacks")
        product = ""
        lines += ["", "| worse | releases | rolled back | canary answers, median | p95 |", "| --- | ---: | ---: | ---: | ---: |"]
        for world in WORSE:
            made = _all(world, (1,), runs // 2, pool)
            took = sorted(run.rolled_back for run in made if run.rolled_back is not None)
            p95 = f"{took[int(0.95 * len(took))]:,}" if len(took) >= 0.96 * len(made) else "-"
            median = f"{statistics.median(took):,.0f}" if took else "-"
            product = product or median
            lines.append(f"| {world.name} | {len(made)} | {len(took) / len(made):.0%} | {median} | {p95} |")
            if world.canary <= 0.75 and len(took) < len(made):
                problems.append(f"{world.name}: {len(made) - len(took)} of {len(made)} were not found")
        lines += as_good(rollout, runs // 2, pool)
    published, here = (statistics.median(plain(stable, noise, runs // 4)) for stable, noise in ((19, 0.0), (1, NOISE)))
    lines += [
        "",
        "The table of the design says 520 canary answers for .80 -> .77 (docs/proof/statistics.md, rows `judge`). That holds for the plain",
        "form only: one e-process at alpha .01, without scales and weights, nineteen answers of stable against each of the canary, and a",
        f"judge without noise; here it takes {published:,.0f} so. It does not hold for the product, whose median is the {product} above:",
        f"it judges as many answers of control as of the canary, with a noise of {NOISE:g}, of which the plain form takes {here:,.0f}",
        "already; and its gate has a weight of",
        f"{weight:.2f} beside all others, a third of it at each of three scales: the price of one alpha for the whole release.",
    ]
    return lines, problems


def as_good(rollout: Rollout, runs: int, pool: ProcessPoolExecutor) -> list[str]:
    """How many answers a canary takes that is as good as stable, beside what `extproc timeline` says beforehand."""
    worlds = [replace(A_A[0], answers=MOST, by_chance=by_chance) for by_chance in (False, True)]
    turns, chance = (_all(world, PHASES, runs, pool) for world in worlds)
    lines = [
        "",
        "| as good: until the gate passes | margin | planned | passed | canary answers, mean | median | median, in turns |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for place, phase in enumerate(rollout.phases[index] for index in PHASES):
        gate = next(gate for gate in phase.gates if gate.measure == "judge")
        planned = units_to_advance(gate, phase.share, Assumed())
        passed, strict = ([found for run in made if (found := run.safe[place]) is not None] for made in (chance, turns))
        row = (
            f"phase {phase.name}",
            f"{gate.margin:g}",
            f"{planned:,}",
            f"{len(passed) / len(chance):.0%}",
            *(f"{number:,.0f}" for number in (statistics.fmean(passed), statistics.median(passed), statistics.median(strict))),
        )
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "Which arm's answer comes next is tossed for there, as in traffic: several of one arm then stand against one of the other, which",
        "takes some 45 % more than one of each in turn (the last column). In the tables above they come in turn; by chance those take",
        "more too.",
    ]
    return lines


def plain(stable: int, noise: float, runs: int) -> list[int]:
    """Canary answers to an e-value of 100, so many answers of stable against each, of .77 against .80."""
    found = []
    for number in range(runs):
        draw, process = Random(f"plain/{stable}/{noise}/{number}"), BetE(1.0)

        def value(mean: float, draw: Random = draw) -> float:
            return min(1.0, max(0.0, mean + draw.gauss(0.0, SPREAD) + draw.gauss(0.0, noise)))

        for answer in range(1, 4 * LONGEST):
            process.record(1 - value(0.77), statistics.fmean(1 - value(0.80) for _ in range(stable)))
            if process.log_e >= math.log(100.0):
                found.append(answer)
                break
    return found


def main() -> int:
    """Entry point: exit code 1 if a figure is not what was promised."""
    parser = argparse.ArgumentParser(description="The judge's gate by the thousand.")
    parser.add_argument("--runs", type=int, default=400, help="releases of each harmless world")
    lines, wrong = section(parser.parse_args().runs)
    print("\n".join(lines))
    return verdict(wrong, CONSOLE)


if __name__ == "__main__":
    sys.exit(main())
