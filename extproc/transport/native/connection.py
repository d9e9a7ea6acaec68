"""One HTTP/2 connection of a gRPC server, sans-IO: bytes of the peer in, bytes for the peer out. HOT.

No socket, no clock, no task: the adapter (`server`) moves bytes and calls `tick` once a second. Every transition of a stream is in
`states.TABLE`, every bound in `limits`. A message is answered in the call that completes it: reply, data and trailers in one piece.

What is received is bounded by the windows that we give, and credit is given back only for what has been consumed; what waits to be sent
is bounded by `limits.stalled`. A peer's fault ends its stream or, where RFC 9113 says so, the connection; an exception in a decision
ends that stream alone.
"""

from __future__ import annotations

from collections import deque

from extproc.transport.base import Process
from extproc.transport.native import frames, grpc, states
from extproc.transport.native.errors import Code, ConnectionFault, StreamFault
from extproc.transport.native.frames import frame, rst_stream, unpack_head, window_update
from extproc.transport.native.grpc import Method, Status
from extproc.transport.native.headers import HeaderReader, Request
from extproc.transport.native.limits import DEFAULT, Limits
from extproc.transport.native.states import TABLE

_RESPONSE_HEAD = len(grpc.RESPONSE).to_bytes(3, "big") + bytes((frames.HEADERS, frames.END_HEADERS))
_TRAILERS_HEAD = len(grpc.TRAILERS_OK).to_bytes(3, "big") + bytes((frames.HEADERS, frames.END_HEADERS | frames.END_STREAM))
_TRAILERS_FLAGS = frames.END_HEADERS | frames.END_STREAM
_DRAIN_PING = b"extproc\0"
_IGNORED_AFTER_RESET = 512
"""Streams that we reset and remember, so that what was still on its way is not taken for a fault."""


class Stream:
    """One request."""

    __slots__ = ("answered", "buffer", "deadline", "left", "method", "pending", "receive_window", "send_window", "sid", "state")

    def __init__(self, sid: int, state: int, request: Request, send_window: int, receive_window: int) -> None:
        self.sid = sid
        self.state = state
        self.method = request.method
        self.left = request.content_length
        """Bytes that content-length still promises; None where it promised nothing."""
        self.send_window = send_window
        self.receive_window = receive_window
        self.buffer = b""
        """The beginning of a message that is not complete."""
        self.pending: deque[tuple[bytes, bool]] | None = None
        """What waits for windows: (payload of DATA or a whole HEADERS frame, is DATA)."""
        self.answered = False
        """Response headers were sent."""
        self.deadline = 0.0
        """In ticks of the connection's `now`; 0 for none."""


class Shared:
    """What the connections of one server have in common."""

    def __init__(self, process: Process, limits: Limits = DEFAULT) -> None:
        self.process = process
        self.limits = limits
        self.serving = False
        self.errors = 0
        """Decisions that ended in an exception."""
        self.faults: dict[str, int] = {}
        """Connections that were ended for the peer's fault, by error code."""


class Connection:
    """One peer."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = limits = shared.limits
        self._headers = HeaderReader(limits)
        self._streams: dict[int, Stream] = {}
        self._reset_by_us: deque[int] = deque(maxlen=_IGNORED_AFTER_RESET)
        self._half_closed = 0
        self._highest = 0
        self._rest = b""
        self._out: list[bytes] = []
        self._prefaced = self._settled = False
        self._block: tuple[int, int, list[bytes]] | None = None
        """(stream, flags, fragments) of a header block that CONTINUATION goes on with."""
        self._send_window = frames.DEFAULT_WINDOW
        self._peer_window = frames.DEFAULT_WINDOW
        self._peer_frame = 16_384
        self._receive_window = limits.connection_window
        self._consumed = 0
        self._stalled = 0
        self._watching: set[int] = set()
        self._counts = [0] * 7
        self._final = frames.LARGEST_ID
        """Streams above it are not begun: the last one that our GOAWAY named."""
        self.now = 0.0
        self.closed = False
        """Nothing more will be read; the adapter writes what there is and closes."""
        self._handlers = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_rst_stream,
            self._on_settings,
            self._on_push_promise,
            self._on_ping,
            self._on_goaway,
            self._on_window_update,
            self._on_continuation,
        )

    # ------------------------------------------------------------------------------------------------------------------ in, out
    def begin(self) -> bytes:
        """What a server says first."""
        limits = self._limits
        values = {
            frames.HEADER_TABLE_SIZE: 0,
            frames.MAX_CONCURRENT_STREAMS: limits.streams,
            frames.INITIAL_WINDOW_SIZE: limits.stream_window,
            frames.MAX_FRAME_SIZE: limits.frame,
            frames.MAX_HEADER_LIST_SIZE: limits.header_list,
        }
        return frames.settings(values) + window_update(0, limits.connection_window - frames.DEFAULT_WINDOW)

    def receive(self, data: bytes) -> bytes:
        """Bytes of the peer, however they were cut; returns what to send."""
        if self.closed:
            return b""
        buffer = self._rest + data if self._rest else data
        position = 0
        try:
            if not self._prefaced:
                if not frames.PREFACE.startswith(buffer[:24]):
                    raise ConnectionFault(Code.PROTOCOL_ERROR, "no HTTP/2 preface")
                if len(buffer) < 24:
                    self._rest = buffer
                    return b""
                self._prefaced, position = True, 24
            position = self._frames(buffer, position)
        except ConnectionFault as fault:
            self._fail(fault)
        self._rest = buffer[position:] if not self.closed else b""
        return self._flush()

    def _frames(self, buffer: bytes, position: int) -> int:
        """Handle every whole frame; the position behind the last one."""
        handlers, longest, size = self._handlers, self._limits.frame, len(buffer)
        while size - position >= 9:
            high, low, kind, flags, sid = unpack_head(buffer, position)
            length = high << 8 | low
            if length > longest:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "frame too long")
            end = position + 9 + length
            if end > size:
                break
            sid &= 0x7FFFFFFF
            if self._block is not None and (kind != frames.CONTINUATION or sid != self._block[0]):
                raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was interrupted")
            if not self._settled and kind != frames.SETTINGS:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame was not SETTINGS")
            if kind <= 9:
                try:
                    handlers[kind](sid, flags, buffer[position + 9 : end])
                except StreamFault as fault:
                    self._reset(sid, fault.code)
            else:
                self._count(6, self._limits.others, "unknown frames")
            position = end
            if self.closed:
                break
        return position

    def _flush(self) -> bytes:
        if self._consumed > self._limits.connection_window >> 1 and not self.closed:
            self._out.append(window_update(0, self._consumed))
            self._receive_window += self._consumed
            self._consumed = 0
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _fail(self, fault: ConnectionFault) -> None:
        self._out.append(frames.goaway(self._highest, fault.code, fault.message))
        faults = self._shared.faults
        faults[fault.code.name] = faults.get(fault.code.name, 0) + 1
        self._close()

    def _close(self) -> None:
        self.closed = True
        self._streams.clear()
        self._watching.clear()

    def _count(self, which: int, limit: int, what: str) -> None:
        """One more of what a flood is made of; the counts begin anew each second."""
        self._counts[which] += 1
        if self._counts[which] > limit:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, f"too many {what}")

    # --------------------------------------------------------------------------------------------------------------------- time
    def tick(self, now: float) -> bytes:
        """Once a second: counts of floods begin anew, streams that are past their grpc-timeout end. Returns what to send."""
        self.now = now
        self._counts = [0] * 7
        late = [stream for stream in self._streams.values() if stream.deadline and stream.deadline <= now]
        for stream in late:
            self._end(stream, Status.DEADLINE_EXCEEDED, "the deadline has passed")
        return self._flush()

    def health_changed(self) -> bytes:
        """Tell those who watch."""
        for sid in sorted(self._watching):
            stream = self._streams.get(sid)
            if stream is not None:
                self._say_health(stream)
        return self._flush()

    def drain(self) -> bytes:
        """Begin to end: no stream that has been sent is lost (RFC 9113, 6.8). The peer's PING answer brings the final GOAWAY."""
        if self.closed:
            return b""
        self._out.append(frames.goaway(frames.LARGEST_ID, Code.NO_ERROR, "draining"))
        self._out.append(frame(frames.PING, 0, 0, _DRAIN_PING))
        for sid in list(self._watching):
            self._end(self._streams[sid], Status.UNAVAILABLE, "draining")
        return self._flush()

    @property
    def idle(self) -> bool:
        """True where no stream waits for an answer."""
        return all(stream.state == states.HALF_CLOSED_LOCAL for stream in self._streams.values())

    # ------------------------------------------------------------------------------------------------------------------ HEADERS
    def _on_headers(self, sid: int, flags: int, payload: bytes) -> None:
        if not sid & 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "HEADERS on a stream that a client cannot open")
        if flags & 0x28:
            payload = _without_padding_and_priority(sid, flags, payload)
        if flags & frames.END_HEADERS:
            self._headers_complete(sid, flags, payload)
        else:
            self._block = sid, flags, [payload]

    def _on_continuation(self, sid: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        first, first_flags, parts = self._block
        parts.append(payload)
        if len(parts) > self._limits.continuations + 1 or sum(map(len, parts)) > self._limits.header_block:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "header block too long")
        if flags & frames.END_HEADERS:
            self._block = None
            self._headers_complete(first, first_flags, b"".join(parts))
        del sid

    def _headers_complete(self, sid: int, flags: int, block: bytes) -> None:
        stream = self._streams.get(sid)
        event = states.HEADERS_END if flags & frames.END_STREAM else states.HEADERS
        if stream is not None:
            self._trailers(stream, event, block)
            return
        if sid <= self._highest:
            self._headers.read(block)
            self._no_stream(sid, event)
            return
        # The block is always decoded, whatever becomes of the stream: the compression context belongs to the connection.
        request = self._headers.read(block)
        if sid > self._final:
            return
        self._highest = sid
        if len(self._streams) >= self._limits.streams:
            raise StreamFault(Code.REFUSED_STREAM)
        if request.malformed:
            raise StreamFault(Code.PROTOCOL_ERROR)
        stream = Stream(sid, TABLE[states.IDLE][event], request, self._peer_window, self._limits.stream_window)
        self._streams[sid] = stream
        if request.timeout is not None:
            stream.deadline = self.now + request.timeout + 1.0
        if request.method >= Method.UNKNOWN:
            self._refuse(stream)
        elif event == states.HEADERS_END:
            self._peer_ended(stream)

    def _refuse(self, stream: Stream) -> None:
        """What is no method of ours."""
        if stream.method is Method.UNKNOWN:
            self._end(stream, Status.UNIMPLEMENTED, "unknown method")
            return
        stream.answered = True
        self._out.append(frame(frames.HEADERS, frames.END_HEADERS, stream.sid, grpc.FOREIGN_RESPONSE))
        self._send(stream, grpc.FOREIGN_BODY)
        self._send_last(stream, b"")

    def _trailers(self, stream: Stream, event: int, block: bytes) -> None:
        well_formed = self._headers.read_trailers(block)
        self._move(stream, event)
        if not well_formed:
            raise StreamFault(Code.PROTOCOL_ERROR)
        if stream.state != states.CLOSED:
            self._peer_ended(stream)

    def _peer_ended(self, stream: Stream) -> None:
        """The peer's side is complete: what has no answer yet gets one."""
        if stream.left:
            raise StreamFault(Code.PROTOCOL_ERROR)
        if stream.buffer:
            self._end(stream, Status.INTERNAL, "the last message was not complete")
        elif stream.state == states.HALF_CLOSED_REMOTE and stream.sid not in self._watching and not stream.pending:
            if stream.method is Method.PROCESS:
                self._end(stream, Status.OK, "")
            else:
                self._end(stream, Status.INTERNAL, "no message")

    # --------------------------------------------------------------------------------------------------------------------- DATA
    def _on_data(self, sid: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        window = self._receive_window - length
        if window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        self._receive_window = window
        if flags & frames.PADDED:
            payload = _without_padding(payload)
        stream = self._streams.get(sid)
        if stream is None:
            self._consumed += length
            self._no_stream(sid, states.DATA_END if flags & frames.END_STREAM else states.DATA)
            return
        stream.receive_window -= length
        if stream.receive_window < 0:
            self._consumed += length
            raise StreamFault(Code.FLOW_CONTROL_ERROR)
        ended = flags & frames.END_STREAM
        if not payload and not ended:
            self._count(5, self._limits.empty_data, "empty DATA frames")
        state = TABLE[stream.state][states.DATA_END if ended else states.DATA]
        if state != stream.state:
            self._move_to(stream, state)
        if stream.left is not None:
            stream.left -= len(payload)
            if stream.left < 0:
                self._consumed += length
                raise StreamFault(Code.PROTOCOL_ERROR)
        if state == states.OPEN or state == states.HALF_CLOSED_REMOTE:
            # Almost always: one whole message in one frame.
            if not stream.buffer and len(payload) > 4 and not payload[0] and int.from_bytes(payload[1:5], "big") == len(payload) - 5:
                self._consumed += length
                self._message(stream, payload[5:])
            else:
                self._pieces(stream, payload, length)
            if ended and stream.state == states.HALF_CLOSED_REMOTE:
                self._peer_ended(stream)
        else:
            self._consumed += length
        if stream.receive_window < self._limits.stream_window >> 1 and stream.state == states.OPEN and not stream.buffer:
            credit = self._limits.stream_window - stream.receive_window
            stream.receive_window += credit
            self._out.append(window_update(sid, credit))

    def _pieces(self, stream: Stream, payload: bytes, length: int) -> None:
        """A message in several frames, or several messages in one. Credit for a piece comes back when its message is complete."""
        held = len(stream.buffer)
        buffer = stream.buffer + payload if held else payload
        stream.buffer = b""
        padding = length - len(payload)
        position = 0
        while (
            len(buffer) - position >= grpc.PREFIX and stream.state in (states.OPEN, states.HALF_CLOSED_REMOTE) and not self._ending(stream)
        ):
            size = int.from_bytes(buffer[position + 1 : position + 5], "big")
            if buffer[position]:
                self._end(stream, Status.UNIMPLEMENTED, "compressed messages are not understood")
                position = len(buffer)
                break
            if size > self._limits.message:
                self._end(stream, Status.RESOURCE_EXHAUSTED, f"a message has more than {self._limits.message} bytes")
                position = len(buffer)
                break
            if len(buffer) - position - grpc.PREFIX < size:
                break
            position += grpc.PREFIX + size
            self._message(stream, buffer[position - size : position])
        if not self._ending(stream):
            stream.buffer = buffer[position:]
        self._consumed += held + len(payload) + padding - len(stream.buffer)

    def _message(self, stream: Stream, message: bytes) -> None:
        """One whole message of the peer."""
        method = stream.method
        if method == Method.PROCESS:
            try:
                reply = self._shared.process(message)
            except Exception:
                self._shared.errors += 1
                self._end(stream, Status.INTERNAL, "the decision failed")
                return
            if reply is not None:
                self._answer(stream, reply)
        elif method == Method.HEALTH_CHECK:
            self._answer(stream, grpc.SERVING if self._shared.serving else grpc.NOT_SERVING)
        elif stream.sid not in self._watching:
            self._watching.add(stream.sid)
            self._say_health(stream)

    # ------------------------------------------------------------------------------------------------------------------ answers
    def _answer(self, stream: Stream, reply: bytes) -> None:
        """Headers, one message and trailers, in one piece where the windows allow it."""
        need = len(reply) + 5
        if need > self._send_window or need > stream.send_window or need > self._peer_frame or stream.answered:
            self._answer_slowly(stream, reply)
            return
        self._send_window -= need
        sid = stream.sid
        id4 = sid.to_bytes(4, "big")
        self._out.append(
            b"%b%b%b%b\x00\x00%b\x00%b%b%b%b%b"
            % (
                _RESPONSE_HEAD,
                id4,
                grpc.RESPONSE,
                need.to_bytes(3, "big"),
                id4,
                (need - 5).to_bytes(4, "big"),
                reply,
                _TRAILERS_HEAD,
                id4,
                grpc.TRAILERS_OK,
            )
        )
        stream.answered = True
        self._move_to(stream, TABLE[stream.state][states.WE_END])

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
        if sid > self._final:
            return
        state = states.IDLE if sid > self._highest else states.RESET if sid in self._reset_by_us else states.CLOSED
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
        self._count(1, self._limits.provoked_resets, "streams that had to be reset")
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

    # ------------------------------------------------------------------------------------------------------------- other frames
    def _on_rst_stream(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        stream = self._streams.get(sid)
        if stream is None:
            self._no_stream(sid, states.RST_STREAM)
            return
        if stream.state != states.HALF_CLOSED_LOCAL:
            self._count(0, self._limits.unanswered_resets, "streams reset before their answer")
        self._forget(stream, states.CLOSED)

    def _on_window_update(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        self._count(2, self._limits.window_updates, "WINDOW_UPDATE frames")
        credit = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not sid:
            if not credit or self._send_window + credit > frames.LARGEST_WINDOW:
                code = Code.FLOW_CONTROL_ERROR if credit else Code.PROTOCOL_ERROR
                raise ConnectionFault(code, "WINDOW_UPDATE of the connection out of range")
            self._send_window += credit
            if self._stalled:
                for stream in [one for one in self._streams.values() if one.pending]:
                    self._unstall(stream)
            return
        stream_ = self._streams.get(sid)
        if stream_ is None:
            self._no_stream(sid, states.WINDOW_UPDATE)
            return
        if not credit:
            raise StreamFault(Code.PROTOCOL_ERROR)
        if stream_.send_window + credit > frames.LARGEST_WINDOW:
            raise StreamFault(Code.FLOW_CONTROL_ERROR)
        stream_.send_window += credit
        self._unstall(stream_)

    def _on_settings(self, sid: int, flags: int, payload: bytes) -> None:
        self._settled = True
        if sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement carries nothing")
            self._headers.settings_acknowledged()
            return
        if len(payload) % 6:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS come in 6 bytes each")
        self._count(3, self._limits.settings, "SETTINGS frames")
        for start in range(0, len(payload), 6):
            self._setting(int.from_bytes(payload[start : start + 2], "big"), int.from_bytes(payload[start + 2 : start + 6], "big"))
        self._out.append(frame(frames.SETTINGS, frames.ACK, 0))

    def _setting(self, key: int, value: int) -> None:
        if key == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "initial window too large")
            change, self._peer_window = value - self._peer_window, value
            for stream in list(self._streams.values()):
                if stream.send_window + change > frames.LARGEST_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window became too large")
                stream.send_window += change
                if change > 0:
                    self._unstall(stream)
        elif key == frames.MAX_FRAME_SIZE:
            if not 16_384 <= value <= 16_777_215:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "frame size out of range")
            self._peer_frame = value
        elif key == frames.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")

    def _on_ping(self, sid: int, flags: int, payload: bytes) -> None:
        if sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING has 8 bytes")
        if flags & frames.ACK:
            if payload == _DRAIN_PING and self._final == frames.LARGEST_ID:
                self._final = self._highest
                self._out.append(frames.goaway(self._highest, Code.NO_ERROR, "drained"))
            return
        self._count(4, self._limits.pings, "PING frames")
        self._out.append(frame(frames.PING, frames.ACK, 0, payload))

    def _on_priority(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if not sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY without a stream")
        self._count(6, self._limits.others, "PRIORITY frames")
        if len(payload) != 5 or int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == sid:
            code = Code.FRAME_SIZE_ERROR if len(payload) != 5 else Code.PROTOCOL_ERROR
            if sid > self._highest:
                # A stream that does not exist cannot be reset.
                raise ConnectionFault(code, "malformed PRIORITY")
            raise StreamFault(code)

    def _on_push_promise(self, sid: int, flags: int, payload: bytes) -> None:
        del sid, flags, payload
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client does not push")

    def _on_goaway(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "GOAWAY has 8 bytes or more")


def _without_padding(payload: bytes) -> bytes:
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]


def _without_padding_and_priority(sid: int, flags: int, payload: bytes) -> bytes:
    if flags & frames.PADDED:
        payload = _without_padding(payload)
    if flags & frames.WITH_PRIORITY:
        if len(payload) < 5:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream cannot depend on itself")
        payload = payload[5:]
    return payload
