"""The sending side of a connection: answers, the peer's windows, and the streams' transitions. HOT."""

from __future__ import annotations

import struct
from collections import deque

from extproc.transport.native import frames, grpc, states
from extproc.transport.native.errors import Code, ConnectionFault, StreamFault
from extproc.transport.native.frames import frame, rst_stream
from extproc.transport.native.grpc import Status
from extproc.transport.native.states import TABLE
from extproc.transport.native.streams import Shared, Stream

RESPONSE_HEAD = len(grpc.RESPONSE).to_bytes(3, "big") + bytes((frames.HEADERS, frames.END_HEADERS))
TRAILERS_HEAD = len(grpc.TRAILERS_OK).to_bytes(3, "big") + bytes((frames.HEADERS, frames.END_HEADERS | frames.END_STREAM))
pack_head = struct.Struct(f">5sI{len(grpc.RESPONSE)}sIBIBI").pack
"""HEADERS of a response, then the head of its DATA (length << 8 | type, flags, stream) and of its message (compressed, length)."""
pack_tail = struct.Struct(f">5sI{len(grpc.TRAILERS_OK)}s").pack
_TRAILERS_FLAGS = frames.END_HEADERS | frames.END_STREAM
_IGNORED_AFTER_RESET = 512
"""Streams that we reset and remember, so that what was still on its way is not taken for a fault."""

UNANSWERED, PROVOKED, WINDOW_UPDATES, SETTINGS, PINGS, EMPTY_DATA, OTHERS = range(7)
"""What is counted each second, to notice a flood."""


class Outbound:
    """What a connection sends, and why."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = shared.limits
        self._streams: dict[int, Stream] = {}
        self._reset_by_us: deque[int] = deque(maxlen=_IGNORED_AFTER_RESET)
        self._half_closed = 0
        self._highest = 0
        self._final = frames.LARGEST_ID
        """Streams above it are not begun: the last one that our GOAWAY named."""
        self._out: list[bytes] = []
        self._send_window = frames.DEFAULT_WINDOW
        self._peer_window = frames.DEFAULT_WINDOW
        self._peer_frame = 16_384
        self._peer_room = 16_384
        """Bytes of DATA that a new stream takes at once: the smaller of the two."""
        self._consumed = 0
        """Bytes of DATA whose credit has not been given back."""
        self._stalled = 0
        self._watching: set[int] = set()
        self._counts = [0] * 7

    def _count(self, which: int, limit: int, what: str) -> None:
        """One more of what a flood is made of; the counts begin anew each second."""
        self._counts[which] += 1
        if self._counts[which] > limit:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many {what}")

    # ------------------------------------------------------------------------------------------------------------------ answers
    def _answer(self, stream: Stream, reply: bytes) -> None:
        """Headers, one message and trailers, in one piece where the windows allow it."""
        need = len(reply) + 5
        if need > self._send_window or need > stream.send_window or need > self._peer_frame or stream.answered:
            self._answer_slowly(stream, reply)
            return
        self._send_window -= need
        stream.send_window -= need
        sid = stream.sid
        self._out.append(
            pack_head(RESPONSE_HEAD, sid, grpc.RESPONSE, need << 8, 0, sid, 0, need - 5)
            + reply
            + pack_tail(TRAILERS_HEAD, sid, grpc.TRAILERS_OK)
        )
        stream.answered = True
        state = TABLE[stream.state][states.WE_END]
        if stream.buffer:
            self._move_to(stream, state)
            return
        # The usual ends: nothing is held for the stream, so there is nothing to give free.
        stream.state = state
        if state == states.CLOSED:
            del self._streams[sid]
            return
        self._half_closed += 1
        if self._half_closed > self._limits.half_closed:
            self._reset_oldest()

    def _answer_slowly(self, stream: Stream, reply: bytes) -> None:
        self._begin_response(stream)
        self._send(stream, b"\0" + len(reply).to_bytes(4, "big") + reply)
        self._send_last(stream, grpc.TRAILERS_OK)

    def _say_health(self, stream: Stream) -> None:
        self._begin_response(stream)
        said = grpc.SERVING if self._shared.serving else grpc.NOT_SERVING
        self._send(stream, b"\0" + len(said).to_bytes(4, "big") + said)

    def _begin_response(self, stream: Stream) -> None:
        if not stream.answered:
            stream.answered = True
            self._out.append(frame(frames.HEADERS, frames.END_HEADERS, stream.sid, grpc.RESPONSE))

    def _end(self, stream: Stream, status: Status, message: str) -> None:
        """The last word on a stream that is not ended yet."""
        if self._ending(stream):
            return
        self._watching.discard(stream.sid)
        self._consumed += len(stream.buffer)
        stream.buffer = b""
        stream.whole = False
        if stream.answered:
            self._send_last(stream, grpc.trailers(status, message))
        elif status is Status.OK:
            stream.answered = True
            self._send_last(stream, grpc.RESPONSE + grpc.TRAILERS_OK)
        else:
            stream.answered = True
            self._send_last(stream, grpc.trailers_only(status, message))

    @staticmethod
    def _ending(stream: Stream) -> bool:
        """True where our last frame was sent, or waits for windows."""
        if stream.state in (states.HALF_CLOSED_LOCAL, states.CLOSED, states.RESET):
            return True
        return stream.pending is not None and bool(stream.pending) and not stream.pending[-1][1]

    def _send(self, stream: Stream, payload: bytes) -> None:
        """DATA, as far as the windows reach; the rest waits."""
        if not stream.pending:
            payload = self._send_now(stream, payload)
        if payload:
            if stream.pending is None:
                stream.pending = deque()
            stream.pending.append((payload, True))
            self._stalled += len(payload)
            if self._stalled > self._limits.stalled:
                raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "too much waits for your windows")

    def _send_now(self, stream: Stream, payload: bytes) -> bytes:
        """Send what windows and frame size allow; returns the rest."""
        while payload:
            room = min(self._send_window, stream.send_window, self._peer_frame)
            if room <= 0:
                return payload
            part, payload = payload[:room], payload[room:]
            self._out.append(frame(frames.DATA, 0, stream.sid, part))
            self._send_window -= len(part)
            stream.send_window -= len(part)
        return b""

    def _send_last(self, stream: Stream, block: bytes) -> None:
        """The frame that ends our side: HEADERS with this block, or an empty DATA where there is none. It waits behind what waits."""
        ends = frames.END_STREAM
        last = frame(frames.HEADERS, _TRAILERS_FLAGS, stream.sid, block) if block else frame(frames.DATA, ends, stream.sid)
        if stream.pending:
            stream.pending.append((last, False))
            return
        self._out.append(last)
        self._move_to(stream, TABLE[stream.state][states.WE_END])

    def _unstall(self, stream: Stream) -> None:
        """Windows have grown: send what waits."""
        pending = stream.pending
        while pending:
            payload, is_data = pending[0]
            if not is_data:
                pending.clear()
                self._out.append(payload)
                self._move_to(stream, TABLE[stream.state][states.WE_END])
                return
            rest = self._send_now(stream, payload)
            self._stalled -= len(payload) - len(rest)
            if rest:
                pending[0] = (rest, True)
                return
            pending.popleft()

    # ------------------------------------------------------------------------------------------------------------------- states
    def _move(self, stream: Stream, event: int) -> None:
        self._move_to(stream, TABLE[stream.state][event])

    def _move_to(self, stream: Stream, state: int) -> None:
        """Take a transition of the table; raises its fault."""
        if state < 0:
            self._fault(state)
        if state == states.CLOSED or state == states.RESET:
            self._forget(stream, state)
        elif state == states.HALF_CLOSED_LOCAL:
            self._half_closed += 1
            stream.state = state
            if self._half_closed > self._limits.half_closed:
                self._reset_oldest()
        else:
            stream.state = state

    def _forget(self, stream: Stream, state: int) -> None:
        if stream.state == states.HALF_CLOSED_LOCAL:
            self._half_closed -= 1
        stream.state = state
        self._consumed += len(stream.buffer)
        stream.buffer = b""
        if stream.pending:
            self._stalled -= sum(len(payload) for payload, is_data in stream.pending if is_data)
            stream.pending.clear()
        self._watching.discard(stream.sid)
        self._streams.pop(stream.sid, None)

    def _no_stream(self, sid: int, event: int) -> None:
        """A frame on a stream that we do not hold."""
        if not sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "not a frame of the connection")
        if sid > self._final:
            return
        state = states.IDLE if sid > self._highest or not sid & 1 else states.RESET if sid in self._reset_by_us else states.CLOSED
        state = TABLE[state][event]
        if state < 0:
            self._fault(state)

    @staticmethod
    def _fault(entry: int) -> None:
        of_connection, code = states.FAULTS[entry]
        if of_connection:
            raise ConnectionFault(code, f"not allowed in this state of a stream: {code.name}")
        raise StreamFault(code)

    def _reset(self, sid: int, code: Code) -> None:
        """End one stream for the peer's fault."""
        self._count(PROVOKED, self._limits.provoked_resets, "streams that had to be reset")
        stream = self._streams.get(sid)
        if stream is not None:
            self._forget(stream, states.RESET)
        self._reset_by_us.append(sid)
        self._out.append(rst_stream(sid, code))

    def _reset_oldest(self) -> None:
        """The peer leaves too many streams open that we have ended: close the oldest, which RFC 9113 (8.1) allows without fault."""
        for stream in self._streams.values():
            if stream.state == states.HALF_CLOSED_LOCAL:
                self._forget(stream, states.RESET)
                self._reset_by_us.append(stream.sid)
                self._out.append(rst_stream(stream.sid, Code.NO_ERROR))
                return
