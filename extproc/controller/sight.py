"""*No outcomes, no canary*: decisions (Presence) against requests heard of (access log), which loses entries silently.

A request is heard of once: by its end, or by the first periodic entry of one that is still open, about a second after its start. Of a
rollout's decisions in one lease nine in ten must have been heard of; else nobody can watch it, and it is blind.

Requests are counted in the second in which they *began*, so that it does not matter when they are heard of, as long as that is within
LAG. Decisions are told once a second and are known up to SHIFTS seconds later: only where no shift explains what is missing are entries
lost. Traffic that begins, ends or comes in bursts is explained by one of them. What a worker tells late, or after a datagram that was
lost, is spread over the time since it told last: it must not look like a burst that nobody heard of.

Pure: time is an argument, Unix seconds by the clock of Envoy's access log.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from extproc.domain import Outcome

LEAST_HEARD: Final = 0.9
"""Fraction of decisions that must be heard of."""
SEES_AGAIN: Final = 0.97
"""What ends blindness: this fraction heard of by *every* shift, in SEES_AFTER seconds or more with at least SEES_WITH decisions. In less
time a router that tells of one second late looks as if nothing were lost."""
SEES_AFTER: Final = 10
SEES_WITH: Final = 30
FEWEST: Final = 10
"""Decisions that a window must have; with fewer it is made longer."""
SHORTEST: Final = 10
"""Seconds of the shortest window: in less, when decisions happen to be told weighs too much. Where nothing at all is heard of, a tenth of
a window shows it."""
LONGEST: Final = 60
"""Leases of the longest window."""
LAG: Final = 3
"""Seconds in which a request is heard of: Envoy tells of open ones every second."""
SHIFTS: Final = (0, 1, 2)
"""Seconds after which a decision may be told."""
TELLING: Final = 1.6
"""Seconds between two tellings of a worker, at most; they come once a second."""
SETTLE: Final = 5.0
"""Seconds after a beginning that are not compared: Envoy connects again, and entries of that time are lost."""
OPEN_KEPT: Final = 200_000
"""Open requests that are remembered; the oldest is forgotten first."""


@dataclass(frozen=True, slots=True)
class Blindness:
    """What was seen of a rollout's decisions."""

    decided: int
    heard: int
    seconds: int

    def __str__(self) -> str:
        lost = self.decided - self.heard
        return f"of {self.decided:,} decisions in {self.seconds} s only {self.heard:,} were heard of in the access log, {lost:,} were not"


@dataclass(slots=True)
class _Seen:
    """One rollout."""

    since: float
    """From when on there is something to compare."""
    decided: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    """Decisions by the second after which they are known."""
    heard: Counter[int] = field(default_factory=Counter)
    """Requests heard of, by the second in which they began."""

    def forget(self, before: float) -> None:
        self.since = max(self.since, before)
        for counts in (self.decided, self.heard):
            for second in [second for second in counts if second < before]:
                del counts[second]

    def spread(self, count: int, begin: float, end: float) -> None:
        """So many decisions between the two. A usual telling counts when it comes; a late one is spread over its seconds."""
        begin = max(begin, end - LONGEST)
        if end - begin <= TELLING:
            self.decided[math.floor(end) + 1] += count
            return
        for second in range(math.floor(begin), math.ceil(end)):
            part = min(end, second + 1) - max(begin, second)
            self.decided[second + 1] += count * part / (end - begin)

    def compared(self, now: float, shortest: int, longest: float, fewest: int, choose: Callable[[Iterable[int]], int]) -> Blindness | None:
        """The shortest window with enough decisions, and of its SHIFTS the one to `choose`; None where there is none yet."""
        end = int(now) - LAG
        window = shortest
        while window <= longest and end - window >= self.since:
            shifted = ((end - window + shift, end + shift) for shift in SHIFTS)
            decided = choose(round(sum(self.decided[second] for second in range(*seconds))) for seconds in shifted)
            if decided >= fewest:
                return Blindness(decided, sum(self.heard[second] for second in range(end - window, end)), window)
            window *= 2
        return None


class Sight:
    """Counts of every rollout, and which of them are blind."""

    def __init__(self, lease: float) -> None:
        self.lease = lease
        self._seen: dict[str, _Seen] = {}
        self._blind: dict[str, Blindness] = {}
        self._open: dict[tuple[str, str], None] = {}
        self._from: float | None = None

    def decide(self, rollout: str, count: int, begin: float, end: float) -> None:
        """So many decisions more between two instants, as a router tells."""
        self._of(rollout, end).spread(count, begin, end)

    def hear(self, outcome: Outcome) -> None:
        """One access-log entry."""
        key = outcome.rollout, outcome.stream_id
        known = key in self._open
        if not known:
            self._of(outcome.rollout, outcome.start).heard[int(outcome.start)] += 1
        if outcome.final:
            self._open.pop(key, None)
        elif not known:
            self._open[key] = None
            if len(self._open) > OPEN_KEPT:
                del self._open[next(iter(self._open))]

    def begin_anew(self) -> None:
        """What was counted so far cannot be compared: this process was not there for a while, or its clock was set."""
        self._seen = {}
        self._blind = {}
        self._from = None

    def tick(self, now: float) -> dict[str, Blindness]:
        """Once a second: the rollouts that are blind, and why."""
        if self._from is None:
            self._from = now + SETTLE
        if now < self._from:
            return {}
        longest = LONGEST * self.lease
        blind: dict[str, Blindness] = {}
        for rollout, seen in self._seen.items():
            seen.forget(now - longest - SHORTEST - LAG)
            found = self._looked_at(rollout, seen, now, longest)
            if found is not None:
                blind[rollout] = found
        self._blind = blind
        return blind

    def _looked_at(self, rollout: str, seen: _Seen, now: float, longest: float) -> Blindness | None:
        """What blinds a rollout, if anything does. Once blind it takes a short time of *nothing* lost, not a long one of little lost."""
        before = self._blind.get(rollout)
        if before is None:
            found = seen.compared(now, max(SHORTEST, round(self.lease)), longest, FEWEST, min)
            return found if found is not None and found.heard < LEAST_HEARD * found.decided else None
        found = seen.compared(now, SEES_AFTER, longest, SEES_WITH, max)
        if found is None or found.heard < SEES_AGAIN * found.decided:
            return found or before
        # What was lost before has had its answer, and must not blind it again.
        seen.forget(now - SEES_AFTER - LAG)
        return None

    def _of(self, rollout: str, now: float) -> _Seen:
        return self._seen.setdefault(rollout, _Seen(now))
