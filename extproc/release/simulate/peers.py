"""The rules of others, as their documentation says them, looked at once a minute: to stand beside ours, on the same traffic.

Each takes minutes as they end and says whether it rolls back. None of them has an error budget over all looks but the last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

ONE_SIDED_05: Final = 1.6448536269514722
"""z at which p is .05, one-sided."""
FLAGGER_CHECKS: Final = 5
"""Failed checks until a rollback: the threshold of its own examples."""
FLAGGER_ERRORS: Final = 0.01
"""Its examples ask for a success rate of 99 %."""
FLAGGER_RATIO: Final = 1.1
"""What is called worse of a latency, a score or a cost, against stable's of the same minute."""
FLAGGER_DROP: Final = 0.98
"""The same of a score, of which more is better."""
KAYENTA_MINUTES: Final = 10
"""Points in an interval: with fewer a difference at its level cannot show."""
KAYENTA_Z: Final = 2.3263478740408408
"""Its Mann-Whitney test has a confidence of 98 %, two-sided."""
BOUNDARIES: Final = (3.91, 3.61, 3.43, 3.30, 3.20, 3.10, 3.01, 2.94, 2.87, 2.80, 2.74, 2.68, 2.63, 2.58)
"""z of fourteen equally spaced looks that spend .01 * t^2 (one-sided), by numerical integration over Brownian motion."""
LOOKS: Final = len(BOUNDARIES)
Z_TEST: Final = "z-test p<.05 each minute"
FLAGGER: Final = "Flagger-like"
KAYENTA: Final = "Kayenta-like"
MANN_WHITNEY: Final = "Mann-Whitney p<.05 each minute"
PLANNED: Final = "group sequential, 14 looks"


@dataclass(frozen=True, slots=True)
class Minute:
    """What ended in one minute."""

    canary: int
    stable: int
    """Requests."""
    canary_events: float
    stable_events: float
    """Events, or the sum of a value."""
    canary_value: float = 0.0
    stable_value: float = 0.0
    """The metric of the minute that is compared as one point: a rate, a mean, a p99."""


class Rule(Protocol):
    """One rule in one release."""

    def minute(self, seen: Minute) -> bool:
        """The next minute; True where it rolls back now."""
        ...


class _Proportions:
    """All events so far, of both arms."""

    def __init__(self) -> None:
        self._n_c = self._n_s = 0
        self._x = self._y = 0.0

    def z(self, seen: Minute) -> float:
        """Of the pooled test, with this minute in it."""
        self._n_c += seen.canary
        self._n_s += seen.stable
        self._x += seen.canary_events
        self._y += seen.stable_events
        return two_proportions(self._x, self._n_c, self._y, self._n_s)


class ZTest:
    """A two-proportion z-test of all events so far, p < .05 each minute."""

    def __init__(self) -> None:
        self._all = _Proportions()

    def minute(self, seen: Minute) -> bool:
        """The next minute."""
        return self._all.z(seen) > ONE_SIDED_05


def two_proportions(x: float, n_c: int, y: float, n_s: int) -> float:
    """z of the pooled test that the canary's rate is no higher."""
    if not n_c or not n_s:
        return 0.0
    pooled = (x + y) / (n_c + n_s)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / n_c + 1 / n_s))
    return (x / n_c - y / n_s) / spread if spread > 0 else 0.0


class FlaggerLike:
    """So many failed checks in all, one a minute: the metric is over a limit, or over stable's by a ratio."""

    def __init__(self, limit: float | None = None, ratio: float | None = None, drop: float | None = None) -> None:
        """`limit` of the metric, `ratio` to stable's; `drop`: the metric is what is missing to 1, and 1 - metric must not fall below
        this share of stable's."""
        self._limit, self._ratio, self._drop = limit, ratio, drop
        self._failed = 0

    def minute(self, seen: Minute) -> bool:
        """The next minute."""
        if seen.canary:
            over = self._limit is not None and seen.canary_value > self._limit
            worse = self._ratio is not None and seen.canary_value > self._ratio * seen.stable_value
            if self._drop is not None:
                worse = 1 - seen.canary_value < self._drop * (1 - seen.stable_value)
            self._failed += over or worse
        return self._failed >= FLAGGER_CHECKS


class KayentaLike:
    """Mann-Whitney over the points of each interval of ten minutes: the canary's metric against stable's."""

    def __init__(self) -> None:
        self._canary: list[float] = []
        self._stable: list[float] = []

    def minute(self, seen: Minute) -> bool:
        """The next minute."""
        self._canary.append(seen.canary_value)
        self._stable.append(seen.stable_value)
        if len(self._canary) < KAYENTA_MINUTES:
            return False
        z = mann_whitney(self._canary, self._stable)
        self._canary, self._stable = [], []
        return z > KAYENTA_Z


def mann_whitney(canary: Sequence[float], stable: Sequence[float]) -> float:
    """z of the rank-sum test that the canary is no larger, corrected for ties and continuity."""
    counts: dict[float, list[int]] = {}
    for values, side in ((canary, 0), (stable, 1)):
        for value in values:
            counts.setdefault(value, [0, 0])[side] += 1
    return rank_sum([counts[value] for value in sorted(counts)])


def rank_sum(counts: Sequence[Sequence[int]]) -> float:
    """The same, of (canary's, stable's) number at each value, in rising order."""
    n_c, n_s = sum(one[0] for one in counts), sum(one[1] for one in counts)
    n = n_c + n_s
    if not n_c or not n_s:
        return 0.0
    u, below, ties = 0.0, 0, 0.0
    for c, s in counts:
        u += c * (below + s / 2)
        below += s
        ties += (c + s) ** 3 - (c + s)
    variance = n_c * n_s / 12 * (n + 1 - ties / (n * (n - 1)))
    excess = u - n_c * n_s / 2
    return (excess - math.copysign(0.5, excess)) / math.sqrt(variance) if variance > 0 and excess else 0.0


class MannWhitneyPerRequest:
    """Mann-Whitney of all requests so far, p < .05 each minute. Values come in buckets that both arms share."""

    def __init__(self) -> None:
        self._counts: dict[int, list[int]] = {}

    def add(self, bucket: int, canary: bool) -> None:
        """One request."""
        self._counts.setdefault(bucket, [0, 0])[not canary] += 1

    def minute(self, seen: Minute) -> bool:
        """The next minute."""
        del seen
        return rank_sum([self._counts[bucket] for bucket in sorted(self._counts)]) > ONE_SIDED_05


class GroupSequential:
    """Looks that were planned before, at a level of .01 in all: needs fewest requests where the end is known."""

    def __init__(self) -> None:
        self._looked = 0
        self._all = _Proportions()

    def minute(self, seen: Minute) -> bool:
        """What ended since the last look, a minute or not; after the last look nothing is decided any more."""
        z = self._all.z(seen)
        self._looked += 1
        return self._looked <= LOOKS and z > BOUNDARIES[self._looked - 1]


def rules_of_errors() -> dict[str, Rule]:
    """Those that look at failures, new, by name."""
    return {Z_TEST: ZTest(), FLAGGER: FlaggerLike(limit=FLAGGER_ERRORS), KAYENTA: KayentaLike()}
