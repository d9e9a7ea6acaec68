"""Chance, as an argument: whatever has these methods, such as a seeded `random.Random`. The same seed gives the same table."""

from __future__ import annotations

from typing import Protocol


class Draw(Protocol):
    """A source of random numbers."""

    def random(self) -> float:
        """Uniform in [0, 1)."""
        ...

    def gauss(self, mu: float, sigma: float) -> float:
        """Normal."""
        ...

    def betavariate(self, alpha: float, beta: float) -> float:
        """Beta, in [0, 1]."""
        ...

    def getrandbits(self, k: int, /) -> int:
        """So many bits."""
        ...
