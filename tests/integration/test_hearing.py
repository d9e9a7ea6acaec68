"""From a post to a rating: the controller's own feedback process, its log, and the one who follows it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from extproc.assign.answered import feedback_key, sign
from extproc.controller.hearing import FeedbackKeeper
from extproc.controller.loop import Loop
from extproc.controller.users import Users
from extproc.demo.processes import free_port
from extproc.domain import Answered, Arm
from extproc.errors import SettingsError
from extproc.runtime.http import listening
from extproc.store import open_store
from tests.unit.test_approvals import loaded, written

PATIENCE = 60.0


class Stand:
    """A keeper with its process, and users who are followed."""

    def __init__(self, directory: Path, text: str) -> None:
        self.store = open_store(f"sqlite:{directory / 'x.db'}", writer=True)
        self.loop = Loop(text, self.store, time.time())
        self.port = free_port()
        self.keeper = FeedbackKeeper(self.loop, self.store, f"127.0.0.1:{self.port}")
        self.users = Users(self.loop, self.keeper)

    def token(self, unit: int, start: float | None = None) -> str:
        at = time.time() if start is None else start
        answered = Answered("new", 2, "everyone", Arm.CANARY, f"{unit:016x}", True, at)
        return sign(feedback_key(self.store.unit_key()), answered)

    async def post(self, token: str) -> int:
        """Its status, as soon as the process serves."""
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            answer = await client.post(f"http://127.0.0.1:{self.port}/v1/feedback", json={"kind": "thumbs_up", "token": token})
        return answer.status_code

    @property
    def waiting(self) -> int:
        self.users.look(time.time())
        waiting: int = self.users.document()["feedback"]["waiting"]
        return waiting


@asynccontextmanager
async def standing(directory: Path, text: str) -> AsyncIterator[Stand]:
    made = Stand(directory, text)
    await made.keeper.start()
    keeping = asyncio.create_task(made.keeper.keep())
    try:
        yield made
    finally:
        keeping.cancel()
        await made.keeper.close()
        made.store.close()


def test_what_is_posted_is_heard_and_a_killed_process_is_replaced(tmp_path: Path) -> None:
    """A token signed with the store's key is good, another one is not; whoever posts while the process is replaced waits."""

    async def story() -> None:
        async with standing(tmp_path, written(feedback={"tokens": True})) as stand:
            assert await stand.post(stand.token(1)) == 202
            assert await stand.post(sign(b"x" * 32, Answered("new", 2, "everyone", Arm.CANARY, "0" * 16, True, time.time()))) == 401
            assert stand.waiting == 1
            assert stand.keeper._child is not None
            assert stand.keeper._child._process is not None
            os.kill(stand.keeper._child._process.pid, signal.SIGKILL)
            assert await stand.post(stand.token(2)) == 202
            assert stand.waiting == 2
            assert await stand.post(stand.token(3, time.time() - 7200.0)) == 403
            for _ in range(600):
                if b"extproc_feedback_total" in stand.users.exposition():
                    break
                await asyncio.sleep(0.1)
            assert b'extproc_feedback_total{kind="thumbs_up",result="accepted"}' in stand.users.exposition()

    asyncio.run(story())


def test_it_is_there_while_the_spec_listens_to_users(tmp_path: Path) -> None:
    """It begins and ends with the block, and a taken address is told and stops nothing."""

    async def story() -> None:
        async with standing(tmp_path, written()) as stand:
            with pytest.raises(httpx.ConnectError):
                await stand.post(stand.token(1))
            stand.loop.spec = replace(stand.loop.spec, feedback=loaded(feedback={"tokens": True}).feedback)
            for _ in range(600):
                if stand.keeper._child is not None:
                    break
                await asyncio.sleep(0.1)
            assert await stand.post(stand.token(1)) == 202
            assert stand.waiting == 1
        taken = await listening("127.0.0.1", 0)
        other = FeedbackKeeper(stand.loop, stand.store, f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SettingsError):
            await other.start()
        taken.close()

    asyncio.run(story())
