"""The brain's socket: for its owner alone, bounded, and who misbehaves loses his connection and nothing else."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from extproc.controller import listen as room
from extproc.controller.listen import LONGEST_PATH, MOST, BrainSocket
from extproc.controller.talk import LONGEST_QUESTION, Question
from extproc.errors import SettingsError

QUESTION = b'{"ask": "status", "until": 1}\n'


def answer(line: bytes) -> bytes:
    """What the brain does: read it, or raise."""
    Question.read(line)
    return b"heard\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "b.sock"


def run(socket: BrainSocket, work: Coroutine[Any, Any, None]) -> None:
    async def between() -> None:
        await socket.start()
        try:
            async with asyncio.timeout(30):
                await work
        finally:
            await socket.stop()

    asyncio.run(between())


async def told(path: Path, line: bytes) -> bytes:
    """All that comes back before the connection ends; empty where nothing does."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(line)
        writer.write_eof()
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_it_is_its_owners_alone_and_leaves_nothing(path: Path) -> None:
    """0600 from the first instant that it has its name; after a stop there is neither it nor its temporary name."""

    async def work() -> None:
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.listdir(path.parent) == [path.name]

    run(BrainSocket(path, answer), work())
    assert os.listdir(path.parent) == []


def test_a_line_for_a_line(path: Path) -> None:
    """As many as are asked over one connection."""

    async def work() -> None:
        assert await told(path, QUESTION * 3) == b"heard\n" * 3

    run(BrainSocket(path, answer), work())


@pytest.mark.parametrize(
    "line",
    [b"\n", b"hello\n", b"\xff\n", b"{}\n", b"x" * (2 * LONGEST_QUESTION), b"x" * (2 * LONGEST_QUESTION) + b"\n", QUESTION[:-1], b""],
)
def test_what_is_no_question_costs_its_connection(path: Path, line: bytes) -> None:
    """It gets no answer, nor does what follows it; everybody else does, before and after."""

    async def work() -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(QUESTION)
        assert await reader.readline() == b"heard\n"
        assert await told(path, line + (QUESTION if line.endswith(b"\n") else b"")) == b""
        writer.write(QUESTION)
        assert await reader.readline() == b"heard\n"
        writer.close()
        assert await told(path, QUESTION) == b"heard\n"

    run(BrainSocket(path, answer), work())


def test_there_are_so_many_connections_and_no_more(path: Path) -> None:
    """One more is closed at once; when one has gone, there is room again."""

    async def work() -> None:
        held = [await asyncio.open_unix_connection(str(path)) for _ in range(MOST)]
        for reader, writer in held:
            writer.write(QUESTION)
            assert await reader.readline() == b"heard\n"
        assert await told(path, QUESTION) == b""
        held.pop()[1].close()
        while await told(path, QUESTION) != b"heard\n":
            await asyncio.sleep(0.01)
        for _, writer in held:
            writer.close()

    run(BrainSocket(path, answer), work())


def test_who_does_not_take_his_answer_loses_his_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bounded time; others are answered meanwhile."""
    monkeypatch.setattr(room, "TAKES", 0.3)
    made = BrainSocket(path, lambda line: b"x" * 8_000_000 + b"\n" if line == b"much\n" else answer(line))

    async def work() -> None:
        reader, writer = await asyncio.open_unix_connection(str(path), limit=1024)
        writer.write(b"much\n")
        assert await told(path, QUESTION) == b"heard\n"
        while made._open:
            await asyncio.sleep(0.01)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(8_000_001)
        writer.close()

    run(made, work())


def test_a_path_that_is_too_long_is_told_at_once(tmp_path: Path) -> None:
    """Before anything listens, with the number of bytes and what to do; the longest possible one works."""
    beside = len(os.fsencode(tmp_path / f"..{os.getpid()}"))
    longest = tmp_path / ("x" * (LONGEST_PATH - beside))

    async def work() -> None:
        assert await told(longest, QUESTION) == b"heard\n"

    run(BrainSocket(longest, answer), work())
    with pytest.raises(SettingsError, match=r"settings\.store-path") as found:
        BrainSocket(longest.with_name(longest.name + "xx"), answer)
    assert "is 2 bytes too long" in found.value.problems[0].message
    assert "shorter path" in found.value.problems[0].hint


def test_a_directory_that_takes_no_socket_is_told(tmp_path: Path) -> None:
    """As a Problem with a next step."""
    made = BrainSocket(tmp_path / "missing" / "b.sock", answer)
    with pytest.raises(SettingsError, match=r"settings\.bind"):
        asyncio.run(made.start())
    asyncio.run(made.stop())


def test_a_successor_takes_the_name_without_a_gap(path: Path) -> None:
    """Who was there before leaves it to the new one."""
    first, second = BrainSocket(path, lambda _: b"first\n"), BrainSocket(path, lambda _: b"second\n")

    async def work() -> None:
        assert await told(path, QUESTION) == b"first\n"
        await second.start()
        assert await told(path, QUESTION) == b"second\n"
        await first.stop()
        assert await told(path, QUESTION) == b"second\n"
        await second.stop()
        assert not path.exists()

    run(first, work())
