"""The reference transport: grpc.aio. Correct and slow (about 160 us of CPU for a stream, thirty times the native one); see docs/adr.

One ext_proc stream is one HTTP request of a client. Each message is answered in order by the same `process`; an exception in one
decision ends that stream alone with INTERNAL, so that Envoy serves stable, and is counted.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import grpc

from extproc import contract
from extproc.errors import Problem, SettingsError
from extproc.transport.address import Address
from extproc.transport.base import Process
from extproc.transport.place import Place
from extproc.transport.security import PRIVATE, Security, Watched, guard_socket, make_context

log = logging.getLogger(__name__)

SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
"""grpc.health.v1.HealthCheckResponse: field 1, the status as a varint."""
Option = tuple[str, int]
_OPTIONS: Final[tuple[Option, ...]] = (("grpc.max_receive_message_length", 1 << 20), ("grpc.max_concurrent_streams", 4096))


class GrpcioServer:
    """ext_proc and grpc.health.v1 on one address."""

    def __init__(self, address: Address, process: Process, security: Security = PRIVATE) -> None:
        self._address = address
        self._security = security
        self._process = process
        self._listener = Listener(
            {
                contract.PROCESS_METHOD: grpc.stream_stream_rpc_method_handler(self._on_process),
                contract.HEALTH_CHECK_METHOD: grpc.unary_unary_rpc_method_handler(self._on_check),
                contract.HEALTH_WATCH_METHOD: grpc.unary_stream_rpc_method_handler(self._on_watch),
            },
            _OPTIONS,
        )
        self._serving = False
        self._health_changed = asyncio.Event()
        self.errors = 0
        """Decisions that ended in an exception."""
        self.shed = 0
        """grpcio does not say what it has forgotten."""
        self.faults: dict[str, int] = {}
        """grpcio does not say why it ends connections."""

    async def start(self) -> None:
        """Listen, and say SERVING."""
        await self._listener.start(self._address, self._security)
        self.set_serving(True)

    def set_serving(self, serving: bool) -> None:
        """What health checks answer; NOT_SERVING makes Envoy choose another worker."""
        self._serving = serving
        self._health_changed.set()
        self._health_changed = asyncio.Event()

    @property
    def succeeded(self) -> bool:
        """Never known here: it drains as if nobody followed."""
        return False

    async def stop(self, grace: float) -> None:
        """Refuse new streams, give open ones `grace` seconds, remove our own socket."""
        self.set_serving(False)
        await self._listener.stop(grace)

    # -- methods ------------------------------------------------------------------------------------------------------------
    async def _on_process(self, messages: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> None:  # type: ignore[type-arg]
        async for message in messages:
            try:
                reply = self._process(message)
            except Exception:
                self.errors += 1
                await context.abort(grpc.StatusCode.INTERNAL, "the decision failed")
            if reply is not None:
                await context.write(reply)

    async def _on_check(self, _request: bytes, _context: grpc.aio.ServicerContext) -> bytes:  # type: ignore[type-arg]
        return SERVING if self._serving else NOT_SERVING

    async def _on_watch(self, _request: bytes, context: grpc.aio.ServicerContext) -> None:  # type: ignore[type-arg]
        while True:
            changed = self._health_changed
            await context.write(SERVING if self._serving else NOT_SERVING)
            await changed.wait()


class Listener:
    """A server of grpc.aio on one address, from `start` to `stop`; messages stay bytes."""

    def __init__(self, methods: Mapping[str, grpc.RpcMethodHandler], options: Sequence[Option]) -> None:  # type: ignore[type-arg]
        """`methods`: by path. `options`: grpcio's own."""
        self._methods = _Methods(methods)
        # Two processes on one address would each get a share of the connections, and neither would know.
        self._options = (("grpc.so_reuseport", 0), *options)
        self._server: grpc.aio.Server | None = None
        self._place: Place | None = None

    async def start(self, address: Address, security: Security = PRIVATE) -> None:
        """Listen; raises SettingsError where that is not possible."""
        self._server = server = grpc.aio.server(options=self._options)
        server.add_generic_rpc_handlers((self._methods,))
        self._place = await _start_on(server, address, security)

    async def stop(self, grace: float) -> None:
        """Refuse new streams, give open ones `grace` seconds, remove our own socket; nothing where it does not listen."""
        if self._server is not None:
            await self._server.stop(grace)
        if self._place is not None:
            self._place.leave()


class _Methods(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    def __init__(self, methods: Mapping[str, grpc.RpcMethodHandler]) -> None:  # type: ignore[type-arg]
        self._methods = methods

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:  # type: ignore[type-arg]
        return self._methods.get(handler_call_details.method)


async def _start_on(server: grpc.aio.Server, address: Address, security: Security = PRIVATE) -> Place | None:
    """Start a server on an address; raises SettingsError where it cannot listen.

    Returns the name of a Unix socket, which is the caller's to `leave` when the server has stopped; None for HOST:PORT.
    """
    try:
        if not address.path:
            _bind(server, f"{address.host}:{address.port}", security)
            await server.start()
            return None
        place = Place(address.path)
        place.clear()
        _bind(server, f"unix:{place.temporary}", security)
        await server.start()
        guard_socket(place.temporary, security)
        place.take()
    except (RuntimeError, OSError) as error:
        hint = "is another process on this address, does its directory not exist, or may we not give the socket away?"
        raise SettingsError(Problem("settings.bind", str(address), f"cannot listen: {error}", hint)) from error
    return place


def _bind(server: grpc.aio.Server, address: str, security: Security) -> None:
    if not security.certificate:
        server.add_insecure_port(address)
        return
    watched = Watched(security)

    def changed() -> grpc.ServerCertificateConfiguration:
        """Asked by grpcio before each handshake; None keeps what there is (its stubs do not know that)."""
        return _usable(security) if watched.changed() else None  # type: ignore[return-value]

    first = _usable(security)
    if first is None:
        raise SettingsError(Problem("settings.tls", security.certificate, "certificates cannot be used"))
    server.add_secure_port(address, grpc.dynamic_ssl_server_credentials(first, changed, bool(security.client_ca)))


def _usable(security: Security) -> grpc.ServerCertificateConfiguration | None:
    """The files as they are now; None where they do not belong together."""
    try:
        make_context(security)
        authorities = Path(security.client_ca).read_bytes() if security.client_ca else None
        chain = Path(security.certificate).read_bytes()
        return grpc.ssl_server_certificate_configuration([(Path(security.key).read_bytes(), chain)], authorities)
    except (OSError, ssl.SSLError) as error:
        log.error("%s cannot be used (%s); the last good certificates stay: look at the files", security.certificate, error)
        return None
