"""evaluate: each verdict with its numbers and its exact sentence."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from extproc.domain import Arm, Ceiling, Finding, Gate, MetricGate, Outcome, Reaction, Rollout, Verdict
from extproc.measures import MEASURES
from extproc.release import Evidence, evaluate, harm_limit, waiting_for
from extproc.release.eprocess import ceiling_log_e
from extproc.release.gate import CALM, SAFE_LIMIT, weights
from tests.support.outcomes import outcome, show, traffic
from tests.support.specs import cohort, rollout

ROLLOUT = rollout(cohorts=(cohort("everyone"),))
PHASE_25, PHASE_100 = 2, 4


def seen(
    seconds: int,
    canary_errors: float = 0.0,
    errors: float = 0.0,
    share: float = 0.25,
    given: Rollout = ROLLOUT,
    phase: int = PHASE_25,
    attempt: int = 1,
) -> Evidence:
    """A visit with this traffic, 100 requests a second."""
    evidence = Evidence(given, 8.0, attempt)
    evidence.begin_visit(2, phase)
    if seconds:
        show(evidence, traffic(seconds, share, canary_errors=canary_errors, errors=errors))
    return evidence


def findings(evidence: Evidence, given: Rollout = ROLLOUT) -> tuple[Finding, Finding]:
    found = {finding.gate: finding for finding in evaluate(given, evidence)}
    assert {"errors", "together", "ceiling:errors"} <= set(found)
    return found["errors"], found["ceiling:errors"]


# ------------------------------------------------------------------------------------------------------------------- sentences


def test_the_sentence_of_a_pass() -> None:
    """Shown to be within the margin."""
    comparison, ceiling = findings(seen(60))
    assert comparison.verdict is Verdict.PASS
    assert comparison.sentence == (
        "errors: canary 0.00% (0 of 1,500), stable 0.00% (0 of 4,500): +0.00 pp (95 % interval -0.15 pp to +0.15 pp), margin +1.00 pp; "
        "harm E 1 of 20, safety E 73876 of 20"
    )
    assert ceiling.verdict is Verdict.PASS
    assert ceiling.sentence == "errors: canary 0.00% (0 of 1,500), ceiling 5.00%; E 0.31 of 20"


def test_the_sentence_of_a_fail() -> None:
    """Worse than stable, and over the ceiling."""
    comparison, ceiling = findings(seen(20, canary_errors=0.2))
    assert comparison.verdict is Verdict.FAIL
    assert comparison.sentence == (
        "errors: canary 20.00% (100 of 500), stable 0.00% (0 of 1,500): +20.00 pp (95 % interval +14.48 pp to +25.52 pp), margin +1.00 pp; "
        "harm E 10^57 of 20, safety E 0.32 of 20"
    )
    assert ceiling.verdict is Verdict.FAIL
    assert ceiling.sentence == "errors: canary 20.00% (100 of 500), ceiling 5.00%; E 10^28 of 20"
    assert not ceiling.both_arms


def test_the_sentence_of_an_inconclusive() -> None:
    """Neither shown to be harmful nor shown to be safe."""
    comparison, _ = findings(seen(10))
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert comparison.sentence == (
        "errors: canary 0.00% (0 of 250), stable 0.00% (0 of 750): +0.00 pp (95 % interval -0.97 pp to +0.97 pp), margin +1.00 pp; "
        "harm E 1 of 20, safety E 2.2 of 20"
    )


def test_the_sentences_of_no_data() -> None:
    """Nothing has been looked at yet."""
    comparison, ceiling = findings(seen(0))
    assert comparison.verdict is ceiling.verdict is Verdict.NO_DATA
    assert (
        comparison.sentence
        == "errors: nothing to compare yet in this phase (no request canary, no request stable); harm E 1 of 20, safety E 1 of 20"
    )
    assert ceiling.sentence == "errors: canary no request, ceiling 5.00%; E 1 of 20"


def test_the_sentence_of_an_incident_in_both_arms() -> None:
    """Stable is over the ceiling too: no comparison fails, and the ceiling says whose fault it is not."""
    comparison, ceiling = findings(seen(20, canary_errors=0.5, errors=0.5))
    assert comparison.verdict is not Verdict.FAIL
    assert (ceiling.verdict, ceiling.both_arms) == (Verdict.FAIL, True)
    assert ceiling.sentence == (
        "errors: canary 50.00% (250 of 500), ceiling 5.00%; E 10^177 of 20; stable is over it too (50.00% (750 of 1,500), E 10^533)"
    )


# -------------------------------------------------------------------------------------------------------------------- verdicts
def test_a_stable_that_is_only_suspect_is_no_excuse() -> None:
    """Stable looks over the ceiling too, but its e-value has not reached the limit: the canary alone is over it, and is rolled back."""
    comparison, ceiling = findings(seen(3, canary_errors=0.5, errors=0.1, share=0.5))
    assert comparison.stable_value == pytest.approx(0.1)
    assert 0.0 < ceiling_log_e(15, 150, 0.05) < harm_limit(ROLLOUT, 1)
    assert comparison.log_e_harm >= CALM
    assert "stable is over it too" not in ceiling.sentence
    assert (ceiling.verdict, ceiling.both_arms) == (Verdict.FAIL, False)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_requests_in_both_arms_there_is_no_verdict(share: float) -> None:
    """No data is neither a pass nor a failure, on whichever side it is missing."""
    comparison, ceiling = findings(seen(60, share=share))
    assert comparison.verdict is Verdict.NO_DATA
    assert (comparison.estimate, comparison.interval) == (None, None)
    assert ceiling.verdict is (Verdict.PASS if share else Verdict.NO_DATA)
    assert (comparison.canary_value is None) == (share == 0.0)
    assert (comparison.stable_value is None) == (share == 1.0)


def test_harm_is_found_in_a_visit_without_data() -> None:
    """Harm is remembered over the attempt: a new phase that has seen nothing yet still fails, and tells what was seen before it."""
    evidence = seen(20, canary_errors=0.3)
    there = findings(evidence)[0].sentence
    evidence.begin_visit(3, PHASE_25 + 1)
    comparison, ceiling = findings(evidence)
    assert comparison.verdict is Verdict.FAIL
    told = there.replace("margin +1.00 pp", "margin +1.00 pp (of the phase before, 25%)")
    assert comparison.sentence == told.replace("safety E 0.29 of 20", "safety E 1 of 20")
    assert (comparison.canary_samples, comparison.canary_value) == (500, 0.3)
    assert ceiling.verdict is Verdict.NO_DATA
    assert findings(Evidence.from_json(ROLLOUT, 8.0, json.loads(json.dumps(evidence.to_json())), 0.0))[0] == comparison


def test_harm_is_told_of_the_visit_in_which_it_is_seen() -> None:
    """Good answers of a new phase do not stand beside an E-value that they contradict; where it is worse there too, the phase is told."""
    evidence = seen(20, canary_errors=0.3)
    evidence.begin_visit(3, PHASE_25 + 1)
    for begin, errors, said in ((2000.0, 0.0, "canary 30.00% (150 of 500)"), (4000.0, 0.1, "canary 9.09% (10 of 110)")):
        show(
            evidence,
            [replace(one, start=one.start + begin, generation=3) for one in traffic(2 if errors else 0.2, 0.5, canary_errors=errors)],
        )
        assert said in findings(evidence)[0].sentence


def test_harm_of_this_phase_is_not_told_of_a_healthy_one_before() -> None:
    """However much more that one has seen."""
    evidence = seen(60)
    evidence.begin_visit(3, PHASE_25 + 1)
    show(evidence, [replace(one, start=one.start + 2000.0, generation=3) for one in traffic(2, 0.5, canary_errors=0.5)])
    comparison = findings(evidence)[0]
    assert comparison.verdict is Verdict.FAIL
    assert comparison.sentence.startswith("errors: canary 50.00% (50 of 100), stable 0.00% (0 of 100)")


def test_safe_but_not_calm_does_not_pass() -> None:
    """Within a wide margin, and yet worse than stable with E of harm between 5 and its limit: it waits."""
    wide = rollout(
        phases=tuple(replace(phase, gates=(replace(phase.gates[0], margin=0.3),), ceilings=()) for phase in ROLLOUT.phases), alpha=1e-9
    )
    evidence = seen(6, canary_errors=0.03, given=wide)
    found = {finding.gate: finding for finding in evaluate(wide, evidence)}
    assert found["errors"].verdict is Verdict.PASS
    assert found["errors"].log_e_safe >= SAFE_LIMIT
    together = found["together"]
    assert CALM <= together.log_e_harm < harm_limit(wide, 1)
    assert together.verdict is Verdict.INCONCLUSIVE
    assert any(wish.startswith("calm (harm E ") for wish in waiting_for(wide.phases[PHASE_25], [together], evidence))


@pytest.mark.parametrize(("attempt", "limit"), [(1, 20.0), (2, 40.0), (3, 80.0), (5, 320.0)])
def test_each_attempt_has_half_of_the_alpha_before(attempt: int, limit: float) -> None:
    """alpha * 2^-(k-1): all attempts together spend at most twice alpha."""
    assert math.exp(harm_limit(ROLLOUT, attempt)) == pytest.approx(limit)
    assert f"of {limit:.0f}, safety" in findings(seen(1, attempt=attempt))[0].sentence


def test_a_later_attempt_needs_more_evidence() -> None:
    """What rolls back the first attempt leaves the eighth undecided."""
    given = rollout(phases=tuple(replace(phase, ceilings=()) for phase in ROLLOUT.phases))
    first, *_ = evaluate(given, seen(5, canary_errors=0.06, given=given))
    eighth, *_ = evaluate(given, seen(5, canary_errors=0.06, given=given, attempt=8))
    assert first.log_e_harm == eighth.log_e_harm
    assert (first.verdict, eighth.verdict) == (Verdict.FAIL, Verdict.INCONCLUSIVE)


def test_a_fault_is_seen_before_its_deadline() -> None:
    """Two seconds after the first failures the early age says so, with its own counts, though none is 8 s old."""
    evidence = Evidence(ROLLOUT, 8.0)
    evidence.begin_visit(2, PHASE_25)
    for one in traffic(2, 0.25, canary_errors=1.0):
        evidence.observe(one, 102.0)
    evidence.advance(103.5)
    comparison, ceiling = findings(evidence)
    assert evidence.seen("canary", "errors").n == 0
    assert comparison.verdict is ceiling.verdict is Verdict.FAIL
    assert comparison.canary_samples == ceiling.canary_samples == 50
    assert (comparison.canary_value, comparison.stable_value) == (1.0, 0.0)


def test_where_both_fail_chance_does_not_decide_who_is_to_blame() -> None:
    """At 50 % both fail totally, and after few requests the canary's e-value is the first to cross. Stable's is on its way, and no
    comparison tells the two apart: an incident, not a rollback."""
    one = Evidence(ROLLOUT, 8.0)
    one.begin_visit(2, 3)
    made = [outcome(number, 100 + number / 10, number != 1, True) for number in range(4)]
    show(one, made)
    _, ceiling = findings(one)
    assert one.capital.guards.log_e(0, "stable") < harm_limit(ROLLOUT, 1) <= one.capital.guards.log_e(0, "canary")
    assert (ceiling.verdict, ceiling.both_arms) == (Verdict.FAIL, True)


def test_the_last_phase_without_holdback_stands_on_its_ceilings() -> None:
    """Nobody is left to compare with, and the ceiling alone fails it."""
    evidence = seen(20, canary_errors=0.3, share=1.0, phase=PHASE_100)
    (ceiling,) = evaluate(ROLLOUT, evidence)
    assert (ceiling.gate, ceiling.verdict, ceiling.both_arms) == ("ceiling:errors", Verdict.FAIL, False)


@pytest.mark.parametrize(("canary_errors", "errors"), [(0.0, 0.0), (0.05, 0.01), (0.5, 0.0), (1.0, 1.0)])
def test_the_interval_contains_the_estimate_and_shrinks(canary_errors: float, errors: float) -> None:
    """From 10 s to 100 s of traffic, inside [-1, 1]."""
    before = math.inf
    for seconds in (10, 30, 100):
        comparison, _ = findings(seen(seconds, canary_errors, errors))
        assert comparison.estimate is not None
        assert comparison.interval is not None
        low, high = comparison.interval
        assert -1 <= low <= comparison.estimate <= high <= 1
        assert comparison.estimate == pytest.approx(canary_errors - errors, abs=0.01)
        assert high - low < before
        before = high - low


def test_findings_come_in_the_order_written() -> None:
    """Comparisons, all together, sample ratio, ceilings."""
    given = rollout(
        phases=tuple(replace(phase, ceilings=(*phase.ceilings, replace(phase.ceilings[0], limit=0.5))) for phase in ROLLOUT.phases)
    )
    evidence = seen(10, canary_errors=0.3, given=given)
    comparison, together, ratio, low, high = evaluate(given, evidence)
    assert [low.margin, high.margin] == [0.05, 0.5]
    assert (together.verdict, ratio.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert (comparison.verdict, low.verdict, high.verdict) == (Verdict.FAIL, Verdict.FAIL, Verdict.PASS)


# ------------------------------------------------------------------------------------------------------------------- together
def gated(names: dict[str, float], **changes: Any) -> Rollout:
    """A rollout with gates of these weights in every phase."""
    phases = tuple(
        replace(phase, gates=tuple(Gate(name, MEASURES[name].margin(2), weight) for name, weight in names.items()), ceilings=())
        for phase in ROLLOUT.phases
    )
    return replace(ROLLOUT, phases=phases, **changes)


def shown(given: Rollout, made: Sequence[Outcome], phase: int = PHASE_25) -> dict[str, Finding]:
    one = Evidence(given, 8.0)
    one.begin_visit(2, phase)
    show(one, made)
    return {finding.gate: finding for finding in evaluate(given, one)}


def test_all_comparisons_have_one_alpha_between_them() -> None:
    """E together is the mean of the e-values by weight; what a gate alone needs is said with it."""
    found = shown(gated({"errors": 0.8, "latency_mean": 0.2}), traffic(20, 0.25, canary_errors=0.02))
    together = 0.8 * math.exp(found["errors"].log_e_harm) + 0.2 * math.exp(found["latency_mean"].log_e_harm)
    assert math.exp(found["together"].log_e_harm) == pytest.approx(together)
    assert math.exp(found["errors"].log_e_limit) == pytest.approx(25)
    assert math.exp(found["latency_mean"].log_e_limit) == pytest.approx(100)
    assert found["together"].sentence.startswith("all comparisons together: harm E ")


def test_the_gate_that_crossed_is_named_and_the_others_are_not() -> None:
    """Errors fail; latency, which is the same in both arms, does not."""
    found = shown(gated({"errors": 0.5, "latency_mean": 0.5}), traffic(20, 0.25, canary_errors=0.4))
    assert (found["errors"].verdict, found["together"].verdict) == (Verdict.FAIL, Verdict.FAIL)
    assert found["latency_mean"].verdict is not Verdict.FAIL


def test_weights_are_the_same_in_every_phase() -> None:
    """A weight that moved with the phases would move capital to where it had just grown: alpha would be spent twice."""
    phases = [
        replace(ROLLOUT.phases[0], gates=gates)
        for gates in (
            (Gate("errors", 0.05, 1.0),),
            (Gate("errors", 0.01, 0.5), Gate("cost", 0.2, 0.5)),
            (),
        )
    ]
    given = replace(ROLLOUT, phases=tuple(phases))
    assert weights(given) == {"errors": 0.75, "cost": 0.25}


def test_a_measure_that_only_guards_passes_without_evidence_of_safety() -> None:
    """A p99 within the margin would take ten times the requests; unless the Spec asks for it."""
    plain = gated({"errors": 0.5, "latency_p99": 0.5})
    found = shown(plain, traffic(20, 0.25))
    assert (found["latency_p99"].verdict, found["latency_p99"].within) == (Verdict.PASS, "")
    asked = replace(
        plain,
        phases=tuple(
            replace(phase, gates=tuple(replace(gate, guardrail=gate.measure != "errors") for gate in phase.gates)) for phase in plain.phases
        ),
    )
    found = shown(asked, traffic(20, 0.25))
    assert (found["latency_p99"].verdict, found["latency_p99"].within) == (Verdict.INCONCLUSIVE, "+10%")
    assert (found["errors"].verdict, found["errors"].within) == (Verdict.PASS, "")


@pytest.mark.parametrize(("name", "passes"), [("latency_p95", True), ("latency_mean", True), ("output_rate", True)])
def test_safety_can_be_shown_of_each_kind(name: str, passes: bool) -> None:
    """Long enough, and with a canary that is no worse."""
    given = gated({name: 1.0})
    given = replace(given, phases=tuple(replace(p, gates=(replace(p.gates[0], guardrail=True, margin=0.5),)) for p in given.phases))
    draw = random.Random(5)
    made = [replace(one, duration=draw.lognormvariate(-1, 0.5)) for one in traffic(100, 0.25)]
    assert (shown(given, made)[name].verdict is Verdict.PASS) is passes
    slower = [replace(one, duration=one.duration * (1.9 if one.arm is Arm.CANARY else 1.0)) for one in made]
    found = shown(given, slower)[name]
    assert found.verdict is Verdict.FAIL
    assert found.log_e_safe < SAFE_LIMIT


# -------------------------------------------------------------------------------------------------------------------- cohorts
THREE = replace(ROLLOUT, cohorts=(cohort("de"), cohort("nz"), cohort("us")))


def by_cohort(seconds: int, errors: dict[str, float], parts: dict[str, float]) -> list[Outcome]:
    """Traffic of three cohorts with these parts, each with its own errors of the canary."""
    draw = random.Random(3)
    names, cuts = list(parts), list(parts.values())
    made = []
    for one in traffic(seconds, 0.25):
        name = draw.choices(names, cuts)[0]
        made.append(replace(one, cohort=name, failed=one.arm is Arm.CANARY and draw.random() < errors.get(name, 0.0)))
    return made


def test_one_country_that_fails_goes_back_alone() -> None:
    """A fifth of the traffic, and only there: that cohort is named, and everybody else is said to be well."""
    found = shown(THREE, by_cohort(60, {"nz": 0.8}, {"de": 0.4, "nz": 0.2, "us": 0.4}))
    assert (found["together"].verdict, found["together"].cohort) == (Verdict.FAIL, "nz")
    assert found["together"].sentence.endswith("; it is cohort nz alone")
    assert (found["errors"].verdict, found["errors"].cohort) == (Verdict.FAIL, "nz")
    ceiling = found["ceiling:errors"]
    assert (ceiling.verdict, ceiling.cohort, ceiling.both_arms) == (Verdict.FAIL, "nz", False), "its fault breaks the ceiling of all"
    assert ceiling.sentence.endswith("; it is cohort nz alone")


def test_a_fault_of_all_cohorts_is_nobodys_alone() -> None:
    """Everywhere: all the way back."""
    found = shown(THREE, by_cohort(30, {"de": 0.5, "nz": 0.5, "us": 0.5}, {"de": 0.4, "nz": 0.2, "us": 0.4}))
    assert (found["together"].verdict, found["together"].cohort) == (Verdict.FAIL, "")
    assert (found["ceiling:errors"].verdict, found["ceiling:errors"].cohort) == (Verdict.FAIL, "")


def test_where_most_fail_the_few_others_are_no_proof() -> None:
    """Nearly everybody is in one cohort, and it fails: that the others have not failed yet says little, so all go back."""
    found = shown(THREE, by_cohort(30, {"us": 0.5}, {"de": 0.01, "nz": 0.01, "us": 0.98}))
    assert (found["together"].verdict, found["together"].cohort) == (Verdict.FAIL, "")


def test_a_small_cohort_counts_with_half_of_alpha() -> None:
    """Alpha is split between everybody and each cohort: what everybody together needs is twice as much, and it is said."""
    found = shown(THREE, by_cohort(10, {}, {"de": 0.4, "nz": 0.2, "us": 0.4}))
    assert math.exp(found["errors"].log_e_limit) == pytest.approx(40)
    assert math.exp(found["together"].log_e_limit) == pytest.approx(20)


# ------------------------------------------------------------------------------------------- ceilings, metrics, sample ratio
def guarded(*ceilings: Ceiling) -> Rollout:
    return replace(ROLLOUT, phases=tuple(replace(phase, ceilings=ceilings) for phase in ROLLOUT.phases))


@pytest.mark.parametrize(
    ("ceiling", "bad", "good", "sentence"),
    [
        (
            Ceiling("latency_p95", 2.0),
            {"duration": 3.0},
            {"duration": 1.0},
            "latency_p95: canary 3.028 s (of 1,500), ceiling 2.000 s",
        ),
        (
            Ceiling("ttft_mean", 0.5, "first token"),
            {"ttft": 0.9},
            {"ttft": 0.3},
            "first token: canary 0.900 s on average (of 1,500), ceiling 0.500 s",
        ),
        (Ceiling("throttled", 0.1), {"throttled": True}, {}, "throttled: canary 100.00% (1,500 of 1,500), ceiling 10.00%"),
        (
            Ceiling("output_tokens", 100.0),
            {"output_tokens": 150},
            {"output_tokens": 90},
            "output_tokens: canary 150.0 on average (of 1,500), ceiling 100.0",
        ),
    ],
)
def test_every_kind_of_ceiling_fires(ceiling: Ceiling, bad: dict[str, Any], good: dict[str, Any], sentence: str) -> None:
    """Canary alone, both, nobody; in one phase, by name."""
    given, name = guarded(ceiling), f"ceiling:{ceiling.name or ceiling.measure}"
    for canary, stable, expected in (
        (bad, good, (Verdict.FAIL, False)),
        (bad, bad, (Verdict.FAIL, True)),
        (good, good, (Verdict.PASS, False)),
    ):
        made = [replace(one, **(canary if one.arm is Arm.CANARY else stable)) for one in traffic(60, 0.25)]
        found = shown(given, made)[name]
        assert (found.verdict, found.both_arms) == expected
        if canary is bad:
            assert found.sentence.startswith(sentence)


def test_a_ceiling_of_a_quantile_tells_the_quantile() -> None:
    """A tenth is slow: the mean is far below the limit that the p95 exceeds. What has not ended yet has no quantile."""
    given = guarded(Ceiling("latency_p95", 2.0))
    made = [replace(one, duration=3.0 if one.arm is Arm.CANARY and not index % 11 else 0.5) for index, one in enumerate(traffic(60, 0.5))]
    found = shown(given, made)["ceiling:latency_p95"]
    assert found.verdict is Verdict.FAIL
    assert found.sentence.startswith("latency_p95: canary 3.028 s (of ")
    assert (found.canary_value, found.stable_value) == (found.estimate, pytest.approx(0.5, rel=0.02))
    hung = [replace(one, duration=1.0, final=False) for one in traffic(20, 0.5)]
    assert "canary nothing that has ended (of " in shown(given, hung)["ceiling:latency_p95"].sentence


def test_a_metric_has_a_bound_and_no_value_is_no_pass() -> None:
    """Above, below, within, missing, not a number; what a broken one does is declared."""
    metrics = (MetricGate("revenue", "q", 100.0, more_is_worse=False), MetricGate("queue", "q", 5.0, rolls_back=True))
    given = replace(ROLLOUT, phases=tuple(replace(phase, metrics=metrics) for phase in ROLLOUT.phases))
    one = seen(0)

    def read(**values: float | None) -> dict[str, Finding]:
        return {finding.gate: finding for finding in evaluate(given, one, values) if finding.gate.startswith("metric:")}

    assert {finding.verdict for finding in read().values()} == {Verdict.NO_DATA}
    assert {finding.verdict for finding in read(revenue=None, queue=math.nan).values()} == {Verdict.NO_DATA}
    assert {finding.verdict for finding in read(revenue=100.0, queue=5.0).values()} == {Verdict.PASS}
    broken = read(revenue=99.0, queue=6.0)
    assert [(finding.verdict, finding.reaction) for finding in broken.values()] == [
        (Verdict.FAIL, Reaction.HOLD),
        (Verdict.FAIL, Reaction.ROLL_BACK),
    ]
    assert broken["metric:revenue"].sentence == "metric revenue: 99, at least 100 is asked for"
    assert broken["metric:queue"].sentence == "metric queue: 6, at most 5 is asked for"


def test_units_that_do_not_fall_as_planned_hold() -> None:
    """25 % are planned and 30 % came: no comparison can be believed, and where it is, is said."""
    found = shown(ROLLOUT, traffic(60, 0.30))["sample_ratio"]
    assert (found.verdict, found.reaction) == (Verdict.FAIL, Reaction.HOLD)
    assert found.sentence.startswith(
        "sample ratio: canary 1,800 (1,500 planned), control 1,800 (1,500 planned), rest 2,400 (3,000 planned); E 10^"
    )
    assert found.sentence.endswith("units do not fall as planned (everyone), no comparison can be believed")
    assert shown(ROLLOUT, traffic(60, 0.25))["sample_ratio"].verdict is Verdict.PASS


# ----------------------------------------------------------------------------------------------------------------- waiting for
def test_what_is_waited_for_before_anything_came() -> None:
    """Every wish, in words."""
    evidence = seen(0)
    evidence.watch(0.5)
    assert waiting_for(ROLLOUT.phases[PHASE_25], evaluate(ROLLOUT, evidence), evidence) == (
        "1 min 00 s more of watched time",
        "50 more distinct canary units",
        "100 more canary requests",
        "data for errors",
        "data for ceiling:errors",
    )


def test_what_is_waited_for_while_evidence_grows() -> None:
    """The dwell is over, the minimums are met, safety is not shown."""
    evidence = seen(10)
    evidence.watch(60.0)
    wishes = waiting_for(ROLLOUT.phases[PHASE_25], evaluate(ROLLOUT, evidence), evidence)
    assert wishes == ("evidence that errors stays within +1.00 pp (safety E 2.2 of 20)",)


def test_nothing_is_waited_for_when_everything_is_there() -> None:
    """The way is free."""
    evidence = seen(60)
    evidence.watch(60.0)
    assert waiting_for(ROLLOUT.phases[PHASE_25], evaluate(ROLLOUT, evidence), evidence) == ()


@pytest.mark.parametrize(
    ("missing", "said"),
    [(0.2, "1 s"), (59.0, "59 s"), (60.0, "1 min 00 s"), (3599.5, "1 h 00 min"), (5400.0, "1 h 30 min"), (90000.0, "25 h 00 min")],
)
def test_durations_are_said_as_people_say_them(missing: float, said: str) -> None:
    """Rounded up: it never says 0 s while it waits."""
    phase = replace(ROLLOUT.phases[PHASE_25], min_dwell=missing, min_units=0, min_requests=0)
    assert waiting_for(phase, (), seen(0)) == (f"{said} more of watched time",)
