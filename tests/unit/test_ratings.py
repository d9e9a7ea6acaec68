"""Ratings: what somebody thinks of sampled answers, as evidence of harm and of safety."""

from __future__ import annotations

import math
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from extproc.domain import Arm, Judging, Rating, Verdict
from extproc.release import Evidence
from extproc.release.gate import evaluate, harm_limit
from extproc.release.lanes import View
from extproc.release.ratings import WAITING_KEPT
from tests.support import specs
from tests.support.specs import cohort

WITHIN = 60.0
JUDGED = replace(
    specs.gated("judge"), judging=Judging("rubric", ("judge-1",), 0.2), matures={"judge": WITHIN}, cohorts=(cohort("everyone"),)
)
BEGIN = 1_000_000.0
GENERATION, PHASE_5, PHASE_25, PHASE_50 = 2, 1, 2, 3
ARMS = (Arm.CANARY, Arm.CONTROL)


def evidence(phase: int = PHASE_5, rollout: Any = JUDGED) -> Evidence:
    made = Evidence(rollout, 8.0)
    made.begin_visit(GENERATION, phase)
    return made


def rating(number: int, arm: Arm, value: float, **changes: Any) -> Rating:
    """The n-th answer, a second after the one before; each of another unit unless one is given."""
    plain = Rating("judge", f"{arm.value}-{number}", "chat", GENERATION, "everyone", arm, f"{number:016x}", BEGIN + number, value)
    return replace(plain, **changes)


def told(one: Evidence, canary: float, stable: float, answers: int, seed: int = 1, sd: float = 0.15) -> None:
    """So many answers of each arm, judged with this noise; all are old enough afterwards."""
    draw = Random(seed)
    for number in range(answers):
        for arm, mean in zip(ARMS, (canary, stable), strict=True):
            one.hear(rating(number, arm, min(1.0, max(0.0, draw.gauss(mean, sd)))))
    one.advance(BEGIN + answers + WITHIN)


def harm(one: Evidence) -> float:
    return one.log_e_harm("judge")


# ------------------------------------------------------------------------------------------------------------------- maturity
def test_a_rating_is_looked_at_at_a_fixed_age_of_its_request() -> None:
    """Not when it comes: a judge that is faster for one arm must not put that arm's answers first."""
    one = evidence()
    for arm in ARMS:
        one.hear(rating(0, arm, 0.5))
    one.advance(BEGIN + WITHIN - 0.1)
    assert one.seen("canary", "judge").n == one.seen("stable", "judge").n == 0
    one.advance(BEGIN + WITHIN)
    assert one.seen("canary", "judge").n == one.seen("stable", "judge").n == 1


def test_the_order_in_which_ratings_come_does_not_matter() -> None:
    """They are looked at in the order of their requests' starts."""
    ratings = [rating(number, arm, number % 7 / 7 if arm is Arm.CANARY else 0.6) for number in range(200) for arm in ARMS]
    values = []
    for seed in range(4):
        one = evidence()
        for each in Random(seed).sample(ratings, len(ratings)):
            one.hear(each)
        one.advance(BEGIN + 200 + WITHIN)
        values.append(harm(one))
    assert len(set(values)) == 1
    assert values[0] != 0.0


def test_a_rating_that_comes_too_late_is_counted_and_changes_nothing() -> None:
    """Its place in the order is over; so is a second one for the same answer."""
    one = evidence()
    one.advance(BEGIN + WITHIN + 10)
    one.hear(rating(5, Arm.CANARY, 0.0))
    assert one.rated["judge"].late == 1
    one.hear(rating(20, Arm.CANARY, 0.0))
    one.hear(rating(20, Arm.CANARY, 1.0))
    assert one.rated["judge"].duplicates == 1
    one.advance(BEGIN + 200)
    assert one.seen("canary", "judge").mean == 0.0


def test_memory_is_bounded() -> None:
    """Beyond WAITING_KEPT ratings are counted and not kept, whatever they say."""
    one = evidence()
    for number in range(WAITING_KEPT + 5):
        one.hear(rating(number, Arm.CANARY, 0.0))
    assert one.rated["judge"].waiting == WAITING_KEPT
    assert one.rated["judge"].dropped == 5


@pytest.mark.parametrize(
    "changes",
    [{"generation": 1}, {"generation": 3}, {"arm": Arm.REST}, {"measure": "thumbs"}],
    ids=["a visit that is unknown", "a visit to come", "an arm that is not sampled", "another measure"],
)
def test_what_is_not_of_this_comparison_is_left_out(changes: dict[str, Any]) -> None:
    """Unknown visits, arms whose probability of being sampled is another one, measures without a gate."""
    one = evidence()
    one.hear(replace(rating(0, Arm.CANARY, 0.0), **changes))
    one.advance(BEGIN + 1 + WITHIN)
    assert one.seen("canary", "judge").n == 0


# ------------------------------------------------------------------------------------------------------------------- the test
def test_worse_answers_are_harm_and_better_ones_are_not() -> None:
    """Less of the judge's score is worse."""
    worse, better, same = evidence(), evidence(), evidence()
    told(worse, 0.5, 0.8, 200)
    told(better, 0.8, 0.5, 200)
    told(same, 0.8, 0.8, 200)
    assert harm(worse) > math.log(1000)
    assert harm(better) < 0
    assert abs(harm(same)) < math.log(10)


def test_values_outside_of_the_scale_count_as_its_ends() -> None:
    """A judge cannot outweigh all others by a number that its scale does not have."""
    wild, tame = evidence(), evidence()
    for number in range(50):
        for arm in ARMS:
            wild.hear(rating(number, arm, -1e9 if arm is Arm.CANARY else 7.0))
            tame.hear(rating(number, arm, 0.0 if arm is Arm.CANARY else 1.0))
    for one in (wild, tame):
        one.advance(BEGIN + 50 + WITHIN)
    assert harm(wild) == harm(tame)


def test_a_unit_counts_once_in_an_epoch() -> None:
    """A thousand bad answers to one person within a minute are one bad answer."""
    often, once = evidence(), evidence()
    for number in range(50):
        often.hear(rating(number, Arm.CANARY, 0.0, unit="00000000000000aa", start=BEGIN + number / 10))
        often.hear(rating(number, Arm.CONTROL, 0.9, start=BEGIN + number / 10))
    once.hear(rating(0, Arm.CANARY, 0.0, unit="00000000000000aa", start=BEGIN))
    for number in range(50):
        once.hear(rating(number, Arm.CONTROL, 0.9, start=BEGIN + number / 10))
    for one in (often, once):
        one.advance(BEGIN + 10 + WITHIN)
    assert harm(often) == harm(once)
    assert often.seen("canary", "judge").n == 50


def test_no_false_alarm_beyond_alpha() -> None:
    """The same judge, the same answers, 120 releases of 400 answers in each arm, looked at after each: at most alpha cross."""
    crossed = 0
    limit = harm_limit(JUDGED, 1)
    for seed in range(120):
        one, draw = evidence(), Random(seed)
        highest = 0.0
        for number in range(400):
            for arm in ARMS:
                one.hear(rating(number, arm, min(1.0, max(0.0, draw.gauss(0.8, 0.15)))))
            if not number % 20:
                one.advance(BEGIN + number)
                highest = max(highest, harm(one))
        crossed += highest >= limit
    # alpha = .05 of 120 is 6 at the most on average; an e-process is far below that.
    assert crossed <= 6


def test_the_shift_is_found_with_about_as_many_answers_as_are_promised() -> None:
    """From .80 to .77 at a noise of .15: STATISTICS.md says 520 canary answers for the plain form at alpha .01."""
    needed = []
    for seed in range(21):
        one, draw = evidence(), Random(seed)
        for number in range(4000):
            for arm, mean in zip(ARMS, (0.77, 0.80), strict=True):
                one.hear(rating(number, arm, min(1.0, max(0.0, draw.gauss(mean, 0.15)))))
            if not number % 20:
                one.advance(BEGIN + number)
                if harm(one) >= harm_limit(JUDGED, 1):
                    break
        needed.append(number)
    median = sorted(needed)[len(needed) // 2]
    assert 300 <= median <= 1500, needed


def test_a_canary_that_trips_more_wires_is_harm_and_one_that_trips_fewer_is_not() -> None:
    """Of the same sampled answers; more is worse."""
    rollout = replace(specs.gated("tripwires"), judging=JUDGED.judging, matures={"tripwires": WITHIN}, cohorts=(cohort("everyone"),))
    for canary, stable, worse in ((0.3, 0.02, True), (0.02, 0.3, False)):
        one, draw = evidence(rollout=rollout), Random(3)
        for number in range(200):
            for arm, share in zip(ARMS, (canary, stable), strict=True):
                one.hear(rating(number, arm, float(draw.random() < share), measure="tripwires"))
        one.advance(BEGIN + 200 + WITHIN)
        assert (one.log_e_harm("tripwires") > math.log(1000)) is worse
        (finding,) = (each for each in evaluate(rollout, one) if each.gate == "tripwires")
        assert finding.verdict is (Verdict.FAIL if worse else Verdict.PASS)
        assert "tripwires: canary 2" in finding.sentence or "tripwires: canary 3" in finding.sentence or not worse


# ------------------------------------------------------------------------------------------------------------- safety and gates
def test_answers_that_are_as_good_pass_the_gate() -> None:
    """Non-inferiority within the phase's margin of .05."""
    one = evidence(PHASE_5)
    told(one, 0.8, 0.8, 1500)
    (finding,) = (each for each in evaluate(JUDGED, one) if each.gate == "judge")
    assert finding.verdict is Verdict.PASS, finding.sentence
    assert finding.canary_samples == finding.stable_samples == 1500


def test_without_ratings_the_gate_has_no_data_and_with_few_it_is_inconclusive() -> None:
    """A silent judge is never a pass, and never a failure."""
    one = evidence()
    (finding,) = (each for each in evaluate(JUDGED, one) if each.gate == "judge")
    assert finding.verdict is Verdict.NO_DATA
    told(one, 0.8, 0.8, 10)
    (finding,) = (each for each in evaluate(JUDGED, one) if each.gate == "judge")
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert "judge: canary 0." in finding.sentence


def test_worse_answers_fail_with_a_sentence_that_says_the_numbers() -> None:
    """Scores, not percent and not tokens."""
    one = evidence()
    told(one, 0.4, 0.8, 300)
    (finding,) = (each for each in evaluate(JUDGED, one) if each.gate == "judge")
    assert finding.verdict is Verdict.FAIL
    assert "canary 0.4" in finding.sentence
    assert "stable 0." in finding.sentence
    assert "-0.4" in finding.sentence or "-0.3" in finding.sentence


def test_a_new_visit_begins_safety_anew_and_keeps_harm() -> None:
    """Evidence of harm is of the whole attempt."""
    one = evidence()
    told(one, 0.5, 0.8, 100)
    before = harm(one)
    one.begin_visit(GENERATION + 1, PHASE_25)
    assert harm(one) == before
    assert one.seen("canary", "judge").n == 0
    assert one.log_e_safe("judge") == 0.0


def test_a_cohort_that_is_out_is_out_of_ratings_too() -> None:
    """What it did is no part of the whole any more."""
    rollout = replace(JUDGED, cohorts=(cohort("vip"), cohort("everyone")))
    one = evidence(rollout=rollout)
    values = {(Arm.CANARY, "vip"): 0.1, (Arm.CONTROL, "vip"): 0.9, (Arm.CANARY, "everyone"): 0.8, (Arm.CONTROL, "everyone"): 0.8}
    for number in range(100):
        for (arm, name), value in values.items():
            unit = f"{number:012x}{len(name):04x}"
            one.hear(rating(number, arm, value, cohort=name, stream_id=f"{arm}-{name}-{number}", unit=unit))
    one.advance(BEGIN + 100 + WITHIN)
    assert harm(one) > math.log(100)
    assert one.log_e_harm("judge", View("vip")) > math.log(100)
    assert one.log_e_harm("judge", View("vip", others=True)) < math.log(2)
    one.begin_visit(GENERATION + 1, PHASE_5, ("vip",))
    assert harm(one) < math.log(2)


# -------------------------------------------------------------------------------------------------------------------- restart
def test_a_restart_goes_on_where_it_was() -> None:
    """Capital, what was seen, and from which request on ratings are wanted again."""
    one = evidence()
    told(one, 0.6, 0.8, 200)
    again = Evidence.from_json(JUDGED, 8.0, one.to_json(), BEGIN)
    assert harm(again) == pytest.approx(harm(one))
    assert again.log_e_safe("judge") == pytest.approx(one.log_e_safe("judge"))
    assert again.seen("canary", "judge") == one.seen("canary", "judge")
    assert again.rated["judge"].horizon == one.rated["judge"].horizon


def test_evidence_from_before_there_was_a_judge_is_read() -> None:
    """A rollout without a gate of the judge has no ratings to go on from."""
    plain = specs.gated("errors")
    one = Evidence(plain, 8.0)
    one.begin_visit(GENERATION, PHASE_5)
    document = one.to_json()
    del document["rated"]
    assert Evidence.from_json(plain, 8.0, document, BEGIN).generation == GENERATION


def test_each_measure_is_silent_for_its_own_reason() -> None:
    """That a judge is away says nothing of what users say."""
    both = replace(specs.gated("judge", "thumbs"), judging=JUDGED.judging, matures={"judge": 60.0, "thumbs": 60.0})
    one = evidence(rollout=both)
    one.rated.silent.update({"judge": "it is away"})
    assert (one.rated.silence("judge"), one.rated.silence("thumbs"), one.rated.silence("errors")) == ("; judge: it is away", "", "")
