"""The planner: how long each phase must run, what it can see, and what would make a plan possible that cannot succeed.

Expected growth of the e-processes that decide, not a rule of thumb: a gate passes when its log-capital, growing as it does for a canary
that is as good as stable, reaches ln 20; a fault is found when the log-capital against "no worse" reaches the gate's limit. Units count,
so a business of forty tenants is told so before it begins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Final

from extproc.domain import Application, Gate, Phase, Rollout
from extproc.domain.seconds import DAY
from extproc.errors import Problem
from extproc.measures import ERRORS, MEASURES, Kind, Measure
from extproc.release.compare import MeanTest
from extproc.release.eprocess import BET_WEIGHTS, BETS, RATIO_WEIGHTS, RATIOS, combine
from extproc.release.flight import EARLY, GRACE
from extproc.release.gate import SAFE_LIMIT, harm_limit, weights
from extproc.release.limits import CAP_AT, CAP_OVER_MEDIAN
from extproc.release.scales import MINUTE, SCALE_WEIGHT, WHOLE
from extproc.release.sentences import duration, percent
from extproc.release.sentences import margin as said_margin
from extproc.release.watched import is_guardrail

LOSS: Final = 1.3
"""Real batches hold 1.6 canary units that count as one: that costs up to a third (tests/unit/test_eprocess)."""
MOST_UNITS: Final = 10_000_000
REACHED: Final = 0.95
"""Of the units of a day: the last ones do not come in time."""
QUIET: Final = 10
"""Minutes of quiet before the fault that a phase is asked to see."""
TICK: Final = 1.0
"""Seconds between evaluations."""
RATED_GRID: Final = 40
"""Scores of each arm that stand for all: of 60 the numbers are 1 % larger."""
WIDEST: Final = 5
"""A margin that is wider still is another promise."""
LOG_WHOLE: Final = math.log(WHOLE.weight(1))


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is believed of stable before anything was measured."""

    errors: float = 0.005
    """Share of requests that fail."""
    spread: float = 0.8
    """Standard deviation of the logarithm of latencies and costs; 0.8 is usual for LLMs."""
    score: float = 0.8
    """Mean of the judge's scores."""
    score_spread: float = 0.25
    """Their standard deviation, the judge's own noise included."""


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What one guardrail needs."""

    measure: str
    margin: float
    units: int | None
    """Canary units until a canary that is as good as stable has shown it; None where no number is enough."""


@dataclass(frozen=True, slots=True)
class PhasePlan:
    """One phase."""

    name: str
    share: float
    requests: float
    """Of the canary, a day."""
    units: float
    """Distinct units that can meet the canary at all."""
    gates: tuple[GatePlan, ...]
    seconds: float | None
    """Until it can be left, at best; None: never."""
    smallest: float | None
    """Error rate of the canary that is found within that time, more often than not; None where there is nobody to compare with."""
    failures: int | None
    """Of distinct units until a total failure is rolled back, after ten quiet minutes; None where there are not so many units."""
    found_after: float | None
    """Seconds from its first failure to that rollback."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole release."""

    phases: tuple[PhasePlan, ...]
    problems: tuple[Problem, ...]
    """Why it cannot succeed, each with what would make it possible; empty where it can."""
    shadow: float = 0.0
    """Seconds of its shadow, at best; 0 where it has none."""

    @property
    def seconds(self) -> float | None:
        """Of the shadow and all phases together, at best."""
        total = self.shadow
        for phase in self.phases:
            if phase.seconds is None:
                return None
            total += phase.seconds
        return total


def plan(application: Application, rollout: Rollout, assumed: Assumed = Assumed()) -> Plan:
    """What a rollout can do with this traffic."""
    phases, problems = [], []
    for index, phase in enumerate(rollout.phases):
        made = _phase(application, rollout, phase, assumed)
        phases.append(made)
        problems += _problems(application, rollout, index, made, assumed)
    problems += _shadow_problems(application, rollout)
    return Plan(tuple(phases), tuple(problems), _shadow_seconds(application, rollout))


def _shadow_seconds(application: Application, rollout: Rollout) -> float:
    shadow = rollout.shadow
    if shadow is None:
        return 0.0
    pairs = max(shadow.min_pairs, shadow.min_judged)
    return max(shadow.min_dwell, pairs / (application.daily_requests * shadow.share) * DAY)


def _shadow_problems(application: Application, rollout: Rollout) -> Iterator[Problem]:
    shadow = rollout.shadow
    if shadow is None or _shadow_seconds(application, rollout) <= shadow.max_dwell:
        return
    within = application.daily_requests * shadow.share * shadow.max_dwell / DAY
    message = f"about {within:,.0f} requests are mirrored within max_dwell, {max(shadow.min_pairs, shadow.min_judged):,} pairs are needed"
    yield Problem("plan.few-pairs", f"rollouts.{rollout.name}.shadow", message, "a larger share, a longer max_dwell or fewer pairs")


def _phase(application: Application, rollout: Rollout, phase: Phase, assumed: Assumed) -> PhasePlan:
    share = min(phase.share, 1 - rollout.holdback)
    units = application.daily_units * share
    compared = share < 1.0
    gates = tuple(
        GatePlan(gate.measure, gate.margin, units_to_advance(gate, share, assumed))
        for gate in phase.gates
        if compared and is_guardrail(gate)
    )
    seconds = _seconds(application, rollout, phase, share, gates)
    failures = _failures(rollout, share) if compared else None
    if failures is not None and failures > units * REACHED:
        failures = None
    rate = min(application.daily_requests * share / DAY, units)
    return PhasePlan(
        name=phase.name,
        share=share,
        requests=application.daily_requests * share,
        units=units,
        gates=gates,
        seconds=seconds,
        smallest=_smallest(rollout, share, _met(application, share, seconds or phase.max_dwell), assumed) if compared else None,
        failures=failures,
        found_after=failures / rate + EARLY + GRACE + TICK if failures is not None and rate > 0 else None,
    )


# ------------------------------------------------------------------------------------------------------------------------ time
def _told(application: Application, rollout: Rollout, measure: str) -> tuple[Application, float]:
    """The application as a measure sees it (a judge reads some of its requests), and how old a request is when it counts."""
    judging = rollout.judging
    if MEASURES[measure].read is not None or judging is None:
        return application, MINUTE.seconds + application.sla.latency_p99
    return replace(application, daily_requests=round(application.daily_requests * judging.share)), rollout.matures[measure]


def _met(application: Application, share: float, seconds: float) -> float:
    """Distinct canary units after so long: the same people come every day, each as often as the average."""
    each = application.daily_requests / application.daily_units
    return application.daily_units * share * (1 - math.exp(-each * seconds / DAY))


def _time_for(application: Application, share: float, units: float) -> float | None:
    """Seconds until so many distinct units have met the canary; None where there are not so many."""
    there = application.daily_units * share
    if units > there * REACHED:
        return None
    return -math.log(1 - units / there) / (application.daily_requests / application.daily_units) * DAY if units > 0 else 0.0


def _seconds(application: Application, rollout: Rollout, phase: Phase, share: float, gates: Sequence[GatePlan]) -> float | None:
    longest = phase.min_dwell
    for gate in gates:
        told, age = _told(application, rollout, gate.measure)
        shown = None if gate.units is None else _time_for(told, share, gate.units)
        if shown is None:
            return None
        longest = max(longest, shown + age)
    met = _time_for(application, share, phase.min_units)
    if met is None:
        return None
    return max(longest, met, phase.min_requests / (application.daily_requests * share) * DAY)


# ---------------------------------------------------------------------------------------------------------------------- safety
def units_to_advance(gate: Gate, share: float, assumed: Assumed) -> int | None:
    """Canary units until an identical canary has shown that it is within the margin; None where no number is enough."""
    growth = _growth_of_safety(gate, assumed)
    # Ratings have one lane alone.
    log_whole = 0.0 if MEASURES[gate.measure].read is None else LOG_WHOLE
    batches = _least(lambda n: combine([n * g for g in growth], BET_WEIGHTS) + log_whole >= SAFE_LIMIT)
    return None if batches is None else math.ceil(batches * max(1.0, share / (1 - share)) * LOSS)


def _growth_of_safety(gate: Gate, assumed: Assumed) -> list[float]:
    """Expected gain of each bet by one batch: one unit of the smaller arm against those of the larger one."""
    measure = MEASURES[gate.measure]
    if measure.kind is Kind.EVENT:
        return _mixed(measure, gate.margin, False, [(assumed.errors, 1.0), (1 - assumed.errors, 0.0)], 1.0)
    if measure.quantile is not None:
        inside = 1 - NormalDist().cdf(NormalDist().inv_cdf(measure.quantile) + math.log1p(gate.margin) / assumed.spread)
        outside = 1 - measure.quantile
        return [_bet(bet, [(inside, 1.0), (1 - inside, 0.0)], lambda x: outside - x) for bet in BETS]
    if measure.read is None:
        return _rated(measure, gate.margin, assumed)
    grid = [math.exp(assumed.spread * NormalDist().inv_cdf((place + 0.5) / 400)) for place in range(400)]
    cap = max(math.exp(assumed.spread * NormalDist().inv_cdf(CAP_AT)), CAP_OVER_MEDIAN)
    return _mixed(measure, gate.margin, True, [(1 / len(grid), value) for value in grid], cap)


def _rated(measure: Measure, margin: float, assumed: Assumed) -> list[float]:
    """Of one canary unit against one of control: there are as many ratings of either arm, so that control's mean is as noisy as the
    canary's, and not known."""
    stake = MeanTest(measure.name, 0, margin, measure.relative, measure.more_is_worse, safety=True).stake(1.0)
    if stake is None:
        return [0.0] * len(BETS)
    middle = NormalDist(assumed.score, assumed.score_spread)
    scores = [min(1.0, max(0.0, middle.inv_cdf((place + 0.5) / RATED_GRID))) for place in range(RATED_GRID)]
    moves = [(RATED_GRID**-2, stake.canary * x + stake.stable * y + stake.shift) for x in scores for y in scores]
    return [_bet(bet, moves, lambda z: z) for bet in BETS]


def _mixed(measure: Measure, margin: float, relative: bool, values: Sequence[tuple[float, float]], cap: float) -> list[float]:
    """Of values with these chances in both arms; stable's mean is taken as known."""
    stake = MeanTest(measure.name, 0, margin, relative, measure.more_is_worse, safety=True).stake(cap)
    if stake is None:
        return [0.0] * len(BETS)
    stable = sum(chance * min(value, stake.cap_stable) for chance, value in values)
    return [_bet(bet, values, lambda x: stake.canary * min(x, stake.cap_canary) + stake.stable * stable + stake.shift) for bet in BETS]


def _bet(bet: float, values: Sequence[tuple[float, float]], move: Callable[[float], float]) -> float:
    return sum(chance * math.log1p(bet * move(value)) for chance, value in values)


def _least(enough: Callable[[int], bool]) -> int | None:
    """The smallest number of which it is true; None up to ten million."""
    high = 1
    while not enough(high):
        high *= 2
        if high > MOST_UNITS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


# ------------------------------------------------------------------------------------------------------------------------ harm
def _limit(rollout: Rollout) -> float:
    """ln of the e-value of errors, at one scale, that rolls back by itself."""
    weight = weights(rollout).get(ERRORS.name)
    if weight is None:
        return math.inf
    return harm_limit(rollout, 1) - math.log(weight) - math.log(SCALE_WEIGHT) + (math.log(2) if len(rollout.cohorts) > 1 else 0.0)


def _capital(batches: float, share: float, canary: float, stable: float) -> float:
    """ln of the e-value that is expected after so many batches, with these error rates."""
    smaller = min(share, 1 - share)
    n_c, n_s = (1.0, (1 - smaller) / smaller) if share <= 0.5 else ((1 - smaller) / smaller, 1.0)
    x, y = canary * n_c, stable * n_s
    return combine(
        [batches * (x * math.log(ratio) - (x + y) * math.log((ratio * n_c + n_s) / (n_c + n_s))) for ratio in RATIOS], RATIO_WEIGHTS
    )


def _failures(rollout: Rollout, share: float) -> int | None:
    """Failures of distinct units until a total failure is rolled back, by the minute's scale after ten minutes of quiet."""
    early = math.log(4)
    needed = _limit(rollout) + early - math.log(MINUTE.weight(QUIET))
    batches = _least(lambda n: _capital(n, share, 1.0, 0.0) >= needed)
    return None if batches is None else math.ceil(batches * max(1.0, share / (1 - share)))


def _smallest(rollout: Rollout, share: float, units: float, assumed: Assumed) -> float | None:
    """The least error rate that is found with so many canary units, by the release's scale."""
    batches, needed = units / max(1.0, share / (1 - share)), _limit(rollout) - LOG_WHOLE
    if _capital(batches, share, 1.0, assumed.errors) < needed:
        return None
    low, high = assumed.errors, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if _capital(batches, share, middle, assumed.errors) >= needed else (middle, high)
    return high


# -------------------------------------------------------------------------------------------------------------------- refusals
def _problems(application: Application, rollout: Rollout, index: int, made: PhasePlan, assumed: Assumed) -> list[Problem]:
    phase, path = rollout.phases[index], f"rollouts.{rollout.name}.phases[{index}]"
    found = []
    there = made.units * REACHED
    for gate in phase.gates:
        needed = next((one.units for one in made.gates if one.measure == gate.measure), 0)
        if needed is None or needed > there:
            count = "more canary units than anybody has" if needed is None else f"{needed:,} canary units"
            message = f"{gate.measure} within {said_margin(gate)} takes {count} to show, {made.units:,.0f} meet the canary at {made.name}"
            found.append(
                Problem("plan.too-few-units", f"{path}.gates.{gate.measure}", message, _possible(application, gate, needed, made, assumed))
            )
    if phase.min_units > there:
        message = f"{phase.min_units:,} units are asked for, {made.units:,.0f} can meet the canary at {made.name}"
        found.append(Problem("plan.min-units", f"{path}.min_units", message, f"ask for at most {there:,.0f}, or take a larger share"))
    if made.seconds is not None and made.seconds > phase.max_dwell:
        message = (
            f"it takes {duration(made.seconds)}, longer than max_dwell ({duration(phase.max_dwell)}): a person would be asked each time"
        )
        hint = f"max_dwell of {duration(made.seconds * 1.5)}, a larger share, or a wider margin"
        found.append(Problem("plan.too-long", f"{path}.max_dwell", message, hint))
    if made.failures is None and made.share < 1.0 and ERRORS.name in weights(rollout):
        message = f"a total failure cannot be told from chance: {made.units:,.0f} units meet the canary at {made.name}"
        found.append(Problem("plan.unseen-failure", path, message, "a larger share for the first phase, or a shadow before it"))
    return found


def _possible(application: Application, gate: Gate, needed: int | None, made: PhasePlan, assumed: Assumed) -> str:
    """What would make it possible."""
    ways = []
    if needed is not None and needed / REACHED <= application.daily_units * 0.5:
        ways.append(f"a share of {percent(needed / REACHED / application.daily_units)}")
    wider = _wider(gate, made, assumed)
    if wider is not None:
        ways.append(f"a margin of {said_margin(wider)}")
    ways.append("units that are more than these (conversations or requests instead of people)")
    return ", or ".join([*ways, "a shadow before it, and guardrail: false here"])


def _wider(gate: Gate, made: PhasePlan, assumed: Assumed) -> Gate | None:
    """The smallest margin, in steps of a quarter and up to five times as wide, that can be shown with the units that are there."""
    for step in range(1, WIDEST * 4 - 3):
        margin = gate.margin * (1 + step / 4)
        if MEASURES[gate.measure].kind is Kind.EVENT and margin >= 0.5:
            return None
        wider = Gate(gate.measure, margin, gate.weight, gate.tolerance, gate.guardrail)
        units = units_to_advance(wider, made.share, assumed)
        if units is not None and units <= made.units * REACHED:
            return wider
    return None
