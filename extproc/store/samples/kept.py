"""How much of samples is kept: by age and by size, the oldest goes first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DAY: Final = 86_400.0
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """The two bounds."""

    seconds: float = 7 * DAY
    size: int = 512 * MIB
    """Bytes of the file."""
