"""How much it takes: from the Spec's volume, and from what was measured (docs/proof/bench.md, docs/proof/collector.md)."""

from __future__ import annotations

from math import ceil
from typing import Final

from extproc.domain import Spec
from extproc.domain.seconds import DAY

DECISIONS: Final = 77_440
"""Decisions per second of one worker, the least that was measured: everything at once, h2load, native transport."""
DECISION_CPU: Final = 12.9e-6
"""Seconds of CPU of a decision, same row."""
OUTCOMES: Final = 20_000
"""Outcomes per second that a controller takes on one core."""
ENVOY: Final = 1_000
"""Requests per second that one core of Envoy carries: docs/proof/overload.md saw 1,907/s without a queue on two cores, models and clients
on the same ones."""
FULL: Final = 0.5
"""Nobody is planned beyond this part of what was measured."""


def peak(spec: Spec) -> float:
    """Requests per second in the busiest minutes of a usual day."""
    return spec.application.daily_requests * spec.application.peak / DAY


def workers(spec: Spec) -> int:
    """Router workers: two at least, so that one that is replaced leaves no gap."""
    return max(2, ceil(peak(spec) / (DECISIONS * FULL)))


def router_cpu(spec: Spec) -> str:
    """CPU request of the router."""
    return millicores(0.1 * workers(spec) + peak(spec) * DECISION_CPU / FULL)


def controller_cpu(spec: Spec) -> str:
    """CPU request of the controller."""
    return millicores(0.2 + peak(spec) / OUTCOMES / FULL)


def envoy_cores(spec: Spec) -> int:
    """Worker threads of an Envoy that carries everything."""
    return max(2, ceil(peak(spec) / ENVOY / FULL))


def envoys(spec: Spec) -> tuple[int, int]:
    """Replicas of two cores each: at least two; at most three times what the usual peak needs, and three."""
    needed = max(2, ceil(peak(spec) / (2 * ENVOY * FULL)))
    return needed, max(3, 3 * needed)


def millicores(cores: float) -> str:
    """As Kubernetes writes it, in steps of 10."""
    return f"{max(10, ceil(cores * 100) * 10)}m"
