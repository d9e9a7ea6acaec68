"""The assignment that the router wrote, as Envoy carries it on: dynamic metadata of one layer."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from google.protobuf.struct_pb2 import Struct

from extproc import contract
from extproc.domain import Arm, Reason

_REMEMBERED: Final = 4096
"""Assignments: one for each cohort, arm, phase and router that is about."""
_HASH_DIGITS: Final = 16
_UNIT: Final = bytes((0x0A, len(contract.FIELD_UNIT))) + contract.FIELD_UNIT.encode() + bytes((0x12, _HASH_DIGITS + 2, 0x1A, _HASH_DIGITS))
"""A Struct's entry of the unit, up to its hash: key, then a Value that is a string."""


class Assigned(NamedTuple):
    """What an assignment says, its unit apart."""

    rollout: str
    generation: int
    phase: str
    cohort: str
    arm: Arm
    reason: Reason
    durable: bool
    router: str


def read_assigned(assignment: Struct) -> tuple[str, Assigned]:
    """The unit, and the rest, which is the same for many requests and therefore remembered by its bytes.

    Raises ValueError or OverflowError where it says what we do not know.
    """
    raw = assignment.SerializeToString()
    at = raw.find(_UNIT) + len(_UNIT)
    if at < len(_UNIT):
        return assignment.fields[contract.FIELD_UNIT].string_value, _assigned(raw)
    end = at + _HASH_DIGITS
    return raw[at:end].decode(), _assigned(raw[:at] + b"0" * _HASH_DIGITS + raw[end:])


@lru_cache(_REMEMBERED)
def _assigned(raw: bytes) -> Assigned:
    fields = Struct.FromString(raw).fields
    return Assigned(
        rollout=fields[contract.FIELD_ROLLOUT].string_value,
        generation=int(fields[contract.FIELD_GENERATION].number_value),
        phase=fields[contract.FIELD_PHASE].string_value,
        cohort=fields[contract.FIELD_COHORT].string_value,
        arm=Arm(fields[contract.FIELD_ARM].string_value),
        reason=Reason(fields[contract.FIELD_REASON].string_value),
        durable=fields[contract.FIELD_DURABLE].bool_value,
        router=fields[contract.FIELD_ROUTER].string_value,
    )
