"""Alerts of one phase of one rollout: is the canary worse than the phase's own gates allow?

They do not replace the gates, which decide by evidence and act by themselves; they tell people what a gate weighs, in numbers that can be
looked at. So each needs as many requests as the phase asks for, and holds only while the rollout is in the phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from extproc import contract
from extproc.domain import Arm, Gate, Rollout, Spec
from extproc.domain.seconds import HOUR, MINUTE
from extproc.measures import ERRORS, JUDGE, MEASURES, SAMPLED, THUMBS
from extproc.plan.monitoring import world
from extproc.plan.monitoring.alert import Alert, Severity, Values
from extproc.plan.monitoring.series import Quantile, Ratio, cost, failures, mean, of, quoted
from extproc.plan.monitoring.windows import Look, look, written
from extproc.release.sentences import duration, percent

RATINGS: Final = 50
"""Answers of each arm of which something is said, below which that is not compared."""
WAIT: Final = 5 * MINUTE
"""For which a canary must be slower, dearer or worse before somebody is told: none of that is an emergency."""
FEW: Final = 5
"""Failures below which no budget burns: one alone can be a user's own."""
RECORDED: Final = "extproc:phase_failures:ratio_rate"
"""Share of an arm's requests that failed, by rollout, phase and arm; the window is the end of its name."""
SLA_TTFT: Final = 0.95
"""Share of requests for which the SLA's time to the first token is meant to hold."""
COMPARED: Final = {
    "latency_mean": ("Latency", contract.METRIC_DURATION),
    "ttft_mean": ("TimeToFirstToken", contract.METRIC_TTFT),
    "cost": ("Cost", contract.METRIC_COST),
}
"""Means that an alert compares: measure -> word of its name, metric. Quantiles are left to the gates: between the ends of a histogram's
buckets they are guesses."""
SAID: Final = {JUDGE.name: "JudgeScore", THUMBS.name: "Thumbs"}


@dataclass(frozen=True, slots=True)
class _Place:
    """A phase, with all that its alerts need to know."""

    spec: Spec
    rollout: Rollout
    index: int
    look: Look

    @property
    def here(self) -> str:
        """Holds while the rollout is in the phase."""
        return f"and on() {contract.METRIC_PHASE}{{rollout={quoted(self.rollout.name)}}} == {self.index + 1}"

    @property
    def name(self) -> str:
        return self.rollout.phases[self.index].name

    @property
    def window(self) -> str:
        return written(self.look.window)

    @property
    def pace(self) -> float:
        return world.pace(self.spec, self.rollout, self.index)

    def recorded(self, window: float, arm: Arm) -> str:
        """Share of failures that a recording rule keeps."""
        labels = f"rollout={quoted(self.rollout.name)},phase={quoted(self.name)},arm={quoted(arm.value)}"
        return f"max({RECORDED}{written(window)}{{{labels}}})"

    def alert(self, name: str, expr: str, severity: Severity, wait: float, summary: str, description: str, bad: Values) -> Alert:
        """One of this phase."""
        whole = f"{expr}\n{self.here}"
        summary = f"{self.rollout.canary} in phase {self.name} of {self.rollout.name}: {summary}"
        return Alert(name, whole, wait, severity, summary, description, bad, self.rollout.name, self.name)


def phase_alerts(spec: Spec, rollout: Rollout, index: int) -> Iterator[Alert]:
    """All of a phase, the worst first."""
    place = _Place(spec, rollout, index, look(spec, rollout, index))
    yield _burn(place)
    yield _slow_start(place)
    gates = {gate.measure: gate for gate in rollout.phases[index].gates}
    if any(rollout.share_of(cohort, index) < 1.0 for cohort in rollout.cohorts):
        yield from _comparisons(place, gates)
    if spec.judge is not None and not SAMPLED.isdisjoint(gates):
        yield _judge_silent(place)


def recordings(spec: Spec, rollout: Rollout, index: int) -> list[dict[str, object]]:
    """What the alerts of a phase read."""
    phase, seen = rollout.phases[index], look(spec, rollout, index)
    by_arm = failures(of(rollout.name, None, phase.name), ("arm",))
    labels = {"rollout": rollout.name, "phase": phase.name}
    return [
        {"record": f"{RECORDED}{written(window)}", "expr": by_arm.promql(written(window)), "labels": labels}
        for window in dict.fromkeys((seen.window, seen.short))
    ]


def _burn(place: _Place) -> Alert:
    uptime, burn = place.spec.application.sla.uptime, place.look.burn
    threshold = burn.threshold(uptime)
    failed = f'{contract.METRIC_OUTCOMES}{{{_inner(place, Arm.CANARY)},result="failed"}}'
    expr = (
        f"{place.recorded(burn.long, Arm.CANARY)} > {threshold:.10g}\n"
        f"and on() {place.recorded(burn.short, Arm.CANARY)} > {threshold:.10g}\n"
        f"and on() sum(increase({failed}[{place.window}])) >= {FEW}"
    )
    said = (
        f"More than {percent(threshold)} of the canary's requests failed over {duration(burn.long)} and over {duration(burn.short)}. "
        f"With all requests on it a month's budget of {percent(1 - uptime)} would be spent {burn.pace:.3g} times too fast. "
        f"A phase of {percent(place.rollout.phases[place.index].share)} is exposed."
    )
    bad = world.outcomes(place.rollout, place.index, Arm.CANARY, 0.0, place.pace)
    return place.alert("CanaryErrorBudgetBurn", expr, Severity.PAGE, MINUTE, "burns the error budget of the SLA", said, bad)


def _slow_start(place: _Place) -> Alert:
    ttft = place.spec.application.sla.ttft
    asked = Quantile(contract.METRIC_TTFT, of(place.rollout.name, Arm.CANARY, place.name), share=SLA_TTFT)
    expr = f"{asked.promql(place.window)} > {ttft:.10g}\nand on() {_enough(place)}"
    over = duration(place.look.window)
    said = f"The p{SLA_TTFT * 100:.0f} of the canary's time to the first token over {over} is above the SLA's {ttft:g} s."
    bad = world.seconds(contract.METRIC_TTFT, place.rollout, place.index, Arm.CANARY, place.pace, 200.0, "+Inf")
    return place.alert("CanaryTimeToFirstTokenAboveSla", expr, Severity.TICKET, WAIT, "first tokens come late for the SLA", said, bad)


def _comparisons(place: _Place, gates: dict[str, Gate]) -> Iterator[Alert]:
    if ERRORS.name in gates:
        yield _more_errors(place, gates[ERRORS.name])
    for measure, (word, metric) in COMPARED.items():
        if measure in gates:
            yield _larger(place, gates[measure], word, metric)
    for measure, word in SAID.items():
        if measure in gates:
            yield _said_worse(place, gates[measure], word)


def _more_errors(place: _Place, gate: Gate) -> Alert:
    window = place.look.window
    canary, control = place.recorded(window, Arm.CANARY), place.recorded(window, Arm.CONTROL)
    expr = f"{canary} - {control} > {gate.margin:.10g}\nand on() {_enough(place)}"
    said = (
        f"Over {duration(window)} the canary failed more often than control by more than the gate's margin of {gate.margin * 100:g} points."
    )
    bad = world.outcomes(place.rollout, place.index, Arm.CANARY, 0.0, place.pace)
    return place.alert("CanaryErrorsWorseThanControl", expr, Severity.PAGE, MINUTE, "fails more often than control", said, bad)


def _larger(place: _Place, gate: Gate, word: str, metric: str) -> Alert:
    def one(arm: Arm) -> Ratio:
        where = of(place.rollout.name, arm, place.name)
        return cost(where) if metric == contract.METRIC_COST else mean(metric, where)

    canary, control = one(Arm.CANARY).promql(place.window), one(Arm.CONTROL).promql(place.window)
    expr = f"({canary})\n/ ({control}) > {1 + gate.margin:.10g}\nand on() {_enough(place)}"
    what, over = MEASURES[gate.measure].sentence, duration(place.look.window)
    said = f"Over {over} the canary's {what} was above control's by more than the gate's margin of {percent(gate.margin)}."
    worse = place.pace * 2 * (1 + gate.margin)
    key = metric if metric == contract.METRIC_COST else f"{metric}_sum"
    bad = {world.arm_series(key, place.rollout, place.index, Arm.CANARY): world.rising(worse)}
    summary = {"Cost": "is dearer than control"}.get(word, "is slower than control")
    return place.alert(f"Canary{word}WorseThanControl", expr, Severity.TICKET, WAIT, summary, said, bad)


def _said_worse(place: _Place, gate: Gate, word: str) -> Alert:
    inner = f"rollout={quoted(place.rollout.name)},measure={quoted(gate.measure)}"

    def one(arm: Arm) -> str:
        return f"max({contract.METRIC_RATED_MEAN}{{{inner},arm={quoted(arm.value)}}})"

    expr = f"{one(Arm.CONTROL)} - {one(Arm.CANARY)} > {gate.margin:.10g}\nand on() min({contract.METRIC_RATED}{{{inner}}}) >= {RATINGS}"
    what = MEASURES[gate.measure].sentence
    said = f"In this phase the canary has less than control by more than the gate's margin of {gate.margin:g}: {what}."
    bad = world.rated(place.rollout, gate.measure, Arm.CANARY, 0.8 - 2 * gate.margin)
    return place.alert(f"Canary{word}WorseThanControl", expr, Severity.TICKET, WAIT, f"has less {gate.measure} than control", said, bad)


def _judge_silent(place: _Place) -> Alert:
    judge = place.spec.judge
    assert judge is not None
    wait = min(HOUR, max(WAIT, judge.within))
    said = f"For {duration(wait)} the judge has said less than it might; the gates on its scores have no data, and the phase does not end."
    bad = {contract.METRIC_JUDGE_SILENT: world.constant(1)}
    return place.alert("JudgeSilent", f"max({contract.METRIC_JUDGE_SILENT}) == 1", Severity.TICKET, wait, "nobody judges", said, bad)


def _inner(place: _Place, arm: Arm) -> str:
    return f"rollout={quoted(place.rollout.name)},arm={quoted(arm.value)},phase={quoted(place.name)}"


def _enough(place: _Place) -> str:
    return f"sum(increase({contract.METRIC_OUTCOMES}{{{_inner(place, Arm.CANARY)}}}[{place.window}])) >= {place.look.needed}"
