"""The controller process (the brain): store, collector, evaluate loop; HTTP is spoken by a child that it keeps alive.

Nothing waits for that child: the loop evaluates before it serves, while it is replaced, and where it cannot be started at all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from extproc import contract
from extproc.controller.api_process import ApiSettings, command
from extproc.controller.brain import Brain
from extproc.controller.collector import Collector
from extproc.controller.exposures import Exposures
from extproc.controller.hearing import FeedbackKeeper
from extproc.controller.judging import JudgeKeeper
from extproc.controller.listen import BrainSocket
from extproc.controller.loop import Loop
from extproc.controller.metric_gates import MetricGates
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.polling import Poller
from extproc.controller.readiness import Readiness
from extproc.controller.reload import follow_spec, opened
from extproc.controller.routers import PresenceSocket, Routers
from extproc.controller.scores import Scores
from extproc.controller.token import server_token
from extproc.controller.users import Users
from extproc.controller.vitals import VitalMetrics, Vitals
from extproc.domain import Mirrored, Outcome, Undecided
from extproc.runtime import RELOAD, Followed, hangup_asks, stop_on_signals
from extproc.runtime.child import ASK_TIMEOUT, QUESTION, Child
from extproc.runtime.http import listening
from extproc.store.exposures import Keep
from extproc.transport import PRIVATE, Security, parse_address

if TYPE_CHECKING:
    from extproc.controller.xds.keeping import XdsKeeper

API_HOST = "127.0.0.1"
READY_TIMEOUT = 30.0
"""Seconds after which an API that does not serve yet is complained about."""
STOP_TIMEOUT = 5.0
LAST_BATCH = 2.0
"""Seconds that the last exposures have to be written; a disk that takes longer loses them, and the next start says so."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """What `extproc controller` was asked to do."""

    spec_path: str
    store: str = contract.DEFAULT_STORE
    collector: str = contract.DEFAULT_COLLECTOR_LISTEN
    sampler: str = contract.DEFAULT_SAMPLER_LISTEN
    """Where Envoy sends copies for the judge, where the Spec has one."""
    feedback: str = contract.DEFAULT_FEEDBACK_LISTEN
    """HOST:PORT where Envoy sends what users post, where the Spec has feedback."""
    api_port: int = contract.DEFAULT_API_PORT
    """Loopback port; 0 for any free one."""
    xds: str = ""
    """Where Envoys ask for their configuration: unix:PATH or HOST:PORT; "" where none does."""
    xds_security: Security = PRIVATE
    keep: Keep = field(default_factory=Keep)
    """How many exposures are kept."""
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

        def receive(outcomes: Sequence[Outcome], undecided: Sequence[Undecided], mirrored: Sequence[Mirrored]) -> None:
            outcomes = users.hear(outcomes)
            loop.undecided += len(undecided)
            metrics.follow(loop.spec)
            metrics.count(outcomes)
            metrics.count_undecided(undecided)
            metrics.count_copies(mirrored)
            loop.receive(outcomes, time.time(), mirrored)
            exposures.receive(outcomes, undecided, time.time())

        routers = Routers(loop.count_decisions)
        presence = PresenceSocket(
            Path(contract.presence_path(settings.store)), lambda data: routers.receive(data, time.monotonic(), time.time())
        )
        collector = Collector(address, receive)
        hearing = FeedbackKeeper(loop, store, settings.feedback)
        users = Users(loop, hearing)
        exposures = Exposures(loop, settings.keep, time.time())
        await collector.start()
        presence.start()
        await hearing.start()
        listener = await listening(API_HOST, settings.api_port)
        api = _api(settings.store, listener)
        vitals = Vitals(time.monotonic())
        poller, scores, judging = Poller(loop), Scores(loop), JudgeKeeper(loop, settings.sampler)
        readiness = Readiness(loop)
        xds = await _xds(settings, loop, readiness)
        told = (poller, exposures, scores, users, readiness, xds)
        brain = Brain(loop, store, collector, routers, metrics, vitals, VitalMetrics(vitals, api.restarts), *told)
        asked = BrainSocket(Path(contract.brain_path(settings.store)), brain.answer)
        await asked.start()
        exposures.start()
        kept = (api, poller, MetricGates(loop), scores, judging, users, hearing, readiness, *((xds,) if xds is not None else ()))
        works = (followed.follow(), _announce(api, listener), *(one.keep() for one in kept))
        beside = [asyncio.create_task(work) for work in works]
        try:
            await _until_told(settings, followed, asyncio.create_task(_evaluate(loop, vitals, exposures, collector)))
        finally:
            await api.stop(STOP_TIMEOUT)
            for task in beside:
                task.cancel()
            await judging.stop()
            await hearing.close()
            listener.close()
            if xds is not None:
                await xds.stop()
            await asked.stop()
            presence.stop()
            await collector.stop()
            loop.save()
            await exposures.stop(LAST_BATCH)
    finally:
        store.close()


def _api(store: str, listener: socket.socket) -> Child:
    """The process that speaks HTTP for us."""
    settings = ApiSettings(store, server_token(store), listener.fileno())
    return Child("the API process", command(), settings.write(), files=(listener.fileno(),))


async def _xds(settings: ControllerSettings, loop: Loop, readiness: Readiness) -> XdsKeeper | None:
    """Serves Envoys, where it was asked to; raises SettingsError where it cannot listen."""
    if not settings.xds:
        return None
    # A second of imports that nobody else needs.
    from extproc.controller.xds.keeping import XdsKeeper

    kept = XdsKeeper(loop, readiness, parse_address(settings.xds), settings.xds_security)
    await kept.start()
    return kept


async def _announce(api: Child, listener: socket.socket) -> None:
    """One line on standard output when the API serves: scripts wait for it."""
    loop = asyncio.get_running_loop()
    begin = loop.time()
    while await api.ask(QUESTION, ASK_TIMEOUT) is None:
        if loop.time() - begin > READY_TIMEOUT:
            log.error("the API does not serve after %.0f s, rollouts go on without it; the lines above say why", READY_TIMEOUT)
            begin = loop.time()
        await asyncio.sleep(0.05)
    host, port = listener.getsockname()
    print(f"controller ready: API on http://{host}:{port}", flush=True)


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


async def _evaluate(loop: Loop, vitals: Vitals, exposures: Exposures, collector: Collector) -> None:
    """One tick a second, on the clock's grid; a late one is followed at once and its lateness is a metric."""
    last = time.monotonic()
    while True:
        await asyncio.sleep(max(0.0, vitals.due - time.monotonic()))
        began = time.monotonic()
        now = time.time()
        loop.tick(now, began - last)
        vitals.ticked(began, time.monotonic())
        exposures.tick(now, began - last, collector.bad_messages)
        last = began


async def _end_of_input(followed: Followed) -> None:
    """Return when standard input ends; until then it may ask us to read the Spec again."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip() == RELOAD:
            followed.look()
