"""Sends what waits in an outbox to whoever leads, until it is kept there."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Final

import grpc

from extproc import contract, wire
from extproc.controller.relay.outbox import Outbox
from extproc.transport import PRIVATE, Address, Security
from extproc.transport.channel import open_channel

IDLE: Final = 0.05
"""Seconds until we look again where nothing waits: a share of what a fault may take until it is known."""
ASK_EVERY: Final = 0.5
"""Seconds after which we ask what has been kept, where nothing new is to be told."""
PATIENCE: Final = 3.0
"""Seconds that a leader has for an answer."""
RETRY: Final = 0.25
"""Seconds until a leader that does not answer is asked again."""

log = logging.getLogger(__name__)


class Sender:
    """One life of one collector that does not lead."""

    def __init__(self, outbox: Outbox, leader: Callable[[], Address | None], security: Security = PRIVATE) -> None:
        """`leader`: where the one who leads takes batches at present; None where nobody does."""
        self._outbox = outbox
        self._leader = leader
        self._security = security
        self._name = secrets.token_hex(8)
        self._life = ""
        self._taken = 0
        self._channel: grpc.aio.Channel | None = None
        self._to: Address | None = None
        self._silent = False

    async def run(self) -> None:
        """Send, until cancelled."""
        loop = asyncio.get_running_loop()
        asked = 0.0
        while True:
            batch = self._next()
            due = loop.time() - asked >= ASK_EVERY and self._outbox.waiting
            if not batch.messages and not due:
                await asyncio.sleep(IDLE)
                continue
            asked = loop.time()
            if not await self._told(batch):
                await asyncio.sleep(RETRY)

    async def finish(self, timeout: float) -> bool:
        """Send what waits until the leader has heard all of it; False where that did not come to pass in `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                while self._taken < self._outbox.last:
                    if not await self._told(self._next()):
                        await asyncio.sleep(RETRY)
        except TimeoutError:
            return False
        return True

    async def close(self) -> None:
        """Give back the connection."""
        if self._channel is not None:
            await self._channel.close(None)
            self._channel = None

    def _next(self) -> wire.Relayed:
        first, messages = self._outbox.after(self._taken)
        return wire.Relayed(self._name, self._life, first, messages)

    async def _told(self, batch: wire.Relayed) -> bool:
        to = self._leader()
        if to is None:
            return False
        if to != self._to or self._channel is None:
            await self.close()
            self._channel, self._to = open_channel(to, self._security), to
        call = self._channel.unary_unary(contract.RELAY_METHOD, wire.write_relayed, wire.read_taken)
        try:
            answer = await call(batch, timeout=PATIENCE)
        except (grpc.aio.AioRpcError, ValueError) as error:
            if not self._silent:
                reason = error.code().name if isinstance(error, grpc.aio.AioRpcError) else str(error)
                log.warning("%s does not take outcomes (%s); they wait here until it, or another leader, does", to, reason)
            self._silent = True
            return False
        self._silent = False
        self._outbox.forget(answer.kept)
        # Another leader hears again whatever its predecessor is not known to have kept.
        self._taken = max(self._taken if answer.life == self._life else self._outbox.kept, answer.taken)
        self._life = answer.life
        return True
