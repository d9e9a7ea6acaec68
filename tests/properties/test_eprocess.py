"""Laws of the e-processes, over generated batches."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from extproc.release.eprocess import BETS, RATIOS, BetE, RatioE, ceiling_log_e, combine, log_sum_exp, sample_ratio_log_bf

steady = settings(deadline=None, derandomize=True, database=None)
COUNTS = st.tuples(st.integers(0, 30), st.integers(0, 200)).flatmap(
    lambda sizes: st.tuples(st.integers(0, sizes[0]), st.integers(0, sizes[1]), st.just(sizes[0]), st.just(sizes[1]))
)
BATCHES = st.lists(COUNTS, max_size=40)
VALUES = st.floats(0, 5, allow_nan=False)
FINITE = st.floats(-2000, 2000, allow_nan=False)


@steady
@given(BATCHES, st.sampled_from([1.0, 1.5]), st.randoms(use_true_random=False))
def test_the_order_of_batches_and_who_recorded_them_change_nothing(
    batches: list[tuple[int, int, int, int]], r0: float, draw: object
) -> None:
    """Shuffled and spread over three collectors, then merged: the same e-value."""
    together, parts = RatioE(r0), [RatioE(r0) for _ in range(3)]
    for batch in batches:
        together.record(*batch)
    shuffled = list(batches)
    draw.shuffle(shuffled)  # type: ignore[attr-defined]
    for batch in shuffled:
        parts[draw.randrange(3)].record(*batch)  # type: ignore[attr-defined]
    for other in parts[1:]:
        parts[0].merge(other)
    assert parts[0].vector == pytest.approx(together.vector, abs=1e-9)


@steady
@given(st.lists(st.tuples(VALUES, VALUES), max_size=60), st.randoms(use_true_random=False))
def test_a_bet_is_the_same_whoever_recorded_it(pairs: list[tuple[float, float]], draw: object) -> None:
    """Three collectors, merged, are one stream."""
    together, parts = BetE(2.0, 0.1), [BetE(2.0, 0.1) for _ in range(3)]
    for x, y_mean in pairs:
        together.record(x, y_mean)
        parts[draw.randrange(3)].record(x, y_mean)  # type: ignore[attr-defined]
    for other in parts[1:]:
        parts[0].merge(other)
    assert parts[0].vector == pytest.approx(together.vector, abs=1e-9)


@steady
@given(st.lists(st.integers(0, 200), min_size=2, max_size=3), st.sampled_from([0.01, 0.25, 0.4]))
def test_a_sample_ratio_can_be_told_unit_by_unit_or_at_once(counts: list[int], share: float) -> None:
    """The factors of the units multiply to the whole, and each is fair under the plan: what is expected of the next one is 1."""
    shares = [share, 1 - share] if len(counts) == 2 else [share, share, 1 - 2 * share]
    now = sample_ratio_log_bf(counts, shares)
    steps = [sample_ratio_log_bf([n + (i == arm) for i, n in enumerate(counts)], shares) - now for arm in range(len(counts))]
    assert sum(part * math.exp(step) for part, step in zip(shares, steps, strict=True)) == pytest.approx(1.0)


@steady
@given(BATCHES, COUNTS.filter(lambda batch: batch[0] < batch[2] and batch[3] > 0))
def test_one_more_canary_event_never_calms(batches: list[tuple[int, int, int, int]], last: tuple[int, int, int, int]) -> None:
    """Harm grows with canary events and shrinks with stable ones."""
    x, y, n_c, n_s = last
    fewer, more = RatioE(), RatioE()
    for batch in batches:
        fewer.record(*batch)
        more.record(*batch)
    fewer.record(x, y, n_c, n_s)
    more.record(x + 1, y, n_c, n_s)
    assert more.log_e > fewer.log_e
    if y < n_s:
        calmer = RatioE(vector=more.vector)
        calmer.record(0, 1, 1, 1)
        assert calmer.log_e < more.log_e


@steady
@given(st.lists(st.tuples(VALUES, VALUES), max_size=60), st.sampled_from([(1.0, 0.0, 0.0), (1.0, 0.0, -0.01), (2.0, 0.2, 0.1)]))
def test_capital_is_never_lost_entirely(pairs: list[tuple[float, float]], kind: tuple[float, float, float]) -> None:
    """Every bet keeps at least 1 - bet of its capital per batch, whatever the values: no -inf, no NaN, no domain error."""
    e = BetE(*kind)
    for x, y_mean in pairs:
        e.record(x, y_mean)
    for log_k, bet in zip(e.vector, BETS, strict=True):
        assert math.isfinite(log_k)
        assert log_k >= len(pairs) * math.log1p(-bet) - 1e-6
    assert math.isfinite(e.log_e)


@steady
@given(st.integers(0, 2000), st.integers(1, 2000), st.sampled_from([0.001, 0.05, 0.5, 0.99]))
def test_a_ceiling_rises_with_events_and_falls_with_good_requests(events: int, good: int, ceiling: float) -> None:
    """Monotone in both counts, and finite."""
    now = ceiling_log_e(events, events + good, ceiling)
    assert math.isfinite(now)
    assert ceiling_log_e(events + 1, events + 1 + good, ceiling) > now
    assert ceiling_log_e(events, events + good + 1, ceiling) < now


@steady
@given(st.lists(FINITE, min_size=1, max_size=10))
def test_a_mean_of_e_values_lies_between_them(log_es: list[float]) -> None:
    """And log_sum_exp is at least the greatest."""
    mixed = combine(log_es, [1 / len(log_es)] * len(log_es))
    assert min(log_es) - 1e-6 <= mixed <= max(log_es) + 1e-6
    assert max(log_es) <= log_sum_exp(log_es) <= max(log_es) + math.log(len(log_es)) + 1e-9


@steady
@given(COUNTS.filter(lambda batch: batch[2] > 0 and batch[3] > 0))
def test_no_bet_gains_more_than_its_ratio_per_canary_event(batch: tuple[int, int, int, int]) -> None:
    """log L_j <= x * ln(r_j): without canary events no bet gains anything."""
    e = RatioE()
    e.record(*batch)
    for log_l, ratio in zip(e.vector, RATIOS, strict=True):
        assert log_l <= batch[0] * math.log(ratio) + 1e-12
