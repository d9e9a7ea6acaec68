"""What is missing in the list of exposures: from when to when, about how many, and why; in a sentence that a person understands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import Final

_FIRST_INSTANT: Final = -62_135_596_800
_LAST_INSTANT: Final = 253_402_300_799
"""The first second of the year 1, and the last one of 9999: what `datetime` can show."""


class Cause(StrEnum):
    """Why."""

    KILLED = "killed"
    STOPPED = "stopped"
    SILENT = "silent"
    """Nothing was written for a while, up to the moment of reading."""
    UNWRITTEN = "unwritten"
    BLIND = "blind"
    STALLED = "stalled"
    UNREAD = "unread"
    REPLACED = "replaced"
    DAMAGED = "damaged"
    REMOVED = "removed"


_WHY: Final = {
    Cause.KILLED: "the controller was killed, or its machine stopped: what ended then, or had not been written yet, is not here",
    Cause.STOPPED: "the controller was stopped: what ended then is not here",
    Cause.SILENT: "nothing has been written, so the controller does not run or cannot write: what ended since is not here",
    Cause.UNWRITTEN: "the file could not be written for so long that these could not be kept",
    Cause.BLIND: "entries of Envoy's access log did not arrive: whoever they were about is not here",
    Cause.STALLED: "the controller stood still, or its clock was set: Envoy may have dropped entries of that time",
    Cause.UNREAD: "access-log messages could not be read: whoever they were about is not here",
    Cause.REPLACED: "another file was put in this one's place: what was written to the old one is not here",
    Cause.DAMAGED: "the file was damaged and was put aside: what is in it is not here",
    Cause.REMOVED: "older ones were removed, for their age or for room",
}


GUESSED: Final = 60.0
"""Seconds for which the rate before a gap says about how many it hides."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One gap, by the instants at which requests *ended* (Unix seconds)."""

    cause: Cause
    since: float
    """0: from the beginning."""
    until: float | None
    """None while it goes on."""
    about: int | None = None
    """How many exposures; None where nobody can tell."""
    rollout: str = ""
    """Empty: of all."""
    detail: str = ""

    def sentence(self) -> str:
        """For people."""
        many = "an unknown number" if self.about is None else f"{self.about:,}" if self.cause in _COUNTED else f"about {self.about:,}"
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self._span()}: {many} missing: {_WHY[self.cause]}{detail}"

    def _span(self) -> str:
        until = "now" if self.until is None else instant(self.until)
        if self.since <= 0.0:
            return f"until {until}"
        lasted = f" ({self.until - self.since:,.1f} s)" if self.until is not None else ""
        return f"from {instant(self.since)} until {until}{lasted}"


_COUNTED: Final = frozenset((Cause.UNWRITTEN, Cause.REMOVED))
"""Of these the number is exact."""


def guessed(rate: float, seconds: float) -> int | None:
    """About how many exposures there were in so many seconds, at the rate before; None where that says nothing any more: routers that
    nobody watches send canary traffic to stable."""
    return round(rate * seconds) if seconds <= GUESSED else None


def instant(seconds: float, digits: int = 3) -> str:
    """`2026-11-27T11:04:45.123Z` with so many digits; an instant that no calendar has is shown as its seconds."""
    whole, part = divmod(round(seconds * 10**digits), 10**digits)
    if not _FIRST_INSTANT <= whole <= _LAST_INSTANT:
        return f"{seconds:.0f}"
    return f"{_second(whole)}.{part:0{digits}d}Z" if digits else f"{_second(whole)}Z"


@lru_cache(maxsize=1024)
def _second(whole: int) -> str:
    """Lines that follow each other are of the same second."""
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
