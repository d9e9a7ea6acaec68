"""The ring: where a unit stands, and which part of it an arm takes. The one place that hashes units.

The rules, reproducible in any language (docs/hash.md has vectors):
* point = top 32 bits of XXH3-64 (seed 0) over the UTF-8 bytes of `<layer>/<salt>/` followed by the unit's id.
* canary is [0, a), control is [b, 2^32), rest lies between; a and b are integers from `thresholds`.
* Both ends only grow with the share up to 50 %: nobody flips during a ramp, and control stays an equal-size group that was never
  treated. Above 50 % control shrinks to make room. A holdback keeps the last part of the ring on stable even at 100 %.
* Slots of a layer divide another ring, `<layer>#/`: which slot has a unit is independent of where it stands in that slot's rollout.
* A random cohort draws from another ring, `<layer>/<salt>#<cohort>/`: the hash that admits into a cohort is not the hash that picks
  the arm inside it. Names hold neither `/` nor `#`, so no two prefixes can be confused.
"""

from __future__ import annotations

from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from extproc.assign.code import Draft
from extproc.domain import RING, ring_length


class Thresholds(NamedTuple):
    """canary: point < canary_below. control: point >= control_from. Otherwise rest. 0 <= canary_below <= control_from <= RING."""

    canary_below: int
    control_from: int


def ring_prefix(layer: str, salt: str) -> bytes:
    """Bytes hashed before a unit's id for the arms of a rollout."""
    return f"{layer}/{salt}/".encode()


def cohort_prefix(layer: str, salt: str, cohort: str) -> bytes:
    """Bytes hashed before a unit's id for membership of a random cohort."""
    return f"{layer}/{salt}#{cohort}/".encode()


def slot_prefix(layer: str) -> bytes:
    """Bytes hashed before a unit's id for the slots of a layer: one ring for all its rollouts."""
    return f"{layer}#/".encode()


def point(prefix: bytes, unit: bytes) -> int:
    """Where a unit stands on the ring of a prefix, in [0, RING)."""
    return xxh3_64_intdigest(prefix + unit) >> 32


def written_point(draft: Draft, prefix: bytes) -> str:
    """The same as an expression of a function that is being written, for `unit`: without the call."""
    return f"({draft.constant(xxh3_64_intdigest)}({draft.constant(prefix)} + unit) >> 32)"


def thresholds(share: float, holdback: float = 0.0) -> Thresholds:
    """Both ends of the ring at a share of the canary; `holdback` stays on stable whatever the share."""
    canary_below = min(ring_length(share), RING - ring_length(holdback))
    return Thresholds(canary_below, max(RING - ring_length(share), canary_below))
