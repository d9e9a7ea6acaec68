"""Envoy's access log (gRPC ALS), heard on one address: one stream per Envoy worker; and what a leader hears of it, as outcomes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import grpc
from google.protobuf.message import DecodeError

from extproc import contract, wire
from extproc.domain import Mirrored, Outcome, Undecided
from extproc.transport import PRIVATE, Address, Security, beyond
from extproc.transport.grpcio import Listener

Receive = Callable[[Sequence[Outcome], Sequence[Undecided], Sequence[Mirrored]], None]
"""(outcomes, ends of requests without an assignment, copies of requests)."""
Take = Callable[[bytes], None]
"""One access-log message as it came."""
GRACE: Final = 0.2
"""Seconds that open streams have when we stop: they would never end by themselves."""

log = logging.getLogger(__name__)


class AccessLogServer:
    """The access-log service on one address; messages stay bytes."""

    def __init__(self, address: Address, take: Take, security: Security = PRIVATE, relays: Callable[[bytes], bytes] | None = None) -> None:
        """`security`: of a port that a network reaches; its files are read again when they change. `relays`: answers batches of collectors
        that do not lead; raises ValueError for what is none."""
        self._address = address
        self._take = take
        self._security = beyond(address, security)
        self._relays = relays
        self._listener = Listener(
            {
                contract.ACCESS_LOG_METHOD: grpc.stream_unary_rpc_method_handler(self._on_stream),
                contract.RELAY_METHOD: grpc.unary_unary_rpc_method_handler(self._on_relayed),
            },
            (("grpc.max_receive_message_length", 16 << 20),),
        )
        self.streams = 0
        """Access-log streams that are open now."""

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        await self._listener.start(self._address, self._security)

    async def stop(self) -> None:
        """Close open streams, remove our own socket; Envoy drops what it cannot send."""
        await self._listener.stop(GRACE)

    async def _on_stream(self, messages: AsyncIterator[bytes], _context: object) -> bytes:
        self.streams += 1
        try:
            async for message in messages:
                self._take(message)
        finally:
            self.streams -= 1
        return b""

    async def _on_relayed(self, batch: bytes, context: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
        if self._relays is None:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "this one does not lead")
        try:
            return self._relays(batch)
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


class Collector:
    """The access log as outcomes; a bad message costs itself alone."""

    def __init__(
        self, address: Address, receive: Receive, security: Security = PRIVATE, relays: Callable[[bytes], bytes] | None = None
    ) -> None:
        """`relays`: see `AccessLogServer`."""
        self._receive = receive
        self._server = AccessLogServer(address, self.take, security, relays)
        self.bad_messages = 0

    @property
    def streams(self) -> int:
        """Access-log streams that are open now."""
        return self._server.streams

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        await self._server.start()

    async def stop(self) -> None:
        """Close open streams, remove our own socket."""
        await self._server.stop()

    def take(self, message: bytes) -> None:
        """One access-log message, from Envoy or from a relay."""
        try:
            heard = wire.read_outcomes(message)
        except (DecodeError, ValueError, OverflowError) as error:
            self.bad_messages += 1
            # Never the text of the error: it quotes the message.
            said = "an access-log message of %d bytes was dropped (%s); is this Envoy newer than extproc knows? `extproc doctor` looks"
            log.error(said, len(message), type(error).__name__)
            return
        self._receive(*heard)
