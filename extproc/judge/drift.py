"""Has the judge changed? Anchors are judged again and again, and compared with what the same judge said of them at first. Pure.

Null: the mean of (score now - reference) over the anchors is within `tolerance` of 0. Drift may begin at any time, and we look for ever. A
plain interval would cry sooner or later; an e-process would be right for ever, but loses what it would bet with while nothing happens, and
is late when something does. So this is an *e-detector* (Shin, Ramdas & Rinaldo 2023, after Shiryaev and Roberts): every anchor score starts
an e-process of its own, and their sum says "changed" at RUN_LENGTH. While nothing changes there are at least RUN_LENGTH scores on
average from a start to a false alarm. Anchors must come in an order drawn by chance, for the null is about their mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Final

RUN_LENGTH: Final = 100_000.0
"""Anchor scores to a false alarm: with twelve an hour, about a year."""
TOLERANCE: Final = 0.05
"""The reference is known no better: twelve anchors, judged five times each with a noise of .15, have a mean with an error of .02."""
BETS: Final = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 0.9)
_Z: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True, slots=True)
class Drift:
    """Where it stands. The detectors are sequential: two of them do not add up; `scores`, `total`, `squares` do."""

    tolerance: float = TOLERANCE
    risen: tuple[float, ...] = (-math.inf,) * len(BETS)
    fallen: tuple[float, ...] = (-math.inf,) * len(BETS)
    """ln of the sum of e-processes, per bet."""
    scores: int = 0
    total: float = 0.0
    squares: float = 0.0
    """Sums of the differences, and of their squares."""
    alarm: int = 0
    """Number of the score at which the alarm came first; 0: not yet."""

    def with_score(self, reference: float, score: float) -> Drift:
        """One anchor judged again: what it was at first (a mean), and what it is now."""
        difference = score - reference
        risen = _moved(self.risen, difference - self.tolerance, self.tolerance)
        fallen = _moved(self.fallen, -difference - self.tolerance, self.tolerance)
        scores = self.scores + 1
        moved = replace(self, risen=risen, fallen=fallen, scores=scores)
        moved = replace(moved, total=self.total + difference, squares=self.squares + difference * difference)
        return replace(moved, alarm=scores) if not self.alarm and log_sum(moved) >= math.log(RUN_LENGTH) else moved

    def as_json(self) -> dict[str, Any]:
        """For `from_json`; -inf, which JSON does not know, is null."""
        sides = {side: [None if math.isinf(v) else v for v in getattr(self, side)] for side in ("risen", "fallen")}
        sums = {"scores": self.scores, "total": self.total, "squares": self.squares, "alarm": self.alarm}
        return {"tolerance": self.tolerance, **sides, **sums}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Drift:
        """What `as_json` gave; raises ValueError where it was for other bets."""
        risen, fallen = (tuple(-math.inf if v is None else float(v) for v in value[side]) for side in ("risen", "fallen"))
        if {len(risen), len(fallen)} != {len(BETS)}:
            raise ValueError(f"this drift has {len(risen)} and {len(fallen)} bets, not {len(BETS)}")
        sums = float(value["total"]), float(value["squares"])
        return Drift(float(value["tolerance"]), risen, fallen, int(value["scores"]), *sums, int(value["alarm"]))


@dataclass(frozen=True, slots=True)
class Drifted:
    """What the anchors say."""

    changed: bool
    mean: float
    """Of the differences since the start."""
    low: float
    high: float
    """95 % interval of `mean` at this moment: for eyes, `changed` alone decides."""
    log_e: float
    """ln of the detector; the alarm is at ln(RUN_LENGTH)."""
    scores: int
    sentence: str


def log_sum(drift: Drift) -> float:
    """ln of the detector: the mean over bets and both directions."""
    values = [*drift.risen, *drift.fallen]
    top = max(values)
    return top if math.isinf(top) else top + math.log(sum(math.exp(value - top) for value in values) / len(values))


def drifted(drift: Drift) -> Drifted | None:
    """None without two scores. An alarm stays: it ends with a new reference, which is a person's decision."""
    n = drift.scores
    if n < 2:
        return None
    mean = drift.total / n
    half = _Z * math.sqrt(max(0.0, drift.squares / n - mean * mean) / (n - 1))
    log_e = log_sum(drift)
    said = f"anchors are scored {mean:+.3f} ({mean - half:+.3f} to {mean + half:+.3f}) from their reference, {n} scores"
    changed = drift.alarm > 0
    verdict = f"the judge has changed (seen at score {drift.alarm})" if changed else f"no change beyond {drift.tolerance:g} is seen"
    return Drifted(changed, mean, mean - half, mean + half, log_e, n, f"{verdict}: {said}")


def _moved(before: tuple[float, ...], gain: float, tolerance: float) -> tuple[float, ...]:
    """Each sum M becomes (M + 1) * (1 + bet * z), with z at least -1 and at most 0 on average while nothing changes."""
    z = gain / (1 + tolerance)
    return tuple(_plus_one(value) + math.log1p(bet * z) for value, bet in zip(before, BETS, strict=True))


def _plus_one(log: float) -> float:
    return log + math.log1p(math.exp(-log)) if log > 0 else math.log1p(math.exp(log))
