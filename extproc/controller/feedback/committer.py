"""Many posts, one commit: a thread writes what the loop hands to it, and each post is answered when its commit is on disk.

While one commit waits for the disk, what arrives meanwhile is the next one: the more is posted, the fewer commits each post costs. Nothing
is kept that could not be written: whoever posted it is told, and sends it again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Final

from extproc.controller.feedback.metrics import FeedbackMetrics
from extproc.domain import Feedback
from extproc.errors import Problem, StoreError
from extproc.store.feedback import FeedbackFile, Keep
from extproc.store.feedback.file import SWEEP
from extproc.store.feedback.schema import FILE

MOST_WAITING: Final = 20_000
"""Items that wait for a commit; some 20 MB. Beyond that posts are refused at once, rather than after a wait that clients give up."""
IN_COMMIT: Final = 2_000
"""Items of one commit, about: some 60 ms of work, for which others wait."""
GATHER: Final = 0.003
"""Seconds for which a commit waits for others, where one is not alone: less than the disk takes, and half as many commits."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Posted:
    """One post that waits."""

    said: Sequence[Feedback]
    done: asyncio.Future[list[bool]]


_Result = tuple[_Posted, list[bool] | StoreError]


class Committer:
    """The one writer of a feedback file."""

    def __init__(self, path: Path, keep: Keep, metrics: FeedbackMetrics) -> None:
        self._file = FeedbackFile(path, keep)
        self._metrics = metrics
        self._queue: SimpleQueue[_Posted | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="feedback", daemon=True)
        self._loop = asyncio.get_running_loop()
        self.waiting = 0
        """Items that are not on disk yet; the loop's."""
        self._problem: Problem | None = None
        """Why the last commit failed; the thread's."""

    # ---------------------------------------------------------------------------------------------------------- the loop's thread
    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    async def keep(self, said: Sequence[Feedback]) -> list[bool]:
        """False for what was said before, True for what is in the log from now on. Raises StoreError: nothing of it was kept."""
        if self.waiting + len(said) > MOST_WAITING:
            raise StoreError(Problem("feedback.queue", "log", f"{self.waiting} items wait for the disk", "send it again later"))
        posted = _Posted(said, self._loop.create_future())
        self.waiting += len(said)
        self._queue.put(posted)
        return await posted.done

    def read_up_to(self, sequence: int) -> None:
        """The brain has read so far."""
        self._file.read_up_to(sequence)

    async def stop(self, timeout: float) -> bool:
        """Write what waits; False where the disk did not take it in time."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join, timeout)
        return not self._thread.is_alive()

    def _answer(self, results: Sequence[_Result]) -> None:
        for posted, result in results:
            self.waiting -= len(posted.said)
            if posted.done.done():
                continue  # whoever waited was cancelled
            if isinstance(result, StoreError):
                posted.done.set_exception(result)
            else:
                posted.done.set_result(result)

    # -------------------------------------------------------------------------------------------------------------- its own thread
    def _run(self) -> None:
        going_on = True
        while going_on:
            batch: list[_Posted] = []
            count = 0
            with suppress(Empty):
                one = self._queue.get(timeout=SWEEP)
                if one is not None and self.waiting > len(one.said):
                    time.sleep(GATHER)
                while one is not None:
                    batch.append(one)
                    count += len(one.said)
                    if count >= IN_COMMIT:
                        break
                    one = self._queue.get_nowait()
                going_on = one is not None
            if batch:
                self._commit(batch)
            try:
                self._file.sweep(time.time())
            except StoreError as error:
                self._failed(error)
        self._file.close()

    def _commit(self, batch: Sequence[_Posted]) -> None:
        begun = time.perf_counter()
        results: list[_Result]
        try:
            accepted = iter(self._file.write([one for posted in batch for one in posted.said], time.time()))
            results = [(posted, [next(accepted) for _ in posted.said]) for posted in batch]
        except StoreError as error:
            self._failed(error)
            results = [(posted, error) for posted in batch]
        except Exception:
            log.exception("feedback could not be written, whoever sent it was told; please report it")
            defect = StoreError(Problem("feedback.defect", "log", "a defect", "report it with the lines of the log"))
            results = [(posted, defect) for posted in batch]
        else:
            self._metrics.committed(time.perf_counter() - begun)
            if self._problem is not None:
                log.info("feedback can be written again")
                self._problem = None
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._answer, results)

    def _failed(self, error: StoreError) -> None:
        problem = error.problems[0]
        self._metrics.failed(FILE.kind_of(problem))
        if self._problem is None or self._problem.id != problem.id:
            log.error("feedback cannot be written, whoever sends it is told so: %s", problem, extra={"problem": problem.id})
        self._problem = problem
