"""What a series of simulated releases comes to, one row per rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a rule rolled back."""

    requests: int
    """All requests until then."""
    canary: int
    """Those that met the canary."""


@dataclass(frozen=True, slots=True)
class Row:
    """One rule in one world."""

    world: str
    rule: str
    runs: int
    stopped: int
    """Runs that were rolled back."""
    requests: float | None
    """Median of all requests until then; None where no run was."""
    canary: float | None

    @property
    def share(self) -> float:
        """Of the runs that were rolled back."""
        return self.stopped / self.runs


def row(world: str, rule: str, stops: Sequence[Stop | None]) -> Row:
    """Of the stops of a rule, None for a run that it let pass."""
    found = [stop for stop in stops if stop is not None]
    if not found:
        return Row(world, rule, len(stops), 0, None, None)
    return Row(world, rule, len(stops), len(found), median(one.requests for one in found), median(one.canary for one in found))
