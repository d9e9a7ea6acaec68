"""What is told to people of one visit of a phase; nothing is decided by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from extproc.domain import Outcome
from extproc.release.guards import CANARY, STABLE
from extproc.release.histogram import Histogram


@dataclass(slots=True)
class ArmTotals:
    """What ended."""

    requests: int = 0
    failures: int = 0
    throttled: int = 0
    client_aborted: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    ttft: Histogram = field(default_factory=Histogram)
    duration: Histogram = field(default_factory=Histogram)

    def add(self, outcome: Outcome) -> None:
        """One outcome that is final."""
        self.requests += 1
        self.failures += outcome.failed
        self.throttled += outcome.throttled
        self.client_aborted += outcome.client_aborted
        self.input_tokens += outcome.input_tokens or 0
        self.output_tokens += outcome.output_tokens or 0
        if outcome.ttft is not None:
            self.ttft.add(outcome.ttft)
        self.duration.add(outcome.duration)

    def to_json(self) -> list[Any]:
        """Counts, then buckets of both histograms."""
        counts = [self.requests, self.failures, self.throttled, self.client_aborted, self.input_tokens, self.output_tokens]
        return counts + [{str(bucket): count for bucket, count in one.counts.items()} for one in (self.ttft, self.duration)]

    @classmethod
    def from_json(cls, document: list[Any]) -> ArmTotals:
        """What `to_json` wrote; raises TypeError or ValueError on anything else."""
        *counts, ttft, duration = document
        return cls(*counts, *(Histogram({int(bucket): count for bucket, count in one.items()}) for one in (ttft, duration)))


@dataclass(slots=True)
class Ended:
    """How many ended in one arm of one cohort."""

    requests: int = 0
    failures: int = 0


@dataclass(slots=True)
class Moments:
    """Number, sum and sum of squares of a reading."""

    n: int = 0
    total: float = 0.0
    squares: float = 0.0

    @property
    def mean(self) -> float | None:
        """None where there is none."""
        return self.total / self.n if self.n else None

    @property
    def variance(self) -> float:
        """Of one value."""
        mean = self.total / self.n
        return max(0.0, self.squares / self.n - mean * mean)


class ArmMoments:
    """Moments of every reading of one arm, at one age."""

    __slots__ = ("_rows",)

    def __init__(self, readings: int) -> None:
        self._rows = [[0, 0.0, 0.0] for _ in range(readings)]

    def add(self, readings: Sequence[float | None]) -> None:
        """One request."""
        for row, value in zip(self._rows, readings, strict=True):
            if value:
                row[0] += 1
                row[1] += value
                row[2] += value * value
            elif value is not None:
                row[0] += 1

    def of(self, index: int) -> Moments:
        """Of one reading."""
        n, total, squares = self._rows[index]
        return Moments(int(n), total, squares)

    def to_json(self) -> list[Any]:
        """Rows of three numbers."""
        return self._rows

    def restore(self, rows: list[Any]) -> None:
        """Go on from what `to_json` wrote; raises TypeError or ValueError on anything else."""
        if len(rows) != len(self._rows):
            raise ValueError(f"moments of {len(rows)} readings, not {len(self._rows)}")
        self._rows = [[int(n), float(total), float(squares)] for n, total, squares in rows]


class Visit:
    """Both arms in one visit of a phase."""

    __slots__ = ("arms", "cohorts", "early", "late", "phase")

    def __init__(self, phase: int, readings: int) -> None:
        self.phase = phase
        self.arms = {CANARY: ArmTotals(), STABLE: ArmTotals()}
        self.cohorts: dict[str, dict[str, Ended]] = {}
        """What ended, by cohort and arm."""
        self.late = {CANARY: ArmMoments(readings), STABLE: ArmMoments(readings)}
        """Of requests that have reached their deadline."""
        self.early = {CANARY: Moments(), STABLE: Moments()}
        """Failures among those that have reached the first age."""

    def end(self, arm: str, outcome: Outcome) -> None:
        """One outcome that is final."""
        self.arms[arm].add(outcome)
        both = self.cohorts.get(outcome.cohort)
        if both is None:
            both = self.cohorts[outcome.cohort] = {CANARY: Ended(), STABLE: Ended()}
        both[arm].requests += 1
        both[arm].failures += outcome.failed

    def to_json(self) -> dict[str, Any]:
        """Without the phase."""
        return {
            "arms": {name: arm.to_json() for name, arm in self.arms.items()},
            "cohorts": {
                cohort: {name: [arm.requests, arm.failures] for name, arm in both.items()} for cohort, both in self.cohorts.items()
            },
            "late": {name: arm.to_json() for name, arm in self.late.items()},
            "early": {name: [arm.n, arm.total] for name, arm in self.early.items()},
        }

    def restore(self, document: Mapping[str, Any]) -> None:
        """Go on from what `to_json` wrote, now or before it wrote cohorts; raises KeyError, TypeError or ValueError on anything else."""
        self.cohorts = {
            cohort: {name: Ended(*map(int, both[name])) for name in (CANARY, STABLE)}
            for cohort, both in document.get("cohorts", {}).items()
        }
        for name in (CANARY, STABLE):
            self.arms[name] = ArmTotals.from_json(document["arms"][name])
            self.late[name].restore(document["late"][name])
            n, failures = document["early"][name]
            self.early[name] = Moments(int(n), float(failures), float(failures))
