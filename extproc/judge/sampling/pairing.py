"""Two samples of one request in a shadow, stable's and the copy's -> a pair. Pure, in bounded memory.

The copy does not know whose request it is a copy of: unit, cohort and generation are those of stable's half.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from extproc.domain import COPY, Arm, Sample

WAIT: Final = 180.0
"""Seconds that a half waits for the other one: an answer may take minutes."""
MOST_WAITING: Final = 500
"""Halves; the oldest is given up first."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Both answers to one request."""

    stable: Sample
    canary: Sample


class Pairing:
    """What waits for its other half."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, bool], Sample] = {}
        self.alone = 0
        """Halves that were given up."""

    def put(self, half: Sample, now: float) -> Pair | None:
        """The pair that this half completes."""
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            if len(self._waiting) < MOST_WAITING and oldest.start > now - WAIT:
                break
            del self._waiting[key]
            self.alone += 1
        canary = half.arm is Arm.CANARY
        other = self._waiting.pop((half.request, not canary), None)
        if other is None:
            self._waiting[half.request, canary] = half
            return None
        stable, copy = (other, half) if canary else (half, other)
        return Pair(stable, _named(copy, stable))


def _named(copy: Sample, stable: Sample) -> Sample:
    return replace(
        copy,
        request=stable.request + COPY,
        generation=stable.generation,
        phase=stable.phase,
        cohort=stable.cohort,
        unit=stable.unit,
        durable=stable.durable,
    )
