"""Which of a unit's requests count: the first of an epoch, once for each arm; and the window that its other requests belong to.

Decided in the order of start, before anything is known of the outcome. Bounded: windows of a moment, filters for the longer scales.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from extproc.release.flight import GRACE, Member, Window
from extproc.release.limits import Limits
from extproc.release.scales import BLINK, HOUR, MINUTE
from extproc.release.units import EVER_PLANE, HOUR_PLANE, VISIT_PLANE, UnitFilter

WINDOWS_KEPT: Final = 100_000
"""Of each length. Beyond that, units that are new in an epoch are left out until others have been looked at, whatever becomes of them."""


BLINKS: Final = int(MINUTE.seconds // BLINK.seconds)
MINUTES: Final = int(HOUR.seconds // MINUTE.seconds)


class Sorter:
    """Remembers who was there."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._blink = self._minute = self._hour = -1
        self._epochs: tuple[int, ...] = (-1, -1, -1, 0)
        self._short: tuple[int, ...] = (-1,)
        self._long: tuple[int, ...] = (-1, -1, 0)
        self._in_blink: dict[int, Window] = {}
        self._in_minute: dict[int, Window] = {}
        self._seen = UnitFilter()
        self._blinks: deque[Window] = deque()
        self._minutes: deque[Window] = deque()
        self.left_out = 0
        """Units that found no room."""

    def begin_visit(self) -> None:
        """Units are new again, as far as the present visit is concerned."""
        self._seen.clear(VISIT_PLANE)

    def clear(self) -> None:
        """What is open will not be looked at; who was there is still known."""
        self._blinks.clear()
        self._minutes.clear()

    # ---------------------------------------------------------------------------------------------------------------- requests
    def epochs(self, start: float) -> tuple[int, ...]:
        """Of each scale; the same object for requests of the same two seconds."""
        blink = int(start // BLINK.seconds)
        if blink != self._epochs[0]:
            minute = blink // BLINKS
            self._epochs = (blink, minute, minute // MINUTES, 0)
            self._short = (blink,)
            if minute != self._long[0]:
                self._long = self._epochs[1:]
        return self._epochs

    def sort(self, member: Member, limits: Limits, present: bool) -> None:
        """The next request of a durable unit, in order of start. `present`: it belongs to the present visit."""
        member.limits = limits
        start, stratum, unit = member.start, member.stratum, member.unit
        member.epochs = epochs = self.epochs(start)
        blink, minute, hour, _ = epochs
        if blink > self._blink:
            self._blink, self._in_blink = blink, {}
        if minute > self._minute:
            self._minute, self._in_minute = minute, {}
            if hour > self._hour:
                self._hour = hour
                self._seen.clear(HOUR_PLANE)
        seen_in_blink = False
        if blink == self._blink:
            window = self._in_blink.get(unit)
            if window is not None and window.stratum.generation >= stratum.generation:
                if window.stratum is stratum:
                    member.blink = window
                    of_minute = self._in_minute.get(unit)
                    member.minute = of_minute if of_minute is not None and of_minute.stratum is stratum else None
                return
            seen_in_blink = window is not None
            if not self._new_blink(member, limits, 0 if seen_in_blink else 1):
                return
        else:
            member.lowest = 1
        if minute == self._minute:
            self._sort_minute(member, limits, present, seen_in_blink)

    def _new_blink(self, member: Member, limits: Limits, scales: int) -> bool:
        if len(self._blinks) >= WINDOWS_KEPT:
            self.left_out += 1
            return False
        made = member.blink = Window(member, limits, self._short, scales, False)
        member.scales = scales
        self._in_blink[member.unit] = made
        self._blinks.append(made)
        return True

    def _sort_minute(self, member: Member, limits: Limits, present: bool, seen_in_blink: bool) -> None:
        stratum, unit = member.stratum, member.unit
        window = self._in_minute.get(unit)
        if window is not None and window.stratum.generation >= stratum.generation:
            member.minute = window if window.stratum is stratum else None
            return
        if len(self._minutes) >= WINDOWS_KEPT:
            self.left_out += 1
            return
        first = window is None and not seen_in_blink
        planes = (HOUR_PLANE | EVER_PLANE if first else 0) | (VISIT_PLANE if present else 0)
        new = self._seen.add(unit, planes) if planes else 0
        if first:
            member.scales = 2 if not new & HOUR_PLANE else 3 if not new & EVER_PLANE else 4
        member.visit = bool(new & VISIT_PLANE)
        made = member.minute = Window(member, limits, self._long, member.scales - 1, member.visit)
        self._in_minute[unit] = made
        self._minutes.append(made)

    # ----------------------------------------------------------------------------------------------------------------- windows
    def blinks(self, now: float) -> Iterator[Window]:
        """Windows of two seconds that are old enough: a fixed age, at which each of their requests has reached its deadline."""
        return _old(self._blinks, now - BLINK.seconds - self._deadline - GRACE)

    def minutes(self, now: float) -> Iterator[Window]:
        """The same, of a minute."""
        return _old(self._minutes, now - MINUTE.seconds - self._deadline - GRACE)


def _old(windows: deque[Window], horizon: float) -> Iterator[Window]:
    while windows and windows[0].start <= horizon:
        yield windows.popleft()
