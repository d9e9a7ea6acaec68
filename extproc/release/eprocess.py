"""E-processes: capital that grows only while a null hypothesis is wrong. Pure, additive, about as long as their formulas.

Each is non-negative with expectation at most 1 under its null at every moment (so "reject when E >= 1/alpha" holds whenever and
however often one looks: Ville). State is a vector of log-capitals, one per bet of a fixed mixture; vectors of disjoint data add up.

* `RatioE`: exposure-weighted form of Lindon & Malek, NeurIPS 2022. * `BetE`: Waudby-Smith & Ramdas, JRSS-B 2024, with a fixed
mixture of bets. * `CeilingE`: binomial likelihood ratios against one rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

RATIOS: Final = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
RATIO_WEIGHTS: Final = (0.10, 0.20, 0.25, 0.15, 0.10, 0.08, 0.06, 0.06)
BETS: Final = (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.9)
EXCESSES: Final = (0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.70, 0.95)
"""Alternatives of a ceiling c: rates c + g * (1 - c), from barely above it to nearly always failing."""


def log_sum_exp(values: Sequence[float]) -> float:
    """ln(sum(exp(v))) without overflow; -inf for none."""
    top = max(values, default=-math.inf)
    if math.isinf(top):
        return top
    return top + math.log(sum(math.exp(value - top) for value in values))


def combine(log_es: Sequence[float], weights: Sequence[float]) -> float:
    """ln of the weighted mean of e-values: an e-value under any dependence (Vovk & Wang 2021). Weights sum to 1."""
    if not math.isclose(sum(weights), 1.0, abs_tol=1e-9):
        raise ValueError(f"weights sum to {sum(weights):g}, not to 1")
    return log_sum_exp([log_e + math.log(weight) for log_e, weight in zip(log_es, weights, strict=True) if weight > 0])


class RatioE:
    """Rare events. Null: the canary's rate is at most r0 times stable's, whatever that is and however it drifts between batches."""

    __slots__ = ("_r0", "vector")

    def __init__(self, r0: float = 1.0, vector: Sequence[float] | None = None) -> None:
        self._r0 = r0
        self.vector = list(vector) if vector is not None else [0.0] * len(RATIOS)

    def record(self, x: int, y: int, n_c: int, n_s: int) -> None:
        """One batch: x events among n_c canary requests, y among n_s stable ones. Without both arms it says nothing."""
        if not n_c or not n_s:
            return
        exposure = self._r0 * n_c
        for index, ratio in enumerate(RATIOS):
            self.vector[index] += x * math.log(ratio) - (x + y) * math.log((ratio * exposure + n_s) / (exposure + n_s))

    @property
    def log_e(self) -> float:
        """ln of the e-value."""
        return combine(self.vector, RATIO_WEIGHTS)

    def merge(self, other: RatioE) -> None:
        """Add what was recorded elsewhere, on other requests."""
        self.vector = [mine + yours for mine, yours in zip(self.vector, other.vector, strict=True)]


class BetE:
    """Bounded means. Null: canary's mean <= (1 + rel) * stable's mean + abs_, values in [0, cap], larger is worse.

    To show non-inferiority on an event with absolute margin a, swap the direction: `BetE(1, abs_=-a).record(1 - x, 1 - y_mean)` tests
    "the canary's rate is at least stable's plus a"; it works when stable has no events at all.
    """

    __slots__ = ("_abs", "_cap", "_rel", "vector")

    def __init__(self, cap: float, rel: float = 0.0, abs_: float = 0.0, vector: Sequence[float] | None = None) -> None:
        if cap <= 0 or (1 + rel) * cap + abs_ <= 0:
            raise ValueError(f"cap {cap:g} with margins {rel:g} and {abs_:g} leaves nothing to bet on")
        self._cap, self._rel, self._abs = cap, rel, abs_
        self.vector = list(vector) if vector is not None else [0.0] * len(BETS)

    def record(self, x: float, y_mean: float) -> None:
        """One batch: the canary's value and the mean of stable's."""
        widest = (1 + self._rel) * self._cap
        z = min(x, widest) - (1 + self._rel) * min(y_mean, self._cap) - self._abs
        for index, bet in enumerate(BETS):
            self.vector[index] += math.log1p(bet / (widest + self._abs) * z)

    @property
    def log_e(self) -> float:
        """ln of the e-value."""
        return combine(self.vector, (1 / len(BETS),) * len(BETS))

    def merge(self, other: BetE) -> None:
        """Add what was recorded elsewhere, on other requests."""
        self.vector = [mine + yours for mine, yours in zip(self.vector, other.vector, strict=True)]


def ceiling_log_e(events: int, requests: int, ceiling: float) -> float:
    """ln of the e-value against "each request is an event with probability at most `ceiling`" (0 < ceiling < 1).

    Counts are sufficient: the mixture's likelihood ratios multiply to this, whatever the order.
    """
    capitals = []
    for excess in EXCESSES:
        rate = ceiling + excess * (1 - ceiling)
        capitals.append(events * math.log(rate / ceiling) + (requests - events) * math.log((1 - rate) / (1 - ceiling)))
    return combine(capitals, (1 / len(EXCESSES),) * len(EXCESSES))
