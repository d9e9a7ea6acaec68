"""Who leads: of the controllers of one store, the one that holds its lease. On one machine there is one controller, and it does.

Everybody tells once a second that he is there, and where his collector takes batches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

import orjson

import extproc
from extproc.controller.settings import ControllerSettings
from extproc.errors import ExtprocError, StoreError
from extproc.store import Leadership, SharedStore, Store, Term, open_shared
from extproc.transport import Address, parse_address

ROOM: Final = "controllers"
"""What the store calls the place where they tell."""
EVERY: Final = 1.0
"""Seconds between two signs of life."""
TAKES_OVER: Final = 1.0
"""Seconds of the lease that are left for etcd to notice its end, and for another one to begin: etcd's own lease is shorter by them."""
PATIENCE: Final = 1.0
"""Seconds that one attempt to lead may take."""
RETRY: Final = 0.5
"""Seconds until it is tried again where the store is away."""
EVERYWHERE: Final = ("0.0.0.0", "::")  # noqa: S104 - compared, not listened on
"""Addresses that nobody can be reached under."""

log = logging.getLogger(__name__)


class Standing(Protocol):
    """Where one controller stands among others."""

    store: Store | None
    """Open for writing as long as it leads; None where a file is opened when it is needed, and locked."""

    def held(self) -> bool:
        """True while it may decide."""

    def routers(self) -> Mapping[str, bytes]:
        """The last Presence of each router that does not tell it over a socket."""

    def document(self) -> list[dict[str, Any]]:
        """For status: every controller that is known."""


class Alone:
    """The only controller of a store that is a file."""

    store: Store | None = None

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
        return [{"name": self._name, "leader": True, "age": 0.0, "version": extproc.__version__}]


class Others:
    """The controllers of one shared store, as each of them, and whoever passes outcomes on, sees them."""

    def __init__(self, shared: SharedStore, leadership: Leadership, name: str = "") -> None:
        """`name`: our own among them; empty where we are none."""
        self._shared, self._leadership, self._name = shared, leadership, name

    def leader(self) -> str | None:
        """Who leads, as far as is known."""
        return self._leadership.leader()

    def leaders_collector(self) -> Address | None:
        """Where the one who leads takes batches; None where nobody does, or where it is us."""
        leader = self.leader()
        with suppress(ExtprocError, ValueError, KeyError):
            if leader is not None and leader != self._name:
                return parse_address(orjson.loads(self._shared.presences(ROOM)[leader])["collector"])
        return None

    def document(self) -> list[dict[str, Any]]:
        """For status: who is there, who leads."""
        leader, now, found = self.leader(), time.time(), []
        with suppress(ExtprocError, ValueError, KeyError):
            for name, told in sorted(self._shared.presences(ROOM).items()):
                said = orjson.loads(told)
                age = max(0.0, now - said["at"])
                found.append({"name": name, "leader": name == leader, "age": age, "version": said["version"]})
        return found


class Candidate:
    """One controller of several."""

    def __init__(self, settings: ControllerSettings) -> None:
        """Raises StoreError where the store cannot be opened."""
        self._name = settings.name
        self._collector = settings.advertise or settings.collector
        self._api = api_of(settings)
        self._shared: SharedStore = open_shared(settings.store, writer=True)
        self.store: Store | None = self._shared
        self._leadership = self._shared.leadership(settings.name, settings.lease - TAKES_OVER)
        self.others = Others(self._shared, self._leadership, settings.name)

    def held(self) -> bool:
        """True while the lease is certain to be ours, by our own clock."""
        return self._leadership.held()

    async def campaign(self) -> bool:
        """Ask for the lead, for a second at most; the store being away is waited for."""
        try:
            return await asyncio.to_thread(self._leadership.campaign, PATIENCE)
        except StoreError as error:
            log.warning("cannot ask for the lead: %s", error.problems[0], extra={"problem": error.problems[0].id})
            await asyncio.sleep(RETRY)
            return False

    async def begin_term(self) -> None:
        """Keep for others that we lead from now on, and where what we hear will lie; raises StoreError."""
        await asyncio.to_thread(self._shared.begin_term, Term(self._name, time.time(), self._api))

    async def resign(self) -> None:
        """Let another one lead at once; where the store does not answer, the lease runs out."""
        with suppress(ExtprocError):
            await asyncio.to_thread(self._leadership.resign)

    async def tell(self) -> None:
        """Say once a second that we are there, until cancelled."""
        while True:
            document = {"at": time.time(), "collector": self._collector, "version": extproc.__version__}
            self._shared.present(self._name, orjson.dumps(document), ROOM)
            await asyncio.sleep(EVERY)

    def routers(self) -> Mapping[str, bytes]:
        """The last Presence of each router."""
        with suppress(ExtprocError):
            return self._shared.presences()
        return {}

    def document(self) -> list[dict[str, Any]]:
        """For status: who is there, who leads."""
        return self.others.document()

    def close(self) -> None:
        """Give back the lease and the connection."""
        self._shared.close()


def api_of(settings: ControllerSettings) -> str:
    """Where others reach our API; empty where they do not. One that listens everywhere is where our collector is, or our name."""
    if not settings.doors.api:
        return ""
    address = parse_address(settings.doors.api)
    host = address.host
    if host.strip("[]") in EVERYWHERE:
        told = parse_address(settings.advertise) if settings.advertise else Address()
        host = told.host or settings.name
    return f"{'https' if settings.doors.api_security.certificate else 'http'}://{host}:{address.port}"
