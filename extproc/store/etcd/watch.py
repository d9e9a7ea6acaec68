"""What is under a few keys, kept fresh by a watch: every change in its order, across reconnects, by etcd's revisions.

* The beginning is one transaction that reads all ranges at one revision; each range is then watched from the next revision on.
* A stream that broke is resumed, on another node, from the last revision that was seen: nothing is missed, nothing comes twice.
* Where etcd has compacted that revision away, everything is read anew: what was in between is not to be had any more, what counts is.
* A node that has lost sight of the others ends the stream (`hasleader`); one that is silent is asked for a sign of life, and left.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import grpc
import grpc.aio

from extproc.errors import Problem
from extproc.pb.etcd_pb2 import (
    EtcdEvent,
    EtcdKeyValue,
    EtcdTxnRequest,
    EtcdWatchCreateRequest,
    EtcdWatchProgressRequest,
    EtcdWatchRequest,
    EtcdWatchResponse,
)
from extproc.store.etcd import faults
from extproc.store.etcd.address import EtcdAddress
from extproc.store.etcd.client import Client, write
from extproc.store.etcd.requests import TXN, WATCH, get

QUIET: Final = 2.0
"""Seconds of silence after which the node is asked for a sign of life. A controller's heartbeat comes more often."""
SILENT: Final = 3.0
"""Seconds for that sign. A node that stands still is left after 8 s at most, before its watchers withdraw their canary traffic (10 s)."""
LATE: Final = 0.5
"""Seconds; a process that itself stood still for longer judges nobody."""
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 2.0
"""Seconds between attempts, doubled up to this, and drawn between half of it and all of it: five hundred do not come at once."""
LIST_TIMEOUT: Final = 5.0

log = logging.getLogger(__name__)

Changed = Callable[[bytes, "Kept | None", int], None]
"""Of a key: its value (None where it was deleted), and the revision of that."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A key's value."""

    value: bytes
    created: int
    """Revision."""
    changed: int
    """Revision."""


@dataclass(slots=True)
class _Range:
    key: bytes
    end: bytes
    seen: int = 0
    """The last revision of which everything is in the cache."""


class _Compacted(Exception):
    """What comes next cannot be had any more."""


class Watch:
    """The cache. Lives in one event loop; `values` and `problem` may be read from any thread."""

    def __init__(self, address: EtcdAddress, ranges: Sequence[tuple[bytes, bytes]], changed: Changed) -> None:
        """`ranges`: (first key, end) of each; an empty end for one key. `changed` is called in the loop with each change, in order."""
        self._url = address.url
        self._client = Client(address)
        self._ranges = [_Range(key, end) for key, end in ranges]
        self._changed = changed
        self._values: dict[bytes, Kept] = {}
        self._listed = False
        self._task: asyncio.Task[None] | None = None
        self.ready = asyncio.Event()
        self.relists = 0
        """How often everything was read anew."""
        self.reconnects = 0
        self.problem: Problem | None = None
        """Why there is no stream at present."""
        self.lost_at: float | None = None
        """Since when (monotonic)."""
        self._heard = 0
        """Messages."""
        self._silent = False

    @property
    def values(self) -> Mapping[bytes, Kept]:
        """What is under the keys now."""
        return self._values

    def start(self) -> None:
        """Begin; `ready` is set as soon as the cache is full."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """End, and give the connection back."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        await self._client.close()

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            channel: grpc.aio.Channel | None = None
            try:
                if not self._listed:
                    await self._list()
                channel, call = await self._client.stream(WATCH)
                try:
                    await self._begin(call)
                    self._well()
                    pause = FIRST_PAUSE
                    await self._follow(call)
                finally:
                    call.cancel()
            except _Compacted:
                self._listed = False
                continue
            except faults.FAILURES as error:
                self._lost(error)
                if isinstance(error, grpc.RpcError) and faults.wants_token(error):
                    self._client.forget_token()
                if channel is not None:
                    self._client.leave(channel)
            self.reconnects += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _list(self) -> None:
        request = EtcdTxnRequest(success=[get(one.key, one.end) for one in self._ranges])
        answer = await self._client.call(TXN, request, monotonic() + LIST_TIMEOUT)
        new = {kv.key: _kept(kv) for one in answer.responses for kv in one.response_range.kvs}
        for one in self._ranges:
            one.seen = answer.header.revision
        self._listed = True
        self.relists += 1
        for key in [key for key in self._values if key not in new]:
            self._set(key, None, answer.header.revision)
        for key, kept in new.items():
            if self._values.get(key) != kept:
                self._set(key, kept, kept.changed)
        self.ready.set()

    async def _begin(self, call: Any) -> None:
        """Ask for every range, and wait until the node has taken all of it on."""
        for number, one in enumerate(self._ranges, start=1):
            asked = EtcdWatchCreateRequest(key=one.key, range_end=one.end, start_revision=one.seen + 1, watch_id=number)
            await write(call, EtcdWatchRequest(create_request=asked))
        waiting = set(range(1, len(self._ranges) + 1))
        while waiting:
            async with asyncio.timeout(LIST_TIMEOUT):
                answer = await _read(call)
            if answer.created:
                waiting.discard(answer.watch_id)
            self._take(answer)

    async def _follow(self, call: Any) -> None:
        self._silent = False
        guard = asyncio.ensure_future(self._guard(call))
        try:
            while True:
                self._take(await _read(call))
                self._heard += 1
        except asyncio.CancelledError:
            if self._silent:
                raise TimeoutError("the node was silent") from None
            raise
        finally:
            guard.cancel()

    async def _guard(self, call: Any) -> None:
        """Ask for a sign of life where it is quiet, and end the stream where there is none. Beside the reading: that has much to do."""
        asked = False
        while True:
            heard, due = self._heard, monotonic() + (SILENT if asked else QUIET)
            await asyncio.sleep(due - monotonic())
            # Where we are late ourselves the answer may lie in front of us.
            if self._heard != heard or monotonic() > due + LATE:
                asked = False
            elif asked:
                self._silent = True
                call.cancel()
            else:
                asked = True
                # Where that fails the reading knows why.
                with suppress(*faults.FAILURES):
                    await write(call, EtcdWatchRequest(progress_request=EtcdWatchProgressRequest()))

    def _take(self, answer: EtcdWatchResponse) -> None:
        if answer.canceled:
            if answer.compact_revision:
                raise _Compacted
            self._client.forget_token()
            raise TimeoutError(answer.cancel_reason or "the watch was ended")
        # A sign of life has no events, and its revision is not to be relied on: etcd before 3.4.25 may tell one that it has yet to deliver.
        for event in answer.events:
            self._set(event.kv.key, _kept(event.kv) if event.type == EtcdEvent.PUT else None, event.kv.mod_revision)
        if answer.events:
            watched = self._ranges[answer.watch_id - 1]
            watched.seen = max(watched.seen, answer.events[-1].kv.mod_revision)

    def _set(self, key: bytes, kept: Kept | None, revision: int) -> None:
        if kept is None:
            self._values.pop(key, None)
        else:
            self._values[key] = kept
        self._changed(key, kept, revision)

    def _well(self) -> None:
        if self.problem is not None:
            log.info("etcd answers again")
        self.problem, self.lost_at = None, None

    def _lost(self, error: Exception) -> None:
        self.problem = faults.explain(self._url, error)
        if self.lost_at is None:
            self.lost_at = monotonic()
            log.info("the watch of etcd broke, it is taken up again: %s", self.problem.message)


def _kept(kv: EtcdKeyValue) -> Kept:
    return Kept(kv.value, kv.create_revision, kv.mod_revision)


async def _read(call: Any) -> EtcdWatchResponse:
    answer = await call.read()
    if answer is grpc.aio.EOF:  # type: ignore[attr-defined]
        # Raises where the node has said why.
        code, details = await call.code(), await call.details()
        raise TimeoutError(f"the watch ended: {code.name} {details}")
    assert isinstance(answer, EtcdWatchResponse)
    return answer
