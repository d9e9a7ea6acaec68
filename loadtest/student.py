"""Quantiles, and an interval of a mean by Student's t, without scipy."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

CONFIDENCE: Final = 0.95


def quantile(ordered: Sequence[float], q: float) -> float:
    """The smallest value that at least a share q of them do not exceed."""
    return ordered[max(0, math.ceil(q * len(ordered) - 1e-9) - 1)]


def t_central(t: float, degrees: int) -> float:
    """P(|T| <= t) of Student's t (Abramowitz and Stegun 26.7.3 and 26.7.4: finite sums)."""
    theta = math.atan(t / math.sqrt(degrees))
    cosine, odd = math.cos(theta), degrees % 2
    term, total = (cosine if odd else 1.0), 0.0
    for k in range(2 + odd, degrees + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    total *= math.sin(theta)
    return 2 / math.pi * (theta + total) if odd else total


def t_point(degrees: int, confidence: float = CONFIDENCE) -> float:
    """The t with t_central(t, degrees) = confidence, by bisection."""
    low, high = 0.0, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if t_central(middle, degrees) < confidence else (low, middle)
    return high


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of at least two values and its 95 % interval by Student's t."""
    mean = statistics.fmean(values)
    half = t_point(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half
