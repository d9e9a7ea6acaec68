"""What the brain says: Verdict, Finding, Decision, JournalEntry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from extproc.domain.words import Reaction


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
    RETURN = "return"
    """Back to an earlier phase."""
    OVERRIDE = "override"
    """A person answers for the missing evidence, for a while."""
    ASK = "ask"
    """Max dwell is over and the evidence decides nothing, or the next share needs approval: a person decides."""
    ADOPT = "adopt"
    """A new Spec is in force."""
    REVOKE = "revoke"
    """All conversation tokens end at once; the share stays."""
    SWITCH_OFF = "switch_off"
    """The processor is asked nothing any more: every request goes to the default. Of all rollouts at once."""
    SWITCH_ON = "switch_on"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate or a ceiling says at one moment, with its numbers and a sentence a person understands."""

    gate: str
    """`errors`, `ceiling:errors`, `metric:revenue`, `sample_ratio`, or `together` for all comparisons as one."""
    verdict: Verdict
    sentence: str
    estimate: float | None
    """Canary minus stable for a comparison, the canary's own value for a ceiling or a metric."""
    interval: tuple[float, float] | None
    """95 % asymptotic confidence sequence; for eyes only, never for a decision."""
    margin: float
    canary_samples: int
    stable_samples: int
    canary_value: float | None
    stable_value: float | None
    log_e_harm: float
    """ln of the e-value against "the canary is no worse"."""
    log_e_safe: float
    """ln of the e-value against "the canary is worse by more than the margin"; crossing ln(20) passes the gate."""
    both_arms: bool = False
    """A ceiling that stable breaks too: an incident, HOLD and page."""
    cohort: str = ""
    """Whose fault it is where it is one cohort's alone; empty: everybody's."""
    reaction: Reaction = Reaction.ROLL_BACK
    """What a FAIL of it does."""
    log_e_limit: float = 0.0
    """log_e_harm that rolls back by itself; all gates together may be there before."""
    within: str = ""
    """The margin as people say it; empty where no evidence of safety is asked for."""


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
    cohort: str = ""
    """Of ROLL_BACK_COHORT."""
    fresh: bool = False
    """Of RETURN: a gate has failed, so the next e-processes are another attempt, at half the alpha."""
    until: float = 0.0
    """Of OVERRIDE: when it ends."""


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
