"""A child process that is kept alive: replaced with backoff when it dies or hangs, stopped in order when we stop.

Rules:
* A child that talks says one line by itself when it is ready, and one line for each line that it is told. Until it is ready it may take
  its time (it waits for a store); from then on it is asked every ASK_EVERY seconds, whoever else asks.
* MISSES questions in a row without *any* line from it, and it hangs: it gets SIGKILL and is restarted like one that died. A late answer
  to an earlier question is a sign of life: who is slow is not replaced. Questions are counted and not seconds: a machine that was
  suspended, or a supervisor that was, kills nobody.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0
STEADY = 10.0
"""Seconds after which a child counts as healthy and the delay starts anew."""
ASK_EVERY = 1.0
"""Seconds between two questions whether it is alive."""
ASK_TIMEOUT = 1.0
"""Seconds after which a question counts as not answered."""
MISSES = 3
"""Questions in a row without a sign of life."""
QUESTION: Final = b"report"
LONGEST_LINE: Final = 16 << 20
"""Bytes of one line, either way: a Spec is told in one, and is smaller by far."""
DIED: Final = "died"
HUNG: Final = "hung"

log = logging.getLogger(__name__)


class Child:
    """One process with a pipe on its standard input, so that it ends when we do, whatever ends us; standard error is ours.

    `talks`: its standard output is a pipe too, and answers questions line by line; otherwise it is ours, and nobody asks.
    """

    def __init__(self, name: str, command: Sequence[str], first_line: bytes = b"", talks: bool = True, files: Sequence[int] = ()) -> None:
        """`files`: open files that each life of it inherits, under their numbers."""
        self.name = name
        self.first_line = first_line
        """What it is told at each of its starts."""
        self.restarts: Counter[str] = Counter({DIED: 0, HUNG: 0})
        self._talks = talks
        self._command = command
        self._files = files
        self._process: Process | None = None
        self._asking = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._ready = False
        self._owed = 0
        self._missed = 0

    async def keep(self) -> None:
        """Run the command until `stop`, again and again."""
        delay = FIRST_DELAY
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            ended = await self._live()
            if self._stopping.is_set():
                return
            reason = HUNG if self._missed >= MISSES else DIED
            self.restarts[reason] += 1
            delay = FIRST_DELAY if loop.time() - began > STEADY else min(delay * 2, LONGEST_DELAY)
            if reason == DIED:
                log.error("%s %s; restarting in %.1f s", self.name, ended, delay)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()

    async def ask(self, question: bytes, timeout: float) -> bytes | None:
        """One line out, one line back; None if the child is not there, not ready or does not answer in time."""
        async with self._asking:
            process = self._process
            if process is None or process.stdin is None or process.stdout is None or process.returncode is not None:
                return None
            with suppress(TimeoutError, ConnectionError):
                async with asyncio.timeout(timeout):
                    if not self._ready and not await self._hear(process.stdout):
                        return None
                    process.stdin.write(question + b"\n")
                    self._owed += 1
                    return await self._latest_line(process.stdout)
            if self._ready:
                self._missed += 1
        return None

    def tell(self, line: bytes) -> None:
        """One line out; where the child talks, its answer is passed over."""
        process = self._process
        if process is None or process.stdin is None or process.returncode is not None:
            return
        process.stdin.write(line + b"\n")
        self._owed += 1

    async def stop(self, timeout: float) -> None:
        """Close the child's input, which asks it to end in order; kill it when it has not ended in time."""
        self._stopping.set()
        async with self._starting:
            process = self._process
        if process is None or process.returncode is not None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            async with asyncio.timeout(timeout):
                await process.wait()
        except TimeoutError:
            log.error("%s did not end in %.0f s and was killed: nothing is to be done, unless it happens each time", self.name, timeout)
            process.kill()
            await process.wait()

    async def _live(self) -> str:
        """One life of the process, from start to end; says how it ended."""
        async with self._starting:
            if self._stopping.is_set():
                return "is not started any more"
            try:
                process = await self._start()
            except OSError as error:
                return f"could not be started ({error}); is there memory, are there files left?"
        watching = asyncio.create_task(self._watch(process)) if self._talks else None
        code = await process.wait()
        if watching is not None:
            watching.cancel()
        return _ended(code)

    async def _start(self) -> Process:
        self._ready, self._owed, self._missed = False, 0, 0
        self._process = process = await asyncio.create_subprocess_exec(
            *self._command, stdin=PIPE, stdout=PIPE if self._talks else None, limit=LONGEST_LINE, pass_fds=self._files
        )
        assert process.stdin is not None
        if self.first_line:
            process.stdin.write(self.first_line + b"\n")
        return process

    async def _watch(self, process: Process) -> None:
        """Ask, and end a process that does not answer: nobody else would, and Envoy's health checks alone do not bring it back."""
        loop = asyncio.get_running_loop()
        while self._missed < MISSES:
            began = loop.time()
            await self.ask(QUESTION, ASK_TIMEOUT)
            await asyncio.sleep(max(0.0, began + ASK_EVERY - loop.time()))
        log.error(
            "%s (process %d) did not answer %d questions in a row: it is killed and replaced. If that happens again, look at what "
            "the machine does at that time: stopped processes, swap, a disk that does not answer, too few CPUs",
            self.name,
            process.pid,
            MISSES,
        )
        with suppress(ProcessLookupError):
            process.kill()

    async def _latest_line(self, lines: asyncio.StreamReader) -> bytes | None:
        """The answer to the last question: answers that came too late for earlier ones are passed over."""
        line = b""
        while self._owed:
            line = await self._hear(lines)
            if not line:
                return None
            self._owed -= 1
        return line

    async def _hear(self, lines: asyncio.StreamReader) -> bytes:
        """The next line, which is a sign of life; empty where the process has ended."""
        line = await lines.readline()
        if line:
            self._ready, self._missed = True, 0
        return line


def _ended(code: int) -> str:
    if code == -signal.SIGKILL:
        return "was killed (by a person, or for want of memory: see the kernel's log)"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name} (a person, or a defect that the lines above show)"
    return f"ended with code {code} (the lines above say why)"
