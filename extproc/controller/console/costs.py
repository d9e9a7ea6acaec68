"""What each release costs until it is completed: by the Spec in force and the tokens that were counted, reckoned in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from extproc import cost
from extproc import spec as spec_room
from extproc.store import Store, open_store

GOOD_FOR: Final = 30.0
"""Seconds: it takes tens of milliseconds, and means of tokens hardly move."""


class Costs:
    """Of one store."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(1, "costs")
        self._known: tuple[str, float, dict[str, Any]] = ("", 0.0, {})
        """Digest of the Spec, until when it is good, what was reckoned."""

    async def planned(self, digest: str, rollouts: Mapping[str, Any]) -> dict[str, Any]:
        """Rollout -> `cost.summary`. `digest` of the Spec in force, `rollouts` of the status document. Raises StoreError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._planned, digest, rollouts)

    def close(self) -> None:
        """Wait for what is being reckoned, and close."""
        self._thread.shutdown()
        if self._store is not None:
            self._store.close()

    def _planned(self, digest: str, rollouts: Mapping[str, Any]) -> dict[str, Any]:
        now = time.monotonic()
        if self._known[0] != digest or now >= self._known[1]:
            if self._store is None:
                self._store = open_store(self._url)
            spec = spec_room.load(self._store.read_spec(digest))
            given = cost.Given(kept_seconds=0.0, measured=cost.counted(spec, rollouts))
            self._known = digest, now + GOOD_FOR, {sheet.rollout: cost.summary(sheet) for sheet in cost.sheets(spec, given)}
        return self._known[2]
