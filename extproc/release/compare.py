"""Lanes that compare two arms: rare events by RatioE, means by BetE, both in batches of a stratum.

A batch ends where its stratum says, with its epoch, or where new Limits begin; what is then in it counts where both arms are in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from extproc.release.eprocess import BET_WEIGHTS, RATIO_WEIGHTS, bet_gains, ratio_gains
from extproc.release.lanes import Lane
from extproc.release.limits import Limits
from extproc.release.scales import Scale
from extproc.release.strata import CLOSE_AT, CLOSE_SOON_AT, Stratum

Values = Sequence[float | None]


class _EventCell:
    """The open batch of a stratum."""

    __slots__ = ("active", "canary", "closes_at_canary", "closes_at_stable", "limits", "n_c", "n_s", "stable")

    def __init__(self, stratum: Stratum, active: int, limits: Limits) -> None:
        self.closes_at_canary, self.closes_at_stable = stratum.closes(CLOSE_AT)
        self.active = active
        self.limits = limits
        self.clear()

    def clear(self) -> None:
        self.n_c = self.n_s = 0
        self.canary: list[int] = []
        self.stable: list[int] = []


class EventLane(Lane):
    """Rare events. What happened to a unit is a mask: bit i is measure i."""

    def __init__(self, scale: Scale, names: Sequence[str], tolerances: Sequence[float]) -> None:
        super().__init__(scale, len(names), RATIO_WEIGHTS)
        self._names = names
        self._r0s = [1.0 + tolerance for tolerance in tolerances]
        self.cells: dict[Stratum, _EventCell] = {}

    def feed(self, epoch: int, stratum: Stratum, limits: Limits, canary: bool, mask: int) -> None:
        """The next unit, in order of start; one of an epoch that is over is left out."""
        if epoch != self.epoch:
            if epoch < self.epoch:
                return
            self.begin(epoch)
        cell = self.cells.get(stratum)
        if cell is None:
            active = sum(1 << index for index, name in enumerate(self._names) if name in stratum.measures)
            cell = self.cells[stratum] = _EventCell(stratum, active, limits)
        elif cell.limits is not limits:
            self._close(stratum, cell)
            cell.limits = limits
        if canary:
            self.met = True
            cell.n_c += 1
            if mask:
                cell.canary.append(mask)
            if cell.n_s >= cell.closes_at_canary:
                self._close(stratum, cell)
        else:
            cell.n_s += 1
            if mask:
                cell.stable.append(mask)
            if cell.n_c >= cell.closes_at_stable:
                self._close(stratum, cell)

    def _close(self, stratum: Stratum, cell: _EventCell) -> None:
        if (cell.canary or cell.stable) and cell.n_c and cell.n_s:
            for index, r0 in enumerate(self._r0s):
                bit = 1 << index & cell.active
                x = sum(1 for mask in cell.canary if mask & bit)
                y = sum(1 for mask in cell.stable if mask & bit)
                if x or y:
                    self.gain(stratum.cohort, index, ratio_gains(x, y, cell.n_c, cell.n_s, r0))
        cell.clear()

    def flush(self) -> None:
        """Close every batch that has both arms, and forget the others."""
        for stratum, cell in self.cells.items():
            self._close(stratum, cell)
        self.cells.clear()

    def exclude(self, cohort: str) -> None:
        """From now on this cohort is not part of the whole."""
        self.cells = {stratum: cell for stratum, cell in self.cells.items() if stratum.cohort != cohort}
        super().exclude(cohort)


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


class _MeanCell:
    """The open batch of a stratum."""

    __slots__ = ("canary", "closes_at_canary", "closes_at_stable", "limits", "stable", "stakes")

    def __init__(self, stratum: Stratum, limits: Limits, stakes: list[Stake | None]) -> None:
        self.closes_at_canary, self.closes_at_stable = stratum.closes(CLOSE_SOON_AT)
        self.limits = limits
        self.stakes = stakes
        self.clear()

    def clear(self) -> None:
        self.canary: list[Values] = []
        self.stable: list[Values] = []


class MeanLane(Lane):
    """Means. What a unit brings is a list of values, None where it has none."""

    def __init__(self, scale: Scale, tests: Sequence[MeanTest]) -> None:
        super().__init__(scale, len(tests), BET_WEIGHTS)
        self._tests = tests
        self.cells: dict[Stratum, _MeanCell] = {}

    def feed(self, epoch: int, stratum: Stratum, limits: Limits, canary: bool, values: Values) -> None:
        """The next unit, in order of start; one of an epoch that is over is left out."""
        if epoch != self.epoch:
            if epoch < self.epoch:
                return
            self.begin(epoch)
        cell = self.cells.get(stratum)
        if cell is None:
            cell = self.cells[stratum] = _MeanCell(stratum, limits, self._stakes(stratum, limits))
        elif cell.limits is not limits:
            self._close(stratum, cell)
            cell.limits, cell.stakes = limits, self._stakes(stratum, limits)
        if canary:
            self.met = True
            cell.canary.append(values)
            if len(cell.stable) >= cell.closes_at_canary:
                self._close(stratum, cell)
        else:
            cell.stable.append(values)
            if len(cell.canary) >= cell.closes_at_stable:
                self._close(stratum, cell)

    def _stakes(self, stratum: Stratum, limits: Limits) -> list[Stake | None]:
        caps = limits.caps
        return [
            test.stake(caps[test.slot] if test.slot < len(caps) else UNIT_CAP) if test.name in stratum.measures else None
            for test in self._tests
        ]

    def _close(self, stratum: Stratum, cell: _MeanCell) -> None:
        if cell.canary and cell.stable:
            for index, stake in enumerate(cell.stakes):
                if stake is not None:
                    z = stake.move(cell.canary, cell.stable)
                    if z is not None:
                        self.gain(stratum.cohort, index, bet_gains(z))
        cell.clear()

    def flush(self) -> None:
        """Close every batch that has both arms, and forget the others."""
        for stratum, cell in self.cells.items():
            self._close(stratum, cell)
        self.cells.clear()

    def exclude(self, cohort: str) -> None:
        """From now on this cohort is not part of the whole."""
        self.cells = {stratum: cell for stratum, cell in self.cells.items() if stratum.cohort != cohort}
        super().exclude(cohort)
