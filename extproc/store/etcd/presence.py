"""What a process says of itself, for as long as it lives: a key that hangs on a lease of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from time import monotonic
from typing import Final

from extproc.pb.etcd_pb2 import EtcdTxnRequest
from extproc.store.etcd import faults
from extproc.store.etcd.client import Client
from extproc.store.etcd.lease import Lease
from extproc.store.etcd.requests import TXN, put

TTL: Final = 10.0
"""Seconds after which a process that fell silent is not shown any more."""
LOOK: Final = 1.0
"""Seconds between looks at whether the lease lives."""
ANSWER: Final = 2.0


class Present:
    """One such key. Lives in the loop."""

    def __init__(self, client: Client, key: bytes) -> None:
        self._client, self._key = client, key
        self._lease = Lease(client, TTL)
        self._document = b""
        self._written: tuple[int, bytes] | None = None
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def tell(self, document: bytes) -> None:
        """What is said from now on."""
        self._document = document
        self._changed.set()
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Take it away, at once where etcd can be told."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        with suppress(*faults.FAILURES):
            await self._lease.revoke(monotonic() + ANSWER)

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self._write()
            except faults.FAILURES:
                # Its lease may be gone: with the next one everything is written again.
                self._lease.forget()
                await asyncio.sleep(LOOK)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await self._changed.wait()

    async def _write(self) -> None:
        wanted = await self._lease.ensure(monotonic() + ANSWER), self._document
        if wanted != self._written:
            await self._client.call(TXN, EtcdTxnRequest(success=[put(self._key, wanted[1], wanted[0])]), monotonic() + ANSWER)
            self._written = wanted
