"""What a cost sheet says in words: the sentence that matters first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from extproc.cost.given import Given
from extproc.cost.judging import question
from extproc.cost.money import count, day, money, percent
from extproc.cost.rates import Rate
from extproc.cost.sheet import Sheet
from extproc.cost.tokens import USUAL, Known
from extproc.domain import Application


def headline(sheet: Sheet, given: Given) -> str:
    """Savings or extra a month, what the release costs, and when that has come back."""
    return f"{_month(sheet)} {_release(sheet)} {_break_even(sheet, given.start)}"


def _month(sheet: Sheet) -> str:
    stable, canary, saving = sheet.stable.model.name, sheet.canary.model.name, sheet.middle.saving
    if not sheet.stable.application.daily_requests:
        return f"There are no requests, so that no answer costs anything. {_idle(sheet)}"
    if not saving and not sheet.middle.before:
        return f"Both models cost nothing by their prices: {canary} saves nothing and costs nothing more than {stable}."
    if not saving and not sheet.saving.low and not sheet.saving.high:
        return f"{canary} costs what {stable} costs, {money(sheet.middle.after)} a month: nothing is saved, and nothing more is spent."
    if not saving:
        between = f"between {money(abs(sheet.saving.low))} more and {money(sheet.saving.high)} less"
        return f"{canary} costs what {stable} costs, {money(sheet.middle.after)} a month; what tokens are not known leaves {between}."
    word = "saves" if saving > 0 else "costs"
    more = "" if saving > 0 else " more than"
    part = f" ({percent(abs(saving) / sheet.middle.before)} of what {stable} costs)" if sheet.middle.before else ""
    amount = f"{money(abs(saving))} a month{more}{f' {stable}' if more else ''}{part}"
    return f"{canary} {word} {amount}, {_between(sheet)}."


def _idle(sheet: Sheet) -> str:
    """What is paid by the hour all the same."""
    paid = [f"{rate.model.name} {money(cost)}" for rate, cost in _monthly(sheet) if rate.model.serving is not None]
    return (
        f"What is paid by the hour is paid all the same, a month: {', '.join(paid)}." if paid else "Nothing is saved, and nothing is spent."
    )


def _monthly(sheet: Sheet) -> list[tuple[Rate, Decimal]]:
    return [(sheet.stable, sheet.middle.before), (sheet.canary, sheet.middle.after)]


def _between(sheet: Sheet) -> str:
    """The range, in one direction or in both."""
    low, high = sheet.saving.low, sheet.saving.high
    if low == high:
        uncertain = sheet.stable.load.uncertainty or sheet.canary.load.uncertainty
        return "whatever its tokens are" if uncertain else "with tokens that are known"
    if low >= 0:
        return f"between {money(low)} and {money(high)} by what tokens may be"
    if high <= 0:
        return f"between {money(-high)} and {money(-low)} by what tokens may be"
    return f"but by what tokens may be it could also be {money(-low)} more, or {money(high)} less"


def _release(sheet: Sheet) -> str:
    extra = sheet.middle.extra
    if extra > 0:
        return f"The release itself costs {money(extra)} beyond {sheet.stable.model.name} alone."
    if extra < 0:
        return f"The release itself costs nothing extra: it has saved {money(-extra)} when it ends."
    return "The release itself costs nothing extra."


def _break_even(sheet: Sheet, start: date | None) -> str:
    middle, saving = sheet.middle.break_even, sheet.middle.saving
    if not saving and not sheet.middle.extra:
        return "There is nothing to pay back."
    if middle is None:
        best = "" if sheet.earliest is None else f", or at best on {day(sheet.earliest, start)}"
        if saving < 0 and sheet.stable.application.daily_requests:
            worth = -saving / (sheet.stable.application.daily_requests * 30)
            return f"It never pays for itself in money{best}: its answers have to be worth {money(worth * 1000)} more for 1,000 requests."
        return f"It never pays for itself{best}."
    if not middle:
        return f"It pays from its first request on{_or_later(sheet, start)}."
    return f"Break-even: {day(middle, start)}{_or_later(sheet, start)}."


def _or_later(sheet: Sheet, start: date | None) -> str:
    earliest, latest = sheet.earliest, sheet.latest
    if latest is None:
        return "; at worst never"
    if earliest is None or day(earliest, start) == day(latest, start):
        return ""
    if not sheet.middle.break_even:
        return f"; at worst from {day(latest, start)}"
    return f", between {day(earliest, start)} and {day(latest, start)}"


# ------------------------------------------------------------------------------------------------------------------- what it rests on
def tokens_of(rate: Rate) -> str:
    """`1,500 read (450 of them cached), 300 written, assumed, each ±50%`."""
    load = rate.load
    thought = f" ({count(load.reasoning)} of them reasoning)" if load.reasoning else ""
    spread = f"each ±{percent(load.uncertainty)}" if load.uncertainty else "exactly"
    read = f"{count(load.input)} read ({count(load.cached)} of them cached)"
    return f"{read}, {count(load.output)} written{thought}, {load.known.value}, {spread}"


def assumptions(sheet: Sheet, given: Given) -> Iterator[str]:
    """What the numbers rest on, one sentence each."""
    application = sheet.stable.application
    part = sheet.case.part
    there = "all of them in the rollout" if part == 1 else f"{percent(part)} of them in the rollout's slot; shares are of all of them"
    yield f"{application.daily_requests:,} requests a day, {there}; a month is 30 days."
    yield from (f"{rate.model.name}: {tokens_of(rate)}." for rate in (sheet.stable, sheet.canary))
    known = {sheet.stable.load.known, sheet.canary.load.known}
    if Known.ASSUMED in known:
        yield _assumed(application)
    if Known.MEASURED in known:
        yield "Measured over the present phase, where a request that told no tokens counts as free. What was cached is not measured."
    for rate in (sheet.stable, sheet.canary):
        if rate.model.serving is not None and rate.model.prices is not None:
            yield f"{rate.model.name} is paid by GPU hours; its `prices` are there for the cost gate, and are not added."
    if any(rate.model.serving is not None for rate in (sheet.stable, sheet.canary)):
        yield f"Replicas are for the peak, {application.peak:g} times the mean, around the clock; scaled by need they cost less."
    yield from _judged(sheet)
    if not any(line.span.decided for line in sheet.middle.lines if line.span.part == "phase"):
        yield "No phase can be decided with this traffic (see `extproc timeline`): each is counted with its max_dwell."
    elif not all(line.span.decided for line in sheet.middle.lines):
        names = ", ".join(line.span.name for line in sheet.middle.lines if not line.span.decided)
        yield f"Not decided with this traffic (see `extproc timeline`), counted with max_dwell: {names}."
    if given.kept_seconds:
        yield "From COMPLETED on stable keeps its capacity until Envoy's own default has moved: the line `completed`."


def _assumed(application: Application) -> str:
    usual = USUAL[application.type]
    said = f"What is assumed is usual for {application.type.value.replace('_', ' ')}: {usual.why}."
    return f"{said} A model that reasons writes several times as much: say `models.NAME.tokens`, or measure with `--measured`."


def _judged(sheet: Sheet) -> Iterator[str]:
    judge = sheet.case.judge
    if judge is None:
        return
    without = [one.name for one in judge.endpoints if one.prices is None]
    if without:
        yield f"Judges without prices are not counted, and no limit holds them: {', '.join(without)}."
    if len(without) < len(judge.endpoints):
        each = money(question(judge, sheet.canary.load))
        limits = f"at most {money(judge.per_hour)} an hour and {money(judge.per_release)} a release"
        yield f"A verdict of all judges costs about {each}; {limits}."
    limited = [line.span.name for line in sheet.middle.lines if line.judge.limited]
    if limited:
        yield f"These limits hold in {', '.join(limited)}: fewer answers are judged than `judge.sample` says."
