"""One HTTP/2 connection of a gRPC server, sans-IO: bytes of the peer in, bytes for the peer out. HOT.

No socket, no clock, no task: the adapter (`server`) moves bytes and calls `tick` once a second. Every transition of a stream is in
`states.TABLE`, every bound in `limits`. A message is answered in the call that completes it: reply, data and trailers in one piece.

What is received is bounded by the windows that we give, and credit is given back only for what has been consumed; what waits to be sent
is bounded by `limits.stalled`. A peer's fault ends its stream or, where RFC 9113 says so, the connection; an exception in a decision
ends that stream alone.
"""

from __future__ import annotations

from extproc.transport.native import frames, grpc, states
from extproc.transport.native.control import DRAIN_PING
from extproc.transport.native.data import without_padding
from extproc.transport.native.errors import Code, ConnectionFault, StreamFault
from extproc.transport.native.exchange import Exchange
from extproc.transport.native.frames import frame, unpack_head, window_update
from extproc.transport.native.grpc import Method, Status
from extproc.transport.native.headers import USUAL
from extproc.transport.native.late import without_given_up
from extproc.transport.native.states import TABLE
from extproc.transport.native.streams import Shared, Stream

_NO_TABLE = b"\x20"
_FROM_IDLE = TABLE[states.IDLE]
_WHOLE_RESET = 4 << 8 | frames.RST_STREAM
"""First word of a RST_STREAM frame of the right length."""
_RESET_HEAD = b"\0\0\4\3\0"
"""How such a frame begins."""


class Connection(Exchange):
    """One peer, from `now` on: seconds of the clock that `tick` tells."""

    def __init__(self, shared: Shared, now: float = 0.0) -> None:
        super().__init__(shared)
        self._rest = b""
        self._prefaced = False
        self._block: tuple[int, int, list[bytes]] | None = None
        """(stream, flags, fragments) of a header block that CONTINUATION goes on with."""
        self._half = shared.limits.connection_window >> 1
        """Credit is given back in halves of the window."""
        self.now = now
        self.closed = False
        """Nothing more will be read; the adapter writes what there is and closes."""
        self._longest = shared.limits.frame << 8 | 0xFF
        """The largest first word of a frame's head: length << 8 | type."""
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
            *(self._on_unknown for _ in range(10, 256)),
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
        more = limits.connection_window - frames.DEFAULT_WINDOW
        return frames.settings(values) + (window_update(0, more) if more else b"")

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

    def receive_late(self, data: bytes) -> bytes:
        """`receive` of so many bytes that the peer may have given up some of what it asks for in them: that is not decided, and counted."""
        # As many resets as streams that have their answer: what Envoy always sends, and nothing was given up.
        if data.count(_RESET_HEAD) <= self._half_closed or self.closed or self._expecting or not self._prefaced:
            return self.receive(data)
        buffer, given_up, size = without_given_up(self._rest + data, self._highest, self._is_usual)
        if not given_up or size > self._receive_window:
            return self.receive(data)
        self._receive_window -= size
        self._consumed += size
        self._shared.shed += len(given_up)
        self._rest = b""
        out = self.receive(buffer)
        self._highest = max(self._highest, *given_up)
        return out

    def _is_usual(self, block: bytes) -> bool:
        return self._headers.memo.get(block) is USUAL

    def _frames(self, buffer: bytes, position: int) -> int:
        """Handle every whole frame; the position behind the last one."""
        handlers, longest, size = self._handlers, self._longest, len(buffer)
        last = size - frames.HEAD
        while position <= last:
            first, flags, sid = unpack_head(buffer, position)
            if first > longest:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "frame too long")
            end = position + 9 + (first >> 8)
            if end > size:
                break
            sid &= 0x7FFFFFFF
            if self._expecting:
                self._expected(first & 0xFF, sid)
            if first == _WHOLE_RESET:
                stream = self._streams.get(sid)
                if stream is not None and stream.state == states.HALF_CLOSED_LOCAL:
                    # What Envoy does with every stream that has its answer. Closed is forgotten; nothing is held for it.
                    self._half_closed -= 1
                    del self._streams[sid]
                    position = end
                    continue
            try:
                if first & 0xFF == 1 and flags == 4:  # HEADERS with END_HEADERS, as numbers: this is asked of every frame
                    after = self._exchange(buffer, position + 9, end, sid)
                    if after:
                        position = after
                        continue
                handlers[first & 0xFF](sid, flags, buffer[position + 9 : end])
            except StreamFault as fault:
                self._reset(sid, fault.code)
            position = end
        return position

    def _expected(self, kind: int, sid: int) -> None:
        """Only one frame may come now: the first SETTINGS, or the CONTINUATION of a header block."""
        if not self._settled:
            if kind != frames.SETTINGS:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "the first frame was not SETTINGS")
        elif self._block is not None and (kind != frames.CONTINUATION or sid != self._block[0]):
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a header block was interrupted")

    def _flush(self) -> bytes:
        if self._consumed > self._half and not self.closed:
            self._out.append(window_update(0, self._consumed))
            self._receive_window += self._consumed
            self._consumed = 0
        if self._owes_size_update:
            early, late = self._out[: self._owed_from], self._out[self._owed_from :]
            self._out[:] = [*early, self._with_size_update(b"".join(late))]
            self._owed_from = 0
        out = b"".join(self._out)
        self._out.clear()
        return out

    def _with_size_update(self, out: bytes) -> bytes:
        """Put a table size update (to zero) before the first header block that leaves after the peer's SETTINGS are acknowledged."""
        position = 0
        while position < len(out):
            first, flags, sid = unpack_head(out, position)
            end = position + frames.HEAD + (first >> 8)
            if first & 0xFF == frames.HEADERS:
                self._owes_size_update = False
                changed = frame(frames.HEADERS, flags, sid, _NO_TABLE + out[position + frames.HEAD : end])
                return out[:position] + changed + out[end:]
            position = end
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
                try:
                    self._say_health(stream)
                except ConnectionFault as fault:
                    self._fail(fault)
                    break
        return self._flush()

    def drain(self) -> bytes:
        """Begin to end: no stream that has been sent is lost (RFC 9113, 6.8). The peer's PING answer brings the final GOAWAY."""
        if self.closed or self._draining:
            return b""
        self._draining = True
        self._out.append(frames.goaway(frames.LARGEST_ID, Code.NO_ERROR, "draining"))
        self._out.append(frame(frames.PING, 0, 0, DRAIN_PING))
        for sid in list(self._watching):
            self._end(self._streams[sid], Status.UNAVAILABLE, "draining")
        return self._flush()

    @property
    def greeted(self) -> bool:
        """True once the peer has said its preface and SETTINGS."""
        return self._settled

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
            self._expecting = True

    def _on_continuation(self, sid: int, flags: int, payload: bytes) -> None:
        if self._block is None:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        first, first_flags, parts = self._block
        parts.append(payload)
        if len(parts) > self._limits.continuations + 1 or sum(map(len, parts)) > self._limits.header_block:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "header block too long")
        if flags & frames.END_HEADERS:
            self._block = None
            self._expecting = False
            self._headers_complete(first, first_flags, b"".join(parts))
        del sid

    def _headers_complete(self, sid: int, flags: int, block: bytes) -> None:
        event = states.HEADERS_END if flags & frames.END_STREAM else states.HEADERS
        if sid <= self._highest:
            self._not_first(sid, event, block)
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
        self._streams[sid] = stream = Stream(sid, _FROM_IDLE[event], request, self._peer_window, self._stream_window)
        if request.timeout is not None:
            stream.deadline = self.now + request.timeout + 1.0
        if stream.method >= Method.UNKNOWN:
            self._refuse(stream)
        elif event == states.HEADERS_END:
            self._peer_ended(stream)

    def _not_first(self, sid: int, event: int, block: bytes) -> None:
        """HEADERS on a stream that was opened before: its trailers, or a fault."""
        stream = self._streams.get(sid)
        if stream is not None:
            self._trailers(stream, event, block)
            return
        self._headers.read(block)
        self._no_stream(sid, event)

    def _refuse(self, stream: Stream) -> None:
        """What is no method of ours."""
        if stream.method is Method.UNKNOWN:
            self._end(stream, Status.UNIMPLEMENTED, "unknown method")
            return
        stream.answered, stream.whole = True, False
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


def _without_padding_and_priority(sid: int, flags: int, payload: bytes) -> bytes:
    if flags & frames.PADDED:
        payload = without_padding(payload)
    if flags & frames.WITH_PRIORITY:
        if len(payload) < 5:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
        if int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a stream cannot depend on itself")
        payload = payload[5:]
    return payload
