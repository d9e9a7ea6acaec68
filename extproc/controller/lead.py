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
from extproc.store import Store
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
    loop, store = opened(settings.spec_path, settings.store, time.time(), standing.store)
    try:
        followed = follow_spec(loop)
        reloads(followed)
        await http.start()
        await _Lead(settings, standing, http, loop, store).run(stop, followed, heard)
    finally:
        if standing.store is None:
            store.close()


class _Lead:
    """All parts of it."""

    def __init__(self, settings: ControllerSettings, standing: Standing, http: Http, loop: Loop, store: Store) -> None:
        security = settings.doors.security
        self._loop, self._standing = loop, standing
        self._metrics = ControllerMetrics()
        self._routers = routers = Routers(loop.count_decisions)
        self._collector = Collector(parse_address(settings.collector), self._receive, security, lambda batch: self._intake.receive(batch))
        self._intake = Intake(token_hex(8), self._collector.take)
        self._presence = PresenceSocket(
            Path(contract.presence_path(settings.store)), lambda data: routers.receive(data, time.monotonic(), time.time())
        )
        self._hearing = FeedbackKeeper(loop, store, settings.feedback, security)
        self._users = Users(loop, self._hearing)
        self._exposures = Exposures(loop, settings.keep, time.time(), settings.name)
        self._vitals = vitals = Vitals(time.monotonic())
        if standing.store is not None:
            # Routers have waited for a heartbeat since the last leader's.
            vitals.due = vitals.last
        self._judging = JudgeKeeper(loop, settings.sampler, security)
        self._readiness = Readiness(loop)
        self._xds = _xds(settings, loop, self._readiness)
        self._poller, self._scores = Poller(loop), Scores(loop)
        told = (self._poller, self._exposures, self._scores, self._users, self._readiness, self._xds)
        brain = Brain(loop, store, self._collector, routers, self._metrics, vitals, VitalMetrics(vitals, http.restarts), standing, *told)
        self._asked = BrainSocket(Path(contract.brain_path(settings.store)), brain.answer)

    async def run(self, stop: asyncio.Event, followed: Followed, heard: Sequence[bytes]) -> None:
        """Start all of them, evaluate, and end them in the opposite order."""
        xds = (self._xds,) if self._xds is not None else ()
        async with AsyncExitStack() as ends:
            self._exposures.start()
            ends.push_async_callback(self._exposures.stop, LAST_BATCH)
            ends.callback(self._loop.save)
            ends.push_async_callback(self._collector.stop)
            await self._collector.start()
            ends.callback(self._presence.stop)
            self._presence.start()
            ends.push_async_callback(self._asked.stop)
            await self._asked.start()
            ends.push_async_callback(self._hearing.close)
            await self._hearing.start()
            ends.push_async_callback(self._judging.stop)
            for one in xds:
                ends.push_async_callback(one.stop)
                await one.start()
            for message in heard:
                self._collector.take(message)
            kept = (self._poller, MetricGates(self._loop), self._scores, self._judging, self._users, self._hearing, self._readiness, *xds)
            for work in (followed.follow(), self._follow_routers(), *(one.keep() for one in kept)):
                ends.callback(asyncio.create_task(work).cancel)
            await _until(stop, self._evaluate())

    def _receive(self, outcomes: Sequence[Outcome], undecided: Sequence[Undecided], mirrored: Sequence[Mirrored]) -> None:
        """What the collector heard."""
        loop, metrics = self._loop, self._metrics
        outcomes = self._users.hear(outcomes)
        loop.undecided += len(undecided)
        metrics.follow(loop.spec)
        metrics.count(outcomes)
        metrics.count_undecided(undecided)
        metrics.count_copies(mirrored)
        loop.receive(outcomes, time.time(), mirrored)
        self._exposures.receive(outcomes, undecided, time.time())

    async def _evaluate(self) -> None:
        """One tick a second, on the clock's grid; a late one is followed at once, its lateness is a metric. Ends where we do not lead."""
        loop, vitals = self._loop, self._vitals
        last = time.monotonic()
        while True:
            await asyncio.sleep(max(0.0, vitals.due - time.monotonic()))
            if not self._standing.held():
                return
            began = time.monotonic()
            now = time.time()
            if loop.tick(now, began - last):
                self._intake.saved()
            vitals.ticked(began, time.monotonic())
            self._exposures.tick(now, began - last, self._collector.bad_messages)
            last = began

    async def _follow_routers(self) -> None:
        """What routers of other machines tell, each word once."""
        last: dict[str, bytes] = {}
        while True:
            for name, told in self._standing.routers().items():
                if last.get(name) != told:
                    last[name] = told
                    self._routers.receive(told, time.monotonic(), time.time())
            await asyncio.sleep(LOOK_EVERY)


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
