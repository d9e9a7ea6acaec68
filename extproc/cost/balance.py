"""The lower panel of the chart: what has been saved since the release began, its range, and where it has paid for itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from extproc.cost.axis import Scale, ticks
from extproc.cost.given import Given
from extproc.cost.money import brief, day, plain
from extproc.cost.money import mark as axis_mark
from extproc.cost.reckon import MONTH_DAYS, Reckoning, balance
from extproc.cost.sheet import Sheet
from extproc.cost.svg import dot, path, rule, text

LEAST_DAYS: Final = Decimal(30)
MOST_DAYS: Final = Decimal(720)
BEYOND: Final = Decimal("1.5")
"""So much of the way to the break-even is shown."""
APART: Final = 16
"""Pixels between the baselines of two labels."""
WIDE: Final = 8.0
"""Pixels of a character, at most."""


def panel(sheet: Sheet, given: Given, top: float, height: float, left: float, right: float) -> list[str]:
    """From the start of the release to some time after it has paid for itself."""
    middle, last = sheet.middle, _last(sheet)
    curves = [_curve(one, last) for one in (middle, sheet.lowest, sheet.highest)]
    amounts = [amount for curve in curves for _, amount in curve]
    across, up = _marks(last), ticks(min(Decimal(0), *amounts), max(Decimal(0), *amounts), 5)
    begin, end = top + 44, top + height
    x, y = Scale(Decimal(0), last, left, right), Scale(up[0], up[-1], end, begin)
    parts = [text(24, top, "What has been saved since the release began, against stable alone", "head")]
    parts.append(text(24, top + 20, "the line: expected; the band: by what tokens may be; dashed: the release has ended", "label"))
    parts += [rule(left, y(mark), right, y(mark), "zero" if not mark else "grid") for mark in up]
    parts += [text(left - 8, y(mark) + 4, axis_mark(mark), "tick", "end") for mark in up]
    parts += [text(x(mark), end + 18, plain(mark), "tick", "middle") for mark in across]
    parts.append(text((left + right) / 2, end + 40, "days from the start", "tick", "middle"))
    parts.append(rule(x(middle.days), begin, x(middle.days), end, "until"))
    line, low, high = ([(x(when), y(amount)) for when, amount in curve] for curve in curves)
    parts += [path([*low, *reversed(high)], "band", closed=True), path(line, "line")]
    parts += _ends(curves, y, right)
    return [*parts, *_mark(sheet, given, x, y, right)]


def _last(sheet: Sheet) -> Decimal:
    """The last day that is shown."""
    paid = sheet.middle.break_even or Decimal(0)
    wanted = max(LEAST_DAYS, sheet.middle.days * 2, paid * BEYOND)
    return min(wanted, max(MOST_DAYS, sheet.middle.days * 2))


def _marks(last: Decimal) -> list[Decimal]:
    return [mark for mark in ticks(Decimal(0), last, 6) if mark <= last]


def _curve(made: Reckoning, last: Decimal) -> list[tuple[Decimal, Decimal]]:
    points = balance(made.lines)
    when, saved = points[-1]
    return [*points, (last, saved + (last - when) * made.saving / MONTH_DAYS)]


def _ends(curves: list[list[tuple[Decimal, Decimal]]], y: Scale, right: float) -> list[str]:
    """The amounts at the right end, moved apart where they would meet; the expected one stays where it is."""
    expected, lower, upper = (curve[-1][1] for curve in curves)
    place = y(expected)
    labels = [(place, brief(expected), "name strong")]
    for amount, nearest in ((upper, place - APART), (lower, place + APART)):
        if amount != expected:
            at = min(y(amount), nearest) if amount > expected else max(y(amount), nearest)
            labels.append((at, brief(amount), "tick"))
    return [text(right + 8, at + 4, words, kind) for at, words, kind in labels]


def _mark(sheet: Sheet, given: Given, x: Scale, y: Scale, right: float) -> list[str]:
    """Where it has paid for itself, with its day: right of the dot and below, or left of it and above, where the line is not."""
    days = sheet.middle.break_even
    if not days or days > x.high:
        return []
    at, zero = x(days), y(Decimal(0))
    words = f"break-even: {day(days, given.start)}"
    width, ended = WIDE * len(words), x(sheet.middle.days)
    begin = ended + 8 if at < ended < at + 12 + width else at + 12
    said = text(begin, zero + 20, words, "name good strong")
    if begin + width > right:
        said = text(at - 12, zero - 10, words, "name good strong", "end")
    return [dot(at, zero, "good"), said]
