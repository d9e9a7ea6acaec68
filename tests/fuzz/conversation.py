"""Bytes of a fuzzer -> a conversation with a server: frames that are nearly right, and what happens in between.

The bytes are read forwards, one byte of choice and then its arguments, so that a fuzzer can cut, copy and splice them, and `seeds` can
write them by hand. When they are used up every further choice is 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from extproc import contract
from extproc.transport.native import frames
from extproc.transport.native.control import DRAIN_PING
from extproc.transport.native.frames import END_HEADERS, END_STREAM, frame

TICK, DRAIN, HEALTH = "tick", "drain", "health"
"""What is no frame: a second passes, the server drains, its health changes."""
Act = bytes | str
LONGEST: Final = 300
"""Acts of a conversation: each input stays short enough to be run thousands of times."""
LARGEST: Final = 200_000
"""Bytes of a conversation."""

PATHS: Final = (
    contract.PROCESS_METHOD,
    contract.HEALTH_CHECK_METHOD,
    contract.HEALTH_WATCH_METHOD,
    "/other.Service/Method",
    "*",
    "",
    " /x",
)
METHODS: Final = ("POST", "GET", "CONNECT", "", "OPTIONS")
TYPES: Final = ("application/grpc", "application/grpc+proto", "application/grpc-web", "text/html", "")
NAMES: Final = (
    "te",
    "grpc-timeout",
    "content-length",
    "x-request-id",
    "host",
    "cookie",
    "connection",
    "X-Upper",
    "x y",
    "x(y)",
    ":status",
    ":protocol",
    ":path",
    "",
)
VALUES: Final = (
    "trailers",
    "Trailers",
    "1S",
    "5",
    "13",
    "0",
    "router",
    " x",
    "x\t",
    "a\r\nb",
    "",
    "200",
    "99999999999999999999",
    "v" * 130,
)
WINDOWS: Final = (0, 1, 10, 100, 65_535, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
SETTING_VALUES: Final = (*WINDOWS, 2, 4_096, 16_383, 16_384, 16_777_215, 16_777_216)

_HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
Option = TypeVar("Option")


class Source:
    """Choices out of bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def more(self) -> bool:
        """True while there are bytes."""
        return self._at < len(self._data)

    def byte(self) -> int:
        """The next byte, 0 behind the last."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def take(self, size: int) -> bytes:
        """The next bytes, as many as there are."""
        self._at += size
        return self._data[self._at - size : self._at]

    def pick(self, options: Sequence[Option]) -> Option:
        """One of some."""
        return options[self.byte() % len(options)]

    def number(self, interesting: Sequence[int]) -> int:
        """One of some numbers, or (by an odd byte) any of 32 bits."""
        choice = self.byte()
        return int.from_bytes(self.take(4), "big") if choice & 1 else interesting[(choice >> 1) % len(interesting)]


def acts(source: Source) -> Iterator[Act]:
    """What happens, in order; the preface and SETTINGS of the peer are the caller's."""
    writer, sent, count = _Writer(source), 0, 0
    while source.more and count < LONGEST and sent < LARGEST:
        for act in writer.next_acts():
            sent += len(act)
            count += 1
            yield act


class _Writer:
    """Remembers the highest stream, so that most frames are about streams that exist."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._highest = -1
        self._last: Act = TICK
        self._makers = (
            self._headers,
            self._messages,
            self._data,
            self._settings,
            self._window_update,
            self._rst_stream,
            self._ping,
            self._raw,
            self._fragments,
            self._priority,
            self._acknowledge,
            self._goaway,
            lambda: TICK,
            lambda: DRAIN,
            lambda: HEALTH,
        )

    def next_acts(self) -> list[Act]:
        choice = self._source.byte()
        if choice == 0xFF:
            return [self._last] * (self._source.byte() % 40)
        made = self._makers[choice % len(self._makers)]()
        self._last = made
        return [made]

    def _known(self) -> int:
        """A stream, most often the last one."""
        choice = self._source.byte()
        if choice < 0xA0:
            return max(self._highest, 0)
        if choice < 0xF0:
            return 2 * (choice & 7) + 1
        return self._source.pick((0, 2, 4, self._highest + 1, self._highest + 2, frames.LARGEST_ID))

    def _new(self) -> int:
        """A stream that does not exist yet, most often."""
        choice = self._source.byte()
        if choice >= 0xC0:
            return self._known()
        self._highest += 2 + 2 * (choice & 0x20 > 0)
        return self._highest

    # ----------------------------------------------------------------------------------------------------------------- frames
    def _headers(self) -> bytes:
        sid, how = self._new(), self._source.byte()
        return frame(
            frames.HEADERS, END_HEADERS | how & (END_STREAM | frames.PADDED | frames.WITH_PRIORITY), sid, self._decorated(sid, how)
        )

    def _decorated(self, sid: int, how: int) -> bytes:
        """A block in its padding and priority, lengths mostly right."""
        payload = self._block()
        if how & frames.WITH_PRIORITY:
            payload = (sid if self._source.byte() == 1 else 0).to_bytes(4, "big") + b"\x10" + payload
        if how & frames.PADDED:
            size = self._source.byte()
            payload = bytes([size]) + payload + bytes(size if self._source.byte() % 8 else 0)
        return payload[:16_384]

    def _fragments(self) -> bytes:
        """A block over several frames: one act, so that little comes in between."""
        sid, block = self._new(), self._block()
        made = b""
        kind, flags = frames.HEADERS, self._source.byte() & END_STREAM
        for _ in range(self._source.byte() % 5):
            cut = self._source.byte()
            made += frame(kind, flags, sid, block[:cut])
            block, kind, flags = block[cut:], frames.CONTINUATION, 0
        return made + frame(kind, flags | END_HEADERS * (self._source.byte() != 1), sid, block[:16_384])

    def _messages(self) -> bytes:
        sid, how = self._known(), self._source.byte()
        payload = b""
        for _ in range(1 + (how >> 4) % 4):
            size = self._source.byte()
            size = size * 37 if how & 4 else size
            payload += b"\0" + size.to_bytes(4, "big") + (self._source.take(1) or b"m") * size
        return frame(frames.DATA, how & END_STREAM, sid, payload[: -self._source.byte()] if how & 8 else payload[:16_384])

    def _data(self) -> bytes:
        sid, how = self._known(), self._source.byte()
        return frame(frames.DATA, how & (END_STREAM | frames.PADDED), sid, self._source.take(self._source.byte()))

    def _settings(self) -> bytes:
        payload = b""
        for _ in range(1 + self._source.byte() % 3):
            key = self._source.byte() % 10
            payload += key.to_bytes(2, "big") + self._source.number(SETTING_VALUES).to_bytes(4, "big")
        return frame(frames.SETTINGS, 0, 0, payload)

    def _window_update(self) -> bytes:
        sid = 0 if self._source.byte() & 1 else self._known()
        return frame(frames.WINDOW_UPDATE, 0, sid, self._source.number(WINDOWS).to_bytes(4, "big"))

    def _rst_stream(self) -> bytes:
        return frame(frames.RST_STREAM, 0, self._known(), bytes([0, 0, 0, self._source.byte()]))

    def _ping(self) -> bytes:
        how = self._source.byte()
        return frame(frames.PING, how & frames.ACK, 0, DRAIN_PING if how & 2 else self._source.take(8).ljust(8, b"p"))

    def _raw(self) -> bytes:
        kind, flags, sid = self._source.byte() % 16, self._source.byte(), self._known()
        return frame(kind, flags, sid, self._source.take(self._source.byte()))

    def _priority(self) -> bytes:
        sid = self._known()
        on = sid if self._source.byte() == 1 else 0
        return frame(frames.PRIORITY, 0, sid, on.to_bytes(4, "big") + bytes(self._source.pick((1, 1, 1, 0, 2))))

    def _acknowledge(self) -> bytes:
        return frame(frames.SETTINGS, frames.ACK, 0)

    def _goaway(self) -> bytes:
        return frame(frames.GOAWAY, 0, 0, bytes(8) + self._source.take(self._source.byte() % 8))

    # ------------------------------------------------------------------------------------------------------------------ HPACK
    def _block(self) -> bytes:
        """Fields of a request (or of trailers), each in one of HPACK's representations."""
        source, how = self._source, self._source.byte()
        block = b""
        if how & 1:
            block += integer(source.number((0, 0, 4_096, 100)), 5, 0x20)
        if how & 6 == 6:
            fields = [("grpc-status", "0")]
        else:
            what = source.byte()
            # A byte most often makes what is right: faults one by one lead further than faults all at once.
            method, path = (
                METHODS[what >> 3] if what >> 3 < len(METHODS) else "POST",
                PATHS[what & 7] if what & 7 < len(PATHS) else PATHS[0],
            )
            fields = [(":method", method), (":scheme", "http" if how & 4 else "https"), (":path", path)]
            fields = fields[:1] if method == "CONNECT" and how & 16 else fields
            fields += [(":authority", "router")] if how & 24 != 24 else []
            fields += [("content-type", source.pick(TYPES) if how & 16 else TYPES[0]), ("te", "trailers")]
        for _ in range(max(0, (how >> 5) - 4)):
            fields.append((source.pick(NAMES), source.pick(VALUES)))
        style = source.byte()
        for position, (name, value) in enumerate(fields):
            block += field(name.encode(), value.encode(), style + position * (style >> 7))
        if style & 0x70 == 0x70:
            block += integer(source.byte(), 7, 0x80)
        return block


def integer(value: int, bits: int, first: int) -> bytes:
    """An integer of RFC 7541, 5.1, in a prefix of so many bits."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes([first | value])
    made, value = bytes([first | limit]), value - limit
    while value >= 128:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    return made + bytes([value])


def field(name: bytes, value: bytes, style: int) -> bytes:
    """A literal (RFC 7541, 6.2): by style without, with incremental or with never indexing; with or without Huffman code."""
    first = (b"\x00", b"\x40", b"\x10", b"\x00")[style & 3]
    return first + _string(name, style & 4) + _string(value, style & 8)


def _string(value: bytes, huffman: int) -> bytes:
    if huffman:
        value = _HUFFMAN.encode(value)
    return integer(len(value), 7, 0x80 if huffman else 0) + value
