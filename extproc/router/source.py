"""Where a worker's Snapshots come from: a fixed phase of the Spec that the supervisor tells, or the store.

A State change is seen within POLL seconds (a PRAGMA of a few microseconds each time), thresholds are re-derived on the loop in under
a millisecond at a time, and one reference is swapped. A new Spec is loaded and prepared off the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Protocol

import orjson

from extproc import spec as spec_room
from extproc.assign import NO_SECRETS, Prepared, Secrets, Snapshot, derive, derive_in_steps, prepare
from extproc.assign.deriving import Encoder
from extproc.domain import Rollout, RolloutState, Spec, State, Status
from extproc.errors import ExtprocError, Problem, SettingsError, StoreError
from extproc.router.secrets import read_secrets
from extproc.router.watch import Watch
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
    withdrawn: frozenset[str]
    """Rollouts whose canary traffic goes to stable, because nobody can watch it."""

    @property
    def heartbeat_age(self) -> float | None:
        """Seconds since the controller was last seen to have evaluated; None where that was not seen, or is not asked for."""

    @property
    def age(self) -> float:
        """Seconds since the source was last found readable."""

    async def open(self) -> tuple[Snapshot, bytes]:
        """The first Snapshot, and the key of the units' hashes."""

    async def follow(self, use: Callable[[Snapshot], None]) -> None:
        """Call `use` with each new Snapshot, forever."""


def fixed_snapshot(spec: Spec, phase: str | None, generation: int = 1, secrets: Secrets = NO_SECRETS) -> Snapshot:
    """Every rollout at one phase (by name or share; the first one by default), for benchmarks, tests and a life without controller."""
    rollouts = {
        name: RolloutState(Status.PROGRESSING, phase_index(rollout, phase), 0.0, generation, 1, "served at a fixed phase", "")
        for name, rollout in spec.rollouts.items()
    }
    return derive(prepare(spec, secrets), State(generation, spec.digest, rollouts), encode_reply)


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
        self.withdrawn: frozenset[str] = frozenset()
        self.heartbeat_age: float | None = None

    def tell(self, text: str, generation: int) -> None:
        """Another Spec."""
        self._text, self._generation = text, generation
        self._told.set()

    async def open(self) -> tuple[Snapshot, bytes]:
        """Raises SpecError or SettingsError."""
        return _fixed(self._text, self._phase, self._generation, self._key), self._key

    async def follow(self, use: Callable[[Snapshot], None]) -> None:
        """Call `use` with each new Snapshot, forever."""
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                use(await asyncio.to_thread(_fixed, self._text, self._phase, self._generation, self._key))
            except ExtprocError as error:
                self.failures += 1
                log.error("kept the last good snapshot: %s", error, extra={"problem": error.problems[0].id})


def _fixed(text: str, phase: str | None, generation: int, key: bytes) -> Snapshot:
    spec = spec_room.load(text)
    return fixed_snapshot(spec, phase, generation, read_secrets(spec, key))


class StoreSource:
    """Follows Spec, State and heartbeat in the store; keeps the last good Snapshot whatever happens there, as long as somebody watches."""

    def __init__(self, url: str, name: str = "") -> None:
        """`name`: what this worker is called in its assignments, so that one which assigns wrongly can be found."""
        self._url = url
        self._encode = partial(encode_reply, router=name)
        self._store: Store | None = None
        self._version = -1
        self._watch = Watch()
        self._stand: _Stand | None = None
        self._last_read = monotonic()
        self.withdrawn: frozenset[str] = frozenset()
        self.failures = 0

    async def open(self) -> tuple[Snapshot, bytes]:
        """The first Snapshot, and the key of the units' hashes; waits for the controller to make them."""
        while True:
            try:
                self._store = open_store(self._url)
                await self._read(self._store, self._store.version())
                if self._stand is not None:
                    self.withdrawn = self._stand.exposed
                    return await self._present(), self._store.unit_key()
                log.warning("the store holds no State yet; waiting for the controller: is it running, and on the same store?")
            except StoreError as error:
                log.warning("waiting for the store: %s", error.problems[0], extra={"problem": error.problems[0].id})
            if self._store is not None:
                self._store.close()
                self._store = None
            await asyncio.sleep(RETRY)

    async def follow(self, use: Callable[[Snapshot], None]) -> None:
        """Call `use` with each new Snapshot, forever. The lease runs out whether or not the store can be read."""
        used: Snapshot | None = None
        readable_from = 0.0
        while True:
            await asyncio.sleep(POLL)
            try:
                if monotonic() >= readable_from:
                    await self._look()
            except ExtprocError as error:
                self.failures += 1
                readable_from = monotonic() + RETRY
                log.error("kept the last good snapshot: %s", error.problems[0], extra={"problem": error.problems[0].id})
            snapshot = await self._present()
            if snapshot is not used:
                use(snapshot)
                used = snapshot

    @property
    def age(self) -> float:
        """Seconds since the store was last found readable."""
        return monotonic() - self._last_read

    @property
    def heartbeat_age(self) -> float | None:
        """Seconds since the controller was last seen to have evaluated; None before that."""
        age = self._watch.age(monotonic())
        return age if age < math.inf else None

    async def _look(self) -> None:
        if self._store is None:
            self._store = open_store(self._url)
        version = self._store.version()
        self._last_read = monotonic()
        if version != self._version:
            await self._read(self._store, version)

    async def _read(self, store: Store, version: int) -> None:
        """What has changed: most of the time that is the heartbeat alone."""
        self._watch.see(store.read_heartbeat(), monotonic())
        state = store.read_state()
        if state is None:
            return
        stand = self._stand
        if stand is None or stand.state.generation != state.generation or stand.state.spec_digest != state.spec_digest:
            prepared = stand.prepared if stand is not None else None
            if prepared is None or stand is None or (state.spec_digest, state.flags) != (stand.state.spec_digest, stand.state.flags):
                # Off the loop, reading too: nobody else uses our connection meanwhile.
                prepared = await asyncio.to_thread(_prepare, store, state, stand)
            new = _Stand(prepared, state, self._encode)
            for withdrawn in (frozenset[str](), new.exposed):
                await new.snapshot(withdrawn)
            self._stand = new
        self._version = version

    async def _present(self) -> Snapshot:
        """The Snapshot for the last State that was read, and for who watches it now."""
        stand = self._stand
        assert stand is not None
        withdrawn = self._watch.withdrawn(stand.exposed, stand.prepared.spec.application.watch_lease, monotonic())
        if withdrawn != self.withdrawn:
            self.withdrawn = withdrawn
            _say(withdrawn)
        return await stand.snapshot(withdrawn)


class _Stand:
    """One State, and its Snapshots: both that may be needed at any moment are made beforehand."""

    def __init__(self, prepared: Prepared, state: State, encode: Encoder) -> None:
        self.prepared, self.state = prepared, state
        self._encode = encode
        self.exposed = frozenset(name for name, rollout in state.rollouts.items() if rollout.status.asks_the_canary)
        self._made: dict[frozenset[str], Snapshot] = {}

    async def snapshot(self, withdrawn: frozenset[str]) -> Snapshot:
        """The same object for the same rollouts withdrawn. Decisions go on between the steps in which it is made."""
        made = self._made.get(withdrawn)
        if made is not None:
            return made
        steps = derive_in_steps(self.prepared, self.state, self._encode, withdrawn)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                finished: Snapshot = end.value
                self._made[withdrawn] = finished
                return finished
            await asyncio.sleep(0)


def _say(withdrawn: frozenset[str]) -> None:
    if withdrawn:
        names = ", ".join(sorted(withdrawn))
        log.error("canary traffic goes to stable, because nobody can watch it: %s; look at `extproc status` and the controller", names)
    else:
        log.info("every rollout is watched: units meet what State says")


def _prepare(store: Store, state: State, before: _Stand | None) -> Prepared:
    """What State names, read and compiled; a Spec that has not changed is not parsed again for the sake of a flag."""
    documents = {source: orjson.loads(store.read_spec(digest)) for source, digest in state.flags.items()}
    if before is not None and before.state.spec_digest == state.spec_digest:
        spec = before.prepared.spec
    else:
        spec = spec_room.load(store.read_spec(state.spec_digest))
    return prepare(spec, read_secrets(spec, store.unit_key()), documents)
