"""The access log on an address of a collector that does not lead, on its way to the one that does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from extproc.controller.collector import AccessLogServer
from extproc.controller.relay.outbox import Outbox
from extproc.controller.relay.sender import Sender
from extproc.transport import Address, Security

log = logging.getLogger(__name__)


class Relay:
    """Hears from `start` on, sends from `send` on, until `stop`."""

    def __init__(self, address: Address, security: Security) -> None:
        self._security = security
        self._outbox = Outbox()
        self._server = AccessLogServer(address, self._put, security)
        self._sender: Sender | None = None
        self._sending: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        await self._server.start()

    def send(self, leader: Callable[[], Address | None]) -> None:
        """To whoever leads: where he takes batches at present."""
        self._sender = Sender(self._outbox, leader, self._security)
        self._sending = asyncio.create_task(self._sender.run())

    async def stop(self, patience: float) -> bool:
        """Hear no more; what waits has `patience` seconds to reach the leader. True where all of it was heard there."""
        await self._server.stop()
        if self._sender is None or self._sending is None:
            return not self._outbox.waiting
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        try:
            return await self._sender.finish(patience)
        finally:
            await self._sender.close()

    @property
    def left(self) -> list[bytes]:
        """Messages that no leader is known to have kept, in order."""
        return self._outbox.after(0, most_bytes=1 << 62)[1]

    def _put(self, message: bytes) -> None:
        before = self._outbox.lost
        self._outbox.put(message)
        if self._outbox.lost and not before:
            log.error("no leader has taken outcomes for long, and the oldest give way from now on: look at `extproc status`")
