"""What people ask for in words: options of an act, and slips in them."""

from __future__ import annotations

import pytest

from extproc.controller.acts import wished
from extproc.domain import Action
from extproc.errors import RefusedError
from extproc.release import Wish
from tests.support.specs import rollout

ROLLOUT = rollout()
NO_DURATION = "is no duration; write a number with its unit, such as 500ms, 8s, 30m, 1h30m or 2d"


@pytest.mark.parametrize(
    ("action", "options", "meant"),
    [
        (Action.ROLL_BACK, {}, (Action.ROLL_BACK, Wish())),
        (Action.ROLL_BACK, {"conversations": "drain"}, (Action.ROLL_BACK, Wish(drains=True))),
        (Action.ROLL_BACK, {"cohort": "germany"}, (Action.ROLL_BACK_COHORT, Wish(cohort="germany"))),
        (Action.RETURN, {"to": ROLLOUT.phases[1].name}, (Action.RETURN, Wish(to_phase=1))),
        (Action.OVERRIDE, {"for": "2h"}, (Action.OVERRIDE, Wish(until=7_300.0))),
        (Action.START, {"retry": "yes"}, (Action.START, Wish(retry=True))),
        (Action.START, {"retry": "no"}, (Action.START, Wish(retry=False))),
        (Action.START, {}, (Action.START, Wish(retry=None))),
    ],
)
def test_options_say_what_an_act_leaves_open(action: Action, options: dict[str, str], meant: tuple[Action, Wish]) -> None:
    """A rollback of one cohort is an act of its own; a phase goes by its name, a time by its length."""
    assert wished(ROLLOUT, action, options, 100.0) == meant


@pytest.mark.parametrize(
    ("action", "options", "said", "hint"),
    [
        (Action.ROLL_BACK, {"conversations": "keep"}, "new.conversations: conversations cannot be 'keep'", "say drain or move"),
        (Action.ROLL_BACK, {"speed": "fast"}, "new.speed: the act has no option 'speed'", "it has conversations, cohort"),
        (Action.PAUSE, {"conversations": "drain"}, "new.conversations: the act has no option 'conversations'", "it has none"),
        (Action.START, {"retry": "maybe"}, "new.retry: retry cannot be 'maybe'", "say yes or no, or leave it out"),
        (
            Action.ROLL_BACK,
            {"cohort": "germany", "conversations": "drain"},
            "new.conversations: a cohort's open conversations always move",
            "leave one of the two out",
        ),
        (Action.RETURN, {"to": "7%"}, "new.to: there is no phase '7%'", "its phases are 1%, 5%, 25%, 50%, 100%"),
        (
            Action.OVERRIDE,
            {"for": "2"},
            "new.for: '2' is no duration; write a number with its unit, such as 500ms, 8s, 30m, 1h30m or 2d",
            "such as --for 2h",
        ),
    ],
)
def test_a_slip_in_an_option_never_does_something_else(action: Action, options: dict[str, str], said: str, hint: str) -> None:
    """It is refused, with what there is."""
    with pytest.raises(RefusedError) as caught:
        wished(ROLLOUT, action, options, 100.0)
    assert str(caught.value.problems[0]) == f"{said} [act.option]\n    {hint}"
