"""How noisy a judge is, and how far it agrees with people. Pure: sums that add up and go through JSON, and findings with a sentence.

* `Retest`: the same answer judged twice. One-way analysis of variance; the intraclass correlation is ICC(1) of Shrout & Fleiss 1979.
* `Agreement`: the judge's level beside a person's. Cohen's kappa with quadratic weights, its interval by the large-sample error of Fleiss,
  Cohen & Everitt 1969.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Final

LEAST_PAIRS: Final = 20
"""Below, a noise of .15 may as well be .11 or .22: no finding."""
LEAST_LABELS: Final = 30
"""Below, the large-sample error of kappa is too small."""
LEVELS: Final = 5
_SIDE: Final = 0.975
_Z: Final = NormalDist().inv_cdf(_SIDE)


# ------------------------------------------------------------------------------------------------------------------------- retest
@dataclass(frozen=True, slots=True)
class Retest:
    """Sums over pairs of scores of the same answer, by the same judge, asked apart."""

    pairs: int = 0
    means: float = 0.0
    """Sum of the pairs' means."""
    squares: float = 0.0
    """Sum of their squares."""
    gaps: float = 0.0
    """Sum of squared differences within pairs."""

    def with_pair(self, first: float, second: float) -> Retest:
        """One answer more."""
        mean = (first + second) / 2
        return Retest(self.pairs + 1, self.means + mean, self.squares + mean * mean, self.gaps + (first - second) ** 2)

    def plus(self, other: Retest) -> Retest:
        """Both, of different answers."""
        return Retest(self.pairs + other.pairs, self.means + other.means, self.squares + other.squares, self.gaps + other.gaps)

    def as_json(self) -> dict[str, Any]:
        """For `from_json`."""
        return {"pairs": self.pairs, "means": self.means, "squares": self.squares, "gaps": self.gaps}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Retest:
        """What `as_json` gave."""
        return Retest(int(value["pairs"]), float(value["means"]), float(value["squares"]), float(value["gaps"]))


@dataclass(frozen=True, slots=True)
class Noise:
    """What a judge's scores owe to chance."""

    sd: float
    """Standard deviation of one score around the answer's own mean."""
    low: float
    high: float
    """95 % interval of `sd`, for normal noise."""
    gap_sd: float
    """Standard deviation of the difference of two scores: sqrt(2) times `sd`."""
    share: float
    """Part of the variance of scores that is noise: so much more answers are needed than with a perfect judge."""
    spread: float
    """Standard deviation of the scores of different answers, their noise included: what says how many answers a gate needs."""
    icc: float
    """Intraclass correlation; below 0 where pairs differ more than answers do."""
    pairs: int
    sentence: str


def noise(retest: Retest) -> Noise | None:
    """None below LEAST_PAIRS."""
    n = retest.pairs
    if n < LEAST_PAIRS:
        return None
    within = retest.gaps / (2 * n)
    between = 2 * max(0.0, retest.squares - retest.means**2 / n) / (n - 1)
    whole = between + within
    icc = (between - within) / whole if whole > 0 else 0.0
    answers = max(0.0, (between - within) / 2)
    share = within / (within + answers) if within > 0 else 0.0
    sd, gap, spread = math.sqrt(within), math.sqrt(2 * within), math.sqrt(within + answers)
    low, high = (math.sqrt(retest.gaps / 2 / _chi_squared(p, n)) for p in (_SIDE, 1 - _SIDE))
    sentence = (
        f"the same answer judged twice differs by {gap:.2f} (sd): one score has a noise of {sd:.2f} ({low:.2f} to {high:.2f}), which is "
        f"{share:.0%} of the variance of scores (sd {spread:.2f}, {n} pairs)"
    )
    return Noise(sd, low, high, gap, share, spread, icc, n, sentence)


def _chi_squared(p: float, freedom: int) -> float:
    """Quantile by Wilson & Hilferty 1931: within half a percent from 20 degrees of freedom on."""
    part = 2 / (9 * freedom)
    return float(freedom * (1 - part + NormalDist().inv_cdf(p) * math.sqrt(part)) ** 3)


# ---------------------------------------------------------------------------------------------------------------------- agreement
@dataclass(frozen=True, slots=True)
class Agreement:
    """Counts of answers by (the person's level, the judge's), 1..5 each, row by row."""

    counts: tuple[int, ...] = (0,) * (LEVELS * LEVELS)

    def with_label(self, person: int, judge: float) -> Agreement:
        """One answer more: a person's level 1..5, and the judge's score in [0, 1]."""
        if not 1 <= person <= LEVELS or not 0 <= judge <= 1:
            raise ValueError(f"a label {person} with a score {judge:g}: 1 to {LEVELS}, and 0 to 1")
        place = (person - 1) * LEVELS + level_of(judge) - 1
        return Agreement(tuple(count + (index == place) for index, count in enumerate(self.counts)))

    def plus(self, other: Agreement) -> Agreement:
        """Both, of different answers."""
        return Agreement(tuple(mine + yours for mine, yours in zip(self.counts, other.counts, strict=True)))

    def as_json(self) -> list[int]:
        """For `from_json`."""
        return list(self.counts)

    @staticmethod
    def from_json(value: list[int]) -> Agreement:
        """What `as_json` gave; raises ValueError."""
        if len(value) != LEVELS * LEVELS:
            raise ValueError(f"{len(value)} counts, not {LEVELS * LEVELS}")
        return Agreement(tuple(int(count) for count in value))


@dataclass(frozen=True, slots=True)
class Kappa:
    """Agreement beyond chance: 1 is perfect, 0 is chance."""

    value: float
    low: float
    high: float
    """95 % interval."""
    offset: float
    """Mean of the judge's level less the person's: above 0 the judge is milder."""
    labels: int
    sentence: str


def level_of(score: float) -> int:
    """The level 1..5 nearest to a score."""
    return 1 + min(LEVELS - 1, int(score * (LEVELS - 1) + 0.5))


def kappa(agreement: Agreement) -> Kappa | None:
    """None below LEAST_LABELS, and where people or judge only ever say one and the same level: then chance agrees as well."""
    n = sum(agreement.counts)
    if n < LEAST_LABELS:
        return None
    places = [(i, j) for i in range(LEVELS) for j in range(LEVELS)]
    p = {place: count / n for place, count in zip(places, agreement.counts, strict=True)}
    w = {(i, j): 1 - ((i - j) / (LEVELS - 1)) ** 2 for i, j in places}
    rows = [sum(p[i, j] for j in range(LEVELS)) for i in range(LEVELS)]
    columns = [sum(p[i, j] for i in range(LEVELS)) for j in range(LEVELS)]
    seen = sum(w[place] * p[place] for place in places)
    chance = sum(w[i, j] * rows[i] * columns[j] for i, j in places)
    if chance >= 1 - 1e-12:
        return None
    value = (seen - chance) / (1 - chance)
    by_row = [sum(w[i, j] * columns[j] for j in range(LEVELS)) for i in range(LEVELS)]
    by_column = [sum(w[i, j] * rows[i] for i in range(LEVELS)) for j in range(LEVELS)]
    spread = sum(p[i, j] * (w[i, j] * (1 - chance) - (by_row[i] + by_column[j]) * (1 - seen)) ** 2 for i, j in places)
    variance = max(0.0, spread - (seen * chance - 2 * chance + seen) ** 2) / (n * (1 - chance) ** 4)
    half = _Z * math.sqrt(variance)
    low, high = max(-1.0, value - half), min(1.0, value + half)
    offset = sum((j - i) * p[i, j] for i, j in places)
    milder = "milder" if offset > 0 else "stricter"
    sentence = (
        f"judge and people agree with a weighted kappa of {value:.2f} ({low:.2f} to {high:.2f}, {n} answers); "
        f"the judge is {abs(offset):.2f} of five levels {milder}"
    )
    return Kappa(value, low, high, offset, n, sentence)
