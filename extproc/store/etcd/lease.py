"""A lease: what hangs on it is deleted when its holder falls silent. Kept alive in the loop, believed only as long as that is certain."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Final

from extproc.pb.etcd_pb2 import EtcdLeaseGrantRequest, EtcdLeaseKeepAliveRequest, EtcdLeaseRevokeRequest
from extproc.store.etcd import faults
from extproc.store.etcd.client import Client
from extproc.store.etcd.requests import GRANT, KEEP_ALIVE, REVOKE

PARTS: Final = 4
"""Keep-alives in the life of a lease: two may be lost, and the third still comes in time."""
HURRY: Final = 0.1
"""Seconds until the next attempt after one that failed."""


class Lease:
    """One lease after the other; the next one is made when the last has ended."""

    def __init__(self, client: Client, ttl: float) -> None:
        """`ttl`: seconds, whole ones."""
        self._client = client
        self._ttl = ttl
        self._keeping: asyncio.Task[None] | None = None
        self.id = 0
        """0 where there is none."""
        self.ends = 0.0
        """Until then (monotonic) etcd keeps it for certain: counted from before the request that prolonged it was sent."""

    @property
    def alive(self) -> bool:
        """True as long as etcd keeps it for certain."""
        return self.id != 0 and monotonic() < self.ends

    async def ensure(self, until: float) -> int:
        """A living lease's id: the one there was where etcd still has it, else a new one. Raises as Client.call does."""
        if self.id and not self.alive:
            # At one node, so not for all of the time.
            await self._renew(min(until, monotonic() + self._ttl / PARTS))
        if not self.id:
            self._stop()
            sent = monotonic()
            answer = await self._client.call(GRANT, EtcdLeaseGrantRequest(TTL=round(self._ttl)), until)
            self.id, self.ends = answer.ID, sent + answer.TTL
            self._keeping = asyncio.ensure_future(self._keep())
        return self.id

    async def revoke(self, until: float) -> None:
        """Give it back, and what hangs on it; raises as Client.call does, and it then ends by itself."""
        given, self.id = self.id, 0
        self._stop()
        if given:
            await self._client.call(REVOKE, EtcdLeaseRevokeRequest(ID=given), until)

    def forget(self) -> None:
        """It is of no use any more."""
        self.id = 0
        self._stop()

    def _stop(self) -> None:
        if self._keeping is not None and self._keeping is not asyncio.current_task():
            self._keeping.cancel()
        self._keeping = None

    async def _keep(self) -> None:
        # On and on, late or not: only etcd knows that a lease has ended.
        part = self._ttl / PARTS
        while self.id:
            await asyncio.sleep(max(self.ends - (PARTS - 1) * part - monotonic(), HURRY))
            with suppress(*faults.FAILURES):
                await self._renew(monotonic() + part)

    async def _renew(self, until: float) -> None:
        renewed, sent = self.id, monotonic()
        answer = await self._client.ask_stream(KEEP_ALIVE, EtcdLeaseKeepAliveRequest(ID=renewed), until)
        if self.id != renewed:
            return
        if answer.TTL > 0:
            self.ends = sent + answer.TTL
        else:
            self.id = 0
