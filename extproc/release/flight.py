"""Requests under way, in the order in which they are looked at: at two fixed ages, never at their end.

Batching by completion would let an arm that fails fast look worse than one that fails slowly at every age; here only the first age sees
speed, on purpose: a canary that fails within a second where stable fails after seven *is* worse at that age. An access-log entry is
waited for `GRACE` longer. Requests are known by stream id until their deadline is over; memory is bounded by that, and by OPEN_KEPT.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Final

from extproc.domain import Arm, Outcome
from extproc.release.limits import Limits
from extproc.release.strata import Stratum

EARLY: Final = 1.0
"""Seconds; the first age at which a request is looked at, or the deadline where that is sooner."""
GRACE: Final = 0.5
"""Seconds for an access-log entry to arrive: Envoy flushes every 0.1 s and reports open requests every second."""
OPEN_KEPT: Final = 200_000
"""Requests that are waited for; what comes beyond that is counted and not looked at, whatever becomes of it."""
VALUES_OF_UNIT: Final = 20
"""Of so many requests of a unit in one window the mean is taken: nobody outweighs all others by diligence."""


class Window:
    """One unit's requests in one window: from its first one in an epoch to the end of that epoch."""

    __slots__ = ("_counts", "_n", "_sums", "canary", "epochs", "limits", "lowest", "mask", "scales", "start", "stratum", "visit")

    def __init__(self, first: Member, limits: Limits, lowest: int, scales: int, visit: bool) -> None:
        """`first`: the unit's first request in the epoch."""
        self.start = first.start
        self.stratum = first.stratum
        self.canary = first.canary
        self.epochs = first.epochs
        self.limits = limits
        self.lowest = lowest
        self.scales = scales
        """It counts in the scales from `lowest` up to, and not with, this one."""
        self.visit = visit
        """True where the unit is new in this visit of the phase."""
        self.mask = 0
        """Events of any of its requests."""
        self._n = 0
        self._sums: list[float | None] = []
        self._counts: list[int] = []

    def add(self, mask: int, values: list[float | None]) -> None:
        """One request was looked at."""
        self.mask |= mask
        self._n += 1
        if self._n == 1:
            self._sums = values
        elif self._n <= VALUES_OF_UNIT:
            if self._n == 2:
                self._counts = [value is not None for value in self._sums]
                self._sums = list(self._sums)
            for index, value in enumerate(values):
                if value is not None:
                    self._sums[index] = (self._sums[index] or 0.0) + value
                    self._counts[index] += 1

    def means(self) -> list[float | None]:
        """The unit's mean of each value; None where it has none."""
        if self._n <= 1:
            return self._sums
        return [None if total is None else total / count for total, count in zip(self._sums, self._counts, strict=True)]


class Member:
    """One request until it has been looked at at both ages."""

    __slots__ = (
        "arm",
        "blink",
        "canary",
        "durable",
        "ended",
        "epochs",
        "limits",
        "looked",
        "lowest",
        "minute",
        "outcome",
        "router",
        "scales",
        "start",
        "stratum",
        "unit",
        "visit",
    )

    def __init__(self, outcome: Outcome, stratum: Stratum, unit: int) -> None:
        self.start = outcome.start
        self.stratum = stratum
        self.arm = outcome.arm
        self.canary = outcome.arm is Arm.CANARY
        self.unit = unit
        self.durable = outcome.durable
        self.router = outcome.router
        self.ended = False
        self.outcome = outcome
        """The latest entry."""
        self.looked = False
        """Whether it was looked at at the first age, in time."""
        self.limits: Limits | None = None
        self.epochs: tuple[int, ...] = ()
        """Of each scale."""
        self.lowest = 0
        self.scales = 0
        """It is its unit's first request in the scales from `lowest` up to, and not with, this one."""
        self.visit = False
        """It is its unit's first request in this visit of the phase."""
        self.blink: Window | None = None
        self.minute: Window | None = None

    def open_at(self, age: float) -> bool:
        """True where it had not ended by this age."""
        return not self.ended or self.outcome.duration > age

    def failed_by(self, age: float, deadline: bool) -> bool:
        """True where it had failed by this age; at the deadline a request that is still open has failed too."""
        return deadline if self.open_at(age) else self.outcome.failed


class Flight:
    """The two queues."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.early_age = min(EARLY, deadline)
        self.known: dict[str, Member] = {}
        """By stream id, until the deadline is over."""
        self._waiting: list[tuple[float, int, Member]] = []
        self._looked: deque[Member] = deque()
        self._late: list[tuple[float, int, Member]] = []
        """Heard of after the first age: of these the deadline alone is seen."""
        self._added = 0

    @property
    def full(self) -> bool:
        """True where nothing more can be waited for."""
        return len(self.known) >= OPEN_KEPT

    def __len__(self) -> int:
        return len(self._waiting) + len(self._looked) + len(self._late)

    def add(self, stream_id: str, member: Member, in_time: bool) -> None:
        """Look at this request when it is old enough."""
        self._added += 1
        self.known[stream_id] = member
        heappush(self._waiting if in_time else self._late, (member.start, self._added, member))

    def clear(self) -> None:
        """Requests that have not been looked at will not be."""
        self.known.clear()
        self._waiting.clear()
        self._looked.clear()
        self._late.clear()

    def young(self, now: float) -> Iterator[Member]:
        """Requests that have reached the first age, in order of start."""
        horizon, waiting = now - self.early_age - GRACE, self._waiting
        while waiting and waiting[0][0] <= horizon:
            member = heappop(waiting)[2]
            member.looked = True
            self._looked.append(member)
            yield member

    def ripe(self, now: float) -> Iterator[Member]:
        """Requests that have reached their deadline, in order of start; nothing more is asked of them."""
        horizon, looked, late = now - self.deadline - GRACE, self._looked, self._late
        while True:
            first = looked[0].start if looked else horizon + 1
            if late and late[0][0] < first:
                if late[0][0] > horizon:
                    return
                member = heappop(late)[2]
            elif first <= horizon:
                member = looked.popleft()
            else:
                return
            self.known.pop(member.outcome.stream_id, None)
            yield member
