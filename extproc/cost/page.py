"""COST.md: the cost sheet of every rollout, for people who decide and for people who pay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from extproc.cost.given import Given
from extproc.cost.money import change, count, day, hours, money, percent, price
from extproc.cost.rates import Rate
from extproc.cost.reckon import Line, Part
from extproc.cost.scaling import advice, needs
from extproc.cost.sentences import assumptions, headline, tokens_of
from extproc.cost.sheet import Sheet, Unpriced
from extproc.cost.stopping import choices
from extproc.cost.tokens import exact


def page(application: str, found: Sequence[Sheet | Unpriced], pictures: Sequence[str], given: Given) -> str:
    """The whole text. `pictures`: name of the chart of each rollout, empty where it has none."""
    lines = [f"# What the release of {application} costs", ""]
    for one, picture in zip(found, pictures, strict=True):
        lines += [f"## {one.rollout}", ""] if len(found) > 1 else []
        lines += _unpriced(one) if isinstance(one, Unpriced) else _sheet(one, picture, given)
    return "\n".join(lines).rstrip("\n") + "\n"


def _unpriced(one: Unpriced) -> list[str]:
    return [f"Nothing can be said of {one.rollout}: {one.why}.", ""]


def _sheet(sheet: Sheet, picture: str, given: Given) -> Iterator[str]:
    yield from [
        f"**{headline(sheet, given)}**",
        "",
        f"![What each part of the release costs, and what has been saved by when]({picture})",
        "",
    ]
    yield from ["### A request", "", *_requests(sheet), ""]
    yield from ["### A month", "", *_months(sheet), ""]
    yield from ["### The release, part by part", "", *_parts(sheet), ""]
    yield from ["### Break-even", "", *_break_even(sheet, given), ""]
    yield from ["### Stop or go on", "", *_stopping(sheet, given), ""]
    yield from ["### Capacity", "", *_capacity(sheet), "", *(f"{number}. {one}" for number, one in enumerate(advice(sheet), 1)), ""]
    yield from ["### What this rests on", "", *(f"* {one}" for one in assumptions(sheet, given)), ""]


def table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int = 1) -> list[str]:
    """A Markdown table; the first `words` columns are text, the others numbers."""
    rule = ["---"] * words + ["---:"] * (len(header) - words)
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def _requests(sheet: Sheet) -> list[str]:
    rows = [
        (role, rate.model.name, tokens_of(rate), price_of(rate), whole(rate))
        for role, rate in (("stable", sheet.stable), ("canary", sheet.canary))
    ]
    return table(("", "model", "tokens of a mean request", "paid", "a request"), rows, words=4)


def whole(rate: Rate) -> str:
    """USD of a request with everything, or `-` where there is none."""
    found = rate.whole()
    return "-" if found is None else money(found)


def price_of(rate: Rate) -> str:
    """How a model is paid."""
    serving, prices = rate.model.serving, rate.model.prices
    if serving is not None:
        gpus = f"{serving.gpus_per_replica} GPU{'s' * (serving.gpus_per_replica > 1)}"
        return f"{rate.replicas(Decimal(1))} replicas of {gpus} at {price(serving.gpu_hour)} an hour"
    if prices is None:
        return "-"
    return f"{price(prices.input)} read, {price(prices.cached_input)} cached, {price(prices.output)} written, for a million"


def _months(sheet: Sheet) -> list[str]:
    middle = sheet.middle
    rows = [
        (f"{sheet.stable.model.name} alone", money(middle.before), ""),
        (f"{sheet.canary.model.name} promoted", money(middle.after), ""),
        ("saved" if middle.saving >= 0 else "saved (below 0: costs more)", money(middle.saving), between(sheet)),
    ]
    return table(("", "a month", "by what tokens may be"), rows)


def between(sheet: Sheet) -> str:
    """The range of what a month saves."""
    return f"{money(sheet.saving.low)} to {money(sheet.saving.high)}"


def _parts(sheet: Sheet) -> list[str]:
    rows = [part(line) for line in sheet.middle.lines]
    rows.append(("together", "", hours(sheet.middle.days * 24), "", "", "", change(sheet.middle.extra), ""))
    header = ("", "share", "time", sheet.stable.model.name, sheet.canary.model.name, "judge", "beyond stable alone", "standby in it")
    return table(header, rows)


def part(line: Line) -> tuple[str, ...]:
    """One line of the release."""
    span = line.span
    mirrored = " mirrored" if span.part is Part.SHADOW else ""
    late = "" if span.decided else " (not decided)"
    amounts = (money(line.stable), money(line.canary), money(line.judge.usd), change(line.extra), money(line.standby))
    return (span.name, f"{percent(span.share)}{mirrored}", f"{hours(span.hours)}{late}", *amounts)


def _break_even(sheet: Sheet, given: Given) -> list[str]:
    rows = [
        (name, "never" if days is None else day(days, given.start) if days else "from the first request")
        for name, days in (("at best", sheet.earliest), ("expected", sheet.middle.break_even), ("at worst", sheet.latest))
    ]
    said = "Counted from the start of the release; from then on less has been paid than stable alone would have cost."
    return [said, "", *table(("", "when"), rows, words=2)]


def _stopping(sheet: Sheet, given: Given) -> list[str]:
    rows = [
        (one.name, change(one.remaining), money(one.stopping), money(one.going_on), least(one.least_chance))
        for one in choices(sheet.middle, given)
    ]
    assumed = f"with a chance of {percent(exact(given.chance))} that the canary passes and {given.months} months in which it serves"
    said = f"In money alone, {assumed}. Harm to users is not in here: the gates decide about that, whatever this table says."
    header = (
        "before",
        "the rest still costs",
        "expected loss of stopping",
        "expected loss of going on",
        "going on is right above a chance of",
    )
    return [said, "", *table(header, rows)]


def least(chance: Decimal | None) -> str:
    """A chance, or that none is enough."""
    return "none is enough" if chance is None else percent(chance)


def _capacity(sheet: Sheet) -> list[str]:
    canary, stable = sheet.canary.model, sheet.stable.model
    header = ["canary, busiest minutes", "requests/s", "answers open at once", "tokens a minute"]
    header += [f"replicas of {one.name}" for one in (canary, stable) if one.serving is not None]
    rows = []
    for need in needs(sheet):
        at_most = "" if canary.serving is not None else "at most "
        row = [need.name, count(need.requests), f"{at_most}{count(need.open)}", count(need.tokens)]
        row += [str(number) for one, number in ((canary, need.canary), (stable, need.stable)) if one.serving is not None]
        rows.append(row)
    return table(header, rows)
