"""Who leads: the one whose name is under the key `leader`. The key hangs on the leader's lease, and is made where there is none.

A leader that was frozen does not know that it leads no more. So every transaction of a writer compares the revision at which the key
was made (`store`): it fails where the key has gone, or is another one's, or the same name's of another time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Final

from extproc.pb.etcd_pb2 import EtcdCompare, EtcdTxnRequest
from extproc.store.etcd import faults
from extproc.store.etcd.client import Client
from extproc.store.etcd.lease import Lease
from extproc.store.etcd.requests import TXN, created_at, found, get, put
from extproc.store.etcd.thread import LoopThread
from extproc.store.etcd.watch import Kept, Watch

DEFAULT_TTL: Final = 5.0
"""Seconds until a leader that fell silent is replaced."""
LOOK: Final = 0.5
"""Seconds between attempts while somebody else leads, where the watch has not told of the end: the watch itself may be broken."""
ANSWER: Final = 1.0
"""Seconds for one answer, whatever the time for a campaign."""


class EtcdLeadership:
    """One candidate; see `store.base.Leadership` for what its methods promise."""

    def __init__(self, thread: LoopThread, client: Client, watch: Watch, key: bytes, name: str, ttl: float) -> None:
        self.name = name
        self._thread, self._client, self._watch, self._key = thread, client, watch, key
        self._lease = Lease(client, ttl)
        self._free = asyncio.Event()
        self.revision = 0
        """At which our key was made; 0 while we do not lead."""

    def campaign(self, timeout: float) -> bool:
        """Blocks at most `timeout` seconds, and the time of one answer; True where we lead."""
        try:
            return self._thread.call(self._campaign(monotonic() + timeout), timeout + ANSWER)
        except TimeoutError:
            return False

    def held(self) -> bool:
        """True as long as nobody else can lead, by our own clock."""
        return self.revision != 0 and self._lease.alive

    def leader(self) -> str | None:
        """Whoever leads, as far as the watch has told."""
        kept = self._watch.values.get(self._key)
        return kept.value.decode() if kept is not None else None

    def resign(self) -> None:
        """Lead no more; another one may, at once where etcd can be told."""
        self.revision = 0
        with suppress(TimeoutError):
            self._thread.call(self._resign(), ANSWER)

    def fence(self) -> EtcdCompare:
        """True in etcd as long as we lead."""
        return created_at(self._key, self.revision)

    def lost(self) -> None:
        """etcd says that we do not lead."""
        self.revision = 0

    def told(self, kept: Kept | None, revision: int) -> None:
        """The watch saw the key change; called in the loop."""
        if kept is None:
            self._free.set()
        # A watch may be behind, and tell what was before us.
        if 0 < self.revision < revision:
            self.lost()

    async def _campaign(self, until: float) -> bool:
        while not self.held():
            self._free.clear()
            try:
                if await self._attempt(max(until, monotonic() + ANSWER)):
                    return True
            except faults.FAILURES as error:
                # What is wrong with etcd is told by every other use of the store; here it is only a reason to go on.
                if faults.has_no_lease(error):
                    self._lease.forget()
                    continue
            left = until - monotonic()
            if left <= 0:
                return False
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK)):
                    await self._free.wait()
        return True

    async def _attempt(self, until: float) -> bool:
        lease = await self._lease.ensure(until)
        request = EtcdTxnRequest(
            compare=[created_at(self._key, 0)], success=[put(self._key, self.name.encode(), lease)], failure=[get(self._key)]
        )
        answer = await self._client.call(TXN, request, until)
        if answer.succeeded:
            self.revision = answer.header.revision
        else:
            (kv,) = found(answer)
            # Ours where the answer to an earlier attempt was lost, or the lease was only late.
            self.revision = kv.create_revision if kv is not None and kv.lease == lease else 0
        return self.held()

    async def _resign(self) -> None:
        # Where etcd cannot be told, the lease ends by itself.
        with suppress(*faults.FAILURES):
            await self._lease.revoke(monotonic() + ANSWER)
