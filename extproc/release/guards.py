"""Absolute guards: each ceiling of a phase as a one-sample e-process, for both arms, in one visit of the phase.

The canary alone over a ceiling is rolled back; where stable is over it too, that is an incident. A comparison cannot see a canary that
slows a back end which both share; a ceiling can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from extproc.domain import Ceiling
from extproc.measures import MEASURES, Kind
from extproc.release.eprocess import BET_WEIGHTS, EXCESSES, ceiling_bets, log_sum_exp
from extproc.release.lanes import Lane, Vector, View
from extproc.release.scales import BLINK, HOUR, MINUTE, SCALE_WEIGHT, WHOLE, Scale

CANARY, STABLE = "canary", "stable"
LOG_SCALE: Final = math.log(SCALE_WEIGHT)
LOG_HALF: Final = math.log(0.5)


class _Arm:
    """What was seen of one arm and is not in its vectors yet."""

    __slots__ = ("events", "n")

    def __init__(self, size: int) -> None:
        self.n = 0
        self.events = [0] * size


class GuardLane(Lane):
    """One scale of all ceilings; arms take the place of cohorts."""

    def __init__(self, scale: Scale, ceilings: Sequence[Ceiling]) -> None:
        super().__init__(scale, len(ceilings), BET_WEIGHTS)
        self._rates = [_rate(ceiling) for ceiling in ceilings]
        self._limits = [ceiling.limit for ceiling in ceilings]
        self.arms = {arm: _Arm(len(ceilings)) for arm in (CANARY, STABLE)}

    def feed(self, epoch: int, arm: str, values: Sequence[float | None]) -> None:
        """The next unit, in order of start: for each ceiling 1 or 0, or the value where the ceiling is of a mean, None for no value."""
        if epoch != self.epoch:
            if epoch < self.epoch:
                return
            self.begin(epoch)
        self.met = True
        seen = self.arms[arm]
        seen.n += 1
        for index, value in enumerate(values):
            if value:
                if self._rates[index] is None:
                    self.gain(arm, index, ceiling_bets(value, self._limits[index]))
                else:
                    seen.events[index] += 1
            elif self._rates[index] is None and value is not None:
                self.gain(arm, index, ceiling_bets(value, self._limits[index]))

    def flush(self) -> None:
        """Counts become capital: they are sufficient, whatever the order."""
        for arm, seen in self.arms.items():
            if seen.n:
                for index, rate in enumerate(self._rates):
                    if rate is not None:
                        self.gain(arm, index, _capital(seen.events[index], seen.n, rate))
                self.arms[arm] = _Arm(self._size)

    def to_json(self) -> list[Any]:
        """All epochs as if the open one were over."""
        self.flush()
        return super().to_json()


def _rate(ceiling: Ceiling) -> float | None:
    """The share of events that a ceiling allows; None where it is one of a mean."""
    measure = MEASURES[ceiling.measure]
    if measure.kind is Kind.EVENT:
        return ceiling.limit
    return 1 - measure.quantile if measure.quantile is not None else None


def _capital(events: int, requests: int, ceiling: float) -> Vector:
    found = []
    for excess in EXCESSES:
        rate = ceiling + excess * (1 - ceiling)
        found.append(events * math.log(rate / ceiling) + (requests - events) * math.log((1 - rate) / (1 - ceiling)))
    return found


class Guards:
    """All ceilings of a visit."""

    def __init__(self, ceilings: Sequence[Ceiling]) -> None:
        self.ceilings = tuple(ceilings)
        self.early = [GuardLane(scale, ceilings) for scale in (BLINK, MINUTE, HOUR, WHOLE)]
        self.late = [GuardLane(scale, ceilings) for scale in (BLINK, MINUTE, HOUR, WHOLE)]

    def log_e(self, index: int, arm: str) -> float:
        """ln of the e-value against "this arm is within its ceiling"; failures at both ages weigh the same."""
        late = self._of(self.late, index, arm)
        if self.ceilings[index].measure != "errors":
            return late
        return log_sum_exp((LOG_HALF + self._of(self.early, index, arm), LOG_HALF + late))

    def log_e_early(self, index: int, arm: str) -> float:
        """The same of failures within the first age alone."""
        return self._of(self.early, index, arm)

    def log_e_late(self, index: int, arm: str) -> float:
        """The same at the deadline."""
        return self._of(self.late, index, arm)

    def _of(self, lanes: Sequence[GuardLane], index: int, arm: str) -> float:
        for lane in lanes:
            lane.flush()
        return log_sum_exp([LOG_SCALE + lane.log_e(index, View(arm)) for lane in lanes])

    def to_json(self) -> list[Any]:
        """What a restart needs."""
        return [[lane.to_json() for lane in lanes] for lanes in (self.early, self.late)]

    def restore(self, document: list[Any]) -> None:
        """Go on from what `to_json` wrote; raises TypeError or ValueError on anything else."""
        for lanes, written in zip((self.early, self.late), document, strict=True):
            for lane, one in zip(lanes, written, strict=True):
                lane.restore(one)
