"""A lane: the epochs of one scale, each an e-process per measure, kept per cohort and added up when read.

What is asked of a lane is asked of three views: everybody together, one cohort alone, everybody without one cohort. An epoch that ends
is folded into one number per view; so memory does not grow with time. Which epoch is open, and where a batch closes, depends on arms
and starts alone, never on outcomes: that is what keeps the e-processes honest.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from extproc.release.eprocess import log_sum_exp
from extproc.release.scales import Scale

Vector = list[float]


@dataclass(frozen=True, slots=True)
class View:
    """Whom an e-value is about."""

    cohort: str = ""
    """Empty: everybody."""
    others: bool = False
    """True: everybody but this cohort."""


EVERYBODY: Final = View()


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def _add(one: Vector, other: Vector) -> Vector:
    return [a + b for a, b in zip(one, other, strict=True)]


class Closed:
    """Epochs of one measure that are over: ln of their weighted sums, by view."""

    __slots__ = ("alone", "idle", "whole", "without")

    def __init__(self) -> None:
        self.whole = -math.inf
        self.idle = 0.0
        """Weight of epochs in which nothing was learnt: each counts as 1 in every view."""
        self.alone: dict[str, float] = {}
        self.without: dict[str, float] = {}

    def copy(self) -> Closed:
        """One that can be folded into without harm."""
        made = Closed()
        made.whole, made.idle, made.alone, made.without = self.whole, self.idle, dict(self.alone), dict(self.without)
        return made

    def fold(self, weight: float, spent: float, parts: dict[str, Vector], mixture: Sequence[float]) -> None:
        """One epoch is over; `spent` is the weight of all before it."""
        if not parts:
            self.idle += weight
            return
        for cohort in parts:
            # Until now this cohort was 1 in each epoch alone, and made no difference to the others.
            self.alone.setdefault(cohort, _log(spent - self.idle))
            self.without.setdefault(cohort, self.whole)
        scale, total = math.log(weight), _total(parts)
        self.whole = log_sum_exp((self.whole, scale + _mixed(total, mixture)))
        for cohort in self.alone:
            vector = parts.get(cohort)
            alone = _mixed(vector, mixture) if vector is not None else 0.0
            others = total if vector is None else [a - b for a, b in zip(total, vector, strict=True)]
            self.alone[cohort] = log_sum_exp((self.alone[cohort], scale + alone))
            self.without[cohort] = log_sum_exp((self.without[cohort], scale + _mixed(others, mixture)))

    def seen(self, view: View) -> float:
        """ln of the weighted sum for a view, idle epochs aside; NaN where the view's cohort was never seen alone."""
        if not view.cohort:
            return self.whole
        if view.others:
            return self.without.get(view.cohort, self.whole)
        return self.alone.get(view.cohort, math.nan)

    def exclude(self, cohort: str, spent: float) -> None:
        """From now on this cohort is not part of the whole. What the others would be without yet another one is not known of the past."""
        self.whole = self.without.get(cohort, self.whole)
        self.alone.pop(cohort, None)
        self.without = dict.fromkeys(self.alone, _log(spent - self.idle))

    def to_json(self) -> list[Any]:
        """Lists and numbers."""
        return [_finite(self.whole), self.idle, {c: [_finite(self.alone[c]), _finite(self.without[c])] for c in self.alone}]

    @classmethod
    def from_json(cls, document: list[Any]) -> Closed:
        """What `to_json` wrote; raises TypeError or ValueError on anything else."""
        made = cls()
        whole, made.idle, cohorts = document
        made.whole = _infinite(whole)
        for cohort, (alone, without) in cohorts.items():
            made.alone[cohort], made.without[cohort] = _infinite(alone), _infinite(without)
        return made


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _infinite(value: float | None) -> float:
    return -math.inf if value is None else float(value)


def _total(parts: dict[str, Vector]) -> Vector:
    total: Vector = []
    for vector in parts.values():
        total = _add(total, vector) if total else vector
    return total


def _mixed(vector: Vector, mixture: Sequence[float]) -> float:
    return log_sum_exp([one + weight for one, weight in zip(vector, mixture, strict=True)])


class Lane:
    """E-processes of one scale. Subclasses say what a batch is."""

    def __init__(self, scale: Scale, size: int, weights: Sequence[float]) -> None:
        """`size`: number of measures; `weights` of the bets of each."""
        self.scale = scale
        self.epoch = -1
        """The one that is open; -1 where none is."""
        self.met = False
        """Whether the canary was met in it. An epoch without it has no number and costs no weight."""
        self.done = 0
        """Epochs that are over."""
        self.vectors: dict[str, list[Vector | None]] = {}
        """By cohort, of the open epoch."""
        self.closed = [Closed() for _ in range(size)]
        self._size = size
        self._mixture = [math.log(weight) for weight in weights]

    def flush(self) -> None:
        """Close every batch that has both arms, and forget the others."""
        raise NotImplementedError

    def gain(self, cohort: str, index: int, gains: Vector) -> None:
        """A measure's bets have gained so much in a cohort."""
        vectors = self.vectors.get(cohort)
        if vectors is None:
            vectors = self.vectors[cohort] = [None] * self._size
        before = vectors[index]
        vectors[index] = [a + b for a, b in zip(before, gains, strict=True)] if before is not None else gains

    def begin(self, epoch: int) -> None:
        """The next epoch; the one before it is folded."""
        self.flush()
        self.closed = self._folded()
        self.done += self.met
        self.vectors = {}
        self.epoch = epoch
        self.met = False

    def _folded(self) -> list[Closed]:
        """All epochs, as if the open one were over."""
        if not self.met:
            return self.closed
        weight, spent = self.scale.weight(self.done + 1), 1 - self.scale.rest(self.done)
        found = []
        for index, closed in enumerate(self.closed):
            made = closed.copy()
            made.fold(weight, spent, self._parts(index), self._mixture)
            found.append(made)
        return found

    def _parts(self, index: int) -> dict[str, Vector]:
        return {cohort: vector for cohort, vectors in self.vectors.items() if (vector := vectors[index]) is not None}

    def log_e(self, index: int, view: View = EVERYBODY) -> float:
        """ln of a measure's e-value: the weighted sum over the epochs that are over, the open one, and those to come (1 each)."""
        closed, scale = self.closed[index], self.scale
        before = closed.seen(view)
        if math.isnan(before):
            before = _log(1 - scale.rest(self.done) - closed.idle)
        if not self.met:
            return log_sum_exp((before, _log(closed.idle + scale.rest(self.done))))
        parts = self._parts(index)
        if view.cohort:
            parts = {cohort: vector for cohort, vector in parts.items() if (cohort == view.cohort) is not view.others}
        present = _mixed(_total(parts), self._mixture) if parts else 0.0
        to_come = _log(closed.idle + scale.rest(self.done + 1))
        return log_sum_exp((before, math.log(scale.weight(self.done + 1)) + present, to_come))

    def exclude(self, cohort: str) -> None:
        """From now on this cohort is not part of the whole."""
        spent = 1 - self.scale.rest(self.done)
        self.vectors.pop(cohort, None)
        for closed in self.closed:
            closed.exclude(cohort, spent)

    def to_json(self) -> list[Any]:
        """All epochs as if the open one were over: a restart ends it, for nobody knows then which units it has seen."""
        return [self.done + self.met, *(closed.to_json() for closed in self._folded())]

    def restore(self, document: list[Any]) -> None:
        """Go on from what `to_json` wrote; raises TypeError or ValueError on anything else."""
        done, *closed = document
        if len(closed) != self._size:
            raise ValueError(f"a lane of {self.scale.name} has {len(closed)} measures, not {self._size}")
        self.done = int(done)
        self.closed = [Closed.from_json(one) for one in closed]
