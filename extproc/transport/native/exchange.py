"""The usual stream in one piece: HEADERS with a known block, and behind it DATA with one whole message. HOT.

Whatever is unusual is left to the general way before anything was done. What is done here is what the general way does with the same
bytes: the states come from `states.TABLE`, and properties that cut conversations into pieces compare both ways.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from extproc.transport.native import frames, states
from extproc.transport.native.data import Data
from extproc.transport.native.grpc import PREFIX, RESPONSE, TRAILERS_OK, Status
from extproc.transport.native.headers import USUAL
from extproc.transport.native.outbound import RESPONSE_HEAD, TRAILERS_HEAD, pack_head, pack_tail
from extproc.transport.native.states import TABLE
from extproc.transport.native.streams import Answered, Shared, Stream

_HEAD, _END_STREAM = frames.HEAD, frames.END_STREAM
_BEHIND: Final = frames.HEAD + PREFIX
_unpack = Struct(">IBIBI").unpack_from
"""The head of a DATA frame (length << 8 | type, flags, stream) and the prefix of its message (compressed, length)."""
_OPENED: Final = TABLE[states.IDLE][states.HEADERS]
_ENDED: Final = TABLE[_OPENED][states.DATA_END]
assert TABLE[_OPENED][states.WE_END] == Answered.state


class Exchange(Data):
    """Request and answer at once."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._most_streams = shared.limits.streams
        self._longest_whole = min(shared.limits.frame, shared.limits.stream_window, shared.limits.message + PREFIX)
        """Bytes of DATA that may be one whole message."""

    def _exchange(self, buffer: bytes, start: int, end: int, sid: int) -> int:
        """The header block of a stream is buffer[start:end]; returns the position behind its DATA, or 0 where it is not the usual case."""
        if end + _BEHIND > len(buffer) or self._headers.memo.get(buffer[start:end]) is not USUAL:
            return 0
        first, flags, same, compressed, size = _unpack(buffer, end)
        length: int = size + PREFIX
        after = end + _HEAD + length
        if same != sid or first != length << 8 or flags > _END_STREAM or compressed or after > len(buffer):
            return 0
        streams = self._streams
        if sid <= self._highest or not sid & 1 or sid > self._final or len(streams) >= self._most_streams:
            return 0
        if length > self._longest_whole or length > self._receive_window:
            return 0
        self._highest = sid
        self._receive_window -= length
        self._consumed += length
        try:
            reply = self._shared.process(buffer[end + _BEHIND : after])
        except Exception:
            self._shared.errors += 1
            self._finish(sid, flags, length, None, failed=True)
            return after
        need = len(reply) + PREFIX if reply is not None else 0
        if reply is None or need > self._send_window or need > self._peer_room:
            self._finish(sid, flags, length, reply, failed=False)
            return after
        self._send_window -= need
        self._out.append(
            pack_head(RESPONSE_HEAD, sid, RESPONSE, need << 8, 0, sid, 0, need - 5) + reply + pack_tail(TRAILERS_HEAD, sid, TRAILERS_OK)
        )
        if not flags:
            # The peer has not ended its side: the stream is remembered until it has, or resets it.
            streams[sid] = Answered(sid, self._peer_window - need, self._stream_window - length)
            self._half_closed += 1
            if self._half_closed > self._limits.half_closed:
                self._reset_oldest()
        return after

    def _finish(self, sid: int, flags: int, length: int, reply: bytes | None, failed: bool) -> None:
        """The general way from the message on: no reply, one that does not fit through the peer's windows, or a failure."""
        state = _ENDED if flags else _OPENED
        self._streams[sid] = stream = Stream(sid, state, USUAL, self._peer_window, self._stream_window - length)
        stream.whole = False
        if failed:
            self._end(stream, Status.INTERNAL, "the decision failed")
        elif reply is not None:
            self._answer(stream, reply)
        if flags and stream.state == _ENDED:
            self._peer_ended(stream)
