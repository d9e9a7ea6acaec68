"""How people write durations, shares and money: `1h30m`, `5%`, `$2.50`. A bare number is refused where it could mean two things."""

from __future__ import annotations

import re
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhd]) *")
_DURATIONS = re.compile(rf"(?:{_DURATION.pattern})+")
_LONGEST = 10 * 365 * 86400.0
"""A duration above ten years is a slip of the finger."""
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) *%")
_TIME_OF_DAY = re.compile(r"([0-9]{1,2}):([0-5][0-9])")
_MONEY = re.compile(r"\$ *([0-9]+(?:\.[0-9]+)?)")


def duration(value: Any) -> float:
    """Seconds of `500ms`, `8s`, `30m`, `1h30m`, `365d`; raises ValueError with the rest of a sentence that begins with the value."""
    text = value.strip(" ") if isinstance(value, str) else ""
    if not _DURATIONS.fullmatch(text):
        raise ValueError("is no duration; write a number with its unit, such as 500ms, 8s, 30m, 1h30m or 2d")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
    if seconds > _LONGEST:
        raise ValueError("is longer than ten years")
    return seconds


def share(value: Any) -> float:
    """Fraction of `5%`; a bare number is refused, because 1 could be one per cent or everybody."""
    match = _PERCENT.fullmatch(value.strip(" ")) if isinstance(value, str) else None
    if match is None:
        raise ValueError("is no percentage; write it with its sign, such as 1% or 99.9%")
    fraction = float(Decimal(match[1]) / 100)
    if fraction > 1:
        raise ValueError("is more than 100%")
    return fraction


def money(value: Any) -> Decimal:
    """Dollars of `$2.50`."""
    match = _MONEY.fullmatch(value.strip(" ")) if isinstance(value, str) else None
    try:
        if match is not None:
            return Decimal(match[1])
    except InvalidOperation:  # more digits than Decimal's context holds
        pass
    raise ValueError("is no amount of money; write it with its sign, such as $2.50")


def quantity(value: Any, unit: str) -> float:
    """A value of a measure in its own unit (see `measures`); raises ValueError as the others do."""
    match unit:
        case "share":
            return share(value)
        case "seconds":
            return duration(value)
        case "usd":
            return float(money(value))
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise ValueError(f"is no number; write how many {unit}, without quotes")
    return float(value)


def instant(value: Any) -> float:
    """Unix seconds of `2026-12-20T00:00Z`; without its zone an instant could be several."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError("is no instant with its zone; write it as 2026-12-20T00:00Z or 2026-12-20T18:00+01:00")
    return found.timestamp()


def time_of_day(value: Any) -> float:
    """Seconds after midnight of `09:00`; `24:00` is the end of the day."""
    match = _TIME_OF_DAY.fullmatch(value) if isinstance(value, str) else None
    seconds = int(match[1]) * 3600.0 + int(match[2]) * 60.0 if match is not None else float("inf")
    if seconds > 86400:
        raise ValueError("is no time of day; write it as 09:00, or 24:00 for midnight")
    return seconds


def show_share(fraction: float) -> str:
    """`5%` of 0.05, as short as it is exact."""
    return f"{Decimal(repr(fraction)) * 100:f}".rstrip("0").rstrip(".") + "%" if fraction % 0.01 else f"{fraction:.0%}"


def show_duration(seconds: float) -> str:
    """`30d` of 2592000, in the largest unit that is exact."""
    unit, size = next((unit, size) for unit, size in reversed(_SECONDS.items()) if not seconds % size or unit == "ms")
    return f"{seconds / size:g}{unit}" if seconds else "0s"
