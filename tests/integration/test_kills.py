"""kill -9 of the controller in its short form; `python -m loadtest.kills` does it fifty times."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from extproc.domain import Action, JournalEntry, RolloutState, State, Status
from loadtest.kills import run
from loadtest.kills_report import Answer, Death, PersonsAct, Plan, Seen, books, told, verdict

SHORT = Plan(kills=4, first_life=8.0, longest_life=1.5, act_every=0.2, rollbacks=False, lateness=5.0, on_the_way=1.5)
"""The machine may be late: here other tests run."""


def test_a_killed_controller_forgets_no_decision_and_makes_none_twice() -> None:
    """Four kills, with acts and outcomes all the time: Journal, State, Evidence and what people were answered fit together each time."""
    seen = asyncio.run(run(SHORT))
    assert verdict(seen) == [], "\n".join(told(seen))
    assert len(seen.deaths) == 4
    assert any(death.vectors for death in seen.deaths)
    assert all(death.shown_seconds > 2 for death in seen.deaths)
    assert any("| kills (SIGKILL)" in line for line in told(seen))


def _entry(number: int, **changes: Any) -> JournalEntry:
    plain = JournalEntry(number, 0.0, "new", "ann", Action.PAUSE, f"act {number}", number, {"to": {"status": "paused"}})
    return replace(plain, **changes)


JOURNAL = [_entry(1), _entry(2), _entry(3)]
STATE = State(3, "d", {"new": RolloutState(Status.PAUSED, 0, 0.0, 1, 1, "", "")})
ACTS = [PersonsAct("act 2", Answer.ACKNOWLEDGED, 2), PersonsAct("act 9", Answer.REFUSED), PersonsAct("act 3", Answer.NONE)]


def test_books_that_are_right() -> None:
    """An act without an answer may be there or not."""
    assert books(JOURNAL, STATE, ACTS) == []
    assert books(JOURNAL, STATE, [*ACTS, PersonsAct("act 77", Answer.NONE)]) == []


@pytest.mark.parametrize(
    ("journal", "state", "acts", "said"),
    [
        (JOURNAL[:1] + JOURNAL[2:], STATE, [], "numbered"),
        ([_entry(1), _entry(2, generation=1), _entry(3)], STATE, [], "rise by one"),
        (JOURNAL, replace(STATE, generation=4), [], "State has generation 4"),
        (JOURNAL[:2], STATE, [], "the Journal ends with 2"),
        ([*JOURNAL[:2], _entry(3, numbers={"to": {"status": "completed"}})], STATE, [], "State has paused"),
        ([*JOURNAL[:2], _entry(3, why="act 2")], STATE, [], "act 2 is 2 times"),
        (JOURNAL, STATE, [PersonsAct("act 8", Answer.ACKNOWLEDGED, 4)], "act 8 was acknowledged"),
        (JOURNAL, STATE, [PersonsAct("act 2", Answer.ACKNOWLEDGED, 3)], "and is 2 in the Journal"),
        (JOURNAL, STATE, [PersonsAct("act 2", Answer.REFUSED)], "was refused and is in the Journal"),
    ],
)
def test_books_that_are_wrong(journal: list[JournalEntry], state: State, acts: list[PersonsAct], said: str) -> None:
    """Each by its own sentence."""
    assert any(said in one for one in books(journal, state, acts))


def test_every_promise_is_looked_at() -> None:
    """Too few kills, too much lost, nothing compared, nobody acted, books that do not fit."""
    death = Death(0.9, 300, 1.0, 3.0, 1200, 8)
    right = Seen(Plan(kills=2), acts=[PersonsAct(f"act {number}", Answer.ACKNOWLEDGED, number) for number in (1, 2)], deaths=[death] * 2)
    assert verdict(right) == []
    assert any("1 kills of 2" in one for one in verdict(replace(right, deaths=[death])))
    assert any("cost 1.90 s" in one for one in verdict(replace(right, deaths=[death, replace(death, lost_seconds=1.9)])))
    assert any("compared" in one for one in verdict(replace(right, deaths=[replace(death, vectors=0)] * 2)))
    assert any("acknowledged" in one for one in verdict(replace(right, acts=[])))
    assert verdict(replace(right, deaths=[death, replace(death, books="kill 2: wrong")])) == ["kill 2: wrong"]
