"""A rollout in its shadow, in the evaluate loop on a real store: from the start to the first phase, or to its end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from extproc.controller.view import status_document
from extproc.domain import Action, Arm, Mirrored, Reason, Status
from extproc.errors import RefusedError
from tests.unit.test_loop import NAME, TEXT, World, outcome

SHADOWED = TEXT.replace("    phases:\n", "    shadow: {share: 10%, min_dwell: 20s, max_dwell: 2m, min_pairs: 150}\n    phases:\n")


class ShadowWorld(World):
    """Requests of which a tenth is mirrored; copies end a little later."""

    def mirrored(self, seconds: int, failing: float = 0.0, silent: bool = False) -> None:
        for _ in range(seconds):
            state = self.loop.state.rollouts[NAME]
            outcomes, copies = [], []
            for index in range(10):
                number = next(self._ids)
                one = outcome(number, self.now + index / 10, False, False, reason=Reason.SHADOW, arm=Arm.REST, generation=state.generation)
                outcomes.append(one)
                failed = number % 100 < failing * 100
                if not silent:
                    copies.append(copy(number, one.start, failed))
            self.now += 1.0
            self.loop.receive(outcomes, self.now, copies)
            self.loop.tick(self.now, 1.0)


def copy(number: int, start: float, failed: bool) -> Mirrored:
    return Mirrored(NAME, f"s{number}", start, 0.3, True, 500 if failed else 200, failed, False, 0.1, "new", "", 10, 0, 20)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[ShadowWorld]:
    made = ShadowWorld(tmp_path, SHADOWED)
    yield made
    made.store.close()


def test_a_rollout_with_a_shadow_begins_in_it_and_goes_on_by_itself(world: ShadowWorld) -> None:
    """Started: nobody meets the canary. With its pairs and its dwell: the first phase, whose Evidence knows nothing of the shadow."""
    world.mirrored(1)
    assert world.status is Status.SHADOW
    world.mirrored(18)
    assert world.status is Status.SHADOW
    assert world.loop.desks[NAME].decision.why.startswith("needs 2 s more that are watched")
    world.mirrored(3)
    assert (world.status, world.phase) == (Status.PROGRESSING, 0)
    evidence = world.loop.desks[NAME].evidence
    assert (evidence.arms["canary"].requests, evidence.arms["stable"].requests, evidence.met) == (0, 0, {})
    entries = [entry for entry in world.store.journal(NAME) if entry.action is not Action.ADOPT]
    assert [(entry.action, entry.numbers["to"]["status"], entry.numbers["share"]) for entry in entries] == [
        (Action.ADVANCE, "progressing", 0.1),
        (Action.START, "shadow", 0.0),
    ]
    assert entries[0].why.startswith("errors in the shadow: canary 0.00% (0 of ")


def test_a_canary_that_fails_in_its_shadow_is_rolled_back(world: ShadowWorld) -> None:
    """Nobody has met it; another attempt begins with a shadow again."""
    world.mirrored(1)
    world.mirrored(15, failing=0.6)
    assert world.status is Status.ROLLED_BACK
    state = world.loop.state.rollouts[NAME]
    assert state.why.endswith("; nobody has met the canary")
    world.loop.act(NAME, Action.START, "ada", "mended", world.now)
    assert (world.status, world.loop.state.rollouts[NAME].attempt) == (Status.SHADOW, 2)
    assert world.loop.desks[NAME].pairs is not None
    assert world.loop.desks[NAME].pairs.count == 0


def test_a_silent_mirror_holds_and_pages(world: ShadowWorld, caplog: pytest.LogCaptureFixture) -> None:
    """It is said in status, in the log, and moves nothing; at the end of max dwell the attempt ends for want of pairs."""
    world.mirrored(40, silent=True)
    desk = world.loop.desks[NAME]
    assert world.status is Status.SHADOW
    assert desk.decision.page
    assert "the mirror is silent: of the last 21 requests to be mirrored 21 have no copy" in caplog.text
    world.mirrored(90, silent=True)
    assert world.status is Status.ROLLED_BACK
    assert "max dwell of the shadow is over, missing: the mirror is silent" in world.loop.state.rollouts[NAME].why


def test_a_restart_in_a_shadow_goes_on_with_its_pairs(world: ShadowWorld) -> None:
    """Counts, e-values and dwell are found again."""
    world.mirrored(12)
    before = world.loop.desks[NAME].pairs
    assert before is not None
    world.restart(SHADOWED)
    after = world.loop.desks[NAME].pairs
    assert after is not None
    assert (after.count, after.watched, after.findings()) == (before.count, before.watched, before.findings())
    world.mirrored(12)
    assert world.status is Status.PROGRESSING


def test_people_go_on_or_end_it(world: ShadowWorld) -> None:
    """Promote and roll back; nothing else makes sense in a shadow."""
    world.mirrored(3)
    with pytest.raises(RefusedError, match="possible now: promote, rollback"):
        world.loop.act(NAME, Action.PAUSE, "ada", "wait", world.now)
    world.loop.act(NAME, Action.ADVANCE, "ada", "seen enough", world.now)
    assert (world.status, world.phase) == (Status.PROGRESSING, 0)
    world.loop.act(NAME, Action.ROLL_BACK, "ada", "no", world.now)
    world.loop.act(NAME, Action.START, "ada", "again", world.now)
    world.loop.act(NAME, Action.ROLL_BACK, "ada", "no", world.now)
    assert world.status is Status.ROLLED_BACK


def test_status_tells_the_shadow(world: ShadowWorld) -> None:
    """Pairs, spend, both arms, what is waited for; before it began there is none."""
    collector = SimpleNamespace(streams=1, bad_messages=0)
    first = status_document(world.loop, collector, [], world.now)["rollouts"][NAME]  # type: ignore[arg-type]
    assert first["shadow"] is None
    world.mirrored(10)
    found = status_document(world.loop, collector, [], world.now)["rollouts"][NAME]  # type: ignore[arg-type]
    assert (found["status"], found["share"]) == ("shadow", 0.0)
    assert found["shadow"]["pairs"] == found["shadow"]["arms"]["canary"]["requests"] > 50
    assert found["waiting_for"][0].endswith("more that are watched")
    assert found["advice"] == "to go on without the rest of it: extproc promote new; to end it: extproc rollback new"
