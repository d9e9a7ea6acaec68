"""State: where each rollout stands. Written by the controller alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from extproc.domain.words import Status


@dataclass(frozen=True, slots=True)
class RolloutState:
    status: Status
    phase: int
    """Index into the rollout's phases; 0 while pending."""
    since: float
    """When the present phase was entered."""
    generation: int
    """State generation at which this rollout's exposure last changed. It travels in every assignment: an outcome belongs to the
    present visit of a phase only if it carries this number (never by clocks)."""
    attempt: int
    """1, and one more for each deliberate retry (alpha is halved each time)."""
    why: str
    """The sentence that explains the present status."""
    fingerprint: str
    """Digest of the rollout's own part of the Spec: while it runs, that part is immutable."""
    epoch: int = 0
    """Raised to end all conversation tokens at once."""
    cohorts_out: tuple[str, ...] = ()
    """Cohorts that were rolled back by themselves in this attempt."""
    override_until: float = 0.0
    """Until then a person answers for the missing evidence: gates that are not shown to be safe do not hold the release."""


@dataclass(frozen=True, slots=True)
class SwitchedOff:
    """Who has switched the processor off, and why."""

    at: float
    """Unix seconds."""
    actor: str
    why: str


@dataclass(frozen=True, slots=True)
class State:
    """Where each rollout stands. Written by the controller alone; every write raises `generation` by one."""

    generation: int
    spec_digest: str
    rollouts: Mapping[str, RolloutState]
    flags: Mapping[str, str] = field(default_factory=dict)
    """Polled flag source -> digest of the last good document, kept in the store beside the Specs."""
    off: SwitchedOff | None = None
    """None: the processor is asked, as usual."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Written after each evaluation, by the evaluate loop itself. That it changes tells routers that somebody watches."""

    number: int
    blind: tuple[str, ...]
    """Rollouts whose outcomes do not arrive: nobody can watch them."""
