"""Lanes: epochs are summed by weight, views are what they say, a restart ends an epoch and loses nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.release.compare import EventLane
from extproc.release.eprocess import RATIO_WEIGHTS, combine
from extproc.release.lanes import Lane, View
from extproc.release.limits import Limits
from extproc.release.scales import BLINK, HOUR, MINUTE, SCALE_WEIGHT, SCALES, WHOLE, Scale
from extproc.release.strata import Stratum

GAIN = st.lists(st.floats(-3, 3), min_size=8, max_size=8)


class Plain(Lane):
    """A lane without batches."""

    def __init__(self, scale: Scale, size: int = 1) -> None:
        super().__init__(scale, size, RATIO_WEIGHTS)

    def flush(self) -> None:
        """There is nothing to close."""


def e_of(*vectors: Sequence[float]) -> float:
    """E of vectors that are added."""
    return math.exp(combine([sum(parts) for parts in zip(*vectors, strict=True)], RATIO_WEIGHTS)) if vectors else 1.0


@pytest.mark.parametrize("scale", SCALES)
def test_the_weights_of_all_epochs_are_1(scale: Scale) -> None:
    """However many there have been, theirs and the rest's together."""
    for number in (1, 2, 3, 10, 100):
        assert sum(scale.weight(k) for k in range(1, number + 1)) + scale.rest(number) == pytest.approx(1.0)
    assert scale.rest(0) == 1.0
    assert SCALE_WEIGHT * len(SCALES) == 1.0


def test_epochs_are_nested() -> None:
    """Who is new in a minute is new in its two seconds."""
    for start in (0.0, 59.999, 60.0, 3599.9, 1_000_003.7):
        assert BLINK.epoch(start) * BLINK.seconds // MINUTE.seconds == MINUTE.epoch(start)
        assert MINUTE.epoch(start) * MINUTE.seconds // HOUR.seconds == HOUR.epoch(start)
        assert WHOLE.epoch(start) == 0


@settings(deadline=None, derandomize=True, database=None, max_examples=60)
@given(
    st.sampled_from([BLINK, WHOLE]),
    st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), GAIN, max_size=3), min_size=1, max_size=6),
    st.integers(0, 6),
)
def test_a_lane_is_the_weighted_sum_over_its_epochs(scale: Scale, epochs: list[dict[str, list[float]]], restart: int) -> None:
    """By hand: sum of w_k * E_k, and 1 for each to come; for everybody, for each cohort, without each cohort; also where a restart
    comes in between."""
    lane = Plain(scale)
    for number, gains in enumerate(epochs):
        if number == restart:
            document = json.loads(json.dumps(lane.to_json()))
            lane = Plain(scale)
            lane.restore(document)
        lane.begin(number)
        lane.met = True
        for cohort, gain in gains.items():
            lane.gain(cohort, 0, gain)

    def expected(chosen: set[str]) -> float:
        total = scale.rest(len(epochs))
        for number, gains in enumerate(epochs, start=1):
            total += scale.weight(number) * e_of(*(gain for cohort, gain in gains.items() if cohort in chosen))
        return total

    everybody = {"a", "b", "c"}
    for again in (lane, _restored(lane, scale)):
        assert math.exp(again.log_e(0)) == pytest.approx(expected(everybody))
        for cohort in sorted(everybody):
            assert math.exp(again.log_e(0, View(cohort))) == pytest.approx(expected({cohort}))
            assert math.exp(again.log_e(0, View(cohort, others=True))) == pytest.approx(expected(everybody - {cohort}))


def _restored(lane: Lane, scale: Scale) -> Lane:
    again = Plain(scale)
    again.restore(json.loads(json.dumps(lane.to_json())))
    assert again.to_json() == lane.to_json()
    return again


def test_a_cohort_that_is_excluded_leaves_the_others() -> None:
    """The whole is then what it was without it, in the epochs that are over and in the open one."""
    lane, only = Plain(BLINK), Plain(BLINK)
    for number in range(3):
        lane.begin(number)
        only.begin(number)
        lane.met = only.met = True
        lane.gain("bad", 0, [2.0] * 8)
        for one in (lane, only):
            one.gain("good", 0, [0.3 * number] * 8)
    lane.exclude("bad")
    assert lane.log_e(0) == pytest.approx(only.log_e(0))
    assert lane.log_e(0, View("good")) == pytest.approx(only.log_e(0, View("good")))
    lane.begin(3)
    only.begin(3)
    assert lane.log_e(0) == pytest.approx(only.log_e(0))


def test_a_lane_that_is_none_is_refused() -> None:
    """Another number of measures, or no numbers at all."""
    document = Plain(BLINK, 2).to_json()
    with pytest.raises(ValueError, match="has 2 measures, not 1"):
        Plain(BLINK).restore(document)
    for wrong in (["x", []], [1, 5], [0, [None, 0.0, {"a": 3}]]):
        with pytest.raises((TypeError, ValueError)):
            Plain(BLINK).restore(wrong)


# ---------------------------------------------------------------------------------------------------------------- event lanes
LIMITS = Limits(0, (), ())


def stratum(share: float = 0.25, cohort: str = "everyone", measures: Sequence[str] = ("errors",)) -> Stratum:
    return Stratum(1, 0, cohort, share, frozenset(measures))


def test_a_batch_ends_with_its_epoch_and_counts_where_both_arms_are_in_it() -> None:
    """One canary failure beside one stable unit: too few for a batch, and yet seen when the epoch is over."""
    lane, here = EventLane(BLINK, ["errors"], [0.0]), stratum()
    lane.feed(1, here, LIMITS, False, 0)
    lane.feed(1, here, LIMITS, True, 1)
    assert lane.log_e(0) == pytest.approx(0.0)
    lane.feed(2, here, LIMITS, True, 1)
    first = math.exp(combine([math.log(r) - math.log((r + 1) / 2) for r in (1.2, 1.5, 2, 3, 5, 10, 30, 100)], RATIO_WEIGHTS))
    assert math.exp(lane.log_e(0)) == pytest.approx(first / 2 + 1 / 2)
    lane.feed(3, here, LIMITS, False, 0)
    assert math.exp(lane.log_e(0)) == pytest.approx(first / 2 + 1 / 2), "the second epoch had no stable unit"


def test_an_epoch_without_the_canary_costs_nothing() -> None:
    """A night of stable traffic at 1 %: the first canary unit of the morning still has the first epoch's weight."""
    lane, here = EventLane(BLINK, ["errors"], [0.0]), stratum()
    for epoch in range(1000):
        lane.feed(epoch, here, LIMITS, False, 0)
    assert lane.done == 0
    for _ in range(3):
        lane.feed(1000, here, LIMITS, False, 0)
    lane.feed(1000, here, LIMITS, True, 1)
    assert lane.log_e(0) > math.log(1.2)
    lane.feed(1001, here, LIMITS, False, 0)
    assert lane.done == 1


def test_what_comes_for_an_epoch_that_is_over_is_left_out() -> None:
    """It would be counted beside units that it did not run beside."""
    lane, here = EventLane(BLINK, ["errors"], [0.0]), stratum()
    lane.feed(5, here, LIMITS, False, 0)
    for _ in range(50):
        lane.feed(4, here, LIMITS, True, 1)
        lane.feed(4, here, LIMITS, False, 0)
    assert lane.log_e(0) == pytest.approx(0.0)


def test_a_batch_never_spans_two_limits() -> None:
    """Thresholds that changed in between would have been seen by the units that came before."""
    lane, here, later = EventLane(BLINK, ["errors"], [0.0]), stratum(), Limits(1, (), ())
    lane.feed(1, here, LIMITS, False, 0)
    lane.feed(1, here, LIMITS, True, 1)
    lane.feed(1, here, later, False, 0)
    one_batch = lane.log_e(0)
    assert one_batch > 0
    lane.feed(1, here, later, False, 0)
    lane.feed(1, here, later, False, 0)
    lane.feed(1, here, later, True, 0)
    assert lane.log_e(0) == pytest.approx(one_batch), "nothing happened in the second one"


def test_a_measure_without_a_gate_in_this_phase_is_not_compared() -> None:
    """The bits of the others are."""
    lane, here = EventLane(BLINK, ["errors", "throttled"], [0.0, 0.0]), stratum(measures=("throttled",))
    for _ in range(20):
        for _ in range(3):
            lane.feed(1, here, LIMITS, False, 0)
        lane.feed(1, here, LIMITS, True, 0b11)
    assert lane.log_e(0) == pytest.approx(0.0)
    assert lane.log_e(1) > math.log(20)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.25, 0.5, 0.75, 0.95])
def test_batches_end_where_the_plain_form_ends_them(share: float) -> None:
    """The same sequence of arms: the same batches, and so the same e-value, as the form that the design's table was made with."""
    import random

    from extproc.release.batches import Batcher
    from extproc.release.eprocess import RatioE

    draw, batcher, plain, lane = random.Random(1), Batcher(share), RatioE(), EventLane(WHOLE, ["errors"], [0.0])
    here = stratum(share)
    for _ in range(3000):
        canary, failed = draw.random() < share, draw.random() < 0.2
        batch = batcher.add(canary, failed)
        if batch is not None:
            plain.record(batch.x, batch.y, batch.n_c, batch.n_s)
        lane.feed(0, here, LIMITS, canary, int(failed))
    whole = math.exp(lane.log_e(0))
    assert whole == pytest.approx(0.75 * math.exp(plain.log_e) + 0.25)
