"""Keeps a judge's process while the Spec has a judge: begins it, begins it anew with another Spec, ends it."""

from __future__ import annotations

import asyncio
from typing import Final

from extproc.controller.judge_process import JudgeSettings, command
from extproc.controller.loop import Loop
from extproc.runtime.child import Child

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the Spec."""
STOP_TIMEOUT: Final = 3.0


class JudgeKeeper:
    """Of one controller."""

    def __init__(self, loop: Loop, listen: str) -> None:
        """`listen`: where Envoy sends copies."""
        self._loop = loop
        self._listen = listen
        self._child: Child | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._digest = ""

    async def keep(self) -> None:
        """Forever."""
        while True:
            digest = self._loop.state.spec_digest if self._loop.spec.judge is not None else ""
            if digest != self._digest:
                await self.stop()
                self._digest = digest
                if digest:
                    self._begin()
            await asyncio.sleep(LOOK_EVERY)

    def _begin(self) -> None:
        settings = JudgeSettings(self._loop.store_url, self._listen, self._loop.spec_text)
        self._child = Child("the judge's process", command(), settings.write())
        self._keeping = asyncio.create_task(self._child.keep())

    async def stop(self) -> None:
        """End the process, in order."""
        if self._child is not None:
            await self._child.stop(STOP_TIMEOUT)
            self._child = None
        if self._keeping is not None:
            await self._keeping
            self._keeping = None
