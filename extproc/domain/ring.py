"""The ring on which units stand: 2^32 points, of which a share takes a stretch."""

from __future__ import annotations

from typing import Final

RING: Final = 1 << 32
"""Number of points on the ring."""


def ring_length(share: float) -> int:
    """Points that a share takes: 0 is nobody, 1 everybody; never rounded to the other side."""
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share lies between 0 and 1, not {share}")
    return round(share * RING)
