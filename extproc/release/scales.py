"""Scales of time: how long a unit counts once, and what weight each epoch of a scale has.

Users repeat, so requests are not independent; units are. Counting a unit once per release would blind the gates to a fault that begins
later; so each scale cuts the release into epochs, a unit counts once in each, and every epoch has an e-process of its own. Epochs and
scales are *summed* with weights that sum to 1, never multiplied: a weighted mean of e-values is one under any dependence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Scale:
    """One length of epochs."""

    name: str
    seconds: float
    """Length of an epoch, aligned to Unix time; infinite: until the next restart of the controller."""

    def epoch(self, start: float) -> int:
        """The epoch that a request belongs to, by its start; they are nested, since each length divides the next."""
        return int(start // self.seconds) if self.seconds < float("inf") else 0

    def weight(self, number: int) -> float:
        """Weight of the epoch with this number, from 1. Only epochs in which something was seen are numbered."""
        if self.seconds < float("inf"):
            return 1 / (number * (number + 1))
        # What a unit did before a restart is not known after it: a restart begins an epoch. The first has most, for most never see another.
        return 3.0 * 4.0**-number

    def rest(self, number: int) -> float:
        """Weight of all epochs after this one: together they have 1 until they begin."""
        return 1 / (number + 1) if self.seconds < float("inf") else 4.0**-number


BLINK: Final = Scale("2s", 2.0)
MINUTE: Final = Scale("1min", 60.0)
HOUR: Final = Scale("1h", 3600.0)
WHOLE: Final = Scale("release", float("inf"))
SCALES: Final = (BLINK, MINUTE, HOUR, WHOLE)
"""Shortest first. A total failure at minute ten is seen by the first two, a slow harm by the last."""
LONGER: Final = (MINUTE, HOUR, WHOLE)
"""Those that look at windows of a minute; the first one looks at its own two seconds."""
SCALE_WEIGHT: Final = 1 / len(SCALES)
