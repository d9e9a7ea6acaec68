"""Feedback as a row of the file."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final

from extproc.domain import Answered, Arm, Feedback, FeedbackKind
from extproc.store.exposures.record import packed_request, packed_unit, request_text, unit_text

AFTER: Final = """
SELECT sequence, id, kind, value, request, rollout, generation, cohort, arm, unit, durable, start, at, received
FROM log WHERE sequence > ? ORDER BY sequence LIMIT ?
"""
Row = tuple[Any, ...]


def slot_of(feedback: Feedback) -> bytes:
    """The key of an answer's slot; not one that a client could name."""
    return blake2b(f"{feedback.kind.slot}\n{feedback.answer}".encode(), digest_size=16, person=b"slot").digest()


def row_of(sequence: int, feedback: Feedback, slot: bytes) -> Row:
    """All columns."""
    one = feedback.token
    told: Row = (None,) * 7
    if one is not None:
        unit = packed_unit(one.unit)
        told = one.rollout, one.generation, one.cohort, one.arm.value, unit, one.durable, round(one.start * 1e6)
    request = packed_request(feedback.request_id) if feedback.request_id else None
    identity = bytes.fromhex(feedback.id)
    return sequence, identity, slot, feedback.kind.value, feedback.value, request, *told, feedback.at, feedback.received


def feedback_of(row: Row) -> Feedback:
    """What was put into a row, read with AFTER, its sequence apart."""
    identity, kind, value, request, rollout, generation, cohort, arm, unit, durable, start, at, received = row
    token = None
    if rollout is not None:
        token = Answered(rollout, generation, cohort, Arm(arm), unit_text(unit), bool(durable), start / 1e6)
    text = request_text(request) if request is not None else ""
    return Feedback(identity.hex(), FeedbackKind(kind), value, text, token, at, received)
