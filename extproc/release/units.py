"""Whether a unit has been seen before, in bounded memory: a Bloom filter with three planes, since three questions are asked at once.

A filter may say "seen" of a unit that was not, never the other way round. Such a unit is left out, and since its hash has nothing to do
with what becomes of its requests, what is left is still a fair sample.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

CELLS: Final = 1 << 23
"""8 MiB: a million units at 2 % false positives, five million at 70 % (of those still to come three in ten are looked at)."""
HOUR_PLANE, EVER_PLANE, VISIT_PLANE = 1, 2, 4
_MASK: Final = CELLS - 1
_SPREAD: Final = 0x9E3779B97F4A7C15
_WORD: Final = (1 << 64) - 1


def unit_key(unit: str, canary: bool) -> int:
    """64 bits of a unit in one arm: it counts once in each that it meets."""
    try:
        number = int(unit, 16)
    except ValueError:
        number = int.from_bytes(blake2b(unit.encode(), digest_size=8).digest())
    mixed = ((number << 1 | canary) * _SPREAD) & _WORD
    return (mixed ^ mixed >> 29) * _SPREAD & _WORD


class UnitFilter:
    """Sets of units that never grow."""

    __slots__ = ("_cells",)

    def __init__(self) -> None:
        self._cells = bytearray()

    def clear(self, plane: int) -> None:
        """Nobody has been seen, in this plane."""
        if self._cells:
            kept = bytes(value & ~plane for value in range(256))
            self._cells = self._cells.translate(kept)

    def add(self, key: int, planes: int) -> int:
        """The planes among these in which it is new; from now on it is not."""
        cells = self._cells
        if not cells:
            cells = self._cells = bytearray(CELLS)
        step = key >> 40 | 1
        a = key & _MASK
        b = a + step & _MASK
        c = b + step & _MASK
        d = c + step & _MASK
        new = planes & ~(cells[a] & cells[b] & cells[c] & cells[d])
        if new:
            cells[a] |= new
            cells[b] |= new
            cells[c] |= new
            cells[d] |= new
        return new
