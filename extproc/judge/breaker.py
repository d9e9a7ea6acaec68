"""A circuit breaker as a pure state machine: a judge that fails again and again is left alone for a while.

    CLOSED    --- FAILURES in a row ---------------> OPEN for COOL_DOWN
    OPEN      --- the time is over, somebody asks -> HALF_OPEN: that one question goes through, others do not
    HALF_OPEN --- it succeeds ---------------------> CLOSED
    HALF_OPEN --- it fails ------------------------> OPEN, for twice as long as before, up to LONGEST_COOL_DOWN

Each question carries the number of the state in which it was let through; what it brings is of that state. So a slow question of before
neither opens nor closes what has moved on since. `now` is monotonic seconds.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

FAILURES: Final = 5
"""In a row: one or two are the network's."""
COOL_DOWN: Final = 10.0
"""Seconds; a restart of a model server takes about as long."""
LONGEST_COOL_DOWN: Final = 300.0
"""Seconds; a judge that has come back is missed for no longer than this."""


class Circuit(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Of one endpoint."""

    __slots__ = ("_cool_down", "_failures", "_first_cool_down", "_limit", "_number", "_opens_at", "_state")

    def __init__(self, failures: int = FAILURES, cool_down: float = COOL_DOWN) -> None:
        self._limit, self._first_cool_down = failures, cool_down
        self._state = Circuit.CLOSED
        self._failures = self._number = 0
        self._cool_down = cool_down
        self._opens_at = 0.0

    @property
    def state(self) -> Circuit:
        """OPEN until somebody asks after its time, whatever the time is."""
        return self._state

    def admit(self, now: float) -> int | None:
        """May a question go through? The number to tell its end with; None: no. Whoever gets one must tell its end."""
        if self._state is Circuit.OPEN and now >= self._opens_at:
            self._move(Circuit.HALF_OPEN)
            return self._number
        return self._number if self._state is Circuit.CLOSED else None

    def wait(self, now: float) -> float:
        """Seconds until a question may go through; 0 where one may now."""
        return max(0.0, self._opens_at - now) if self._state is Circuit.OPEN else 0.0

    def succeeded(self, number: int) -> None:
        """The endpoint answered, whatever it said."""
        if number == self._number:
            self._failures = 0
            if self._state is Circuit.HALF_OPEN:
                self._cool_down = self._first_cool_down
                self._move(Circuit.CLOSED)

    def failed(self, number: int, now: float) -> None:
        """It did not."""
        if number != self._number or self._state is Circuit.OPEN:
            return
        self._failures += 1
        if self._state is Circuit.HALF_OPEN:
            self._cool_down = min(LONGEST_COOL_DOWN, 2 * self._cool_down)
            self._open(now)
        elif self._failures >= self._limit:
            self._open(now)

    def abandoned(self, number: int, now: float) -> None:
        """The question was given up before its end: nothing is known, and the next one may try."""
        if number == self._number and self._state is Circuit.HALF_OPEN:
            self._opens_at = now
            self._move(Circuit.OPEN)

    def _open(self, now: float) -> None:
        self._opens_at = now + self._cool_down
        self._failures = 0
        self._move(Circuit.OPEN)

    def _move(self, state: Circuit) -> None:
        self._state = state
        self._number += 1
