"""Advice on capacity: how much the canary needs before each phase, and how long stable must keep its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from extproc.cost.money import count, money
from extproc.cost.rates import Rate, arrivals
from extproc.cost.reckon import MONTH_DAYS, Line, Part
from extproc.cost.sheet import Sheet
from extproc.cost.tokens import exact


@dataclass(frozen=True, slots=True)
class Need:
    """What the canary must be able to do before a part of the release begins, in its busiest minutes."""

    name: str
    requests: Decimal
    """A second."""
    open: Decimal
    """Answers at once, by Little's law; at most, where somebody else hosts the model."""
    tokens: Decimal
    """A minute, read and written: what limits of API vendors count."""
    taken: int
    """Replicas by Little's law; 0 where somebody else hosts it."""
    canary: int
    """Replicas that the sheet counts."""
    stable: int


def needs(sheet: Sheet) -> tuple[Need, ...]:
    """One for each part of the release."""
    return tuple(_need(sheet, line) for line in sheet.middle.lines)


def _need(sheet: Sheet, line: Line) -> Need:
    canary, share = sheet.canary, line.span.share
    requests = arrivals(canary.application, share)
    tokens = requests * 60 * (canary.load.input + canary.load.output)
    return Need(line.span.name, requests, canary.open(share), tokens, canary.taken(share), line.canary_replicas, line.stable_replicas)


def advice(sheet: Sheet) -> Iterator[str]:
    """What to do, one sentence each, in the order in which it is done."""
    yield from _canary(sheet)
    yield from _keep(sheet)
    yield from _shrink(sheet)
    for rate in (sheet.stable, sheet.canary):
        yield from _doubts(rate)


def _canary(sheet: Sheet) -> Iterator[str]:
    canary, lines = sheet.canary, [line for line in sheet.middle.lines if line.span.part is not Part.KEPT]
    if canary.model.serving is not None:
        steps = ", ".join(f"{line.canary_replicas} before {line.span.name}" for line in lines)
        late = "An autoscaler comes too late: a share rises at once"
        yield f"Replicas of {canary.model.name} that are ready before a phase begins: {steps}. {late}."
    elif canary.application.daily_requests:
        steps = ", ".join(f"{count(need.tokens)} before {need.name}" for need in needs(sheet)[: len(lines)])
        yield f"Tokens a minute that the vendor must allow for {canary.model.name} at the peak: {steps}. A limit below that is met as 429."


def _keep(sheet: Sheet) -> Iterator[str]:
    stable, lines = sheet.stable, sheet.middle.lines
    key = f"runtime key extproc.{sheet.rollout}.completed is 100"
    until = f"until the rollout is COMPLETED and Envoy's own default has moved everywhere ({key})"
    why = "a rollback, or a router that is away, sends everybody back at once"
    if stable.model.serving is None:
        yield f"Keep the vendor's limits of {stable.model.name} as they are {until}: {why}."
        return
    standby = sum((line.standby for line in lines), Decimal(0))
    yield (
        f"{stable.model.name} keeps all of its {stable.replicas(Decimal(1))} replicas {until}: {why}. "
        f"Of what they cost, {money(standby)} is for places that wait for that."
    )


def _shrink(sheet: Sheet) -> Iterator[str]:
    stable, holdback = sheet.stable, sheet.case.holdback
    if stable.model.serving is None:
        return
    left = stable.replicas(holdback)
    freed = (stable.hour(Decimal(1)) - stable.hour(holdback)) * 24 * MONTH_DAYS
    rest = "the holdback" if sheet.case.part == 1 else "what is not in the rollout"
    last = f"{left} for {rest}" if left else "none"
    yield f"After that {stable.model.name} may shrink to {last}, which frees {money(freed)} a month. No phase frees anything of it."


def _doubts(rate: Rate) -> Iterator[str]:
    """Where the Spec's own numbers do not fit each other."""
    serving, seconds, name = rate.model.serving, rate.seconds(), rate.model.name
    if serving is None or seconds is None or not rate.application.daily_requests:
        return
    taken, written = rate.taken(Decimal(1)), serving.replicas
    if written is not None and written < taken:
        said = f"its peak takes {taken} by Little's law ({count(rate.open(Decimal(1)))} answers open at once, {serving.spare} spare)"
        yield f"{name} has {written} replicas, and {said}: add some, or measure `tokens_per_second` and `concurrency` anew."
    elif written is not None and written > taken:
        yield f"{name} has {written} replicas; {taken} would do by Little's law, the spare ones included."
    if seconds > exact(rate.application.sla.latency_p99):
        promised = f"{exact(rate.application.sla.latency_p99).normalize():f} s that 99 of 100 may take"
        yield f"A mean answer of {name} takes {count(seconds)} s on a full replica, longer than the {promised}: lower `concurrency`."
