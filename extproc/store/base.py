"""What every store does, and the URL that names one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from extproc import contract
from extproc.domain import Heartbeat, JournalEntry, State
from extproc.errors import Problem, StoreError
from extproc.store.terms import Term

NOTHING: Final[Mapping[str, str]] = MappingProxyType({})

JOURNAL_PAGE: Final = 1_000
"""Lines of the Journal that are read at once."""
FAILURE_KINDS: Final = ("full", "read_only", "busy", "damaged", "other")


@dataclass(slots=True)
class Health:
    """What became of the attempts to use a store; plain numbers, for metrics and status."""

    failures: dict[str, int] = field(default_factory=lambda: dict.fromkeys(FAILURE_KINDS, 0))
    """Reads and writes that failed, by kind."""
    problem: Problem | None = None
    """Why the last attempt failed; None after a success. A writer's is cleared by a write alone: reading a full disk works."""


class Store(Protocol):
    """One open store. Only a writer may call `publish_spec`, `commit`, `save_evidence` and `beat`.

    What fails has changed nothing and is worth trying again: no failure, of whatever kind, needs the store to be opened anew.
    """

    url: str
    health: Health

    def publish_spec(self, digest: str, text: str) -> None:
        """Keep a Spec under its digest; a Spec is immutable, publishing it again changes nothing."""

    def read_spec(self, digest: str) -> str:
        """The Spec's YAML; raises StoreError if it was never published."""

    def read_state(self) -> State | None:
        """The present State, or None before the first."""

    def commit(
        self,
        state: State,
        expected_generation: int,
        entries: Sequence[JournalEntry],
        evidence: Mapping[str, str],
        specs: Mapping[str, str] = NOTHING,
        forgotten: Sequence[str] = (),
    ) -> tuple[JournalEntry, ...]:
        """Write State, its Journal entries (returned with their numbers), the Evidence behind them and the Specs and flags it names (text
        by digest, immutable): all of it, or nothing. `forgotten` are digests of flags that no State in use names any more.

        `expected_generation` is that of the State which the decision was made on (0 for none); raises ConflictError if another one
        is there by now.
        """

    def save_evidence(self, documents: Mapping[str, str]) -> None:
        """Replace the Evidence of the rollouts named (JSON by rollout name)."""

    def beat(self, heartbeat: Heartbeat) -> None:
        """Replace the heartbeat. It must reach routers, it need not survive a power cut."""

    def read_heartbeat(self) -> Heartbeat | None:
        """The last heartbeat, or None before the first."""

    def read_evidence(self) -> dict[str, str]:
        """All Evidence, JSON by rollout name."""

    def journal(self, rollout: str | None = None, limit: int = 100, before: int | None = None) -> list[JournalEntry]:
        """The newest entries first, of one rollout or of all, older than sequence `before`."""

    def unit_key(self) -> bytes:
        """32 secret bytes: units appear outside of the router only as hashes under this key."""

    def version(self) -> int:
        """A number that changes whenever somebody else has written; microseconds."""

    def close(self) -> None:
        """Give back files and locks."""


class Leadership(Protocol):
    """One candidate for leading the controllers of a store."""

    name: str

    def campaign(self, timeout: float) -> bool:
        """Try to lead; True as soon as we do, False after `timeout` seconds (and the time of one answer), whatever was in the way."""

    def held(self) -> bool:
        """True as long as nobody else can lead, by our own clock: cheap, no network. That a write succeeds is what proves it."""

    def leader(self) -> str | None:
        """The name of whoever leads, as far as we have been told."""

    def resign(self) -> None:
        """Lead no more; another one may, at once."""


class SharedStore(Store, Protocol):
    """A store of many machines. Every write compares who leads: StoreError `store.not-leader` where that is not us."""

    def leadership(self, name: str, ttl: float = 5.0) -> Leadership:
        """Become a candidate; from now on this store writes only while it leads. Without, it writes only where nobody leads.

        `ttl`: seconds, whole ones, until a leader that fell silent is replaced.
        """

    def present(self, name: str, document: bytes, room: str = "routers") -> None:
        """Say of this process what `presences` tells others, until it says something else, closes the store, or is gone for 10 s.

        Does not wait. `room`: `routers` or `controllers`.
        """

    def presences(self, room: str = "routers") -> dict[str, bytes]:
        """Name -> what it says, of those that are there; from a cache, which is filled the first time that one asks."""

    def begin_term(self, term: Term) -> None:
        """Keep for others that we lead from now on."""

    def terms(self) -> tuple[Term, ...]:
        """Who led, oldest first, the one who leads now at the end."""


def open_store(url: str, writer: bool = False) -> Store:
    """The store that a URL names: `sqlite:PATH`, or `etcd://HOST:PORT,.../PREFIX`.

    Raises StoreError if it cannot be opened; a reader does not create one.
    """
    if is_shared(url):
        return open_shared(url, writer)
    from extproc.store.sqlite import SqliteStore

    return SqliteStore(path_of(url), writer)


def open_shared(url: str, writer: bool = False) -> SharedStore:
    """The store of many machines that a URL names; raises StoreError as open_store does."""
    from extproc.store.etcd import EtcdStore

    return EtcdStore(url, writer)


def whole_journal(store: Store, rollout: str) -> Iterator[JournalEntry]:
    """All lines of a rollout, newest first, a page at a time; raises StoreError."""
    before = None
    while page := store.journal(rollout, JOURNAL_PAGE, before):
        yield from page
        before = page[-1].sequence


def is_shared(url: str) -> bool:
    """True where a URL names a store of many machines."""
    return url.startswith("etcd://")


def path_of(url: str) -> Path:
    """What the names of all local files of a store begin with: the file of `sqlite:PATH` itself, `<local>/extproc.db` of an etcd store.

    Raises StoreError where the URL names none.
    """
    scheme, separator, rest = url.partition(":")
    if not (is_shared(url) or (scheme == "sqlite" and separator and rest)):
        hint = "write sqlite:PATH, such as sqlite:/var/lib/extproc/extproc.db, or etcd://HOST:PORT,HOST:PORT/PREFIX"
        raise StoreError(Problem("store.url", url, "names no store", hint))
    return Path(contract.local_stem(url))
