"""How late the evaluate loop is, with a clock that is an argument."""

from __future__ import annotations

import pytest

from extproc import contract
from extproc.controller.loop import TICK
from extproc.controller.vitals import REMEMBERED, VitalMetrics, Vitals

BEGIN = 500.0


@pytest.fixture
def vitals() -> Vitals:
    return Vitals(BEGIN)


def test_evaluations_stay_on_the_grid(vitals: Vitals) -> None:
    """One that is a little late does not move the next one; the times do not drift."""
    for number in range(1, 101):
        assert vitals.due == pytest.approx(BEGIN + number * TICK)
        vitals.ticked(vitals.due + 0.3, vitals.due + 0.4)
        assert vitals.lag(vitals.last) == pytest.approx(0.3)
    assert (vitals.ticks, vitals.missed) == (100, 0)
    assert vitals.tick_seconds == pytest.approx(0.1)


def test_an_evaluation_that_is_overdue_is_late_now(vitals: Vitals) -> None:
    """Whoever looks in between sees the lag grow; one that is not due yet is not late."""
    vitals.ticked(BEGIN + 1.0, BEGIN + 1.1)
    assert vitals.lag(BEGIN + 1.5) == 0.0
    assert vitals.lag(BEGIN + 5.0) == pytest.approx(3.0)
    assert vitals.worst(BEGIN + 5.0) == pytest.approx(3.0)


def test_a_loop_that_stood_still_does_not_catch_up(vitals: Vitals) -> None:
    """The ticks that were left out are counted, the next one follows at once, and then there is a new grid."""
    vitals.ticked(BEGIN + 1.0, BEGIN + 1.0)
    vitals.ticked(BEGIN + 9.5, BEGIN + 9.6)
    assert vitals.missed == 7
    assert vitals.due == BEGIN + 9.5, "at once"
    vitals.ticked(BEGIN + 9.6, BEGIN + 9.7)
    assert vitals.due == pytest.approx(BEGIN + 10.5)
    assert vitals.lag(BEGIN + 9.7) == pytest.approx(0.1)
    assert (vitals.ticks, vitals.missed) == (3, 7)


def test_the_worst_of_a_minute_is_forgotten_after_it(vitals: Vitals) -> None:
    """And what is kept for that is bounded."""
    vitals.ticked(BEGIN + 3.0, BEGIN + 3.0)
    while vitals.due < BEGIN + REMEMBERED:
        vitals.ticked(vitals.due, vitals.due)
        assert vitals.worst(vitals.last) == pytest.approx(2.0)
    for _ in range(300):
        vitals.ticked(vitals.due, vitals.due)
    assert vitals.worst(vitals.last) == 0.0
    assert len(vitals._last) <= REMEMBERED / TICK + 1
    assert vitals.missed == 2, "which is not forgotten"


def test_the_document_and_the_metrics_say_the_same(vitals: Vitals) -> None:
    """Counters are totals, however often they are read."""
    restarts = {"died": 2, "hung": 0}
    metrics = VitalMetrics(vitals, restarts)
    vitals.ticked(BEGIN + 2.5, BEGIN + 2.75)
    vitals.asked["status"] += 3
    metrics.exposition(BEGIN + 2.8)
    vitals.asked["status"] += 1
    restarts["hung"] += 1
    lines = metrics.exposition(BEGIN + 2.8).decode().splitlines()
    for line in (
        f"{contract.METRIC_LOOP_LAG} 1.5",
        f"{contract.METRIC_LOOP_WORST_LAG} 1.5",
        f"{contract.METRIC_TICK_SECONDS} 0.25",
        f"{contract.METRIC_TICKS} 1.0",
        f"{contract.METRIC_MISSED_TICKS} 1.0",
        f'{contract.METRIC_QUESTIONS}{{ask="status"}} 4.0',
        f'{contract.METRIC_API_RESTARTS}{{reason="died"}} 2.0',
        f'{contract.METRIC_API_RESTARTS}{{reason="hung"}} 1.0',
    ):
        assert line in lines
    assert vitals.document(BEGIN + 2.8) == {"lag": 1.5, "worst_lag": 1.5, "tick_seconds": 0.25, "ticks": 1, "missed_ticks": 1}
