"""Which lines of the Journal belong to an attempt, which of them ended it, and which visit of a phase came before that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from extproc.domain import Action, JournalEntry, Status

ENDINGS: Final = frozenset({Action.ROLL_BACK, Action.RETURN, Action.ROLL_BACK_COHORT})
"""What takes the canary from somebody."""
_VISITS: Final = frozenset({Action.START, Action.ADVANCE, Action.RETURN, Action.COMPLETE, Action.ROLL_BACK_COHORT})


def of_attempt(entries: Sequence[JournalEntry], attempt: int | None) -> tuple[int, tuple[JournalEntry, ...]]:
    """(attempt, its lines), from lines oldest first. None: the last one that lost something, else the last one."""
    owners: list[int] = []
    present = 1
    for entry in entries:
        said = int(entry.numbers.get("attempt", present))
        # A return after a failed gate says the number of the attempt that it begins; itself it belongs to the one that failed.
        owners.append(said if entry.action is Action.START else present)
        present = said
    if attempt is None:
        lost = [owner for owner, entry in zip(owners, entries, strict=True) if entry.action in ENDINGS]
        attempt = max(lost, default=max(owners, default=1))
    return attempt, tuple(entry for owner, entry in zip(owners, entries, strict=True) if owner == attempt)


def ending(entries: Sequence[JournalEntry]) -> JournalEntry | None:
    """The line that ended an attempt: its rollback, else the last that took something back; None where nothing did."""
    found = [entry for entry in entries if entry.action in ENDINGS]
    whole = [entry for entry in found if entry.action is Action.ROLL_BACK]
    return next(iter((whole or found)[-1:]), None)


def visit_before(entries: Sequence[JournalEntry], end: JournalEntry | None) -> int:
    """Generation of the visit of a phase in which that was decided; 0 where there was none."""
    before = [entry for entry in entries if end is None or entry.generation < end.generation]
    return max((entry.generation for entry in before if _begins_visit(entry)), default=0)


def _begins_visit(entry: JournalEntry) -> bool:
    if entry.action is Action.RESUME:
        # Only after an incident, when the rollout went on all the time.
        return bool(entry.numbers.get("from", {}).get("status") == Status.PROGRESSING)
    return entry.action in _VISITS
