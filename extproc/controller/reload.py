"""The Spec's file as the controller follows it: read, checked off the loop, adopted by the rules of a start; the last good one stays.

* A first start with a bad file is refused. Where the store holds a State, a start goes on with the last good Spec of the store, and says
  why: whoever watches a rollout must come back, whatever was done to the file in the meantime.
* An edit of what runs is refused, and tried again whenever State has changed: it comes into force when that rollout has ended. A store
  that could not be written is tried again at each look.
"""

from __future__ import annotations

import asyncio
import logging
import time

from extproc import spec as spec_room
from extproc.controller.loop import Loop
from extproc.domain import Spec
from extproc.errors import ExtprocError, RefusedError, StoreError
from extproc.runtime import FileState, Followed
from extproc.store import Store, open_store

log = logging.getLogger(__name__)


def opened(path: str, url: str, now: float, shared: Store | None = None) -> tuple[Loop, Store]:
    """The loop and its store, open for writing: `shared`, where it is open already.

    Raises SpecError, SettingsError, RefusedError or StoreError.
    """
    file = FileState.of(path, spec_room.beside(path))
    try:
        text, _ = _checked(path)
    except ExtprocError as error:
        if not _holds_state(url):
            raise
        text, file.problems = "", error.problems
    store = shared if shared is not None else open_store(url, writer=True)
    try:
        loop = _begin(file, text, store, now)
    except BaseException:
        if shared is None:
            store.close()
        raise
    return loop, store


def _begin(file: FileState, text: str, store: Store, now: float) -> Loop:
    """With the text if there is one and it is not refused, else with the last good Spec."""
    loop: Loop | None = None
    if not file.problems:
        try:
            loop = Loop(text, store, now)
        except RefusedError as error:
            file.problems = error.problems
    if loop is None:
        file.failures = 1
        log.error("%s", file.told().rstrip(), extra={"problem": file.problems[0].id})
        state = store.read_state()
        assert state is not None
        loop = Loop(store.read_spec(state.spec_digest), store, now)
    loop.spec_file = file
    return loop


def _holds_state(url: str) -> bool:
    """Asked of a reader, which leaves no file behind where there is none."""
    try:
        store = open_store(url)
    except StoreError:
        return False
    try:
        return store.read_state() is not None
    finally:
        store.close()


class _SpecFile:
    """What `Followed` asks of us."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._tried_at = loop.state.generation
        self._store_refused = False

    async def use(self) -> None:
        """Read, check, adopt."""
        loop = self._loop
        self._tried_at, self._store_refused = loop.state.generation, False
        loop.spec_file.beside = await asyncio.to_thread(spec_room.beside, loop.spec_file.path)
        text, spec = await asyncio.to_thread(_checked, loop.spec_file.path)
        before = loop.spec.digest
        try:
            if loop.adopt(text, spec, time.time()):
                said = "Spec %s takes the place of %s; where models or conditions changed, render Envoy's part anew"
                log.info(said, spec.digest, before)
        except StoreError:
            self._store_refused = True
            raise

    def again(self) -> bool:
        """True where what was in the way may be gone."""
        return self._store_refused or self._tried_at != self._loop.state.generation


def _checked(path: str) -> tuple[str, Spec]:
    text = spec_room.read_text(path)
    return text, spec_room.load(text)


def follow_spec(loop: Loop) -> Followed:
    """The follower of the file that the loop was opened with."""
    file = _SpecFile(loop)
    return Followed(loop.spec_file, file.use, file.again)
