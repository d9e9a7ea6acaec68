"""Money, days and counts as people read them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Final

CENT: Final = Decimal("0.01")
WHOLE: Final = Decimal(1)
MANY: Final = ((Decimal(10) ** 12, "T"), (Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"))
"""Million, billion, trillion, as finance writes them."""
FINE_DIGITS: Final = 3
"""Digits of what is less than a cent."""


def money(amount: Decimal) -> str:
    """`$1,235`, `$12.35`, `$0.00388`, `-$3.10`; `$0` of nothing."""
    size = abs(amount)
    if not size:
        return "$0"
    sign = "-" if amount < 0 else ""
    if size < CENT:
        fine = size.quantize(Decimal(1).scaleb(size.adjusted() - FINE_DIGITS + 1), ROUND_HALF_UP)
        return f"{sign}${fine:f}"
    return f"{sign}${size.quantize(WHOLE if size >= 100 else CENT, ROUND_HALF_UP):,f}"


def price(amount: Decimal) -> str:
    """As it is written, no digit lost: `$0.025`."""
    return f"${amount:f}"


def brief(amount: Decimal) -> str:
    """For a chart, with its sign: `+$12.35`, `-$1,235`, `+$1.23M`, `+$45.6B`."""
    size = abs(amount)
    found = next(((size / one, letter) for one, letter in MANY if size >= one), None)
    if found is None:
        return change(amount)
    return f"{'-' if amount < 0 else '+'}${count(found[0])}{found[1]}"


def mark(amount: Decimal) -> str:
    """A round amount on an axis: `$50`, `-$2.5`, `$1.5M`."""
    size, letter = next(((abs(amount) / one, letter) for one, letter in MANY if abs(amount) >= one), (abs(amount), ""))
    return f"{'-' if amount < 0 else ''}${plain(size)}{letter}"


def plain(number: Decimal) -> str:
    """A round number: `1,500`, `2.5`."""
    return f"{number.normalize():,f}"


def change(amount: Decimal) -> str:
    """The same with its sign: `+$12.35`."""
    return f"+{money(amount)}" if amount > 0 else money(amount)


def count(number: Decimal) -> str:
    """`1,500`, `12.5`, `0.23`."""
    size = abs(number)
    return f"{number.quantize(WHOLE if size >= 100 else Decimal('0.1') if size >= 10 else CENT, ROUND_HALF_UP):,f}"


def percent(share: Decimal) -> str:
    """`25%`, `0.5%`, `0.003%`."""
    hundred = share * 100
    if not hundred:
        return "0%"
    shown = hundred.quantize(Decimal(1).scaleb(min(0, hundred.adjusted() - 1)), ROUND_HALF_UP).normalize()
    return f"{shown:f}%"


def hours(number: Decimal) -> str:
    """Rounded up to minutes: `30 min`, `2 h 00 min`, `3 d 4 h`."""
    minutes = int((number * 60).to_integral_value(ROUND_CEILING))
    if minutes < 60:
        return f"{minutes} min"
    whole, rest = divmod(minutes, 60)
    return f"{whole} h {rest:02d} min" if whole < 48 else f"{whole // 24} d {whole % 24} h"


def day(days: Decimal, start: date | None) -> str:
    """When it is so many days after the start: `day 12`, or `2026-12-13 (day 12)`."""
    return f"day {_number(days):,}" if start is None else f"{on(days, start)} (day {_number(days):,})"


def on(days: Decimal, start: date) -> date:
    """The date of the day in which so many days since the start come to their end; the start is the first day."""
    return start + timedelta(days=_number(days) - 1)


def _number(days: Decimal) -> int:
    """Counted from 1."""
    return int(days.to_integral_value(ROUND_CEILING)) or 1
