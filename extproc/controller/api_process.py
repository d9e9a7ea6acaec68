"""The API process: HTTP beside the evaluate loop, so that nobody who looks, however many or slow they are, delays a decision.

Started and kept alive by the controller. In: a line of JSON with ApiSettings, then questions. Out: a line when it serves, and one for
each question. The listening socket is the controller's and is inherited: whoever connects while this process is being replaced waits,
and is not refused. End of input means that the controller stops; where it is killed, so is this process.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from extproc import contract, logs
from extproc.controller.api import Api
from extproc.controller.ask import BrainClient
from extproc.controller.journal import JournalReader
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
    """Number of the inherited socket that listens."""

    def write(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(self)

    @classmethod
    def read(cls, line: bytes) -> ApiSettings:
        """What `write` wrote."""
        return cls(**orjson.loads(line))


def command() -> tuple[str, ...]:
    """What starts it."""
    return sys.executable, "-m", "extproc.controller.api_process"


async def _serve(first: bytes, lines: asyncio.StreamReader) -> None:
    """Until the end of input."""
    settings = ApiSettings.read(first)
    journal = JournalReader(settings.store)
    listener = socket.socket(fileno=settings.listener)
    host, port = listener.getsockname()[:2]
    client = BrainClient(Path(contract.brain_path(settings.store)))
    api = Api(client, journal, settings.token)
    server = HttpServer(api.app(), host, port, listener)
    await server.start()
    api.live.start()
    try:
        say(SERVES)
        while await lines.readline():
            say(SERVES)
    finally:
        # Before the server, which would wait for pages that are open.
        await api.live.stop()
        await server.stop()
        journal.close()
        api.close()


def main() -> None:
    """Entry point of `python -m extproc.controller.api_process`."""
    end_with_parent()
    logs.start("api")
    run(_serve, log)


if __name__ == "__main__":
    main()
