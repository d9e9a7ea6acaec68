"""Documents of flags that no State names any more. Readers may still be at the State before the present one; what only older ones named has
no reader, and is deleted with the next commit that can do so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from extproc.domain import JournalEntry, State

LOOK_BACK: Final = 500
"""Newest entries of the Journal in which a start looks for documents that were left before it."""


class Leftovers:
    """Digests on their way out of the store."""

    def __init__(self, entries: Iterable[JournalEntry]) -> None:
        """What a controller before this one may have left: every document that the entries speak of."""
        spoken = (entry.numbers for entry in entries if "source" in entry.numbers)
        self._left = {digest for numbers in spoken for digest in (numbers.get("digest"), numbers.get("before")) if isinstance(digest, str)}

    def ripe(self, state: State) -> list[str]:
        """What may be deleted when this State is written; one document may serve several sources, or come back."""
        return sorted(self._left - set(state.flags.values()))

    def changed(self, before: State | None, state: State) -> None:
        """It was written, and what was ripe deleted."""
        self._left = set(before.flags.values()) - set(state.flags.values()) if before is not None else set()
