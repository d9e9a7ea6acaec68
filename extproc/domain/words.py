"""Small words: closed lists that the Spec, State and reports use."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class ApplicationType(StrEnum):
    CHATBOT = "chatbot"
    SEARCH = "search"
    CONTENT_GENERATION = "content_generation"
    CODE_ASSISTANT = "code_assistant"


class Infrastructure(StrEnum):
    KUBERNETES = "kubernetes"
    CLOUD_RUN = "cloud_run"
    VM = "vm"


class ListenerKind(StrEnum):
    """`edge`: clients are strangers, identity headers are stripped unless the Spec names who sets them. `internal`: trusted."""

    EDGE = "edge"
    INTERNAL = "internal"


class SourceKind(StrEnum):
    """Where a unit's id comes from. An API key is hashed before it is used; a cookie is set by Envoy for the anonymous."""

    HEADER = "header"
    API_KEY = "api_key"
    COOKIE = "cookie"
    CLAIM = "claim"


class Arm(StrEnum):
    """canary: meets the new model. control: equal-size, never-treated group. rest: everybody between the two ends of the ring."""

    CANARY = "canary"
    CONTROL = "control"
    REST = "rest"


COMPARED_ARMS: Final = (Arm.CANARY, Arm.CONTROL)
"""Chosen alike, and of one size up to a share of 50 %: what is not known of everybody (scores, thumbs) is compared between these."""


class Status(StrEnum):
    """Where a rollout stands. PENDING, SHADOW, ROLLED_BACK: everyone on stable. COMPLETED: the canary is the default."""

    PENDING = "pending"
    SHADOW = "shadow"
    PROGRESSING = "progressing"
    PAUSED = "paused"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled_back"

    @property
    def exposes(self) -> bool:
        """True while a phase's share of units meets the canary."""
        return self in (Status.PROGRESSING, Status.PAUSED, Status.AWAITING_APPROVAL)

    @property
    def asks_the_canary(self) -> bool:
        """True while requests go to the canary that would not without somebody who watches: those of units that it is exposed to, or
        copies."""
        return self.exposes or self is Status.SHADOW

    @property
    def terminal(self) -> bool:
        """True where only a person's deliberate retry leads out."""
        return self in (Status.COMPLETED, Status.ROLLED_BACK)


class Reason(StrEnum):
    """Why a request got its model."""

    RING = "ring"
    """The unit's point on the ring, in its cohort, decided."""
    NO_MATCH = "no_match"
    """No rollout of the layer matches the request: it keeps its own route."""
    NO_COHORT = "no_cohort"
    """No cohort of the rollout matches: stable, and outside of Evidence."""
    NO_UNIT = "no_unit"
    """No source gave an id and the request has no x-request-id: stable, never one shared bucket."""
    NOT_EXPOSED = "not_exposed"
    """The rollout is pending or rolled back, or in its shadow and this request is not mirrored: stable for everyone."""
    SHADOW = "shadow"
    """Stable answers, and a copy of the request goes to the canary, whose answer nobody gets. Outside of Evidence."""
    WITHDRAWN = "withdrawn"
    """Nobody watches the canary, or its outcomes do not arrive: stable for everyone, and outside of Evidence, until that has ended."""
    COMPLETED = "completed"
    """The canary is the default now (holdback apart)."""
    NOT_YET = "not_yet"
    """The unit's cohort takes part from a later phase on: stable, and outside of Evidence."""
    EXCLUDED = "excluded"
    """The cohort names the unit among those who are never in: stable, and outside of Evidence."""
    COHORT_OUT = "cohort_out"
    """The unit's cohort was rolled back by itself: stable, and outside of Evidence."""
    PINNED = "pinned"
    """A token keeps the open conversation on a model that the ring would not give it by now. Outside of Evidence."""
    OVERRIDE = "override"
    """A signed QA header names the arm. Outside of Evidence."""
    FORCED = "forced"
    """A list in the Spec names the unit. Outside of Evidence."""


class StartMode(StrEnum):
    AUTOMATIC = "automatic"
    MANUAL = "manual"


class AffinityPolicy(StrEnum):
    """Envoy's load balancers that keep a key on a replica."""

    RING_HASH = "ring_hash"
    MAGLEV = "maglev"


class AttributeType(StrEnum):
    """As what a flag sees an attribute. A value that is none of its type is not there."""

    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"


class FlagVendor(StrEnum):
    UNLEASH = "unleash"
    LAUNCHDARKLY = "launchdarkly"
    GROWTHBOOK = "growthbook"
    FLAGD = "flagd"


class Bucketing(StrEnum):
    """Which hash places units on the ring: extproc's own, or a flag vendor's, so that a flag in the code sees the same people."""

    EXTPROC = "extproc"
    UNLEASH = "unleash"
    LAUNCHDARKLY = "launchdarkly"
    GROWTHBOOK = "growthbook"
    FLAGD = "flagd"


class RollbackPolicy(StrEnum):
    """drain: an open conversation on the canary may end there. move: it goes to stable at once."""

    DRAIN = "drain"
    MOVE = "move"


class OnFailure(StrEnum):
    """What a client gets where the canary fails before its first byte: the failure, or an answer of stable."""

    ANSWER = "answer"
    STABLE = "stable"


class Reaction(StrEnum):
    """What a verdict does, where it does more than hold."""

    HOLD = "hold"
    ASK = "ask"
    """A person is asked."""
    RETURN = "return"
    """Back to the phase before; from the first one, all the way."""
    ROLL_BACK = "roll_back"
