"""assign: Snapshot + Subject -> Answer. HOT: about two microseconds; no log, no string, no allocation that compile could have done.

The order, the same for every rollout of a layer, the first that matches and whose slot has the unit:
1. the unit: the first source that gives an id; else the request's own id (anonymous)
2. a signed QA header that is valid names the arm
3. lists in the Spec name the arm
4. the first cohort that matches, in the order written: who is excluded meets stable, else the point on the ring decides
5. a valid token keeps an open conversation on its model, where the ring would have moved it
`extproc explain` shows each step for one request.
"""

from __future__ import annotations

from typing import Final

from xxhash import xxh3_64_intdigest

from extproc.assign.snapshot import Answer, Arms, Choice, CompiledConversation, CompiledOverrides, CompiledRollout, Note, Pooled
from extproc.assign.tokens import NOTHING, Fate, Held, read_qa
from extproc.domain import Arm, Cookie, Reason, Subject

Decided = tuple[Choice, bytes, bool, Cookie | None, int, Note | None]
"""The fields of an Answer. A plain tuple is made and taken apart in a third of the time that a named one takes."""
_MOVES: Final = frozenset((Reason.EXCLUDED, Reason.COHORT_OUT))
"""Who must not meet the canary now keeps no conversation on it."""


def assign(layer: tuple[CompiledRollout, ...], subject: Subject, request_id: bytes | None, now: float) -> Answer | None:
    """The answer of one layer; None where no rollout is about the request (it keeps its own route). For whoever is not in a hurry."""
    decided = decide(layer, subject, request_id, now)
    return Answer(*decided) if decided is not None else None


def decide(layer: tuple[CompiledRollout, ...], subject: Subject, request_id: bytes | None, now: float) -> Decided | None:
    """The same, once per request and layer."""
    for rollout in layer:
        if rollout.matches is not None and not rollout.matches(subject, b"", now):
            continue
        durable, cookie = True, None
        unit = rollout.unit(subject)
        if not unit:
            # Anonymous: the first request's unit is Envoy's own request id, and the cookie that Envoy sets is that value, so the
            # arm is the same from the first request on; there is never one shared bucket.
            if not request_id:
                return _leaf(rollout.no_unit, b""), b"", False, None, -1, None
            unit, durable, cookie = request_id, False, rollout.cookie
        slot = rollout.slot
        if slot is not None and not slot.begin <= xxh3_64_intdigest(slot.prefix + unit) >> 32 < slot.end:
            continue
        note = None
        overrides = rollout.overrides
        if overrides is not None:
            arms, qa = _by_hand(rollout.name, overrides, subject, unit, now)
            if qa is not Fate.NONE and qa is not Fate.VALID:
                note = Note(rollout.name, Fate.NONE, qa, b"", None)
            if arms is not None:
                return _leaf(arms, unit), unit, durable, cookie, -1, note
        place, point = rollout.seat(subject, unit, now)
        if place is None:
            arms = rollout.no_cohort
        elif place < 0:
            arms = rollout.cohorts[~place].excluded
        else:
            cohort = rollout.cohorts[place]
            arms = cohort.canary if point < cohort.canary_below else cohort.control if point >= cohort.control_from else cohort.rest
        conversation = rollout.conversation
        if conversation is not None:
            arms, note = _kept(rollout.name, conversation, arms, subject, unit if durable else b"", now, note)
        # Spelled out for the common case: a call costs as much as all the rest of this line.
        choice = arms if type(arms) is Choice else _leaf(arms, unit)
        return choice, unit, durable, cookie, point, note
    return None


def _leaf(arms: Arms, unit: bytes) -> Choice:
    return arms.choices[arms.pool.pick(unit)] if isinstance(arms, Pooled) else arms


def _by_hand(name: str, overrides: CompiledOverrides, subject: Subject, unit: bytes, now: float) -> tuple[Arms | None, Fate]:
    """The arm that somebody has named; and what became of the QA header."""
    fate = Fate.NONE
    if overrides.qa is not None:
        header = overrides.qa(subject)
        if header:
            fate, canary = read_qa(overrides.secret, name, header, now)
            if fate is Fate.VALID:
                return overrides.qa_canary if canary else overrides.qa_stable, fate
    if unit in overrides.stable_ids:
        return overrides.forced_stable, fate
    if unit in overrides.canary_ids:
        return overrides.forced_canary, fate
    return None, fate


def _kept(
    name: str, conversation: CompiledConversation, arms: Arms, subject: Subject, unit: bytes, now: float, note: Note | None
) -> tuple[Arms, Note | None]:
    """Where an open conversation stays, and the token that a new one is given."""
    held, token = NOTHING, conversation.token(subject)
    conversation_id = conversation.id(subject) if conversation.id is not None else b""
    one = arms.choices[0] if isinstance(arms, Pooled) else arms
    canary, reason = one.assignment.arm is Arm.CANARY, one.assignment.reason
    if token:
        held = _held(conversation, token, subject, unit, conversation_id, now)
        if held.fate is Fate.VALID and held.canary is not canary and reason not in _MOVES:
            arms = conversation.canary if held.canary else conversation.stable
    new = b""
    if held.fate is not Fate.VALID and conversation.lifetime and reason is Reason.RING:
        bound, owner = (b"c", conversation_id) if conversation_id else (b"u", unit) if unit else (b"-", b"")
        # Whole minutes: neighbours' tokens do not tell when exactly each began.
        expiry = (int(now) + conversation.lifetime + 59) // 60 * 60
        new = conversation.signer.sign(canary, conversation.epoch, expiry, bound, owner)
    if held is NOTHING and not new and note is None:
        return arms, None
    return arms, Note(name, held.fate, note.qa if note is not None else Fate.NONE, new, conversation.cookie)


def _held(conversation: CompiledConversation, token: bytes, subject: Subject, unit: bytes, conversation_id: bytes, now: float) -> Held:
    owners = {b"u": unit, b"c": conversation_id, b"-": b""}
    beyond = conversation.speaks_of_state(subject, unit, now)
    return conversation.signer.read(token, conversation.epoch, now, lambda kind: owners.get(kind, b""), beyond)
