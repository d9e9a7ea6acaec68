"""Absolute guards: each ceiling of a phase as a one-sample e-process, for both arms, in one visit of the phase.

The canary alone over a ceiling is rolled back; where stable is over it too, that is an incident. A comparison cannot see a canary that
slows a back end which both share; a ceiling can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from extproc.domain import Ceiling
from extproc.measures import ERRORS, MEASURES, Kind
from extproc.release.eprocess import BET_WEIGHTS, EXCESSES, ceiling_bets, log_sum_exp
from extproc.release.lanes import Lane, Vector, View
from extproc.release.scales import SCALE_WEIGHT, SCALES

CANARY, STABLE = "canary", "stable"
LOG_SCALE: Final = math.log(SCALE_WEIGHT)
LOG_HALF: Final = math.log(0.5)
ARMS: Final = (CANARY, STABLE)
LAST: Final = len(SCALES) - 1
"""The scale of the whole visit."""


class GuardPanel:
    """All ceilings at one age; arms take the place of cohorts."""

    def __init__(self, ceilings: Sequence[Ceiling]) -> None:
        self.lanes = [Lane(scale, len(ceilings), BET_WEIGHTS) for scale in SCALES]
        self._rates = [_rate(ceiling) for ceiling in ceilings]
        self._limits = [ceiling.limit for ceiling in ceilings]
        self._epochs: tuple[int, ...] = ()
        self._n = [[0] * len(SCALES) for _ in ARMS]
        """Units by arm and scale, and of each ceiling its events, that are not in the vectors yet."""
        self._events = [[[0] * len(ceilings) for _ in SCALES] for _ in ARMS]

    def feed(
        self, epochs: tuple[int, ...], canary: bool, events: Sequence[int], values: Sequence[tuple[int, float]], places: Sequence[int]
    ) -> None:
        """The next unit, in order of start, at these scales: indices of the ceilings of which it is an event, (index, value) of those of
        means."""
        if epochs is not self._epochs:
            places = self._turn(epochs, places)
        arm = not canary
        n = self._n[arm]
        for place in places:
            n[place] += 1
        if events or values:
            for place in places:
                for index in events:
                    self._events[arm][place][index] += 1
                for index, value in values:
                    self.lanes[place].gain(ARMS[arm], index, ceiling_bets(value, self._limits[index]))

    def _turn(self, epochs: tuple[int, ...], places: Sequence[int]) -> Sequence[int]:
        """Other epochs: what is over ends; an epoch that is over stays over."""
        for place, lane in enumerate(self.lanes):
            if epochs[place] > lane.epoch:
                self.flush(place)
                lane.begin(epochs[place])
                lane.met = True
        places = [place for place in places if epochs[place] == self.lanes[place].epoch]
        if all(lane.epoch == epoch for lane, epoch in zip(self.lanes, epochs, strict=True)):
            self._epochs = epochs
        return places

    def flush(self, place: int) -> None:
        """Counts become capital: they are sufficient, whatever the order."""
        for arm, name in enumerate(ARMS):
            n = self._n[arm][place]
            if n:
                self._n[arm][place] = 0
                for index, rate in enumerate(self._rates):
                    if rate is not None:
                        self.lanes[place].gain(name, index, _capital(self._events[arm][place][index], n, rate))
                        self._events[arm][place][index] = 0

    def log_e(self, index: int, arm: str) -> float:
        """ln of the e-value of one ceiling and one arm, all scales together."""
        for place in range(len(self.lanes)):
            self.flush(place)
        return log_sum_exp([LOG_SCALE + lane.log_e(index, View(arm)) for lane in self.lanes])

    def to_json(self) -> list[Any]:
        """What a restart needs."""
        for place in range(len(self.lanes)):
            self.flush(place)
        return [lane.to_json() for lane in self.lanes]

    def restore(self, document: list[Any]) -> None:
        """Go on from what `to_json` wrote; raises TypeError or ValueError on anything else."""
        for lane, written in zip(self.lanes, document, strict=True):
            lane.restore(written)


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
        self.early = GuardPanel(ceilings)
        self.late = GuardPanel(ceilings)

    def log_e(self, index: int, arm: str) -> float:
        """ln of the e-value against "this arm is within its ceiling"; failures at both ages weigh the same."""
        late = self.log_e_late(index, arm)
        if self.ceilings[index].measure != ERRORS.name:
            return late
        return log_sum_exp((LOG_HALF + self.log_e_early(index, arm), LOG_HALF + late))

    def log_e_early(self, index: int, arm: str) -> float:
        """The same of failures within the first age alone."""
        return self.early.log_e(index, arm)

    def log_e_late(self, index: int, arm: str) -> float:
        """The same at the deadline."""
        return self.late.log_e(index, arm)

    def to_json(self) -> list[Any]:
        """What a restart needs."""
        return [self.early.to_json(), self.late.to_json()]

    def restore(self, document: list[Any]) -> None:
        """Go on from what `to_json` wrote; raises TypeError or ValueError on anything else."""
        early, late = document
        self.early.restore(early)
        self.late.restore(late)
