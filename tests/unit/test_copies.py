"""The sampler's server: one stream for each copied request, whatever becomes of it, and never open to a network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
import pytest

from extproc import contract
from extproc.controller.copies import CopyServer
from extproc.domain import Purpose, Sample
from extproc.errors import SettingsError
from extproc.judge.redact import Redactor
from extproc.judge.sampling import Chances, Chooser, Sampler
from tests.support.samples import chat, completion, copied


class Kept:
    """In place of a pipeline: everything is chosen, and what is sampled is kept."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def chooser(self, rollout: str) -> Chooser:
        return Chooser(rollout)

    def put(self, sample: Sample) -> None:
        self.samples.append(sample)


def served(path: Path, act: Callable[[grpc.aio.StreamStreamMultiCallable, CopyServer], Awaitable[None]], samples: int = 1) -> list[Sample]:
    """A server on a Unix socket, and a client as Envoy is one; until there are so many samples."""
    kept = Kept()

    async def go() -> None:
        server = CopyServer(Sampler(Redactor(), None), kept, Chances(None), 100_000)  # type: ignore[arg-type]
        address = f"unix:{path}/s.sock"
        await server.start(address)
        working = asyncio.create_task(server.work())
        try:
            async with grpc.aio.insecure_channel(address) as channel:
                await act(channel.stream_stream(contract.PROCESS_METHOD), server)
            async with asyncio.timeout(100):
                while len(kept.samples) < samples:
                    await asyncio.sleep(0.01)
        finally:
            working.cancel()
            await server.stop()

    asyncio.run(go())
    assert not (path / "s.sock").exists()
    return kept.samples


def test_a_copy_that_is_told_whole_is_a_sample_before_its_stream_ends(tmp_path: Path) -> None:
    """Envoy keeps the stream open for a while after the answer; nobody waits for that."""

    async def act(method: grpc.aio.StreamStreamMultiCallable, server: CopyServer) -> None:
        call = method()
        for message in copied(chat("How far is the moon?"), completion("Far."), 3):
            await call.write(message)
        while not server.copies:
            await asyncio.sleep(0.01)

    (sample,) = served(tmp_path, act)
    assert (sample.answer, sample.ending, sample.purpose) == ("Far.", "whole", Purpose.GATE)


def test_a_stream_that_is_reset_in_the_middle_is_an_answer_that_was_aborted(tmp_path: Path) -> None:
    """The client left, or Envoy did: counted once, and never judged."""

    async def act(method: grpc.aio.StreamStreamMultiCallable, server: CopyServer) -> None:
        call = method()
        for message in copied(chat("?"), completion("half of it"), 3)[:-2]:
            await call.write(message)
        await asyncio.sleep(1.0)
        call.cancel()
        while not server.copies:
            await asyncio.sleep(0.01)
        assert server.copies == 1

    (sample,) = served(tmp_path, act)
    assert sample.ending == "aborted"


def test_what_cannot_be_read_is_counted_and_costs_itself_alone(tmp_path: Path) -> None:
    """Bytes that are no message, a copy of nobody's request; the next one is taken."""

    async def act(method: grpc.aio.StreamStreamMultiCallable, server: CopyServer) -> None:
        for messages in (
            [b"\xff\xff\xff"],
            copied(chat("?"), completion("!"), decided=False),
            copied(chat("?"), completion("Far enough.")),
        ):
            call = method()
            for message in messages:
                await call.write(message)
            await call.done_writing()
            await call.code()
        assert server.document() == {"copies": 3, "bad_copies": 1, "undecided_copies": 2, "dropped_copies": 0}

    (sample,) = served(tmp_path, act)
    assert sample.answer == "Far enough."


def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    """Two hundred copies whose pieces come in turn."""

    async def act(method: grpc.aio.StreamStreamMultiCallable, server: CopyServer) -> None:
        told = [
            copied(chat(f"question {n}"), completion(f"This is the answer to question {n}."), 5, request_id=f"r{n}") for n in range(200)
        ]
        calls = [method() for _ in told]
        for place in range(len(told[0])):
            for call, messages in zip(calls, told, strict=True):
                await call.write(messages[place])
        while server.copies < 200:
            await asyncio.sleep(0.01)

    found = served(tmp_path, act, 200)
    assert {one.request: one.answer for one in found} == {f"r{n}": f"This is the answer to question {n}." for n in range(200)}


def test_it_never_listens_beyond_loopback_without_mutual_tls() -> None:
    """Copies are texts of users, and nothing would protect them on a network."""
    server = CopyServer(Sampler(Redactor(), None), Kept(), Chances(None), 1000)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="open to the network"):
        asyncio.run(server.start("0.0.0.0:9000"))
