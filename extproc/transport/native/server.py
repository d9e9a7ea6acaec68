"""The adapter: sockets, TLS and time around `Connection`. uvloop's Protocol gives bytes; nothing here knows HTTP/2."""

from __future__ import annotations

import asyncio
import socket

from extproc.errors import Problem, SettingsError
from extproc.transport.address import Address
from extproc.transport.base import Process
from extproc.transport.native.connection import Connection
from extproc.transport.native.limits import DEFAULT, Limits
from extproc.transport.native.streams import Shared
from extproc.transport.place import Place
from extproc.transport.security import ALPN, PRIVATE, Certificates, Security, guard_socket

BACKLOG = 1024
CONNECTIONS = 1024
"""At once; more are closed unread. Envoy keeps one for each of its threads."""
GREETING = 5
"""Seconds in which TLS must be agreed on, and again until the peer must have said its preface and SETTINGS."""
HIGH_WATER = 1 << 20
"""Bytes in a write buffer above which we stop reading from that peer: a slow reader slows itself down."""
SLOW_READER = 30
"""Seconds after which a peer that reads nothing is cut off."""


class _Adapter(asyncio.Protocol):
    """One connection's socket."""

    def __init__(self, server: NativeServer) -> None:
        self._server = server
        self._transport: asyncio.Transport
        self.connection = Connection(server.shared, asyncio.get_running_loop().time())
        self._behind = server.shared.limits.behind
        self._paused = 0
        self._age = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment] # uvloop's transports are no subclass of asyncio's
        tls = transport.get_extra_info("ssl_object")
        if len(self._server.adapters) >= CONNECTIONS or (tls is not None and tls.selected_alpn_protocol() != ALPN):
            self.connection.closed = True
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self._server.adapters.add(self)
        self._transport.write(self.connection.begin())

    def data_received(self, data: bytes) -> None:
        out = self.connection.receive(data) if len(data) < self._behind else self.connection.receive_late(data)
        if out:
            self._transport.write(out)
        if self.connection.closed:
            self._transport.close()

    def pause_writing(self) -> None:
        self._paused = 1
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._paused = 0
        self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._server.adapters.discard(self)

    def write(self, data: bytes) -> None:
        """What the connection wants to say by itself."""
        if data:
            self._transport.write(data)

    def tick(self, now: float) -> None:
        """Once a second."""
        self.write(self.connection.tick(now))
        self._age += 1
        if self._age > GREETING and not self.connection.greeted:
            self._transport.abort()
        if self._paused or self.connection.closed:
            # Closed by us, and its last words are not read: it does not wait for that for ever.
            self._paused += 1
            if self._paused > SLOW_READER:
                self._transport.abort()

    def close(self) -> None:
        """End now; what was written goes out."""
        self._transport.close()


class NativeServer:
    """ext_proc and grpc.health.v1 on one address, without grpcio: the same promises as `GrpcioServer`."""

    def __init__(self, address: Address, process: Process, security: Security = PRIVATE, limits: Limits = DEFAULT) -> None:
        """Raises SettingsError where certificates cannot be used."""
        self._address = address
        self._security = security
        self._certificates = Certificates(security) if security.certificate else None
        self.shared = Shared(process, limits)
        self.adapters: set[_Adapter] = set()
        self._server: asyncio.Server | None = None
        self._ticking: asyncio.Task[None] | None = None
        self._place = Place(address.path) if address.path else None

    @property
    def errors(self) -> int:
        """Decisions that ended in an exception."""
        return self.shared.errors

    @property
    def shed(self) -> int:
        """Requests that were not decided, because Envoy had given them up when we came to them."""
        return self.shared.shed

    @property
    def faults(self) -> dict[str, int]:
        """Connections that were ended for the peer's fault, by error code of RFC 9113."""
        return self.shared.faults

    async def start(self) -> None:
        """Listen, and say SERVING; raises SettingsError where it cannot listen."""
        loop = asyncio.get_running_loop()
        tls = self._certificates.context if self._certificates is not None else None
        patience = GREETING if tls is not None else None
        try:
            if self._place is not None:
                self._server = await loop.create_unix_server(
                    lambda: _Adapter(self), sock=self._bound(self._place), backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=patience
                )
            else:
                self._server = await loop.create_server(
                    lambda: _Adapter(self),
                    self._address.host,
                    self._address.port,
                    backlog=BACKLOG,
                    ssl=tls,
                    ssl_handshake_timeout=patience,
                )
        except OSError as error:
            hint = "is another process on this address, does its directory not exist, or may we not give the socket away?"
            raise SettingsError(Problem("settings.bind", str(self._address), f"cannot listen: {error}", hint)) from error
        self._ticking = asyncio.create_task(self._tick())
        self.set_serving(True)

    def _bound(self, place: Place) -> socket.socket:
        """A Unix socket that listens before it has its name."""
        place.clear()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            made.bind(str(place.temporary))
            guard_socket(place.temporary, self._security)
            made.listen(BACKLOG)
            place.take()
        except OSError:
            made.close()
            raise
        return made

    def set_serving(self, serving: bool) -> None:
        """What health checks answer; NOT_SERVING makes Envoy choose another worker."""
        if self.shared.serving != serving:
            self.shared.serving = serving
            for adapter in list(self.adapters):
                adapter.write(adapter.connection.health_changed())

    async def stop(self, grace: float) -> None:
        """Take no new connection, drain the open ones for at most `grace` seconds, remove our socket."""
        if not self.succeeded:
            self.set_serving(False)
        if self._server is None:
            return
        self._server.close()
        for adapter in list(self.adapters):
            adapter.write(adapter.connection.drain())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + grace
        while loop.time() < deadline and any(not adapter.connection.idle for adapter in self.adapters):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # One more round trip: the answer to our PING brings the final GOAWAY.
        await asyncio.sleep(min(0.05, grace))
        for adapter in list(self.adapters):
            adapter.close()
        if self._ticking is not None:
            self._ticking.cancel()
        if self._place is not None:
            self._place.leave()

    @property
    def succeeded(self) -> bool:
        """True where another server has taken our socket's name: whoever connects anew meets it, so health need not say that we end."""
        return self._place is not None and self._place.succeeded

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1.0)
            if self._certificates is not None:
                self._certificates.refresh()
            for adapter in list(self.adapters):
                adapter.tick(loop.time())
