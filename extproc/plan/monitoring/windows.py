"""Times over which alerts look: from the promise of the SLA, and from how many requests a phase gives the canary."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from extproc.domain import Rollout, Spec, taking_part
from extproc.domain.seconds import DAY, HOUR, MINUTE

BUDGET: Final = 30 * DAY
"""The error budget of an SLA is that of a month."""
SPENT: Final = 0.02
"""A window in which so much of a month's budget is spent pages: 14.4 times the usual pace over an hour, as the SRE workbook has it."""
MOST: Final = 0.9
"""No threshold is above this: with a small promise a multiple of its budget would be more than all requests."""
SHORTEST: Final = 5 * MINUTE
"""Prometheus scrapes every 15 to 60 s: fewer than five samples are no rate."""
LONGEST: Final = 6 * HOUR
FEWEST: Final = 20
"""Requests below which nothing is said of a share."""


@dataclass(frozen=True, slots=True)
class Burn:
    """The budget is burnt: over a long window, and over a short one, so that it ends soon after the fault has."""

    pace: float
    """Multiple of the pace at which a month's budget lasts a month."""
    long: float
    short: float

    def threshold(self, uptime: float) -> float:
        """Share of requests that fail."""
        return round(min(MOST, self.pace * (1.0 - uptime)), 9)


FAST: Final = (Burn(14.4, HOUR, 5 * MINUTE), Burn(6.0, 6 * HOUR, 30 * MINUTE))
SLOW: Final = (Burn(1.0, 3 * DAY, 6 * HOUR),)


@dataclass(frozen=True, slots=True)
class Look:
    """How alerts look at a phase."""

    window: float
    short: float
    needed: int
    """Canary requests in the window below which nothing is compared."""

    @property
    def burn(self) -> Burn:
        """The pace at which the window alone spends SPENT of a month's budget."""
        return Burn(SPENT * BUDGET / self.window, self.window, self.short)


def look(spec: Spec, rollout: Rollout, index: int) -> Look:
    """Long enough for twice the requests that the phase asks for, and no longer than the phase itself is meant to be."""
    phase = rollout.phases[index]
    pace = taking_part(spec, rollout).daily_requests * phase.share / DAY
    enough = 2 * phase.min_requests / pace
    longest = max(SHORTEST, min(LONGEST, phase.min_dwell))
    window = math.ceil(min(longest, max(SHORTEST, enough)) / MINUTE) * MINUTE
    needed = max(FEWEST, min(phase.min_requests, int(pace * window / 2)))
    return Look(window, max(MINUTE, window // (12 * MINUTE) * MINUTE), needed)


def written(seconds: float) -> str:
    """As Prometheus writes a duration: `5m`, `1h`, `3d`, `90s`."""
    for unit, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds / unit:.0f}{letter}"
    return f"{math.ceil(seconds)}s"
