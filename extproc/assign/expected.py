"""How many a Spec sends where: share of canary, control and rest of each cohort by phase, and what that makes of a usual day.

Shares are those that `derive` compiles (`deriving.exposure`), as fractions of a cohort's units. How large a cohort is, nobody knows
before its users have come; so of the whole only bounds are told: every unit in the cohort with the smallest share, or in that with the
largest. They meet where all cohorts have the same share.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from extproc.assign.bucket import Thresholds
from extproc.assign.deriving import exposure
from extproc.domain import RING, Application, Cohort, Reason, Rollout, RolloutState, Spec, Status, shown, slot_share

COMPLETED: Final = "completed"
"""What is said in place of a phase's name after the last one."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Of a cohort's units at one phase."""

    phase: str
    canary: float
    control: float
    rest: float


@dataclass(frozen=True, slots=True)
class CohortExpected:
    name: str
    who: str
    exclude: str
    """Empty: nobody."""
    first_phase: str
    """The phase from which it takes part."""
    shares: tuple[Shares, ...]
    """One for each phase, and one for after completion."""


@dataclass(frozen=True, slots=True)
class DayExpected:
    """A usual day of the whole rollout at one phase; each is (at least, at most)."""

    phase: str
    canary_units: tuple[int, int]
    canary_requests: tuple[int, int]


@dataclass(frozen=True, slots=True)
class RolloutExpected:
    name: str
    layer: str
    slot: str
    """Empty: the whole layer."""
    slot_share: float
    stable: str
    canary: str
    unit: str
    cohorts: tuple[CohortExpected, ...]
    days: tuple[DayExpected, ...]
    some_in_none: bool
    """True where a unit may match no cohort: it meets stable until completion."""


def expected(spec: Spec) -> tuple[RolloutExpected, ...]:
    """Every rollout, in the order of the Spec."""
    return tuple(_rollout(spec, rollout) for rollout in spec.rollouts.values())


def _rollout(spec: Spec, rollout: Rollout) -> RolloutExpected:
    share = slot_share(spec, rollout)
    cohorts = tuple(_cohort(rollout, cohort) for cohort in rollout.cohorts)
    return RolloutExpected(
        name=rollout.name,
        layer=rollout.layer,
        slot=rollout.slot or "",
        slot_share=share,
        stable=rollout.stable,
        canary=rollout.canary,
        unit=rollout.unit.kind,
        cohorts=cohorts,
        days=tuple(_days(rollout, spec.application, cohorts, share)),
        some_in_none=all(cohort.selector is not None for cohort in rollout.cohorts),
    )


def _cohort(rollout: Rollout, cohort: Cohort) -> CohortExpected:
    def at(place: int, name: str, status: Status, standing: Reason) -> Shares:
        return _shares(name, exposure(rollout, cohort, RolloutState(status, place, 0.0, 1, 1, "", ""), standing)[0])

    made = [at(place, phase.name, Status.PROGRESSING, Reason.RING) for place, phase in enumerate(rollout.phases)]
    made.append(at(len(rollout.phases) - 1, COMPLETED, Status.COMPLETED, Reason.COMPLETED))
    first = next((one.phase for one in made if one.canary > 0), COMPLETED)
    excluded = shown(cohort.exclude) if cohort.exclude is not None else ""
    return CohortExpected(cohort.name, shown(cohort.selector), excluded, first, tuple(made))


def _shares(phase: str, limits: Thresholds) -> Shares:
    canary, control = limits.canary_below / RING, (RING - limits.control_from) / RING
    return Shares(phase, canary, control, 1.0 - canary - control)


def _days(rollout: Rollout, application: Application, cohorts: tuple[CohortExpected, ...], slot: float) -> Iterator[DayExpected]:
    some_in_none = all(cohort.selector is not None for cohort in rollout.cohorts)
    some_excluded = any(cohort.exclude is not None for cohort in rollout.cohorts)
    requests = application.daily_requests * slot
    # Without sources each request is a unit of its own.
    units = application.daily_units * slot if rollout.unit.sources else requests
    for place, at in enumerate(cohorts[0].shares):
        of_cohorts = [cohort.shares[place].canary for cohort in cohorts]
        least, most = min(of_cohorts), max(of_cohorts)
        if some_in_none and at.phase == COMPLETED:
            most = 1.0  # the canary is the default of those in no cohort as well
        if some_excluded or (some_in_none and at.phase != COMPLETED):
            least = 0.0
        yield DayExpected(at.phase, (round(units * least), round(units * most)), (round(requests * least), round(requests * most)))
