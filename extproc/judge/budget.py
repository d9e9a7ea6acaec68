"""How much a judge may cost: a limit in USD for each stretch of time. Pure; `now` is Unix seconds.

What a question may cost is set aside before it is asked, so that many at a time cannot pass the limit together. The longest prompt is
known; of the answer a guess is set aside, and what it really cost is written down when it is known.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

DAY: Final = 86_400.0


class Budget:
    """One limit, shared by whoever spends from it."""

    __slots__ = ("_reserved", "_stretch", "limit", "per", "spent")

    def __init__(self, limit: Decimal, per: float = DAY) -> None:
        if limit < 0 or per <= 0:
            raise ValueError(f"a budget of {limit} USD in {per:g} s is none")
        self.limit, self.per = limit, per
        self.spent = Decimal(0)
        """USD in the present stretch."""
        self._reserved = Decimal(0)
        self._stretch = -1

    def reserve(self, now: float, amount: Decimal) -> bool:
        """True where so much is left, and it is set aside now."""
        self._turn(now)
        if self.spent + self._reserved + amount > self.limit:
            return False
        self._reserved += amount
        return True

    def settle(self, now: float, reserved: Decimal, cost: Decimal) -> None:
        """What was set aside is free again, and so much of it is gone."""
        self._turn(now)
        self._reserved -= reserved
        self.spent += cost

    def _turn(self, now: float) -> None:
        # Stretches begin at multiples of their length: days at midnight UTC. What is set aside stays so: its question is still open.
        stretch = int(now // self.per)
        if stretch > self._stretch:
            self._stretch, self.spent = stretch, Decimal(0)
