"""Prometheus series of what routers tell of themselves: their clocks, their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest

import extproc
from extproc import contract


class RouterMetrics:
    """One registry per controller. Routers that are silent are left out: their clock and version are those of a while ago."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._skew = Gauge(
            contract.METRIC_ROUTER_SKEW,
            "Seconds by which a router's clock differs from the controller's, ahead or behind.",
            ["router"],
            registry=self._registry,
        )
        self._versions = Gauge(
            contract.METRIC_ROUTER_VERSIONS, "Different versions of routers and controller; 1 is well.", registry=self._registry
        )

    def exposition(self, routers: Sequence[Mapping[str, Any]]) -> bytes:
        """Prometheus text; `routers`: as `status` shows them."""
        present = [one for one in routers if one["silent"] is None]
        self._skew.clear()
        for one in present:
            self._skew.labels(one["router"]).set(abs(one["skew"]))
        self._versions.set(len({extproc.__version__, *(one["version"] for one in present)}))
        return generate_latest(self._registry)
