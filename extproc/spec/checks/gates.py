"""What a rollout's phases ask for before the next one: measures with a source, weights that add up, limits that can be broken."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from extproc.measures import COST, JUDGE, MEASURES, SAMPLED, SESSION_LENGTH, THUMBS
from extproc.spec import gating
from extproc.spec.checks.judge import nobody_judges
from extproc.spec.checks.tools import Found, block, blocks, did_you_mean, mapping
from extproc.spec.document.application import SlaBlock
from extproc.spec.document.gates import CeilingBlock, GateBlock, GatingBlock, MetricBlock, PhaseBlock
from extproc.spec.document.models import ModelBlock
from extproc.spec.units import share, show_duration, show_share
from extproc.spec.yamltext import Path

_KEYS: Final = ("gates", "ceilings", "metrics")


def check(document: Mapping[str, Any], path: Path, rollout: Mapping[str, Any]) -> Iterator[Found]:
    """Rules over the gates, ceilings and metrics of one rollout."""
    rules = _Rules(document, rollout)
    phases = blocks(PhaseBlock, rollout.get("phases"))
    whole = block(GatingBlock, {key: rollout[key] for key in _KEYS if key in rollout})
    if whole is not None:
        yield from rules.written(path, whole)
    for index, phase in enumerate(phases):
        if phase is not None:
            yield from rules.written((*path, "phases", index), phase)
            if whole is not None:
                yield from _guarded((*path, "phases", index), phase, whole, _holds_back(rollout.get("holdback")))
    yield from _first((*path, "phases", 0), phases[0] if phases else None)
    if whole is not None:
        yield from _tolerances(path, phases, whole)


class _Rules:
    """What the rules need to know of the rest of the document. A block that cannot be read accuses nobody."""

    def __init__(self, document: Mapping[str, Any], rollout: Mapping[str, Any]) -> None:
        models = {name: block(ModelBlock, written) for name, written in mapping(document.get("models")).items()}
        layer = rollout.get("layer", gating.MODEL_LAYER)
        self._chooses_models = layer == gating.MODEL_LAYER
        self._unpriced = gating.unpriced(layer, rollout.get("stable"), rollout.get("canary"), models)
        self._judge = document.get("judge") is not None
        self._nobody = nobody_judges(document)
        self._feedback = document.get("feedback") is not None
        self._sessions = document.get("sessions") is not None
        self._prometheus = document.get("prometheus") is not None
        sla = block(SlaBlock, mapping(document.get("application")).get("sla"))
        self._deadline = sla.latency_p99 if sla is not None else None

    def written(self, here: Path, block_: GatingBlock) -> Iterator[Found]:
        """What is written at one place, a rollout or a phase."""
        yield from self._gates((*here, "gates"), block_.gates or {})
        for name, one in (block_.ceilings or {}).items():
            yield from self._ceiling((*here, "ceilings", name), name, one)
        yield from self._metrics((*here, "metrics"), block_.metrics or {})

    def _gates(self, here: Path, gates: Mapping[str, GateBlock]) -> Iterator[Found]:
        for name, gate in gates.items():
            yield from self._measure((*here, name), name)
            if gate.margin is not None and name in MEASURES and not gating.is_guardrail(MEASURES[name], gate):
                message = f"a margin is given, but {name} only guards against harm: its margin is never looked at"
                yield "spec.unused-margin", (*here, name), message, "add guardrail: true, or leave the margin out"
        weights = [gate.weight for gate in gates.values() if gate.weight is not None]
        if weights and (len(weights) != len(gates) or abs(sum(weights) - 1) > 1e-9):
            message = f"the weights sum to {sum(weights):g}"
            yield "spec.weights", here, message, "give every gate of the phase a weight; together they are 1"

    def _measure(self, here: Path, name: str) -> Iterator[Found]:
        """It is there, and something tells of it."""
        if name not in MEASURES:
            yield "spec.unknown-measure", here, f"there is no measure {name!r}", did_you_mean(name, list(MEASURES))
        elif name == COST.name and self._unpriced:
            message = f"what a request costs is not known: {' and '.join(map(repr, self._unpriced))} without prices"
            yield "spec.no-prices", here, message, f"add prices to models.{self._unpriced[0]}, or leave cost out"
        elif name == SESSION_LENGTH.name and not self._sessions:
            hint = f"add sessions: {{header: x-session-id}} to the Spec, or leave {name} out"
            yield "spec.no-sessions", here, "nobody knows which requests are one session", hint
        elif name == THUMBS.name and not self._feedback:
            hint = f"add feedback: {{window: 1h}} to the Spec, or leave {name} out"
            yield "spec.no-feedback", here, "nobody listens to users: the Spec has no feedback", hint
        elif name in SAMPLED and not self._judge:
            hint = f"add judge: {{judges: [{{url: https://..., model: ...}}]}} to the Spec, or leave {name} out"
            yield "spec.no-judge", here, "nobody judges: the Spec names no judge", hint
        elif name == JUDGE.name and self._nobody:
            hint = f"name one there, or leave {name} out: tripwires needs none"
            yield "spec.no-judge", here, "nobody judges: judge.judges is empty", hint
        elif name in SAMPLED and not self._chooses_models:
            message = "answers are judged where a rollout chooses models, and this one is in another layer"
            yield "spec.judge-layer", here, message, f"leave {name} out"

    def _ceiling(self, here: Path, name: str, written: CeilingBlock) -> Iterator[Found]:
        asked = written.measure or name
        yield from self._measure(here, asked)
        measure = MEASURES.get(asked)
        if measure is None:
            return
        if measure.read is None:
            message = f"only some answers are rated, and later: {asked} has no ceiling"
            yield "spec.ceiling-rated", here, message, "compare it with a gate instead"
            return
        if name in MEASURES and name != asked:
            message = f"it is called {name!r} and limits {asked}"
            yield "spec.ceiling-name", here, message, "call it what it limits, or by a word that is no measure"
        try:
            limit = gating.limit(measure, written.limit)
        except ValueError as error:
            yield "spec.ceiling-value", here, f"{_said(written.limit)} {error}", f"{asked}: {measure.sentence}"
            return
        if not measure.more_is_worse:
            message = f"more of {asked} is better: a ceiling would stop a good canary"
            yield "spec.ceiling-direction", here, message, "compare it with a gate instead"
        if measure.unit == "seconds" and self._deadline is not None and limit >= self._deadline:
            deadline = show_duration(self._deadline)
            message = f"{show_duration(limit)} is never exceeded: a request that is still open after {deadline} has failed at that age"
            yield "spec.ceiling-unreachable", here, message, "a lower limit, or a higher application.sla.latency_p99"

    def _metrics(self, here: Path, metrics: Mapping[str, MetricBlock]) -> Iterator[Found]:
        if metrics and not self._prometheus:
            hint = "add prometheus: {url: http://...} to the Spec, or leave metrics out"
            yield "spec.no-prometheus", here, "queries are asked, but the Spec names no Prometheus", hint


def _holds_back(written: Any) -> bool:
    try:
        return written is not None and share(written) > 0
    except ValueError:
        return True  # its shape is already a problem; whether it guards a phase is not known


def _guarded(here: Path, phase: PhaseBlock, rollout: GatingBlock, holdback: bool) -> Iterator[Found]:
    if phase.share > 0.5 and not gating.ceilings_of(phase, rollout) and not holdback:
        message = "above 50% nothing would be watched: stable is too small to compare with"
        hint = "give the phase a ceiling, such as ceilings: {errors: 5%}, or the rollout a holdback"
        yield "spec.unguarded-phase", here, message, hint


def _first(here: Path, phase: PhaseBlock | None) -> Iterator[Found]:
    """There is no phase before the first one."""
    for key in ("on_fail", "on_inconclusive", "on_no_data") if phase is not None else ():
        if getattr(phase, key) == "return":
            message = "the first phase has none before it to return to"
            yield "spec.return-first", (*here, key), message, "write roll_back here; return is for later phases"


def _tolerances(path: Path, phases: Sequence[PhaseBlock | None], rollout: GatingBlock) -> Iterator[Found]:
    """Evidence of harm is collected over the whole release, so that what is harm cannot change on the way."""
    first: dict[str, tuple[float | None, int]] = {}
    for index, phase in enumerate(phases):
        written = phase.gates if phase is not None and phase.gates is not None else rollout.gates
        for name, gate in (written or {}).items():
            given = gate.tolerance
            before, where = first.setdefault(name, (given, index))
            if given != before:
                said = "the default" if before is None else show_share(before)
                message = f"{name} has another tolerance than in phase {where + 1}, where it is {said}"
                hint = "give it the same in every phase that has this gate: harm is judged over the whole release"
                yield "spec.tolerance-changes", (*path, "phases", index, "gates", name), message, hint


def _said(value: Any) -> str:
    return repr(value) if isinstance(value, str | int | float) else "a block or a list"
