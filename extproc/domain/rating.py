"""What somebody thinks of one answer: the judge's score."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.domain.words import Arm


@dataclass(frozen=True, slots=True)
class Rating:
    """One value of one answer. It names its request's assignment itself, so that nobody has to find the request again."""

    measure: str
    stream_id: str
    """The request, by Envoy's x-request-id."""
    rollout: str
    generation: int
    cohort: str
    arm: Arm
    unit: str
    """Keyed hash, 16 hex digits."""
    start: float
    """Unix seconds when the request began, by which ratings are put in order."""
    value: float
    """In [0, 1]."""


@dataclass(frozen=True, slots=True)
class Judging:
    """What a judge's score means in one rollout; while it runs that does not change."""

    rubric: str
    """Digest of the rubric; empty where nobody is asked."""
    judges: tuple[str, ...]
    """Names of the models that judge; empty where rules alone look at the sampled answers, and nobody is asked."""
    share: float
    """Of the canary's and of control's requests, those that are sampled. It may change while a rollout runs."""
