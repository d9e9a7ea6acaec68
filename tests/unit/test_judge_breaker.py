"""The circuit breaker and the budget: pure state machines."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extproc.judge.breaker import LONGEST_COOL_DOWN, Breaker, Circuit
from extproc.judge.budget import DAY, Budget


def admitted(breaker: Breaker, now: float) -> int:
    number = breaker.admit(now)
    assert number is not None
    return number


def opened() -> Breaker:
    breaker = Breaker(failures=2, cool_down=10.0)
    for _ in range(2):
        breaker.failed(admitted(breaker, 0.0), 0.0)
    return breaker


def test_failures_in_a_row_open_it_and_a_success_between_them_does_not() -> None:
    breaker = Breaker(failures=2)
    for end in (breaker.failed, breaker.failed):
        breaker.succeeded(admitted(breaker, 0.0))
        end(admitted(breaker, 0.0), 0.0)
        assert breaker.state is Circuit.CLOSED
    breaker.failed(admitted(breaker, 0.0), 0.0)
    assert breaker.state is Circuit.OPEN
    assert breaker.admit(0.0) is None


def test_after_its_time_one_question_goes_through() -> None:
    """It closes the circuit, or opens it for twice as long."""
    breaker = opened()
    assert breaker.admit(9.9) is None
    assert breaker.wait(4.0) == 6.0
    probe = admitted(breaker, 10.0)
    assert breaker.state is Circuit.HALF_OPEN
    assert breaker.admit(11.0) is None
    breaker.failed(probe, 11.0)
    assert breaker.admit(30.9) is None
    breaker.succeeded(admitted(breaker, 31.0))
    assert breaker.state is Circuit.CLOSED
    assert breaker.wait(31.0) == 0.0


def test_the_time_is_bounded_and_begins_anew_after_a_success() -> None:
    breaker, now = opened(), 0.0
    for _ in range(12):
        now += LONGEST_COOL_DOWN
        breaker.failed(admitted(breaker, now), now)
    assert breaker.wait(now) == LONGEST_COOL_DOWN
    now += LONGEST_COOL_DOWN
    breaker.succeeded(admitted(breaker, now))
    for _ in range(2):
        breaker.failed(admitted(breaker, now), now)
    assert breaker.wait(now) == 10.0


def test_a_late_end_of_an_earlier_question_changes_nothing() -> None:
    """What was let through before the circuit moved is of another time."""
    breaker = Breaker(failures=1, cool_down=10.0)
    early, late = admitted(breaker, 0.0), admitted(breaker, 0.0)
    breaker.failed(early, 0.0)
    breaker.succeeded(late)
    assert breaker.state is Circuit.OPEN
    probe = admitted(breaker, 10.0)
    breaker.succeeded(late)
    breaker.failed(late, 10.0)
    assert breaker.state is Circuit.HALF_OPEN
    breaker.succeeded(probe)
    breaker.failed(probe, 10.0)
    assert breaker.state is Circuit.CLOSED


def test_a_probe_that_is_given_up_lets_the_next_one_try() -> None:
    """Else a cancelled question would keep the judge away for ever."""
    breaker = opened()
    breaker.abandoned(admitted(breaker, 10.0), 10.0)
    breaker.succeeded(admitted(breaker, 10.0))
    assert breaker.state is Circuit.CLOSED


@given(st.lists(st.tuples(st.sampled_from(["ok", "bad", "gone"]), st.floats(0, 50)), max_size=60))
def test_it_is_never_shut_for_ever(ends: list[tuple[str, float]]) -> None:
    """Law: whatever happened, after the longest time a question goes through, and while one is out half open no other does."""
    breaker, now = Breaker(failures=2, cool_down=1.0), 0.0
    for end, pause in ends:
        now += pause
        number = breaker.admit(now)
        if number is None:
            continue
        if breaker.state is Circuit.HALF_OPEN:
            assert breaker.admit(now) is None
        if end == "ok":
            breaker.succeeded(number)
        elif end == "bad":
            breaker.failed(number, now)
        else:
            breaker.abandoned(number, now)
    assert breaker.admit(now + LONGEST_COOL_DOWN) is not None


def test_a_budget_is_kept_by_what_is_set_aside() -> None:
    """Questions that are open together cannot pass the limit; what they did not cost is free again; the next day begins at 0."""
    budget = Budget(Decimal("1.00"))
    assert budget.reserve(0.0, Decimal("0.60"))
    assert not budget.reserve(0.0, Decimal("0.60"))
    budget.settle(1.0, Decimal("0.60"), Decimal("0.10"))
    assert budget.reserve(2.0, Decimal("0.90"))
    budget.settle(3.0, Decimal("0.90"), Decimal("0.90"))
    assert budget.spent == Decimal("1.00")
    assert not budget.reserve(DAY - 1, Decimal("0.01"))
    assert budget.reserve(DAY, Decimal("0.01"))


def test_what_is_open_over_midnight_stays_set_aside() -> None:
    """And its cost counts for the day in which it ends."""
    budget = Budget(Decimal(1))
    assert budget.reserve(DAY - 1, Decimal(1))
    assert not budget.reserve(DAY + 1, Decimal("0.01"))
    budget.settle(DAY + 2, Decimal(1), Decimal("0.5"))
    assert budget.spent == Decimal("0.5")
    with pytest.raises(ValueError, match="none"):
        Budget(Decimal(-1))
