"""evaluate: each verdict with its numbers and its exact sentence."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from extproc.domain import Finding, Rollout, Verdict
from extproc.release import Evidence, evaluate, harm_limit, waiting_for
from extproc.release.eprocess import ceiling_log_e
from extproc.release.gate import CALM, SAFE_LIMIT
from tests.support.outcomes import show, traffic
from tests.support.specs import rollout

ROLLOUT = rollout()
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
    comparison, ceiling = evaluate(given, evidence)
    assert (comparison.gate, ceiling.gate) == ("errors", "ceiling:errors")
    return comparison, ceiling


# ------------------------------------------------------------------------------------------------------------------- sentences


def test_the_sentence_of_a_pass() -> None:
    """Shown to be within the margin."""
    comparison, ceiling = findings(seen(60))
    assert comparison.verdict is Verdict.PASS
    assert comparison.sentence == (
        "errors: canary 0.00% (0 of 1,500), stable 0.00% (0 of 4,500): +0.00 pp (95 % interval -0.15 pp to +0.15 pp), margin +1.00 pp; "
        "harm E 1 of 20, safety E 98500 of 20"
    )
    assert ceiling.verdict is Verdict.PASS
    assert ceiling.sentence == "errors: canary 0.00% (0 of 1,500), ceiling 5.00%; E 3.5e-08 of 20"


def test_the_sentence_of_a_fail() -> None:
    """Worse than stable, and over the ceiling."""
    comparison, ceiling = findings(seen(20, canary_errors=0.2))
    assert comparison.verdict is Verdict.FAIL
    assert comparison.sentence == (
        "errors: canary 20.00% (100 of 500), stable 0.00% (0 of 1,500): +20.00 pp (95 % interval +14.48 pp to +25.52 pp), margin +1.00 pp; "
        "harm E 10^58 of 20, safety E 0.093 of 20"
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
        "harm E 1 of 20, safety E 2.6 of 20"
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
        "errors: canary 50.00% (250 of 500), ceiling 5.00%; E 10^177 of 20; stable is over it too (50.00% (750 of 1,500), E 10^534)"
    )


# -------------------------------------------------------------------------------------------------------------------- verdicts
def test_a_stable_that_is_only_suspect_is_no_excuse() -> None:
    """Stable looks over the ceiling too, but its e-value has not reached the limit: the canary alone is over it, and is rolled back."""
    comparison, ceiling = findings(seen(3, canary_errors=0.5, errors=0.1, share=0.5))
    assert comparison.stable_value == pytest.approx(0.1)
    assert 0.0 < ceiling_log_e(15, 150, 0.05) < harm_limit(ROLLOUT, 1)
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
    """Harm is remembered over the attempt: a new phase that has seen nothing yet still fails."""
    evidence = seen(20, canary_errors=0.3)
    evidence.begin_visit(3, PHASE_25 + 1)
    comparison, ceiling = findings(evidence)
    assert comparison.verdict is Verdict.FAIL
    assert comparison.canary_samples == 0
    assert ceiling.verdict is Verdict.NO_DATA


def test_safe_but_not_calm_does_not_pass() -> None:
    """Within a wide margin, and yet worse than stable with E of harm between 5 and its limit: it waits."""
    wide = rollout(
        phases=tuple(replace(phase, gates=(replace(phase.gates[0], margin=0.3),), ceilings=()) for phase in ROLLOUT.phases), alpha=1e-9
    )
    evidence = seen(6, canary_errors=0.02, given=wide)
    (comparison,) = evaluate(wide, evidence)
    assert comparison.log_e_safe >= SAFE_LIMIT
    assert CALM <= comparison.log_e_harm < harm_limit(wide, 1)
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert any(wish.startswith("calm (safety E ") for wish in waiting_for(wide.phases[PHASE_25], [comparison], evidence))


@pytest.mark.parametrize(("attempt", "limit"), [(1, 20.0), (2, 40.0), (3, 80.0), (5, 320.0)])
def test_each_attempt_has_half_of_the_alpha_before(attempt: int, limit: float) -> None:
    """alpha * 2^-(k-1): all attempts together spend at most twice alpha."""
    assert math.exp(harm_limit(ROLLOUT, attempt)) == pytest.approx(limit)
    assert f"of {limit:.0f}, safety" in findings(seen(1, attempt=attempt))[0].sentence


def test_a_later_attempt_needs_more_evidence() -> None:
    """What rolls back the first attempt leaves the eighth undecided."""
    given = rollout(phases=tuple(replace(phase, ceilings=()) for phase in ROLLOUT.phases))
    (first,) = evaluate(given, seen(5, canary_errors=0.06, given=given))
    (eighth,) = evaluate(given, seen(5, canary_errors=0.06, given=given, attempt=8))
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
    assert evidence.late.canary.requests == 0
    assert comparison.verdict is ceiling.verdict is Verdict.FAIL
    assert comparison.canary_samples == ceiling.canary_samples == 50
    assert (comparison.canary_value, comparison.stable_value) == (1.0, 0.0)


def test_the_last_phase_without_holdback_stands_on_its_ceilings() -> None:
    """Nobody is left to compare with, and the ceiling alone fails it."""
    evidence = seen(20, canary_errors=0.3, share=1.0, phase=PHASE_100)
    (ceiling,) = evaluate(ROLLOUT, evidence)
    assert (ceiling.gate, ceiling.verdict, ceiling.both_arms) == ("ceiling:errors", Verdict.FAIL, False)


@pytest.mark.parametrize(("canary_errors", "errors"), [(0.0, 0.0), (0.05, 0.01), (0.5, 0.0), (1.0, 1.0)])
def test_the_interval_contains_the_estimate_and_shrinks(canary_errors: float, errors: float) -> None:
    """From 10 s to 300 s of traffic, inside [-1, 1]."""
    before = math.inf
    for seconds in (10, 60, 300):
        comparison, _ = findings(seen(seconds, canary_errors, errors))
        assert comparison.estimate is not None
        assert comparison.interval is not None
        low, high = comparison.interval
        assert -1 <= low <= comparison.estimate <= high <= 1
        assert comparison.estimate == pytest.approx(canary_errors - errors, abs=0.01)
        assert high - low < before
        before = high - low


def test_findings_come_in_the_order_written() -> None:
    """Gates first, then ceilings."""
    given = rollout(
        phases=tuple(replace(phase, ceilings=(*phase.ceilings, replace(phase.ceilings[0], limit=0.5))) for phase in ROLLOUT.phases)
    )
    evidence = seen(10, canary_errors=0.3, given=given)
    comparison, low, high = evaluate(given, evidence)
    assert [low.margin, high.margin] == [0.05, 0.5]
    assert (comparison.verdict, low.verdict, high.verdict) == (Verdict.FAIL, Verdict.FAIL, Verdict.PASS)


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
    assert wishes == ("evidence that errors are within +1.00 pp (safety E 2.6 of 20, harm E 1)",)


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
