"""How the API process asks: bounded in time, and as seldom as possible, over a real socket."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from extproc.controller import ask as room
from extproc.controller import talk
from extproc.controller.ask import BrainClient, SilentError, Watch
from extproc.controller.listen import BrainSocket
from extproc.controller.talk import Act, Ask, Question
from extproc.errors import Problem, RefusedError

ACT = Act("new", "start", "ann", "because", "17")


class Peer:
    """Answers with the number of the question; or as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path / "b.sock"
        self.heard: Counter[Ask] = Counter()
        self.socket = BrainSocket(self.path, self._answer)
        self.client = BrainClient(self.path)
        self.says: bytes | None = None

    def _answer(self, line: bytes) -> bytes:
        question = Question.read(line)
        self.heard[question.ask] += 1
        return self.says if self.says is not None else talk.said(self.heard[question.ask])


@asynccontextmanager
async def mute(path: Path) -> AsyncIterator[None]:
    """A peer that takes every connection and says nothing."""
    ended = asyncio.Event()

    async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    server = await asyncio.start_unix_server(hold, str(path))
    try:
        yield
    finally:
        ended.set()
        server.close()


@pytest.fixture
def peer(tmp_path: Path) -> Peer:
    return Peer(tmp_path)


def run(peer: Peer, work: Coroutine[Any, Any, None]) -> None:
    async def between() -> None:
        await peer.socket.start()
        try:
            async with asyncio.timeout(100):
                await work
        finally:
            await peer.socket.stop()

    asyncio.run(between())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a second is enough."""
    for name in ("ANSWER_WITHIN", "ACT_WITHIN", "ACT_ANSWERED_WITHIN"):
        monkeypatch.setattr(room, name, 0.6)


def test_many_lookers_ask_one_question(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand at once, and everybody for FRESH seconds after them, share one answer; then it is asked anew."""
    monkeypatch.setattr(room, "FRESH", 2.0)

    async def work() -> None:
        watch = Watch(peer.client, Ask.STATUS)
        known = await asyncio.gather(*(watch.look() for _ in range(1000)))
        assert {(one.document, one.stale) for one in known} == {(1, 0.0)}
        assert (await watch.look()).document == 1
        assert peer.heard == {Ask.STATUS: 1}
        await asyncio.sleep(room.FRESH + 0.01)
        assert (await watch.look()).document == 2

    run(peer, work())


def test_who_leaves_takes_no_answer_from_others(peer: Peer) -> None:
    """The one who happened to ask is cancelled: the others get their answer all the same."""

    async def work() -> None:
        watch = Watch(peer.client, Ask.STATUS)
        first, second = (asyncio.create_task(watch.look()) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).document == 1
        assert first.cancelled()

    run(peer, work())


def test_what_is_forgotten_is_asked_anew(peer: Peer) -> None:
    """Even while an older question is on its way: its answer is for those who wait for it, and for nobody later."""

    async def work() -> None:
        watch = Watch(peer.client, Ask.STATUS)
        older = asyncio.create_task(watch.look())
        await asyncio.sleep(0)
        watch.forget()
        newer = await watch.look()
        assert {(await older).document, newer.document} == {1, 2}
        assert peer.heard == {Ask.STATUS: 2}
        assert watch.last is not None
        assert watch.last.document == newer.document

    run(peer, work())


@pytest.mark.usefixtures("impatient")
def test_a_peer_that_is_silent_is_waited_for_once_and_is_stale(peer: Peer) -> None:
    """The last answer, and for how long there was no newer; fresh again as soon as there is one. Lookers share the wait."""

    async def work() -> None:
        watch = Watch(peer.client, Ask.STATUS)
        await watch.look()
        await peer.socket.stop()
        async with mute(peer.path):
            await asyncio.sleep(room.FRESH + 0.01)
            begin = asyncio.get_running_loop().time()
            known = await asyncio.gather(*(watch.look() for _ in range(100)))
            assert asyncio.get_running_loop().time() - begin < 30.0, "a hundred waits would take a minute"
            assert {one.document for one in known} == {1}
            (stale,) = {one.stale for one in known}
            assert stale >= 0.2 + room.FRESH
            await asyncio.sleep(room.FRESH + 0.01)
            assert (await watch.look()).stale > stale
            assert peer.client.silent > stale
        await peer.socket.start()
        await asyncio.sleep(room.FRESH + 0.01)
        known_again = await watch.look()
        assert (known_again.document, known_again.stale) == (2, 0.0)

    run(peer, work())


@pytest.mark.usefixtures("impatient")
def test_where_nothing_was_ever_known_there_is_nothing_to_show(peer: Peer) -> None:
    """SilentError, which says so; with a peer that is mute, and with none."""

    async def work() -> None:
        await peer.socket.stop()
        with pytest.raises(SilentError, match="nor before"):
            await Watch(peer.client, Ask.STATUS).look()
        async with mute(peer.path):
            with pytest.raises(SilentError, match="nor before"):
                await Watch(peer.client, Ask.STATUS).look()

    run(peer, work())


@pytest.mark.usefixtures("impatient")
def test_an_act_is_not_told_to_a_peer_that_stands_still(peer: Peer) -> None:
    """It is certain that it was not carried out; one that answers is asked whether it is there, and then told, once."""

    async def work() -> None:
        assert await peer.client.act(ACT) == 1
        assert peer.heard == {Ask.HEALTH: 1, Ask.ACT: 1}
        await peer.socket.stop()
        async with mute(peer.path):
            with pytest.raises(SilentError) as found:
                await peer.client.act(ACT)
            assert not found.value.asked
        with pytest.raises(SilentError) as found:
            await peer.client.act(ACT)
        assert not found.value.asked

    run(peer, work())


@pytest.mark.parametrize("said", [b"", b"not JSON\n", b'{"said": 1', b"{}\n", b'{"said": 1, "more": 2}\n'])
def test_an_answer_that_is_none_counts_as_silence(peer: Peer, said: bytes) -> None:
    """It may have done what was asked: nobody says that it has not."""

    async def work() -> None:
        peer.says = said
        with pytest.raises(SilentError) as found:
            async with asyncio.timeout(10):
                await peer.client.ask(Ask.STATUS)
        assert found.value.asked

    run(peer, work())


def test_a_refusal_is_an_answer(peer: Peer) -> None:
    """It arrives as what it was, and the brain does not count as silent."""

    async def work() -> None:
        peer.says = talk.refused(RefusedError(Problem("act.refused", "new", "no", "yes")))
        before = peer.client._last_answer
        with pytest.raises(RefusedError, match=r"act\.refused"):
            await peer.client.ask(Ask.STATUS)
        assert peer.client._last_answer > before

    run(peer, work())


def test_a_late_refusal_is_silence(peer: Peer) -> None:
    """Whoever looks is shown the last that is known, and not an error: the question was met after its time."""

    async def work() -> None:
        watch = Watch(peer.client, Ask.STATUS)
        await watch.look()
        peer.says = talk.refused(talk.LateError(Problem("api.late", "status", "it stood still")))
        await asyncio.sleep(room.FRESH + 0.01)
        known = await watch.look()
        assert known.document == 1
        assert known.stale >= room.FRESH

    run(peer, work())
