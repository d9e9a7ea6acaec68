"""Panels: one lane for each scale, fed together. Rare events by RatioE, means by BetE, both in batches of a stratum.

A batch ends where its stratum says, with its epoch, or where new Limits begin; what is then in it counts where both arms are in it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from extproc.release.eprocess import BET_WEIGHTS, RATIO_WEIGHTS, bet_gains, ratio_gains
from extproc.release.lanes import Lane, View
from extproc.release.limits import Limits
from extproc.release.scales import SCALES, Scale
from extproc.release.strata import CLOSE_AT, CLOSE_SOON_AT, Stratum

Values = Sequence[float | None]
Epochs = tuple[int, ...]
"""Of each scale of a panel. Requests of the same epochs share one object, so that comparing it is looking whether it is the same."""


NEVER: Final = float("inf")
"""Where batches are closed by the other arm alone."""


class _Batches:
    """The open batches of a stratum, one for each scale."""

    __slots__ = ("closes_at_canary", "closes_at_stable")

    def __init__(self, stratum: Stratum, close_at: float) -> None:
        self.closes_at_canary, self.closes_at_stable = stratum.closes(close_at)


AnyBatches = TypeVar("AnyBatches", bound=_Batches)


class Panel(ABC, Generic[AnyBatches]):
    """What panels have in common: when batches end."""

    def __init__(self, scales: Sequence[Scale], size: int, weights: Sequence[float]) -> None:
        self.lanes = [Lane(scale, size, weights) for scale in scales]
        self._epochs: Epochs = ()
        self._limits: Limits | None = None
        self._batches: dict[Stratum, AnyBatches] = {}

    @abstractmethod
    def _open(self, stratum: Stratum, limits: Limits) -> AnyBatches:
        """Batches of a stratum that is new."""

    @abstractmethod
    def _close(self, stratum: Stratum, batches: AnyBatches, place: int) -> None:
        """The batch of one scale is over."""

    def _turn(self, epochs: Epochs, lowest: int) -> int:
        """Other epochs: what is over ends. The lowest scale in which this unit still counts: an epoch that is over stays over."""
        for place, lane in enumerate(self.lanes):
            if epochs[place] > lane.epoch:
                for stratum, batches in self._batches.items():
                    self._close(stratum, batches, place)
                lane.begin(epochs[place])
            elif epochs[place] < lane.epoch:
                lowest = max(lowest, place + 1)
        if all(lane.epoch == epoch for lane, epoch in zip(self.lanes, epochs, strict=True)):
            self._epochs = epochs
        return lowest

    def _renew(self, limits: Limits) -> None:
        """Other limits: every batch ends."""
        for stratum, batches in self._batches.items():
            for place in range(len(self.lanes)):
                self._close(stratum, batches, place)
        self._batches.clear()
        self._limits = limits

    def exclude(self, cohort: str) -> None:
        """From now on this cohort is not part of the whole."""
        self._batches = {stratum: batches for stratum, batches in self._batches.items() if stratum.cohort != cohort}
        for lane in self.lanes:
            lane.exclude(cohort)

    def log_e(self, index: int, view: View) -> list[float]:
        """ln of a measure's e-value at each scale."""
        return [lane.log_e(index, view) for lane in self.lanes]

    def to_json(self) -> list[Any]:
        """What a restart needs."""
        return [lane.to_json() for lane in self.lanes]

    def restore(self, document: list[Any]) -> None:
        """Go on from what `to_json` wrote; raises TypeError or ValueError on anything else."""
        for lane, written in zip(self.lanes, document, strict=True):
            lane.restore(written)


# ----------------------------------------------------------------------------------------------------------------- rare events
class _EventBatches(_Batches):
    __slots__ = ("active", "canary", "n_c", "n_s", "stable")

    def __init__(self, stratum: Stratum, active: int, scales: int) -> None:
        super().__init__(stratum, CLOSE_AT)
        self.active = active
        """Bits of the measures that have a gate in the stratum's phase."""
        self.n_c, self.n_s = [0] * scales, [0] * scales
        self.canary: list[list[int]] = [[] for _ in range(scales)]
        """Masks of those to whom something happened."""
        self.stable: list[list[int]] = [[] for _ in range(scales)]


class EventPanel(Panel[_EventBatches]):
    """Rare events. What happened to a unit is a mask: bit i is measure i."""

    def __init__(self, names: Sequence[str], tolerances: Sequence[float], scales: Sequence[Scale] = SCALES) -> None:
        super().__init__(scales, len(names), RATIO_WEIGHTS)
        self._names = names
        self._r0s = [1.0 + tolerance for tolerance in tolerances]

    def feed(self, stratum: Stratum, epochs: Epochs, limits: Limits, canary: bool, mask: int, lowest: int, scales: int) -> None:
        """The next unit, in order of start, at the scales from `lowest` up to, and not with, `scales`."""
        if epochs is not self._epochs:
            lowest = self._turn(epochs, lowest)
        if limits is not self._limits:
            self._renew(limits)
        batches = self._batches.get(stratum)
        if batches is None:
            batches = self._batches[stratum] = self._open(stratum, limits)
        counts = batches.n_c if canary else batches.n_s
        for place in range(lowest, scales):
            counts[place] += 1
        if mask:
            happened = batches.canary if canary else batches.stable
            for place in range(lowest, scales):
                happened[place].append(mask)
        if canary:
            closes = batches.closes_at_canary
            for place in range(lowest, scales):
                self.lanes[place].met = True
                if batches.n_s[place] >= closes:
                    self._close(stratum, batches, place)
        elif batches.closes_at_stable < NEVER:
            closes = batches.closes_at_stable
            for place in range(lowest, scales):
                if batches.n_c[place] >= closes:
                    self._close(stratum, batches, place)

    def _open(self, stratum: Stratum, limits: Limits) -> _EventBatches:
        del limits
        active = sum(1 << index for index, name in enumerate(self._names) if name in stratum.measures)
        return _EventBatches(stratum, active, len(self.lanes))

    def _close(self, stratum: Stratum, batches: _EventBatches, place: int) -> None:
        canary, stable, n_c, n_s = batches.canary[place], batches.stable[place], batches.n_c[place], batches.n_s[place]
        batches.n_c[place] = batches.n_s[place] = 0
        if not canary and not stable:
            return
        if n_c and n_s:
            for index, r0 in enumerate(self._r0s):
                bit = 1 << index & batches.active
                x = sum(1 for mask in canary if mask & bit)
                y = sum(1 for mask in stable if mask & bit)
                if x or y:
                    self.lanes[place].gain(stratum.cohort, index, ratio_gains(x, y, n_c, n_s, r0))
        batches.canary[place], batches.stable[place] = [], []


# ----------------------------------------------------------------------------------------------------------------------- means
@dataclass(frozen=True, slots=True)
class MeanTest:
    """What is bet on a mean. Null of harm: it is worse by no more than `margin`. Null of safety: it is worse by that much, or more."""

    name: str
    slot: int
    """Index into the values of a unit."""
    margin: float
    relative: bool
    more_is_worse: bool
    safety: bool

    def stake(self, cap: float) -> Stake | None:
        """The bet where values are capped at `cap`; None where nothing is known to bet on."""
        if cap <= 0:
            return None
        worse = self.margin if self.more_is_worse else -self.margin
        if not self.relative:
            return self._absolute(cap)
        if self.safety:
            # (1 + m) * stable - canary, or the other way round where more is better.
            sign, wide = (-1.0 if self.more_is_worse else 1.0), (1 + worse) * cap
            return Stake(self.slot, wide, cap, sign / wide, -sign * (1 + worse) / wide, 0.0) if wide > 0 else None
        wide = (1 + self.margin) * cap
        if self.more_is_worse:
            return Stake(self.slot, wide, cap, 1 / wide, -(1 + self.margin) / wide, 0.0)
        return Stake(self.slot, cap, wide, -(1 + self.margin) / wide, 1 / wide, 0.0)

    def _absolute(self, cap: float) -> Stake | None:
        sign = 1.0 if self.more_is_worse is not self.safety else -1.0
        shift = self.margin if self.safety else -self.margin
        bound = cap - shift
        return Stake(self.slot, cap, cap, sign / bound, -sign / bound, shift / bound) if bound > 0 else None


@dataclass(frozen=True, slots=True)
class Stake:
    """z = c * min(x, cap_c) + s * mean(min(y, cap_s)) + shift: at least -1, and at most 0 on average under the null."""

    slot: int
    cap_canary: float
    cap_stable: float
    canary: float
    stable: float
    shift: float

    def move(self, canary: Sequence[Values], stable: Sequence[Values]) -> float | None:
        """By how much a batch moves it; None where an arm has no value."""
        slot, cap_canary, cap_stable = self.slot, self.cap_canary, self.cap_stable
        xs = [value if value < cap_canary else cap_canary for unit in canary if (value := unit[slot]) is not None]
        ys = [value if value < cap_stable else cap_stable for unit in stable if (value := unit[slot]) is not None]
        if not xs or not ys:
            return None
        return self.canary * (sum(xs) / len(xs)) + self.stable * (sum(ys) / len(ys)) + self.shift


UNIT_CAP: Final = 1.0
"""Of indicators and shares."""


class _MeanBatches(_Batches):
    __slots__ = ("canary", "stable", "stakes")

    def __init__(self, stratum: Stratum, stakes: Sequence[tuple[int, Stake]], scales: int) -> None:
        super().__init__(stratum, CLOSE_SOON_AT)
        self.stakes = stakes
        """(index of the test, what is bet on it)."""
        self.canary: list[list[Values]] = [[] for _ in range(scales)]
        self.stable: list[list[Values]] = [[] for _ in range(scales)]


class MeanPanel(Panel[_MeanBatches]):
    """Means. What a unit brings is a list of values, None where it has none."""

    def __init__(self, tests: Sequence[MeanTest], scales: Sequence[Scale] = SCALES) -> None:
        super().__init__(scales, len(tests), BET_WEIGHTS)
        self._tests = tests

    def feed(self, stratum: Stratum, epochs: Epochs, limits: Limits, canary: bool, values: Values, lowest: int, scales: int) -> None:
        """The next unit, in order of start, at the scales from `lowest` up to, and not with, `scales`."""
        if epochs is not self._epochs:
            lowest = self._turn(epochs, lowest)
        if limits is not self._limits:
            self._renew(limits)
        batches = self._batches.get(stratum)
        if batches is None:
            batches = self._batches[stratum] = self._open(stratum, limits)
        if canary:
            closes = batches.closes_at_canary
            for place in range(lowest, scales):
                self.lanes[place].met = True
                batches.canary[place].append(values)
                if len(batches.stable[place]) >= closes:
                    self._close(stratum, batches, place)
        else:
            stable, closes = batches.stable, batches.closes_at_stable
            for place in range(lowest, scales):
                stable[place].append(values)
                if closes < NEVER and len(batches.canary[place]) >= closes:
                    self._close(stratum, batches, place)

    def _open(self, stratum: Stratum, limits: Limits) -> _MeanBatches:
        caps, stakes = limits.caps, []
        for index, test in enumerate(self._tests):
            stake = test.stake(caps[test.slot] if test.slot < len(caps) else UNIT_CAP) if test.name in stratum.measures else None
            if stake is not None:
                stakes.append((index, stake))
        return _MeanBatches(stratum, stakes, len(self.lanes))

    def _close(self, stratum: Stratum, batches: _MeanBatches, place: int) -> None:
        canary, stable = batches.canary[place], batches.stable[place]
        if canary and stable:
            gain = self.lanes[place].gain
            for index, stake in batches.stakes:
                z = stake.move(canary, stable)
                if z is not None:
                    gain(stratum.cohort, index, bet_gains(z))
        if canary or stable:
            batches.canary[place], batches.stable[place] = [], []
