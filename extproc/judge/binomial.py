"""Exact binomial tails and bounds, in plain Python: no normal approximation where counts are small. Pure."""

from __future__ import annotations

import math
from typing import Final

_HALVINGS: Final = 60
"""Of [0, 1]: beyond the precision of a float."""


def at_least(events: int, trials: int, chance: float) -> float:
    """Probability of so many events or more."""
    if events <= 0:
        return 1.0
    if chance <= 0.0 or events > trials:
        return 0.0
    if chance >= 1.0:
        return 1.0
    log, against = math.log(chance), math.log1p(-chance)
    base = math.lgamma(trials + 1)
    logs = (base - math.lgamma(k + 1) - math.lgamma(trials - k + 1) + k * log + (trials - k) * against for k in range(events, trials + 1))
    return min(1.0, math.fsum(math.exp(value) for value in logs))


def lower(events: int, trials: int, alpha: float) -> float:
    """The chance is at least this, but for an error of `alpha` (Clopper & Pearson 1934)."""
    return 0.0 if events <= 0 else _where(events, trials, alpha)


def upper(events: int, trials: int, alpha: float) -> float:
    """The chance is at most this, but for an error of `alpha`."""
    return 1.0 - lower(trials - events, trials, alpha)


def two_sided(events: int, trials: int) -> float:
    """p-value of "heads and tails are alike": twice the smaller tail, at most 1."""
    return min(1.0, 2 * at_least(max(events, trials - events), trials, 0.5))


def _where(events: int, trials: int, alpha: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if at_least(events, trials, middle) < alpha else (low, middle)
    return low
