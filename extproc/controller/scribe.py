"""Writes exposures beside the evaluate loop: a thread of its own takes what was handed to it each second, and waits for the disk alone.

The loop's thread hands over and never waits. What cannot be written is kept, up to MOST_WAITING, and tried again; beyond that it is lost,
counted, and a gap that is written as soon as something can be. Each number here has one thread that changes it; the other only reads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Final

from extproc import contract
from extproc.controller.attempts import AttemptsOf
from extproc.domain import Outcome
from extproc.errors import Problem, StoreError
from extproc.store.exposures import Batch, Cause, ExposureFile, Gap, Keep, Stray

FLUSH: Final = 1.0
"""Seconds between two batches: what a kill costs."""
MOST_WAITING: Final = 100_000
"""Exposures that are kept in memory while the file cannot be written: 20 s at 5,000 a second; 35 MB, or 75 MB where
the disk does not answer at all and they are not even made ready."""
IN_BATCH: Final = 10_000
"""Exposures in one transaction."""
ONE_GAP: Final = 10.0
"""Seconds between two gaps of one cause that are told as one: what flutters must not fill the file."""
RATE_OVER: Final = 10.0
"""Seconds over which the rate of exposures is smoothed."""

log = logging.getLogger(__name__)


class Scribe:
    """The one writer of a store's exposures."""

    def __init__(self, store: str, keep: Keep, started: float, warm_up: float, owner: str = "") -> None:
        """`started`, `warm_up`, `owner`: see ExposureFile."""
        self.path = Path(contract.exposures_path(store))
        self._file = ExposureFile(self.path, keep, started, warm_up, owner)
        self._attempts = AttemptsOf(store)
        self._thread = Thread(target=self._run, name="exposures", daemon=True)
        self._stopping = Event()
        # The loop's:
        self.heard = started
        """Everything that was heard by then (Unix seconds) has been handed over."""
        self._queue: SimpleQueue[Sequence[Outcome | Stray]] = SimpleQueue()
        self._handed = 0
        self._refused = 0
        self._gaps: dict[tuple[str, str], Gap] = {}
        """The last one of each cause and rollout."""
        # The thread's:
        self.written = 0
        self.failures = 0
        """Batches that could not be written, and were kept."""
        self.problem: Problem | None = None
        """Why the last one could not."""
        self._dropped = 0
        self._batch = Batch()
        self._as_of = started
        self._rate = 0.0
        self._lasted = 0.0
        self._flushed = time.monotonic()
        self._told: dict[tuple[str, str], Gap] = {}

    # ---------------------------------------------------------------------------------------------------------- the loop's thread
    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def hand(self, heard: Sequence[Outcome | Stray]) -> None:
        """Never waits: where too much is waiting already, these are lost, counted and a gap."""
        if self.waiting + len(heard) <= MOST_WAITING:
            self._handed += len(heard)
            self._queue.put(heard)
            return
        self._refused += len(heard)
        ends = [_end(one) for one in heard]
        detail = self.problem.message if self.problem is not None else ""
        self.say(Gap(Cause.UNWRITTEN, min(ends), max(ends), len(heard), detail=detail))

    def say(self, gap: Gap) -> Gap:
        """A gap, or (with the same `since`) what became of it; returns it as it is written: with the one before, where that is near."""
        key = gap.cause.value, gap.rollout
        before = self._gaps.get(key)
        if before is not None and before.since != gap.since:
            near = before.until is None or before.until >= gap.since - ONE_GAP
            if near or self._told.get(key) is not before:
                gap = replace(gap, since=min(before.since, gap.since), about=_sum(before.about, gap.about))
        self._gaps[key] = gap
        return gap

    def stop(self, timeout: float) -> bool:
        """Write what is left; False where the disk did not take it in time. Waits: not for the loop's thread."""
        self._stopping.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def waiting(self) -> int:
        """Exposures that are not on disk yet."""
        return self._handed - self.written - self._dropped

    @property
    def lost(self) -> int:
        """Exposures that were not written, and never will be."""
        return self._refused + self._dropped

    # -------------------------------------------------------------------------------------------------------------- its own thread
    def _run(self) -> None:
        while not self._stopping.wait(FLUSH):
            self._flush()
        self._flush()
        try:
            self._file.close(time.time())
        except StoreError as error:
            self._failed(error.problems[0])
        self._attempts.close()

    def _flush(self) -> None:
        # In this order: what is handed over from here on is not promised by `as_of`.
        as_of = self.heard
        try:
            self._take()
            self._write(as_of)
        except StoreError as error:
            self._failed(error.problems[0])
        except Exception:
            # A defect: it costs what it was found in, not the list.
            log.exception("exposures could not be written, %d are lost; please report it", len(self._batch.lines))
            self._dropped += len(self._batch.lines)
            self._batch = Batch(gaps=[Gap(Cause.UNWRITTEN, self._as_of, as_of, len(self._batch.lines), detail="a defect: see the log")])

    def _take(self) -> None:
        batch, before = self._batch, len(self._batch.lines)
        try:
            while True:
                batch.add(self._queue.get_nowait())
        except Empty:
            pass
        now = time.monotonic()
        elapsed, self._flushed = max(now - self._flushed, 1e-3), now
        self._lasted += elapsed
        self._rate += ((len(batch.lines) - before) / elapsed - self._rate) * min(1.0, elapsed / min(RATE_OVER, self._lasted))
        batch.attempts += self._attempts.of({(kind[0], kind[1]) for kind, _ in batch.lines[before:]})

    def _write(self, as_of: float) -> None:
        """All of it, in bounded transactions; what was written is not tried again."""
        batch, said = self._batch, dict(self._gaps)
        gaps = batch.gaps + [gap for key, gap in said.items() if self._told.get(key) is not gap]
        while len(batch.lines) > IN_BATCH:
            self._file.write(batch.lines[:IN_BATCH], (), (), self._as_of, self._rate, time.time())
            self.written += IN_BATCH
            del batch.lines[:IN_BATCH]
        self._file.write(batch.lines, gaps, batch.attempts, as_of, self._rate, time.time())
        self.written += len(batch.lines)
        self._batch, self._as_of, self._told = Batch(), as_of, said
        if self.problem is not None:
            log.info("exposures can be written again")
            self.problem = None

    def _failed(self, problem: Problem) -> None:
        self.failures += 1
        if self.problem is None or self.problem.id != problem.id:
            log.error("exposures cannot be written, decisions go on: %s", problem, extra={"problem": problem.id})
        self.problem = problem


def _end(one: Outcome | Stray) -> float:
    met = one.undecided if isinstance(one, Stray) else one
    return met.start + met.duration


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
