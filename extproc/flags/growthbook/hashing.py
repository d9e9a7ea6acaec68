"""Whom GrowthBook hashes, and into which bucket; and the same as a point on our ring.

The hash is FNV-1a of 32 bits over UTF-16 code units (so that it equals the JavaScript SDK's). Version 1: of id + seed, in 1,000 buckets.
Version 2: of seed + id, then of that number's decimal digits, in 10,000 buckets. A share includes the first buckets: those with
bucket / count < share.

Shares are compared as floats by the vendor. Here their edges are turned into whole bucket numbers at load, by the same division and
the same comparison, so that a request compares integers.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Any, Final

from extproc.domain import RING, ring_length
from extproc.flags.flag import Attributes
from extproc.flags.growthbook.values import number_text

OFFSET: Final = 0x811C9DC5
"""Where FNV-1a of 32 bits starts (draft-eastlake-fnv)."""
PRIME: Final = 0x01000193
MASK: Final = 0xFFFFFFFF
BUCKETS: Final = {1: 1_000, 2: 10_000}
"""Hash version -> number of buckets: version 1 knows shares of 0.1 %, version 2 of 0.01 %."""
BEYOND_BASIC_PLANE: Final = 0x10000
"""From this code point on JavaScript has two code units (surrogates) for a character."""

Bucket = Callable[[str], int]
Identity = Callable[[Attributes], str]
Span = tuple[int, int]
"""Buckets [low, high)."""


def bucket_of(seed: str, version: int) -> Bucket:
    """A unit's id -> its bucket, 0 to BUCKETS[version] - 1. Raises nothing, also not for lone surrogates."""
    return _second_version(seed) if version == 2 else _first_version(seed)


def _first_version(seed: str) -> Bucket:
    count = BUCKETS[1]
    end = tuple(_units(seed))

    def bucket(text: str) -> int:
        state = OFFSET
        for unit in text.encode() if text.isascii() else _units(text):
            state = ((state ^ unit) * PRIME) & MASK
        for unit in end:
            state = ((state ^ unit) * PRIME) & MASK
        return state % count

    return bucket


def _second_version(seed: str) -> Bucket:
    count = BUCKETS[2]
    start = OFFSET
    for unit in _units(seed):
        start = ((start ^ unit) * PRIME) & MASK

    def bucket(text: str) -> int:
        # The seed comes first, so it was hashed at load.
        state = start
        for unit in text.encode() if text.isascii() else _units(text):
            state = ((state ^ unit) * PRIME) & MASK
        digits = b"%d" % state
        state = OFFSET
        for unit in digits:
            state = ((state ^ unit) * PRIME) & MASK
        return state % count

    return bucket


def _units(text: str) -> Iterable[int]:
    """UTF-16 code units of a text, as JavaScript's charCodeAt gives them."""
    codes = [ord(char) for char in text]
    if not codes or max(codes) < BEYOND_BASIC_PLANE:
        return codes
    units: list[int] = []
    for code in codes:
        if code < BEYOND_BASIC_PLANE:
            units.append(code)
        else:
            high, low = divmod(code - BEYOND_BASIC_PLANE, 0x400)
            units += (0xD800 + high, 0xDC00 + low)
    return units


def buckets_below(limit: float, version: int) -> int:
    """How many buckets lie below a limit between 0 and 1: those whose number / count < limit, as the vendor's floats compare."""
    count = BUCKETS[version]
    return bisect_left(range(count), limit, key=lambda number: number / count)


def span(low: float, high: float, version: int) -> Span:
    """The buckets of a range [low, high) of the vendor."""
    return buckets_below(low, version), buckets_below(high, version)


def identity_text(value: Any) -> str:
    """The text that is hashed for an attribute's value; "" where the vendor sees nobody: missing, empty, 0, a boolean, a list."""
    if isinstance(value, str):
        return value
    if not isinstance(value, int | float) or value is True or value is False or value == 0:
        return ""
    text = number_text(value)
    return "" if text in ("NaN", "Infinity", "-Infinity") else text


def identity(attribute: str, fallback: str = "") -> Identity:
    """Reads whom to hash: an attribute by its whole name (a dot in it is no path), or else the fallback; "" is nobody."""
    if not fallback:
        return lambda attributes: identity_text(attributes.get(attribute))
    return lambda attributes: identity_text(attributes.get(attribute)) or identity_text(attributes.get(fallback))


def point_of(seed: str, hash_version: int = 2) -> Callable[[bytes], int]:
    """GrowthBook's percentage rollout as a point on our ring: point < ring_length(p) exactly when a rule of coverage p includes the id.

    `seed` is the rule's `seed`; where the rule has none, the feature's key. `hash_version` is the rule's `hashVersion`: GrowthBook
    writes 2 into new rollouts (shares of 0.01 %); a rule without the field is of version 1 (shares of 0.1 %). Other shares agree too: both
    sides take whole buckets, unless the share is nearer than 2**-32 to a bucket's edge without being it. The same holds for the first
    variation of an experiment, whose seed falls back to the experiment's key.

    An empty id is nobody to the vendor, even at 100 %: its point is RING, outside of every share. Bytes that are no UTF-8 are decoded
    with surrogateescape. Raises ValueError for a version that the vendor does not have.
    """
    if hash_version not in BUCKETS:
        raise ValueError(f"GrowthBook has hash versions 1 and 2, not {hash_version}")
    bucket = bucket_of(seed, hash_version)
    count = BUCKETS[hash_version]
    # The low edge of each bucket, by the same rounding as a share's: a share that ends there leaves the bucket out.
    edges = tuple(ring_length(number / count) for number in range(count))

    def point(unit: bytes) -> int:
        return edges[bucket(unit.decode(errors="surrogateescape"))] if unit else RING

    return point
