"""What can be measured of an outcome, one row each; gates, reports and dashboards iterate over these rows.

A Measure is a quality of the canary; a Metric is a Prometheus series. Values are harm-oriented: larger is worse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from extproc.domain import Outcome


@dataclass(frozen=True, slots=True)
class Measure:
    """One measurable quality."""

    name: str
    unit: str
    """`share` (of requests), `seconds`, `usd`."""
    sentence: str
    """What it means, for reports."""
    harm: Callable[[Outcome], bool]
    """True where this request is an event of the measure (for measures that count events)."""
    margins: tuple[float, ...]
    """Default absolute margin for the step to the next phase, by order of phases; the last one repeats."""


def _failed(outcome: Outcome) -> bool:
    return outcome.failed


ERRORS = Measure(
    name="errors",
    unit="share",
    sentence="requests that failed: 5xx, timeout, reset, stream aborted by the model; 429 and client aborts are counted apart",
    harm=_failed,
    margins=(0.05, 0.01, 0.005, 0.0025),
)

MEASURES: Mapping[str, Measure] = MappingProxyType({m.name: m for m in (ERRORS,)})
"""All measures by name."""
