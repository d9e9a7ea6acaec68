"""Values of the Spec's metric gates: one source for each visit of a phase that has some, so that no value is older than the visit.

The loop asks for values and never waits; what a source cannot say is None there, and why is in `status`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from extproc.controller.loop import Loop
from extproc.controller.promql import PrometheusSource
from extproc.domain import Prometheus
from extproc.release.gate import NO_METRICS

LOOK_EVERY: Final = 0.2
"""Seconds between two looks at where rollouts stand; a new phase's queries are asked at once."""

Queries = tuple[tuple[str, str], ...]
"""(name, PromQL)."""


@dataclass(slots=True)
class _Visit:
    """One rollout in one visit of a phase."""

    generation: int
    prometheus: Prometheus
    queries: Queries
    source: PrometheusSource
    task: asyncio.Task[None]


class MetricGates:
    """Keeps a source for each rollout that is exposed and whose phase has metrics."""

    def __init__(self, loop: Loop) -> None:
        """From now on the loop takes its values from here."""
        self._loop = loop
        self._visits: dict[str, _Visit] = {}
        loop.readings = self

    def values(self, rollout: str, generation: int) -> Mapping[str, float | None]:
        """By metric; empty where this visit of the phase has not been asked about yet."""
        visit = self._visits.get(rollout)
        return visit.source.values() if visit is not None and visit.generation == generation else NO_METRICS

    def document(self, rollout: str) -> dict[str, Any]:
        """For `status`: each metric's value, its age in seconds, and why there is no newer one."""
        visit = self._visits.get(rollout)
        if visit is None:
            return {}
        values, ages, reasons = visit.source.values(), visit.source.ages(), visit.source.reasons()
        return {name: {"value": values[name], "age": ages[name], "reason": reasons.get(name, "")} for name, _ in visit.queries}

    async def keep(self) -> None:
        """Forever."""
        try:
            while True:
                self.look()
                await asyncio.sleep(LOOK_EVERY)
        finally:
            for visit in self._visits.values():
                visit.task.cancel()

    def look(self) -> None:
        """Begin a source for each visit that is new, and end those of visits that are over."""
        wanted = self._wanted()
        for name, visit in list(self._visits.items()):
            if wanted.get(name) != (visit.generation, visit.prometheus, visit.queries):
                visit.task.cancel()
                del self._visits[name]
        for name, (generation, prometheus, queries) in wanted.items():
            if name not in self._visits:
                source = PrometheusSource(queries, prometheus.url, prometheus.credential, prometheus.every)
                self._visits[name] = _Visit(generation, prometheus, queries, source, asyncio.create_task(source.keep()))

    def _wanted(self) -> dict[str, tuple[int, Prometheus, Queries]]:
        prometheus = self._loop.spec.prometheus
        if prometheus is None:
            return {}
        found = {}
        for name, state in self._loop.state.rollouts.items():
            metrics = self._loop.spec.rollouts[name].phases[state.phase].metrics
            if metrics and state.status.exposes:
                found[name] = state.generation, prometheus, tuple((metric.name, metric.query) for metric in metrics)
        return found
