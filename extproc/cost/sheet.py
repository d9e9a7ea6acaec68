"""A Spec -> the cost sheet of each of its rollouts: the middle, and the range that uncertain tokens leave."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import product
from typing import Final

from extproc.cost.given import NOTHING_GIVEN, Given
from extproc.cost.rates import Rate
from extproc.cost.reckon import Case, Part, Reckoning, Span, reckon
from extproc.cost.tokens import borrow, exact, load
from extproc.domain import Application, Rollout, Spec, slot_share, taking_part
from extproc.release.plan import plan

SECONDS: Final = Decimal(3600)
MODEL_LAYER: Final = "model"
"""Layers of variants choose something else than the model: what that costs nobody can tell from prices."""


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A rollout of which nothing can be said."""

    rollout: str
    why: str
    """A sentence, with what would change it."""


@dataclass(frozen=True, slots=True)
class Range:
    """From uncertain tokens. Prices and requests a day are taken as they are written."""

    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class Sheet:
    """Of one rollout."""

    rollout: str
    case: Case
    middle: Reckoning
    saving: Range
    """USD a month."""
    extra: Range
    """USD of the whole release."""
    earliest: Decimal | None
    """Break-even in days from the start at best; None: never, not even then."""
    latest: Decimal | None
    """At worst; None: never."""
    lowest: Reckoning
    """Where least is saved."""
    highest: Reckoning

    @property
    def stable(self) -> Rate:
        """The model that serves today, at the middle."""
        return self.case.stable

    @property
    def canary(self) -> Rate:
        """The model that shall serve."""
        return self.case.canary


def sheets(spec: Spec, given: Given = NOTHING_GIVEN) -> tuple[Sheet | Unpriced, ...]:
    """One for each rollout, in the Spec's order."""
    return tuple(_sheet(spec, rollout, given) for rollout in spec.rollouts.values())


def _sheet(spec: Spec, rollout: Rollout, given: Given) -> Sheet | Unpriced:
    if rollout.layer != MODEL_LAYER:
        return Unpriced(rollout.name, f"is in layer {rollout.layer}: it chooses variants, not models, and variants have no prices")
    stable, canary = (
        Rate(model, load(spec.application, model, given.measured.get((rollout.name, model.name))), spec.application)
        for model in (spec.models[rollout.stable], spec.models[rollout.canary])
    )
    both = stable.load, canary.load
    stable = replace(stable, load=borrow(both[0], both[1], stable.model.tokens))
    canary = replace(canary, load=borrow(both[1], both[0], canary.model.tokens))
    unknown = [rate.model.name for rate in (stable, canary) if not rate.known]
    if unknown:
        need = f"give {'it' if len(unknown) == 1 else 'them'} `prices`, or `serving` where you host by yourself"
        return Unpriced(rollout.name, f"what {' and '.join(unknown)} cost{'s' * (len(unknown) == 1)} is not in the Spec: {need}")
    judge = spec.judge if rollout.judging is not None and rollout.judging.judges else None
    share = exact(slot_share(spec, rollout))
    spans = tuple(replace(span, share=span.share * share) for span in _spans(taking_part(spec, rollout), rollout, given))
    case = Case(stable, canary, spans, 1 - share * (1 - exact(rollout.holdback)), judge, share)
    ends = [reckon(one) for one in _ends(case)]
    middle = reckon(case)
    everything = [middle, *ends]
    return Sheet(
        rollout=rollout.name,
        case=case,
        middle=middle,
        saving=_range(one.saving for one in everything),
        extra=_range(one.extra for one in everything),
        earliest=min((one.break_even for one in everything if one.break_even is not None), default=None),
        latest=_latest(one.break_even for one in everything),
        lowest=min(everything, key=lambda one: one.saving),
        highest=max(everything, key=lambda one: one.saving),
    )


def _ends(case: Case) -> Iterator[Case]:
    """Every corner of what tokens may be. Both models read the same questions: that moves together; what they write does not.

    Costs by the request are linear in each, so that no middle is outside of the corners; replicas are whole, and close to it.
    """
    for read, of_stable, of_canary in product((-1, 1), repeat=3):
        yield replace(case, stable=_at(case.stable, read, of_stable), canary=_at(case.canary, read, of_canary))


def _at(rate: Rate, read: int, written: int) -> Rate:
    return replace(rate, load=rate.load.scaled(read, written))


def _range(values: Iterable[Decimal]) -> Range:
    found = list(values)
    return Range(min(found), max(found))


def _latest(days: Iterable[Decimal | None]) -> Decimal | None:
    latest = Decimal(0)
    for one in days:
        if one is None:
            return None
        latest = max(latest, one)
    return latest


def _spans(application: Application, rollout: Rollout, given: Given) -> Iterator[Span]:
    # Of nobody the planner cannot say when enough have come.
    planned = plan(application, rollout) if application.daily_requests > 0 and application.daily_units > 0 else None
    shadow = rollout.shadow
    if given.shadow_share > 0 and given.shadow_seconds > 0:
        yield Span(Part.SHADOW, "shadow", exact(given.shadow_share), _hours(given.shadow_seconds), limit=given.shadow_limit)
    elif shadow is not None:
        seconds = planned.shadow if planned is not None else shadow.max_dwell
        yield Span(Part.SHADOW, "shadow", exact(shadow.share), _hours(seconds), seconds <= shadow.max_dwell, shadow.per_release)
    for index, phase in enumerate(rollout.phases):
        share = min(exact(phase.share), 1 - exact(rollout.holdback))
        took = planned.phases[index].seconds if planned is not None else None
        yield Span(Part.PHASE, phase.name, share, _hours(phase.max_dwell if took is None else took), took is not None)
    if given.kept_seconds > 0:
        yield Span(Part.KEPT, "completed", 1 - exact(rollout.holdback), _hours(given.kept_seconds))


def _hours(seconds: float) -> Decimal:
    return Decimal(round(seconds)) / SECONDS
