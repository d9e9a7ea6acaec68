"""A plan as a picture: how long each phase runs, what it can see, and what would make a plan possible that cannot succeed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from extproc.domain import Rollout
from extproc.errors import Problem
from extproc.release.plan import PhasePlan, Plan
from extproc.release.sentences import duration, percent
from extproc.release.simulate import Proof

BAR: Final = 30


def plan_picture(rollout: Rollout, made: Plan) -> RenderableType:
    """One line for each phase, a bar of their lengths, then what stands against it."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0), title_justify="left")
    for column in ("phase", "units", "requests a day", "at least", "decided by", "finds errors of", "a total failure after"):
        table.add_column(column, justify="left" if column in ("phase", "decided by") else "right")
    for phase in made.phases:
        table.add_row(*_row(phase))
    whole = "never" if made.seconds is None else f"{duration(made.seconds)} at best"
    parts: list[RenderableType] = [Text(f"{rollout.name}: {rollout.stable} → {rollout.canary}, {whole}", style="bold"), table]
    if rollout.shadow is not None:
        pairs = f"{rollout.shadow.min_pairs:,} pairs of {percent(rollout.shadow.share)} of the requests"
        parts.insert(1, Text(f"before it a shadow, {duration(made.shadow)} at best: {pairs}"))
    if made.seconds is not None:
        parts.append(_bars(made.phases, made.seconds - made.shadow))
    parts += [problem(one) for one in made.problems]
    return Group(*parts)


def _row(phase: PhasePlan) -> tuple[str | Text, ...]:
    slowest = max(phase.gates, key=lambda gate: gate.units or float("inf"), default=None)
    decided = "dwell, ceilings" if slowest is None else f"{slowest.measure}: {slowest.units:,} units" if slowest.units else slowest.measure
    never = Text("never", style="bold red")
    return (
        phase.name,
        f"{phase.units:,.0f}",
        f"{phase.requests:,.0f}",
        never if phase.seconds is None else duration(phase.seconds),
        decided,
        "-" if phase.smallest is None else f"{phase.smallest:.2%}",
        "-" if phase.found_after is None else f"{phase.failures} units, {duration(phase.found_after)}",
    )


def _bars(phases: Sequence[PhasePlan], whole: float) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    before = 0.0
    for phase in phases:
        length = phase.seconds or 0.0
        left, filled = round(before / whole * BAR), max(1, round(length / whole * BAR))
        table.add_row(percent(phase.share), Text(" " * left + "█" * filled, style="cyan"), duration(length))
        before += length
    return table


def problem(one: Problem) -> Text:
    """What, where, and what would make it possible."""
    return Text.assemble(("✘ ", "bold red"), str(one))


def proofs_picture(rollout: Rollout, found: Sequence[tuple[int, Sequence[Proof]]]) -> RenderableType:
    """One line for each gate and ceiling, one column for each phase."""
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("seen to block")
    for index, _ in found:
        table.add_column(rollout.phases[index].name, justify="right")
    names = list(dict.fromkeys(proof.gate for _, proofs in found for proof in proofs))
    for name in names:
        by_phase = [{proof.gate: proof for proof in proofs}.get(name) for _, proofs in found]
        table.add_row(name, *(_cell(proof) for proof in by_phase))
    return table


def _cell(proof: Proof | None) -> Text:
    if proof is None:
        return Text("", style="dim")
    if not proof.blocked or proof.seconds is None or proof.requests is None:
        return Text("✘ not seen", style="bold red")
    return Text(f"✔ {proof.requests:,} requests", style="green")


def plan_document(made: Plan) -> dict[str, Any]:
    """As plain data."""
    phases = [
        {slot: getattr(phase, slot) for slot in ("name", "share", "requests", "units", "seconds", "smallest", "failures", "found_after")}
        | {"gates": [{"measure": gate.measure, "margin": gate.margin, "units": gate.units} for gate in phase.gates]}
        for phase in made.phases
    ]
    problems = [{"id": one.id, "path": one.path, "message": one.message, "hint": one.hint} for one in made.problems]
    return {"seconds": made.seconds, "phases": phases, "problems": problems}
