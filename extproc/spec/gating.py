"""Gates, ceilings, metrics and the calendar as written -> the nouns of `domain`, defaults filled in.

A phase has what is written nearest: its own block, else the rollout's, else the default. A block is the whole list, so that nobody has to
add up three places to know what is compared; what no block names is a blind spot, and `check` says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, get_args
from zoneinfo import ZoneInfo

from extproc.domain import Ceiling, ChangeWindow, Freeze, Gate, MetricGate, Phase, Reaction
from extproc.measures import COST, ERRORS, MEASURES, Kind, Measure, default_weights
from extproc.spec import units
from extproc.spec.document.gates import (
    CeilingBlock,
    Day,
    FreezeBlock,
    GateBlock,
    GatingBlock,
    MetricBlock,
    PhaseBlock,
    WindowBlock,
)
from extproc.spec.document.models import ModelBlock
from extproc.spec.units import show_share

MODEL_LAYER: Final = "model"
"""The layer that sets the cluster; in every other one variants are compared."""
_HARM: Final = GateBlock(guardrail=False)
_DEFAULT: Final[Mapping[str, GateBlock]] = {
    ERRORS.name: GateBlock(),
    "latency_mean": GateBlock(),
    **{f"latency_{one}": GateBlock() for one in ("p50", "p95", "p99")},
    **{f"ttft_{one}": _HARM for one in ("mean", "p50", "p95", "p99")},
}
"""Envoy's access log has what these need. Evidence of safety is asked for of errors, latency_mean and cost alone: each further one costs
time, and the time to the first token is a part of the latency."""
DEFAULT_CEILINGS: Final[Mapping[str, CeilingBlock]] = {ERRORS.name: CeilingBlock(limit="5%")}
"""A canary above 5 % errors is stopped whatever stable does: higher than any healthy LLM back end, low enough to act at once."""
DAYS: Final = get_args(Day)


def unpriced(layer: str, stable: object, canary: object, models: Mapping[str, ModelBlock | None]) -> list[str]:
    """Models whose requests cost nobody knows how much. In layers of variants any model may answer; None: one that cannot be read."""
    asked = (stable, canary) if layer == MODEL_LAYER else tuple(models)
    return [name for name, block in models.items() if name in asked and block is not None and block.prices is None]


def gates_of(phase: GatingBlock, rollout: GatingBlock, priced: bool, told: Collection[str]) -> Mapping[str, GateBlock]:
    """Gates of a phase; `priced`: what a request costs is known; `told`: further measures that the Spec has a source for."""
    for block in (phase, rollout):
        if block.gates is not None:
            return block.gates
    return {**_DEFAULT, **({COST.name: GateBlock()} if priced else {}), **{name: GateBlock() for name in told}}


def ceilings_of(phase: GatingBlock, rollout: GatingBlock) -> Mapping[str, CeilingBlock]:
    """Ceilings of a phase."""
    for block in (phase, rollout):
        if block.ceilings is not None:
            return block.ceilings
    return DEFAULT_CEILINGS


def is_guardrail(measure: Measure, block: GateBlock) -> bool:
    """True where the next phase needs evidence of safety."""
    return measure.guardrail if block.guardrail is None else block.guardrail


def limit(measure: Measure, written: object) -> float:
    """A ceiling in the measure's own unit; raises ValueError with the rest of a sentence that begins with the value."""
    found = units.quantity(written, measure.unit)
    if found <= 0:
        raise ValueError("must be more than 0")
    if measure.kind is Kind.EVENT and found >= 1:
        raise ValueError("must be less than 100%")
    return found


def phase(index: int, block: PhaseBlock, rollout: GatingBlock, priced: bool, told: Collection[str]) -> Phase:
    """One phase with all that it inherits."""
    gates, metrics = gates_of(block, rollout, priced, told), block.metrics if block.metrics is not None else rollout.metrics
    weights = default_weights(gates)
    return Phase(
        name=block.name or show_share(block.share),
        share=block.share,
        min_dwell=block.min_dwell,
        max_dwell=block.max_dwell,
        min_units=block.min_units,
        min_requests=block.min_requests,
        gates=tuple(_gate(index, name, gate, weights[name]) for name, gate in gates.items()),
        ceilings=tuple(_ceiling(name, one) for name, one in ceilings_of(block, rollout).items()),
        metrics=tuple(_metric(name, one) for name, one in (metrics or {}).items()),
        on_fail=Reaction(block.on_fail),
        on_inconclusive=Reaction(block.on_inconclusive),
        on_no_data=Reaction(block.on_no_data),
    )


def _gate(index: int, name: str, block: GateBlock, weight: float) -> Gate:
    margin = block.margin if block.margin is not None else MEASURES[name].margin(index)
    return Gate(name, margin, block.weight if block.weight is not None else weight, block.tolerance, block.guardrail)


def _ceiling(name: str, block: CeilingBlock) -> Ceiling:
    measure = MEASURES[block.measure or name]
    return Ceiling(measure.name, limit(measure, block.limit), "" if name == measure.name else name)


def _metric(name: str, block: MetricBlock) -> MetricGate:
    bound = block.max if block.max is not None else block.min
    assert bound is not None
    return MetricGate(name, block.query, bound, block.max is not None, block.on_fail == "roll_back")


def window(block: WindowBlock) -> ChangeWindow:
    """A change window; its zone is known to be one."""
    return ChangeWindow(tuple(sorted({DAYS.index(day) for day in block.days})), block.from_, block.to, ZoneInfo(block.zone))


def freeze(block: FreezeBlock) -> Freeze:
    """A freeze."""
    return Freeze(block.from_, block.to, block.why)
