"""What the clients saw: plain counts, the last second's latencies, and whether anybody was moved back and forth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

KEPT: Final = 200_000
"""Latencies kept for the quantiles of the whole run, the first so many."""


@dataclass(slots=True)
class Tally:
    """Counts since the start; `second()` also tells what came since the last call."""

    sent: int = 0
    ok: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Answers that were not good, by kind: an HTTP status, `timeout`, `connection`, `broken stream`."""
    answered_by: Counter[str] = field(default_factory=Counter)
    """Good answers by the model they name."""
    said: Counter[str] = field(default_factory=Counter)
    """Posts of feedback, by what became of them: `accepted`, an HTTP status, or an error's name."""
    held: int = 0
    """Arrivals not sent because too many requests were open: the machine, not the product, is the limit."""
    flips: int = 0
    """Requests that were sent after their person had met the canary and were answered by another model."""
    _latencies: list[float] = field(default_factory=list)
    _second: list[float] = field(default_factory=list)
    _reported: tuple[int, int, int] = (0, 0, 0)

    @property
    def failed(self) -> int:
        """All answers that were not good."""
        return self.errors.total()

    @property
    def open(self) -> int:
        """Requests without an end yet."""
        return self.sent - self.ok - self.failed

    def good(self, seconds: float, model: str) -> None:
        """A complete good answer."""
        self.ok += 1
        self.answered_by[model] += 1
        self._second.append(seconds)
        if len(self._latencies) < KEPT:
            self._latencies.append(seconds)

    def second(self) -> dict[str, Any]:
        """What happened since the last call."""
        now = (self.sent, self.ok, self.failed)
        sent, ok, failed = (new - old for new, old in zip(now, self._reported, strict=True))
        line = {"sent": sent, "ok": ok, "errors": failed, "open": self.open, **quantiles(self._second)}
        self._reported, self._second = now, []
        return line

    def total(self) -> dict[str, Any]:
        """The whole run."""
        return {
            "final": True,
            "sent": self.sent,
            "ok": self.ok,
            "errors": dict(self.errors),
            "answered_by": dict(self.answered_by),
            "held": self.held,
            "said": dict(self.said),
            "flips": self.flips,
            "open": self.open,
            **quantiles(self._latencies),
        }


def quantiles(latencies: list[float]) -> dict[str, float | None]:
    """p50, p95 and p99 in seconds; None where there is nothing to tell."""
    if not latencies:
        return {"p50": None, "p95": None, "p99": None}
    ordered = sorted(latencies)
    return {name: round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) for name, share in _QUANTILES}


_QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
