"""fractional: which share of the units gets which variant, and where a unit stands.

hash = murmur3 x86 32-bit (seed 0, unsigned) of the CBOR of what is bucketed by: the array [flag key, targetingKey] unless the rule
says otherwise. bucket = (hash * sum of weights) >> 32; the first variant whose running sum of weights exceeds the bucket is the answer.

This is the bucketing of openfeature-flagd-core 2.0.0. Providers of flagd released before it hash the texts one after the other, without
CBOR, and send the same units elsewhere.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final

from mmh3 import mmh3_32_uintdigest

from extproc.domain import RING, ring_length
from extproc.flags.flagd.cbor import ARRAY, encode, head, raw_text, text
from extproc.flags.flagd.expression import Expression, Run

LARGEST_SUM: Final = 2**31 - 1
"""Of weights; beyond it flagd answers nothing."""
FINEST: Final = 10_000
"""Shares that `point_of` is exact for: multiples of 1 / FINEST."""

FlagKey = Callable[[Any], Any]
"""The flag's key for the data that an operation stands in: the flag's own, or, inside of map and the like, whatever the item says."""


def point_of(seed: str) -> Callable[[bytes], int]:
    """Where flagd puts a unit, as a point on our ring of 2**32: `point < ring_length(p)` exactly where
    `{"fractional": [["first", 100 * p], ["rest", 100 - 100 * p]]}` answers "first".

    `seed` is the flag's key; a unit's id is its targetingKey. Exact for every share that is a multiple of 0.01 %, in whatever weights the
    flag writes it. An id that is no UTF-8 has a point too; flagd itself puts neither that one nor an empty one into any bucket.
    """
    prefix = head(ARRAY, 2) + text(seed)
    shifted = rounded_down()

    def point(unit: bytes) -> int:
        found = mmh3_32_uintdigest(prefix + raw_text(unit))
        return found - 1 if found in shifted else found

    return point


def rounded_down() -> frozenset[int]:
    """Points that `point_of` moves one to the left. flagd's share of the ring is p * 2**32 rounded up, ours is rounded to the nearest:
    where that is down, one point lies between the two."""
    ends = ((part, ring_length(part / FINEST)) for part in range(1, FINEST))
    return frozenset(end for part, end in ends if end * FINEST < part * RING)


def hash_of(bucketed_by: Any) -> int | None:
    """The hash of a value; None where flagd answers nothing: no value, or one that cannot be encoded."""
    if bucketed_by is None:
        return None
    try:
        return mmh3_32_uintdigest(text(bucketed_by) if type(bucketed_by) is str else encode(bucketed_by))
    except Exception:
        return None


def hash_key(flag_key: str) -> Run:
    """The hash of the flag's key and the targetingKey of the attributes; None where that is no text or empty."""
    prefix = head(ARRAY, 2) + text(flag_key)

    def hash_unit(attributes: Any) -> int | None:
        unit = attributes.get("targetingKey")
        if type(unit) is not str or not unit:
            return None
        try:
            return mmh3_32_uintdigest(prefix + text(unit))
        except UnicodeEncodeError:
            return None

    return hash_unit


def by_weights(hashed: Run, variants: Sequence[Any], weights: Sequence[int]) -> Run:
    """The flag's key and the targetingKey, with variants and weights as the rule gives them. The sum of the weights is allowed."""
    pick = _picker(variants, weights)
    return lambda data: pick(hashed(data))


def by_expression(bucket: Run, variants: Sequence[Any], weights: Sequence[int], general: Run) -> Run:
    """The same for an explicit value to bucket by. Where that turns out to be a list, flagd takes it for a variant: `general` answers."""
    pick = _picker(variants, weights)

    def choose(data: Any) -> Any:
        value = bucket(data)
        return general(data) if isinstance(value, list | tuple) else pick(hash_of(value))

    return choose


def _picker(variants: Sequence[Any], weights: Sequence[int]) -> Callable[[int | None], Any]:
    names, ends = tuple(variants), tuple(accumulate(max(0, weight) for weight in weights))
    total = ends[-1]
    return lambda found: None if found is None else names[bisect_right(ends, (found * total) >> 32)]


def by_value(arguments: Sequence[Expression], flag_key: FlagKey) -> Run:
    """Variants, weights, or the question whether there is a value to bucket by, known only at the request."""
    runs = tuple(argument.run for argument in arguments)

    def choose(data: Any) -> Any:
        values = [run(data) for run in runs]
        first = values[0]
        if not isinstance(first, list | tuple):
            return _choose(hash_of(first), values[1:])
        unit = data.get("targetingKey")
        if not isinstance(unit, str) or not unit:
            return None
        return _choose(hash_of([flag_key(data), unit]), values)

    return choose


def _choose(found: int | None, fractions: Sequence[Any]) -> Any:
    if found is None:
        return None
    names, ends, total = [], [], 0
    for fraction in fractions:
        if not isinstance(fraction, list | tuple) or not 1 <= len(fraction) <= 2:
            return None
        weight = fraction[1] if len(fraction) == 2 else 1
        if isinstance(weight, bool) or not isinstance(weight, int):
            return None
        total += max(0, weight)
        names.append(fraction[0])
        ends.append(total)
    if not 0 < total <= LARGEST_SUM:
        return None
    return names[bisect_right(ends, (found * total) >> 32)]
