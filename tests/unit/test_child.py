"""A child process that is kept alive: real processes, of a few lines each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from extproc.runtime import child as room
from extproc.runtime.child import DIED, HUNG, Child

EVERY = 0.25
PATIENCE = 60.0
ANSWERS = "import sys\nprint('ready', flush=True)\nfor line in sys.stdin: print(line.strip(), flush=True)"
DEAF = "import sys, time\nprint('ready', flush=True)\nsys.stdin.readline(); print('once', flush=True)\ntime.sleep(60)"
SLOW_TO_START = "import sys, time\ntime.sleep(2.0)\nprint('ready', flush=True)\nfor line in sys.stdin: print(line.strip(), flush=True)"
SLOW = "import sys, time\nprint('ready', flush=True)\nfor line in sys.stdin:\n time.sleep(0.4)\n print(line.strip(), flush=True)"
ENDS = "import sys\nprint('ready', flush=True)\nsys.exit(3)"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds become quarters."""
    for name, value in (("ASK_EVERY", EVERY), ("ASK_TIMEOUT", EVERY), ("FIRST_DELAY", 0.02), ("LONGEST_DELAY", 0.05)):
        monkeypatch.setattr(room, name, value)


def kept(
    program: str,
    seconds: float,
    then: Callable[[Child], Awaitable[None]] | None = None,
    talks: bool = True,
    until: Callable[[Child], bool] = lambda _: True,
) -> Child:
    """A child that was kept for so long, and until that is so, and then stopped; `then` runs before that."""
    child = Child("child", (sys.executable, "-S", "-c", program), talks=talks)

    async def run() -> None:
        keeping = asyncio.create_task(child.keep())
        await asyncio.sleep(seconds)
        await eventually(lambda: until(child))
        if then is not None:
            await then(child)
        await child.stop(1.0)
        async with asyncio.timeout(PATIENCE):
            await keeping

    asyncio.run(run())
    return child


async def eventually(what: Callable[[], bool]) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(PATIENCE):
        while not what():
            await asyncio.sleep(0.02)


async def answered(child: Child, question: bytes = b"q", within: float = PATIENCE) -> bytes:
    """What it answers, sooner or later."""
    async with asyncio.timeout(within):
        while True:
            answer = await child.ask(question, 1.0)
            if answer is not None:
                return answer
            await asyncio.sleep(0.01)


def test_who_answers_is_left_alone() -> None:
    """Nothing is counted, and an answer is that to one's own question."""

    async def ask(child: Child) -> None:
        assert await answered(child) == b"q\n"

    assert kept(ANSWERS, 1.0, ask).restarts == {DIED: 0, HUNG: 0}


def test_who_does_not_answer_is_killed_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    """Counted as hung and not as died; the log says what to look at."""
    child = kept(DEAF, 0.0, until=lambda child: child.restarts[HUNG] >= 1)
    assert child.restarts[HUNG] >= 1
    assert child.restarts[DIED] == 0
    assert "did not answer 3 questions in a row: it is killed and replaced" in caplog.text
    assert "look at what the machine does" in caplog.text


def test_who_is_starting_may_take_its_time() -> None:
    """Eight questions' time without a line, and it is still the first process."""

    async def ask(child: Child) -> None:
        assert await answered(child) == b"q\n"

    assert kept(SLOW_TO_START, 2.1, ask).restarts == {DIED: 0, HUNG: 0}


def test_who_answers_late_is_alive() -> None:
    """Each answer comes after the patience for its question: a sign of life all the same."""
    assert kept(SLOW, 3.0).restarts == {DIED: 0, HUNG: 0}


def test_who_ends_is_restarted_with_a_growing_delay(caplog: pytest.LogCaptureFixture) -> None:
    """Counted as died; the log has its code."""
    child = kept(ENDS, 0.0, until=lambda child: child.restarts[DIED] >= 2)
    assert child.restarts[DIED] >= 2
    assert child.restarts[HUNG] == 0
    assert "ended with code 3" in caplog.text


def test_what_cannot_be_started_is_tried_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A machine without memory or files for a moment does not end the supervisor."""
    missing = tmp_path / "program"
    child = Child("child", (str(missing),), talks=False)

    async def run() -> None:
        keeping = asyncio.create_task(child.keep())
        await eventually(lambda: child.restarts[DIED] >= 2)
        missing.write_text("#!/bin/sh\nsleep 100\n")
        missing.chmod(0o755)
        await eventually(lambda: child._process is not None and child._process.returncode is None)
        before = child.restarts[DIED]
        await asyncio.sleep(0.3)
        assert child.restarts[DIED] == before
        await child.stop(0.1)
        await keeping

    asyncio.run(run())
    assert "could not be started" in caplog.text


@pytest.mark.parametrize("turns", range(12))
def test_a_stop_while_it_starts_leaves_nothing_behind(turns: int) -> None:
    """Whatever instant of a start it meets: `keep` returns, the process has ended."""
    child = Child("child", (sys.executable, "-S", "-c", ANSWERS))

    async def run() -> None:
        keeping = asyncio.create_task(child.keep())
        for _ in range(turns):
            await asyncio.sleep(0)
        await child.stop(2.0)
        async with asyncio.timeout(PATIENCE):
            await keeping

    asyncio.run(run())
    assert child._process is None or child._process.returncode is not None


def test_what_is_told_gets_no_answer_of_its_own() -> None:
    """The next question is answered by its own answer."""

    async def ask(child: Child) -> None:
        await answered(child)
        child.tell(b"told")
        assert await answered(child, b"asked") == b"asked\n"

    kept(ANSWERS, 0.3, ask)


def test_a_first_line_can_be_another_one_at_the_next_start() -> None:
    """Orders that changed hold for whoever comes back."""

    program = (
        "import sys\nfirst = sys.stdin.readline().strip()\nprint('ready', flush=True)\nfor line in sys.stdin: print(first, flush=True)"
    )
    child = Child("child", (sys.executable, "-S", "-c", program), b"first")

    async def run() -> None:
        keeping = asyncio.create_task(child.keep())
        assert await answered(child) == b"first\n"
        child.first_line = b"second"
        assert child._process is not None
        child._process.kill()
        async with asyncio.timeout(PATIENCE):
            while await child.ask(b"q", 1.0) != b"second\n":
                await asyncio.sleep(0.02)
        await child.stop(1.0)
        await keeping

    asyncio.run(run())
