"""What a request meets: the compiled, immutable Snapshot, and `assign`, which looks a request up in it. HOT.

Everything that does not depend on the request was done by `compile`: matchers are closures over sets of bytes, arms are integer
thresholds, replies are bytes. `assign` draws no clock, writes no log and builds no string. One Snapshot is used for a whole
decision; a change of State swaps the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from extproc.domain import Assignment, Cookie, Subject

Matcher = Callable[[Subject], bool]
"""True where the request meets all conditions."""
UnitSource = Callable[[Subject], bytes | None]
"""A unit's id from a request, or None (an empty value is none)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One prebuilt answer. `index` is its place in `Snapshot.choices`, for counting without hashing."""

    assignment: Assignment
    durable_reply: bytes
    """Reply bytes before the unit's hash, for a unit that will be recognised again."""
    transient_reply: bytes
    """The same for a unit that may never be seen again."""
    index: int


@dataclass(frozen=True, slots=True)
class RandomShare:
    """Membership of a random cohort: point on the cohort's own ring below a limit."""

    prefix: bytes
    below: int


@dataclass(frozen=True, slots=True)
class CompiledCohort:
    matches: Matcher | None
    """None: every request."""
    random: RandomShare | None
    canary_below: int
    control_from: int
    canary: Choice
    control: Choice
    rest: Choice


@dataclass(frozen=True, slots=True)
class CompiledRollout:
    matches: Matcher | None
    """None: every request that the listener sends here."""
    sources: tuple[UnitSource, ...]
    cookie: Cookie | None
    prefix: bytes
    cohorts: tuple[CompiledCohort, ...]
    no_cohort: Choice
    no_unit: Choice


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Spec and State, compiled."""

    generation: int
    layers: tuple[tuple[CompiledRollout, ...], ...]
    choices: tuple[Choice, ...]
    needed_headers: frozenset[str]
    """What the processor must see of a request, pseudo headers included."""


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


_answer = tuple.__new__
"""A NamedTuple made without the Python function that would make it: a quarter of a microsecond per decision."""


def assign(layer: tuple[CompiledRollout, ...], subject: Subject, request_id: bytes | None) -> Answer | None:
    """The answer of one layer: the first rollout that matches decides; None if none does (the request keeps its own route)."""
    for rollout in layer:
        if rollout.matches is None or rollout.matches(subject):
            return _assign_in(rollout, subject, request_id)
    return None


def _assign_in(rollout: CompiledRollout, subject: Subject, request_id: bytes | None) -> Answer:
    durable, cookie = True, None
    for source in rollout.sources:
        unit = source(subject)
        if unit is not None:
            break
    else:
        # Anonymous: the first request's unit is Envoy's own request id, and the cookie that Envoy sets is that value, so the
        # arm is the same from the first request on; there is never one shared bucket.
        if not request_id:
            return _answer(Answer, (rollout.no_unit, b"", False, None, -1))
        unit, durable, cookie = request_id, False, rollout.cookie
    for cohort in rollout.cohorts:
        if cohort.matches is not None and not cohort.matches(subject):
            continue
        random = cohort.random
        if random is not None and xxh3_64_intdigest(random.prefix + unit) >> 32 >= random.below:
            continue
        point = xxh3_64_intdigest(rollout.prefix + unit) >> 32
        choice = cohort.canary if point < cohort.canary_below else cohort.control if point >= cohort.control_from else cohort.rest
        return _answer(Answer, (choice, unit, durable, cookie, point))
    return _answer(Answer, (rollout.no_cohort, unit, durable, cookie, -1))
