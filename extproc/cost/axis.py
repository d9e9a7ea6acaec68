"""Axes of a chart: round marks, and where a value is."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

ROUND: Final = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))


def ticks(low: Decimal, high: Decimal, about: int) -> list[Decimal]:
    """Round numbers that enclose `low` and `high`, about so many steps apart; 0 and 1 where they are the same."""
    if high <= low:
        high = low + 1
    step = (high - low) / about
    size = Decimal(1).scaleb(step.adjusted())
    step = next(size * one for one in ROUND if size * one >= step)
    first, last = ((end / step).to_integral_value(way) for end, way in ((low, ROUND_FLOOR), (high, ROUND_CEILING)))
    return [number * step for number in range(int(first), int(last) + 1)]


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to pixels."""

    low: Decimal
    high: Decimal
    begin: float
    end: float

    def __call__(self, value: Decimal) -> float:
        return self.begin + float((value - self.low) / (self.high - self.low)) * (self.end - self.begin)
