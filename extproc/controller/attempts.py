"""Which attempt a generation belongs to: an outcome names the generation alone, the Journal knows the attempt."""

from __future__ import annotations

from collections.abc import Iterable

from extproc.errors import StoreError
from extproc.store import Store, open_store
from extproc.store.exposures import Attempts

LOOK_BACK = 1_000
"""Entries of a rollout's Journal that are looked through when it has a new generation."""


class AttemptsOf:
    """Asks the Journal once for each new generation, read-only, from the scribe's thread."""

    def __init__(self, store: str) -> None:
        self._url = store
        self._store: Store | None = None
        self._asked: dict[str, int] = {}
        """Rollout -> newest generation that was asked for."""

    def of(self, met: Iterable[tuple[str, int]]) -> Attempts:
        """What there is to say of (rollout, generation) pairs that are new: where each attempt begins. A Journal that cannot be read now is
        asked again with the next exposures; what is said of an attempt later holds for its earlier exposures too."""
        found: Attempts = ()
        for rollout, generation in met:
            if generation > self._asked.get(rollout, 0):
                try:
                    begun = self._read(rollout)
                except StoreError:
                    continue
                if begun:
                    found += begun
                    self._asked[rollout] = generation
        return found

    def _read(self, rollout: str) -> Attempts:
        if self._store is None:
            self._store = open_store(self._url)
        begun: dict[int, tuple[str, int, int, float]] = {}
        before = None
        for entry in reversed(self._store.journal(rollout, LOOK_BACK)):
            attempt = entry.numbers.get("attempt")
            if attempt is not None and attempt != before:
                begun[entry.generation] = rollout, entry.generation, attempt, entry.at
                before = attempt
        return tuple(begun.values())

    def close(self) -> None:
        """Give back the store."""
        if self._store is not None:
            self._store.close()
