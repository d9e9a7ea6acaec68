"""Which units are looked at where there are more outcomes than can be: one in two, four, eight ..., the same in both arms.

Who is in it is the unit's hash, and how many are is decided before their requests begin, by the rate of outcomes so far: nothing that is
compared has a say in it, so what is looked at is a fair sample. A smaller sample is part of a larger one. At 4,000 outcomes a second an
arm with one request in a hundred still has 40 a second, twice what finds a canary that fails within five seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

LOOKED_AT_MOST: Final = 4_000.0
"""Outcomes a second. Looking at one costs about as much as hearing of three."""
LOWER_FROM: Final = 0.4
"""A sample grows again where twice of it would be this share of the most: a rate at the border does not change it each second."""
HOLDS: Final = 10.0
"""Seconds for which a sample stays, at least."""
MOST: Final = 1 << 16
_SHIFT: Final = 40
"""Above the bits of a unit's hash by which filters find their cells."""


class Sample:
    """Of one rollout. Time is an argument, Unix seconds."""

    def __init__(self, deadline: float) -> None:
        """`deadline`: seconds for which a request may be heard of after its start."""
        self._kept = deadline + HOLDS
        self._changes: deque[tuple[float, int]] = deque([(-1.0, 1)])
        """(requests that began from then on, one unit in so many), the latest first."""

    @property
    def one_in(self) -> int:
        """One unit in so many is looked at, of requests that begin now."""
        return self._changes[0][1]

    def has(self, unit: int, start: float) -> bool:
        """True where this unit's request is looked at; `unit`: 64 bits of its hash."""
        for since, one_in in self._changes:
            if start >= since:
                return not unit >> _SHIFT & one_in - 1
        return False

    def renew(self, rate: float, now: float) -> None:
        """Once a second: what holds for requests that begin from now on. `rate`: outcomes a second, of late."""
        since, before = self._changes[0]
        if now < since + HOLDS and since > 0:
            return
        one_in = before
        while one_in < MOST and rate / one_in > LOOKED_AT_MOST:
            one_in *= 2
        while one_in > 1 and rate / one_in < LOWER_FROM * LOOKED_AT_MOST:
            one_in //= 2
        if one_in != before:
            self._changes.appendleft((now, one_in))
            while len(self._changes) > 2 and self._changes[-2][0] < now - self._kept:
                self._changes.pop()
