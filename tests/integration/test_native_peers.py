"""The transports as other peers meet them, over real sockets: grpcio's client, `h2` and hand-made frames, nghttp2's tools."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import grpc
import pytest
import uvloop
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded, StreamReset

from extproc import contract
from extproc.demo.processes import free_port
from extproc.transport import Server, TransportName, make_server, parse_address
from extproc.transport.native import frames
from extproc.transport.native import server as native
from extproc.transport.native.errors import Code
from extproc.transport.native.frames import END_HEADERS, END_STREAM, frame, rst_stream, window_update
from extproc.transport.native.grpc import FOREIGN_BODY
from extproc.transport.native.limits import DEFAULT
from tests.support.h2peer import HEADERS, block, data, grpc_message, headers
from tests.unit.test_native import CONNECTION_FAULTS, STREAM_FAULTS

BOTH = pytest.mark.parametrize("transport", list(TransportName))
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"
PREFACE = frames.PREFACE + frame(frames.SETTINGS, 0, 0) + frame(frames.SETTINGS, frames.ACK, 0)
PING = frame(frames.PING, 0, 0, b"are you?")
PATIENCE = 60.0
"""Seconds for what comes at once on a machine at rest."""


def process(message: bytes) -> bytes | None:
    """Stands for the Processor: what it does depends on the message's first word."""
    if message.startswith(b"bad"):
        raise ValueError(message)
    if message.startswith(b"look"):
        return None
    if message.startswith(b"long"):
        return b"y" * 300
    return b"re:%d:" % len(message) + message[:20]


@asynccontextmanager
async def serving(address: str, transport: TransportName = TransportName.NATIVE) -> AsyncIterator[Server]:
    """A server of this transport on this loop."""
    server = make_server(transport, parse_address(address), process)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(0.1)


def run(work: Coroutine[Any, Any, Any]) -> None:
    """One test on a loop of its own, as a worker has it."""

    async def whole() -> None:
        try:
            await asyncio.wait_for(work, 150)
        finally:
            for wire in Wire.opened:
                await wire.close()
            Wire.opened.clear()

    uvloop.run(whole())


@pytest.fixture
def address(tmp_path: Path) -> str:
    """A Unix socket."""
    return f"unix:{tmp_path}/s.sock"


async def eventually(what: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until it is so."""
    async with asyncio.timeout(seconds):
        while not what():
            await asyncio.sleep(0.01)


# -------------------------------------------------------------------------------------------------------------- grpcio's client
async def ask(channel: grpc.aio.Channel, message: bytes, **options: Any) -> list[bytes]:
    """One decision as Envoy wants it: the first reply, and then no more of that stream. Raises AioRpcError."""
    call = channel.stream_stream(contract.PROCESS_METHOD)(timeout=PATIENCE, **options)
    await call.write(message)
    reply = await call.read()
    call.cancel()
    return [reply]


async def seen(answer: Awaitable[list[bytes]]) -> tuple[str, list[bytes], bool]:
    """What a client can tell of a stream: status, replies, whether the status says why."""
    try:
        return grpc.StatusCode.OK.name, await answer, False
    except grpc.RpcError as error:
        return error.code().name, [], bool(error.details())


async def whole(channel: grpc.Channel, messages: Sequence[bytes], method: str, timeout: float = PATIENCE, **options: Any) -> list[bytes]:
    """A stream from its first message to its last reply; raises RpcError.

    By grpcio's synchronous client: the asynchronous one takes its own late writes for an error of the stream.
    """
    call = channel.stream_stream(method)
    return await asyncio.to_thread(lambda: list(call(iter(messages), timeout=timeout, **options)))


ASKED: dict[str, tuple[tuple[bytes, ...], dict[str, Any], tuple[str, list[bytes]]]] = {
    "a decision": ((b"hello",), {}, ("OK", [b"re:5:hello"])),
    "an empty message": ((b"",), {}, ("OK", [b"re:0:"])),
    "observed, never answered": ((b"look", b"look again"), {}, ("OK", [])),
    "observed twice, then decided": ((b"look", b"look again", b"hello"), {}, ("OK", [b"re:5:hello"])),
    "no message": ((), {}, ("OK", [])),
    "an exception": ((b"bad",), {}, ("INTERNAL", [])),
    "an exception after an observation": ((b"look", b"bad"), {}, ("INTERNAL", [])),
    "an unknown method": ((b"hello",), {"method": "/some.Other/Method"}, ("UNIMPLEMENTED", [])),
    "another method of the service": ((b"hello",), {"method": contract.PROCESS_METHOD + "2"}, ("UNIMPLEMENTED", [])),
    "health": ((b"",), {"method": contract.HEALTH_CHECK_METHOD}, ("OK", [SERVING])),
    "health of a service by name": ((b"\x0a\x01x",), {"method": contract.HEALTH_CHECK_METHOD}, ("OK", [SERVING])),
    "300 KB": ((b"m" * 300_000,), {}, ("OK", [b"re:300000:" + b"m" * 20])),
    "5 bytes below the limit": ((b"m" * (DEFAULT.message - 5),), {}, ("OK", [b"re:%d:" % (DEFAULT.message - 5) + b"m" * 20])),
    "the limit": ((b"m" * DEFAULT.message,), {}, ("OK", [b"re:%d:" % DEFAULT.message + b"m" * 20])),
    "a byte more than the limit": ((b"m" * (DEFAULT.message + 1),), {}, ("RESOURCE_EXHAUSTED", [])),
    "metadata": ((b"hello",), {"metadata": [("x-trace", "1"), ("x-bin", b"\0\xff")]}, ("OK", [b"re:5:hello"])),
    # Between 8 and 16 KB grpcio's server refuses by chance.
    "6 KB of metadata": ((b"hello",), {"metadata": [("x-much", "v" * 6_000)]}, ("OK", [b"re:5:hello"])),
}


@BOTH
@pytest.mark.parametrize("name", ASKED)
def test_grpcios_client_sees_the_same_on_both_transports(name: str, transport: TransportName, address: str) -> None:
    """One table: status, replies, and a sentence with every status that is not OK; the next stream is decided as ever."""
    messages, options, (code, replies) = ASKED[name]

    method = options.get("method", contract.PROCESS_METHOD)
    metadata = options.get("metadata")

    async def work() -> None:
        async with serving(address, transport):
            with grpc.insecure_channel(address) as channel:
                assert await seen(whole(channel, messages, method, metadata=metadata)) == (code, replies, code != "OK")
                assert await seen(whole(channel, [b"next"], contract.PROCESS_METHOD)) == ("OK", [b"re:4:next"], False)

    run(work())


@BOTH
def test_an_exception_ends_its_stream_alone_among_200(transport: TransportName, address: str) -> None:
    """200 streams at once over one connection, every tenth fails: INTERNAL for those, the answer of its own for each other, counted."""

    async def work() -> None:
        async with serving(address, transport) as server, grpc.aio.insecure_channel(address) as channel:
            words = [b"bad" if number % 10 == 0 else b"m%d" % number for number in range(200)]
            found = await asyncio.gather(*(seen(ask(channel, word)) for word in words))
            for word, (code, replies, _) in zip(words, found, strict=True):
                assert (code, replies) == (("INTERNAL", []) if word == b"bad" else ("OK", [b"re:%d:" % len(word) + word]))
            assert server.errors == 20

    run(work())


@BOTH
def test_cancelled_streams_and_deadlines_leave_nothing(transport: TransportName, address: str) -> None:
    """Cancelled before a message, after one that has no answer, and by deadline: the connection goes on, nothing is held."""

    async def work() -> None:
        async with serving(address, transport) as server, grpc.aio.insecure_channel(address) as channel:
            method = channel.stream_stream(contract.PROCESS_METHOD)
            calls = [method(timeout=1.5 if number < 20 else PATIENCE) for number in range(60)]
            await asyncio.gather(*(call.write(b"look") for call in calls[:40]))
            assert all(call.cancel() for call in calls[20:])
            assert {await call.code() for call in calls[:20]} == {grpc.StatusCode.DEADLINE_EXCEEDED}
            assert {await call.code() for call in calls[20:]} == {grpc.StatusCode.CANCELLED}
            assert await ask(channel, b"hello") == [b"re:5:hello"]
            if isinstance(server, native.NativeServer):
                (adapter,) = server.adapters
                await eventually(lambda: not adapter.connection._streams)

    run(work())


@BOTH
def test_a_stream_with_time_left_may_wait(transport: TransportName, address: str) -> None:
    """Begun with its connection, silent while the server's clock ticks for the first time: answered as ever."""

    async def work() -> None:
        async with serving(address, transport), grpc.aio.insecure_channel(address) as channel:
            call = channel.stream_stream(contract.PROCESS_METHOD)(timeout=PATIENCE)
            await call.write(b"look")
            await asyncio.sleep(1.3)
            await call.write(b"hello")
            assert await call.read() == b"re:5:hello"
            call.cancel()

    run(work())


@BOTH
def test_watch_tells_every_change_and_ends_with_the_server(transport: TransportName, address: str) -> None:
    """SERVING, NOT_SERVING, SERVING as it happens; it never ends by itself, and a drain ends it."""

    async def work() -> None:
        async with serving(address, transport) as server, grpc.aio.insecure_channel(address) as channel:
            watch = channel.unary_stream(contract.HEALTH_WATCH_METHOD)(b"")
            assert await watch.read() == SERVING
            for serves in (False, True):
                server.set_serving(serves)
                assert await asyncio.wait_for(watch.read(), PATIENCE) == (SERVING if serves else NOT_SERVING)
            check = channel.unary_unary(contract.HEALTH_CHECK_METHOD)
            assert await check(b"") == SERVING
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(watch.code()), 0.2)
            stopping = asyncio.create_task(server.stop(0.2))
            rest: list[object] = [await watch.read()]
            while rest[-1] is not grpc.aio.EOF:
                rest.append(await watch.read())
            assert rest in ([NOT_SERVING, grpc.aio.EOF], [grpc.aio.EOF])
            await stopping

    async def ended() -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await work()
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)

    run(ended())


def test_compressed_messages_are_refused_by_the_native_transport(address: str) -> None:
    """UNIMPLEMENTED, as the gRPC specification wants it of a server that knows no compression; grpcio itself would unpack."""

    async def work() -> None:
        async with serving(address), grpc.aio.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
            code, replies, told = await seen(ask(channel, b"m" * 5_000))
            assert (code, replies, told) == ("UNIMPLEMENTED", [], True)
            assert await seen(ask(channel, b"tiny", compression=grpc.Compression.NoCompression)) == ("OK", [b"re:4:tiny"], False)

    run(work())


def test_the_native_transport_ends_a_stream_with_its_first_answer(address: str) -> None:
    """ext_proc has one decision per stream here; what the client sent after it is discarded, and that is no error for it."""

    async def work() -> None:
        async with serving(address) as server:
            with grpc.insecure_channel(address) as channel:
                for _ in range(20):
                    assert await whole(channel, [b"one", b"two", b"m" * 100_000], contract.PROCESS_METHOD) == [b"re:3:one"]
            assert sum(server.faults.values()) == 0

    run(work())


# ------------------------------------------------------------------------------------------------------- peers that break rules
class Wire:
    """A connection on which anything may be sent; frames are read back one by one."""

    opened: ClassVar[list[Wire]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.opened.append(self)

    @classmethod
    async def to(cls, address: str) -> Self:
        """Connect; nothing is said yet."""
        given = parse_address(address)
        opened = asyncio.open_unix_connection(given.path) if given.path else asyncio.open_connection(given.host, given.port)
        return cls(*await opened)

    async def next(self) -> tuple[int, int, int, bytes] | None:
        """The next frame: (kind, flags, stream, payload); None where the server has closed."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self._reader.readexactly(9)
                payload = await self._reader.readexactly(int.from_bytes(head[:3], "big"))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def outcome(self) -> list[tuple[str, int, Code]]:
        """Every GOAWAY ("connection", 0, code) and RST_STREAM ("stream", id, code) until our PING is answered or the server has closed."""
        found = []
        while (one := await self.next()) is not None:
            kind, flags, sid, payload = one
            if kind == frames.GOAWAY:
                found.append(("connection", 0, Code(int.from_bytes(payload[4:8], "big"))))
            elif kind == frames.RST_STREAM:
                found.append(("stream", sid, Code(int.from_bytes(payload, "big"))))
            elif (kind, flags, payload) == (frames.PING, frames.ACK, PING[9:]):
                return found
        return [*found, ("closed", 0, Code.NO_ERROR)]

    async def close(self) -> None:
        """End it as a peer that dies does."""
        self.writer.transport.abort()
        await asyncio.sleep(0)


class Bystander(Wire):
    """The `h2` library as a client that keeps every rule."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._client = H2Connection(H2Configuration(client_side=True))
        self._client.initiate_connection()
        self.took: list[float] = []

    async def ask(self, payload: bytes = b"hello", piece: int = 16_000, padding: int | None = None) -> None:
        """One decision, as it has to be; its latency is kept. The message goes out in pieces, as the windows allow."""
        begin = time.perf_counter()
        client, sid = self._client, self._client.get_next_available_stream_id()
        client.send_headers(sid, HEADERS)
        left, body, ended = grpc_message(payload), b"", False
        async with asyncio.timeout(PATIENCE):
            while not ended:
                while left and client.local_flow_control_window(sid) >= min(len(left), piece) + (padding or 0) + 1:
                    part, left = left[:piece], left[piece:]
                    client.send_data(sid, part, end_stream=not left, pad_length=padding)
                self.writer.write(client.data_to_send())
                read = await self._reader.read(65_536)
                assert read, "the bystander's connection was closed"
                for event in client.receive_data(read):
                    assert not isinstance(event, StreamReset)
                    if isinstance(event, DataReceived):
                        body += event.data or b""
                    ended = ended or (isinstance(event, StreamEnded) and event.stream_id == sid)
        assert body == grpc_message(process(payload) or b"")
        self.took.append(time.perf_counter() - begin)


def _by_h2(fields: list[tuple[str, str]], order: Callable[[list[tuple[str, str]]], list[tuple[str, str]]] = lambda one: one) -> bytes:
    """HEADERS of stream 1 as the `h2` library sends them when it is told not to check."""
    client = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False))
    client.initiate_connection()
    client.data_to_send()
    client.encoder.header_table_size = 0  # PREFACE has acknowledged it
    client.send_headers(1, order(HEADERS + fields))
    return client.data_to_send()


_STREAM = "stream", 1
BY_H2: dict[str, tuple[bytes, Code]] = {
    "h2: upper case in a name": (_by_h2([("X-A", "1")]), Code.PROTOCOL_ERROR),
    "h2: connection: keep-alive": (_by_h2([("connection", "keep-alive")]), Code.PROTOCOL_ERROR),
    "h2: transfer-encoding": (_by_h2([("transfer-encoding", "chunked")]), Code.PROTOCOL_ERROR),
    "h2: pseudo headers last": (_by_h2([], lambda one: one[::-1]), Code.PROTOCOL_ERROR),
    "h2: two paths": (_by_h2([], lambda one: [(":path", "/other"), *one]), Code.PROTOCOL_ERROR),
    "h2: no method": (_by_h2([], lambda one: one[1:]), Code.PROTOCOL_ERROR),
    "h2: :status of a response": (_by_h2([], lambda one: [(":status", "200"), *one]), Code.PROTOCOL_ERROR),
    "h2: a line break in a value": (_by_h2([("x-a", "b\nc: d")]), Code.PROTOCOL_ERROR),
    "h2: two lengths": (_by_h2([("content-length", "1"), ("content-length", "2")]), Code.PROTOCOL_ERROR),
}
"""Rules that the library breaks when its own checks are off."""

BROKEN: dict[str, tuple[bytes, list[tuple[str, int, Code]]]] = {
    **{name: (sent, [("connection", 0, code), ("closed", 0, Code.NO_ERROR)]) for name, (sent, code) in CONNECTION_FAULTS.items()},
    **{name: (sent, [(*_STREAM, code)]) for name, (sent, code) in {**STREAM_FAULTS, **BY_H2}.items()},
}
"""What is sent after preface and SETTINGS, and everything that has to come back for it."""

FINE: dict[str, bytes] = {
    "unknown frames": frame(0x77, 0xFF, 9, b"?") * 20,
    "unknown settings": frames.settings({0x99: 7, 0x0A0A: 1}),
    "unknown flags": frame(frames.HEADERS, END_HEADERS | 0xC2, 1, block()) + rst_stream(1, Code.CANCEL),
    "the reserved bit": frame(frames.WINDOW_UPDATE, 0, 0, b"\x80\0\0\1"),
    "PRIORITY of what is idle": frame(frames.PRIORITY, 0, 99, b"\0\0\0\3\x10"),
    "PING that answers nothing": frame(frames.PING, frames.ACK, 0, bytes(8)),
    "GOAWAY, then more": frames.goaway(0, Code.NO_ERROR),
    "a header block in nine frames": headers(1, 0)[:9]
    + block()
    + b"".join(frame(frames.CONTINUATION, END_HEADERS if number == 7 else 0, 1, b"") for number in range(8))
    + rst_stream(1, Code.CANCEL),
    "padding of 255": headers(1) + data(1, b"\xff" + grpc_message(b"q") + bytes(255), frames.PADDED),
    "an unknown error code": headers(1) + frame(frames.RST_STREAM, 0, 1, b"\0\0\xff\xff"),
    "credit and reset for what was answered": headers(1) + data(1, grpc_message(b"q"), END_STREAM) + window_update(1, 9),
}
BROKEN |= {name: (sent, []) for name, sent in FINE.items()}


@pytest.mark.parametrize("name", BROKEN)
def test_a_peer_that_breaks_a_rule_is_told_and_others_are_served(name: str, address: str) -> None:
    """GOAWAY and an end, or RST_STREAM and going on, or nothing at all; a second connection is answered before, meanwhile and after."""
    sent, expected = BROKEN[name]

    async def work() -> None:
        async with serving(address) as server:
            bystander, breaker = await Bystander.to(address), await Wire.to(address)
            await bystander.ask()
            goes_on = not expected or expected[-1][0] == "stream"
            breaker.writer.write(PREFACE + sent + (PING if goes_on else b""))
            await bystander.ask()
            assert await breaker.outcome() == expected
            if goes_on:
                breaker.writer.write(headers(101)[:9] + block() + data(101, grpc_message(b"q"), END_STREAM) + PING)
                assert await breaker.outcome() == []
            else:
                await eventually(lambda: len(server.adapters) == 1)  # type: ignore[attr-defined]
            await bystander.ask()
            codes = {code.name: 1 for kind, _, code in expected if kind == "connection"}
            assert server.faults == codes

    run(work())


STRANGERS = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
    "TLS": bytes.fromhex("1603010200010001fc0303") + bytes(64),
    "noise": bytes(range(256)),
    "a preface with a wrong end": frames.PREFACE[:-1] + b"\r",
    "a first frame that is not SETTINGS": frames.PREFACE + PING,
}


@pytest.mark.parametrize("name", STRANGERS)
@pytest.mark.parametrize("by_tcp", [False, True], ids=["unix", "tcp"])
def test_strangers_are_told_and_closed(name: str, by_tcp: bool, address: str) -> None:
    """GOAWAY(PROTOCOL_ERROR) and an end."""
    where = f"127.0.0.1:{free_port()}" if by_tcp else address

    async def work() -> None:
        async with serving(where):
            stranger = await Wire.to(where)
            stranger.writer.write(STRANGERS[name])
            assert await stranger.outcome() == [("connection", 0, Code.PROTOCOL_ERROR), ("closed", 0, Code.NO_ERROR)]

    run(work())


def test_what_comes_byte_by_byte_is_answered(address: str) -> None:
    """A write for every byte, the preface included."""

    async def work() -> None:
        async with serving(address):
            wire = await Wire.to(address)
            for byte in PREFACE + headers(1) + data(1, grpc_message(b"hello"), END_STREAM) + PING:
                wire.writer.write(bytes([byte]))
                await wire.writer.drain()
                await asyncio.sleep(0)
            answered = []
            while (one := await wire.next()) is not None and one[3] != PING[9:]:
                answered.append(one[3] if one[0] == frames.DATA else b"")
            assert grpc_message(b"re:5:hello") in answered

    run(work())


def test_a_preface_that_drips_is_cut_off(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow loris: however busy it looks, who has not said preface and SETTINGS in time is closed; others are served meanwhile."""
    monkeypatch.setattr(native, "GREETING", 1)

    async def work() -> None:
        async with serving(address) as server:
            bystander, lorises = await Bystander.to(address), [await Wire.to(address) for _ in range(20)]
            await bystander.ask()
            begin, position = time.monotonic(), 0
            while len(server.adapters) > 1:  # type: ignore[attr-defined]
                for loris in lorises:
                    if not loris.writer.is_closing():
                        loris.writer.write(frames.PREFACE[position % 24 : position % 24 + 1] if position < 24 else b"")
                position += 1
                await bystander.ask()
                await asyncio.sleep(0.1)
                assert time.monotonic() - begin < PATIENCE
            assert statistics.median(bystander.took) < 0.5

    run(work())


CUT = {
    "half a frame": (headers(1) + data(1, grpc_message(b"q")))[:-3],
    "half a header block": headers(1, 0),
    "half a message": headers(1) + data(1, grpc_message(b"q" * 500)[:100]),
    "half a preface": None,
    "a stream under way": headers(1),
}


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("how", ["reset", "closed", "half closed"])
def test_who_leaves_in_the_middle_leaves_nothing(name: str, how: str) -> None:
    """Silence, then the end of the connection, in order or by a TCP reset: forgotten at once, others are served."""
    address, said = f"127.0.0.1:{free_port()}", CUT[name]

    async def work() -> None:
        async with serving(address) as server:
            bystander, leaver = await Bystander.to(address), await Wire.to(address)
            leaver.writer.write(PREFACE + said if said is not None else PREFACE[:10])
            await bystander.ask()
            await eventually(lambda: len(server.adapters) == 2)  # type: ignore[attr-defined]
            if how == "half closed":
                leaver.writer.write_eof()
            else:
                if how == "reset":
                    raw: socket.socket = leaver.writer.get_extra_info("socket")
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                leaver.writer.close()
            await eventually(lambda: len(server.adapters) == 1)  # type: ignore[attr-defined]
            await bystander.ask()
            assert server.faults == {}

    run(work())


@pytest.mark.parametrize(
    ("size", "piece", "padding"),
    [(DEFAULT.message, 16_000, None), (DEFAULT.message, 16_000, 255), (DEFAULT.message - 5, 500, 255), (100_000, 10, None)],
    ids=["the limit", "the limit, padded", "more padding than message", "in pieces of 10 bytes"],
)
def test_a_large_message_gets_the_credit_that_it_needs(size: int, piece: int, padding: int | None, address: str) -> None:
    """Whoever keeps to the windows can send every message that is allowed: nobody waits for credit that never comes."""

    async def work() -> None:
        async with serving(address):
            client = await Bystander.to(address)
            for _ in range(2):
                await client.ask(b"m" * size, piece, padding)

    run(work())


def test_a_large_message_in_tiny_frames_costs_no_more_than_its_bytes(address: str) -> None:
    """60 KB of frames with one byte each, behind .9 MB that wait: milliseconds, not a copy of everything for each."""
    begun = headers(1) + data(1, b"\0" + (1_000_000).to_bytes(4, "big"))
    most = b"".join(data(1, b"m" * 15_000) for _ in range(60))

    async def work() -> None:
        async with serving(address):
            wire = await Wire.to(address)
            wire.writer.write(PREFACE + begun + most + PING)
            assert await wire.outcome() == []
            took = []
            for _ in range(3):
                begin = time.process_time()
                wire.writer.write(data(1, b"m") * 6_000 + PING)
                assert await wire.outcome() == []
                took.append(time.process_time() - begin)
            # What a hypervisor takes is counted as ours, but not each time.
            assert min(took) < 0.12, took

    run(work())


# ---------------------------------------------------------------------------------------------------------------- slow readers
OPEN_WINDOWS = (
    frames.PREFACE
    + frames.settings({frames.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW})
    + frame(frames.SETTINGS, frames.ACK, 0)
    + window_update(0, frames.LARGEST_WINDOW - frames.DEFAULT_WINDOW)
)


def _requests(first: int, count: int) -> bytes:
    """Streams of one long answer each; the first one on the connection carries the size update."""
    one = headers(first) if first == 1 else b""
    plain = block()[1:]
    sids = range(first + 2 if one else first, first + 2 * count, 2)
    rest = b"".join(frame(frames.HEADERS, END_HEADERS, sid, plain) + data(sid, grpc_message(b"long"), END_STREAM) for sid in sids)
    return (one + data(1, grpc_message(b"long"), END_STREAM) if one else b"") + rest


def test_a_peer_that_never_reads_is_bounded_and_cut_off(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for it stays small, nothing more is read from it, it is closed; others are answered fast all the time."""
    monkeypatch.setattr(native, "SLOW_READER", 1)

    async def work() -> None:
        async with serving(address) as server:
            bystander = await Bystander.to(address)
            given = parse_address(address)
            slow = socket.socket(socket.AF_UNIX)
            slow.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, given.path)
            sending = asyncio.create_task(loop.sock_sendall(slow, OPEN_WINDOWS + _requests(1, 60_000)))

            def heard() -> list[Any]:
                return [one for one in server.adapters if one.connection._streams or one.connection._highest > 1]  # type: ignore[attr-defined]

            await eventually(lambda: bool(heard()))
            (adapter,) = heard()
            waits, begin = [], time.monotonic()
            while adapter in server.adapters:  # type: ignore[attr-defined]
                waits.append(adapter._transport.get_write_buffer_size())
                await bystander.ask()
                await asyncio.sleep(0.005)
                assert time.monotonic() - begin < PATIENCE
            assert native.HIGH_WATER < max(waits) < 4 * native.HIGH_WATER
            assert waits[-1] == max(waits), "it went on being read"
            assert adapter.connection._highest < 60_000, "all was read: the test has no meaning"
            assert not sending.done() or sending.exception() is not None
            assert statistics.median(bystander.took) < 0.05
            sending.cancel()
            slow.close()

    run(work())


def test_a_peer_that_breaks_a_rule_and_never_reads_is_cut_off_too(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its GOAWAY cannot be delivered; the connection does not wait for that for ever."""
    monkeypatch.setattr(native, "SLOW_READER", 1)

    async def work() -> None:
        async with serving(address) as server:
            slow = await Wire.to(address)
            slow.writer.transport.pause_reading()
            slow.writer.write(OPEN_WINDOWS + _requests(1, 2_000) + data(0, b"x"))
            await eventually(lambda: bool(server.faults))
            await eventually(lambda: not server.adapters)  # type: ignore[attr-defined]

    run(work())


# ---------------------------------------------------------------------------------------------------------------- nghttp2's tools
@pytest.fixture(scope="session")
def nghttp2() -> dict[str, str]:
    """Paths of `nghttp` and `h2load`, installed from Debian where they are missing and we may."""
    names = ("nghttp", "h2load")
    if not all(map(shutil.which, names)) and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "nghttp2-client"]):
            subprocess.run(command, capture_output=True, timeout=150, check=False)
    found = {name: path for name in names if (path := shutil.which(name))}
    assert len(found) == 2, "nghttp and h2load are needed: install Debian's package nghttp2-client (apt-get install nghttp2-client)"
    return found


async def tool(*command: str) -> str:
    """What it said; it has to end well."""
    made = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said, _ = await asyncio.wait_for(made.communicate(), PATIENCE)
    assert made.returncode == 0, said.decode(errors="replace")
    return said.decode(errors="replace")


@BOTH
def test_h2load_2000_streams_on_4_connections(transport: TransportName, address: str, tmp_path: Path, nghttp2: dict[str, str]) -> None:
    """All succeed."""
    message = tmp_path / "message"
    message.write_bytes(grpc_message(b"hello"))
    command = ["-n", "2000", "-c", "4", "-m", "32", "-d", str(message), "-H", "content-type: application/grpc", "-H", "te: trailers"]

    async def work() -> None:
        async with serving(address, transport):
            said = await tool(nghttp2["h2load"], *command, "--base-uri", address, f"http://router{contract.PROCESS_METHOD}")
        assert "2000 total, 2000 started, 2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout" in said
        assert "status codes: 2000 2xx" in said

    run(work())


NGHTTP: dict[str, list[str]] = {
    "plain": [],
    "without priorities": ["--no-dep"],
    "the lightest": ["-p", "1"],
    "windows of 15 bytes": ["-w", "4"],
    "windows of 1 byte": ["-w", "1"],
    "a small window of the connection": ["-W", "4", "-w", "4"],
    "padding": ["--padding", "200"],
    "CONTINUATION": ["--continuation"],
    "no decoder table": ["-c", "0"],
    "tables that change size": ["-c", "0", "-c", "4096"],
    "a large encoder table": ["--encoder-header-table-size", "65536"],
    "twenty times": ["-m", "20"],
    "twenty times, padded, small windows": ["-m", "20", "--padding", "99", "-w", "5"],
}


@pytest.mark.parametrize("name", NGHTTP)
def test_nghttp_gets_a_readable_415(name: str, nghttp2: dict[str, str]) -> None:
    """A GET is answered with a sentence, whole, whatever windows, padding, priorities and tables the client has."""
    address, options = f"127.0.0.1:{free_port()}", NGHTTP[name]

    async def work() -> None:
        async with serving(address) as server:
            said = await tool(nghttp2["nghttp"], "-v", "-t", "60", *options, f"http://{address}/")
            plain = await tool(nghttp2["nghttp"], "-t", "60", *options, f"http://{address}/")
        times = 20 if "-m" in options else 1
        assert said.count(":status: 415") == times
        # Bodies of several streams come in turns where windows are small.
        assert sorted(plain) == sorted(FOREIGN_BODY.decode() * times)
        assert ("PRIORITY frame" in said) == ("--no-dep" not in options)
        assert "RST_STREAM" not in said
        assert server.faults == {}

    run(work())


POSTED: dict[str, list[str]] = {
    "plain": [],
    "a trailer": ["--trailer", "x-checksum: 1"],
    "a trailer and padding": ["--trailer", "x-checksum: 1", "--padding", "255"],
    "no length": ["--no-content-length"],
    "CONTINUATION and small windows": ["--continuation", "-w", "3", "-W", "3"],
    "thirty times": ["-m", "30"],
}


@pytest.mark.parametrize("name", POSTED)
@pytest.mark.parametrize("message", [b"hello", b"m" * 200_000], ids=["short", "long"])
def test_nghttp_gets_decisions(name: str, message: bytes, tmp_path: Path, nghttp2: dict[str, str]) -> None:
    """gRPC by hand: grpc-status 0 and the message, also with trailers of the client, and in many frames."""
    address, options = f"127.0.0.1:{free_port()}", POSTED[name]
    path = tmp_path / "message"
    path.write_bytes(grpc_message(message))
    command = ["-t", "60", "-d", str(path), "-H", "content-type: application/grpc", "-H", "te: trailers", *options]

    async def work() -> None:
        async with serving(address) as server:
            url = f"http://{address}{contract.PROCESS_METHOD}"
            said, plain = await tool(nghttp2["nghttp"], "-v", *command, url), await tool(nghttp2["nghttp"], *command, url)
        times = 30 if "-m" in options else 1
        assert said.count("grpc-status: 0") == times
        assert sorted(plain) == sorted(grpc_message(process(message) or b"").decode() * times)
        assert (server.errors, server.faults) == (0, {})

    run(work())
