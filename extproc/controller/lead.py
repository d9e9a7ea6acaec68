"""One controller at work: store, collector, evaluate loop, and whatever serves them, from when it leads until it does not any more.

Nothing waits for the process that speaks HTTP: the loop evaluates before it serves, while it is replaced, and where it cannot be started
at all.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final

from extproc import contract
from extproc.controller.brain import Brain
from extproc.controller.candidate import Standing
from extproc.controller.collector import Collector
from extproc.controller.exposures import Exposures
from extproc.controller.hearing import FeedbackKeeper
from extproc.controller.http import Http
from extproc.controller.judging import JudgeKeeper
from extproc.controller.listen import BrainSocket
from extproc.controller.loop import Loop
from extproc.controller.metric_gates import MetricGates
from extproc.controller.metrics import ControllerMetrics
from extproc.controller.polling import Poller
from extproc.controller.readiness import Readiness
from extproc.controller.relay import Intake
from extproc.controller.reload import follow_spec, opened
from extproc.controller.routers import PresenceSocket, Routers
from extproc.controller.scores import Scores
from extproc.controller.settings import ControllerSettings
from extproc.controller.users import Users
from extproc.controller.vitals import VitalMetrics, Vitals
from extproc.domain import Mirrored, Outcome, Undecided
from extproc.runtime import Followed
from extproc.transport import beyond, parse_address

if TYPE_CHECKING:
    from extproc.controller.xds.keeping import XdsKeeper

LAST_BATCH: Final = 2.0
"""Seconds that the last exposures have to be written; a disk that takes longer loses them, and the next start says so."""
LOOK_EVERY: Final = 0.2
"""Seconds between two looks at what routers beyond this machine tell."""


async def lead(
    settings: ControllerSettings,
    standing: Standing,
    http: Http,
    stop: asyncio.Event,
    reloads: Callable[[Followed], None],
    heard: Sequence[bytes] = (),
) -> None:
    """Evaluate until `stop` is set, or this controller does not lead any more; raises what keeps it from that.

    `reloads` is told who is to be asked to read the Spec again. `heard`: access-log messages that were kept for whoever would lead.
    """
    address, doors = parse_address(settings.collector), settings.doors
    loop, store = opened(settings.spec_path, settings.store, time.time(), standing.store)
    try:
        followed = follow_spec(loop)
        reloads(followed)
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
        collector = Collector(address, receive, doors.security, lambda batch: intake.receive(batch))
        intake = Intake(token_hex(8), collector.take)
        hearing = FeedbackKeeper(loop, store, settings.feedback, doors.security)
        users = Users(loop, hearing)
        exposures = Exposures(loop, settings.keep, time.time())
        await http.start()
        vitals = Vitals(time.monotonic())
        poller, scores, judging = Poller(loop), Scores(loop), JudgeKeeper(loop, settings.sampler, doors.security)
        readiness = Readiness(loop)
        xds = _xds(settings, loop, readiness)
        told = (poller, exposures, scores, users, readiness, xds)
        brain = Brain(loop, store, collector, routers, metrics, vitals, VitalMetrics(vitals, http.restarts), standing, *told)
        asked = BrainSocket(Path(contract.brain_path(settings.store)), brain.answer)
        async with AsyncExitStack() as ends:
            exposures.start()
            ends.push_async_callback(exposures.stop, LAST_BATCH)
            ends.callback(loop.save)
            ends.push_async_callback(collector.stop)
            await collector.start()
            ends.callback(presence.stop)
            presence.start()
            ends.push_async_callback(asked.stop)
            await asked.start()
            ends.push_async_callback(hearing.close)
            await hearing.start()
            ends.push_async_callback(judging.stop)
            if xds is not None:
                ends.push_async_callback(xds.stop)
                await xds.start()
            for message in heard:
                collector.take(message)
            kept = (poller, MetricGates(loop), scores, judging, users, hearing, readiness, *((xds,) if xds is not None else ()))
            works = (followed.follow(), _follow_routers(standing, routers), *(one.keep() for one in kept))
            for work in works:
                ends.callback(asyncio.create_task(work).cancel)
            await _until(stop, _evaluate(loop, vitals, exposures, collector, intake, standing))
    finally:
        if standing.store is None:
            store.close()


def _xds(settings: ControllerSettings, loop: Loop, readiness: Readiness) -> XdsKeeper | None:
    """Tells Envoys, where it is asked to."""
    if not settings.xds:
        return None
    # A second of imports that nobody else needs.
    from extproc.controller.xds.keeping import XdsKeeper

    address = parse_address(settings.xds)
    return XdsKeeper(loop, readiness, address, replace(beyond(address, settings.doors.security), socket_owner=settings.xds_owner))


async def _until(stop: asyncio.Event, evaluating: Coroutine[None, None, None]) -> None:
    """Return when asked to stop, or when we do not lead any more; raise what the evaluate loop raises."""
    tasks = [asyncio.create_task(evaluating), asyncio.create_task(_wait(stop))]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def _evaluate(loop: Loop, vitals: Vitals, exposures: Exposures, collector: Collector, intake: Intake, standing: Standing) -> None:
    """One tick a second, on the clock's grid; a late one is followed at once and its lateness is a metric. Ends where we do not lead."""
    last = time.monotonic()
    while True:
        await asyncio.sleep(max(0.0, vitals.due - time.monotonic()))
        if not standing.held():
            return
        began = time.monotonic()
        now = time.time()
        if loop.tick(now, began - last):
            intake.saved()
        vitals.ticked(began, time.monotonic())
        exposures.tick(now, began - last, collector.bad_messages)
        last = began


async def _follow_routers(standing: Standing, routers: Routers) -> None:
    """What routers of other machines tell, each word once."""
    last: dict[str, bytes] = {}
    while True:
        for name, told in standing.routers().items():
            if last.get(name) != told:
                last[name] = told
                routers.receive(told, time.monotonic(), time.time())
        await asyncio.sleep(LOOK_EVERY)
