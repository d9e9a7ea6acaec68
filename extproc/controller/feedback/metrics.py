"""The feedback service's Prometheus series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from extproc import contract
from extproc.domain import Feedback, FeedbackKind

UNKNOWN: Final = "unknown"
"""Kind of what was refused: a client may call it anything."""
SECONDS: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Bucket ends for commits, from a good SSD to a disk that others use."""


class FeedbackMetrics:
    """One registry per process."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        said = Counter(contract.METRIC_FEEDBACK, "Feedback by kind and result.", ["kind", "result"], registry=registry)
        self._said = {
            (kind, result): said.labels(kind, result) for kind in FeedbackKind for result in ("accepted", "duplicate", "unwritten")
        }
        self._refused = said.labels(UNKNOWN, "refused")
        self._posts = Counter(contract.METRIC_FEEDBACK_REQUESTS, "Posts by status of the answer.", ["status"], registry=registry)
        self._waiting = Gauge(contract.METRIC_FEEDBACK_WAITING, "Feedback that waits for a commit.", registry=registry)
        self._commit = Histogram(contract.METRIC_FEEDBACK_COMMIT, "Time of a commit.", buckets=SECONDS, registry=registry)
        self._failures = Counter(contract.METRIC_FEEDBACK_FAILURES, "Writes that failed, by kind.", ["kind"], registry=registry)

    def answered(self, status: int) -> None:
        """A post has its answer."""
        self._posts.labels(str(status)).inc()

    def kept(self, said: Sequence[Feedback], accepted: Sequence[bool]) -> None:
        """Committed, as new or as what was said before."""
        for one, new in zip(said, accepted, strict=True):
            self._said[one.kind, "accepted" if new else "duplicate"].inc()

    def unwritten(self, said: Sequence[Feedback]) -> None:
        """It could not be committed; its sender was told."""
        for one in said:
            self._said[one.kind, "unwritten"].inc()

    def refused(self, count: int) -> None:
        """Items with Problems."""
        self._refused.inc(count)

    def committed(self, seconds: float) -> None:
        """One commit; by the writer's thread."""
        self._commit.observe(seconds)

    def failed(self, kind: str) -> None:
        """One write that did not come about; by the writer's thread."""
        self._failures.labels(kind).inc()

    def exposition(self, waiting: int) -> str:
        """As Prometheus reads it."""
        self._waiting.set(waiting)
        return generate_latest(self._registry).decode()
