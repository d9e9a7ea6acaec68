"""What travels with requests: Subject, Assignment, Outcome."""

from __future__ import annotations

from dataclasses import dataclass

from extproc.domain.words import Arm, Reason

Subject = dict[str, bytes]
"""What is known of a request: the needed header names (lower case, pseudo headers included) to their raw values."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """The answer for one request in one layer, with its reason. Prebuilt at compile time, one per (rollout, cohort, arm)."""

    layer: str
    rollout: str
    generation: int
    phase: str
    cohort: str
    arm: Arm
    reason: Reason
    model: str
    """Name of the model."""
    cluster: str
    mirrored: bool = False
    """True: a copy of the request goes to the canary."""


@dataclass(slots=True)
class Outcome:
    """What became of one assigned request, as the access log tells it. Belongs to the *assigned* arm, whoever answered.

    Nobody changes one. Not frozen all the same: of 20,000 a second, making a frozen one would be a sixth of what they cost.
    """

    stream_id: str
    layer: str
    rollout: str
    generation: int
    phase: str
    cohort: str
    arm: Arm
    reason: Reason
    """Only RING, and COMPLETED with a holdback, is Evidence."""
    unit: str
    """Keyed hash, 16 hex digits."""
    durable: bool
    """False for a unit that may never be seen again (first anonymous request): kept out of unit counts."""
    start: float
    duration: float
    """Seconds from start to the end, or to this periodic entry."""
    final: bool
    """False: a periodic entry; the request is still open at age `duration`."""
    status: int
    """HTTP status, 0 where no response began."""
    failed: bool
    """5xx, timeout, reset, connection failure, stream aborted by the upstream, or a failed attempt behind a good answer."""
    client_aborted: bool
    throttled: bool
    """429: counted apart, not as a failure."""
    attempts: int
    ttft: float | None
    answered_by: str
    """Cluster that answered: labels cost and text."""
    model: str
    """Model name the answer reports; empty where unknown."""
    input_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    router: str = ""
    """Which worker decided; empty where it did not say."""
    prompt: str = ""
    """Hash of what was asked; empty where nobody looks."""
    session: str = ""
    """Hash of the session's id, 16 hex digits; empty where nobody looks, or it has none."""
    retry: bool = False
    """It asks again: the client's library says so, or its unit has asked the same shortly before."""
    regenerate: bool = False
    """It asks again what its unit has been answered, and answered well: somebody wants another answer."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """One request that ended without an assignment: no rollout matched it, or Envoy served stable because no decision came in time."""

    answered_by: str
    """Cluster."""
    model: str
    failed: bool
    output_tokens: int | None
    stream_id: str = ""
    start: float = 0.0
    duration: float = 0.0
    status: int = 0
    client_aborted: bool = False
    throttled: bool = False
    input_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
