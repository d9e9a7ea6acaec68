"""The process that speaks HTTP for a controller, kept alive whether it leads or stands by."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from typing import Final

from extproc.controller.api_process import ApiSettings, command
from extproc.controller.doors import Doors
from extproc.controller.token import server_token
from extproc.runtime.child import ASK_TIMEOUT, QUESTION, Child
from extproc.runtime.http import listening

API_HOST: Final = "127.0.0.1"
READY_TIMEOUT: Final = 30.0
"""Seconds after which an API that does not serve yet is complained about."""
STOP_TIMEOUT: Final = 5.0

log = logging.getLogger(__name__)


class Http:
    """Of one controller process."""

    def __init__(self, store: str, port: int, doors: Doors) -> None:
        self._store, self._port, self._doors = store, port, doors
        self._listeners: list[socket.socket] = []
        self._child: Child | None = None
        self._beside: tuple[asyncio.Task[None], ...] = ()
        self.restarts: Counter[str] = Counter()
        """By reason."""

    async def start(self) -> None:
        """Listen and serve, unless that is so already; raises SettingsError where it is not possible."""
        if self._child is not None:
            return
        self._listeners = [await listening(API_HOST, self._port), *await self._doors.listening()]
        files = tuple(one.fileno() for one in self._listeners)
        settings = ApiSettings(self._store, server_token(self._store), files[0], files[1:], self._doors)
        self._child = child = Child("the API process", command(), settings.write(), files=files)
        self.restarts = child.restarts
        self._beside = tuple(asyncio.create_task(work) for work in (child.keep(), _announce(child, self._listeners[0])))

    async def stop(self) -> None:
        """End it in order."""
        if self._child is not None:
            await self._child.stop(STOP_TIMEOUT)
        for task in self._beside:
            task.cancel()
        for one in self._listeners:
            one.close()


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
