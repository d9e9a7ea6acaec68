"""The controller process: store, collector, evaluate loop and API on one event loop; starts them in order, stops them in order."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from extproc import contract
from extproc.controller.api import Api
from extproc.controller.collector import Collector
from extproc.controller.loop import TICK, Loop
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.reload import follow_spec, opened
from extproc.controller.routers import PresenceSocket, Routers
from extproc.controller.token import server_token
from extproc.domain import Outcome, Undecided
from extproc.runtime import RELOAD, Followed, HttpServer, hangup_asks, stop_on_signals
from extproc.transport import parse_address

API_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """What `extproc controller` was asked to do."""

    spec_path: str
    store: str = contract.DEFAULT_STORE
    collector: str = contract.DEFAULT_COLLECTOR_LISTEN
    api_port: int = contract.DEFAULT_API_PORT
    """Loopback port; 0 for any free one."""
    ends_with_stdin: bool = False
    """End when standard input closes: a child must not outlive the process that started it."""


def main(settings: ControllerSettings) -> None:
    """Run a controller until it is told to stop."""
    uvloop.run(_run(settings))


async def _run(settings: ControllerSettings) -> None:
    address = parse_address(settings.collector)
    loop, store = opened(settings.spec_path, settings.store, time.time())
    try:
        followed = follow_spec(loop)
        hangup_asks(followed.look)
        metrics = ControllerMetrics()

        def receive(outcomes: Sequence[Outcome], undecided: Sequence[Undecided]) -> None:
            loop.undecided += len(undecided)
            metrics.count(outcomes)
            metrics.count_undecided(undecided)
            loop.receive(outcomes, time.time())

        routers = Routers(loop.count_decisions)
        presence = PresenceSocket(
            Path(contract.presence_path(settings.store)), lambda data: routers.receive(data, time.monotonic(), time.time())
        )
        collector = Collector(address, receive)
        await collector.start()
        presence.start()
        api = Api(loop, store, collector, routers, metrics, server_token(settings.store))
        server = HttpServer(api.app(), API_HOST, settings.api_port)
        following = asyncio.create_task(followed.follow())
        try:
            await server.start()
            print(f"controller ready: API on http://{server.address}", flush=True)
            await _until_told(settings, followed, asyncio.create_task(_evaluate(loop, metrics)))
        finally:
            following.cancel()
            await server.stop()
            presence.stop()
            await collector.stop()
            loop.save()
    finally:
        store.close()


async def _until_told(settings: ControllerSettings, followed: Followed, evaluating: asyncio.Task[None]) -> None:
    """Return when asked to stop; raise what the evaluate loop raises, which must never end by itself."""
    waiting = [evaluating, asyncio.create_task(_wait(stop_on_signals()))]
    if settings.ends_with_stdin:
        waiting.append(asyncio.create_task(_end_of_input(followed)))
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _evaluate(loop: Loop, metrics: ControllerMetrics) -> None:
    """One tick a second, on the clock's grid; a late one is followed at once and its lateness is a metric."""
    last = time.monotonic()
    due = last + TICK
    while True:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        now = time.monotonic()
        metrics.lagged(now - due)
        loop.tick(time.time(), now - last)
        last, due = now, max(due + TICK, now)


async def _end_of_input(followed: Followed) -> None:
    """Return when standard input ends; until then it may ask us to read the Spec again."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip() == RELOAD:
            followed.look()
