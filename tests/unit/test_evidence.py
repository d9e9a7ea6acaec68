"""Evidence: what is looked at, when, whose it is, and what it is compared with."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.domain import Arm, Outcome, Phase, Prices, Rollout, Verdict
from extproc.measures import MEASURES
from extproc.release import Evidence, evaluate, waiting_for
from extproc.release import flight as flight_room
from extproc.release.flight import EARLY, GRACE
from extproc.release.lanes import View
from tests.support import specs
from tests.support.outcomes import outcome, show, traffic
from tests.support.specs import cohort, rollout

DEADLINE = 8.0
ROLLOUT = rollout(cohorts=(cohort("everyone"),))
PHASE_5, PHASE_25, PHASE_50, PHASE_100 = 1, 2, 3, 4
PRICES = Prices(Decimal(1), Decimal("0.1"), Decimal(4))


def evidence(phase: int = PHASE_5, given: Rollout = ROLLOUT, deadline: float = DEADLINE) -> Evidence:
    """The visit that `outcome` belongs to."""
    made = Evidence(given, deadline, prices={"new": PRICES, "old": PRICES})
    made.begin_visit(2, phase)
    return made


def gated(*names: str, **changes: Any) -> Rollout:
    """A rollout with these gates in every phase, at their default weights. `changes` of the rollout."""
    return replace(specs.gated(*names), **changes)


def counted(one: Evidence) -> tuple[int, int, int, int]:
    """Canary requests and failures, stable requests and failures at the deadline."""
    canary, stable = one.seen("canary", "errors"), one.seen("stable", "errors")
    return canary.n, int(canary.total), stable.n, int(stable.total)


def harm(one: Evidence) -> float:
    return one.log_e_harm("errors")


# ------------------------------------------------------------------------------------------------------------------- maturity
@pytest.mark.parametrize("age", [EARLY, DEADLINE])
def test_a_request_is_looked_at_at_two_fixed_ages(age: float) -> None:
    """Not when it ends: it ended after 0.2 s, and nothing is counted until its age, plus the grace for its entry, is reached."""
    one = evidence()

    def there() -> tuple[int, float]:
        seen = one.visit.early["canary"] if age == EARLY else one.seen("canary", "errors")
        return seen.n, seen.total

    one.observe(outcome(failed=True), 100.2)
    one.advance(100.0 + age + GRACE - 0.01)
    assert there() == (0, 0)
    one.advance(100.0 + age + GRACE + 0.01)
    assert there() == (1, 1)
    one.advance(100.0 + age + GRACE + 500.0)
    assert there() == (1, 1), "once"


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
    assert (one.visit.early["canary"].total, one.seen("canary", "errors").total) == (early, late)
    assert (one.visit.early["canary"].n, one.seen("canary", "errors").n) == (1, 1)


def test_failing_fast_is_no_worse_than_failing_slowly_at_the_deadline() -> None:
    """Equal rates of 2 %, every canary request ends after 0.1 s and every stable one after 7 s. Measured as the share of 6 releases of
    6,000 requests whose E at the deadline ever reaches 50, looked at each second: none (batching by completion gave 61 %)."""
    draw = random.Random(4)
    crossed = 0
    for _ in range(6):
        one, best = evidence(), 0.0
        for number in range(6000):
            canary, failed = draw.random() < 0.05, draw.random() < 0.02
            one.observe(outcome(number, 100 + number * 0.01, canary, failed, duration=0.1 if canary else 7.0), 0.0)
        for second in range(100, 200, 4):
            one.advance(float(second))
            best = max(best, one.capital.log_e_first("errors"))
        crossed += best >= math.log(50)
    assert crossed == 0


def test_at_the_deadline_only_whether_it_failed_tells_and_not_when() -> None:
    """The same failures, soon in one world and late in the other: the same statistics at the deadline, to the last bit."""
    soon, slow = evidence(), evidence()
    made = traffic(60, canary_errors=0.1, errors=0.1)
    show(soon, [replace(one, duration=0.1) for one in made])
    show(slow, [replace(one, duration=7.0 if one.failed else 0.1) for one in made])
    assert counted(soon) == counted(slow)
    assert soon.to_json()["harm"]["first"] == slow.to_json()["harm"]["first"]
    for kind in ("any_of_blink", "any_of_minute"):
        assert soon.to_json()["harm"][kind] == slow.to_json()["harm"][kind]
    assert soon.to_json()["safe"] == slow.to_json()["safe"]
    assert soon.to_json()["harm"]["early"] != slow.to_json()["harm"]["early"]


def test_where_the_deadline_is_sooner_than_the_first_age_both_are_the_deadline() -> None:
    """An application with an SLA of half a second."""
    one = evidence(deadline=0.5)
    show(one, [outcome(duration=0.7)])
    assert one.visit.early["canary"].total == one.seen("canary", "errors").total == 1


# -------------------------------------------------------------------------------------------------------- order, late, doubled
@settings(deadline=None, derandomize=True, database=None, max_examples=30)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=150), st.data())
def test_the_order_of_arrival_changes_nothing(requests: list[tuple[bool, int, int]], data: st.DataObject) -> None:
    """Whatever arrives within the grace is taken in the order of its start; units repeat."""
    made = [
        outcome(number, 100 + number / 100, canary, kind == 0, duration=(0.1, 0.1, 0.9, 0.5)[kind], unit=f"{unit:016x}")
        for number, (canary, kind, unit) in enumerate(requests)
    ]
    documents = []
    for arrivals in (made, data.draw(st.permutations(made))):
        one = evidence(PHASE_25, gated("errors", "latency_mean", "latency_p95", "cost"))
        for each in arrivals:
            one.observe(each, 101.0)
        for now in (101.5, 102.0, 105.0, 120.0, 200.0):
            one.advance(now)
        documents.append(one.to_json())
        documents[-1]["canary_units"].sort()
        assert one.late_outcomes == 0
    assert documents[0] == documents[1]


def test_what_arrives_too_late_is_counted_and_not_looked_at() -> None:
    """The ages are over: nothing changes but the counter."""
    one = evidence()
    one.advance(200.0)
    one.observe(outcome(1, 180.0, failed=True), 200.0)
    one.advance(300.0)
    assert one.late_outcomes == 1
    assert counted(one) == (0, 0, 0, 0)


def test_what_misses_the_first_age_is_still_looked_at_at_the_deadline() -> None:
    """Late for one, in time for the other; counted as late once; in the order of its start."""
    one = evidence()
    one.advance(200.0)
    one.observe(outcome(1, 197.0, failed=True), 200.0)
    one.observe(outcome(2, 199.0), 200.0)
    one.advance(300.0)
    assert one.late_outcomes == 1
    assert one.visit.early["canary"].n == 1
    assert counted(one) == (2, 1, 0, 0)


def test_a_fault_that_is_always_told_late_is_found_all_the_same() -> None:
    """An Envoy without periodic entries: failures after five seconds are heard of at their end, past the first age."""
    one = evidence(PHASE_25)
    for made in sorted(traffic(60, 0.25, canary_errors=0.5), key=lambda made: made.start):
        late = replace(made, duration=5.0 if made.failed else 0.2)
        one.advance(made.start + 5.0)
        one.observe(late, made.start + 5.0)
    one.advance(1000.0)
    assert harm(one) > math.log(20)


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
    assert one.visit.early["canary"].n == 1
    assert one.arms["canary"].requests == 1
    assert (one.duplicates, one.late_outcomes) == (0, 0)


def test_a_request_that_hangs_is_one_failure_and_no_more() -> None:
    """Open past the deadline: a violation at the deadline, once, and none at the first age; its latency is the deadline."""
    one = evidence(given=gated("errors", "latency_mean", "ttft_mean", "cost"))
    show(one, [outcome(1, duration=float(age), final=False, ttft=0.5) for age in range(1, 60)])
    assert counted(one) == (1, 1, 0, 0)
    assert (one.visit.early["canary"].n, one.visit.early["canary"].total) == (1, 0)
    assert one.arms["canary"].requests == 0, "nothing has ended"
    assert one.seen("canary", "latency_mean").mean == DEADLINE
    assert one.seen("canary", "ttft_mean").mean == 0.5, "the first token had come"
    assert one.seen("canary", "cost").n == 0, "what it will cost is not known"


def test_a_failed_request_has_no_latency_and_a_throttled_one_neither() -> None:
    """Failing fast is not being fast."""
    one = evidence(given=gated("errors", "latency_mean"))
    show(one, [outcome(1, failed=True, duration=0.01), outcome(2, throttled=True, duration=0.01), outcome(3, duration=2.0)])
    seen = one.seen("canary", "latency_mean")
    assert (seen.n, seen.mean) == (1, 2.0)


# ------------------------------------------------------------------------------------------------------------------ units, epochs
def fed(one: Evidence, scale: int) -> int:
    """Epochs that were begun at a scale, of the units' first requests at their deadline."""
    done: int = one.to_json()["harm"]["first"][scale][0]
    return done


def test_a_unit_counts_once_in_an_epoch_and_anew_in_the_next() -> None:
    """One canary unit that always fails, against many stable ones: as evidence it is one failure per epoch, not one per request. Within
    two minutes a hundred failing requests of it do not come near a rollback; a hundred units do, at once."""
    stable = [outcome(number, 100 + number / 10, False) for number in range(1200)]
    one_unit = [outcome(5000 + number, 100 + number, True, True, unit="cafe") for number in range(100)]
    repeated = evidence(PHASE_25)
    show(repeated, stable + one_unit)
    assert harm(repeated) < math.log(10)
    many = evidence(PHASE_25)
    show(many, stable + [replace(made, unit=made.stream_id.encode().hex()) for made in one_unit])
    assert harm(many) > math.log(1e6)
    assert fed(repeated, 0) > fed(repeated, 1) > 1
    assert fed(repeated, 3) == 1


def test_a_fault_that_begins_late_is_seen_among_units_that_were_well_before() -> None:
    """Five quiet minutes with the same thousand people; then all of the canary's requests fail, and it is over within two seconds."""
    one = evidence(PHASE_25)
    draw = random.Random(3)

    def second(at: int, broken: bool) -> list[Outcome]:
        found = []
        for index in range(80):
            person = draw.randrange(1000)
            canary = person % 4 == 0
            found.append(outcome(at * 80 + index, at + index / 80, canary, canary and broken, unit=f"{person:x}"))
        return found

    show_until(one, [made for at in range(400, 700) for made in second(at, False)], 700.0)
    assert harm(one) < math.log(2)
    failing = [made for at in range(700, 703) for made in second(at, True)]
    show_until(one, failing, 703.5)
    assert harm(one) >= math.log(20)


def show_until(one: Evidence, made: list[Outcome], now: float) -> None:
    for number, each in enumerate(made):
        one.observe(each, each.start + 0.2)
        if number % 20 == 0:
            one.advance(each.start + 0.2)
    one.advance(now)


def test_what_happens_later_in_a_window_counts_as_well() -> None:
    """Each person's first request is well and the second one fails: the first-request lanes see nothing, the windows do."""
    one = evidence(PHASE_25)
    made = []
    for each in traffic(60, 0.25, rate=40):
        again = replace(each, stream_id=f"{each.stream_id}-2", start=each.start + 0.5, failed=each.arm is Arm.CANARY)
        made += [each, again]
    show(one, made)
    assert one.capital.first.lanes[-1].log_e(0) < 1e-9
    assert harm(one) > math.log(1000)


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_where_everybody_asks_once_windows_say_what_first_requests_say(share: float) -> None:
    """Over minutes, at every scale, of events and of means: the same units in the same order are the same e-values, to the last bit."""
    given = gated("errors", "latency_mean", "latency_p50", cohorts=(cohort("everyone", shares=(share,) * 5),))
    one = evidence(PHASE_5, given)
    draw = random.Random(1)
    show(one, [replace(each, duration=draw.lognormvariate(-1, 0.5)) for each in traffic(150, share, 60, canary_errors=0.03, errors=0.01)])
    capital = one.capital.to_json()["harm"]
    assert capital["any_of_blink"] + capital["any_of_minute"] == capital["first"]
    assert capital["means_of_blink"] + capital["means_of_minute"] == capital["first_means"]
    assert [lane[0] for lane in capital["first"]] == [75, 4, 1, 1] or share == 0.05
    assert capital["first_means"][1][1][0] is not None


def test_units_that_may_never_come_back_count_for_ceilings_alone() -> None:
    """First requests of the anonymous: in the counts that ceilings read, in no comparison, and in no minimum of units."""
    one = evidence(PHASE_25)
    show(one, traffic(60, share=0.25, canary_errors=1.0, durable=False))
    requests, failures, _, _ = counted(one)
    assert requests == failures == 1500
    assert harm(one) == pytest.approx(0.0)
    assert one.log_e_safe("errors") == pytest.approx(0.0)
    assert not one.canary_units
    findings = {finding.gate: finding for finding in evaluate(ROLLOUT, one)}
    assert findings["ceiling:errors"].verdict is Verdict.FAIL
    assert findings["errors"].verdict is not Verdict.FAIL
    assert "sample_ratio" not in findings


def test_units_are_distinct_and_only_the_canarys() -> None:
    """Ten requests of two people, one on each side."""
    one = evidence()
    show(one, [outcome(number, canary=number % 2 == 0, unit=str(number % 2)) for number in range(10)])
    assert set(one.canary_units) == {"0"}
    assert one.capital.ratio.counts() == (1, 0, 1)


def test_a_unit_that_moves_to_the_canary_counts_once_in_each_arm() -> None:
    """The ramp takes it over: in the release it is one stable unit and one canary unit."""
    one = evidence()
    show(one, [outcome(1, 100.0, False, unit="aa"), outcome(2, 101.0, True, unit="aa"), outcome(3, 102.0, True, unit="aa")])
    assert one.capital.ratio.counts() == (1, 0, 1)


# ------------------------------------------------------------------------------------------------------------ cohorts and visits
TWO = (cohort("staff"), cohort("everyone"))


def test_cohorts_are_compared_apart_and_added() -> None:
    """Staff fail always, in both arms; everyone never: pooled that would look like harm to whoever has more staff."""
    given = replace(ROLLOUT, cohorts=TWO)
    apart = evidence(PHASE_25, given)
    made = [
        outcome(number, 100 + number / 100, canary, staff, cohort="staff" if staff else "everyone")
        for number in range(2000)
        for staff in [number % 5 == 0]
        for canary in [(number % 25 in (0, 5, 10, 15)) if staff else number % 25 == 1]
    ]
    show(apart, made)
    assert harm(apart) < math.log(2)
    pooled = evidence(PHASE_25)
    show(pooled, [replace(one, cohort="everyone") for one in made])
    assert harm(pooled) > math.log(20), "the counterpart: without strata this is a rollback"


def test_a_cohort_that_is_out_no_longer_counts() -> None:
    """Its past is taken from the whole, its requests are foreign, the others go on."""
    given = replace(ROLLOUT, cohorts=TWO)
    one = evidence(PHASE_25, given)
    made = traffic(60, 0.25)
    show(
        one,
        [
            replace(each, cohort=TWO[number // 4 % 2].name, failed=number // 4 % 2 == 0 and each.arm is Arm.CANARY)
            for number, each in enumerate(made)
        ],
    )
    assert harm(one) > math.log(1000)
    assert one.log_e_harm("errors", View("staff")) > math.log(1000)
    without = one.log_e_harm("errors", View("staff", others=True))
    assert without == pytest.approx(0.0)
    one.begin_visit(3, PHASE_25, ("staff",))
    assert one.cohorts == ("everyone",)
    assert harm(one) == pytest.approx(without)
    one.observe(outcome(99_999, 5000.0, cohort="staff", generation=3), 5000.0)
    assert one.foreign == 1


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
    assert before > 0
    assert one.log_e_safe("errors") != pytest.approx(0.0)
    one.begin_visit(3, PHASE_50)
    assert harm(one) == before
    assert counted(one) == (0, 0, 0, 0)
    assert one.log_e_safe("errors") == pytest.approx(0.0)
    assert (one.watched, one.canary_units, one.last_outcome, one.arms["canary"].requests) == (0.0, {}, 0.0, 0)
    assert one.capital.ratio.counts() == (0, 0, 0)


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
    assert (one.canary_units, one.arms["canary"].requests, one.last_outcome) == ({}, 0, 0.0)
    assert one.log_e_safe("errors") == pytest.approx(0.0)
    assert one.capital.ratio.counts() == (0, 0, 0)
    assert harm(one) > math.log(50)


def test_who_met_the_last_visit_is_new_in_this_one() -> None:
    """The same people at 25 % and then at 50 %, within the same minute: safety and sample ratio count them anew, harm does not."""
    one = evidence(PHASE_25)
    made = traffic(10, share=0.25)
    show_until(one, made, 111.5)
    first = one.capital.ratio.counts()
    one.begin_visit(3, PHASE_50)
    again = [replace(each, stream_id=f"{each.stream_id}-2", start=each.start + 12.0, generation=3) for each in made]
    show_until(one, again, 140.0)
    assert one.capital.ratio.counts() == first == (250, 250, 500)


def test_at_100_percent_without_a_holdback_nothing_is_compared() -> None:
    """Nobody is left to compare with: the phase has its ceilings, and no finding that could pass by itself."""
    one = evidence(PHASE_100)
    show(one, traffic(60, share=1.0, arm=Arm.CANARY))
    assert [finding.gate for finding in evaluate(ROLLOUT, one)] == ["ceiling:errors"]
    assert harm(one) == pytest.approx(0.0)


def test_a_holdback_keeps_somebody_to_compare_with_at_100_percent() -> None:
    """5 % stay on stable: batches with swapped roles."""
    given = replace(ROLLOUT, holdback=0.05)
    one = evidence(PHASE_100, given)
    assert set(one.shares(PHASE_100).values()) == {0.95}
    show(one, traffic(150, share=0.95, canary_errors=0.2))
    assert [finding.gate for finding in evaluate(given, one)] == ["errors", "together", "sample_ratio", "ceiling:errors"]
    assert harm(one) > math.log(20)


def test_client_aborts_and_throttling_are_counted_apart() -> None:
    """They are no failures; people see them, and they can be gates of their own."""
    one = evidence(given=gated("errors", "throttled", "client_aborts"))
    show(one, [outcome(0, client_aborted=True), outcome(1, throttled=True, status=429), outcome(2, failed=True)])
    arm = one.arms["canary"]
    assert (arm.requests, arm.failures, arm.throttled, arm.client_aborted) == (3, 1, 1, 1)
    assert (arm.input_tokens, arm.output_tokens) == (30, 60)
    assert arm.ttft.quantile(0.5) == pytest.approx(0.1, rel=0.021)
    assert counted(one) == (3, 1, 0, 0)
    assert [one.seen("canary", name).total for name in ("throttled", "client_aborts")] == [1, 1]


# --------------------------------------------------------------------------------------------------------------- every measure
HARMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "throttled": ({"throttled": True, "status": 429}, {}),
    "client_aborts": ({"client_aborted": True}, {}),
    "abandons": ({"client_aborted": True}, {}),
    "retries": ({"retry": True}, {}),
    "regenerates": ({"regenerate": True}, {}),
    "ttft_mean": ({"ttft": 0.3}, {"ttft": 0.1}),
    "ttft_p50": ({"ttft": 0.3}, {"ttft": 0.1}),
    "ttft_p95": ({"ttft": 0.3}, {"ttft": 0.1}),
    "ttft_p99": ({"ttft": 0.3}, {"ttft": 0.1}),
    "latency_mean": ({"duration": 0.9}, {"duration": 0.3}),
    "latency_p50": ({"duration": 0.9}, {"duration": 0.3}),
    "latency_p95": ({"duration": 0.9}, {"duration": 0.3}),
    "latency_p99": ({"duration": 0.9}, {"duration": 0.3}),
    "cost": ({"output_tokens": 200}, {"output_tokens": 20}),
    "input_tokens": ({"input_tokens": 200}, {"input_tokens": 20}),
    "cached_tokens": ({"cached_tokens": 2}, {"cached_tokens": 8}),
    "output_tokens": ({"output_tokens": 200}, {"output_tokens": 20}),
    "reasoning_tokens": ({"reasoning_tokens": 200}, {"reasoning_tokens": 20}),
    "output_rate": ({"output_tokens": 5}, {"output_tokens": 20}),
}


def test_every_measure_but_errors_has_its_harm_here() -> None:
    """A new row of measures gets a row of the test below; those that ratings tell of have tests of their own."""
    assert set(HARMS) == {name for name, measure in MEASURES.items() if measure.read is not None} - {"errors"}


@pytest.mark.parametrize("name", sorted(HARMS))
@pytest.mark.parametrize("worse", ["canary", "stable"])
def test_each_measure_finds_its_own_harm_and_no_other(name: str, worse: str) -> None:
    """Everybody is well for 20 s, then one side is much worse for 30 s: a rollback where it is the canary, calm where it is stable."""
    given = gated("errors", name)
    one = evidence(PHASE_25, given)
    bad, good = HARMS[name]
    draw = random.Random(1)
    made = []
    for number, each in enumerate(traffic(50, 0.25)):
        canary = each.arm is Arm.CANARY
        ill = number > 2000 and worse == ("canary" if canary else "stable")
        jitter = draw.uniform(0.97, 1.03)
        changes = {"duration": 0.3, "cached_tokens": 8, "input_tokens": 20, **good, **(bad if ill else {})}
        if "duration" in changes:
            changes["duration"] *= jitter
        made.append(replace(each, **{key: value * jitter if key == "ttft" else value for key, value in changes.items()}))
    show(one, made)
    if worse == "canary":
        assert one.log_e_harm(name) > math.log(20)
        failed = {finding.gate for finding in evaluate(given, one) if finding.verdict is Verdict.FAIL}
        assert failed == {"together", name}
    else:
        assert one.log_e_harm(name) < math.log(5)
        assert not [finding.gate for finding in evaluate(given, one) if finding.verdict is Verdict.FAIL]


def test_thresholds_come_from_stables_past() -> None:
    """Unknown until 200 values were looked at; then what stable had before, for the canary with the tolerance on top."""
    given = gated("latency_p95", "latency_mean")
    one = evidence(PHASE_25, given)
    show_until(one, [replace(each, duration=0.5) for each in traffic(2, 0.25)], 400.0)
    assert one.past.limits.caps == (0.0,)
    later = [replace(each, stream_id=f"b{each.stream_id}", start=each.start + 400, duration=0.5) for each in traffic(4, 0.25)]
    show_until(one, later, 900.0)
    ((stable, canary),) = one.past.limits.thresholds
    assert stable == pytest.approx(0.5, rel=0.021)
    assert canary == pytest.approx(stable * 1.05)
    before = one.past.limits
    show_until(one, [replace(each, stream_id=f"c{each.stream_id}", start=each.start + 800) for each in traffic(1, 0.25)], 1400.0)
    assert one.past.limits is before, "not before there is twice as much"


def test_cost_is_at_the_prices_of_the_model_that_answered() -> None:
    """A fallback to stable costs what stable costs; without prices there is no cost."""
    dear = Prices(Decimal(100), Decimal(100), Decimal(100))
    one = Evidence(gated("cost"), DEADLINE, prices={"new": PRICES, "old": dear})
    one.begin_visit(2, PHASE_5)
    show(
        one,
        [outcome(1, input_tokens=1000, cached_tokens=500, output_tokens=100), outcome(2, answered_by="old"), outcome(3, answered_by="x")],
    )
    seen = one.seen("canary", "cost")
    assert seen.n == 2
    assert seen.total == pytest.approx((500 * 1 + 500 * 0.1 + 100 * 4 + 30 * 100) / 1e6)


def test_each_cohort_is_told_of_by_arm() -> None:
    """Requests and failures of both arms of each cohort, of this visit alone; a restart keeps them, and a document without them is read."""
    given = replace(ROLLOUT, cohorts=TWO)
    one = evidence(PHASE_25, given)
    show(
        one, [outcome(1, canary=True, failed=True, cohort="staff"), outcome(2, canary=True, cohort="staff"), outcome(3, cohort="everyone")]
    )
    seen = {cohort: {arm: (ended.requests, ended.failures) for arm, ended in both.items()} for cohort, both in one.visit.cohorts.items()}
    assert seen == {"staff": {"canary": (2, 1), "stable": (0, 0)}, "everyone": {"canary": (1, 0), "stable": (0, 0)}}
    document = json.loads(json.dumps(one.to_json()))
    assert Evidence.from_json(given, DEADLINE, document, 0.0).visit.cohorts == one.visit.cohorts
    del document["cohorts"], document["spent"]
    assert Evidence.from_json(given, DEADLINE, document, 0.0).visit.cohorts == {}
    one.begin_visit(3, PHASE_50)
    assert one.visit.cohorts == {}


def test_the_money_of_an_attempt_is_what_the_canary_costs_beyond_stable() -> None:
    """At the prices of whoever answered, over all visits and a restart; of no prices nothing is said, of no canary nothing spent."""
    dear = Prices(Decimal(100), Decimal(100), Decimal(100))
    prices = {"new": PRICES, "old": dear}
    one = Evidence(ROLLOUT, DEADLINE, prices=prices)
    assert one.spent.beyond == 0.0
    one.begin_visit(2, PHASE_5)
    show(one, [outcome(1, canary=True, input_tokens=1000, cached_tokens=0, output_tokens=100)])
    assert one.spent.beyond is None, "nothing of stable is known to compare with"
    one.begin_visit(3, PHASE_25)
    show(one, [outcome(2, 2000.0, False, generation=3, input_tokens=200, cached_tokens=0, output_tokens=100, answered_by="old")])
    assert one.spent.beyond == pytest.approx((1000 + 400 - 30_000) / 1e6)
    document = json.loads(json.dumps(one.to_json()))
    assert Evidence.from_json(ROLLOUT, DEADLINE, document, 0.0, prices).spent.beyond == one.spent.beyond
    assert Evidence(ROLLOUT, DEADLINE).spent.beyond == 0.0


# ---------------------------------------------------------------------------------------------------------------- persistence
def test_a_restart_finds_the_same() -> None:
    """Through JSON and back: the same findings, the same open wishes, the same document."""
    given = gated("errors", "latency_mean", "latency_p50", "latency_p99", "cost", cohorts=TWO)
    one = evidence(PHASE_25, given)
    draw = random.Random(9)
    made = traffic(120, share=0.25, canary_errors=0.02, errors=0.01)
    show(one, [replace(each, cohort=TWO[n // 4 % 2].name, duration=draw.lognormvariate(-1, 0.5)) for n, each in enumerate(made)])
    one.watch(31.5)
    text = json.dumps(one.to_json())
    other = Evidence.from_json(given, DEADLINE, json.loads(text), not_before=0.0, prices={"new": PRICES, "old": PRICES})
    for mine, its in zip(evaluate(given, one), evaluate(given, other), strict=True):
        assert its.sentence == mine.sentence
        assert its.log_e_harm == pytest.approx(mine.log_e_harm)
        assert its.log_e_safe == pytest.approx(mine.log_e_safe)
    phase: Phase = given.phases[PHASE_25]
    assert waiting_for(phase, evaluate(given, other), other) == waiting_for(phase, evaluate(given, one), one)
    assert other.to_json() == one.to_json()
    assert other.past.limits.thresholds[0] == pytest.approx(one.past.limits.thresholds[0], rel=0.1)
    assert other.arms["canary"].ttft.quantile(0.9) == one.arms["canary"].ttft.quantile(0.9)


def test_harm_goes_on_after_a_restart() -> None:
    """Half of the evidence before, half after it: neither half rolls back by itself, both do."""
    made = traffic(40, 0.25, canary_errors=0.06, errors=0.0)
    half = len(made) // 2
    whole = evidence(PHASE_25)
    show_until(whole, made[:half], 1000.0)
    before = harm(whole)
    again = Evidence.from_json(ROLLOUT, DEADLINE, json.loads(json.dumps(whole.to_json())), not_before=0.0)
    assert harm(again) == pytest.approx(before)
    show_until(again, [replace(each, start=each.start + 2000) for each in made[half:]], 4000.0)
    assert harm(again) > before


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
        Evidence.from_json(replace(ROLLOUT, **changes), DEADLINE, one.to_json(), 0.0)  # type: ignore[arg-type]


def test_evidence_of_other_gates_is_refused() -> None:
    """A lane that has other measures is not ours."""
    with pytest.raises(ValueError, match="readings of stable"):
        Evidence.from_json(gated("errors", "cost"), DEADLINE, evidence().to_json(), 0.0)


MODELS = {"models": ["old", "new"], "attempt": 1}


@pytest.mark.parametrize("document", [{}, {"attempt": 1}, [], MODELS, MODELS | {"version": 3, "excluded": [], "generation": 2, "phase": 1}])
def test_a_document_that_is_none_is_refused(document: object) -> None:
    """The loop begins anew then, and says so; it never goes on with half of it."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Evidence.from_json(ROLLOUT, DEADLINE, document, 0.0)  # type: ignore[arg-type]


# -------------------------------------------------------------------------------------------------------------------- bounds
def test_what_has_been_looked_at_is_forgotten() -> None:
    """Nothing is waited for after the last window is over."""
    one = evidence()
    show(one, traffic(100))
    assert one.waiting == 0
    assert not one._flight.known
    assert not one._sorter._blinks
    assert not one._sorter._minutes


def test_what_finds_no_room_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood beyond what is kept: the rest is dropped, whatever becomes of it."""
    monkeypatch.setattr(flight_room, "OPEN_KEPT", 100)
    one = evidence()
    for made in traffic(3):
        one.observe(made, 103.0)
    assert (one.dropped, one.waiting) == (200, 100)
    one.advance(1000.0)
    assert sum(counted(one)[::2]) == 100


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_evidence_of_equal_arms_stays_calm(share: float) -> None:
    """4 releases of 5,000 requests with 1 % errors and equal latencies in both arms, looked at each second: none reaches 100."""
    draw = random.Random(int(share * 100))
    worst = -math.inf
    given = gated("errors", "latency_mean", "latency_p95", holdback=0.05)
    phase = {0.05: PHASE_5, 0.5: PHASE_50, 0.95: PHASE_100}[share]
    for _ in range(4):
        one = evidence(phase, given)
        for number in range(5_000):
            made = outcome(number, 100 + number / 100, draw.random() < share, draw.random() < 0.01, duration=draw.lognormvariate(-1, 0.8))
            one.observe(made, made.start)
            if number % 100 == 99:
                one.advance(100 + number / 100)
                worst = max(worst, *(one.log_e_harm(name) for name in ("errors", "latency_mean", "latency_p95")))
    assert worst < math.log(100)
