"""Concurrent batches in the order of request *start*: a few requests of one arm against those of the other that began beside them.

Comparing only what ran at the same time removes drifting baselines and the Simpson effect of a ramp. Where a batch closes depends on
arms alone, never on outcomes; that is what keeps the e-processes honest. This is the plain form, of one measure and one stratum, that the
simulator shows beside the full design.
"""

from __future__ import annotations

from dataclasses import dataclass

from extproc.release.strata import CLOSE_AT, CLOSE_SOON_AT

__all__ = ["CLOSE_AT", "CLOSE_SOON_AT", "Batch", "Batcher"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Events and requests of both arms."""

    x: int
    n_c: int
    y: int
    n_s: int


class Batcher:
    """Forms batches at one share of the canary. Up to 50 % a batch closes at a canary request, above at a stable one."""

    __slots__ = ("_n_c", "_n_s", "_needed", "_swapped", "_x", "_y")

    def __init__(self, share: float, close_at: float = CLOSE_AT) -> None:
        self._swapped = share > 0.5
        smaller = min(share, 1 - share)
        self._needed = close_at * (1 - smaller) / smaller if smaller > 0 else float("inf")
        self._x = self._n_c = self._y = self._n_s = 0

    def add(self, canary: bool, event: bool) -> Batch | None:
        """The next request in order of start; returns the batch that it closes."""
        if canary:
            self._n_c += 1
            self._x += event
        else:
            self._n_s += 1
            self._y += event
        larger = self._n_c if self._swapped else self._n_s
        if canary is self._swapped or larger < self._needed:
            return None
        batch = Batch(self._x, self._n_c, self._y, self._n_s)
        self._x = self._n_c = self._y = self._n_s = 0
        return batch
