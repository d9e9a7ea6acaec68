"""A file whose content is in force: changes come into force by themselves, a bad one leaves the last good one."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from extproc.errors import ExtprocError, Problem

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at a file."""
SETTLE: Final = 0.2
"""Seconds for which a file must have been the same before it is read: whoever writes it in place is given time to finish."""

log = logging.getLogger(__name__)


@dataclass(slots=True)
class FileState:
    """What became of the changes of a followed file."""

    path: str
    problems: tuple[Problem, ...] = ()
    """Why its present content is not in force; empty where it is."""
    failures: int = 0
    """Changes that could not be used."""
    seen: tuple[int, ...] = ()
    """What the file, and those beside it, looked like before they were read."""
    beside: tuple[str, ...] = ()
    """Files that it names: a change of one is a change of it."""

    @classmethod
    def of(cls, path: str, beside: tuple[str, ...] = ()) -> FileState:
        """The files as they are now; to be asked for before they are read."""
        state = cls(path, beside=beside)
        state.seen = _stamps(state)
        return state

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
        now = await asyncio.to_thread(_stamps, state)
        if now == state.seen:
            return False
        while now != state.seen:
            state.seen = now
            await asyncio.sleep(SETTLE)
            now = await asyncio.to_thread(_stamps, state)
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


def _stamps(state: FileState) -> tuple[int, ...]:
    return sum((stamp(path) for path in (state.path, *state.beside)), ())


def stamp(path: str) -> tuple[int, ...]:
    """What changes when a file is written, replaced, or its symbolic link is moved; empty where it is gone."""
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
