"""Histogram: quantiles within 2 %, merged by addition."""

from __future__ import annotations

import random

import pytest

from extproc.release.histogram import GROWTH, SMALLEST, Histogram


def filled(values: list[float]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1.0])
def test_a_quantile_is_right_within_2_percent(share: float) -> None:
    """Against the exact quantile of lognormal latencies."""
    draw = random.Random(1)
    values = sorted(draw.lognormvariate(0.0, 0.8) for _ in range(5000))
    exact = values[max(0, round(share * len(values)) - 1)]
    assert filled(values).quantile(share) == pytest.approx(exact, rel=0.021)


def test_a_value_is_in_the_bucket_that_the_rule_names() -> None:
    """Bucket k holds (SMALLEST * GROWTH^(k-1), SMALLEST * GROWTH^k]."""
    for value in (2e-6, 0.001, 0.7, 8.0, 3600.0):
        (bucket,) = filled([value]).counts
        assert SMALLEST * GROWTH ** (bucket - 1) * (1 - 1e-12) < value <= SMALLEST * GROWTH**bucket * (1 + 1e-12)


def test_nothing_seen_has_no_quantile() -> None:
    """No data is None, not 0."""
    assert Histogram().quantile(0.5) is None


@pytest.mark.parametrize("value", [0.0, -1.0, SMALLEST / 2, SMALLEST])
def test_what_is_not_above_the_smallest_counts_as_the_smallest(value: float) -> None:
    """A clock that stood still, or went back, does no harm."""
    assert filled([value]).quantile(0.5) == pytest.approx(SMALLEST, rel=0.021)


def test_histograms_merge_by_adding_counts() -> None:
    """What two collectors saw is what one would have seen; counts given are copied."""
    first, second = filled([0.1, 0.2, 3.0]), filled([0.2, 7.0])
    both = Histogram(dict(first.counts + second.counts))
    assert both.counts == filled([0.1, 0.2, 3.0, 0.2, 7.0]).counts
    given = dict(first.counts)
    Histogram(given).add(0.1)
    assert given == dict(first.counts)
