"""A thread with an event loop of its own, and calls into it that block: the store's users are synchronous, its connection is not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

GRACE: Final = 1.0
"""Seconds that a call waits beyond its own time: on a busy machine the thread gets its turn late, and still tells what it knows."""
STOP: Final = 5.0

T = TypeVar("T")


class LoopThread:
    """Belongs to the process that made it: whoever forks opens a store of its own."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """True where nothing runs any more."""
        return self._loop.is_closed()

    def call(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """What `work` returns or raises; TimeoutError where it takes longer, and it is then cancelled."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds + GRACE)
        except TimeoutError:
            future.cancel()
            raise

    def soon(self, function: Callable[[], object]) -> None:
        """Have the loop call `function`; does not wait."""
        self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """Cancel what is under way, and end."""
        with suppress(TimeoutError):
            asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result(STOP)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP)
        if not self._thread.is_alive():
            self._loop.close()


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
