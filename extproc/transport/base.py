"""What a router needs of a transport, and the two that keep that promise."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Protocol

from extproc.transport.address import Address
from extproc.transport.security import PRIVATE, Security

Process = Callable[[bytes], bytes | None]
"""The bytes of a message in, the bytes of its reply out; None where there is none. An exception ends that stream alone."""


class TransportName(StrEnum):
    """How gRPC is spoken: `native` is ours and fast, `grpcio` is the reference."""

    NATIVE = "native"
    GRPCIO = "grpcio"


class Server(Protocol):
    """ext_proc and grpc.health.v1 on one address."""

    @property
    def errors(self) -> int:
        """Decisions that ended in an exception."""

    @property
    def shed(self) -> int:
        """Requests that were not decided, because Envoy had given them up when we came to them."""

    @property
    def faults(self) -> dict[str, int]:
        """Connections that were ended for the peer's fault, by error code of RFC 9113; empty where the transport does not say."""

    @property
    def succeeded(self) -> bool:
        """True where another server has taken our socket's name: whoever connects anew meets it."""

    async def start(self) -> None:
        """Listen, and say SERVING; raises SettingsError where it cannot listen."""

    def set_serving(self, serving: bool) -> None:
        """What health checks answer; NOT_SERVING makes Envoy choose another worker."""

    async def stop(self, grace: float) -> None:
        """Refuse new streams, give open ones `grace` seconds, remove our own socket."""


def make_server(name: TransportName, address: Address, process: Process, security: Security = PRIVATE) -> Server:
    """The server of a transport. Imported when chosen: grpcio costs a worker 20 MB that the native transport does not need."""
    if name is TransportName.NATIVE:
        from extproc.transport.native import NativeServer

        return NativeServer(address, process, security)
    from extproc.transport.grpcio import GrpcioServer

    return GrpcioServer(address, process, security)
