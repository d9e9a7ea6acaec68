"""Pools: a model that is served by several clusters, and a unit that stays on one of them. HOT where a model has a pool.

Weighted rendezvous hashing: of every member, u = (h + 1/2) / 2^64 with h = XXH3-64 over `#pool/<cluster>/` and the unit's id (no layer
begins with #, so it is a hash of its own); the member with the largest -weight / ln(u) has the unit. A member's share is its weight over
the sum of weights, and when a member is added, taken away or weighed anew, only the units that it gains or loses move.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Final

from xxhash import xxh3_64_intdigest

_SCALE: Final = 1.0 / (1 << 64)


class Pool:
    """The members of a model, by their place in the order written."""

    __slots__ = ("_members",)

    def __init__(self, clusters: Sequence[str], weights: Sequence[float]) -> None:
        self._members = tuple((f"#pool/{cluster}/".encode(), -weight) for cluster, weight in zip(clusters, weights, strict=True))

    def pick(self, unit: bytes) -> int:
        """Place of the member that has a unit."""
        best, place = -1.0, 0
        for index, (prefix, minus_weight) in enumerate(self._members):
            # The half keeps u above 0; nothing keeps it below 1, where the logarithm is 0 and the score has no bound.
            logarithm = log((xxh3_64_intdigest(prefix + unit) + 0.5) * _SCALE)
            score = minus_weight / logarithm if logarithm else float("inf")
            if score > best:
                best, place = score, index
        return place
