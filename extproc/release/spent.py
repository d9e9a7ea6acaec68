"""What the answers of one attempt have cost so far; people are told, and nothing is decided by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from extproc.domain import Outcome, Prices
from extproc.measures import COST
from extproc.release.guards import CANARY, STABLE


@dataclass(slots=True)
class Bill:
    """Of one arm."""

    requests: int = 0
    """That ended."""
    priced: int = 0
    """Of which tokens and prices are known."""
    usd: float = 0.0
    """Of those."""


class Spent:
    """Both arms, over the whole attempt."""

    __slots__ = ("_prices", "bills")

    def __init__(self, prices: Mapping[str, Prices]) -> None:
        """`prices` by cluster that answers."""
        self._prices = prices
        self.bills = {CANARY: Bill(), STABLE: Bill()}

    def add(self, arm: str, outcome: Outcome) -> None:
        """One outcome that is final."""
        bill = self.bills[arm]
        bill.requests += 1
        assert COST.read is not None
        usd = COST.read(outcome, self._prices.get(outcome.answered_by))
        if usd is not None:
            bill.priced += 1
            bill.usd += usd

    @property
    def beyond(self) -> float | None:
        """USD that the canary's answers have cost beyond what as many of stable's cost, below 0 where they were cheaper; None where
        prices or tokens are not known."""
        canary, stable = self.bills[CANARY], self.bills[STABLE]
        if not canary.requests:
            return 0.0
        if not canary.priced or not stable.priced:
            return None
        return canary.usd - canary.priced * stable.usd / stable.priced

    def to_json(self) -> dict[str, Any]:
        """Three numbers for each arm."""
        return {name: [bill.requests, bill.priced, bill.usd] for name, bill in self.bills.items()}

    def restore(self, document: Mapping[str, Any]) -> None:
        """Go on from what `to_json` wrote, or from nothing; raises KeyError, TypeError or ValueError on anything else."""
        if document:
            for name in (CANARY, STABLE):
                requests, priced, usd = document[name]
                self.bills[name] = Bill(int(requests), int(priced), float(usd))
