"""Strata: requests that are compared with each other. One visit of a phase, one cohort.

Inside a stratum, requests of one arm are compared with those of the other that began beside them. Comparing only what ran at the same
time removes drifting baselines and the Simpson effect of a ramp.
"""

from __future__ import annotations

from typing import Final

CLOSE_AT: Final = 0.8
"""A batch closes once this share of the expected number of the larger arm has gathered."""
CLOSE_SOON_AT: Final = 0.3
"""The same for means (BetE): several canary units in a batch count there as one, so that small batches learn faster."""


class Stratum:
    """Compared by identity: one object per (generation, cohort)."""

    __slots__ = ("cohort", "compared", "generation", "measures", "phase", "share")

    def __init__(self, generation: int, phase: int, cohort: str, share: float, measures: frozenset[str]) -> None:
        """`share` of units that meet the canary; `measures` that have a gate in this phase."""
        self.generation = generation
        self.phase = phase
        self.cohort = cohort
        self.share = share
        self.measures = measures
        self.compared = 0.0 < share < 1.0
        """False where there is nobody to compare with."""

    def closes(self, at: float) -> tuple[float, float]:
        """Where a batch ends: at a canary unit once so many stable ones are in it, or at a stable unit once so many canary ones are.

        Up to 50 % the canary closes, above it stable does; the other number is infinite.
        """
        smaller = min(self.share, 1 - self.share)
        needed = at * (1 - smaller) / smaller if smaller > 0 else float("inf")
        return (float("inf"), needed) if self.share > 0.5 else (needed, float("inf"))
