"""A collector beside a router: it takes Envoy's access log, and passes it on to whichever controller leads. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import uvloop

from extproc import contract
from extproc.controller.candidate import Others
from extproc.controller.doors import OUTCOMES_HARM
from extproc.controller.relay.relay import Relay
from extproc.errors import Problem, SettingsError, StoreError
from extproc.runtime import stop_on_signals
from extproc.store import SharedStore, is_shared, open_shared
from extproc.transport import PRIVATE, Security, parse_address, problems

RETRY: Final = 1.0
"""Seconds between attempts to reach the store."""
HAND_OVER: Final = 5.0
"""Seconds that what waits has to reach the leader, where we stop."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PassingSettings:
    """What `extproc collector` was asked to do."""

    store: str
    listen: str = contract.DEFAULT_COLLECTOR_LISTEN
    security: Security = PRIVATE


def main(settings: PassingSettings) -> None:
    """Pass outcomes on until told to stop."""
    if not is_shared(settings.store):
        hint = "with a file as its store the controller is beside it, and is the collector"
        raise SettingsError(Problem("settings.store", settings.store, "is not shared by several machines", hint))
    if found := problems(parse_address(settings.listen), settings.security, harm=OUTCOMES_HARM):
        raise SettingsError(found)
    uvloop.run(_run(settings))


async def _run(settings: PassingSettings) -> None:
    stop, relay = stop_on_signals(), Relay(parse_address(settings.listen), settings.security)
    # Envoy is heard before the store is: what comes meanwhile waits.
    await relay.start()
    print(f"collector ready: {settings.listen}", flush=True)
    shared = await _opened(settings.store, stop)
    if shared is not None:
        relay.send(Others(shared, shared.leadership("none")).leaders_collector)
        await stop.wait()
    if not await relay.stop(HAND_OVER):
        log.error("%d messages did not reach a leader and are lost: a gap in what was seen", len(relay.left))
    if shared is not None:
        await asyncio.to_thread(shared.close)


async def _opened(url: str, stop: asyncio.Event) -> SharedStore | None:
    """The store as soon as it can be reached; None where we are told to stop before that."""
    told = ""
    while not stop.is_set():
        try:
            return await asyncio.to_thread(open_shared, url)
        except StoreError as error:
            problem = error.problems[0]
            if problem.id != told:
                log.warning("waiting for the store: %s", problem, extra={"problem": problem.id})
            told = problem.id
            await asyncio.sleep(RETRY)
    return None
