"""What every long-running process of ours needs: an HTTP server on the running loop, and one way to be told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from extproc.errors import Problem, SettingsError


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to the process it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


class HttpServer:
    """A Starlette application on one address, without access log and server header."""

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        """`port` 0: any free one, known after `start`."""
        self._host, self._given = host, port
        config = uvicorn.Config(
            app, host=host, port=port, access_log=False, log_level="warning", lifespan="off", server_header=False, ws="none"
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        self._serving = asyncio.create_task(self._serve())
        while not self._server.started:
            if self._serving.done():
                message = f"cannot listen on {self._host}:{self._given}"
                raise SettingsError(Problem("settings.port", "port", message, "is another process on it? choose another one, or 0"))
            await asyncio.sleep(0.01)

    async def _serve(self) -> None:
        try:
            await self._server.serve()
        except SystemExit:  # uvicorn's answer to a port that is taken, after having logged it
            return

    @property
    def address(self) -> str:
        """HOST:PORT as bound."""
        return f"{self._host}:{self._server.servers[0].sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        """Finish open requests and close."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
