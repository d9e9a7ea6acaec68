"""What must hold before the next phase: gates with their numbers and why, ceilings, metrics, reactions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from extproc.domain import Ceiling, Gate, Phase, Reaction, Rollout
from extproc.measures import MEASURES
from extproc.plan.markdown import code, listed, prose, table
from extproc.release.gate import weights
from extproc.release.plan import Plan
from extproc.release.sentences import margin, percent, value
from extproc.release.watched import is_guardrail

REACTIONS: Final[Mapping[Reaction, str]] = {
    Reaction.HOLD: "it is held",
    Reaction.ASK: "a person is asked",
    Reaction.RETURN: "it returns to the phase before",
    Reaction.ROLL_BACK: "it is rolled back",
}


def parts(rollout: Rollout, made: Plan) -> list[str]:
    """The sections about gates, ceilings and metrics."""
    names = list(dict.fromkeys(gate.measure for phase in rollout.phases for gate in phase.gates))
    alpha = f"A canary that is as good as stable is rolled back in at most {percent(rollout.alpha)} of releases, by all gates together."
    found = ["### Gates", f"Canary and stable are compared among comparable units, over the same minutes, every second. {alpha}"]
    if names:
        head = ("measure", "part of that, each", "harm: worse by more than", *(prose(phase.name) for phase in rollout.phases))
        found += [
            table(head, _alike((code(name), _margins(rollout, name)) for name in names), right=range(1, len(head))),
            listed(_whys(rollout, made, names)),
        ]
    else:
        found.append("No gate compares them: ceilings are all there is.")
    ceilings = _ceilings(rollout)
    if ceilings:
        found += [
            "### Ceilings",
            "Whatever stable does: a canary above one is rolled back; where both are above it, the release is held and a person is paged.",
            table(("ceiling", *(prose(phase.name) for phase in rollout.phases)), ceilings),
        ]
    metrics = _alike((prose(phase.name), row) for phase in rollout.phases for row in _metrics(phase))
    if metrics:
        found += ["### Metrics", table(("phases", "metric", "query", "bound", "where it is broken"), metrics)]
    verdicts = ("phases", "a gate fails", "nothing is shown by the end of the longest time", "there is no data by then")
    return [*found, "### Verdicts", table(verdicts, _alike((prose(phase.name), _reactions(phase)) for phase in rollout.phases))]


def _alike(rows: Iterable[tuple[str, tuple[str, ...]]]) -> list[tuple[str, ...]]:
    """Rows that say the same become one."""
    found: dict[tuple[str, ...], list[str]] = {}
    for name, cells in rows:
        found.setdefault(cells, []).append(name)
    return [(", ".join(names), *cells) for cells, names in found.items()]


def _gates(rollout: Rollout, name: str) -> Iterator[tuple[int, Gate]]:
    for index, phase in enumerate(rollout.phases):
        yield from ((index, gate) for gate in phase.gates if gate.measure == name)


def _margins(rollout: Rollout, name: str) -> tuple[str, ...]:
    gates = dict(_gates(rollout, name))
    first = next(iter(gates.values()))
    tolerance = MEASURES[name].tolerance if first.tolerance is None else first.tolerance
    cells = []
    for index, phase in enumerate(rollout.phases):
        gate = gates.get(index)
        compared = min(phase.share, 1 - rollout.holdback) < 1
        cells.append("-" if gate is None or not compared else margin(gate) if is_guardrail(gate) else "harm only")
    return f"{weights(rollout).get(name, 0.0):.0%}", percent(tolerance) if tolerance else "0", *cells


def _whys(rollout: Rollout, made: Plan, names: Sequence[str]) -> Iterator[str]:
    """What each guardrail is and takes, and why the others are none."""
    harm = [name for name in names if not any(is_guardrail(gate) for _, gate in _gates(rollout, name))]
    for name in names:
        if name not in harm:
            yield _why(rollout, made, name)
    if harm:
        said = ", ".join(f"{code(name)} ({prose(MEASURES[name].sentence)})" for name in harm)
        yield f"**Harm only:** {said}. Evidence of harm rolls back; evidence of safety is not waited for, since each costs time."


def _why(rollout: Rollout, made: Plan, name: str) -> str:
    """What a guardrail is, and how many units its margins take."""
    measure = MEASURES[name]
    taken = []
    for phase, one in zip(rollout.phases, made.phases, strict=True):
        units = next((gate.units for gate in one.gates if gate.measure == name), 0)
        if units != 0:
            taken.append(f"{'more than anybody has' if units is None else f'{units:,}'} at {prose(phase.name)}")
    shown = f" That takes {', '.join(taken)} of the canary's units: a narrower margin takes more, a wider one finds less." if taken else ""
    judging = rollout.judging if measure.read is None and measure.group == "judge" else None
    rated = f" Judged are {percent(judging.share)} of the canary's and of control's answers." if judging is not None else ""
    what = f"**{code(name)}:** {prose(measure.sentence)}."
    return f"{what} The next phase needs evidence that the canary is within the margin.{shown}{rated}"


def _ceilings(rollout: Rollout) -> list[tuple[str, ...]]:
    found: dict[str, dict[int, str]] = {}
    for index, phase in enumerate(rollout.phases):
        for one in phase.ceilings:
            found.setdefault(_named(one), {})[index] = value(MEASURES[one.measure], one.limit)
    return [(name, *(limits.get(index, "-") for index in range(len(rollout.phases)))) for name, limits in found.items()]


def _named(one: Ceiling) -> str:
    return code(one.measure) if not one.name else f"{code(one.name)} ({code(one.measure)})"


def _metrics(phase: Phase) -> Iterator[tuple[str, ...]]:
    for one in phase.metrics:
        bound = f"{'at most' if one.more_is_worse else 'at least'} {one.bound:g}"
        reaction = REACTIONS[Reaction.ROLL_BACK] if one.rolls_back else "it is held, and a person is paged"
        yield code(one.name), code(one.query), bound, reaction


def _reactions(phase: Phase) -> tuple[str, ...]:
    return REACTIONS[phase.on_fail], REACTIONS[phase.on_inconclusive], REACTIONS[phase.on_no_data]
