"""E-processes: capital that grows only while a null hypothesis is wrong. Pure, additive, about as long as their formulas.

Each is non-negative with expectation at most 1 under its null at every moment (so "reject when E >= 1/alpha" holds whenever and
however often one looks: Ville). State is a vector of log-capitals, one per bet of a fixed mixture; vectors of disjoint data add up.

* `RatioE`: exposure-weighted form of Lindon & Malek, NeurIPS 2022. * `BetE`: Waudby-Smith & Ramdas, JRSS-B 2024, with a fixed
mixture of bets. * `ceiling_log_e`, `ceiling_bets`: one sample against a constant. * `sample_ratio_log_bf`: Lindon & Malek 2022.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

RATIOS: Final = (1.2, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0)
RATIO_WEIGHTS: Final = (0.10, 0.20, 0.25, 0.15, 0.10, 0.08, 0.06, 0.06)
BETS: Final = (1 / 128, 1 / 64, 1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.9)
BET_WEIGHTS: Final = (1 / len(BETS),) * len(BETS)
EXCESSES: Final = (0.01, 0.02, 0.05, 0.10, 0.20, 0.40, 0.70, 0.95)
"""Alternatives of a ceiling c: rates c + g * (1 - c), from barely above it to nearly always failing."""

_RATIO_LOGS: Final = tuple(math.log(ratio) for ratio in RATIOS)
_log1p = math.log1p


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


# ---------------------------------------------------------------------------------------------------------------- rare events
def ratio_gains(x: int, y: int, n_c: float, n_s: float, r0: float = 1.0) -> list[float]:
    """What each bet of a RatioE gains, in ln, by one batch: x events among n_c canary units, y among n_s stable ones."""
    events = x + y
    return [x * log - events * cost for log, cost in zip(_RATIO_LOGS, _costs(n_c, n_s, r0), strict=True)]


@lru_cache(maxsize=8192)
def _costs(n_c: float, n_s: float, r0: float) -> tuple[float, ...]:
    exposure = r0 * n_c
    return tuple(math.log((ratio * exposure + n_s) / (exposure + n_s)) for ratio in RATIOS)


class RatioE:
    """Rare events. Null: the canary's rate is at most r0 times stable's, whatever that is and however it drifts between batches."""

    __slots__ = ("_r0", "vector")

    def __init__(self, r0: float = 1.0, vector: Sequence[float] | None = None) -> None:
        self._r0 = r0
        self.vector = list(vector) if vector is not None else [0.0] * len(RATIOS)

    def record(self, x: int, y: int, n_c: float, n_s: float) -> None:
        """One batch: x events among n_c canary units, y among n_s stable ones. Without both arms it says nothing."""
        if n_c and n_s:
            gains = ratio_gains(x, y, n_c, n_s, self._r0)
            self.vector = [before + gain for before, gain in zip(self.vector, gains, strict=True)]

    @property
    def log_e(self) -> float:
        """ln of the e-value."""
        return combine(self.vector, RATIO_WEIGHTS)

    def merge(self, other: RatioE) -> None:
        """Add what was recorded elsewhere, on other requests."""
        self.vector = [mine + yours for mine, yours in zip(self.vector, other.vector, strict=True)]


# -------------------------------------------------------------------------------------------------------------- bounded means
def bet_gains(z: float) -> list[float]:
    """What each bet gains, in ln, where the stake moves by z: at least -1, and at most 0 on average under the null."""
    return [_log1p(bet * z) for bet in BETS]


class BetE:
    """Bounded means. Null: canary's mean <= (1 + rel) * stable's mean + abs_, values in [0, cap], larger is worse.

    To show non-inferiority on an event with absolute margin a, swap the direction: `BetE(1, abs_=-a).record(1 - x, 1 - y_mean)` tests
    "the canary's rate is at least stable's plus a"; it works when stable has no events at all.
    """

    __slots__ = ("_abs", "_rel", "cap", "vector")

    def __init__(self, cap: float, rel: float = 0.0, abs_: float = 0.0, vector: Sequence[float] | None = None) -> None:
        if cap <= 0 or (1 + rel) * cap + abs_ <= 0:
            raise ValueError(f"cap {cap:g} with margins {rel:g} and {abs_:g} leaves nothing to bet on")
        self.cap, self._rel, self._abs = cap, rel, abs_
        self.vector = list(vector) if vector is not None else [0.0] * len(BETS)

    def record(self, x: float, y_mean: float) -> None:
        """One batch: the canary's value and the mean of stable's."""
        widest = (1 + self._rel) * self.cap
        z = min(x, widest) - (1 + self._rel) * min(y_mean, self.cap) - self._abs
        gains = bet_gains(z / (widest + self._abs))
        self.vector = [before + gain for before, gain in zip(self.vector, gains, strict=True)]

    @property
    def log_e(self) -> float:
        """ln of the e-value."""
        return combine(self.vector, BET_WEIGHTS)

    def merge(self, other: BetE) -> None:
        """Add what was recorded elsewhere, on other requests."""
        self.vector = [mine + yours for mine, yours in zip(self.vector, other.vector, strict=True)]


# ------------------------------------------------------------------------------------------------------------ absolute guards
def ceiling_log_e(events: int, requests: int, ceiling: float) -> float:
    """ln of the e-value against "each request is an event with probability at most `ceiling`" (0 < ceiling < 1).

    Counts are sufficient: the mixture's likelihood ratios multiply to this, whatever the order.
    """
    capitals = []
    for excess in EXCESSES:
        rate = ceiling + excess * (1 - ceiling)
        capitals.append(events * math.log(rate / ceiling) + (requests - events) * math.log((1 - rate) / (1 - ceiling)))
    return combine(capitals, (1 / len(EXCESSES),) * len(EXCESSES))


def ceiling_bets(value: float, ceiling: float) -> list[float]:
    """What each bet gains, in ln, against "the mean is at most `ceiling`" (above 0) by one value, which is not negative.

    BetE with stable's side fixed. No cap is needed: what can be lost at most is the ceiling itself, and gains need no bound.
    """
    return bet_gains(value / ceiling - 1)


# ------------------------------------------------------------------------------------------------------- sample ratio mismatch
def sample_ratio_log_bf(counts: Sequence[int], shares: Sequence[float], concentration: float = 1000.0) -> float:
    """ln of the Bayes factor against "units fall into the arms with the planned shares".

    Dirichlet-multinomial with a prior around the plan, of that concentration; as a process in the units it is an e-process. An arm
    that is planned to be empty must be left out.
    """
    if len(counts) != len(shares) or min(shares) <= 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-9):
        raise ValueError(f"{len(counts)} counts do not go with the shares {list(shares)}: each above 0, together 1")
    total = sum(counts)
    log_bf = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in zip(counts, shares, strict=True):
        prior = concentration * share
        log_bf += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return log_bf
