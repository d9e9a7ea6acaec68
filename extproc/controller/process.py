"""The controller process (the brain): it leads, or it stands by until it may."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Final

import uvloop

from extproc.controller.candidate import Alone, Candidate
from extproc.controller.http import Http
from extproc.controller.lead import lead
from extproc.controller.settings import ControllerSettings
from extproc.controller.standby import Standby
from extproc.errors import ConflictError, StoreError
from extproc.runtime import RELOAD, Followed, hangup_asks, stop_on_signals
from extproc.store import is_shared

PAUSE: Final = 1.0
"""Seconds until a controller that could not lead asks for it again."""

log = logging.getLogger(__name__)


def main(settings: ControllerSettings) -> None:
    """Run a controller until it is told to stop."""
    uvloop.run(_run(settings))


async def _run(settings: ControllerSettings) -> None:
    settings.doors.check(settings.collector, settings.sampler, settings.feedback, settings.xds)
    stop, reloads = stop_on_signals(), Reloads()
    hangup_asks(reloads.look)
    reading = asyncio.create_task(_read_input(stop, reloads)) if settings.ends_with_stdin else None
    http = Http(settings.store, settings.api_port, settings.doors)
    try:
        if is_shared(settings.store):
            await _among_others(settings, http, stop, reloads)
        else:
            await lead(settings, Alone(settings.name), http, stop, reloads.go_to)
    finally:
        await http.stop()
        if reading is not None:
            reading.cancel()


async def _among_others(settings: ControllerSettings, http: Http, stop: asyncio.Event, reloads: Reloads) -> None:
    """Stand by, lead, and stand by again, until `stop` is set."""
    candidate = Candidate(settings)
    telling = asyncio.create_task(candidate.tell())
    try:
        while not stop.is_set():
            heard = await Standby(settings, candidate, http).run(stop)
            if stop.is_set():
                return
            log.info("%s leads", settings.name)
            try:
                await candidate.begin_term()
                await lead(settings, candidate, http, stop, reloads.go_to, heard)
            except (StoreError, ConflictError) as error:
                log.error("could not go on leading: %s", error.problems[0], extra={"problem": error.problems[0].id})
            reloads.go_to(None)
            await candidate.resign()
            if not stop.is_set():
                log.warning("%s does not lead any more, and stands by", settings.name)
                await asyncio.sleep(PAUSE)
    finally:
        telling.cancel()
        candidate.close()


class Reloads:
    """Whom to ask to read the Spec again: whoever follows its file at present."""

    def __init__(self) -> None:
        self._followed: Followed | None = None

    def go_to(self, followed: Followed | None) -> None:
        """From now on to this one."""
        self._followed = followed

    def look(self) -> None:
        """Ask; one that stands by reads its file when it leads."""
        if self._followed is not None:
            self._followed.look()


async def _read_input(stop: asyncio.Event, reloads: Reloads) -> None:
    """Set `stop` when standard input ends; until then it may ask us to read the Spec again."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        if line.strip() == RELOAD:
            reloads.look()
    stop.set()
