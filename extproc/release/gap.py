"""What a restart of the controller has cost in outcomes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """What a restart has cost: requests of this time are not looked at, in both arms alike. Those that were waiting for their deadline
    when it began (up to a deadline before `since`) were looked at at the first age alone."""

    since: float
    """Unix seconds up to which everything that was heard is in the Evidence."""
    until: float
    """Requests that begin later are looked at."""
    rate: float
    """Outcomes a second, before."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return max(0.0, self.until - self.since)

    @property
    def outcomes(self) -> int:
        """About how many outcomes that were."""
        return round(self.rate * self.seconds)
