"""A cost sheet as a picture: the sentence that matters, a request, the release part by part, stopping or going on, advice. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.cost.given import Given
from extproc.cost.money import change, hours, money, percent
from extproc.cost.page import between, least, part, price_of, whole
from extproc.cost.scaling import advice
from extproc.cost.sentences import assumptions, headline, tokens_of
from extproc.cost.sheet import Sheet, Unpriced
from extproc.cost.stopping import choices
from extproc.cost.tokens import exact


def cost_picture(sheet: Sheet | Unpriced, given: Given) -> RenderableType:
    """Of one rollout."""
    if isinstance(sheet, Unpriced):
        return Text(f"{sheet.rollout}: nothing can be said of it: {sheet.why}", style="bold yellow")
    style = "bold green" if sheet.middle.saving > 0 else "bold yellow" if sheet.middle.saving < 0 else "bold"
    gap = Text("")
    return Group(
        Text(f"{sheet.rollout}: {headline(sheet, given)}", style=style),
        gap,
        _requests(sheet),
        gap,
        _parts(sheet),
        gap,
        _stopping(sheet, given),
        gap,
        *_listed("Capacity", list(advice(sheet))),
        gap,
        *_listed("What this rests on", list(assumptions(sheet, given)), "dim"),
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], words: int) -> Table:
    """The first `words` columns are text, the others numbers."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < words else "right")
    for row in rows:
        table.add_row(*row)
    return table


def _requests(sheet: Sheet) -> Table:
    months = (sheet.middle.before, sheet.middle.after)
    rows = [
        (rate.model.name, tokens_of(rate), price_of(rate), whole(rate), money(month))
        for rate, month in zip((sheet.stable, sheet.canary), months, strict=True)
    ]
    rows.append(("saved", f"by what tokens may be {between(sheet)}", "", "", money(sheet.middle.saving)))
    return _table(("", "tokens of a mean request", "paid", "a request", "a month"), rows, 3)


def _parts(sheet: Sheet) -> Table:
    header = ("part", "share", "time", sheet.stable.model.name, sheet.canary.model.name, "judge", "beyond stable alone", "standby in it")
    rows = [part(line) for line in sheet.middle.lines]
    rows.append(("together", "", hours(sheet.middle.days * 24), "", "", "", change(sheet.middle.extra), ""))
    return _table(header, rows, 1)


def _stopping(sheet: Sheet, given: Given) -> Table:
    """In money alone; the gates decide about harm."""
    rows = [
        (one.name, change(one.remaining), money(one.stopping), money(one.going_on), least(one.least_chance))
        for one in choices(sheet.middle, given)
    ]
    chance = f"at a chance of {percent(exact(given.chance))}, {given.months} months"
    return _table(("before", "the rest costs", f"loss of stopping {chance}", "of going on", "going on is right above"), rows, 1)


def _listed(head: str, lines: Sequence[str], style: str = "") -> list[RenderableType]:
    return [Text(head, style="bold"), *(Text(f"  • {one}", style=style) for one in lines)]
