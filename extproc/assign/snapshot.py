"""What a request meets: the compiled, immutable Snapshot. `assign` looks a request up in it.

Everything that does not depend on the request was done by `compile`: conditions are functions over sets of bytes, arms are integer
thresholds, replies are bytes. One Snapshot is used for a whole decision; a change of State swaps the reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from extproc.assign.answered import Stamp
from extproc.assign.code import Matcher, Seat
from extproc.assign.pools import Pool
from extproc.assign.selectors import Reader
from extproc.assign.tokens import Fate, Signer
from extproc.assign.units import UnitSource
from extproc.domain import Assignment, Cookie


@dataclass(frozen=True, slots=True)
class More:
    """What not every reply has."""

    affinity: bool
    """True: the unit's hash as a header, for Envoy's hashing load balancer."""
    stamp: Stamp | None
    """Signs the token that names the answer; None where there is none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One prebuilt answer. `index` is its place in `Snapshot.choices`, for counting without hashing."""

    assignment: Assignment
    durable_reply: bytes
    """Reply bytes before the unit's hash, for a unit that will be recognised again."""
    transient_reply: bytes
    """The same for a unit that may never be seen again."""
    index: int
    more: More | None
    """None: that is the whole reply, and one look is all that a decision pays for what others have besides."""

    @property
    def affinity(self) -> bool:
        """True where the reply must also carry the unit's hash as a header."""
        return self.more is not None and self.more.affinity


@dataclass(frozen=True, slots=True)
class Pooled:
    """Answers that differ in the member of a pool alone."""

    pool: Pool
    choices: tuple[Choice, ...]


Arms = Choice | Pooled


@dataclass(frozen=True, slots=True)
class CompiledCohort:
    canary_below: int
    control_from: int
    canary: Arms
    control: Arms
    rest: Arms
    excluded: Arms


@dataclass(frozen=True, slots=True)
class CompiledConversation:
    """How open conversations are kept; None in a CompiledRollout where no token counts now."""

    signer: Signer
    token: Reader
    id: UnitSource | None
    speaks_of_state: Matcher
    epoch: int
    lifetime: int
    """Seconds; 0: no token is handed out now, those that are out still count."""
    canary: Arms
    """For a token of the canary."""
    stable: Arms
    cookie: Cookie | None


@dataclass(frozen=True, slots=True)
class CompiledOverrides:
    """Who is put on an arm by hand."""

    qa: Reader | None
    secret: bytes
    stable_ids: frozenset[bytes]
    canary_ids: frozenset[bytes]
    """Empty while nobody is exposed."""
    qa_canary: Arms
    qa_stable: Arms
    forced_canary: Arms
    forced_stable: Arms


@dataclass(frozen=True, slots=True)
class Slot:
    """Units whose point on the layer's own ring is in [begin, end)."""

    prefix: bytes
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class CompiledRollout:
    name: str
    matches: Matcher | None
    """None: every request that the listener sends here."""
    slot: Slot | None
    unit: UnitSource
    """What the first source that has an id gives."""
    cookie: Cookie | None
    seat: Seat
    """Which cohort has a request, and where its unit stands on the rollout's ring."""
    cohorts: tuple[CompiledCohort, ...]
    overrides: CompiledOverrides | None
    conversation: CompiledConversation | None
    no_cohort: Arms
    no_unit: Arms


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Spec and State, compiled."""

    generation: int
    layers: tuple[tuple[CompiledRollout, ...], ...]
    choices: tuple[Choice, ...]
    needed_headers: frozenset[str]
    """What the processor must see of a request, pseudo headers included."""
    needs_time: bool
    """True where an answer may depend on the time: only then is a clock read."""


class Note(NamedTuple):
    """What is rare in an answer."""

    rollout: str
    fate: Fate
    """Of the conversation's token; NONE where there was none."""
    qa: Fate
    token: bytes
    """To hand out; empty for none."""
    cookie: Cookie | None
    """In which it goes; None: the header."""


class Answer(NamedTuple):
    """What `assign` found in one layer."""

    choice: Choice
    unit: bytes
    """The unit's id; empty for NO_UNIT."""
    durable: bool
    new_cookie: Cookie | None
    """Set where the anonymous unit should be given a cookie with its id."""
    point: int
    """-1 where no ring was asked."""
    note: Note | None
