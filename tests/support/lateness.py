"""How late this machine is by itself: a bound on somebody's punctuality is measured against it, not against a machine at rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STEP = 0.02
"""Seconds between two looks at the clock."""


class Lateness:
    """A thread that does nothing but sleep, and how much longer than asked that took. Who has more to do is later still."""

    def __init__(self) -> None:
        self.worst = 0.0
        """Seconds, of one sleep."""
        self.total = 0.0
        """Seconds, of all sleeps that were late by more than a step."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        before = time.monotonic()
        while not self._ending.wait(STEP):
            now = time.monotonic()
            late, before = now - before - STEP, now
            if late > STEP:
                self.worst = max(self.worst, late)
                self.total += late

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ending.set()
        self._thread.join()


@contextmanager
def lateness() -> Iterator[Lateness]:
    """Of this machine, while the block lasts."""
    watched = Lateness()
    watched.start()
    try:
        yield watched
    finally:
        watched.stop()
