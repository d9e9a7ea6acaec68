"""A thread with an event loop of its own, and calls into it that block: the store's users are synchronous, its connection is not.

There is one for each process, made when it is first needed, and it never ends: gRPC tells the loop that made a connection of its end, later
than its user hears of it, and complains where that loop is closed by then.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

GRACE: Final = 1.0
"""Seconds that a call waits beyond its own time: on a busy machine the thread gets its turn late, and still tells what it knows."""

T = TypeVar("T")


class LoopThread:
    """Belongs to the process that made it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="extproc-etcd", daemon=True).start()

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


_made: LoopThread | None = None
_making = threading.Lock()


def of_this_process() -> LoopThread:
    """The thread; another one after a fork, which threads do not survive."""
    global _made
    with _making:
        if _made is None or _made.process != os.getpid():
            _made = LoopThread()
        return _made
