"""A peer of the native transport in memory: the `h2` library for what is right, hand-made frames for what is wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, Event, ResponseReceived, StreamEnded, StreamReset, TrailersReceived

from extproc import contract
from extproc.transport.native import frames
from extproc.transport.native.connection import Connection
from extproc.transport.native.errors import Code
from extproc.transport.native.limits import DEFAULT, Limits
from extproc.transport.native.streams import Shared

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", contract.PROCESS_METHOD),
    (":authority", "router"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


def grpc_message(payload: bytes, flag: int = 0) -> bytes:
    """A message with its prefix."""
    return bytes([flag]) + len(payload).to_bytes(4, "big") + payload


@dataclass
class Answer:
    """What came back on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> str | None:
        """grpc-status, wherever it stands."""
        return self.trailers.get("grpc-status", self.headers.get("grpc-status"))

    @property
    def messages(self) -> list[bytes]:
        """gRPC messages of the body."""
        found, rest = [], self.body
        while rest:
            size = int.from_bytes(rest[1:5], "big")
            found.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return found


class Peer:
    """An h2 client and our connection, with nothing between them."""

    def __init__(
        self, process: Callable[[bytes], bytes | None] = lambda message: b"re:" + message, limits: Limits = DEFAULT, now: float = 0.0
    ) -> None:
        self.shared = Shared(process, limits)
        self.shared.serving = True
        self.server = Connection(self.shared, now)
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8", validate_outbound_headers=False))
        self.answers: dict[int, Answer] = {}
        self.goaway: list[int] = []
        self.client.initiate_connection()
        self.take(self.server.begin())
        self.exchange()

    def exchange(self, chunk: int = 0) -> None:
        """Move bytes until both are silent; `chunk`: cut them into pieces of that size."""
        while data := self.client.data_to_send():
            pieces = [data[start : start + chunk] for start in range(0, len(data), chunk)] if chunk else [data]
            for piece in pieces:
                self.take(self.server.receive(piece))

    def take(self, data: bytes) -> None:
        for event in self.client.receive_data(data) if data else []:
            self._note(event)

    def _note(self, event: Event) -> None:
        if isinstance(event, ConnectionTerminated):
            self.goaway.append(int(event.error_code))
            return
        sid = getattr(event, "stream_id", None)
        if not sid:
            return
        answer = self.answers.setdefault(sid, Answer())
        if isinstance(event, ResponseReceived):
            answer.headers = {str(name): str(value) for name, value in event.headers or ()}
        elif isinstance(event, TrailersReceived):
            answer.trailers = {str(name): str(value) for name, value in event.headers or ()}
        elif isinstance(event, DataReceived):
            answer.body += event.data or b""
            self.client.acknowledge_received_data(event.flow_controlled_length or 0, sid)
        elif isinstance(event, StreamEnded):
            answer.ended = True
        elif isinstance(event, StreamReset):
            answer.reset = int(event.error_code)

    def open(self, end: bool = False, **changes: str) -> int:
        """Begin a stream; `path=...` and the like change its headers (`_` is `-`)."""
        named = {name.replace("_", "-"): value for name, value in changes.items()}
        headers = [(name, named.pop(name.lstrip(":"), value)) for name, value in HEADERS] + list(named.items())
        sid = self.client.get_next_available_stream_id()
        self.client.send_headers(sid, headers, end_stream=end)
        return sid

    def call(self, payload: bytes, end: bool = False, **changes: str) -> Answer:
        """One request with one message."""
        sid = self.open(**changes)
        self.client.send_data(sid, grpc_message(payload), end_stream=end)
        self.exchange()
        return self.answers[sid]


class Raw:
    """Our connection and frames written by hand; what it said is read back frame by frame."""

    def __init__(self, process: Callable[[bytes], bytes | None] = lambda message: b"re:" + message, limits: Limits = DEFAULT) -> None:
        self.shared = Shared(process, limits)
        self.shared.serving = True
        self.server = Connection(self.shared)
        self.server.begin()
        self.said: list[tuple[int, int, int, bytes]] = []
        self.send(frames.PREFACE + frames.frame(frames.SETTINGS, 0, 0) + frames.frame(frames.SETTINGS, frames.ACK, 0))

    def send(self, data: bytes) -> list[tuple[int, int, int, bytes]]:
        """Send bytes; the frames that came back: (kind, flags, stream, payload)."""
        found = list(read_frames(self.server.receive(data)))
        self.said += found
        return found

    @property
    def goaway(self) -> Code | None:
        """Why the connection was ended, None while it was not."""
        return next((Code(int.from_bytes(payload[4:8], "big")) for kind, _, _, payload in self.said if kind == frames.GOAWAY), None)

    def resets(self) -> list[tuple[int, Code]]:
        """Streams that were reset, and why."""
        return [(sid, Code(int.from_bytes(payload, "big"))) for kind, _, sid, payload in self.said if kind == frames.RST_STREAM]


def read_frames(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """The frames in some bytes."""
    found, position = [], 0
    while position < len(data):
        high, low, kind, flags, sid = struct.unpack_from(">HBBBI", data, position)
        end = position + 9 + (high << 8 | low)
        found.append((kind, flags, sid, data[position + 9 : end]))
        position = end
    return found


def block(**changes: str) -> bytes:
    """A header block without any compression: literals without indexing. Fields as in HEADERS; a value of "" leaves one out."""
    named = {name.replace("_", "-"): value for name, value in changes.items()}
    fields = [(name, named.pop(name.lstrip(":"), value)) for name, value in HEADERS] + list(named.items())
    encoded = b"\x20"  # the table size update to zero that follows our SETTINGS
    for name, value in fields:
        if value:
            encoded += b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode("latin-1")
    return encoded


def headers(sid: int, flags: int = frames.END_HEADERS, **changes: str) -> bytes:
    """A HEADERS frame."""
    return frames.frame(frames.HEADERS, flags, sid, block(**changes))


def data(sid: int, payload: bytes, flags: int = 0) -> bytes:
    """A DATA frame."""
    return frames.frame(frames.DATA, flags, sid, payload)
