"""*No outcomes, no canary*: decisions (Presence) against requests heard of (access log), which loses entries silently.

A request is heard of once: by its end, or by the first periodic entry of one that is still open, at most a second after its start. Of a
rollout's decisions in one lease nine in ten must have been heard of; else nobody can watch it, and it is blind.

Decisions are told once a second and requests are heard of up to a few seconds later, so both are compared over windows of the same
length, one of them moved: only where *no* move within SHIFTS explains what is missing are entries lost. A burst, or traffic that begins
or ends, is explained by one of them.

Pure: time is an argument, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, deque
from dataclasses import dataclass
from typing import Final

from extproc.domain import Outcome

LEAST_HEARD: Final = 0.9
"""Fraction of decisions that must be heard of."""
FEWEST: Final = 10
"""Decisions that a window must have; with fewer it is made longer."""
LONGEST: Final = 60
"""Leases of the longest window."""
SHIFTS: Final = (-1.0, 0.0, 1.0, 2.0, 3.0)
"""Seconds by which a request may be heard of after its decision was told (negative: before)."""
SETTLE: Final = 5.0
"""Seconds after a beginning that are not compared: Envoy connects again, and entries of that time are lost."""
OPEN_KEPT: Final = 200_000
"""Open requests that are remembered; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class _Sample:
    """Counts since the beginning, at one tick."""

    at: float
    decided: int
    heard: int


@dataclass(frozen=True, slots=True)
class Blindness:
    """What was seen of a rollout's decisions."""

    decided: int
    heard: int
    seconds: float

    def __str__(self) -> str:
        lost = self.decided - self.heard
        return (
            f"of {self.decided:,} decisions in {self.seconds:.0f} s only {self.heard:,} were heard of in the access log, {lost:,} were not"
        )


class Sight:
    """Counts of every rollout, and which of them are blind."""

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self.decided: Counter[str] = Counter()
        """Decisions by rollout, as routers tell them."""
        self.heard: Counter[str] = Counter()
        """Requests heard of, by rollout."""
        self._open: dict[tuple[str, str], None] = {}
        self._samples: dict[str, deque[_Sample]] = {}
        self._from: float | None = None

    def hear(self, outcome: Outcome) -> None:
        """One access-log entry."""
        key = outcome.rollout, outcome.stream_id
        known = key in self._open
        self.heard[outcome.rollout] += not known
        if outcome.final:
            self._open.pop(key, None)
        elif not known:
            self._open[key] = None
            if len(self._open) > OPEN_KEPT:
                del self._open[next(iter(self._open))]

    def begin_anew(self) -> None:
        """What was counted so far cannot be compared: this process was not there for a while."""
        self._samples = {}
        self._from = None

    def tick(self, now: float) -> dict[str, Blindness]:
        """Once a second: the rollouts that are blind, and why."""
        if self._from is None:
            self._from = now + SETTLE
        if now < self._from:
            return {}
        blind = {}
        for rollout in self.decided:
            samples = self._samples.setdefault(rollout, deque())
            samples.append(_Sample(now, self.decided[rollout], self.heard[rollout]))
            while samples[0].at < now - (LONGEST + 1) * self.lease:
                samples.popleft()
            found = _compared(list(samples), self.lease)
            if found is not None and found.heard < LEAST_HEARD * found.decided:
                blind[rollout] = found
        return blind


def _compared(samples: list[_Sample], lease: float) -> Blindness | None:
    """The shortest window with enough decisions; None where there is none yet."""
    times = [sample.at for sample in samples]

    def at(time: float) -> _Sample:
        return samples[max(0, bisect_right(times, time) - 1)]

    end = times[-1] - max(0.0, -SHIFTS[0])
    window = lease
    while window <= LONGEST * lease and end - SHIFTS[-1] - window >= times[0]:
        decided = min(at(end - shift).decided - at(end - shift - window).decided for shift in SHIFTS)
        if decided >= FEWEST:
            return Blindness(decided, at(end).heard - at(end - window).heard, window)
        window *= 2
    return None
