"""Phases that this traffic can carry: larger shares, wider margins or requests as units, where users are few; and what is lost by it.

The first proposal that the planner has nothing against is taken, the mildest ones first: users stay units as long as margins up to five
times as wide can be shown with them; only then each request is a unit; only then nothing is shown, and a person goes from phase to phase.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Final

from extproc.domain import Application, Gate, Phase, Rollout
from extproc.domain.seconds import DAY, HOUR
from extproc.measures import MEASURES
from extproc.release.plan import REACHED, WIDEST, Assumed, plan, units_to_advance
from extproc.release.sentences import margin as said_margin
from extproc.release.sentences import percent
from extproc.release.watched import is_guardrail

LADDERS: Final = ((0.01, 0.05, 0.25, 0.5, 1.0), (0.05, 0.25, 0.5, 1.0), (0.1, 0.25, 0.5, 1.0), (0.25, 0.5, 1.0), (0.5, 1.0))
"""Shares by phase. A later one begins with more people, who may be shown a fault that fewer would have found."""
USUAL: Final = {
    0.01: (0.5 * HOUR, 24 * HOUR, 50),
    0.05: (1 * HOUR, 24 * HOUR, 200),
    0.1: (1 * HOUR, 24 * HOUR, 200),
    0.25: (2 * HOUR, 24 * HOUR, 500),
    0.5: (4 * HOUR, 48 * HOUR, 1000),
    1.0: (12 * HOUR, 72 * HOUR, 1000),
}
"""Share -> least dwell, longest dwell, least units."""
LONGEST: Final = 30 * DAY
"""A phase that takes longer is no release any more: the next proposal is better."""
SPARE: Final = 1.5
"""Of the time that a phase takes at best; the planner's own hint."""
MOST_MARGIN: Final = 0.95
"""Of stable's value: a Spec has margins below 100 %. Of a share half of that, since a canary that fails every second time is broken."""
WIDTHS: Final = (1.0, 2.0, float(WIDEST))
"""Margins up to so many times as wide as usual."""
HARDSHIP: Final = dict(zip((*LADDERS, *WIDTHS), (0.0, 1.0, 2.0, 3.0, 6.0, 0.0, 1.5, 3.0), strict=True))
"""What each costs, as a matter of taste: half of the users at once is the last resort, before margins five times as wide at 25 %."""
MILDEST: Final = sorted(product(LADDERS, WIDTHS), key=lambda pair: HARDSHIP[pair[0]] + HARDSHIP[pair[1]])
"""Larger shares and wider margins, in turns."""
MINIMUM: Final = 0.5
"""Of a day's units of a phase that its minimum asks for at most: the last of them come late."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to write."""

    application: Application
    """With requests in the place of units, where each is one."""
    phases: tuple[Phase, ...]
    by_request: bool
    approval_above: float
    lost: tuple[str, ...]
    """What is unusual, why, and what is lost by it; empty where nothing is."""


def propose(application: Application, rollout: Rollout) -> Proposal | None:
    """The mildest proposal for an application, from a rollout with the usual gates; None where not even a total failure can be told from
    chance."""
    for guarded, by_request in ((True, False), (True, True), (False, False), (False, True)):
        for ladder, width in MILDEST if guarded else [(ladder, 1.0) for ladder in LADDERS]:
            given, tried = _trial(application, rollout, ladder, by_request, guarded)
            widened = _widened(given, tried, width)
            patient = _patient(given, widened) if widened is not None else None
            if patient is not None:
                above = 1.0 if guarded else ladder[0]
                return Proposal(given, patient.phases, by_request, above, tuple(_lost(application, rollout, patient, by_request, guarded)))
    return None


def _trial(
    application: Application, rollout: Rollout, ladder: tuple[float, ...], by_request: bool, guarded: bool
) -> tuple[Application, Rollout]:
    """A ladder with everything as usual."""
    given = replace(application, daily_units=application.daily_requests) if by_request else application
    phases = []
    for index, share in enumerate(ladder):
        model = rollout.phases[min(index, len(rollout.phases) - 1)] if share < 1 else rollout.phases[-1]
        least, longest, units = USUAL[share]
        there = max(1, math.floor(given.daily_units * share * MINIMUM))
        gates = tuple(
            replace(gate, margin=MEASURES[gate.measure].margin(index), guardrail=gate.guardrail if guarded else False)
            for gate in model.gates
        )
        phases.append(
            replace(model, name=percent(share), share=share, min_dwell=least, max_dwell=longest, min_units=min(units, there), gates=gates)
        )
    cohorts = tuple(replace(cohort, shares=ladder) for cohort in rollout.cohorts)
    return given, replace(rollout, phases=tuple(phases), cohorts=cohorts)


def _patient(application: Application, rollout: Rollout) -> Rollout | None:
    """With as much time as its phases take; None where that does not help."""
    phases = []
    for phase, made in zip(rollout.phases, plan(application, rollout).phases, strict=True):
        if made.seconds is None or made.seconds > LONGEST:
            return None
        longest = phase.max_dwell if made.seconds <= phase.max_dwell else math.ceil(made.seconds * SPARE / DAY) * DAY
        phases.append(replace(phase, max_dwell=longest))
    patient = replace(rollout, phases=tuple(phases))
    return None if plan(application, patient).problems else patient


# --------------------------------------------------------------------------------------------------------------------- margins
@lru_cache(maxsize=4096)
def _needed(measure: str, margin: float, share: float) -> int | None:
    return units_to_advance(Gate(measure, margin, 1.0), share, Assumed())


def _widened(application: Application, rollout: Rollout, width: float) -> Rollout | None:
    """With the smallest margins that the units of each phase can show; None where `width` times as wide is not enough."""
    phases = []
    for phase in rollout.phases:
        there = application.daily_units * phase.share * REACHED
        gates = [_wider(gate, phase.share, there, width) if is_guardrail(gate) and phase.share < 1 else gate for gate in phase.gates]
        if None in gates:
            return None
        phases.append(replace(phase, gates=tuple(gate for gate in gates if gate is not None)))
    return replace(rollout, phases=tuple(phases))


def _wider(gate: Gate, share: float, there: float, width: float) -> Gate | None:
    most = min(gate.margin * width, MOST_MARGIN if MEASURES[gate.measure].relative else MOST_MARGIN / 2)
    for step in range(WIDEST * 4 - 3):
        margin = min(most, round(gate.margin * (1 + step / 4), 6))
        units = _needed(gate.measure, margin, share)
        if units is not None and units <= there:
            return replace(gate, margin=margin)
        if margin == most:
            return None
    return None


# ------------------------------------------------------------------------------------------------------------------------ words
def _lost(application: Application, usual: Rollout, rollout: Rollout, by_request: bool, guarded: bool) -> Iterator[str]:
    first = rollout.phases[0].share
    wider = [
        f"{gate.measure} up to {said_margin(gate)} at {phase.name}"
        for index, phase in enumerate(rollout.phases)
        for gate in phase.gates
        if gate.margin > MEASURES[gate.measure].margin(index)
    ]
    longest = max(phase.max_dwell for phase in rollout.phases)
    if by_request or not guarded or wider or first > LADDERS[0][0]:
        yield _why(application, usual)
    if by_request:
        yield (
            f"So each request is a unit by itself: {application.daily_units:,} users are too few. Lost: the same user meets both models, "
            "within one conversation too, and what takes many requests of one user to show is not seen."
        )
    if first > LADDERS[0][0]:
        yield f"So the first phase has {percent(first)}. Lost: a fault that {percent(LADDERS[0][0])} would have shown meets more users."
    if wider:
        yield f"So margins are wider than usual: {', '.join(wider)}. Lost: a canary that is worse by less than these is not held."
    if not guarded:
        yield (
            "So gates guard against harm alone, and a person goes from phase to phase (extproc promote). Lost: evidence that the canary is "
            "within a margin; judge it offline before (extproc judge)."
        )
    if longest > USUAL[1.0][1]:
        yield f"A phase may take {longest / DAY:.0f} days. Lost: speed."


def _why(application: Application, rollout: Rollout) -> str:
    """What of the usual plan is not possible, in numbers."""
    given, usual = _trial(application, rollout, LADDERS[0], False, True)
    for phase in usual.phases:
        there = given.daily_units * phase.share
        for gate in phase.gates:
            needed = _needed(gate.measure, gate.margin, phase.share) if is_guardrail(gate) and phase.share < 1 else 0
            if needed is None or needed > there * REACHED:
                count = "more users than anybody has" if needed is None else f"{needed:,} users"
                found = f"{there:,.0f}" if there >= 1 else "less than one"
                return f"Usual would be {phase.name}: to show {gate.measure} within {said_margin(gate)} takes {count} there, of {found}."
    return f"Usual would be {usual.phases[0].name} first: with this traffic that takes more than {LONGEST / DAY:.0f} days."
