"""Where a worker's Snapshots come from: a fixed phase of the Spec that the supervisor tells, or the store.

A State change is seen within POLL seconds (a PRAGMA of a few microseconds each time), thresholds are re-derived on the loop in under
a millisecond, and one reference is swapped. A new Spec is loaded and prepared off the loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import Protocol

from extproc import spec as spec_room
from extproc.assign import Prepared, Snapshot, derive, prepare
from extproc.domain import Rollout, RolloutState, Spec, State, Status
from extproc.errors import ExtprocError, Problem, SettingsError, StoreError
from extproc.store import Store, open_store
from extproc.wire import encode_reply

POLL = 0.02
"""Seconds between looks at the store's version: the budget from a committed State to every worker is 0.1 s."""
RETRY = 0.5
"""Seconds between attempts to open or read a store that is not there."""

log = logging.getLogger(__name__)


class Source(Protocol):
    """Gives a worker its Snapshots, one after the other."""

    failures: int
    """Reads, or Specs, that were of no use."""

    @property
    def age(self) -> float:
        """Seconds since the source was last found readable."""

    async def open(self) -> tuple[Snapshot, bytes]:
        """The first Snapshot, and the key of the units' hashes."""

    async def follow(self, use: Callable[[Snapshot], None]) -> None:
        """Call `use` with each new Snapshot, forever."""


def fixed_snapshot(spec: Spec, phase: str | None, generation: int = 1) -> Snapshot:
    """Every rollout at one phase (by name or share; the first one by default), for benchmarks, tests and a life without controller."""
    rollouts = {
        name: RolloutState(Status.PROGRESSING, phase_index(rollout, phase), 0.0, generation, 1, "served at a fixed phase", "")
        for name, rollout in spec.rollouts.items()
    }
    return derive(prepare(spec), State(generation, spec.digest, rollouts), encode_reply)


def phase_index(rollout: Rollout, wanted: str | None) -> int:
    """Index of the phase called `wanted`, by name; raises SettingsError with the names there are."""
    names = [phase.name for phase in rollout.phases]
    if wanted is None:
        return 0
    if wanted not in names:
        hint = f"its phases are {', '.join(names)}"
        raise SettingsError(Problem("settings.phase", "--phase", f"rollout {rollout.name} has no phase {wanted!r}", hint))
    return names.index(wanted)


class ToldSource:
    """The Spec as the supervisor has read and checked it, at a fixed phase. Compiled off the loop; the newest that was told wins."""

    def __init__(self, text: str, generation: int, phase: str | None, key: bytes) -> None:
        self._text, self._generation = text, generation
        self._phase = phase
        self._key = key
        self._told = asyncio.Event()
        self.failures = 0
        self.age = 0.0

    def tell(self, text: str, generation: int) -> None:
        """Another Spec."""
        self._text, self._generation = text, generation
        self._told.set()

    async def open(self) -> tuple[Snapshot, bytes]:
        """Raises SpecError or SettingsError."""
        return _fixed(self._text, self._phase, self._generation), self._key

    async def follow(self, use: Callable[[Snapshot], None]) -> None:
        """Call `use` with each new Snapshot, forever."""
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                use(await asyncio.to_thread(_fixed, self._text, self._phase, self._generation))
            except ExtprocError as error:
                self.failures += 1
                log.error("kept the last good snapshot: %s", error, extra={"problem": error.problems[0].id})


def _fixed(text: str, phase: str | None, generation: int) -> Snapshot:
    return fixed_snapshot(spec_room.load(text), phase, generation)


class StoreSource:
    """Follows Spec and State in the store; keeps the last good Snapshot whatever happens there."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._store: Store | None = None
        self._version = -1
        self._prepared: Prepared | None = None
        self._last_read = monotonic()
        self.failures = 0
        """Reads, or Specs, that were of no use."""

    async def open(self) -> tuple[Snapshot, bytes]:
        """The first Snapshot, and the key of the units' hashes; waits for the controller to make them."""
        while True:
            try:
                self._store = open_store(self._url)
                snapshot = await self._read()
                if snapshot is not None:
                    return snapshot, self._store.unit_key()
                log.warning("the store holds no State yet; waiting for the controller: is it running, and on the same store?")
            except StoreError as error:
                log.warning("waiting for the store: %s", error.problems[0], extra={"problem": error.problems[0].id})
            if self._store is not None:
                self._store.close()
                self._store = None
            await asyncio.sleep(RETRY)

    async def follow(self, use: Callable[[Snapshot], None]) -> None:
        """Call `use` with each new Snapshot, forever."""
        while True:
            await asyncio.sleep(POLL)
            try:
                snapshot = await self._changed()
            except ExtprocError as error:
                self.failures += 1
                log.error("kept the last good snapshot: %s", error.problems[0], extra={"problem": error.problems[0].id})
                await asyncio.sleep(RETRY)
                continue
            if snapshot is not None:
                use(snapshot)

    @property
    def age(self) -> float:
        """Seconds since the store was last found readable."""
        return monotonic() - self._last_read

    async def _changed(self) -> Snapshot | None:
        if self._store is None:
            self._store = open_store(self._url)
        version = self._store.version()
        self._last_read = monotonic()
        return await self._read() if version != self._version else None

    async def _read(self) -> Snapshot | None:
        assert self._store is not None
        version = self._store.version()
        state = self._store.read_state()
        if state is None:
            return None
        if self._prepared is None or self._prepared.spec.digest != state.spec_digest:
            self._prepared = await asyncio.to_thread(_prepare, self._store.read_spec(state.spec_digest))
        self._version = version
        return derive(self._prepared, state, encode_reply)


def _prepare(text: str) -> Prepared:
    return prepare(spec_room.load(text))
