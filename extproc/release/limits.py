"""What is known of stable before a request is looked at: its quantiles, and the caps of its means. Predictable, or a test is none.

Thresholds that looked at the requests they judge would be chosen by them. So Limits are made from requests that were looked at before,
a batch never spans two of them, and they are made anew only when stable's observations have doubled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from extproc.measures import Kind, Measure
from extproc.release.histogram import Histogram

ENOUGH: Final = 200
"""Values of stable before anything is said about it: its p99 is then two values from the top."""
CAP_AT: Final = 0.999
"""What is above stable's p99.9 counts as that ..."""
CAP_OVER_MEDIAN: Final = 3.0
"""... or as three medians, where that is more: of values that hardly differ nothing could be bet on within their own range."""
THIN_FROM: Final = 5_000
THIN_TO: Final = 8
"""After so many values only every eighth is added: a quantile does not need more."""


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """By index of the measures that are watched."""

    version: int
    thresholds: tuple[tuple[float, float], ...]
    """(for stable, for the canary) of each quantile; infinite while unknown."""
    caps: tuple[float, ...]
    """Of each mean; 0 while unknown."""


class Past:
    """Stable's values so far, of one attempt."""

    def __init__(self, quantiles: Sequence[tuple[Measure, int, float]], means: Sequence[tuple[Measure, int]], readings: int) -> None:
        """(measure, index of its reading, tolerance) of each quantile, (measure, index of its reading) of each mean."""
        self._quantiles, self._means = quantiles, means
        self._histograms = [Histogram() for _ in range(readings)]
        self._counts = [0] * readings
        self._used = sorted({index for _, index, _ in quantiles} | {index for _, index in means})
        self._due = ENOUGH
        self.limits = Limits(0, ((float("inf"), float("inf")),) * len(quantiles), (0.0,) * len(means))

    def add(self, readings: Sequence[float | None]) -> None:
        """One request of stable was looked at."""
        for index in self._used:
            value = readings[index]
            if value is not None:
                count = self._counts[index] = self._counts[index] + 1
                if count < THIN_FROM or not count % THIN_TO:
                    self._histograms[index].add(value)

    def renew(self) -> None:
        """New Limits, where there are twice as many values as when the last ones were made."""
        if max(self._counts, default=0) < self._due:
            return
        while self._due <= max(self._counts):
            self._due *= 2
        thresholds = []
        for measure, index, tolerance in self._quantiles:
            found = self._quantile(index, measure.quantile or 0.5)
            thresholds.append((found, found * (1 + tolerance)) if found is not None else (float("inf"), float("inf")))
        caps = [
            max(self._quantile(index, CAP_AT) or 0.0, CAP_OVER_MEDIAN * (self._quantile(index, 0.5) or 0.0)) for _, index in self._means
        ]
        self.limits = Limits(self.limits.version + 1, tuple(thresholds), tuple(caps))

    def _quantile(self, index: int, share: float) -> float | None:
        return self._histograms[index].quantile(share) if self._counts[index] >= ENOUGH else None

    def to_json(self) -> list[Any]:
        """What a restart needs."""
        histograms = [{str(bucket): count for bucket, count in one.counts.items()} for one in self._histograms]
        return [self._counts, histograms, self._due]

    def restore(self, document: list[Any]) -> None:
        """Go on from what `to_json` wrote; raises TypeError or ValueError on anything else."""
        counts, histograms, due = document
        if len(counts) != len(self._counts) or len(histograms) != len(self._counts):
            raise ValueError(f"{len(counts)} readings of stable's past, not {len(self._counts)}")
        self._counts = [int(count) for count in counts]
        self._histograms = [Histogram({int(bucket): count for bucket, count in one.items()}) for one in histograms]
        self._due = ENOUGH
        self.renew()
        self._due = int(due)


def is_rare(measure: Measure) -> bool:
    """True where RatioE compares it; the median's exceedance is not rare, and goes to BetE as an indicator."""
    return measure.kind is Kind.EVENT or (measure.quantile or 0.5) > 0.5
