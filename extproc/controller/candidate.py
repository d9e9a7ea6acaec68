"""Who leads: of the controllers of one store, the one that holds its lease. On one machine there is one controller, and it does.

Everybody tells once a second that he is there, where his collector takes batches, and whether he leads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import orjson

from extproc import __version__
from extproc.controller.settings import ControllerSettings
from extproc.errors import ExtprocError, StoreError
from extproc.store import Leadership, Shared, open_shared
from extproc.transport import Address, parse_address

EVERY: Final = 1.0
"""Seconds between two signs of life."""
PATIENCE: Final = 1.0
"""Seconds that one attempt to lead may take."""
RETRY: Final = 0.5
"""Seconds until it is tried again where the store is away."""

log = logging.getLogger(__name__)


class Standing(Protocol):
    """Where one controller stands among others."""

    leadership: Leadership | None
    """What its writes are bound to; None on one machine, where a lock on the store's file is enough."""

    def held(self) -> bool:
        """True while it may decide."""

    def routers(self) -> Mapping[str, bytes]:
        """The last Presence of each router that does not tell it over a socket."""

    def document(self) -> list[dict[str, Any]]:
        """For status: every controller that is known."""


class Alone:
    """The only controller of a store that is a file."""

    leadership: Leadership | None = None

    def __init__(self, name: str) -> None:
        self._name = name

    def held(self) -> bool:
        """Always: whoever has the file's lock leads."""
        return True

    def routers(self) -> Mapping[str, bytes]:
        """None: they tell over a socket beside the store."""
        return {}

    def document(self) -> list[dict[str, Any]]:
        """Itself."""
        return [{"name": self._name, "leader": True, "age": 0.0, "version": __version__}]


class Candidate:
    """One controller of several."""

    def __init__(self, settings: ControllerSettings) -> None:
        """Raises SettingsError or StoreError where the store cannot be asked at all."""
        self._name = settings.name
        self._collector = settings.advertise or settings.collector
        self._shared: Shared = open_shared(settings.store)
        self.leadership: Leadership = self._shared.leadership(settings.name, settings.lease)

    def held(self) -> bool:
        """True while the lease is certain to be ours, by our own clock."""
        return self.leadership.held()

    async def campaign(self) -> bool:
        """Ask for the lead, for a second at most; the store being away is waited for."""
        try:
            return await asyncio.to_thread(self.leadership.campaign, PATIENCE)
        except StoreError as error:
            log.warning("cannot ask for the lead: %s", error.problems[0], extra={"problem": error.problems[0].id})
            await asyncio.sleep(RETRY)
            return False

    async def resign(self) -> None:
        """Let another one lead at once; where the store does not answer, the lease runs out."""
        with suppress(ExtprocError):
            await asyncio.to_thread(self.leadership.resign)

    async def tell(self) -> None:
        """Say once a second that we are there, until cancelled."""
        while True:
            document = {"at": time.time(), "collector": self._collector, "version": __version__}
            with suppress(ExtprocError):
                await asyncio.to_thread(self._shared.present_controller, self._name, orjson.dumps(document))
            await asyncio.sleep(EVERY)

    def leader(self) -> str | None:
        """Who leads, as far as is known."""
        return self.leadership.leader()

    def leaders_collector(self) -> Address | None:
        """Where the one who leads takes batches; None where nobody does, or where it is us."""
        leader = self.leader()
        told = self._shared.controllers().get(leader) if leader and leader != self._name else None
        if told is None:
            return None
        with suppress(ExtprocError, ValueError, KeyError):
            return parse_address(orjson.loads(told)["collector"])
        return None

    def routers(self) -> Mapping[str, bytes]:
        """The last Presence of each router."""
        return self._shared.routers()

    def document(self) -> list[dict[str, Any]]:
        """For status: who is there, who leads."""
        leader, now, found = self.leader(), time.time(), []
        for name, told in sorted(self._shared.controllers().items()):
            with suppress(ValueError, KeyError):
                said = orjson.loads(told)
                age = max(0.0, now - said["at"])
                found.append({"name": name, "leader": name == leader, "age": age, "version": said["version"]})
        return found

    def close(self) -> None:
        """Give back the lease and the connection."""
        self._shared.close()
