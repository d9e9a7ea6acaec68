"""Which copies the gate is fed with: by hash, before there is an answer, with the same chance in canary and control.

Envoy has tossed its coin already; this is the second one, and the one that can be looked up: a request's point is a keyed hash of its id.
The chance follows the money: it is set at the beginning of each minute from what the minutes before have brought and cost, so that it
depends on nothing that is still to be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import xxhash

from extproc.domain import Purpose

MINUTE: Final = 60.0
HOUR: Final = 3600.0
_SCALE: Final = float(1 << 64)
MARGIN: Final = 1.25
"""Answers cost more than the last ones did, and more of them come: so much is kept back of what would just do."""
FEW: Final = 20
"""Costs that are known, before a mean of them is believed."""


class Chances:
    """The share of copies that is judged, for what an hour may cost."""

    def __init__(self, per_hour: float | None) -> None:
        """`per_hour`: USD; None: everything that is copied is judged."""
        self._per_hour = per_hour
        self._minute = -1
        self._hour = -1
        self._arrived = 0
        self._spent = 0.0
        self._costs = 0.0
        self._judged = 0
        self.share = 1.0

    def arrive(self, now: float) -> float:
        """A copy has come; the chance of the minute in which it did."""
        minute, hour = int(now // MINUTE), int(now // HOUR)
        if hour > self._hour:
            self._hour, self._spent = hour, 0.0
        if minute > self._minute:
            self._renew(now)
            self._minute, self._arrived = minute, 0
        self._arrived += 1
        return self.share

    def cost(self, usd: float) -> None:
        """What one judgement has cost."""
        self._spent += usd
        self._costs += usd
        self._judged += 1

    def _renew(self, now: float) -> None:
        if self._per_hour is None or self._judged < FEW or not self._arrived or self._costs <= 0:
            return
        left = max(0.0, self._per_hour - self._spent)
        minutes = max(1.0, (HOUR - now % HOUR) / MINUTE)
        affordable = left / minutes / (self._costs / self._judged) / MARGIN
        self.share = min(1.0, affordable / self._arrived)


@dataclass(frozen=True, slots=True)
class Chooser:
    """Where a request falls."""

    salt: str
    """Of the release: another one samples others."""

    def point(self, request: str) -> float:
        """In [0, 1)."""
        return xxhash.xxh3_64_intdigest(f"{self.salt}\0{request}".encode()) / _SCALE

    def chosen(self, request: str, share: float) -> bool:
        """True where the gate is fed with it."""
        return self.point(request) < share

    def again(self, request: str, share: float) -> bool:
        """True where it is judged twice, to see the judge's noise: by another hash, so that it says nothing of the first."""
        return xxhash.xxh3_64_intdigest(f"{self.salt}\0again\0{request}".encode()) / _SCALE < share


def purpose(chosen: bool, tripped: bool, rare: bool) -> Purpose | None:
    """Why a copy is kept; None where it is not."""
    if chosen:
        return Purpose.GATE
    return Purpose.DIAGNOSTIC if tripped or rare else None
