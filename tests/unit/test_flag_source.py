"""router.source: polled flags reach a worker by State; a Spec that did not change is not parsed again for them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from extproc import spec as spec_room
from extproc.assign import Snapshot, assign
from extproc.controller.loop import Loop
from extproc.domain import Arm
from extproc.router.source import StoreSource
from extproc.store import open_store
from tests.support import flag_specs


def text() -> str:
    """Whoever is in the flag meets the canary."""
    unit = {"kind": "user", "sources": [{"header": "x-user-id"}]}
    cohorts = [{"name": "flagged", "flag": {"source": "ours", "key": "k"}}]
    rollout = {"stable": "old", "canary": "new", "unit": unit, "cohorts": cohorts, "phases": [{"share": "100%"}]}
    return flag_specs.text({"r": rollout}, flags={"ours": {"vendor": "flagd", "poll": {"url": "https://flags.example/"}}})


def flag(variant: str) -> str:
    document = {"flags": {"k": {"state": "ENABLED", "variants": {"on": "on", "off": ""}, "defaultVariant": variant}}}
    return orjson.dumps(document).decode()


def canary(snapshot: Snapshot) -> bool:
    answer = assign(snapshot.layers[0], {"x-user-id": b"u"}, b"request", 0.0)
    assert answer is not None
    return answer.choice.assignment.arm is Arm.CANARY


def lived(path: Path, work: Callable[[Loop, StoreSource, list[Snapshot]], Awaitable[None]]) -> None:
    """A loop that writes and a source that follows; the rollout is started."""
    store = open_store(f"sqlite:{path}", writer=True)
    loop = Loop(text(), store, 1000.0)
    loop.tick(1001.0, 1.0)

    async def run() -> None:
        source, used = StoreSource(f"sqlite:{path}"), list[Snapshot]()
        first, _ = await source.open()
        used.append(first)
        following = asyncio.create_task(source.follow(used.append))
        try:
            await work(loop, source, used)
        finally:
            following.cancel()

    asyncio.run(run())
    store.close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not what():
            await asyncio.sleep(0.01)


def test_flags_come_by_state_and_the_spec_is_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is in before the first document; then whoever the present one lets in."""

    async def work(loop: Loop, source: StoreSource, used: list[Snapshot]) -> None:
        # The first heartbeats: until then nobody watches, and everybody meets stable anyway.
        beats = 1002.0

        def beat() -> None:
            nonlocal beats
            beats += 1
            loop.tick(beats, 1.0)

        beat()
        await until(lambda: source.withdrawn == frozenset())
        assert not canary(used[-1])
        loads: list[Any] = []
        monkeypatch.setattr(spec_room, "load", lambda *given: loads.append(given))
        for variant, expected in (("on", True), ("off", False), ("on", True)):
            loop.adopt_flags("ours", flag(variant), beats)
            await until(lambda expected=expected: canary(used[-1]) is expected)  # type: ignore[misc]
        assert loads == []
        assert source.failures == 0

    lived(tmp_path / "store.db", work)


def test_a_document_that_is_not_there_keeps_the_last_good_snapshot(tmp_path: Path) -> None:
    """Deleted between State and document, say: told, and read again with the next State."""

    async def work(loop: Loop, source: StoreSource, used: list[Snapshot]) -> None:
        loop.tick(1002.0, 1.0)
        await until(lambda: source.withdrawn == frozenset())
        loop.adopt_flags("ours", flag("on"), 1003.0)
        await until(lambda: canary(used[-1]))
        store = loop._store
        state = loop.state
        from dataclasses import replace

        lost = replace(state, generation=state.generation + 1, flags={"ours": "0" * 16})
        store.commit(lost, state.generation, [], {})
        await until(lambda: source.failures > 0)
        assert canary(used[-1])
        found = replace(lost, generation=lost.generation + 1, flags=state.flags)
        store.commit(found, lost.generation, [], {})
        await until(lambda: used[-1].generation == found.generation)
        assert canary(used[-1])

    lived(tmp_path / "store.db", work)
