"""What depends on a Spec alone, compiled: one for as many States as come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from extproc.assign.code import Matcher, Seat
from extproc.assign.pools import Pool
from extproc.assign.selectors import Reader
from extproc.assign.snapshot import Slot
from extproc.assign.tokens import Signer
from extproc.assign.units import UnitSource
from extproc.domain import Conversation, Rollout, Spec


@dataclass(frozen=True, slots=True)
class PreparedConversation:
    conversation: Conversation
    signer: Signer
    token: Reader
    id: UnitSource | None
    speaks_of_state: Matcher


@dataclass(frozen=True, slots=True)
class PreparedRollout:
    rollout: Rollout
    matches: Matcher | None
    slot: Slot | None
    sources: tuple[UnitSource, ...]
    """One by one, to be explained."""
    unit: UnitSource
    seat: Seat
    stable_ids: frozenset[bytes]
    canary_ids: frozenset[bytes]
    qa_secret: bytes
    conversation: PreparedConversation | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The part of a Snapshot that depends on the Spec, and on the flags that were polled, alone."""

    spec: Spec
    layers: tuple[tuple[PreparedRollout, ...], ...]
    pools: Mapping[str, Pool]
    """By model, of those that have several clusters."""
    needed_headers: frozenset[str]
    needs_time: bool
    stamping: bytes = field(repr=False, default=b"")
    """Key of answers' tokens; empty: there are none."""
