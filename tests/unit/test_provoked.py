"""Answers that make the judge write nonsense have no score: where one arm has more of them than the other, that is told."""

from __future__ import annotations

from random import Random

import pytest

from extproc.domain import Arm
from extproc.judge.provoked import Provoked

LOOK_EVERY = 20


def told_after(seed: int, canary: float, control: float, answers: int, end: str = "nonsense") -> int | None:
    """Answers of each arm until it is told that these shares of nonsense differ; None where it never is."""
    draw, one = Random(seed).random, Provoked()
    for number in range(answers):
        for arm, share in ((Arm.CANARY, canary), (Arm.CONTROL, control)):
            one.ended(3, arm, end if draw() < share else "scored")
        if number % LOOK_EVERY == LOOK_EVERY - 1 and one.why():
            return number + 1
    return None


def test_arms_that_are_alike_are_left_alone() -> None:
    """However often one looks, and whatever their common share is."""
    assert [told_after(seed, share, share, 600) for seed in range(20) for share in (0.02, 0.2)] == [None] * 40


@pytest.mark.parametrize(("canary", "control"), [(0.3, 0.02), (0.02, 0.3)])
def test_an_arm_that_provokes_nonsense_is_told_soon(canary: float, control: float) -> None:
    """Either arm: scores are missing where they matter."""
    told = [told_after(seed, canary, control, 300) for seed in range(10)]
    assert all(one is not None and one <= 200 for one in told)


def test_an_outage_is_nobodys_doing() -> None:
    """A judge who is away, slow or too dear says nothing of an answer, even where one arm has all of it."""
    for end in ("unreachable", "slow", "over_budget", "breaker_open"):
        assert told_after(1, 0.5, 0.0, 200, end) is None


def test_the_sentence_has_the_numbers() -> None:
    """Which arm, how many, and what it means."""
    one = Provoked()
    for number in range(100):
        one.ended(1, Arm.CANARY, "refused" if number % 2 else "scored")
        one.ended(1, Arm.CONTROL, "scored")
    assert "50 of 100 of the canary's answers and on 0 of 100 of control's" in one.why()


def test_another_visit_begins_anew_and_a_restart_does_not() -> None:
    """Late ends of the visit before are not counted in the new one; what was written down goes on."""
    one = Provoked()
    for _ in range(60):
        one.ended(1, Arm.CANARY, "nonsense")
        one.ended(1, Arm.CONTROL, "scored")
    assert one.why()
    again = Provoked(one.as_json())
    assert again.as_json() == one.as_json()
    again.ended(2, Arm.CANARY, "scored")
    again.ended(1, Arm.CANARY, "nonsense")
    assert again.why() == ""
    assert again.as_json()["ends"] == {"canary": {"scored": 1}, "control": {}}


def test_many_ends_cost_no_more_than_few() -> None:
    """Of a million a part is added up, and says the same."""
    ends = {"canary": {"nonsense": 600_000, "scored": 400_000}, "control": {"nonsense": 400_000, "scored": 600_000}}
    assert Provoked({"generation": 1, "ends": ends}).why()
    assert not Provoked({"generation": 1, "ends": {"canary": ends["canary"], "control": ends["canary"]}}).why()
