"""Samples: redacted copies of some answers, and what a judge says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from extproc.domain.words import Arm

ANSWERED: Final = ("scored", "compared")
"""What becomes of a question to a judge that has been answered; everything else is why it was not."""
COPY: Final = "~canary"
"""Behind the request's id, the name of the sample that shows the canary's answer to a copy of it."""


class Purpose(StrEnum):
    """Why an answer was sampled."""

    GATE = "gate"
    """By hash, with the same probability in canary and control: what it scores is Evidence."""
    DIAGNOSTIC = "diagnostic"
    """Because of what it looks like, or who it is from: for eyes, never Evidence."""
    SHADOW = "shadow"
    """One half of a pair: stable's answer, or the canary's to a copy of the request, which nobody got."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer and what led to it. All text is redacted."""

    request: str
    """Envoy's x-request-id."""
    rollout: str
    generation: int
    phase: str
    cohort: str
    arm: Arm
    unit: str
    """Keyed hash, 16 hex digits."""
    durable: bool
    start: float
    """Unix seconds when its copy began."""
    purpose: Purpose
    ending: str
    """domain.Ending: only what is whole is judged."""
    tripwires: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    """(role, text)."""
    answer: str
    calls: tuple[tuple[str, str], ...]
    """(name, arguments)."""
    redacted: Mapping[str, int]
    """How much was taken out, by kind."""


@dataclass(frozen=True, slots=True)
class Scored:
    """A judge's word on a sample."""

    request: str
    rollout: str
    generation: int
    cohort: str
    arm: Arm
    unit: str
    durable: bool
    start: float
    purpose: Purpose
    value: float
    """In [0, 1]."""
    again: bool
    """True for a second opinion on the same answer, which tells of the judge's noise and is never Evidence."""
    by_criterion: Mapping[str, float]
    reason: str
    """Redacted."""
    judge: str
    cost_usd: float
    at: float


@dataclass(frozen=True, slots=True)
class Standing:
    """How the judge is doing, as its process last wrote it."""

    at: float
    document: Mapping[str, Any] = field(default_factory=dict)
