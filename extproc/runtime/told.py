"""The other end of `child`: a process that is told over its standard input what to do, and says a line for each line that it is told.

End of input means that whoever started it is gone, or wants it to end in order.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress

import uvloop

from extproc.errors import ExtprocError
from extproc.runtime.child import LONGEST_LINE

Serve = Callable[[bytes, asyncio.StreamReader], Awaitable[None]]
"""Gets the first line, which has the settings, and where the others come from; returns at the end of input."""


def run(serve: Serve, log: logging.Logger) -> None:
    """Serve until the end of input, in uvloop; an ExtprocError is told to `log` and ends the process with 1."""
    try:
        uvloop.run(_listen(serve))
    except ExtprocError as error:
        for problem in error.problems:
            log.error("%s", problem, extra={"problem": problem.id})
        sys.exit(1)


def say(line: bytes) -> None:
    """One line to whoever started us."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


async def _listen(serve: Serve) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=LONGEST_LINE)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    # These reach whoever started us too; he closes our input, which is the one way to end us in order, and reads files again for us.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: None)
    if first := await lines.readline():
        with suppress(BrokenPipeError):
            await serve(first, lines)
