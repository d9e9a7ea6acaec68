"""What is read from etcd when it is asked for: Specs, Evidence and the Journal. What changes often is watched instead (`watch`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from extproc.domain import JournalEntry
from extproc.errors import Problem, StoreError
from extproc.pb.etcd_pb2 import EtcdKeyValue, EtcdRangeRequest, EtcdTxnRequest
from extproc.store.codec import decode_entry
from extproc.store.etcd.client import Client
from extproc.store.etcd.documents import parts_name, unpack
from extproc.store.etcd.layout import Layout, after
from extproc.store.etcd.requests import MOST_OPERATIONS, RANGE, TXN, found, get

PAGE: Final = 500
"""Entries of the Journal in one answer: a few hundred kB."""


class Reader:
    """Reads what the majority has agreed on. Lives in the loop; raises StoreError, and what Client.call raises."""

    def __init__(self, client: Client, layout: Layout) -> None:
        self._client, self._layout = client, layout
        self.parts: dict[bytes, str] = {}
        """Key of a document of Evidence -> the name of its parts, of those that were seen to have some."""

    async def one(self, name: str, until: float) -> bytes | None:
        """The value of a key."""
        (kv,) = found(await self._client.call(TXN, EtcdTxnRequest(success=[get(self._layout.key(name))]), until))
        return kv.value if kv is not None else None

    async def spec(self, digest: str, until: float) -> str:
        """The document of that digest."""
        key = self._layout.spec(digest)
        answer = await self._client.call(RANGE, EtcdRangeRequest(key=key), until)
        if not answer.kvs:
            raise StoreError(Problem("store.no-spec", digest, "no Spec with this digest was published", "start the controller with it"))
        (text,) = await self._documents(answer.kvs, answer.header.revision, until)
        return text

    async def evidence(self, until: float) -> dict[str, str]:
        """All documents, as they were together at one moment."""
        directory = self._layout.evidence("")
        answer = await self._client.call(RANGE, EtcdRangeRequest(key=directory, range_end=after(directory)), until)
        self.parts |= {kv.key: name for kv in answer.kvs if (name := parts_name(kv.value)) is not None}
        names = [kv.key[len(directory) :].decode() for kv in answer.kvs]
        return dict(zip(names, await self._documents(answer.kvs, answer.header.revision, until), strict=True))

    async def journal(self, rollout: str | None, limit: int, before: int | None, until: float) -> list[JournalEntry]:
        """Newest first. Numbers have no gaps, so a page is a range of numbers."""
        last = await self.one("last", until)
        end = min(before or 1 << 62, last_number(last) + 1)
        entries: list[JournalEntry] = []
        while end > 1 and len(entries) < limit:
            begin = max(1, end - (min(limit - len(entries), PAGE) if rollout is None else PAGE))
            request = EtcdRangeRequest(key=self._layout.journal(begin), range_end=self._layout.journal(end))
            answer = await self._client.call(RANGE, request, until)
            page = (decode_entry(kv.value) for kv in reversed(answer.kvs))
            entries += [entry for entry in page if rollout is None or entry.rollout == rollout]
            end = begin
        return entries[:limit]

    async def _documents(self, heads: Sequence[EtcdKeyValue], revision: int, until: float) -> list[str]:
        """Their texts, with the parts as they were at that revision."""
        names = [name for kv in heads if (name := parts_name(kv.value)) is not None]
        parts: dict[str, list[bytes]] = {}
        for first in range(0, len(names), MOST_OPERATIONS):
            some = names[first : first + MOST_OPERATIONS]
            directories = [self._layout.chunks(name) for name in some]
            request = EtcdTxnRequest(success=[get(one, after(one), revision) for one in directories])
            answer = await self._client.call(TXN, request, until)
            for name, response in zip(some, answer.responses, strict=True):
                parts[name] = [kv.value for kv in response.response_range.kvs]
        return [unpack(kv.key, kv.value, parts.get(parts_name(kv.value) or "", ())) for kv in heads]


def last_number(value: bytes | None) -> int:
    """The number of the Journal's last entry, of what is under the key `last`."""
    return int(orjson.loads(value)["sequence"]) if value is not None else 0


def write_name(kv: EtcdKeyValue | None) -> str:
    """The name of the last commit, of what is under the key `last`."""
    return str(orjson.loads(kv.value)["write"]) if kv is not None else ""
