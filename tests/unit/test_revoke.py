"""revoke: all conversation tokens end at once, by a person; and so they do with a rollback and with another attempt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from extproc.domain import Action, Rollout, RolloutState, State, Status
from extproc.errors import RefusedError
from extproc.release import Wish, apply, human
from tests.support.specs import rollout
from tests.unit.test_api import Served

ROLLOUT: Rollout = rollout()
NOW = 10_000.0
PLAIN = Wish()


def standing(status: Status, epoch: int = 3) -> RolloutState:
    return RolloutState(status, 1, 9_000.0, 7, 1, f"it is {status.value}", "print", epoch)


def after(status: Status, action: Action, wish: Wish = PLAIN) -> RolloutState:
    decision = human(ROLLOUT, standing(status), action, "because", wish)
    state = State(9, "digest", {"new": standing(status)})
    changed, entry = apply(state, ROLLOUT, decision, "ann", NOW)
    assert (changed.generation, entry.numbers["epoch"]) == (10, changed.rollouts["new"].epoch)
    return changed.rollouts["new"]


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.PENDING, Status.SHADOW}))
def test_revoking_changes_the_epoch_alone(status: Status) -> None:
    """Share, visit and clocks go on, and why it stands where it stands is still what the state says."""
    assert after(status, Action.REVOKE) == replace(standing(status), epoch=4)


@pytest.mark.parametrize("status", [Status.PENDING, Status.SHADOW])
def test_where_there_are_no_tokens_nothing_is_revoked(status: Status) -> None:
    """A rollout that has exposed nobody has handed out none."""
    with pytest.raises(RefusedError, match="cannot revoke while it is"):
        human(ROLLOUT, standing(status), Action.REVOKE, "because")


def test_rollbacks_and_attempts_end_tokens() -> None:
    """What rolls back moves everybody, unless conversations may drain; what begins again begins with new tokens. Nothing else ends any."""
    assert after(Status.PROGRESSING, Action.ROLL_BACK).epoch == 4
    assert after(Status.PROGRESSING, Action.ROLL_BACK, Wish(drains=True)).epoch == 3
    assert after(Status.ROLLED_BACK, Action.START).epoch == 4
    assert after(Status.PENDING, Action.START).epoch == 3
    for status, action in ((Status.PROGRESSING, Action.PAUSE), (Status.PAUSED, Action.RESUME), (Status.PROGRESSING, Action.ADVANCE)):
        assert after(status, action).epoch == 3


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    served.tick()
    yield served
    served.close()


def test_it_is_an_act_like_the_others(api: Served) -> None:
    """Through the API, in the Journal with who and why, and never twice for one request; without a reason it is refused."""
    before = api.loop.state.rollouts["new"]
    body = {"why": "a key has leaked", "actor": "ann", "request": "ticket-7"}
    assert api.act("revoke", body).status_code == 200
    again = api.act("revoke", body)
    assert (again.status_code, again.json()["repeated"]) == (200, True)
    assert api.loop.state.rollouts["new"] == replace(before, epoch=before.epoch + 1)
    newest = api.ask("GET", "/v1/journal").json()["entries"][0]
    assert (newest["action"], newest["actor"], newest["why"]) == ("revoke", "ann", "a key has leaked")
    assert newest["numbers"]["epoch"] == before.epoch + 1
    assert api.act("revoke", {"why": " ", "actor": "ann"}).status_code == 409
