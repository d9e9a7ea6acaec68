"""The store of many machines: its users are synchronous, and see of etcd what they see of a file.

* A watcher's `version`, `read_state` and `read_heartbeat` come from a cache that a watch keeps fresh: no network, microseconds.
* A writer's call blocks its caller until etcd has answered, for at most the URL's `timeout` (one second). After a failure of the way
  the next calls fail at once, until a probe beside them has seen etcd answer again: its caller's loop does not stand still twice.
* Every transaction of a writer compares who leads. One that has no `leadership` writes only where nobody leads.
* All of it belongs to one thread of one process, but for the loop beside it: a store is opened after a fork, not before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, TypeVar

from extproc import contract
from extproc.domain import Heartbeat, JournalEntry, State
from extproc.errors import ConflictError, Problem, StoreError
from extproc.pb.etcd_pb2 import EtcdCompare
from extproc.store.base import NOTHING, Health
from extproc.store.codec import decode_heartbeat, decode_state
from extproc.store.etcd import election, faults
from extproc.store.etcd.address import parse_address
from extproc.store.etcd.client import Client
from extproc.store.etcd.layout import FORMAT, Layout, after
from extproc.store.etcd.presence import Present
from extproc.store.etcd.reading import Reader
from extproc.store.etcd.requests import created_at
from extproc.store.etcd.thread import of_this_process
from extproc.store.etcd.watch import Kept, Watch
from extproc.store.etcd.writing import Change, Writer
from extproc.store.faults import kind_of
from extproc.store.terms import Term, read_terms

OPEN_TIMEOUT: Final = 5.0
"""Seconds to open a store: connections, a password that etcd checks slowly on purpose, and an election among its nodes."""
READ_TIMEOUT: Final = 3.0
"""Seconds to read what is not watched: a Spec, Evidence, the Journal. No loop stands still meanwhile, or it has nothing else to do."""
STALE: Final = 2.0
"""Seconds without a watch after which the cache is not handed out any more: going to another node takes less."""
PROBE: Final = 0.25
"""Seconds between looks at whether etcd answers again."""
LONGEST: Final = 60.0
"""Seconds of anything; each part of it has a shorter time of its own."""

T = TypeVar("T")


class EtcdStore:
    """A store below one prefix; see `store.base.SharedStore` for what its methods promise."""

    def __init__(self, url: str, writer: bool) -> None:
        self.url = url
        self.health = Health()
        self._address = address = parse_address(url)
        self._layout = layout = Layout(address.prefix)
        self._writes = writer
        self._version = 0
        self._away: Problem | None = None
        """Why nothing is tried at present."""
        self._probing: asyncio.Task[None] | None = None
        self._leadership: election.EtcdLeadership | None = None
        self._present: dict[bytes, Present] = {}
        self._rooms: dict[str, Watch] = {}
        self._watched = [layout.key(name) for name in ("state", "heartbeat", "leader")]
        with self._explained():
            if writer:
                # In it lie the controller's sockets and lists.
                Path(contract.local_stem(url)).parent.mkdir(parents=True, exist_ok=True)
        self._thread = of_this_process()
        self._closed = False
        try:
            with self._explained():
                self._unit_key = self._thread.call(self._open(monotonic() + max(OPEN_TIMEOUT, address.timeout)), LONGEST)
        except BaseException:
            self.close()
            raise

    async def _open(self, until: float) -> bytes:
        # Here, because what gRPC makes belongs to the loop that runs.
        self._client = Client(self._address)
        self._reader = Reader(self._client, self._layout)
        self._writer = Writer(self._client, self._layout, self.url, self._address.timeout, self._reader, self._fence)
        self._watch = Watch(self._address, [(key, b"") for key in self._watched], self._changed)
        if self._writes:
            await self._writer.begin(until)
        found = await self._reader.one("format", until)
        if found is None:
            raise StoreError(Problem("store.empty", self.url, "is empty", "the controller fills it when it starts"))
        if found != FORMAT:
            message = f"has format {found.decode(errors='replace')}, this version of extproc knows {FORMAT.decode()}"
            raise StoreError(Problem("store.schema", self.url, message, "use the version of extproc that wrote it"))
        key = await self._reader.one("unit_key", until)
        self._watch.start()
        async with asyncio.timeout(max(until - monotonic(), 0.001)):
            await self._watch.ready.wait()
        assert key is not None
        return key

    # ------------------------------------------------------------------------------------------------------------------ Spec
    def publish_spec(self, digest: str, text: str) -> None:
        self._write(lambda: self._writer.publish(digest, text))

    def read_spec(self, digest: str) -> str:
        return self._read(lambda until: self._reader.spec(digest, until))

    # ----------------------------------------------------------------------------------------------------------------- State
    def read_state(self) -> State | None:
        value = self._value("state")
        return decode_state(value) if value is not None else None

    def commit(
        self,
        state: State,
        expected_generation: int,
        entries: Sequence[JournalEntry],
        evidence: Mapping[str, str],
        specs: Mapping[str, str] = NOTHING,
        forgotten: Sequence[str] = (),
    ) -> tuple[JournalEntry, ...]:
        change = Change(state, expected_generation, entries, evidence, specs, forgotten)
        return self._write(lambda: self._writer.commit(change))

    # -------------------------------------------------------------------------------------------------- Evidence and Journal
    def save_evidence(self, documents: Mapping[str, str]) -> None:
        self._write(lambda: self._writer.save(documents))

    def beat(self, heartbeat: Heartbeat) -> None:
        self._write(lambda: self._writer.beat(heartbeat))

    def read_heartbeat(self) -> Heartbeat | None:
        value = self._value("heartbeat")
        return decode_heartbeat(value) if value is not None else None

    def read_evidence(self) -> dict[str, str]:
        return self._read(self._reader.evidence)

    def journal(self, rollout: str | None = None, limit: int = 100, before: int | None = None) -> list[JournalEntry]:
        return self._read(lambda until: self._reader.journal(rollout, limit, before, until))

    # ------------------------------------------------------------------------------------------------- leadership and presence
    def leadership(self, name: str, ttl: float = election.DEFAULT_TTL) -> election.EtcdLeadership:
        """Become a candidate; from now on this store writes only while it leads."""
        if self._leadership is not None:
            self._leadership.resign()
        self._leadership = election.EtcdLeadership(self._thread, self._client, self._watch, self._layout.key("leader"), name, ttl)
        return self._leadership

    def present(self, name: str, document: bytes, room: str = "routers") -> None:
        """Say of this process what `presences` tells others, until it says something else, closes the store, or is gone for 10 s."""
        key = self._layout.key(f"{room}/{name}")
        if key not in self._present:
            self._present[key] = Present(self._client, key)
        one = self._present[key]
        self._thread.soon(lambda: one.tell(document))

    def presences(self, room: str = "routers") -> dict[str, bytes]:
        """Name -> what it says, of those that are there; watched from the first time that one asks."""
        directory = self._layout.key(f"{room}/")
        with self._explained():
            if room not in self._rooms:
                self._rooms[room] = self._thread.call(self._watch_room(directory, monotonic() + READ_TIMEOUT), LONGEST)
            watch = self._rooms[room]
            self._check_fresh(watch)
            return {key[len(directory) :].decode(): kept.value for key, kept in list(watch.values.items())}

    async def _watch_room(self, directory: bytes, until: float) -> Watch:
        watch = Watch(self._address, [(directory, after(directory))], lambda *_: None)
        watch.start()
        try:
            async with asyncio.timeout(max(until - monotonic(), 0.001)):
                await watch.ready.wait()
        except TimeoutError:
            await watch.stop()
            raise
        return watch

    def begin_term(self, term: Term) -> None:
        """Keep for others that we lead from now on."""
        self._write(lambda: self._writer.begin_term(term))

    def terms(self) -> tuple[Term, ...]:
        """Who led, oldest first, the one who leads now at the end."""
        return read_terms(self._read(lambda until: self._reader.one("terms", until)))

    # ----------------------------------------------------------------------------------------------------------------- others
    def unit_key(self) -> bytes:
        return self._unit_key

    def version(self) -> int:
        with self._explained():
            self._check_fresh(self._watch)
        if not self._writes:
            self.health.problem = None
        return self._version

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._leadership is not None:
            self._leadership.resign()
        with suppress(*faults.FAILURES):
            self._thread.call(self._stop(), OPEN_TIMEOUT)

    async def _stop(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
        for present in self._present.values():
            await present.stop()
        for watch in (self._watch, *self._rooms.values()):
            await watch.stop()
        await self._client.close()

    # --------------------------------------------------------------------------------------------------- the cache and the way
    def _changed(self, key: bytes, kept: Kept | None, revision: int) -> None:
        if key != self._watched[-1]:
            self._version += 1
        elif self._leadership is not None:
            self._leadership.told(kept, revision)

    def _fence(self) -> EtcdCompare:
        if self._leadership is None:
            return created_at(self._watched[-1], 0)
        fence = self._leadership.fence()
        if fence.create_revision == 0:
            raise StoreError(faults.not_leader(self.url, self._leadership.leader() or ""))
        return fence

    def _value(self, name: str) -> bytes | None:
        """A watcher's come from the cache; a writer's from etcd, because it decides on them."""
        if self._writes:
            return self._read(lambda until: self._reader.one(name, until))
        with self._explained():
            self._check_fresh(self._watch)
        kept = self._watch.values.get(self._layout.key(name))
        return kept.value if kept is not None else None

    def _check_fresh(self, watch: Watch) -> None:
        problem, since = watch.problem, watch.lost_at
        if problem is not None and since is not None and monotonic() - since > STALE:
            raise StoreError(problem)

    def _read(self, work: Callable[[float], Coroutine[Any, Any, T]]) -> T:
        with self._explained():
            found = self._ask(lambda: work(monotonic() + max(READ_TIMEOUT, self._address.timeout)))
        if not self._writes:
            self.health.problem = None
        return found

    def _write(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        with self._explained():
            if not self._writes:
                raise StoreError(faults.read_only(self.url))
            try:
                written = self._ask(work)
            except StoreError as error:
                if self._leadership is not None and error.problems[0].id == "store.not-leader":
                    self._leadership.lost()
                raise
        self.health.problem = None
        return written

    def _ask(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self._away is not None:
            raise StoreError(self._away)
        try:
            return self._thread.call(work(), LONGEST)
        except faults.FAILURES as error:
            problem = faults.explain(self.url, error)
            if problem.id == "store.away":
                self._away = problem
                self._thread.soon(self._probe)
                if self._writer.unsure:
                    problem = faults.unsure(self.url, problem.message)
            raise StoreError(problem) from error

    def _probe(self) -> None:
        self._probing = asyncio.ensure_future(self._until_it_answers())

    async def _until_it_answers(self) -> None:
        while True:
            # A read that needs the consent of the majority.
            with suppress(*faults.FAILURES):
                await self._reader.one("format", monotonic() + self._address.timeout)
                self._away = None
                return
            await asyncio.sleep(PROBE)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """What fails is counted at this one place."""
        try:
            yield
        except ConflictError:
            raise
        except faults.FAILURES as error:
            problem = faults.explain(self.url, error)
            self._failed(problem)
            raise StoreError(problem) from error
        except StoreError as error:
            self._failed(error.problems[0])
            raise

    def _failed(self, problem: Problem) -> None:
        self.health.failures[kind_of(problem)] += 1
        self.health.problem = problem
