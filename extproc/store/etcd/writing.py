"""Transactions of a writer. Each of them compares who leads; a commit compares State too. All or nothing, and safe to be sent twice.

A commit has a name of its own, which it writes under `last`. Where an answer was lost and the same transaction is sent again, its
comparison fails on what it has itself written, and the name tells: that is a success. Where no answer came at all, the name tells the
next commit what became of the last one.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic

import orjson

from extproc.domain import Heartbeat, JournalEntry, State
from extproc.errors import ConflictError, Problem, StoreError
from extproc.pb.etcd_pb2 import EtcdCompare, EtcdRequestOp, EtcdTxnRequest, EtcdTxnResponse
from extproc.store.codec import decode_state, encode_entry, encode_heartbeat, encode_state
from extproc.store.etcd import faults
from extproc.store.etcd.client import Client
from extproc.store.etcd.documents import Packed, batches, pack, parts_name
from extproc.store.etcd.layout import FORMAT, Layout, after
from extproc.store.etcd.reading import Reader, last_number, write_name
from extproc.store.etcd.requests import TXN, changed_at, create, delete, found, get, put, together
from extproc.store.terms import Term, read_terms, with_term, write_terms

Fence = Callable[[], EtcdCompare]
"""True in etcd as long as we may write; raises StoreError where we know already that we may not."""


@dataclass(frozen=True, slots=True)
class Change:
    """One commit, as `Store.commit` is asked for it."""

    state: State
    expected: int
    entries: Sequence[JournalEntry]
    evidence: Mapping[str, str]
    specs: Mapping[str, str]
    forgotten: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Sent:
    """A commit whose answer has not come."""

    name: str
    document: bytes
    numbered: tuple[JournalEntry, ...]


class Writer:
    """Lives in the loop; raises StoreError, and what Client.call raises."""

    def __init__(self, client: Client, layout: Layout, url: str, timeout: float, reader: Reader, fence: Fence) -> None:
        self._client, self._layout, self._url, self._timeout = client, layout, url, timeout
        self._reader, self._fence = reader, fence
        self._sent: _Sent | None = None

    @property
    def unsure(self) -> bool:
        """True where nobody knows what became of the last commit."""
        return self._sent is not None

    async def begin(self, until: float) -> None:
        """The key of the units' hashes and the mark of our format, where there is none."""
        keys = self._layout.key("format"), self._layout.key("unit_key")
        operations = [create(keys[0], FORMAT), create(keys[1], secrets.token_bytes(32))]
        await self._client.call(TXN, EtcdTxnRequest(success=operations), until)

    async def publish(self, digest: str, text: str) -> None:
        """A Spec, unless it is there."""
        key = self._layout.spec(digest)
        if await self._reader.one(f"specs/{digest}", self._until()) is None:
            packed = pack({key: text}, self._layout)
            await self._put_parts(packed)
            await self._write([create(key, packed.heads[key])])
        else:
            await self._write([])

    async def save(self, documents: Mapping[str, str]) -> None:
        """Evidence."""
        packed = pack({self._layout.evidence(name): text for name, text in documents.items()}, self._layout)
        await self._put_parts(packed)
        await self._write([put(key, head) for key, head in packed.heads.items()])
        await self._drop_parts(packed)

    async def beat(self, heartbeat: Heartbeat) -> None:
        """A heartbeat."""
        await self._write([put(self._layout.key("heartbeat"), encode_heartbeat(heartbeat))])

    async def begin_term(self, term: Term) -> None:
        """One more at the end; nobody else writes it while we lead."""
        before = read_terms(await self._reader.one("terms", self._until()))
        await self._write([put(self._layout.key("terms"), write_terms(with_term(before, term)))])

    async def commit(self, change: Change) -> tuple[JournalEntry, ...]:
        """All of it, or nothing; the entries with their numbers."""
        layout, document, until = self._layout, encode_state(change.state), self._until()
        state_key, last_key = layout.key("state"), layout.key("last")
        gone = [layout.spec(digest) for digest in change.forgotten if digest not in change.specs]
        new = {layout.spec(digest): text for digest, text in change.specs.items()}
        looked = [get(state_key), get(last_key), *map(get, gone), *map(get, new)]
        before, last, *heads = found(await self._client.call(TXN, EtcdTxnRequest(success=looked), until))
        sent, self._sent = self._sent, None
        if sent is not None and sent.name == write_name(last) and sent.document == document:
            return sent.numbered
        self._check(decode_state(before.value).generation if before is not None else 0, change.expected)
        first = last_number(last.value if last is not None else None) + 1
        numbered = tuple(replace(entry, sequence=first + place) for place, entry in enumerate(change.entries))
        there = {kv.key for kv in heads[len(gone) :] if kv is not None}
        evidence = {layout.evidence(name): text for name, text in change.evidence.items()}
        packed = pack({**evidence, **{key: text for key, text in new.items() if key not in there}}, layout)
        name = secrets.token_hex(8)
        operations = [
            put(state_key, document),
            put(last_key, orjson.dumps({"sequence": first + len(numbered) - 1, "write": name})),
            *(put(layout.journal(entry.sequence), encode_entry(entry)) for entry in numbered),
            *(put(key, head) if key in evidence else create(key, head) for key, head in packed.heads.items()),
            *map(delete, gone),
        ]
        compared = [changed_at(kv_key, kv.mod_revision if kv is not None else 0) for kv_key, kv in ((state_key, before), (last_key, last))]
        if packed.chunks:
            await self._put_parts(packed)
            until = self._until()
        self._sent = _Sent(name, document, numbered)
        answer = await self._send(operations, until, compared, [get(last_key), get(state_key)])
        self._sent = None
        if not answer.succeeded:
            _, last, before = found(answer)
            if write_name(last) != name:
                self._check(decode_state(before.value).generation if before is not None else 0, change.expected)
                message = "was written by another one in the same moment"
                raise ConflictError(Problem("store.conflict", self._url, message, "read State again and decide anew"))
        names = (parts_name(kv.value) for kv in heads[: len(gone)] if kv is not None)
        await self._drop_parts(packed, [one for one in names if one is not None])
        return numbered

    def _check(self, generation: int, expected: int) -> None:
        if generation != expected:
            message = f"generation is {generation}, the decision was made on {expected}"
            raise ConflictError(Problem("store.conflict", self._url, message, "read State again and decide anew"))

    async def _write(self, operations: Sequence[EtcdRequestOp]) -> None:
        await self._send(operations, self._until())

    async def _send(
        self, operations: Sequence[EtcdRequestOp], until: float, compared: Sequence[EtcdCompare] = (), look: Sequence[EtcdRequestOp] = ()
    ) -> EtcdTxnResponse:
        """One transaction; raises StoreError where we do not lead."""
        fence = self._fence()
        request = EtcdTxnRequest(compare=[fence, *compared], success=together(operations), failure=[get(fence.key), *look])
        answer = await self._client.call(TXN, request, until)
        if not answer.succeeded:
            leader = found(answer)[0]
            if (leader.create_revision if leader is not None else 0) != fence.create_revision:
                self._sent = None
                raise StoreError(faults.not_leader(self._url, leader.value.decode() if leader is not None else ""))
        return answer

    async def _put_parts(self, packed: Packed) -> None:
        for portion in batches(packed.chunks):
            await self._write([put(key, value) for key, value in portion])

    async def _drop_parts(self, packed: Packed, others: Sequence[str] = ()) -> None:
        """Those of documents that have been replaced. Where that fails they take up room, and nothing else."""
        known = self._reader.parts
        names = [*others, *(known.pop(key) for key in packed.heads if key in known)]
        known.update(packed.names)
        if names:
            with suppress(*faults.FAILURES, StoreError):
                await self._write([delete(directory, after(directory)) for directory in map(self._layout.chunks, names)])

    def _until(self) -> float:
        return monotonic() + self._timeout
