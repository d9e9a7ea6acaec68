"""evaluate: a phase's gates, ceilings and metrics + Evidence -> Findings, each with its numbers and a sentence.

* *Harm.* All comparisons have one alpha between them: E_together, the mean of their e-values by weight, rolls back when it reaches
  1/alpha: no minimum sample, over the whole attempt. The gates that brought it there FAIL. Of several cohorts half of that e-value is
  everybody's, half the mean of theirs alone; where one cohort crosses by itself, the others do not without it, and they had at least as
  much chance to, it is that cohort's fault.
* *Safety.* A guardrail PASSes when the e-value against "worse by the margin or more" reaches 20 in this visit of the phase. Before that it
  is INCONCLUSIVE; without requests in both arms it is NO_DATA. E_together PASSes below 5.
* *Ceilings* FAIL when the e-value against "within the ceiling" reaches 1/alpha. Where stable breaks it too it is an incident.
* *Sample ratio*: FAIL holds and pages. *Metrics*: one reading and one bound.
* Attempt k of a release has alpha * 2^-(k-1), so that trying again and again does not spend more than twice alpha.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from extproc.domain import Ceiling, Finding, Gate, MetricGate, Phase, Reaction, Rollout, Verdict
from extproc.measures import ERRORS, MEASURES, Kind, Measure
from extproc.release import sentences
from extproc.release.eprocess import log_sum_exp
from extproc.release.evidence import Evidence
from extproc.release.finding import finding
from extproc.release.guards import CANARY, STABLE
from extproc.release.intervals import mean_interval, quantile, quantile_interval
from extproc.release.lanes import EVERYBODY, View
from extproc.release.sampleratio import LOG_LIMIT, SampleRatio
from extproc.release.sentences import e_value
from extproc.release.totals import ArmTotals, Moments, Visit
from extproc.release.watched import is_guardrail

SAFE_LIMIT: Final = math.log(20.0)
"""Non-inferiority is shown at level .05."""
CALM: Final = math.log(5.0)
"""No step forward while the evidence of harm is this strong."""
SUSPECT: Final = math.log(2.0)
"""A stable that looks over a ceiling: twice as likely as not."""
TOGETHER: Final = "together"
SAMPLE_RATIO: Final = "sample_ratio"
ACCOMPLICE: Final = math.log(10.0)
"""A gate whose share of E_together is within a factor of ten of the greatest is named as well."""
NO_METRICS: Final[Mapping[str, float | None]] = {}


def harm_limit(rollout: Rollout, attempt: int) -> float:
    """ln of the e-value that rolls back."""
    return -math.log(rollout.alpha) + (attempt - 1) * math.log(2.0)


def weights(rollout: Rollout) -> dict[str, float]:
    """Weight of each gate's e-value in E_together, the mean over the phases: it may not change while a release runs, or alpha is spent
    twice."""
    found: dict[str, float] = {}
    for phase in rollout.phases:
        for gate in phase.gates:
            found[gate.measure] = found.get(gate.measure, 0.0) + gate.weight
    total = sum(found.values())
    return {name: weight / total for name, weight in found.items() if weight > 0}


def evaluate(rollout: Rollout, evidence: Evidence, metrics: Mapping[str, float | None] = NO_METRICS) -> tuple[Finding, ...]:
    """Findings of the phase that the Evidence is in: comparisons, E_together, ceilings, metrics, sample ratio. `metrics`: by name, the
    value that was read; None or missing where none could be."""
    phase = rollout.phases[evidence.phase]
    limit = harm_limit(rollout, evidence.attempt)
    findings: list[Finding] = []
    blame = None
    # At 100 % without a holdback nobody is left to compare with: the phase stands on its ceilings.
    if evidence.compares:
        if phase.gates:
            blame = _Blame(rollout, evidence, limit)
            findings.extend(_comparison(gate, rollout, evidence, blame) for gate in phase.gates)
            findings.append(_together(phase, blame))
        if any(evidence.capital.ratio.counts()):
            findings.append(_sample_ratio(evidence.capital.ratio))
    # What one cohort alone is to blame for breaks the canary's ceilings too: that is its fault, and nobody else's.
    culprits = [blame.cohort if blame is not None and blame.fails(one.measure) else "" for one in phase.ceilings]
    findings.extend(_ceiling(index, one, phase, evidence, limit, culprits[index]) for index, one in enumerate(phase.ceilings))
    findings.extend(_metric(metric, metrics.get(metric.name)) for metric in phase.metrics)
    return tuple(findings)


# ------------------------------------------------------------------------------------------------------------------------ harm
class _Blame:
    """E_together, and whose fault it is that it crossed."""

    def __init__(self, rollout: Rollout, evidence: Evidence, limit: float) -> None:
        self._evidence = evidence
        self._weights = weights(rollout)
        self.limit = limit
        cohorts = evidence.cohorts
        self._split = len(rollout.cohorts) > 1
        self._share = -math.log(len(rollout.cohorts))
        """ln of a cohort's part among all of the Spec: those that are out have spent theirs."""
        alone = {cohort: self._of(View(cohort)) for cohort in cohorts} if self._split else {}
        self.log_e = self._together(self._of(EVERYBODY), list(alone.values()))
        self.cohort = self._culprit(alone) if self.crossed and self._split else ""

    @property
    def crossed(self) -> bool:
        return self.log_e >= self.limit

    def _of(self, view: View) -> float:
        return log_sum_exp([math.log(w) + self._evidence.log_e_harm(name, view) for name, w in self._weights.items()])

    def _together(self, everybody: float, alone: Sequence[float]) -> float:
        if not self._split:
            return everybody
        half = math.log(0.5)
        return log_sum_exp([half + everybody, *(half + self._share + one for one in alone)])

    def _culprit(self, alone: Mapping[str, float]) -> str:
        if len(alone) < 2:
            return ""
        worst = max(alone, key=lambda cohort: alone[cohort])
        # That something goes back is settled with alpha split; whose fault it is needs no second split.
        by_itself = alone[worst] >= self.limit
        others = self._together(self._of(View(worst, others=True)), [log_e for cohort, log_e in alone.items() if cohort != worst])
        met = self._evidence.met
        had_the_chance = sum(count for cohort, count in met.items() if cohort != worst) >= met.get(worst, 0)
        return worst if by_itself and others < self.limit and had_the_chance else ""

    def gate_limit(self, measure: str) -> float:
        """ln of a gate's e-value that crosses by itself."""
        return self.limit - math.log(self._weights[measure]) - (math.log(0.5) if self._split else 0.0)

    def fails(self, measure: str) -> bool:
        """True where this gate brought E_together over its limit, or helped much."""
        if measure not in self._weights:
            return False
        return self.crossed and self._part(measure) >= max(map(self._part, self._weights)) - ACCOMPLICE

    def _part(self, measure: str) -> float:
        """ln of what a gate adds to the e-value of the one who is to blame."""
        log_weight, evidence = math.log(self._weights[measure]), self._evidence
        if self.cohort:
            return log_weight + evidence.log_e_harm(measure, View(self.cohort))
        alone = [log_weight + evidence.log_e_harm(measure, View(cohort)) for cohort in evidence.cohorts] if self._split else []
        return self._together(log_weight + evidence.log_e_harm(measure), alone)


def by_cohort(rollout: Rollout, evidence: Evidence) -> dict[str, tuple[float, str]]:
    """For eyes: ln of the e-value of each cohort's comparisons alone, and the measure that adds most to it. Nothing for cohorts that are
    out; empty where nothing is compared."""
    if not evidence.compares:
        return {}
    parts = {
        cohort: {name: math.log(w) + evidence.log_e_harm(name, View(cohort)) for name, w in weights(rollout).items()}
        for cohort in evidence.cohorts
    }
    return {cohort: (log_sum_exp(list(part.values())), max(part, key=part.__getitem__)) for cohort, part in parts.items() if part}


def _together(phase: Phase, blame: _Blame) -> Finding:
    sentence = f"all comparisons together: harm E {e_value(blame.log_e)} of {e_value(blame.limit)}"
    if blame.crossed:
        verdict = Verdict.FAIL
        if blame.cohort:
            sentence += f"; it is cohort {blame.cohort} alone"
    elif blame.log_e < CALM:
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
        sentence += f", not calm (below {e_value(CALM)})"
    return finding(TOGETHER, verdict, sentence, harm=blame.log_e, limit=blame.limit, cohort=blame.cohort, reaction=phase.on_fail)


def _comparison(gate: Gate, rollout: Rollout, evidence: Evidence, blame: _Blame) -> Finding:
    measure = MEASURES[gate.measure]
    canary, stable = _samples(measure, evidence, evidence.visit)
    harm, safe, guardrail = evidence.log_e_harm(gate.measure), evidence.log_e_safe(gate.measure), is_guardrail(gate)
    if blame.fails(gate.measure):
        verdict = Verdict.FAIL
    elif not canary.n or not stable.n or evidence.rated.is_lopsided(gate.measure):
        # Ratings that are missing where an answer is bad would make a bad canary look good.
        verdict = Verdict.NO_DATA
    else:
        verdict = Verdict.PASS if not guardrail or safe >= SAFE_LIMIT else Verdict.INCONCLUSIVE
    values, interval = _values(measure, evidence.arms, canary, stable)
    place, before = "", evidence.before
    if verdict is Verdict.FAIL and before is not None and not _is_worse(measure, values):
        # Harm goes on over the phases: one that has hardly begun would say of it that nothing was seen.
        earlier = _samples(measure, evidence, before)
        told = _values(measure, before.arms, *earlier)
        if _is_worse(measure, told[0]):
            (canary, stable), (values, interval) = earlier, told
            place = f" (of the phase before, {rollout.phases[before.phase].name})"
    numbers = f"harm E {e_value(harm)} of {e_value(blame.gate_limit(gate.measure))}"
    if guardrail:
        numbers += f", safety E {e_value(safe)} of {e_value(SAFE_LIMIT)}"
    if verdict in (Verdict.NO_DATA, Verdict.INCONCLUSIVE):
        numbers += evidence.rated.silence(gate.measure)
    estimate = None if values is None else values[0] - values[1]
    return finding(
        gate.measure,
        verdict,
        f"{_said(measure, gate, canary, stable, values, interval)}{place}; {numbers}",
        estimate=None if estimate is None else estimate * measure.scale,
        interval=None if interval is None else (interval[0] * measure.scale, interval[1] * measure.scale),
        margin=gate.margin,
        samples=(canary.n, stable.n),
        values=(_scaled(measure, values[0] if values else canary.mean), _scaled(measure, values[1] if values else stable.mean)),
        harm=harm,
        safe=safe,
        limit=blame.gate_limit(gate.measure),
        cohort=blame.cohort if verdict is Verdict.FAIL else "",
        reaction=rollout.phases[evidence.phase].on_fail,
        within=sentences.margin(gate) if guardrail else "",
    )


def _is_worse(measure: Measure, values: tuple[float, float] | None) -> bool:
    """True where there is something to compare, and the canary is the worse one."""
    if values is None:
        return False
    canary, stable = values
    return canary > stable if measure.more_is_worse else canary < stable


def _samples(measure: Measure, evidence: Evidence, visit: Visit) -> tuple[Moments, Moments]:
    """Of the deadline, unless a fault has been seen early and is not old enough for it."""
    if measure is ERRORS and evidence.capital.log_e_early() > max(CALM, evidence.capital.log_e_first(ERRORS.name)):
        return visit.early[CANARY], visit.early[STABLE]
    return evidence.seen(CANARY, measure.name, visit), evidence.seen(STABLE, measure.name, visit)


def _values(
    measure: Measure, arms: Mapping[str, ArmTotals], canary: Moments, stable: Moments
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """(canary's, stable's) value, and the interval of their difference; None where there is nothing to compare."""
    if not canary.n or not stable.n:
        return None, None
    if measure.quantile is not None:
        return quantile_interval(measure, arms[CANARY], arms[STABLE])
    assert canary.mean is not None
    assert stable.mean is not None
    return (canary.mean, stable.mean), mean_interval(canary, stable, measure.kind is Kind.EVENT)


def _scaled(measure: Measure, value: float | None) -> float | None:
    return None if value is None else value * measure.scale


def _said(
    measure: Measure,
    gate: Gate,
    canary: Moments,
    stable: Moments,
    values: tuple[float, float] | None,
    interval: tuple[float, float] | None,
) -> str:
    """The sentence up to its e-values."""
    event = measure.kind is Kind.EVENT
    if values is None or interval is None:
        counts = (sentences.rate(canary), sentences.rate(stable)) if event else (f"{canary.n:,} requests", f"{stable.n:,} requests")
        return f"{measure.name}: nothing to compare yet in this phase ({counts[0]} canary, {counts[1]} stable)"
    if event:
        both = f"canary {sentences.rate(canary)}, stable {sentences.rate(stable)}"
    else:
        both = ", ".join(
            f"{arm} {sentences.value(measure, number)} (of {seen.n:,})"
            for arm, number, seen in ((CANARY, values[0], canary), (STABLE, values[1], stable))
        )
    low, high = (sentences.difference(measure, number) for number in interval)
    change = sentences.difference(measure, values[0] - values[1], values[1] if measure.relative else None)
    return f"{measure.name}: {both}: {change} (95 % interval {low} to {high}), margin {sentences.margin(gate)}"


# -------------------------------------------------------------------------------------------------------------------- ceilings
def ceiling_name(ceiling: Ceiling) -> str:
    """What its Finding is called."""
    return f"ceiling:{ceiling.name or ceiling.measure}"


def _ceiling(index: int, ceiling: Ceiling, phase: Phase, evidence: Evidence, limit: float, culprit: str) -> Finding:
    measure, guards = MEASURES[ceiling.measure], evidence.capital.guards
    over, stable_over = guards.log_e(index, CANARY), guards.log_e(index, STABLE)
    early = measure is ERRORS and guards.log_e_early(index, CANARY) > max(CALM, guards.log_e_late(index, CANARY))
    canary, stable = ((evidence.visit.early[arm] if early else evidence.seen(arm, measure.name)) for arm in (CANARY, STABLE))
    # Where both fail, chance decides who is over first: a stable that looks over it, and is not told apart, shares the fault.
    alike = stable_over >= SUSPECT and evidence.log_e_harm(measure.name) < CALM
    both = over >= limit and (stable_over >= limit or alike)
    verdict = Verdict.FAIL if over >= limit else Verdict.PASS if canary.n else Verdict.NO_DATA
    levels = [_level(measure, evidence, arm, seen) for arm, seen in ((CANARY, canary), (STABLE, stable))]
    said = [_level_said(measure, level, seen) for level, seen in zip(levels, (canary, stable), strict=True)]
    name = ceiling.name or ceiling.measure
    sentence = f"{name}: canary {said[0]}, ceiling {sentences.value(measure, ceiling.limit)}; E {e_value(over)} of {e_value(limit)}"
    if both:
        sentence += f"; stable is over it too ({said[1]}, E {e_value(stable_over)})"
    elif culprit and verdict is Verdict.FAIL:
        sentence += f"; it is cohort {culprit} alone"
    return finding(
        ceiling_name(ceiling),
        verdict,
        sentence,
        estimate=levels[0],
        margin=ceiling.limit,
        samples=(canary.n, stable.n),
        values=(levels[0], levels[1]),
        harm=over,
        limit=limit,
        both_arms=both,
        cohort=culprit if verdict is Verdict.FAIL and not both else "",
        reaction=phase.on_fail,
    )


def _level(measure: Measure, evidence: Evidence, arm: str, seen: Moments) -> float | None:
    """What of an arm is beside a ceiling: its quantile or its mean; None where it has none."""
    return seen.mean if measure.quantile is None or not seen.n else quantile(measure, evidence.arms[arm])


def _level_said(measure: Measure, level: float | None, seen: Moments) -> str:
    if measure.kind is Kind.EVENT:
        return sentences.rate(seen)
    if level is None:
        return f"nothing that has ended (of {seen.n:,})" if seen.n else "no request"
    return f"{sentences.value(measure, level)}{' on average' if measure.quantile is None else ''} (of {seen.n:,})"


# --------------------------------------------------------------------------------------------------------------------- metrics
def _metric(metric: MetricGate, found: float | None) -> Finding:
    side = "at most" if metric.more_is_worse else "at least"
    if found is None or math.isnan(found):
        sentence = f"metric {metric.name}: no value could be read; {side} {metric.bound:g} is asked for"
        return finding(f"metric:{metric.name}", Verdict.NO_DATA, sentence, margin=metric.bound)
    broken = found > metric.bound if metric.more_is_worse else found < metric.bound
    return finding(
        f"metric:{metric.name}",
        Verdict.FAIL if broken else Verdict.PASS,
        f"metric {metric.name}: {found:g}, {side} {metric.bound:g} is asked for",
        estimate=found,
        margin=metric.bound,
        values=(found, None),
        reaction=Reaction.ROLL_BACK if metric.rolls_back else Reaction.HOLD,
    )


def _sample_ratio(ratio: SampleRatio) -> Finding:
    log_e, counts = ratio.log_e(), ratio.counts()
    both = zip(("canary", "control", "rest"), counts, ratio.expected(), strict=True)
    said = ", ".join(f"{arm} {count:,} ({planned:,.0f} planned)" for arm, count, planned in both)
    sentence = f"sample ratio: {said}; E {e_value(log_e)} of {e_value(LOG_LIMIT)}"
    if log_e >= LOG_LIMIT:
        where = " at ".join(part for part in ratio.worst() if part)
        sentence += f": units do not fall as planned{f' ({where})' if where else ''}, no comparison can be believed"
    return finding(
        SAMPLE_RATIO,
        Verdict.FAIL if log_e >= LOG_LIMIT else Verdict.PASS,
        sentence,
        samples=(counts[0], counts[1] + counts[2]),
        harm=log_e,
        limit=LOG_LIMIT,
        reaction=Reaction.HOLD,
    )
