"""The Spec's file of a router without a store: read and checked once, by the supervisor, for all workers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from extproc import spec as spec_room
from extproc.router.source import fixed_snapshot
from extproc.runtime import FileState, Followed

log = logging.getLogger(__name__)


class SpecFile:
    """The last good text, and what became of the changes since."""

    def __init__(self, path: str, phase: str | None, changed: Callable[[], None]) -> None:
        """`changed` is called when there is another good text. Raises SpecError or SettingsError where the first one is not good."""
        self._phase = phase
        self._changed = changed
        self.followed = Followed(FileState.of(path, spec_room.beside(path)), self._use)
        self.text, self._digest = self._checked()
        self.generation = 1

    async def _use(self) -> None:
        text, digest = await asyncio.to_thread(self._checked)
        if digest == self._digest:
            return
        log.info(
            "Spec %s takes the place of %s; where models or conditions changed, render Envoy's configuration anew", digest, self._digest
        )
        self.text, self._digest = text, digest
        self.generation += 1
        self._changed()

    def _checked(self) -> tuple[str, str]:
        """Text and digest; whatever a worker would trip over is found here."""
        self.followed.state.beside = spec_room.beside(self.followed.state.path)
        text = spec_room.read_text(self.followed.state.path)
        spec = spec_room.load(text)
        fixed_snapshot(spec, self._phase)
        return text, spec.digest
