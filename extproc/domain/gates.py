"""Phases of a rollout: what must hold before the next one, and when automation may go there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import tzinfo

from extproc.domain.words import Reaction


@dataclass(frozen=True, slots=True)
class Gate:
    """A comparison of canary with stable on one measure."""

    measure: str
    margin: float
    """ADVANCE needs evidence that the canary is worse than stable by no more: in the measure's unit, or as a share of stable's value
    where the measure says so."""
    weight: float
    """Share of the release's alpha; weights sum to 1 over a phase's gates."""
    tolerance: float | None = None
    """Share of stable's value by which the canary may be worse before that is harm; None: the measure's default. That of the first
    phase with this gate is good for the whole release."""
    guardrail: bool | None = None
    """False: it rolls back on harm, but asks for no evidence of safety. None: the measure's default."""


@dataclass(frozen=True, slots=True)
class Ceiling:
    """An absolute limit. Canary alone over it: ROLL_BACK. Both arms over: HOLD and page."""

    measure: str
    limit: float
    name: str = ""
    """Where a phase has several for one measure; empty: the measure's."""


@dataclass(frozen=True, slots=True)
class MetricGate:
    """A Prometheus query with a bound, for business metrics. Somebody else fetches the value."""

    name: str
    query: str
    bound: float
    more_is_worse: bool = True
    """True: the value must not be above the bound; False: not below it."""
    rolls_back: bool = False
    """What a broken bound does; False: it holds and pages. One reading has no error control: see the guide."""


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    share: float
    min_dwell: float
    max_dwell: float
    min_units: int
    """Distinct canary units before ADVANCE."""
    min_requests: int
    """Canary requests before ADVANCE."""
    gates: tuple[Gate, ...]
    ceilings: tuple[Ceiling, ...]
    metrics: tuple[MetricGate, ...] = ()
    on_fail: Reaction = Reaction.ROLL_BACK
    """What a FAIL does: ROLL_BACK, or RETURN to the phase before."""
    on_inconclusive: Reaction = Reaction.ASK
    """What INCONCLUSIVE does once max dwell is over; until then it holds."""
    on_no_data: Reaction = Reaction.ASK
    """The same for NO_DATA."""


@dataclass(frozen=True, slots=True)
class ChangeWindow:
    """When automation may raise exposure: on these weekdays between two times of day, in one zone."""

    days: tuple[int, ...]
    """0 is Monday."""
    begin: float
    """Seconds after midnight."""
    end: float
    """The same; not after midnight: two windows make a night."""
    zone: tzinfo


@dataclass(frozen=True, slots=True)
class Freeze:
    """When it may not, whatever the windows say."""

    begin: float
    end: float
    why: str
