"""Keeps a judge's process while the Spec has a judge: begins it, begins it anew with another Spec, ends it.

Nothing of that process is imported here: what it needs to read texts is large, and the controller does without.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final

import orjson

from extproc.controller.loop import Loop
from extproc.runtime.child import Child
from extproc.transport import PRIVATE, Security

LOOK_EVERY: Final = 0.5
"""Seconds between two looks at the Spec."""
STOP_TIMEOUT: Final = 3.0
LIBRARIES: Final = ("jsonschema", "py3langid")
"""Of the extra `judge`: a router or a gate does without them."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class JudgeSettings:
    """What the controller tells its judge's process."""

    store: str
    listen: str
    """Where Envoy sends copies: `unix:PATH` or `HOST:PORT`."""
    spec: str
    """Text of the Spec, its files included."""
    security: Security = PRIVATE
    """Of a port that a network reaches."""

    def write(self) -> bytes:
        """One line of JSON."""
        return orjson.dumps(self)

    @classmethod
    def read(cls, line: bytes) -> JudgeSettings:
        """What `write` wrote."""
        given = orjson.loads(line)
        return cls(**{**given, "security": Security(**given["security"])})


def command() -> tuple[str, ...]:
    """What starts it."""
    return sys.executable, "-m", "extproc.controller.judge_process"


class JudgeKeeper:
    """Of one controller."""

    def __init__(self, loop: Loop, listen: str, security: Security = PRIVATE) -> None:
        """`listen`: where Envoy sends copies."""
        self._loop = loop
        self._listen, self._security = listen, security
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
        missing = [name for name in LIBRARIES if find_spec(name) is None]
        if missing:
            log.error(
                "nobody judges: %s not installed; pip install '.[judge]' in the checkout of extproc brings what it needs",
                " and ".join(missing),
            )
            return
        settings = JudgeSettings(self._loop.store_url, self._listen, self._loop.spec_text, self._security)
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
