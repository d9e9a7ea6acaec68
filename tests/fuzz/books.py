"""What must hold of a connection after every step, whatever its peer does: sums add up, memory is bounded, answers are HTTP/2.

`check` looks inside the connection; `Witness` sees only the frames that go in and out, and has its own idea of what is allowed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hpack import Decoder, HPACKError

from extproc.transport.native import frames, states
from extproc.transport.native.connection import Connection

_HELD = (states.OPEN, states.HALF_CLOSED_REMOTE, states.HALF_CLOSED_LOCAL)


class Violation(AssertionError):
    """A promise of the native transport is broken."""


def must(holds: bool, promise: str) -> None:
    """Raises Violation where a promise does not hold."""
    if not holds:
        raise Violation(promise)


def check(connection: Connection) -> None:
    """The books of a connection."""
    limits, streams = connection._limits, connection._streams
    must(not connection._out, "nothing waits that was not handed out")
    must(len(connection._rest) <= frames.HEAD + limits.frame, "at most one frame is kept that is not complete")
    must(len(connection._headers.memo) <= limits.memo, "header blocks remembered are bounded")
    must(all(len(block) <= limits.memo_block for block in connection._headers.memo), "header blocks remembered are short")
    if connection.closed:
        must(not streams and not connection._watching, "nothing is held for a connection that is over")
        return
    if connection._block is not None:
        must(sum(map(len, connection._block[2])) <= limits.header_block + limits.frame, "an incomplete header block is bounded")
    must(len(streams) <= limits.streams, "streams are bounded")
    held = sum(len(stream.buffer) for stream in streams.values())
    must(connection._receive_window + connection._consumed + held == limits.connection_window, "each byte of DATA is held or credited once")
    must(connection._receive_window >= 0 and held <= limits.connection_window, "what is held is bounded by the connection's window")
    waiting = sum(len(payload) for stream in streams.values() for payload, is_data in stream.pending or () if is_data)
    must(connection._stalled == waiting <= limits.stalled, "bytes that wait are counted and bounded")
    half_closed = sum(stream.state == states.HALF_CLOSED_LOCAL for stream in streams.values())
    must(connection._half_closed == half_closed <= limits.half_closed, "half-closed streams are counted and bounded")
    must(connection._watching <= streams.keys(), "who watches is there")
    for sid, stream in streams.items():
        _check_stream(connection, sid)
        must(stream.sid == sid, "a stream knows its id")


def _check_stream(connection: Connection, sid: int) -> None:
    limits, stream = connection._limits, connection._streams[sid]
    must(stream.state in _HELD, "no stream is held that is over")
    must(stream.receive_window <= limits.stream_window, "a stream gets no more credit than its window")
    if stream.state == states.HALF_CLOSED_LOCAL:
        must(not stream.buffer and not stream.pending, "nothing is held for a stream that we have ended")
    if stream.pending:
        must(all(is_data for _, is_data in list(stream.pending)[:-1]), "the frame that ends a stream is its last")
    if stream.state == states.OPEN:
        owed = limits.stream_window - stream.receive_window - len(stream.buffer)
        little, enough = owed <= limits.stream_window >> 6, stream.receive_window >= limits.stream_window >> 1
        must(little or enough, "credit of a stream is given back, so that every message that is allowed can be completed")


class Witness:
    """Reads the frames of both sides: what we say must be a server's side of RFC 9113."""

    def __init__(self) -> None:
        self._decoder = Decoder(max_header_list_size=1 << 20)
        self._asked: set[int] = set()
        """Streams that the peer has begun."""
        self._theirs_ended: set[int] = set()
        self._ending: set[int] = set()
        """Streams whose last header block has begun: their END_STREAM counts when the block is complete."""
        self._ours_ended: set[int] = set()
        self._over: set[int] = set()
        self._begun: set[int] = set()
        self._last = frames.LARGEST_ID
        self._table = 4096
        self._owed = {frames.SETTINGS: 0, frames.PING: 0}
        self._failed = False

    def heard(self, sent: bytes) -> None:
        """Frames of the peer, whole ones."""
        for kind, flags, sid, payload in split(sent):
            if kind == frames.HEADERS:
                self._asked.add(sid)
            if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM:
                whole = kind == frames.DATA or flags & frames.END_HEADERS
                (self._theirs_ended if whole else self._ending).add(sid)
            elif kind == frames.CONTINUATION and flags & frames.END_HEADERS and sid in self._ending:
                self._theirs_ended.add(sid)
            elif kind == frames.RST_STREAM and len(payload) == 4:
                self._over.add(sid)
            elif kind in self._owed and not flags & frames.ACK:
                self._owed[kind] += 1
                if kind == frames.SETTINGS:
                    self._note_table(payload)

    def _note_table(self, payload: bytes) -> None:
        for start in range(0, len(payload) - 5, 6):
            key, value = struct.unpack_from(">HI", payload, start)
            if key == frames.HEADER_TABLE_SIZE:
                self._table = min(self._table, value)

    def said(self, out: bytes, closed: bool) -> None:
        """What we answered, after `heard`; `closed`: the connection is over."""
        before = set(self._over)
        must(not self._failed or not out, "nothing is said after the GOAWAY of a fault")
        for kind, flags, sid, payload in split(out):
            if kind in (frames.SETTINGS, frames.PING) and flags & frames.ACK:
                self._owed[kind] -= 1
                if kind == frames.SETTINGS:
                    self._decoder.max_allowed_table_size = self._table
            elif kind == frames.GOAWAY:
                self._said_goaway(payload)
            elif sid:
                must(sid in self._asked and bool(sid & 1), "no frame on a stream that the peer has not begun (5.1)")
                must(sid not in before, "no frame on a closed stream (5.1)")
                self._said_on_stream(kind, flags, sid, payload)
        must(closed or not any(self._owed.values()), "each SETTINGS and PING has its acknowledgement (6.5.3, 6.7)")
        self._over |= self._ours_ended & self._theirs_ended

    def _said_goaway(self, payload: bytes) -> None:
        last, code = struct.unpack_from(">II", payload)
        must(last <= self._last, "the last stream of a GOAWAY never grows (6.8)")
        self._last, self._failed = last, code != 0

    def _said_on_stream(self, kind: int, flags: int, sid: int, payload: bytes) -> None:
        if kind == frames.RST_STREAM:
            must(sid not in self._over or sid in self._ours_ended, "a stream is reset once")
            self._over.add(sid)
        elif kind == frames.HEADERS:
            names = self._names(payload)
            must((names[:1] == [b":status"]) == (sid not in self._begun), "headers come first and once, trailers last (8.1)")
            must(
                sid in self._begun or flags & frames.END_STREAM == 0 or b"grpc-status" in names, "an answer that ends at once has a status"
            )
            self._begun.add(sid)
        elif kind == frames.DATA:
            must(sid in self._begun, "no DATA before headers (8.1)")
        must(kind == frames.RST_STREAM or sid not in self._ours_ended, "nothing but a reset after our END_STREAM (5.1)")
        if kind in (frames.HEADERS, frames.DATA) and flags & frames.END_STREAM:
            self._ours_ended.add(sid)

    def _names(self, block: bytes) -> list[bytes]:
        try:
            return [bytes(name) for name, _ in self._decoder.decode(block, raw=True)]
        except HPACKError as error:
            raise Violation(f"our header blocks can be decoded (RFC 7541, 4.2 and 6): {error}") from error


def split(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """The whole frames in some bytes: (kind, flags, stream, payload)."""
    at = 0
    while len(data) - at >= frames.HEAD:
        high, low, kind, flags, sid = struct.unpack_from(">HBBBI", data, at)
        end = at + frames.HEAD + (high << 8 | low)
        if end > len(data):
            return
        yield kind, flags, sid & 0x7FFFFFFF, data[at + frames.HEAD : end]
        at = end
