"""Envoy's access log (gRPC ALS) -> outcomes. One stream per Envoy worker; a bad message costs itself alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence

import grpc
from google.protobuf.message import DecodeError

from extproc import contract, wire
from extproc.domain import Mirrored, Outcome, Undecided
from extproc.transport import PRIVATE, Address, Security, beyond
from extproc.transport.grpcio import start_on
from extproc.transport.place import Place

Receive = Callable[[Sequence[Outcome], Sequence[Undecided], Sequence[Mirrored]], None]
"""(outcomes, ends of requests without an assignment, copies of requests)."""
_OPTIONS = (("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 16 << 20))

log = logging.getLogger(__name__)


class Collector:
    """The access-log service on one address."""

    def __init__(self, address: Address, receive: Receive, security: Security = PRIVATE) -> None:
        """`security`: of a port that a network reaches; its files are read again when they change."""
        self._address = address
        self._security = beyond(address, security)
        self._receive = receive
        self._server: grpc.aio.Server | None = None
        self._place: Place | None = None
        self.streams = 0
        """Access-log streams that are open now."""
        self.bad_messages = 0

    async def start(self) -> None:
        """Listen; raises SettingsError where that is not possible."""
        self._server = server = grpc.aio.server(options=_OPTIONS)
        server.add_generic_rpc_handlers((_Method(self._on_stream),))
        self._place = await start_on(server, self._address, self._security)

    async def stop(self) -> None:
        """Close open streams, remove our own socket; Envoy drops what it cannot send."""
        if self._server is not None:
            await self._server.stop(0.2)
        if self._place is not None:
            self._place.leave()

    async def _on_stream(self, messages: AsyncIterator[bytes], _context: object) -> bytes:
        self.streams += 1
        try:
            async for message in messages:
                try:
                    heard = wire.read_outcomes(message)
                except (DecodeError, ValueError, OverflowError) as error:
                    self.bad_messages += 1
                    # Never the text of the error: it quotes the message.
                    said = (
                        "an access-log message of %d bytes was dropped (%s); is this Envoy newer than extproc knows? `extproc doctor` looks"
                    )
                    log.error(said, len(message), type(error).__name__)
                    continue
                self._receive(*heard)
        finally:
            self.streams -= 1
        return b""


class _Method(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def __init__(self, on_stream: Callable[[AsyncIterator[bytes], object], object]) -> None:
        self._handler = grpc.stream_unary_rpc_method_handler(on_stream)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        return self._handler if handler_call_details.method == contract.ACCESS_LOG_METHOD else None
