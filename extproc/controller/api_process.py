"""The API process: HTTP beside the evaluate loop, so that nobody who looks, however many or slow they are, delays a decision.

Started and kept alive by the controller. In: a line of JSON with ApiSettings, then questions. Out: a line when it serves, and one for
each question. The listening socket is the controller's and is inherited: whoever connects while this process is being replaced waits,
and is not refused. End of input means that the controller stops; where it is killed, so is this process.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson
import uvloop

from extproc import contract, logs
from extproc.controller.api import Api
from extproc.controller.ask import BrainClient
from extproc.controller.journal import JournalReader
from extproc.errors import ExtprocError
from extproc.runtime import end_with_parent
from extproc.runtime.child import LONGEST_LINE
from extproc.runtime.http import HttpServer

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


async def _serve(settings: ApiSettings, lines: asyncio.StreamReader) -> None:
    """Until the end of input."""
    journal = JournalReader(settings.store)
    listener = socket.socket(fileno=settings.listener)
    host, port = listener.getsockname()[:2]
    client = BrainClient(Path(contract.brain_path(settings.store)))
    api = Api(client, journal, settings.token)
    server = HttpServer(api.app(), host, port, listener)
    await server.start()
    try:
        _say()
        while await lines.readline():
            _say()
    finally:
        await server.stop()
        journal.close()
        api.close()


def _say() -> None:
    """A sign of life."""
    sys.stdout.buffer.write(b"serves\n")
    sys.stdout.buffer.flush()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    # These reach the controller too; it closes our input, which is the one way to end us in order.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    if line := await lines.readline():
        with suppress(BrokenPipeError):
            await _serve(ApiSettings.read(line), lines)


def main() -> None:
    """Entry point of `python -m extproc.controller.api_process`."""
    end_with_parent()
    logs.start("api")
    try:
        uvloop.run(_main())
    except ExtprocError as error:
        for problem in error.problems:
            log.error("%s", problem, extra={"problem": problem.id})
        sys.exit(1)


if __name__ == "__main__":
    main()
