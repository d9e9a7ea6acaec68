"""How the evaluate loop itself does: how late it is, how long an evaluation takes, what it was asked; as metrics and for /healthz."""

from __future__ import annotations

from collections import Counter as Count
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from extproc import contract
from extproc.controller.loop import TICK

REMEMBERED: Final = 60.0
"""Seconds for which a late evaluation is the worst one."""


class Vitals:
    """Numbers of one loop. All times are monotonic seconds."""

    def __init__(self, now: float) -> None:
        self.due = now + TICK
        """When the next evaluation is to begin."""
        self.last = now
        """When the last one began; before the first, the start."""
        self.ticks = 0
        self.missed = 0
        """Whole ticks that were left out because the one before was late."""
        self.tick_seconds = 0.0
        """How long the last evaluation took, its commits included."""
        self.asked: Count[str] = Count()
        """Questions of the API process, by kind."""
        self._late = 0.0
        self._last: deque[tuple[float, float]] = deque()

    def ticked(self, began: float, ended: float) -> None:
        """An evaluation, from beginning to end. The next one is due on the grid, or at once where this one was later than a tick."""
        self._late = max(0.0, began - self.due)
        self._last.append((began, self._late))
        self._forget(began)
        self.last = began
        self.ticks += 1
        self.missed += int(self._late / TICK)
        self.tick_seconds = ended - began
        self.due = max(self.due + TICK, began)

    def lag(self, now: float) -> float:
        """By how much the last evaluation was late, or the one that is overdue now."""
        return max(self._late, now - self.due)

    def worst(self, now: float) -> float:
        """The largest lag of the last minute."""
        self._forget(now)
        return max([self.lag(now), *(late for _, late in self._last)])

    def document(self, now: float) -> dict[str, Any]:
        """For status."""
        lag, worst = self.lag(now), self.worst(now)
        return {"lag": lag, "worst_lag": worst, "tick_seconds": self.tick_seconds, "ticks": self.ticks, "missed_ticks": self.missed}

    def _forget(self, now: float) -> None:
        while self._last and self._last[0][0] < now - REMEMBERED:
            self._last.popleft()


class VitalMetrics:
    """Vitals as Prometheus text."""

    def __init__(self, vitals: Vitals, api_restarts: Mapping[str, int]) -> None:
        """`api_restarts`: how often the API process was restarted, by reason."""
        self._vitals = vitals
        self._restarts = api_restarts
        self._registry = registry = CollectorRegistry()
        self._lag = Gauge(contract.METRIC_LOOP_LAG, "Seconds by which the last evaluation was late.", registry=registry)
        self._worst = Gauge(contract.METRIC_LOOP_WORST_LAG, "The largest lag of the last minute, in seconds.", registry=registry)
        self._seconds = Gauge(contract.METRIC_TICK_SECONDS, "Seconds that the last evaluation took.", registry=registry)
        self._ticks = Counter(contract.METRIC_TICKS, "Evaluations.", registry=registry)
        self._missed = Counter(contract.METRIC_MISSED_TICKS, "Evaluations left out, the one before was late.", registry=registry)
        self._asked = Counter(contract.METRIC_QUESTIONS, "Questions of the API process.", ["ask"], registry=registry)
        self._restarted = Counter(contract.METRIC_API_RESTARTS, "Restarts of the API process.", ["reason"], registry=registry)
        self._shown: Count[tuple[str, ...]] = Count()

    def exposition(self, now: float) -> bytes:
        """Prometheus text; `now` is monotonic."""
        vitals = self._vitals
        self._lag.set(vitals.lag(now))
        self._worst.set(vitals.worst(now))
        self._seconds.set(vitals.tick_seconds)
        self._count(self._ticks, vitals.ticks)
        self._count(self._missed, vitals.missed)
        for ask, count in vitals.asked.items():
            self._count(self._asked, count, ask)
        for reason, count in self._restarts.items():
            self._count(self._restarted, count, reason)
        return generate_latest(self._registry)

    def _count(self, counter: Counter, total: int, *labels: str) -> None:
        key = (str(counter), *labels)
        (counter.labels(*labels) if labels else counter).inc(total - self._shown[key])
        self._shown[key] = total
