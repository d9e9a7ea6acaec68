"""The table of faults: what is told of a fault is what the answers say, and every broken promise is told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadtest.faults_report import Answer, Done, figures, picture, problems, table

DONE = Done("a worker is killed", "kill -9", None, 0.0, 10.0, 12.0, 1.5, 20.0, "metric 1.0", "router 1 of 2")
MOVED = replace(DONE, name="the controller is frozen", withdraws=5.0, end=19.0)


def answers(*more: Answer) -> list[Answer]:
    """Ten people, five of whom meet the canary, each heard of every second."""
    found = [Answer(at, at + 0.03, person, False, "new" if person < 5 else "old", "") for at in range(20) for person in range(10)]
    return [one for one in found if not any(one[:3:2] == other[:3:2] for other in more)] + list(more)


def test_where_traffic_stays_only_failed_open_requests_are_told() -> None:
    """A canary person who was answered by stable once; the slowest request."""
    found = figures(DONE, answers(Answer(11, 11.08, 2, False, "old", "")), "new")
    assert (found.errors, found.requests, found.canary_before, found.moved, found.strangers) == (0, 200, 0.5, 1, 0)
    assert found.slowest == pytest.approx(0.08)
    assert found.slowest_before == pytest.approx(0.03)
    assert problems(DONE, found) == []


def test_a_withdrawal_is_timed_by_its_last_canary_request() -> None:
    """What comes after the fault has ended does not count; what comes later than promised is told."""
    told = [one for one in answers() if not (one.model == "new" and 13 < one.sent < 19)]
    found = figures(MOVED, told, "new")
    assert found.last_canary == 3.0
    assert problems(MOVED, found) == []
    late = figures(MOVED, answers(), "new")
    assert problems(MOVED, late) == ["the controller is frozen: the canary was met until 8.0 s after the fault, promised 5 s"]


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(11, 11.1, 2, False, "", "503"), "1 clients' errors"),
        (Answer(15, 15.1, 8, False, "new", ""), "1 answers of the canary to people who had not met it"),
    ],
)
def test_every_broken_promise_is_told(answer: Answer, told: str) -> None:
    """One answer is enough."""
    assert problems(DONE, figures(DONE, answers(answer), "new")) == [f"a worker is killed: {told}"]


def test_silence_of_metric_or_status_is_a_broken_promise() -> None:
    """And so is a fault that was done while nobody met the canary."""
    dumb = replace(DONE, metric="", status="")
    assert problems(dumb, figures(dumb, answers(), "new")) == [
        "a worker is killed: no metric says so",
        "a worker is killed: no status line says so",
    ]
    assert "was done to nothing" in problems(DONE, figures(DONE, [], "new"))[0]


def test_table_and_picture_have_every_fault() -> None:
    """A row with its lines below, and a strip."""
    rows = [(done, figures(done, answers(), "new")) for done in (DONE, MOVED)]
    text = "\n".join(table(rows))
    assert "| a worker is killed | 200, 0 | stays, every request | 30 ms (30) | 1.5 s |" in text
    assert "metric 1.0\nrouter 1 of 2" in text
    assert picture(rows, answers(), "new").count("a worker is killed") == 1
