"""The Spec's file and the controller: what a start does with a bad one, what a change does, and what is told of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from extproc import spec as spec_room
from extproc.controller.loop import Loop
from extproc.controller.reload import follow_spec, opened
from extproc.domain import Action
from extproc.errors import ExtprocError, Problem, StoreError
from extproc.runtime import Followed
from extproc.store import Store
from tests.unit.test_loop import NAME, TEXT

NOW = 1_000_000.0
EDITED = TEXT.replace("min_dwell: 10s", "min_dwell: 20s")
OTHER = TEXT.replace("    credential: {env: OPENAI_API_KEY}", "    credential: {env: ANOTHER_KEY}")


class World:
    """A file, a store, and the loop on both."""

    def __init__(self, directory: Path) -> None:
        self.file = directory / "spec.yaml"
        self.file.write_text(TEXT)
        self.url = f"sqlite:{directory / 'x.db'}"
        self.loop: Loop
        self.store: Store
        self.followed: Followed
        self.open()

    def open(self) -> None:
        self.loop, self.store = opened(str(self.file), self.url, NOW)
        self.followed = follow_spec(self.loop)

    def restart(self) -> None:
        self.store.close()
        self.open()

    def reload(self) -> None:
        """What the follower does when it was asked."""
        asyncio.run(self.followed._try(counts=True))

    @property
    def told(self) -> list[str]:
        return [problem.id for problem in self.loop.spec_file.problems]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.store.close()


@pytest.mark.parametrize("text", ["version: 2", "a: [", None])
def test_a_first_start_with_a_bad_file_is_refused_and_leaves_no_store(text: str | None, tmp_path: Path) -> None:
    """There is nothing to go on with."""
    if text is not None:
        (tmp_path / "spec.yaml").write_text(text)
    with pytest.raises(ExtprocError):
        opened(str(tmp_path / "spec.yaml"), f"sqlite:{tmp_path / 'x.db'}", NOW)
    assert not (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("text", "problem"), [("version: 2", "spec."), (EDITED, "state.running-rollout-changed"), (None, "settings.spec-file")]
)
def test_a_restart_goes_on_with_the_last_good_spec(world: World, text: str | None, problem: str, caplog: pytest.LogCaptureFixture) -> None:
    """A rollout runs: its watcher must come back whatever was done to the file. Told, counted; mended, it is gone."""
    world.loop.act(NAME, Action.START, "ann", "because", NOW)
    before = world.loop.state
    if text is None:
        world.file.unlink()
    else:
        world.file.write_text(text)
    world.restart()
    assert world.loop.state == before
    assert world.loop.spec.digest == before.spec_digest
    assert world.told[0].startswith(problem)
    assert world.loop.spec_file.failures == 1
    assert problem in caplog.text
    world.file.write_text(TEXT)
    world.reload()
    assert world.told == []


def test_a_store_that_cannot_be_opened_is_no_reason_to_go_on(world: World) -> None:
    """Another controller has it: said as such."""
    with pytest.raises(StoreError, match=r"store\.locked"):
        opened(str(world.file), world.url, NOW)


def test_a_good_change_is_adopted(world: World) -> None:
    """The digest of the file is that of State."""
    world.file.write_text(OTHER)
    world.reload()
    assert world.loop.state.spec_digest == spec_room.load(OTHER).digest
    assert (world.told, world.loop.spec_file.failures) == ([], 0)


def test_a_bad_change_is_told_with_all_its_problems(world: World) -> None:
    """State stays; the count rises."""
    before = world.loop.state
    world.file.write_text(TEXT.replace("share: 10%", "share: 110%").replace("min_dwell: 10s", "min_dwell: dog"))
    world.reload()
    assert world.loop.state is before
    assert len(world.told) == 2
    assert world.loop.spec_file.failures == 1


def test_an_edit_of_what_runs_comes_into_force_when_that_has_ended(world: World) -> None:
    """Refused, and worth another try as soon as State has changed; until then it is not tried again."""
    world.loop.act(NAME, Action.START, "ann", "because", NOW)
    world.file.write_text(EDITED)
    world.reload()
    assert world.told == ["state.running-rollout-changed"]
    assert not world.followed._again()
    world.loop.act(NAME, Action.ROLL_BACK, "ann", "because", NOW)
    assert world.followed._again()
    asyncio.run(world.followed._try(counts=False))
    assert world.told == []
    assert world.loop.state.spec_digest == spec_room.load(EDITED).digest
    assert world.loop.spec_file.failures == 1


def test_a_store_that_cannot_be_written_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told meanwhile; nothing has moved."""
    before = world.loop.state
    world.file.write_text(OTHER)
    with monkeypatch.context() as patched:

        def refuse(*_: object) -> None:
            raise StoreError(Problem("store.sqlite", "x", "database or disk is full", "make room"))

        patched.setattr(world.store, "commit", refuse)
        world.reload()
    assert (world.told, world.loop.state) == (["store.sqlite"], before)
    assert world.followed._again()
    asyncio.run(world.followed._try(counts=False))
    assert world.loop.state.spec_digest == spec_room.load(OTHER).digest
