"""The API process asks the brain: within a bounded time, and as seldom as possible, however many people look."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from extproc.controller.talk import LONGEST_ANSWER, Act, Ask, LateError, Question, heard
from extproc.errors import ExtprocError, Problem

ANSWER_WITHIN: Final = 1.0
"""Seconds that the brain has for an answer; it needs milliseconds."""
ACT_WITHIN: Final = 1.0
"""Seconds within which the brain must begin an act."""
ACT_ANSWERED_WITHIN: Final = 4.0
"""Seconds that an act has from question to answer: to begin, and to be committed by a disk that is slow."""
FRESH: Final = 0.2
"""Seconds for which an answer is good for everybody who asks the same."""


class SilentError(ExtprocError):
    """The brain did not answer."""

    def __init__(self, problem: Problem, asked: bool) -> None:
        super().__init__(problem)
        self.asked = asked
        """False where it is certain that it has done nothing."""


class BrainClient:
    """Asks over the brain's socket, with a connection for each question: a late answer never meets another question."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_answer = time.monotonic()

    @property
    def silent(self) -> float:
        """Seconds since the last answer, or since the start where there was none."""
        return time.monotonic() - self._last_answer

    async def ask(self, ask: Ask) -> Any:
        """What the brain says; raises SilentError where it says nothing in time, and what it raises itself."""
        return await self._ask(Question(ask, time.monotonic() + ANSWER_WITHIN), ANSWER_WITHIN)

    async def act(self, act: Act) -> Any:
        """Have an act carried out. Only a brain that has just answered is told of it: of one that stands still already it is certain
        that it has not heard."""
        try:
            await self.ask(Ask.HEALTH)
        except SilentError as error:
            raise SilentError(error.problems[0], asked=False) from error
        return await self._ask(Question(Ask.ACT, time.monotonic() + ACT_WITHIN, act), ACT_ANSWERED_WITHIN)

    async def _ask(self, question: Question, within: float) -> Any:
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(within):
                reader, writer = await asyncio.open_unix_connection(str(self._path), limit=LONGEST_ANSWER)
                writer.write(question.write())
                line = await reader.readline()
            if not line.endswith(b"\n"):
                raise ConnectionResetError("it ended before it had answered")
            said = heard(line)
        except LateError as error:
            raise SilentError(self.problem(error.problems[0].message), asked=False) from error
        except (OSError, TimeoutError, ValueError) as error:
            why = "TimeoutError" if isinstance(error, TimeoutError) else f"{type(error).__name__}: {error}"
            raise SilentError(self.problem(why), asked=writer is not None) from error
        except ExtprocError:
            self._last_answer = time.monotonic()
            raise
        finally:
            if writer is not None:
                writer.transport.abort()
        self._last_answer = time.monotonic()
        return said

    def problem(self, why: str) -> Problem:
        """That it is silent, and what to do."""
        hint = "restart the controller: what was decided is in the store; if it is stopped or starved, look at what else the machine does"
        return Problem("api.no-answer", str(self._path), f"the controller has not answered for {self.silent:.0f} s ({why})", hint)


@dataclass(frozen=True, slots=True)
class Known:
    """The last that is known."""

    document: Any
    stale: float
    """Seconds for which the brain has not answered; 0 while it does."""


class Watch:
    """One question that many ask: asked at most every FRESH seconds, by one for all."""

    def __init__(self, client: BrainClient, ask: Ask) -> None:
        self._client = client
        self._what = ask
        self.last: Known | None = None
        """What is known without asking."""
        self._good_until = 0.0
        self._asking: asyncio.Task[Known | None] | None = None

    def forget(self) -> None:
        """What is asked from now on must be newer than now."""
        self._good_until = 0.0
        self._asking = None

    async def look(self) -> Known:
        """The newest answer, or the last one and for how long there was no newer; raises SilentError where there was none at all."""
        known = self.last
        if time.monotonic() >= self._good_until:
            if self._asking is None:
                self._asking = asyncio.create_task(self._ask())
            known = await asyncio.shield(self._asking)
        if known is None:
            raise SilentError(self._client.problem("nor before, since the API has started"), asked=True)
        return known

    async def _ask(self) -> Known | None:
        mine, known = asyncio.current_task(), self.last
        try:
            known = Known(await self._client.ask(self._what), 0.0)
        except SilentError:
            if known is not None:
                known = Known(known.document, self._client.silent)
        finally:
            # Whoever was told to forget in between has begun anew: this answer is only for those who wait for it.
            if self._asking is mine:
                self._asking = None
                self._good_until = time.monotonic() + FRESH
                self.last = known
        return known
