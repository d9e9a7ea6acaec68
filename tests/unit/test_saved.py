"""Evidence in rows of the store: complete after every second, small each second, and what a restart has cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from extproc.cli.picture import restart
from extproc.controller import saved
from extproc.controller.loop import WARM_UP
from extproc.release import Evidence
from extproc.release.evidence import UNITS_KEPT
from extproc.store import Health
from tests.support.outcomes import outcome
from tests.support.specs import rollout
from tests.unit.test_loop import NAME, World
from tests.unit.test_loop import outcome as asked

ROLLOUT = rollout()


class Kept:
    """A store of rows."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.extent = saved.NOTHING_SAVED

    def save(self, evidence: Evidence) -> dict[str, str]:
        written = saved.rows("new", evidence, self.extent)
        self.rows |= written
        self.extent = saved.extent(evidence)
        return written

    def found(self) -> Evidence:
        document = saved.document("new", 1, self.rows)
        assert document is not None
        return Evidence.from_json(ROLLOUT, 8.0, document, 0.0)


def met(evidence: Evidence, first: int, count: int) -> None:
    """So many units more meet the canary."""
    for number in range(first, first + count):
        evidence.observe(outcome(number, generation=evidence.generation), 100.5)


@pytest.mark.parametrize("steps", [[1], [999, 1], [1000], [1000, 1], [1001, 999, 1], [300] * 12, [2500, 0, 0, 1]])
def test_after_each_save_everything_is_found(steps: list[int]) -> None:
    """However many units come between two saves: the same document, units in the same order."""
    one, kept, total = Evidence(ROLLOUT, 8.0), Kept(), 0
    one.begin_visit(2, 1)
    for count in steps:
        met(one, total, count)
        total += count
        kept.save(one)
        found = kept.found()
        assert found.to_json() == one.to_json()
        assert len(found.canary_units) == total


def test_a_second_writes_little() -> None:
    """With as many units as are kept, the save of a second with 50 more writes their row alone; without more, none."""
    one, kept = Evidence(ROLLOUT, 8.0), Kept()
    one.begin_visit(2, 1)
    met(one, 0, UNITS_KEPT - 1050)
    assert len(kept.save(one)) == 1 + (UNITS_KEPT - 1050) // saved.UNITS_IN_ROW + 1
    met(one, UNITS_KEPT, 50)
    written = kept.save(one)
    assert len(written) == 2
    assert sum(map(len, written.values())) < 25_000
    assert list(kept.save(one)) == ["new#1"]


def test_a_new_visit_does_not_find_the_units_of_the_last_one() -> None:
    """Its rows are written anew from the first; those that are left over are passed over."""
    one, kept = Evidence(ROLLOUT, 8.0), Kept()
    one.begin_visit(2, 1)
    met(one, 0, 3500)
    kept.save(one)
    one.begin_visit(3, 2)
    kept.save(one)
    assert kept.found().canary_units == {}
    met(one, 10_000, 1200)
    kept.save(one)
    assert kept.found().canary_units == one.canary_units
    assert len(one.canary_units) == 1200


def test_rows_that_do_not_fit_together_are_refused() -> None:
    """Another visit's, a short one, none at all."""
    one, kept = Evidence(ROLLOUT, 8.0), Kept()
    one.begin_visit(2, 1)
    met(one, 0, 1500)
    kept.save(one)
    for row in ('{"generation":1,"units":[]}', '{"generation":2,"units":["a"]}', "{}", None):
        rows = {key: text for key, text in {**kept.rows, "new#1/1": row}.items() if text is not None}
        with pytest.raises((KeyError, ValueError)):
            saved.document("new", 1, rows)
    assert saved.document("new", 2, kept.rows) is None


def test_each_tick_saves_and_a_restart_tells_what_was_lost(tmp_path: Path) -> None:
    """Without a word of farewell: Evidence is that of the last tick, and the gap runs from there to the end of the warm-up."""
    world = World(tmp_path)
    for _ in range(12):
        world.second()
    before = world.loop.desks[NAME].evidence
    harm = before.to_json()["harm"]
    requests, at = before.arms["stable"].requests, world.now
    generation = world.loop.state.rollouts[NAME].generation
    lost = [asked(700_000 + number, world.now, False, False, generation=generation) for number in range(150)]
    world.loop.receive(lost, world.now + 0.9)
    world.now += 3.0
    world.store.close()
    world.reopen()
    after = world.loop.desks[NAME].evidence
    assert after.to_json()["harm"] == harm
    assert after.arms["stable"].requests == requests
    gap = after.gap
    assert gap is not None
    assert (gap.since, gap.until) == (at, at + 3.0 + WARM_UP)
    assert gap.outcomes == pytest.approx(200 * (3.0 + WARM_UP), rel=0.05)
    assert restart({"at": 43_384.0, "seconds": gap.seconds, "outcomes": gap.outcomes}).startswith(
        "restarted 12:03:04: outcomes of 5.0 s not looked at (about "
    )
    world.store.close()


def test_a_first_start_has_no_gap(tmp_path: Path) -> None:
    """There was nothing to lose."""
    world = World(tmp_path)
    assert world.loop.desks[NAME].evidence.gap is None
    assert world.loop.store_health == Health()
    world.store.close()
