"""One rollout at one load: what each part of it costs, what a month costs before and after, and when it has paid for itself.

Everything is compared with stable serving all requests: `extra` is what is paid beyond that, below 0 where less is paid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise
from typing import Final

from extproc.cost.judging import Bill, bill, question
from extproc.cost.rates import DAY_HOURS, Rate
from extproc.domain import Judge

MONTH_DAYS: Final = Decimal(30)
ZERO: Final = Decimal(0)
DIGITS: Final = 9
"""Of a dollar: thirds of hours leave a rest in the 20th digit, and equal models must be equal."""
FAR: Final = Decimal(3650)
"""Days: what pays for itself in more than ten years does not."""


class Part(StrEnum):
    """What a line of the sheet is about."""

    SHADOW = "shadow"
    PHASE = "phase"
    KEPT = "kept"
    """COMPLETED, and stable keeps its capacity until Envoy's own default has moved."""


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a release, before it is priced."""

    part: Part
    name: str
    share: Decimal
    """Of units that meet the canary; in a shadow of requests that are mirrored."""
    hours: Decimal
    decided: bool = True
    """False: the plan cannot succeed there, and the time until a person is asked is counted."""
    limit: Decimal | None = None
    """USD that the canary's answers may cost; None: no limit."""


@dataclass(frozen=True, slots=True)
class Line:
    """A part of a release with its price, in USD."""

    span: Span
    stable: Decimal
    canary: Decimal
    judge: Bill
    extra: Decimal
    """All of it, less what stable alone would have cost in this time."""
    standby: Decimal
    """In `stable`: replicas without requests that wait for a rollback."""
    stable_replicas: int
    canary_replicas: int


@dataclass(frozen=True, slots=True)
class Reckoning:
    """Of one rollout."""

    lines: tuple[Line, ...]
    before: Decimal
    """USD a month with stable alone."""
    after: Decimal
    """USD a month with the canary promoted, and what the holdback takes."""
    break_even: Decimal | None
    """Days from the start after which less has been spent than stable alone would have cost, for good; None: never."""

    @property
    def saving(self) -> Decimal:
        """USD a month; below 0 where it costs more."""
        return self.before - self.after

    @property
    def extra(self) -> Decimal:
        """USD of the whole release."""
        return sum((line.extra for line in self.lines), ZERO)

    @property
    def days(self) -> Decimal:
        """Of the whole release."""
        return sum((line.span.hours for line in self.lines), ZERO) / DAY_HOURS


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a reckoning takes."""

    stable: Rate
    canary: Rate
    spans: tuple[Span, ...]
    holdback: Decimal
    """Share that stable keeps after the promotion: the holdback, and what is in no slot of this rollout."""
    judge: Judge | None
    """None: nobody judges this rollout."""
    part: Decimal = Decimal(1)
    """Share of all units that take part."""

    @property
    def hourly_requests(self) -> Decimal:
        """On average."""
        return Decimal(self.stable.application.daily_requests) / DAY_HOURS


def reckon(case: Case) -> Reckoning:
    """What it costs."""
    lines = tuple(_lines(case))
    before = _running(case, ZERO, ZERO, MONTH_DAYS * DAY_HOURS)
    after = _running(case, 1 - case.holdback, case.holdback, MONTH_DAYS * DAY_HOURS, moved=True)
    return Reckoning(lines, before, after, break_even(lines, before - after))


def _running(case: Case, share: Decimal, holdback: Decimal, hours: Decimal, moved: bool = False) -> Decimal:
    """USD of these hours, nobody judging. `moved`: Envoy's default is the canary, and stable is as large as its holdback needs."""
    requests = case.hourly_requests * hours
    by_request = requests * (share * case.canary.request + (1 - share) * case.stable.request)
    by_hour = hours * (case.canary.hour(share) + case.stable.hour(holdback if moved else Decimal(1)))
    return round(by_request + by_hour, DIGITS)


def _lines(case: Case) -> Iterator[Line]:
    each = question(case.judge, case.canary.load) if case.judge is not None else ZERO
    left = case.judge.per_release if case.judge is not None else ZERO
    for span in case.spans:
        requests, share, hours = case.hourly_requests * span.hours, span.share, span.hours
        moved = ZERO if span.part is Part.SHADOW else share
        judged = Bill(ZERO, ZERO, False)
        if case.judge is not None and span.part is Part.PHASE:
            judged = bill(case.judge, each, requests, share, hours, left)
            left -= judged.usd
        stable = requests * (1 - moved) * case.stable.request + hours * case.stable.hour(Decimal(1))
        answers = requests * share * case.canary.request
        canary = (answers if span.limit is None else min(answers, span.limit)) + hours * case.canary.hour(share)
        alone = _running(case, ZERO, ZERO, hours)
        everything, used = case.stable.replicas(Decimal(1)), case.stable.replicas(1 - moved)
        yield Line(
            span=span,
            stable=round(stable, DIGITS),
            canary=round(canary, DIGITS),
            judge=judged,
            extra=round(stable + canary + judged.usd, DIGITS) - alone,
            standby=round(hours * case.stable.replica_hour() * (everything - used), DIGITS),
            stable_replicas=everything,
            canary_replicas=case.canary.replicas(share),
        )


def balance(lines: Sequence[Line]) -> list[tuple[Decimal, Decimal]]:
    """(days from the start, USD saved until then) at the end of each part, the start included. Between them it moves evenly."""
    days, saved = ZERO, ZERO
    points = [(days, saved)]
    for line in lines:
        days, saved = days + line.span.hours / DAY_HOURS, saved - line.extra
        points.append((days, saved))
    return points


def break_even(lines: Sequence[Line], saving: Decimal) -> Decimal | None:
    """Days from the start after which the balance is never below 0 again; None where it is below 0 in the end, or so late that it is."""
    points = balance(lines)
    if saving < 0 or (saving == 0 and points[-1][1] < 0):
        return None
    ends_at, owed = points[-1]
    if owed < 0:
        paid = ends_at - owed / (saving / MONTH_DAYS)
        return paid if paid <= FAR else None
    for (begin, from_), (end, to) in reversed(list(pairwise(points))):
        if from_ < 0:
            return begin + (end - begin) * -from_ / (to - from_)
    return ZERO
