"""The child processes of a demo: started in their own process groups, watched, ended in reverse order, whatever happens.

Each child's standard error goes to a log file; when one ends unasked, its last lines are in the Problem. A guard process
(`demo.guard`) ends what a killed demo leaves behind.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import orjson

from extproc.errors import ExtprocError, Problem

LAST_LINES: Final = 15
LONGEST_LINE: Final = 400
"""Characters of a line that are shown: Envoy repeats its whole configuration where it does not like it."""
STOP_PATIENCE: Final = 15.0
"""Seconds between SIGTERM and SIGKILL: a router drains for about two, and its controller after it."""
_PORTS: Final = range(12_000, 32_000)
"""Below the range from which Linux takes the ports of outgoing connections (from 32,768): a port found free here stays free."""
_given: set[int] = set()
"""Those that this process was told of: whoever is to listen there may not have begun yet, and by chance they would be told twice."""


class DemoError(ExtprocError):
    """The demo cannot go on."""


def free_port() -> int:
    """A loopback TCP port that nobody listens on, another one each time."""
    for _ in range(200):
        port = random.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            if port not in _given:
                probe.bind(("127.0.0.1", port))
                _given.add(port)
                return port
    raise DemoError(Problem("demo.no-port", "127.0.0.1", "found no free port", "end some of the processes that listen on loopback"))


@dataclass(slots=True)
class Child:
    """One running child."""

    name: str
    process: Process
    log: Path

    async def line(self, timeout: float) -> dict[str, Any]:
        """Its next line of JSON; raises DemoError if it ends or stays silent."""
        assert self.process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                line = await self.process.stdout.readline()
            if line:
                answer: dict[str, Any] = orjson.loads(line)
                return answer
        raise DemoError(self.problem("demo.silent", f"said nothing for {timeout:g} s"))

    async def tell(self, line: dict[str, Any]) -> None:
        """One line of JSON to its standard input; a child that has ended is not told."""
        assert self.process.stdin is not None
        with suppress(ConnectionError):
            self.process.stdin.write(orjson.dumps(line) + b"\n")
            await self.process.stdin.drain()

    def close_input(self) -> None:
        """End its standard input: traffic stops sending, waits for what is open, and says its last line."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def problem(self, id: str, what: str) -> Problem:
        """What happened to this child, with the last lines of its log."""
        lines = [line[:LONGEST_LINE] for line in self.log.read_text(errors="replace").splitlines()[-LAST_LINES:]]
        return Problem(id, self.name, what, "its last lines:\n      " + "\n      ".join(lines) if lines else "it logged nothing")


class Processes:
    """An asynchronous context: what was started in it has ended after it."""

    def __init__(self, patience: float = STOP_PATIENCE) -> None:
        self._patience = patience
        self.directory = Path(tempfile.mkdtemp(prefix="extproc-demo-"))
        """Private to this run (mode 0700), short enough for Unix sockets; removed at the end."""
        self._children: list[Child] = []
        self._guard: Process | None = None

    async def __aenter__(self) -> Processes:
        self._guard = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "extproc.demo.guard", stdin=PIPE, start_new_session=True, cwd="/"
        )
        await self._tell_guard(f"remove {self.directory}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        # Shielded: a second Ctrl-C must not leave anything running.
        await asyncio.shield(asyncio.ensure_future(self._close()))

    async def start(
        self, name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None, speaks: bool = False
    ) -> Child:
        """Start one child in a process group of its own, with a pipe on its standard input, and on its standard output if it `speaks`."""
        log = self.directory / f"{name.replace(' ', '-')}.log"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *map(str, command),
                stdin=PIPE,
                stdout=PIPE if speaks else errors,
                stderr=errors,
                start_new_session=True,
                cwd=self.directory,
                env={**os.environ, **(environment or {})},
                limit=1 << 20,
            )
        child = Child(name, process, log)
        self._children.append(child)
        await self._tell_guard(f"group {process.pid}")
        return child

    def check(self) -> None:
        """Raise DemoError if a child has ended that nobody asked to end."""
        ended = [child for child in self._children if child.process.returncode is not None]
        if ended:
            raise DemoError([child.problem("demo.ended", f"ended with code {child.process.returncode}") for child in ended])

    async def stop(self, child: Child) -> None:
        """End one child: SIGTERM, and SIGKILL for its whole group if it does not end in time."""
        self._children.remove(child)
        await _end(child, self._patience)
        await self._tell_guard(f"forget {child.process.pid}")

    async def _close(self) -> None:
        for child in reversed(self._children[:]):
            await self.stop(child)
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        await self._guard.wait()

    async def _tell_guard(self, line: str) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.write(line.encode() + b"\n")
        await self._guard.stdin.drain()


async def _end(child: Child, patience: float) -> None:
    process = child.process
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(patience):
            await process.communicate()
    except TimeoutError:
        pass
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
