"""A judge's noise, agreement, drift and bias: figures against what is known, laws, and errors counted over many runs."""

from __future__ import annotations

import json
import math
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from extproc.domain import Comparison, Preference
from extproc.judge import binomial
from extproc.judge.bias import LEAST, Places, SameArms, place_bias, same_arms
from extproc.judge.calibration import LEAST_LABELS, LEAST_PAIRS, Agreement, Retest, kappa, level_of, noise
from extproc.judge.drift import BETS, Drift, drifted, log_sum
from extproc.release.eprocess import BetE

A, B, TIE = Preference.A, Preference.B, Preference.TIE
units = st.floats(0, 1)


# -------------------------------------------------------------------------------------------------------------------------- retest
def retested(pairs: int, spread: float, sd: float, seed: int = 1) -> Retest:
    random, found = Random(seed), Retest()
    for _ in range(pairs):
        answer = random.gauss(0.5, spread)
        found = found.with_pair(answer + random.gauss(0, sd), answer + random.gauss(0, sd))
    return found


def test_noise_is_found_as_it_is() -> None:
    """Answers with a spread of .2 and a noise of .15: 36 % of the variance is noise."""
    found = noise(retested(20_000, 0.2, 0.15))
    assert found is not None
    assert found.sd == pytest.approx(0.15, rel=0.02)
    assert found.gap_sd == pytest.approx(0.15 * math.sqrt(2), rel=0.02)
    assert found.share == pytest.approx(0.36, abs=0.01)
    assert found.icc == pytest.approx(0.64, abs=0.01)
    assert "differs by 0.21 (sd): one score has a noise of 0.15" in found.sentence


def test_the_interval_of_the_noise_holds_it_in_95_of_100() -> None:
    held = 0
    for seed in range(400):
        found = noise(retested(30, 0.2, 0.15, seed))
        assert found is not None
        held += found.low <= 0.15 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_noise_at_the_ends() -> None:
    """A judge without noise, one that says always the same, one whose pairs have nothing in common; too few pairs say nothing."""
    same = Retest()
    for number in range(LEAST_PAIRS):
        assert noise(same) is None
        same = same.with_pair(number / LEAST_PAIRS, number / LEAST_PAIRS)
    perfect = noise(same)
    assert perfect is not None
    assert (perfect.sd, perfect.share, perfect.icc) == (0.0, 0.0, 1.0)
    stuck = Retest()
    for _ in range(LEAST_PAIRS):
        stuck = stuck.with_pair(0.5, 0.5)
    found = noise(stuck)
    assert found is not None
    assert (found.sd, found.share) == (0.0, 0.0)
    chance = noise(retested(5_000, 0.0, 0.15))
    assert chance is not None
    assert chance.share > 0.95


@given(st.lists(st.tuples(units, units), max_size=40), st.integers(0, 40))
def test_retests_add_up_and_go_through_json(pairs: list[tuple[float, float]], cut: int) -> None:
    whole, parts = Retest(), [Retest(), Retest()]
    for index, pair in enumerate(pairs):
        whole = whole.with_pair(*pair)
        parts[index >= cut] = parts[index >= cut].with_pair(*pair)
    added = parts[0].plus(Retest.from_json(json.loads(json.dumps(parts[1].as_json()))))
    assert list(added.as_json().values()) == pytest.approx(list(whole.as_json().values()))


# ----------------------------------------------------------------------------------------------------------------------- agreement
def agreement(cells: dict[tuple[int, int], int]) -> Agreement:
    found = Agreement()
    for (person, judge), count in cells.items():
        for _ in range(count):
            found = found.with_label(person, (judge - 1) / 4)
    return found


def test_kappa_by_hand() -> None:
    """Two levels at the ends: quadratic weights are plain kappa there. 45 and 35 agree, 10 and 10 do not: (.8 - .505) / (1 - .505)."""
    found = kappa(agreement({(1, 1): 45, (5, 5): 35, (1, 5): 10, (5, 1): 10}))
    assert found is not None
    assert found.value == pytest.approx((0.8 - 0.505) / 0.495)
    assert found.offset == 0
    assert found.labels == 100


def test_kappas_interval_is_that_of_many_samples() -> None:
    """Drawn again and again from one population, kappa spreads as its error says, and 95 of 100 intervals hold the true one."""
    random = Random(3)
    cells = [(i, j) for i in range(1, 6) for j in range(1, 6)]
    weights = [math.exp(-((i - j) ** 2)) * (2 if i > 3 else 1) for i, j in cells]
    truth = kappa(agreement({cell: round(weight * 200) for cell, weight in zip(cells, weights, strict=True)}))
    assert truth is not None
    held, values, halves = 0, [], []
    for _ in range(300):
        drawn = Agreement()
        for i, j in random.choices(cells, weights, k=120):
            drawn = drawn.with_label(i, (j - 1) / 4)
        found = kappa(drawn)
        assert found is not None
        held += found.low <= truth.value <= found.high
        values.append(found.value)
        halves.append((found.high - found.low) / 2)
    assert 0.91 <= held / 300 <= 0.985
    spread = math.sqrt(fmean((value - fmean(values)) ** 2 for value in values))
    assert fmean(halves) / 1.96 == pytest.approx(spread, rel=0.15)


def test_a_mild_judge_has_an_offset() -> None:
    found = kappa(agreement({(1, 2): 20, (3, 4): 20, (4, 5): 20, (2, 2): 20}))
    assert found is not None
    assert found.offset == pytest.approx(0.75)
    assert "milder" in found.sentence


def test_where_kappa_says_nothing() -> None:
    """Too few labels, or one and the same level throughout."""
    assert kappa(agreement({(1, 1): 10, (5, 5): LEAST_LABELS - 11})) is None
    assert kappa(agreement({(4, 4): 100})) is None
    with pytest.raises(ValueError, match="1 to 5"):
        Agreement().with_label(0, 0.5)
    with pytest.raises(ValueError, match="1 to 5"):
        Agreement().with_label(1, math.nan)
    with pytest.raises(ValueError, match="counts"):
        Agreement.from_json([1, 2])


@given(st.lists(st.tuples(st.integers(1, 5), units), max_size=60))
def test_agreement_adds_up_and_kappa_is_bounded(labels: list[tuple[int, float]]) -> None:
    whole = Agreement()
    for label in labels:
        whole = whole.with_label(*label)
    twice = whole.plus(Agreement.from_json(json.loads(json.dumps(whole.as_json()))))
    assert sum(twice.counts) == 2 * len(labels)
    found = kappa(twice)
    if found is not None:
        assert -1 <= found.low <= found.value <= found.high <= 1


def test_the_nearest_level() -> None:
    assert [level_of(score) for score in (0, 0.12, 0.13, 0.5, 0.87, 0.88, 1)] == [1, 1, 2, 3, 4, 5, 5]


# --------------------------------------------------------------------------------------------------------------------------- drift
REFERENCES = (0.9, 0.85, 0.9, 0.8, 0.5, 0.55, 0.45, 0.6, 0.1, 0.15, 0.2, 0.1)


def scored(drift: Drift, random: Random, scores: int, shift: float, sd: float = 0.15) -> Drift:
    for _ in range(scores):
        reference = random.choice(REFERENCES)
        drift = drift.with_score(reference, min(1.0, max(0.0, reference + shift + random.gauss(0, sd))))
    return drift


def test_a_judge_that_has_changed_is_found_even_after_a_long_calm() -> None:
    """Stricter or milder by .15 after 2,000 calm scores: seen within 400 more, where a plain e-process would have nothing left to bet."""
    for shift in (-0.15, 0.15):
        for seed in range(5):
            random = Random(seed)
            calm = scored(Drift(), random, 2000, 0.0)
            found = drifted(calm)
            assert found is not None
            assert not found.changed
            found = drifted(scored(calm, random, 400, shift))
            assert found is not None
            assert found.changed
            assert "has changed (seen at score 2" in found.sentence


def test_a_judge_that_has_not_changed_is_left_alone() -> None:
    """20 judges, 3,000 scores each, at the very edge of the tolerance: at most 60,000 / 100,000 of an alarm is due."""
    alarms = 0
    for seed in range(20):
        random = Random(seed)
        drift = Drift()
        for _ in range(3000):
            drift = drift.with_score(0.5, 0.55 + random.gauss(0, 0.15))
        alarms += drift.alarm > 0
    assert alarms <= 2


@given(st.lists(st.tuples(units, units), max_size=30))
def test_one_score_moves_each_sum_by_its_stake_at_most(scores: list[tuple[float, float]]) -> None:
    """Law: whatever the scores, the detector is a number, and it goes through JSON unchanged."""
    drift = Drift()
    for reference, score in scores:
        drift = drift.with_score(reference, score)
        assert len(drift.risen) == len(drift.fallen) == len(BETS)
        assert math.isfinite(log_sum(drift))
    assert Drift.from_json(json.loads(json.dumps(drift.as_json()))) == drift


def test_each_bet_is_fair_at_the_edge() -> None:
    """The mean of what a bet multiplies by is 1 where the mean difference is the tolerance: two outcomes, by hand."""
    up, down = Drift().with_score(0.5, 0.65), Drift().with_score(0.5, 0.45)
    for one, other in zip(up.risen, down.risen, strict=True):
        assert (math.exp(one) + math.exp(other)) / 2 == pytest.approx(1.0)
    with pytest.raises(ValueError, match="bets"):
        Drift.from_json({**Drift().as_json(), "risen": [None]})


def test_an_alarm_stays() -> None:
    """It ends with a new reference, not by itself."""
    drift = scored(Drift(), Random(1), 300, -0.3)
    at = drift.alarm
    drift = scored(drift, Random(2), 1000, 0.0)
    assert 0 < at == drift.alarm
    assert drifted(Drift()) is None


# ---------------------------------------------------------------------------------------------------------------------------- bias
def pair(one: Preference, other: Preference) -> Comparison:
    return Comparison(TIE, {}, one, other, "", "j", 0, 0, None, 0.0)


def places(first: int, second: int, agreed: int) -> Places:
    found = Places()
    for count, comparison in ((first, pair(A, A)), (second, pair(B, B)), (agreed, pair(A, B)), (3, pair(TIE, A))):
        for _ in range(count):
            found = found.with_pair(comparison)
    return found


def test_a_place_that_is_preferred_is_found() -> None:
    found = place_bias(places(30, 5, 65))
    assert found is not None
    assert found.biased
    assert found.share == pytest.approx(30 / 35)
    assert found.p == pytest.approx(stats.binomtest(30, 35).pvalue)
    assert found.contradicted == pytest.approx(0.35)
    assert "prefers the first place" in found.sentence
    found = place_bias(places(2, 30, 10))
    assert found is not None
    assert "prefers the second place" in found.sentence


def test_a_fair_judge_is_called_so() -> None:
    for first, second in ((18, 17), (0, 0), (4, 1)):
        found = place_bias(places(first, second, 65))
        assert found is not None
        assert not found.biased
        assert found.low <= 0.5 <= found.high
    assert place_bias(places(5, 5, LEAST - 11)) is None


def test_places_add_up() -> None:
    one = places(3, 2, 1)
    assert one.plus(Places.from_json(json.loads(json.dumps(one.as_json())))) == Places(6, 4, 2, 6)


@pytest.mark.parametrize("events", [0, 1, 5, 37, 99, 100])
def test_bounds_are_those_of_clopper_and_pearson(events: int) -> None:
    """Against scipy."""
    exact = stats.binomtest(events, 100).proportion_ci(0.95, "exact")
    assert binomial.lower(events, 100, 0.025) == pytest.approx(exact.low, abs=1e-9)
    assert binomial.upper(events, 100, 0.025) == pytest.approx(exact.high, abs=1e-9)
    assert binomial.two_sided(events, 100) == pytest.approx(stats.binomtest(events, 100).pvalue)
    assert binomial.at_least(events, 100, 0.3) == pytest.approx(stats.binom.sf(events - 1, 100, 0.3))
    assert (binomial.at_least(101, 100, 0.3), binomial.at_least(1, 100, 0.0), binomial.at_least(1, 100, 1.0)) == (0.0, 0.0, 1.0)


def test_like_arms_are_not_told_apart_by_the_gates_own_process() -> None:
    """A/A: noisy scores of one judge in both arms, compared as the gate does it (BetE), hardly ever reject; unlike ones are seen."""

    def trials(shift: float) -> SameArms:
        found = SameArms()
        for seed in range(100):
            random, process, top = Random(seed), BetE(cap=1.0), 0.0
            for _ in range(200):
                better, worse = (min(1.0, max(0.0, random.gauss(0.7, 0.25) + move)) for move in (shift, 0.0))
                process.record(1 - worse, 1 - better)
                top = max(top, process.log_e)
            found = found.with_trial(top, 0.05)
        return found

    like = same_arms(trials(0.0), 0.05)
    assert like is not None
    assert like.sound
    unlike = same_arms(trials(0.15), 0.05)
    assert unlike is not None
    assert not unlike.sound
    assert "do not decide by it" in unlike.sentence
    assert same_arms(SameArms(LEAST - 1, 0), 0.05) is None
    one = SameArms(3, 1)
    assert one.plus(SameArms.from_json(json.loads(json.dumps(one.as_json())))) == SameArms(6, 2)
