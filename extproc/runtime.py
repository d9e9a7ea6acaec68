"""What every long-running process of ours needs: an HTTP server on the running loop, one way to be told to stop, one to follow a file."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.applications import Starlette

from extproc.errors import ExtprocError, Problem, SettingsError

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at a file."""
SETTLE: Final = 0.2
"""Seconds for which a file must have been the same before it is read: whoever writes it in place is given time to finish."""
RELOAD: Final = b"reload"
"""A line on the standard input of a tied controller, with the meaning of SIGHUP."""

log = logging.getLogger(__name__)


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


def hangup_asks(what: Callable[[], None]) -> None:
    """SIGHUP means: read your files again. The terminal's end, which sends it too, ends nothing."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, what)


@dataclass(slots=True)
class FileState:
    """What became of the changes of a followed file."""

    path: str
    problems: tuple[Problem, ...] = ()
    """Why its present content is not in force; empty where it is."""
    failures: int = 0
    """Changes that could not be used."""
    seen: tuple[int, ...] = ()
    """What the file looked like before it was read."""

    @classmethod
    def of(cls, path: str) -> FileState:
        """The file as it is now; to be asked for before it is read."""
        return cls(path, seen=_stamp(path))

    def told(self) -> str:
        """Lines for a person; none where all is well."""
        if not self.problems:
            return ""
        said = "\n".join(map(str, self.problems))
        return f"{self.path} is not in force, the last good one stays: mend the file or undo the change\n{said}\n"


class Followed:
    """A file whose content is in force, and whose changes come into force by themselves; a bad one leaves the last good one.

    A change is another inode, size or time of what the path leads to, so that a write in place, a rename and a moved symbolic link
    (a Kubernetes ConfigMap) are all seen.
    """

    def __init__(self, state: FileState, use: Callable[[], Awaitable[None]], again: Callable[[], bool] = lambda: False) -> None:
        """`use` reads the file and puts it in force, or raises an ExtprocError and has changed nothing.

        `again` is asked at each look while there are problems: True where it is worth another try although the file is the same.
        """
        self.state = state
        self._use = use
        self._again = again
        self._asked = asyncio.Event()

    def look(self) -> None:
        """Read it at once, changed or not."""
        self._asked.set()

    async def follow(self) -> None:
        """Forever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._asked.wait()
            asked = self._asked.is_set()
            self._asked.clear()
            if await self._changed() or asked:
                await self._try(counts=True)
            elif self.state.problems and self._again():
                await self._try(counts=False)

    async def _changed(self) -> bool:
        """Looks are made off the loop: a file on a network may keep us waiting."""
        state = self.state
        now = await asyncio.to_thread(_stamp, state.path)
        if now == state.seen:
            return False
        while now != state.seen:
            state.seen = now
            await asyncio.sleep(SETTLE)
            now = await asyncio.to_thread(_stamp, state.path)
        return True

    async def _try(self, counts: bool) -> None:
        state = self.state
        try:
            await self._use()
        except ExtprocError as error:
            problems = error.problems
        except Exception as error:
            log.exception("%s could not be read again; the last good one stays: report this as a defect", state.path)
            hint = "this is a defect of extproc: report it with the lines of the log"
            problems = (Problem("reload.defect", state.path, f"{type(error).__name__}: {error}", hint),)
        else:
            if state.problems:
                log.info("%s is in force again", state.path)
            state.problems = ()
            return
        state.failures += counts
        if counts or problems != state.problems:
            log.error("%s", FileState(state.path, problems).told().rstrip(), extra={"problem": problems[0].id})
        state.problems = problems


def _stamp(path: str) -> tuple[int, ...]:
    """What changes when a file is written, replaced, or its symbolic link is moved; empty where it is gone."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


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
            app, host=host, port=port, access_log=False, log_config=None, lifespan="off", server_header=False, ws="none"
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
