"""How long a router's decisions take, of the last minute or two: counters of its workers in, quantiles out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

MINUTE: Final = 60.0
QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


class DecisionTimes:
    """Of one router; what is older than two minutes is forgotten."""

    __slots__ = ("_before", "_bounds", "_now", "_since")

    def __init__(self) -> None:
        self._bounds: Sequence[float] = ()
        self._since = 0.0
        self._now: list[int] = []
        self._before: list[int] = []

    def add(self, bounds: Sequence[float], more: Sequence[int], now: float) -> None:
        """So many decisions more, by bucket: `bounds` are upper ends in seconds, `more` has one count more than they, for what is above."""
        if tuple(bounds) != tuple(self._bounds):
            self._bounds, self._since = tuple(bounds), now
            self._now = self._before = [0] * len(more)
        if now - self._since >= MINUTE:
            self._before, self._now, self._since = self._now, [0] * len(more), now
        self._now = [count + one for count, one in zip(self._now, more, strict=True)]

    def document(self) -> dict[str, Any] | None:
        """Quantiles in seconds, and of how many; None where nothing was measured. Within a bucket they are taken as evenly spread; above
        the last bound it is that bound."""
        counts = [now + before for now, before in zip(self._now, self._before, strict=True)]
        total = sum(counts)
        return {"of": total, **{name: self._quantile(counts, share * total) for name, share in QUANTILES}} if total else None

    def _quantile(self, counts: Sequence[int], rank: float) -> float:
        reached = 0
        for (low, high), count in zip(pairwise((0.0, *self._bounds)), counts, strict=False):
            if count and reached + count >= rank:
                return low + (high - low) * (rank - reached) / count
            reached += count
        return self._bounds[-1]
