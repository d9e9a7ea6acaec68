"""Evidence: what is looked at, when, and what it is compared with."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.domain import Arm, Phase, Rollout, Verdict
from extproc.release import Evidence, evaluate, waiting_for
from extproc.release.evidence import EARLY, GRACE
from tests.support.outcomes import outcome, show, traffic
from tests.support.specs import cohort, rollout

DEADLINE = 8.0
ROLLOUT = rollout()
PHASE_5, PHASE_25, PHASE_50, PHASE_100 = 1, 2, 3, 4


def evidence(phase: int = PHASE_5, given: Rollout = ROLLOUT, deadline: float = DEADLINE) -> Evidence:
    """The visit that `outcome` belongs to."""
    made = Evidence(given, deadline)
    made.begin_visit(2, phase)
    return made


def counted(one: Evidence) -> tuple[int, int, int, int]:
    """Canary requests and failures, stable requests and failures at the deadline."""
    late = one.late
    return late.canary.requests, late.canary.failures, late.stable.requests, late.stable.failures


def harm(one: Evidence) -> tuple[float, float]:
    return one.early.log_e_harm(), one.late.log_e_harm()


# ------------------------------------------------------------------------------------------------------------------- maturity
@pytest.mark.parametrize(("age", "entered"), [(EARLY, True), (DEADLINE, True)])
def test_a_request_is_looked_at_at_two_fixed_ages(age: float, entered: bool) -> None:
    """Not when it ends: it ended after 0.2 s, and nothing is counted until its age, plus the grace for its entry, is reached."""
    one = evidence()
    one.observe(outcome(failed=True), 100.2)
    maturity = one.early if age == EARLY else one.late
    one.advance(100.0 + age + GRACE - 0.01)
    assert maturity.canary.requests == 0
    one.advance(100.0 + age + GRACE + 0.01)
    assert (maturity.canary.requests, maturity.canary.failures) == (1, 1)
    one.advance(100.0 + age + GRACE + 500.0)
    assert maturity.canary.requests == 1, "once"


@pytest.mark.parametrize(
    ("ended", "failed", "early", "late"),
    [
        (0.2, True, 1, 1),
        (0.2, False, 0, 0),
        (1.0, True, 1, 1),
        (3.0, True, 0, 1),
        (3.0, False, 0, 0),
        (8.0, False, 0, 0),
        (8.1, False, 0, 1),
        (9.0, True, 0, 1),
    ],
)
def test_what_an_age_sees(ended: float, failed: bool, early: int, late: int) -> None:
    """Failed by then; at the deadline a request that was still open has failed, however well it ended later."""
    one = evidence()
    show(one, [outcome(failed=failed, duration=ended)])
    assert (one.early.canary.failures, one.late.canary.failures) == (early, late)
    assert (one.early.canary.requests, one.late.canary.requests) == (1, 1)


def test_failing_fast_is_no_worse_than_failing_slowly() -> None:
    """Equal rates of 2 %, every canary request ends after 0.1 s and every stable one after 7 s. Measured as the share of 30 releases of
    6,000 requests whose E at the deadline ever reaches 50, looked at each second: at most 1 (batching by completion gave 61 %)."""
    draw = random.Random(4)
    crossed = 0
    for _ in range(30):
        one, best = evidence(), 0.0
        for number in range(6000):
            canary, failed = draw.random() < 0.05, draw.random() < 0.02
            one.observe(outcome(number, 100 + number * 0.01, canary, failed, duration=0.1 if canary else 7.0), 0.0)
        for second in range(100, 200):
            one.advance(float(second))
            best = max(best, one.late.log_e_harm())
        crossed += best >= math.log(50)
    assert crossed <= 1


def test_at_the_deadline_only_whether_it_failed_tells_and_not_when() -> None:
    """The same failures, soon in one world and late in the other: the same statistics at the deadline, to the last bit."""
    soon, slow = evidence(), evidence()
    made = traffic(120, canary_errors=0.1, errors=0.1)
    show(soon, [replace(one, duration=0.1) for one in made])
    show(slow, [replace(one, duration=7.0 if one.failed else 0.1) for one in made])
    assert counted(soon) == counted(slow)
    assert soon.late.harm["everyone"].vector == slow.late.harm["everyone"].vector
    assert soon.late.safe["everyone"].vector == slow.late.safe["everyone"].vector


def test_where_the_deadline_is_sooner_than_the_first_age_both_are_the_deadline() -> None:
    """An application with an SLA of half a second."""
    one = evidence(deadline=0.5)
    show(one, [outcome(duration=0.7)])
    assert one.early.canary.failures == one.late.canary.failures == 1


# -------------------------------------------------------------------------------------------------------- order, late, doubled
@settings(deadline=None, derandomize=True, database=None, max_examples=40)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=1, max_size=150), st.data())
def test_the_order_of_arrival_changes_nothing(requests: list[tuple[bool, int]], data: st.DataObject) -> None:
    """Whatever arrives within the grace is taken in the order of its start."""
    made = [
        outcome(number, 100 + number / 100, canary, kind == 0, duration=(0.1, 0.1, 0.9, 0.5)[kind])
        for number, (canary, kind) in enumerate(requests)
    ]
    told = [evidence(PHASE_25), evidence(PHASE_25)]
    for one, arrivals in zip(told, (made, data.draw(st.permutations(made))), strict=True):
        for each in arrivals:
            one.observe(each, 101.0)
        for now in (101.5, 102.0, 105.0, 120.0):
            one.advance(now)
    first, second = told
    documents = [one.to_json() for one in told]
    for document in documents:
        document["canary_units"].sort()
    assert documents[0] == documents[1]
    assert first.late_outcomes == second.late_outcomes == 0


def test_what_arrives_too_late_is_counted_and_not_looked_at() -> None:
    """The ages are over: nothing changes but the counter."""
    one = evidence()
    one.advance(200.0)
    one.observe(outcome(1, 180.0, failed=True), 200.0)
    one.advance(300.0)
    assert one.late_outcomes == 1
    assert counted(one) == (0, 0, 0, 0)


def test_what_misses_the_first_age_is_still_looked_at_at_the_deadline() -> None:
    """Late for one, in time for the other; counted as late once."""
    one = evidence()
    one.advance(200.0)
    one.observe(outcome(1, 197.0, failed=True), 200.0)
    one.advance(300.0)
    assert one.late_outcomes == 1
    assert one.early.canary.requests == 0
    assert counted(one) == (1, 1, 0, 0)


def test_the_same_outcome_twice_is_one_request() -> None:
    """Envoy may send an entry again after a reconnect."""
    one = evidence()
    show(one, [outcome(1), replace(outcome(1), failed=True)])
    assert one.duplicates == 1
    assert counted(one) == (1, 0, 0, 0)
    assert one.arms["canary"].requests == 1


def test_an_end_long_after_the_deadline_is_neither_late_nor_counted_twice() -> None:
    """It was looked at by its periodic entries; its end, minutes later, is no news."""
    one = evidence()
    one.observe(outcome(1, duration=1.0, final=False), 101.0)
    one.advance(150.0)
    one.observe(outcome(1, duration=60.0, final=True), 160.0)
    one.advance(300.0)
    assert counted(one) == (1, 1, 0, 0)
    assert one.late_outcomes == 0


@pytest.mark.parametrize("changes", [{"generation": 1}, {"generation": 3}, {"start": 49.0}])
def test_outcomes_of_no_known_visit_are_counted_and_not_looked_at(changes: dict[str, float]) -> None:
    """Assigned before a rollback, by a router that is behind, or before we watched."""
    one = Evidence(ROLLOUT, DEADLINE, not_before=50.0)
    one.begin_visit(2, PHASE_5)
    show(one, [outcome(**changes)])  # type: ignore[arg-type]
    assert one.foreign == 1
    assert counted(one) == (0, 0, 0, 0)
    assert not one.canary_units
    assert one.last_outcome == 0.0


def test_requests_outside_of_every_cohort_are_not_looked_at() -> None:
    """They met stable because nobody asked them."""
    one = evidence()
    show(one, [outcome(cohort="", canary=False, failed=True)])
    assert counted(one) == (0, 0, 0, 0)
    assert (one.foreign, one.arms["stable"].requests) == (0, 0)


# -------------------------------------------------------------------------------------------------------------- open requests
def test_periodic_entries_and_the_end_are_one_request() -> None:
    """Heard of after 1 s and 2 s, ended well after 2.4 s."""
    one = evidence()
    show(one, [outcome(1, duration=age, final=age == 2.4) for age in (1.0, 2.0, 2.4)])
    assert counted(one) == (1, 0, 0, 0)
    assert one.early.canary.requests == 1
    assert one.arms["canary"].requests == 1
    assert (one.duplicates, one.late_outcomes) == (0, 0)


def test_a_request_that_hangs_is_one_failure_and_no_more() -> None:
    """Open past the deadline: a violation at the deadline, once, and none at the first age."""
    one = evidence()
    show(one, [outcome(1, duration=float(age), final=False) for age in range(1, 60)])
    assert counted(one) == (1, 1, 0, 0)
    assert (one.early.canary.requests, one.early.canary.failures) == (1, 0)
    assert one.arms["canary"].requests == 0, "nothing has ended"


# ----------------------------------------------------------------------------------------------------- units, cohorts, visits
def test_units_that_may_never_come_back_count_for_ceilings_alone() -> None:
    """First requests of the anonymous: in the counts that ceilings read, in no comparison, and in no minimum of units."""
    one = evidence(PHASE_25)
    show(one, traffic(60, share=0.25, canary_errors=1.0, durable=False))
    requests, failures, _, _ = counted(one)
    assert requests == failures == 1500
    assert harm(one) == pytest.approx((0.0, 0.0))
    assert one.late.safe == {}
    assert not one.canary_units
    findings = {finding.gate: finding for finding in evaluate(ROLLOUT, one)}
    assert findings["ceiling:errors"].verdict is Verdict.FAIL
    assert findings["errors"].verdict is not Verdict.FAIL


def test_units_are_distinct_and_only_the_canarys() -> None:
    """Ten requests of two people, one on each side."""
    one = evidence()
    show(one, [outcome(number, canary=number % 2 == 0, unit=str(number % 2)) for number in range(10)])
    assert set(one.canary_units) == {"0"}


def test_cohorts_are_compared_apart_and_added() -> None:
    """Staff fail always, in both arms; everyone never: pooled that would look like harm to whoever has more staff."""
    given = rollout(cohorts=(cohort("staff"), cohort("everyone")))
    apart = evidence(PHASE_25, given)
    made = [
        outcome(number, 100 + number / 100, canary, staff, cohort="staff" if staff else "everyone")
        for number in range(2000)
        for staff in [number % 5 == 0]
        for canary in [(number % 25 in (0, 5, 10, 15)) if staff else number % 25 == 1]
    ]
    show(apart, made)
    assert set(apart.late.harm) == {"staff", "everyone"}
    assert apart.late.log_e_harm() < math.log(2)
    pooled = evidence(PHASE_25)
    show(pooled, [replace(one, cohort="everyone") for one in made])
    assert pooled.late.log_e_harm() > math.log(20), "the counterpart: without strata this is a rollback"


def test_control_and_rest_are_both_stable() -> None:
    """The stable side is everybody who did not meet the canary."""
    one = evidence()
    show(one, [outcome(0, arm=Arm.CONTROL), outcome(1, arm=Arm.REST), outcome(2, arm=Arm.CANARY, failed=True)])
    assert counted(one) == (1, 1, 2, 0)
    assert (one.arms["canary"].requests, one.arms["stable"].requests) == (1, 2)


def test_a_new_visit_begins_counts_and_safety_anew_but_not_harm() -> None:
    """Harm is remembered over the whole attempt; safety, counts, units and dwell belong to the phase."""
    one = evidence(PHASE_25)
    show(one, traffic(60, share=0.25, canary_errors=0.05, errors=0.01))
    one.watch(60.0)
    before = harm(one)
    assert min(before) > 0
    assert one.late.log_e_safe(0.01) != pytest.approx(0.0)
    one.begin_visit(3, PHASE_50)
    assert harm(one) == before
    assert counted(one) == (0, 0, 0, 0)
    assert one.late.log_e_safe(0.01) == pytest.approx(0.0)
    assert (one.watched, one.canary_units, one.last_outcome, one.arms["canary"].requests) == (0.0, {}, 0.0, 0)


def test_the_same_visit_begun_twice_is_one() -> None:
    """A tick that repeats itself loses nothing."""
    one = evidence()
    show(one, [outcome()])
    one.begin_visit(2, PHASE_5)
    assert counted(one) == (1, 0, 0, 0)


def test_requests_of_an_earlier_visit_count_for_harm_and_not_for_this_one() -> None:
    """Assigned at 25 %, looked at when we are at 50 %: evidence of harm, but neither a minimum nor safety nor a sign of life."""
    one = evidence(PHASE_25)
    made = traffic(20, share=0.25, canary_errors=0.5)
    for each in made:
        one.observe(each, 120.0)
    one.begin_visit(3, PHASE_50)
    for each in traffic(20, share=0.25, canary_errors=0.5, rate=50):
        one.observe(replace(each, stream_id=f"later-{each.stream_id}"), 120.0)
    one.advance(1000.0)
    assert counted(one) == (0, 0, 0, 0)
    assert (one.canary_units, one.arms["canary"].requests, one.late.safe, one.last_outcome) == ({}, 0, {}, 0.0)
    assert one.late.log_e_harm() > math.log(50)


def test_at_100_percent_without_a_holdback_nothing_is_compared() -> None:
    """Nobody is left to compare with: the phase has its ceilings, and no finding that could pass by itself."""
    one = evidence(PHASE_100)
    show(one, traffic(60, share=1.0))
    assert [finding.gate for finding in evaluate(ROLLOUT, one)] == ["ceiling:errors"]
    assert one.late.harm == {}


def test_a_holdback_keeps_somebody_to_compare_with_at_100_percent() -> None:
    """5 % stay on stable: batches with swapped roles."""
    given = rollout(holdback=0.05)
    one = evidence(PHASE_100, given)
    assert one.share(PHASE_100) == 0.95
    show(one, traffic(600, share=0.95, canary_errors=0.2))
    assert [finding.gate for finding in evaluate(given, one)] == ["errors", "ceiling:errors"]
    assert one.late.log_e_harm() > math.log(20)


def test_client_aborts_and_throttling_are_counted_apart() -> None:
    """They are no failures; people see them."""
    one = evidence()
    show(one, [outcome(0, client_aborted=True), outcome(1, throttled=True, status=429), outcome(2, failed=True)])
    arm = one.arms["canary"]
    assert (arm.requests, arm.failures, arm.throttled, arm.client_aborted) == (3, 1, 1, 1)
    assert (arm.input_tokens, arm.output_tokens) == (30, 60)
    assert arm.ttft.quantile(0.5) == pytest.approx(0.1, rel=0.021)
    assert counted(one) == (3, 1, 0, 0)


# ---------------------------------------------------------------------------------------------------------------- persistence
def test_a_restart_finds_the_same() -> None:
    """Through JSON and back: the same findings, the same open wishes, the same document; then the same again from new outcomes."""
    one = evidence(PHASE_25)
    show(one, traffic(120, share=0.25, canary_errors=0.02, errors=0.01))
    one.watch(31.5)
    text = json.dumps(one.to_json())
    other = Evidence.from_json(ROLLOUT, DEADLINE, json.loads(text), not_before=0.0)
    assert evaluate(ROLLOUT, other) == evaluate(ROLLOUT, one)
    phase: Phase = ROLLOUT.phases[PHASE_25]
    assert waiting_for(phase, evaluate(ROLLOUT, other), other) == waiting_for(phase, evaluate(ROLLOUT, one), one)
    assert other.to_json() == one.to_json()
    assert other.arms["canary"].ttft.quantile(0.9) == one.arms["canary"].ttft.quantile(0.9)


def test_after_a_restart_only_requests_that_began_after_it_are_looked_at() -> None:
    """Of those that were open some entries are lost, and not by chance: both arms are cut at the same start."""
    one = evidence()
    show(one, [outcome(0)])
    other = Evidence.from_json(ROLLOUT, DEADLINE, one.to_json(), not_before=500.0)
    show(other, [outcome(1, 499.9, failed=True), outcome(2, 500.0), outcome(3, 499.9, canary=False)])
    assert other.foreign == 2
    assert counted(other) == (2, 0, 0, 0)


@pytest.mark.parametrize("changes", [{"canary": "third"}, {"stable": "third"}])
def test_evidence_of_other_models_is_refused(changes: dict[str, str]) -> None:
    """The name of a rollout stays, its models change: what the earlier canary did must not roll back the present one."""
    one = evidence()
    show(one, traffic(20, canary_errors=1.0))
    with pytest.raises(ValueError, match="is about the models"):
        Evidence.from_json(rollout(**changes), DEADLINE, one.to_json(), 0.0)


MODELS = {"models": ["old", "new"], "attempt": 1}


@pytest.mark.parametrize("document", [{}, {"attempt": 1}, [], MODELS, MODELS | {"generation": 2, "phase": 1, "visits": {"x": 1}}])
def test_a_document_that_is_none_is_refused(document: object) -> None:
    """The loop begins anew then, and says so; it never goes on with half of it."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Evidence.from_json(ROLLOUT, DEADLINE, document, 0.0)  # type: ignore[arg-type]


def test_memory_stays_bounded() -> None:
    """What has been looked at is forgotten."""
    one = evidence()
    show(one, traffic(300))
    assert not one._open
    assert not one.early._queue
    assert not one.late._queue


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_evidence_of_equal_arms_stays_calm(share: float) -> None:
    """5 releases of 10,000 requests with 1 % errors in both arms, looked at each second: none reaches the limit of alpha .01."""
    draw = random.Random(int(share * 100))
    worst = -math.inf
    given = rollout(holdback=0.05)
    phase = {0.05: PHASE_5, 0.5: PHASE_50, 0.95: PHASE_100}[share]
    for _ in range(5):
        one = evidence(phase, given)
        for number in range(10_000):
            one.observe(outcome(number, 100 + number / 100, draw.random() < share, draw.random() < 0.01), 100 + number / 100)
            if number % 100 == 99:
                one.advance(100 + number / 100)
                worst = max(worst, *harm(one))
    assert worst < math.log(100)
