"""A gate that has never been seen to block is a hope. Here each gate and each ceiling of a phase meets a canary that is bad in its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from extproc.domain import Action, Ceiling, Gate, Prices, Rollout
from extproc.measures import COST, MEASURES
from extproc.release.gate import TOGETHER, ceiling_name, weights
from extproc.release.simulate.draw import Draw
from extproc.release.simulate.full import Setting, simulate, with_phase
from extproc.release.simulate.worlds import INPUT_TOKENS, OUTPUT_TOKENS, Side, World

WELL: Final = Side()
OVER: Final = 3.0
"""By this factor a ceiling is broken."""
_SLOW: Final = Side(latency=WELL.latency * 3)
BAD: Final[Mapping[str, Side]] = MappingProxyType(
    {
        "errors": Side(errors=0.5),
        "throttled": Side(throttled=0.5),
        "client_aborts": Side(aborts=0.5),
        "abandons": Side(aborts=0.5),
        "retries": Side(retries=0.5),
        "regenerates": Side(retries=0.5),
        **{name: _SLOW for name, measure in MEASURES.items() if measure.unit == "seconds"},
        "output_rate": Side(latency=WELL.latency * 3, tokens=1.0),
        "cost": Side(tokens=4.0, reads=4.0),
        "input_tokens": Side(reads=4.0),
        "cached_tokens": Side(cached=0.05),
        "output_tokens": Side(tokens=4.0),
        "reasoning_tokens": Side(reasoning=0.9),
    }
)
"""What a canary is like that is bad by one measure."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That a gate blocks, or that it was not seen to."""

    gate: str
    blocked: bool
    requests: int | None
    """All requests until the rollback."""
    seconds: float | None


def compared(rollout: Rollout, phase: int) -> bool:
    """False where nobody is left to compare with: there ceilings alone can block."""
    return any(rollout.share_of(cohort, phase) < 1 for cohort in rollout.cohorts)


def prove(setting: Setting, draws: Callable[[int], Draw]) -> tuple[Proof, ...]:
    """One release for each gate and each ceiling of the setting's phase; what ratings tell of is no part of a simulated outcome."""
    found = []
    phase = setting.rollout.phases[setting.phase]
    share = weights(setting.rollout)
    told = [gate for gate in phase.gates if MEASURES[gate.measure].read is not None]
    gates = told if compared(setting.rollout, setting.phase) else []
    cases = [(gate.measure, BAD[gate.measure], _alone(setting, gate, share[gate.measure])) for gate in gates]
    for ceiling in phase.ceilings:
        alone = with_phase(setting.rollout, setting.phase, replace(phase, gates=(), ceilings=(ceiling,)))
        over = _over(ceiling, setting.prices.get(setting.rollout.canary))
        cases.append((ceiling_name(ceiling), over, replace(setting, rollout=alone)))
    for number, (name, bad, given) in enumerate(cases):
        world = World(f"bad {name}", "bad by one measure", True, canary=bad, same_prices=name == COST.name)
        run = simulate(given, world, draws(number))
        # Where a gate is alone, all together is the same evidence.
        blocked = run.action in (Action.ROLL_BACK, Action.ROLL_BACK_COHORT) and bool(run.gates) and {*run.gates} <= {name, TOGETHER}
        found.append(Proof(name, blocked, run.stop.requests if run.stop is not None else None, run.seconds))
    return tuple(found)


def _alone(setting: Setting, gate: Gate, weight: float) -> Setting:
    """Without others that might be sooner, and as strict as it is among them."""
    phases = tuple(replace(phase, gates=(replace(gate, weight=1.0),), ceilings=()) for phase in setting.rollout.phases)
    return replace(setting, rollout=replace(setting.rollout, phases=phases, alpha=setting.rollout.alpha * weight))


def _over(ceiling: Ceiling, prices: Prices | None) -> Side:
    """A canary that is over this ceiling by far."""
    measure, limit = MEASURES[ceiling.measure], ceiling.limit * OVER
    match measure.unit:
        case "share":
            return BAD[ceiling.measure]
        case "seconds":
            return Side(latency=limit * (3.0 if ceiling.measure.startswith("ttft") else 1.0))
        case "usd":
            price = float(prices.output) / 1e6 if prices is not None else 0.0
            return Side(tokens=limit / price / OUTPUT_TOKENS) if price else WELL
    if ceiling.measure == "input_tokens":
        return Side(reads=limit / INPUT_TOKENS)
    return Side(tokens=limit / OUTPUT_TOKENS, reasoning=1.0 if ceiling.measure == "reasoning_tokens" else WELL.reasoning)
