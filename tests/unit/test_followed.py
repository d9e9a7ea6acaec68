"""A followed file: each kind of change is seen, a bad one leaves the last good one and is told."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from extproc.errors import Problem, RefusedError, SpecError
from extproc.runtime import FileState, Followed, follow

LOOK = 0.02


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look each 20 ms."""
    monkeypatch.setattr(follow, "LOOK_EVERY", LOOK)
    monkeypatch.setattr(follow, "SETTLE", LOOK)


class Reader:
    """Puts texts in force; refuses those that say so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.texts: list[str] = []
        self.tries = 0
        self.allowed = False
        self.worth_it = False
        self.followed = Followed(FileState.of(str(path)), self.use, lambda: self.worth_it)

    async def use(self) -> None:
        self.tries += 1
        try:
            text = self.path.read_text()
        except OSError as error:
            raise SpecError(Problem("x.gone", str(self.path), str(error), "bring it back")) from error
        if "bad" in text and not self.allowed:
            raise RefusedError([Problem("x.bad", "a", "is bad", "mend it"), Problem("x.worse", "b", "is worse", "mend it too")])
        if "defect" in text:
            raise ZeroDivisionError("ours")
        self.texts.append(text)

    def run(self, script: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            following = asyncio.create_task(self.followed.follow())
            await asyncio.sleep(3 * LOOK)
            await script()
            following.cancel()

        asyncio.run(run())

    async def until(self, what: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not what():
                await asyncio.sleep(0.005)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    path = tmp_path / "spec.yaml"
    path.write_text("first")
    return Reader(path)


def test_a_file_that_stays_is_not_read_again(reader: Reader) -> None:
    """Looks cost a stat, no more."""

    async def script() -> None:
        await asyncio.sleep(10 * LOOK)

    reader.run(script)
    assert (reader.tries, reader.followed.state.failures) == (0, 0)


def test_each_way_to_change_a_file_is_seen(reader: Reader, tmp_path: Path) -> None:
    """Written in place, replaced by a rename, written with the size and time of before; asked for without a change."""

    async def script() -> None:
        reader.path.write_text("second")
        await reader.until(lambda: reader.texts == ["second"])
        other = tmp_path / "other"
        other.write_text("third!")
        other.rename(reader.path)
        await reader.until(lambda: reader.texts[-1] == "third!")
        found = reader.path.stat()
        reader.path.write_text("fourth")
        os.utime(reader.path, ns=(found.st_atime_ns, found.st_mtime_ns))
        await reader.until(lambda: reader.texts[-1] == "fourth")
        reader.followed.look()
        await reader.until(lambda: len(reader.texts) == 4)

    reader.run(script)


def test_a_config_map_that_moves_is_seen(tmp_path: Path) -> None:
    """Kubernetes swaps the directory behind a symbolic link; the path and its own link stay the same."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "spec.yaml").write_text(name)
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "spec.yaml").symlink_to("..data/spec.yaml")
    reader = Reader(tmp_path / "spec.yaml")

    async def script() -> None:
        (tmp_path / "..data_tmp").symlink_to("two")
        (tmp_path / "..data_tmp").rename(tmp_path / "..data")
        await reader.until(lambda: reader.texts == ["two"])

    reader.run(script)


def test_a_bad_change_is_told_counted_and_leaves_the_last_good_one(reader: Reader, caplog: pytest.LogCaptureFixture) -> None:
    """All problems in the log and in the state, once; mended, they are gone, and the count stays."""
    state = reader.followed.state

    async def script() -> None:
        reader.path.write_text("bad")
        await reader.until(lambda: state.failures == 1)
        await asyncio.sleep(5 * LOOK)
        assert (reader.tries, state.failures, reader.texts) == (1, 1, [])
        assert [problem.id for problem in state.problems] == ["x.bad", "x.worse"]
        assert state.told().count("\n") == 5
        assert caplog.text.count("a: is bad [x.bad]") == caplog.text.count("b: is worse [x.worse]") == 1
        reader.path.unlink()
        await reader.until(lambda: state.failures == 2)
        assert [problem.id for problem in state.problems] == ["x.gone"]
        reader.path.write_text("good")
        await reader.until(lambda: reader.texts == ["good"])
        assert (state.problems, state.failures, state.told()) == ((), 2, "")

    reader.run(script)


def test_what_was_refused_is_tried_again_when_that_may_help(reader: Reader) -> None:
    """Without another count: the file has not changed, what was in its way has."""

    async def script() -> None:
        reader.path.write_text("bad")
        await reader.until(lambda: reader.tries == 1)
        reader.worth_it = True
        await reader.until(lambda: reader.tries >= 3)
        reader.allowed = True
        await reader.until(lambda: reader.texts == ["bad"])
        assert reader.followed.state.failures == 1
        tries = reader.tries
        await asyncio.sleep(5 * LOOK)
        assert reader.tries == tries

    reader.run(script)


def test_a_defect_of_ours_does_not_end_the_following(reader: Reader) -> None:
    """It is told like any other problem, and the next good text comes into force."""

    async def script() -> None:
        reader.path.write_text("defect")
        await reader.until(lambda: bool(reader.followed.state.problems))
        assert reader.followed.state.problems[0].id == "reload.defect"
        reader.path.write_text("good")
        await reader.until(lambda: reader.texts == ["good"])

    reader.run(script)


def test_who_writes_slowly_is_given_time(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is read when it has been the same for a while: half of it is never put in force."""
    monkeypatch.setattr(follow, "SETTLE", 1.0)

    async def script() -> None:
        with reader.path.open("w") as file:
            for part in ("half", " and", " whole"):
                file.write(part)
                file.flush()
                await asyncio.sleep(0.05)
        await reader.until(lambda: bool(reader.texts))
        assert reader.texts == ["half and whole"]

    reader.run(script)
