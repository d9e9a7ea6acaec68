"""A child process that is kept alive: restarted with backoff when it dies, stopped in order when we stop."""

from __future__ import annotations

import asyncio
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
STEADY = 10.0
"""Seconds after which a child counts as healthy and the delay starts anew."""

log = logging.getLogger(__name__)


class Child:
    """One process with a pipe on its standard input, so that it ends when we do, whatever ends us; standard error is ours.

    `talks`: its standard output is a pipe too, and answers questions line by line; otherwise it is ours.
    """

    def __init__(self, name: str, command: Sequence[str], first_line: bytes = b"", talks: bool = True) -> None:
        self.name = name
        self._talks = talks
        self.restarts = 0
        self._command = command
        self._first_line = first_line
        self._process: Process | None = None
        self._asking = asyncio.Lock()
        self._stopping = False
        self._owed = 0

    async def keep(self) -> None:
        """Run the command until `stop`, again and again."""
        delay = FIRST_DELAY
        loop = asyncio.get_running_loop()
        while not self._stopping:
            began = loop.time()
            await self._start()
            assert self._process is not None
            code = await self._process.wait()
            if self._stopping:
                return
            self.restarts += 1
            delay = FIRST_DELAY if loop.time() - began > STEADY else min(delay * 2, LONGEST_DELAY)
            log.error("%s ended with code %s; restarting in %.1f s", self.name, code, delay)
            await asyncio.sleep(delay)

    async def ask(self, question: bytes, timeout: float) -> bytes | None:
        """One line out, one line back; None if the child is not there or does not answer in time."""
        async with self._asking:
            process = self._process
            if process is None or process.stdin is None or process.stdout is None or process.returncode is not None:
                return None
            with suppress(TimeoutError, ConnectionError):
                process.stdin.write(question + b"\n")
                self._owed += 1
                async with asyncio.timeout(timeout):
                    return await self._latest_line(process.stdout)
        return None

    async def _latest_line(self, lines: asyncio.StreamReader) -> bytes | None:
        """The answer to the last question: answers that came too late for earlier ones are passed over."""
        line = b""
        while self._owed:
            line = await lines.readline()
            if not line:
                return None
            self._owed -= 1
        return line

    async def stop(self, timeout: float) -> None:
        """Close the child's input, which asks it to end in order; kill it when it has not ended in time."""
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            log.error("%s did not end in %.0f s; killed", self.name, timeout)
            process.kill()
            await process.wait()

    async def _start(self) -> None:
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE if self._talks else None, limit=1 << 20
        )
        assert process.stdin is not None
        if self._first_line:
            process.stdin.write(self._first_line + b"\n")
        self._owed = 1  # a child says one line by itself when it is ready
