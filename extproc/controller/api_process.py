"""The API process: HTTP beside the evaluate loop, so that nobody who looks, however many or slow they are, delays a decision.

Started and kept alive by the controller. In: a line of JSON with ApiSettings, then questions. Out: a line when it serves, and one for
each question. The listening sockets are the controller's and are inherited: whoever connects while this process is being replaced waits,
and is not refused. End of input means that the controller stops; where it is killed, so is this process.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from extproc import contract, logs
from extproc.controller.access import BEYOND
from extproc.controller.api import Api
from extproc.controller.ask import BrainClient
from extproc.controller.doors import Doors
from extproc.controller.journal import JournalReader
from extproc.controller.renewed import Renewed
from extproc.runtime import end_with_parent
from extproc.runtime.http import HttpServer
from extproc.runtime.told import run, say

SERVES: Final = b"serves"
"""A sign of life."""

log = logging.getLogger("extproc.controller.api_process")  # and not __name__: this module is run


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the controller tells its API process."""

    store: str
    """URL of the store; the brain's socket lies beside it."""
    token: str
    listener: int
    """Number of the inherited socket that listens on loopback."""
    beyond: tuple[int, ...] = ()
    """Number of the one that a network reaches, where there is one."""
    doors: Doors = field(default_factory=Doors)

    def write(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(self)

    @classmethod
    def read(cls, line: bytes) -> ApiSettings:
        """What `write` wrote."""
        given = orjson.loads(line)
        return cls(**{**given, "beyond": tuple(given["beyond"]), "doors": Doors.read(given["doors"])})


def command() -> tuple[str, ...]:
    """What starts it."""
    return sys.executable, "-m", "extproc.controller.api_process"


async def _serve(first: bytes, lines: asyncio.StreamReader) -> None:
    """Until the end of input."""
    settings = ApiSettings.read(first)
    journal = JournalReader(settings.store)
    client = BrainClient(Path(contract.brain_path(settings.store)))
    api = Api(client, journal, settings.token, settings.doors.access)
    app, certificates = api.app(), Renewed(settings.doors.api_security)
    servers = [_server(settings.listener, app), *(_server(one, beyond(app), certificates.context) for one in settings.beyond)]
    for server in servers:
        await server.start()
    api.live.start()
    beside = [asyncio.create_task(api.gate.follow()), asyncio.create_task(certificates.renew())]
    try:
        say(SERVES)
        while await lines.readline():
            say(SERVES)
    finally:
        for task in beside:
            task.cancel()
        # Before the servers, which would wait for pages that are open.
        await api.live.stop()
        for server in servers:
            await server.stop()
        journal.close()
        api.close()


def _server(number: int, app: ASGIApp, tls: ssl.SSLContext | None = None) -> HttpServer:
    """On an inherited socket."""
    listener = socket.socket(fileno=number)
    host, port = listener.getsockname()[:2]
    return HttpServer(app, host, port, listener, tls=tls)


def beyond(app: ASGIApp) -> ASGIApp:
    """The application for whom a network brings: the scope says so, and nobody is taken for somebody at this machine."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, BEYOND: True}, receive, send)

    return told


def main() -> None:
    """Entry point of `python -m extproc.controller.api_process`."""
    end_with_parent()
    logs.start("api")
    run(_serve, log)


if __name__ == "__main__":
    main()
