"""The Journal as the API process reads it: from the store, read-only, in a thread, whatever the brain does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

from extproc.domain import JournalEntry
from extproc.store import Led, Store, is_shared, open_store
from extproc.store.exposures import Wanted
from extproc.store.exposures.elsewhere import leaders

if TYPE_CHECKING:
    from extproc.store import SharedStore


class JournalReader:
    """One connection, opened when it is first needed, used by one thread."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(1, "journal")

    async def read(self, rollout: str | None, limit: int, before: int | None) -> list[dict[str, Any]]:
        """Entries as JSON, newest first; raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, rollout, limit, before)

    async def leaders(self, wanted: Wanted) -> tuple[Led, ...]:
        """Controllers that led while requests may have met a canary; none where the store is one machine's. Raises StoreError."""
        if not is_shared(self.url):
            return ()
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._leaders, wanted)

    def close(self) -> None:
        """Wait for what is being read, and close."""
        self._thread.shutdown()
        if self._store is not None:
            self._store.close()

    def _read(self, rollout: str | None, limit: int, before: int | None) -> list[dict[str, Any]]:
        return [journal_document(entry) for entry in self._opened().journal(rollout, limit, before)]

    def _leaders(self, wanted: Wanted) -> tuple[Led, ...]:
        return leaders(cast("SharedStore", self._opened()), wanted)

    def _opened(self) -> Store:
        if self._store is None:
            self._store = open_store(self.url)
        return self._store


def journal_document(entry: JournalEntry) -> dict[str, Any]:
    """One line of the Journal."""
    return {**asdict(entry), "action": entry.action.value}
