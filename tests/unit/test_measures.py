"""Measures: one row each, read as the sentence says, weighted by groups."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from extproc.domain import Prices
from extproc.measures import GROUP_WEIGHTS, MEASURES, Kind, default_weights
from tests.support.outcomes import outcome

PRICES = Prices(Decimal("1.25"), Decimal("0.125"), Decimal("10"))


def read(name: str, prices: Prices | None = PRICES, **changes: Any) -> float | None:
    return MEASURES[name].read(outcome(**changes), prices)


@pytest.mark.parametrize(
    ("name", "changes", "value"),
    [
        ("errors", {"failed": True}, 1.0),
        ("errors", {"throttled": True, "status": 429}, 0.0),
        ("errors", {"client_aborted": True}, 0.0),
        ("throttled", {"throttled": True}, 1.0),
        ("client_aborts", {"client_aborted": True}, 1.0),
        ("abandons", {"client_aborted": True}, 1.0),
        ("abandons", {"client_aborted": True, "ttft": None}, None),
        ("retries", {"retry": True}, 1.0),
        ("regenerates", {"retry": True}, 0.0),
        ("regenerates", {"retry": True, "regenerate": True}, 1.0),
        ("latency_mean", {"duration": 2.5}, 2.5),
        ("latency_p99", {"duration": 2.5, "client_aborted": True}, 2.5),
        ("latency_mean", {"failed": True}, None),
        ("latency_mean", {"throttled": True}, None),
        ("ttft_p95", {"ttft": 0.4}, 0.4),
        ("ttft_mean", {"ttft": None}, None),
        ("input_tokens", {"input_tokens": 7}, 7),
        ("cached_tokens", {"cached_tokens": None}, None),
        ("reasoning_tokens", {"reasoning_tokens": 3}, 3),
        ("output_rate", {"output_tokens": 100, "duration": 2.1, "ttft": 0.1}, 50.0),
        ("output_rate", {"output_tokens": 100, "duration": 0.1, "ttft": 0.1}, None),
        ("output_rate", {"output_tokens": 100, "duration": 2.002, "ttft": 2.0}, None),  # a whole answer: its body follows its head
        ("output_rate", {"output_tokens": 0}, None),
    ],
)
def test_how_a_measure_is_read(name: str, changes: dict[str, Any], value: float | None) -> None:
    """None is no value, and is compared with nothing."""
    assert read(name, **changes) == (pytest.approx(value) if value is not None else None)


def test_cost_counts_cached_input_apart() -> None:
    """1,000 in, of which 400 cached, 50 out; more cached than read is all of it; without a price or tokens there is none."""
    assert read("cost", input_tokens=1000, cached_tokens=400, output_tokens=50) == pytest.approx((600 * 1.25 + 400 * 0.125 + 500) / 1e6)
    assert read("cost", input_tokens=10, cached_tokens=400, output_tokens=0) == pytest.approx(10 * 0.125 / 1e6)
    assert read("cost", input_tokens=10, cached_tokens=None, output_tokens=0) == pytest.approx(12.5 / 1e6)
    assert read("cost", prices=None) is None
    assert read("cost", output_tokens=None) is None


def test_default_weights_sum_to_1_and_follow_the_groups() -> None:
    """All of them; and those that are left share what the others leave."""
    assert sum(GROUP_WEIGHTS.values()) == pytest.approx(1.0)
    assert sum(default_weights(MEASURES).values()) == pytest.approx(1.0)
    assert default_weights(["errors"]) == {"errors": 1.0}
    few = default_weights(["errors", "latency_mean", "latency_p95", "cost"])
    assert few["errors"] == pytest.approx(0.40 / 0.68)
    assert few["latency_mean"] == few["latency_p95"] == pytest.approx(0.10 / 0.68)
    assert few["cost"] == pytest.approx(0.08 / 0.68)


@pytest.mark.parametrize("name", MEASURES)
def test_each_row_is_complete(name: str) -> None:
    """A kind that fits its quantile, a group with a weight, margins that never widen, a sentence."""
    measure = MEASURES[name]
    assert (measure.kind is Kind.QUANTILE) == (measure.quantile is not None)
    assert measure.group in GROUP_WEIGHTS
    assert [measure.margin(index) for index in range(6)] == sorted((measure.margin(index) for index in range(6)), reverse=True)
    assert measure.margin(99) == measure.margins[-1] > 0
    assert measure.sentence
    assert 0 <= measure.tolerance < measure.margins[-1] or not measure.relative


def test_the_names_that_the_issue_asks_for_are_there() -> None:
    """Errors, throttled and client aborts apart, both latencies as mean and quantiles, four kinds of tokens, cost, speed, the judge."""
    latencies = {f"{base}_{what}" for base in ("ttft", "latency") for what in ("mean", "p50", "p95", "p99")}
    tokens = {f"{kind}_tokens" for kind in ("input", "cached", "output", "reasoning")}
    users = {"client_aborts", "abandons", "retries", "regenerates", "session_length", "thumbs"}
    sampled = {"judge", "tripwires"}
    assert set(MEASURES) == {"errors", "throttled", "cost", "output_rate"} | users | sampled | latencies | tokens
