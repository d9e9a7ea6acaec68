"""Unleash's hash: murmur3 (32 bits, x86) of `<group>:<id>`. Shares are whole percents, because the engine takes the hash modulo 100.

Source: normalized_hash of the engine; seed 0 for rollouts, 86028157 for variants so that the two do not correlate.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from mmh3 import mmh3_32_uintdigest

from extproc.domain import RING, ring_length

PERCENTS: Final = 100
VARIANT_SEED: Final = 86028157
"""Seed of the hash that picks a variant: a prime that the vendor chose."""
HASHES_PER_PERCENT: Final = -(-RING // PERCENTS)
"""Upper bound of `hash // 100`, plus one."""


def group_prefix(group: str) -> bytes:
    """Bytes hashed before an id."""
    return group.encode() + b":"


def percent_of(prefix: bytes, unit: bytes) -> int:
    """The percent, 0 to 99, that an id falls into; a rollout of p percent includes it when this is below p."""
    return mmh3_32_uintdigest(prefix + unit) % PERCENTS


def slot_of(prefix: bytes, unit: bytes, total: int) -> int:
    """Where an id falls among variants whose weights add up to `total`: 1 to total."""
    return mmh3_32_uintdigest(prefix + unit, VARIANT_SEED) % total + 1


def point_of(seed: str) -> Callable[[bytes], int]:
    """An id's point on our ring of 2**32, such that `point < ring_length(p)` exactly when Unleash's rollout of p includes the id.

    `seed` is the strategy's groupId; a flexibleRollout without one uses the flag's name. p is a whole percent, which is all that
    Unleash can express; between two percents, the rest of the hash orders the ids, so that finer shares grow steadily too. The id is
    the value of the strategy's stickiness (userId, say) as UTF-8; other bytes are hashed as they are. Raises nothing.
    """
    prefix = group_prefix(seed)
    starts = tuple(ring_length(percent / PERCENTS) for percent in range(PERCENTS))
    widths = tuple(ring_length((percent + 1) / PERCENTS) - starts[percent] for percent in range(PERCENTS))

    def point(unit: bytes) -> int:
        rest, percent = divmod(mmh3_32_uintdigest(prefix + unit), PERCENTS)
        return starts[percent] + widths[percent] * rest // HASHES_PER_PERCENT

    return point
