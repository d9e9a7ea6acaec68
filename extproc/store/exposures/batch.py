"""What is written at once: exposures that ended, those that are open, gaps, and up to when that is everything."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from extproc.domain import Outcome
from extproc.store.exposures.gaps import Gap
from extproc.store.exposures.record import Kind, Row, Stray, kind_of, row_of, stray_kind, stray_row

Attempts = tuple[tuple[str, int, int, float], ...]
"""(rollout, generation from which it counts, attempt, when it began)."""
_LASTED = 4
"""Place of `lasted` in a Row: None while a request is open."""


@dataclass(slots=True)
class Batch:
    """In the order in which it was heard of."""

    lines: list[tuple[Kind, Row]] = field(default_factory=list)
    """Ended and open ones, as their Row says."""
    gaps: list[Gap] = field(default_factory=list)
    attempts: Attempts = ()
    _kinds: dict[Kind, Kind] = field(default_factory=dict)
    """One object for all that are equal: while the disk is full there are many of them."""

    def add(self, heard: Iterable[Outcome | Stray]) -> None:
        """What was heard."""
        same = self._kinds.setdefault
        for one in heard:
            kind, row = (kind_of(one), row_of(one)) if isinstance(one, Outcome) else (stray_kind(one), stray_row(one))
            self.lines.append((same(kind, kind), row))


def ended(row: Row) -> bool:
    """False where the request is still open."""
    return row[_LASTED] is not None
