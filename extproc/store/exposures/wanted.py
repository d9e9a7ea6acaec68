"""Which exposures a reader wants: the kinds, the stretch of the file, and the gaps that concern him."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from extproc.store.exposures.gaps import Cause, Gap, guessed
from extproc.store.exposures.record import Exposure, Kind

SILENT_AFTER: Final = 5.0
"""Seconds without a batch after which nobody writes: one comes each second, with or without exposures."""
CLOCKS: Final = 60.0
"""Seconds by which the clock of an Envoy may be ahead of the controller's."""
LONGEST_REQUEST: Final = 3600.0
"""Seconds after the end of the time asked for in which a gap may still hide a request of that time."""
_KINDS: Final = """
SELECT * FROM (SELECT k.*, (SELECT attempt FROM attempts a WHERE a.rollout = k.rollout AND a.generation <= k.generation
  ORDER BY a.generation DESC LIMIT 1) AS attempt FROM kinds k WHERE k.rollout = :rollout)
WHERE (:attempt IS NULL OR attempt = :attempt) AND (:phase IS NULL OR phase = :phase) AND (:cohort IS NULL OR cohort = :cohort)
"""
_ATTEMPT: Final = """
SELECT min(at), (SELECT min(at) FROM attempts WHERE rollout = :rollout AND generation > (SELECT max(generation) FROM attempts
  WHERE rollout = :rollout AND attempt = :attempt)) FROM attempts WHERE rollout = :rollout AND attempt = :attempt
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which exposures. Instants are Unix seconds of a request's start."""

    rollout: str
    attempt: int | None = None
    phase: str | None = None
    cohort: str | None = None
    since: float | None = None
    until: float | None = None
    failed: bool = False
    known: bool = False
    """Only units that the asker has named."""
    after: int = 0
    """Only what ended after this line; with 0 the open requests come first."""
    limit: int | None = None
    """Lines at most, the open requests apart."""

    def has(self, line: Exposure) -> bool:
        """True for one that is wanted, whoever is known."""
        asked = ((self.rollout, line.rollout), (self.attempt, line.attempt), (self.phase, line.phase), (self.cohort, line.cohort))
        if any(one is not None and one != other for one, other in asked) or (self.failed and not line.failed):
            return False
        return (self.since is None or line.start >= self.since) and (self.until is None or line.start < self.until)

    def named(self) -> dict[str, Any]:
        """For SQL."""
        return {"rollout": self.rollout, "attempt": self.attempt, "phase": self.phase, "cohort": self.cohort}


def kinds(db: sqlite3.Connection, wanted: Wanted) -> Iterator[tuple[int, Kind, int | None]]:
    """(id, kind, attempt) of those that are wanted."""
    for number, *kind, attempt in db.execute(_KINDS, wanted.named()):
        yield number, (kind[0], kind[1], kind[2], kind[3], kind[4], kind[5], kind[6], kind[7]), attempt


def between(marks: Sequence[tuple[int, int, int]], wanted: Wanted, last: int) -> tuple[int, int]:
    """(after this id, up to this id), by marks of (minute, first id, earliest start in microseconds), oldest first."""
    first = 0
    if wanted.since is not None:
        minute = (wanted.since - CLOCKS) // 60
        first = next((mark[1] for mark in marks if mark[0] >= minute), last + 1) - 1
    if wanted.until is not None:
        for _, begin, earliest in reversed(marks):
            if earliest < wanted.until * 1e6:
                break
            last = begin - 1
    return first, last


def gaps(db: sqlite3.Connection, wanted: Wanted, now: float) -> list[Gap]:
    """What is missing of what is wanted, oldest first."""
    since, until = _window(db, wanted)
    found = [
        Gap(Cause(cause), begin, end, about, rollout, detail)
        for cause, rollout, begin, end, about, detail in db.execute("SELECT cause, rollout, since, until, about, detail FROM gaps")
    ]
    as_of, rate, stopped, removed, removed_until = db.execute("SELECT as_of, rate, stopped, removed, removed_until FROM book").fetchone()
    if removed:
        found.append(Gap(Cause.REMOVED, 0.0, removed_until, removed))
    if stopped or now - as_of > SILENT_AFTER:
        found.append(Gap(Cause.STOPPED if stopped else Cause.SILENT, as_of, None, guessed(rate, now - as_of)))
    return sorted((gap for gap in found if concerns(gap, wanted.rollout, since, until)), key=lambda gap: gap.since)


def _window(db: sqlite3.Connection, wanted: Wanted) -> tuple[float, float]:
    """From when to when requests began that are wanted; an attempt has its own time."""
    since, until = wanted.since or 0.0, wanted.until if wanted.until is not None else float("inf")
    if wanted.attempt is not None:
        begin, end = db.execute(_ATTEMPT, wanted.named()).fetchone()
        since = max(since, begin or 0.0)
        until = min(until, end if end is not None else until)
    return since, until


def concerns(gap: Gap, rollout: str, since: float, until: float) -> bool:
    """True where it may hide a request of the rollout that began in that time."""
    return gap.rollout in ("", rollout) and gap.since <= until + LONGEST_REQUEST and (gap.until is None or gap.until >= since)
