"""Where fuzzing begins: conversations that are right, by h2's client and by hand, and requests as Envoy writes them."""

from __future__ import annotations

from collections.abc import Iterator

from h2.config import H2Configuration
from h2.connection import H2Connection

from extproc import contract
from extproc.pb.ext_proc_pb2 import ProcessingRequest
from extproc.transport.native import frames
from extproc.transport.native.errors import Code
from extproc.transport.native.frames import END_STREAM, frame, window_update
from tests.fuzz.conversation import PATHS
from tests.support.h2peer import HEADERS, data, grpc_message, headers

ENVOY_SETTINGS = {
    frames.HEADER_TABLE_SIZE: 4_096,
    frames.ENABLE_PUSH: 0,
    frames.MAX_CONCURRENT_STREAMS: 2_147_483_647,
    frames.INITIAL_WINDOW_SIZE: 268_435_456,
}
ENVOY_FIELDS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", contract.PROCESS_METHOD),
    (":authority", "router"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("x-envoy-internal", "true"),
    ("x-forwarded-for", "127.0.0.1"),
    ("x-envoy-expected-rq-timeout-ms", "50"),
]


def seeds(target: str) -> list[bytes]:
    """Inputs of a target."""
    return list({"connection": _raw, "conversation": _talks, "subject": _subjects, "differential": _pairs}[target]())


def _raw() -> Iterator[bytes]:
    """Bytes as they come over a socket, behind the preface and SETTINGS; two bytes before them choose process, limits and cuts."""
    for how in (0, 1, 4, 5, 7):
        for sent in (envoy(), client(2), client(3, end=True), by_hand(), shrinking(), watching(), stalled()):
            yield bytes([how, 0xFF]) + sent
    yield bytes([8, 6]) + frames.PREFACE + frame(frames.SETTINGS, 0, 0) + envoy()
    yield bytes([8, 90]) + b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def envoy() -> bytes:
    """What Envoy says: SETTINGS, a window, its acknowledgement; per request HEADERS, one message, a reset after the answer."""
    peer = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False))
    begun = frames.settings(ENVOY_SETTINGS) + window_update(0, 268_369_921) + frame(frames.SETTINGS, frames.ACK, 0)
    peer.encoder.header_table_size = 0
    made = begun
    for number in range(3):
        sid = 2 * number + 1
        block = peer.encoder.encode(ENVOY_FIELDS)
        made += frame(frames.HEADERS, frames.END_HEADERS, sid, block) + data(sid, grpc_message(request(number)))
        made += frames.rst_stream(sid, Code.NO_ERROR)
    return made


def client(requests: int, end: bool = False) -> bytes:
    """h2's client, its dynamic table in use."""
    peer = H2Connection(H2Configuration(client_side=True, validate_outbound_headers=False))
    peer.initiate_connection()
    peer.clear_outbound_data_buffer()
    for number in range(requests):
        sid = peer.get_next_available_stream_id()
        peer.send_headers(sid, [*HEADERS, ("x-request-id", str(number))])
        peer.send_data(sid, grpc_message(b"message %d" % number), pad_length=number, end_stream=end)
    peer.ping(b"12345678")
    return frame(frames.SETTINGS, frames.ACK, 0) + peer.data_to_send()


def by_hand() -> bytes:
    """Fragments, padding, priority, trailers, unknown frames."""
    whole = headers(1)[frames.HEAD :]
    made = frame(frames.HEADERS, 0, 1, whole[:20]) + frame(frames.CONTINUATION, frames.END_HEADERS, 1, whole[20:])
    made += frame(frames.PRIORITY, 0, 3, bytes(5)) + frame(0x77, 0, 0, b"x")
    made += data(1, b"\x03" + grpc_message(b"padded") + bytes(3), frames.PADDED)
    return made + headers(3) + headers(3, frames.END_HEADERS | END_STREAM, path="", te="") + frame(frames.GOAWAY, 0, 0, bytes(8))


def shrinking() -> bytes:
    """A peer whose table gets smaller, between other SETTINGS, and a message that looks like an acknowledgement."""
    again = frames.settings({frames.MAX_FRAME_SIZE: 16_384})
    made = frames.settings({frames.HEADER_TABLE_SIZE: 0}) + headers(1) + data(1, grpc_message(frame(frames.SETTINGS, frames.ACK, 0)))
    return made + again + headers(3) + data(3, grpc_message(b"x"))


def watching() -> bytes:
    """Health, both methods; a foreign request."""
    made = headers(1, path=contract.HEALTH_WATCH_METHOD) + data(1, grpc_message(b""), END_STREAM)
    made += headers(3, path=contract.HEALTH_CHECK_METHOD) + data(3, grpc_message(b""), END_STREAM)
    return made + headers(5, frames.END_HEADERS | END_STREAM, method="GET", content_type="text/html")


def stalled() -> bytes:
    """Windows of 0, small credit."""
    made = frames.settings({frames.INITIAL_WINDOW_SIZE: 0}) + headers(1) + data(1, grpc_message(b"wait")) + data(1, grpc_message(b"more"))
    return made + window_update(1, 3) + window_update(0, 5) + frames.settings({frames.INITIAL_WINDOW_SIZE: 100})


# ------------------------------------------------------------------------------------------------- choices of `conversation`
ACKNOWLEDGE, UPDATE = bytes([10]), bytes([3, 0, 1, 0])
"""SETTINGS are acknowledged; SETTINGS with HEADER_TABLE_SIZE of 0."""


def begin(path: int = 0, how: int = 4, end: int = 0, fields: bytes = b"", style: int = 0) -> bytes:
    """HEADERS of a new stream; `fields`: pairs of name and value as indices."""
    return bytes([0, 0, end, how | (4 + len(fields) // 2 if fields else 0) << 5, path]) + fields + bytes([style])


def message(size: int, how: int = 0) -> bytes:
    """One message on the last stream."""
    return bytes([1, 0, how, size]) + b"q"


def _talks() -> Iterator[bytes]:
    """Each process, with small limits and with the real ones."""
    for how in range(8):
        for made in _conversations():
            yield bytes([how]) + made


def _pairs() -> Iterator[bytes]:
    """A server that listens, one that echoes, and a peer that does not begin with SETTINGS."""
    yield from (bytes([2]) + begin(), bytes([2]) + ACKNOWLEDGE, bytes([2]) + UPDATE + begin())
    for how in range(2):
        for made in _conversations():
            yield bytes([how]) + made


def _conversations() -> Iterator[bytes]:
    window0 = bytes([3, 0, 4, 0])
    credit = bytes([4, 0, 0, 8])
    for path in range(len(PATHS)):
        yield ACKNOWLEDGE + begin(path, how=5) + message(5) + begin(path) + message(5, END_STREAM)
    yield ACKNOWLEDGE + (begin(how=5) + message(9)) * 4
    yield begin(style=0x41) + message(1) + begin(style=0x45) + message(2) + begin(style=0x8D) + message(3)
    yield window0 + begin() + message(20) + message(20) + credit
    yield window0 + begin(2) + message(0) + bytes([14, 14]) + credit + bytes([14])
    yield window0 + begin(0x08) + message(3) + credit
    yield begin() + b"".join(bytes([2, 0, 8, 60, 58]) + (b"\0\0\0\0\x3c"[n : n + 1] or b"x") + bytes(58) for n in range(24))
    yield begin() * 2 + bytes([7, frames.WINDOW_UPDATE, 0, 0xF0, 1, 4, 0, 0, 0, 1])
    yield window0 + (begin(2) + message(0)) * 8 + bytes([14, 0xFF, 39, 0xFF, 39])
    yield begin(fields=bytes([0, 1])) + message(1)
    yield from _differences()
    yield b"".join(begin(what) for what in range(0, 0x28, 8))
    yield begin(2) + message(0, END_STREAM) + message(20) + bytes([14, 12, 13, 14])
    yield begin() + bytes([13, 6, 3]) + begin() + message(1) + bytes([12, 13])
    yield begin(fields=bytes([1, 2])) + bytes([12, 12, 12, 12])
    yield begin() + message(30, 8) + bytes([20]) + bytes([5, 0, 8])
    yield UPDATE + begin() + message(4) + ACKNOWLEDGE + begin()
    yield bytes([8, 0, 4, 0, 7, 0, 4, 10, 20, 30, 40, 0]) + message(3)
    yield begin() + bytes([9, 0, 0, 0, 9, 0, 1, 0, 9, 0, 0, 3, 11, 0])
    yield b"".join(begin(fields=bytes([name, value])) for name in range(5) for value in range(6))
    yield b"".join(begin(fields=bytes([3, value]), style=style) for value in range(14) for style in (0, 1, 2, 4, 8))


def raw(kind: int, flags: int, payload: bytes, sid: int = 1) -> bytes:
    """A frame on stream 1, 3, 5 ... 15."""
    return bytes([7, kind, flags, 0xA0 | sid >> 1, len(payload)]) + payload


def _differences() -> Iterator[bytes]:
    """What `differential` allows, each at least once."""
    reset = raw(frames.RST_STREAM, 0, bytes(4))
    yield begin() + reset + begin() + raw(frames.CONTINUATION, 4, b"x")
    yield begin() + bytes([4, 0, 0, 12]) + message(1)
    yield raw(frames.PUSH_PROMISE, 0, b"\0\0\0\2")
    yield begin() + raw(frames.RST_STREAM, 0, bytes(4), 3)
    yield begin() + raw(frames.WINDOW_UPDATE, 0, b"\x80\0\0\1")
    yield begin() + reset + raw(frames.WINDOW_UPDATE, 0, bytes(4))
    yield begin(0x08, how=4) + raw(frames.HEADERS, 13, b"\2\0\0")
    yield begin() + raw(frames.HEADERS, 13, b"\2\0\0")
    yield begin() + raw(frames.HEADERS, 0x2D, b"\4\0\0\0\0\x10\0")
    yield begin(0x10, how=20)
    yield begin() + bytes([0, 0xC0, 0, 1, 4 | 2 | 5 << 5, 2, 1, 0])
    yield begin(fields=bytes([2, 4])) + message(0) + message(1, END_STREAM)
    yield begin(fields=bytes([2, 3]), end=END_STREAM)
    yield raw(0x0A, 0, b"\xff\xff")
    yield bytes([3, 0, 8, 6])
    yield bytes([3, 1, 4, 14, 4, 0])
    yield begin(how=28)
    yield begin(0x18)
    yield begin(fields=bytes([1, 0]))
    yield begin(fields=bytes([9, 0]))
    yield begin(fields=bytes([0, 3])) + message(1)


# --------------------------------------------------------------------------------------------------------------------- requests
def request(number: int) -> bytes:
    """A ProcessingRequest as Envoy writes it."""
    made = ProcessingRequest()
    for name, value in ((":path", b"/v1/chat/completions"), ("x-user-id", b"user-%d" % number), ("x-request-id", b"%036d" % number)):
        made.request_headers.headers.headers.add(key=name, raw_value=value)
    made.metadata_context.filter_metadata[contract.REQUEST_NAMESPACE].update({contract.REQUEST_MODEL_FIELD: f"model-{number % 3}"})
    return made.SerializeToString() + b"Z\x00"


def _subjects() -> Iterator[bytes]:
    for number in range(4):
        yield b"\0" + request(number)
        yield b"\0" + request(number) + request(number + 1)
    for value in (b"v" * 127, b"v" * 128, b"v" * 900, b"\n\x0e\n\tx-user-id\x1a\x01z"):
        made = ProcessingRequest()
        made.request_headers.headers.headers.add(key="x-user-id", raw_value=value)
        yield b"\0" + made.SerializeToString()
        made.request_headers.headers.headers.add(key="x-user-id", value="instead", raw_value=b"raw")
        made.request_headers.end_of_stream = True
        yield b"\0" + made.SerializeToString()
    talkative = ProcessingRequest.FromString(request(0))
    talkative.metadata_context.filter_metadata["other"].update({"a": "b" * 3_000})
    yield b"\0" + talkative.SerializeToString()
    for kind in ("response_headers", "request_body", "request_trailers"):
        other = ProcessingRequest()
        getattr(other, kind).SetInParent()
        yield b"\0" + other.SerializeToString()
    yield bytes([1, 0, 2, 0, 3, 97, 98, 99, 0, 0, 0, 1, 1, 98, 0, 0, 0, 0, 0, 0, 0x81, 2, 97, 98, 0xE0, 0])
    yield bytes([1, 0, 1, 0x10, 0xFF, 0xFE, 0xFD, 0, 0, 0xE0, 1, 0xC0, 0x12, 2, 10, 0])
