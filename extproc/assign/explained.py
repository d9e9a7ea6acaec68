"""An explanation, as data: every step of a decision, with its numbers. `explain` makes it; it is JSON-ready (texts, numbers, lists).

Points and thresholds are integers on the ring of 2^32; `position` and shares are the same as fractions of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from extproc.domain import Arm, Reason


@dataclass(frozen=True, slots=True)
class Read:
    """A fact that a selector or a condition looks at, and what this request says of it."""

    fact: str
    value: str
    """Empty: nothing."""


class Considered(StrEnum):
    """What a layer did with one of its rollouts."""

    TAKEN = "taken"
    """It has the request."""
    NO_MATCH = "no_match"
    OTHER_SLOT = "other_slot"
    """The unit is in another exclusive slot of the layer, or in none."""
    NOT_ASKED = "not_asked"
    """A rollout before it has the request."""


@dataclass(frozen=True, slots=True)
class SlotSeen:
    name: str
    begin: int
    end: int
    point: int
    """The unit's, on the layer's own ring of slots."""


@dataclass(frozen=True, slots=True)
class RolloutSeen:
    """One rollout of a layer, in the order of the Spec."""

    name: str
    considered: Considered
    sentence: str
    reads: tuple[Read, ...]
    """What its `match` looks at."""
    slot: SlotSeen | None


@dataclass(frozen=True, slots=True)
class UnitSeen:
    """Who the request is of."""

    kind: str
    source: str
    """Where the id comes from, in words."""
    id: str
    """As given; of an API key its hash. Empty where there is none."""
    durable: bool
    """False: this id may never be seen again (a first anonymous request)."""
    tried: tuple[str, ...]
    """Sources before it that gave nothing."""


class Met(StrEnum):
    """What a cohort did with the request."""

    DECIDES = "decides"
    EXCLUDES = "excludes"
    """It matches, and names the unit among those who are never in."""
    NO_MATCH = "no_match"
    NOT_REACHED = "not_reached"
    """An earlier one matched, or no cohort was asked."""


@dataclass(frozen=True, slots=True)
class CohortSeen:
    """One cohort, in the order written."""

    name: str
    who: str
    """Its selector in words."""
    exclude: str
    """Who is never in, in words; empty for nobody."""
    met: Met
    reads: tuple[Read, ...]
    standing: Reason
    """Why its ring stands where it stands: `ring` where it takes part, `not_yet` before its phase, `cohort_out` ..."""
    first_phase: str
    """The phase from which it takes part."""
    share: float
    """Of its units that meet the canary now."""
    canary_below: int
    control_from: int


@dataclass(frozen=True, slots=True)
class Member:
    """One cluster of a pool."""

    cluster: str
    share: float
    chosen: bool


@dataclass(frozen=True, slots=True)
class ConversationSeen:
    """What a conversation's token did, and whether a new one is handed out."""

    place: str
    """`header x-conversation-token`, or `cookie ...`."""
    fate: str
    """Of the token that came: valid, forged, expired, foreign, revoked; none; or unchecked, where the key is not here."""
    sentence: str
    issued: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """A header that Envoy sets because of this decision: on the request (towards the model) or on the response (to the client)."""

    on: str
    name: str
    value: str


class When(StrEnum):
    """When a unit meets the canary."""

    SINCE = "since"
    """It does already."""
    PHASE = "phase"
    COMPLETION = "completion"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Entry:
    """When the unit enters the canary at the present ramp, on the ring: without tokens and QA headers."""

    when: When
    phase: str
    """Name of the phase; empty for completion and never."""
    cohort: str
    share: float
    """Of that cohort at that phase."""
    sentence: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The decision of one layer, and what led to it."""

    rollout: str
    status: str
    phase: str
    generation: int
    unit: UnitSeen
    cohorts: tuple[CohortSeen, ...]
    cohort: str
    """The one that decided, or would have without an override; empty for none."""
    point: int | None
    """None where no ring was asked."""
    position: float | None
    arm: Arm
    reason: Reason
    sentence: str
    model: str
    cluster: str
    """Empty in layers of variants."""
    pool: tuple[Member, ...]
    """Empty where the model has one cluster."""
    otherwise: str
    """What the ring gives, where a token or a person has decided against it; else empty."""
    qa: str
    """Of the QA header that came: valid, forged, expired; none; or unchecked, where the secret is not here."""
    conversation: ConversationSeen | None
    evidence: bool
    """True where the outcome counts for the gates."""
    effects: tuple[Effect, ...]
    entry: Entry


@dataclass(frozen=True, slots=True)
class LayerExplained:
    layer: str
    rollouts: tuple[RolloutSeen, ...]
    taken: Taken | None
    """None: no rollout of this layer is about the request, it keeps its own route."""


@dataclass(frozen=True, slots=True)
class Explanation:
    generation: int
    """Of State."""
    spec_digest: str
    layers: tuple[LayerExplained, ...]
