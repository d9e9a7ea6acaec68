"""Quantiles of what is positive, such as seconds: counts in logarithmic buckets, which merge by addition."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

GROWTH: Final = 1.04
"""Ratio of a bucket's ends: a quantile is right within 2 %."""
SMALLEST: Final = 1e-6
_PER_LOG: Final = 1 / math.log(GROWTH)
_OFFSET: Final = -math.log(SMALLEST) * _PER_LOG


class Histogram:
    """Counts per bucket; bucket k holds (SMALLEST * GROWTH^(k-1), SMALLEST * GROWTH^k]."""

    __slots__ = ("counts",)

    def __init__(self, counts: dict[int, int] | None = None) -> None:
        self.counts: Counter[int] = Counter(counts or {})

    def add(self, value: float) -> None:
        """One observation; what is not above SMALLEST counts as SMALLEST."""
        bucket = math.ceil(math.log(value) * _PER_LOG + _OFFSET) if value > SMALLEST else 0
        counts = self.counts
        counts[bucket] = counts.get(bucket, 0) + 1

    def quantile(self, share: float) -> float | None:
        """The value that `share` of the observations do not exceed; None without observations."""
        rank = share * self.counts.total()
        reached = 0
        for bucket in sorted(self.counts):
            reached += self.counts[bucket]
            if reached >= rank:
                return float(SMALLEST * GROWTH ** (bucket - 0.5))
        return None
