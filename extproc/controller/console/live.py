"""What open pages are told: one look at the brain for all of them, one piece of bytes for each change, and never a queue.

While a page is open the brain is looked at twice a second, else once a second, for the history alone. A page that takes slowly misses
what was there meanwhile, and gets the newest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any, Final

import orjson

from extproc.controller.ask import SilentError, Watch
from extproc.controller.console.history import History

LOOK_EVERY: Final = 0.5
"""Seconds between two looks while a page is open."""
RECORD_EVERY: Final = 1.0
"""Seconds between two looks while none is: the loop evaluates once a second."""
MOST_PAGES: Final = 200
"""Open pages; each is a connection."""
AGAIN: Final = 1_000
"""Milliseconds after which a browser asks again when the stream has broken."""
BEAT: Final = 5.0
"""Seconds after which a page is told even where nothing has changed."""
GREETING: Final = f"retry: {AGAIN}\n\n".encode()


class Live:
    """The one stream that all pages share."""

    def __init__(self, watch: Watch, history: History) -> None:
        self._watch = watch
        self._history = history
        self._frame = b""
        self._number = 0
        self._key: object = None
        self._told = 0.0
        self._changed = asyncio.Condition()
        self._hurry = asyncio.Event()
        self._stopping = False
        self._looking: asyncio.Task[None] | None = None
        self.pages = 0
        """Open ones."""

    def start(self) -> None:
        """Begin to look."""
        self._looking = asyncio.create_task(self._look_on())

    async def stop(self) -> None:
        """End the streams of all pages."""
        self._stopping = True
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking
        async with self._changed:
            self._changed.notify_all()

    def hurry(self) -> None:
        """Something was done: look now."""
        self._hurry.set()

    async def frames(self) -> AsyncIterator[bytes]:
        """What a page is told, until it goes or we stop."""
        seen = 0
        self.pages += 1
        self.hurry()
        try:
            yield GREETING
            while True:
                async with self._changed:
                    while seen == self._number and not self._stopping:
                        await self._changed.wait()
                if self._stopping:
                    return
                seen = self._number
                yield self._frame
        finally:
            self.pages -= 1

    async def _look_on(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            name, document = await self._look()
            key = _key(name, document)
            if key != self._key or loop.time() - self._told > BEAT:
                self._key, self._told = key, loop.time()
                self._frame = b"event: " + name + b"\ndata: " + orjson.dumps(document) + b"\n\n"
                self._number += 1
                async with self._changed:
                    self._changed.notify_all()
            self._hurry.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), LOOK_EVERY if self.pages else RECORD_EVERY)

    async def _look(self) -> tuple[bytes, dict[str, Any]]:
        try:
            known = await self._watch.look()
        except SilentError as error:
            return b"silent", {"problems": [asdict(problem) for problem in error.problems]}
        if not known.stale:
            self._history.add(known.document)
        return b"status", {**known.document, "stale": known.stale}


def _key(name: bytes, document: dict[str, Any]) -> object:
    """What makes a page look different."""
    if name != b"status":
        return name
    routers = tuple((one["router"], tuple(one["generations"]), one["silent"] is None) for one in document["routers"])
    return document["loop"]["ticks"], document["generation"], round(document["stale"]), routers
