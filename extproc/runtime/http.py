"""An HTTP server on the running loop, and the listening socket that it may be given."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from extproc.errors import Problem, SettingsError

FINISH: Final = 2
"""Seconds that open requests get when the server stops; a client that reads slowly holds up nobody for longer."""
BACKLOG: Final = 512
KEEP_ALIVE: Final = 5
"""Seconds after which a connection without a request is closed."""
PATIENCE: Final = 3.0
"""Seconds to wait for a port: whoever has just been killed may still be giving it back."""
_AGAIN: Final = 0.05
CERTIFICATE: Final = "extproc.certificate"
"""Key of a request's scope: the client's certificate as `ssl.SSLSocket.getpeercert` has it. Only a server with TLS sets it."""


async def listening(host: str, port: int, patience: float = PATIENCE) -> socket.socket:
    """A TCP socket that listens, to be served here or by a child; `port` 0: any free one. Raises SettingsError."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    while True:
        made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, port))
            made.listen(BACKLOG)
            made.setblocking(False)
        except OSError as error:
            made.close()
            if error.errno != errno.EADDRINUSE or loop.time() > deadline:
                raise SettingsError(_taken(host, port)) from error
            await asyncio.sleep(_AGAIN)
        else:
            return made


def _taken(host: str, port: int) -> Problem:
    message = f"cannot listen on {host}:{port}"
    return Problem("settings.port", "port", message, "is another process on it? choose another one, or 0")


class _Server(uvicorn.Server):
    """uvicorn that leaves signals to the process it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


class _Showing(H11Protocol):
    """Requests that say which certificate their client has shown."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        shown, app = transport.get_extra_info("peercert"), self.app

        async def showing(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, CERTIFICATE: shown}, receive, send)

        self.app = showing


class HttpServer:
    """An ASGI application on one address, without access log and server header."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        listener: socket.socket | None = None,
        keep_alive: int = KEEP_ALIVE,
        parser: Literal["auto", "h11"] = "auto",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`port` 0: any free one, known after `start`. `listener`: a socket that listens already, which is closed at the end.

        `parser`: h11 bounds a request's head, the one that `auto` prefers where it is installed does not; with `tls` it is always h11.
        """
        self._host, self._given = host, port
        self._listener = listener
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            access_log=False,
            log_config=None,  # it speaks through the process's own handler
            log_level="warning",
            lifespan="off",
            server_header=False,
            http=_Showing if tls is not None else parser,
            ws="none",
            timeout_keep_alive=keep_alive,
            timeout_graceful_shutdown=FINISH,
        )
        config.load()
        # uvicorn makes contexts from files, once; this one is somebody else's, who renews what is in it.
        config.ssl = tls
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        self._serving = asyncio.create_task(self._serve())
        while not self._server.started:
            if self._serving.done():
                raise SettingsError(_taken(self._host, self._given))
            await asyncio.sleep(0.01)

    async def _serve(self) -> None:
        try:
            await self._server.serve([self._listener] if self._listener is not None else None)
        except SystemExit:  # uvicorn's answer to a port that is taken, after having logged it
            return

    @property
    def address(self) -> str:
        """HOST:PORT as bound."""
        return f"{self._host}:{self._server.servers[0].sockets[0].getsockname()[1]}"

    @property
    def connections(self) -> Collection[Any]:
        """uvicorn's protocol of each open connection."""
        return self._server.server_state.connections

    async def stop(self) -> None:
        """Finish open requests and close."""
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
