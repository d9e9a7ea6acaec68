"""What the brain says: Verdict, Finding, Decision, JournalEntry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    """PASS < INCONCLUSIVE < NO_DATA < FAIL; the worst of several is the verdict of all."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    NO_DATA = "no_data"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        return ("pass", "inconclusive", "no_data", "fail").index(self.value)


class Action(StrEnum):
    HOLD = "hold"
    START = "start"
    ADVANCE = "advance"
    COMPLETE = "complete"
    ROLL_BACK = "roll_back"
    ROLL_BACK_COHORT = "roll_back_cohort"
    PAUSE = "pause"
    RESUME = "resume"
    ASK = "ask"
    """Max dwell is over and the evidence decides nothing: a person does."""
    ADOPT = "adopt"
    """A new Spec is in force."""
    REVOKE = "revoke"
    """All conversation tokens end at once; the share stays."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate or a ceiling says at one moment, with its numbers and a sentence a person understands."""

    gate: str
    """`errors`, or `ceiling:errors`."""
    verdict: Verdict
    sentence: str
    estimate: float | None
    """Canary minus stable for a comparison, the canary's own value for a ceiling."""
    interval: tuple[float, float] | None
    """95 % asymptotic confidence sequence; for eyes only, never for a decision."""
    margin: float
    canary_samples: int
    stable_samples: int
    canary_value: float | None
    stable_value: float | None
    log_e_harm: float
    """ln of the e-value against "the canary is no worse"; crossing ln(1/alpha) fails the gate."""
    log_e_safe: float
    """ln of the e-value against "the canary is worse by more than the margin"; crossing ln(20) passes the gate."""
    both_arms: bool = False
    """A ceiling that stable breaks too: an incident, HOLD and page."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do with one rollout now, and why. `apply` turns it into the next State and a JournalEntry."""

    action: Action
    why: str
    to_phase: int | None = None
    findings: tuple[Finding, ...] = ()
    drains: bool = False
    """Of a rollback: open conversations on the canary may end there."""
    page: bool = False
    """Somebody has to look: an incident that holds the release."""


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One line of the append-only record: every decision and every human action."""

    sequence: int
    """From 1, without gaps; 0 before the store has numbered it."""
    at: float
    rollout: str
    actor: str
    """`extproc` for automation, else who asked."""
    action: Action
    why: str
    generation: int
    """State generation that this entry produced."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """JSON-ready: phase, share, findings."""
