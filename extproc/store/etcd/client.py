"""Calls to etcd: one connection at a time, to the next node when this one is of no use. Lives in one event loop.

* Every request that we send may be sent twice: it writes absolute values, and compares what it depends on. So a call goes on with the
  next node after any failure of the way, until its time is over.
* Files (authorities, certificate, key, password) are read for each connection and each token: a rotation needs no restart.
* A token of etcd's ends after a while, and whenever users are changed: it is fetched again, and the call goes on.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from time import monotonic
from typing import Any, Final, cast

import grpc
import grpc.aio
from google.protobuf.message import Message

from extproc.store.etcd import faults
from extproc.store.etcd.address import LONGEST_TIMEOUT, EtcdAddress
from extproc.store.etcd.requests import AUTHENTICATE, Method, Q, R

PAUSE: Final = 0.05
"""Seconds between a failure and the next node: an election among etcd's nodes takes about a second, and is not to be hammered."""
SHORTEST_TRY: Final = 0.2
LONGEST_TRY: Final = 2.0
"""Seconds that one node gets where there are others, and half of the time that is left: one that is frozen answers nothing at all."""
GRACE: Final = 2 * LONGEST_TIMEOUT
"""Seconds for the calls of others on a connection that is given up: more than any has, because to end one looks to its caller as if it
had itself been cancelled."""
AUTHENTICATION: Final = 5.0
"""Seconds for a password before a stream: etcd checks it slowly on purpose."""
_OPTIONS: Final = (
    # A connection of its own for each client: the common pool would hand a new one the old one's waiting time.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # etcd refuses more than one ping in five seconds, and those of a connection without calls.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.max_receive_message_length", -1),
)


class Client:
    """Calls and streams to one of etcd's nodes."""

    def __init__(self, address: EtcdAddress) -> None:
        self._address = address
        # Five hundred watchers do not all begin with the first node.
        self._at = random.randrange(len(address.endpoints))
        self._channel: grpc.aio.Channel | None = None
        self._token = ""
        self._left: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        """Connections that were given up, while others may still use them."""

    async def call(self, method: Method[Q, R], request: Q, until: float) -> R:
        """The answer; raises grpc.RpcError, OSError or TimeoutError. `until`: monotonic seconds."""
        renewed = False
        while True:
            channel = self.channel()
            try:
                return await self._once(channel, method, request, self._share(until))
            except grpc.aio.AioRpcError as error:
                if faults.wants_token(error) and not renewed:
                    self._token, renewed = "", True
                    continue
                if not faults.goes_elsewhere(error):
                    raise
                self.leave(channel)
                if monotonic() + PAUSE >= until:
                    raise
            except grpc.aio.UsageError:
                # Another call has given this connection up in the meantime.
                if monotonic() + PAUSE >= until:
                    raise TimeoutError("the connection was given up") from None
            await asyncio.sleep(PAUSE)

    async def stream(self, method: Method[Q, R]) -> tuple[grpc.aio.Channel, Any]:
        """A stream of requests and answers, and its connection. It ends where this node loses sight of the others."""
        channel = self.channel()
        metadata = (*await self._metadata(channel, monotonic() + AUTHENTICATION), ("hasleader", "true"))
        opened = channel.stream_stream(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=method.response.FromString
        )
        return channel, cast(Any, opened)(metadata=metadata)

    async def ask_stream(self, method: Method[Q, R], request: Q, until: float) -> R:
        """The one answer to the one request of a stream; raises as `call` does."""
        channel = self.channel()
        try:
            metadata = await self._metadata(channel, until)
            opened = channel.stream_stream(
                method.path, request_serializer=method.request.SerializeToString, response_deserializer=method.response.FromString
            )
            call = cast(Any, opened)(metadata=metadata, timeout=max(until - monotonic(), 0.001))
            try:
                await write(call, request)
                answer = await call.read()
                if answer is grpc.aio.EOF:  # type: ignore[attr-defined]
                    raise TimeoutError("the stream ended without an answer")
                return cast(R, answer)
            finally:
                call.cancel()
        except grpc.aio.AioRpcError as error:
            if faults.wants_token(error):
                self._token = ""
            if faults.goes_elsewhere(error):
                self.leave(channel)
            raise
        except grpc.aio.UsageError:
            raise TimeoutError("the connection was given up") from None

    def channel(self) -> grpc.aio.Channel:
        """The present connection; raises OSError where a file cannot be read."""
        if self._channel is None:
            endpoint = self._address.endpoints[self._at]
            if self._address.tls:
                files = (self._address.ca, self._address.key, self._address.cert)
                credentials = grpc.ssl_channel_credentials(*map(_read, files))
                self._channel = grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
        return self._channel

    def leave(self, channel: grpc.aio.Channel) -> None:
        """Go to the next node, unless somebody else has already left this connection."""
        if self._channel is not channel:
            return
        self._channel = None
        self._at = (self._at + 1) % len(self._address.endpoints)
        task = asyncio.ensure_future(channel.close(GRACE))
        self._left[task] = channel
        task.add_done_callback(lambda ended: self._left.pop(ended, None))

    def forget_token(self) -> None:
        """Fetch a new one for the next call."""
        self._token = ""

    async def close(self) -> None:
        """Give the connection back, and those that others were still using."""
        for task, channel in list(self._left.items()):
            task.cancel()
            await channel.close(None)
        if self._channel is not None:
            await self._channel.close(None)

    def _share(self, until: float) -> float:
        left = max(until - monotonic(), 0.001)
        return left if len(self._address.endpoints) == 1 else min(left, max(left / 2, SHORTEST_TRY), LONGEST_TRY)

    async def _once(self, channel: grpc.aio.Channel, method: Method[Q, R], request: Q, seconds: float) -> R:
        metadata = await self._metadata(channel, monotonic() + seconds)
        return await self._unary(channel, method, request, seconds, metadata)

    async def _metadata(self, channel: grpc.aio.Channel, until: float) -> tuple[tuple[str, str], ...]:
        if not self._address.user:
            return ()
        if not self._token:
            password = (_read(self._address.password_file) or b"").decode().rstrip("\n")
            asked = AUTHENTICATE.request(name=self._address.user, password=password)
            self._token = (await self._unary(channel, AUTHENTICATE, asked, max(until - monotonic(), 0.001), ())).token
        return (("token", self._token),)

    @staticmethod
    async def _unary(
        channel: grpc.aio.Channel, method: Method[Q, R], request: Q, seconds: float, metadata: tuple[tuple[str, str], ...]
    ) -> R:
        call = channel.unary_unary(
            method.path, request_serializer=method.request.SerializeToString, response_deserializer=method.response.FromString
        )
        return cast(R, await call(request, timeout=seconds, metadata=metadata))


async def write(call: Any, request: Message) -> None:
    """Send something into a stream; raises grpc.RpcError, or TimeoutError where the stream has ended."""
    try:
        await call.write(request)
    except asyncio.InvalidStateError:
        raise TimeoutError("the stream has ended") from None


def _read(file: Path | None) -> bytes | None:
    return file.read_bytes() if file is not None else None
