"""DATA frames -> messages -> decisions: the receiving side of a connection's streams. HOT."""

from __future__ import annotations

from extproc.transport.native import frames, grpc, outbound, states
from extproc.transport.native.control import Control
from extproc.transport.native.errors import Code, ConnectionFault, StreamFault
from extproc.transport.native.frames import window_update
from extproc.transport.native.grpc import Method, Status, unpack_prefix
from extproc.transport.native.states import TABLE
from extproc.transport.native.streams import Shared, Stream

_FROM_OPEN = TABLE[states.OPEN]


class Data(Control):
    """The handler of DATA, and what messages mean."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._receive_window = shared.limits.connection_window
        self._stream_window = shared.limits.stream_window

    def _on_data(self, sid: int, flags: int, payload: bytes) -> None:
        length = len(payload)
        self._receive_window -= length
        if self._receive_window < 0:
            raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "more DATA than the connection's window")
        stream = self._streams.get(sid)
        if (
            stream is not None
            and stream.whole
            and stream.state == states.OPEN
            and flags <= frames.END_STREAM
            and 4 < length <= stream.receive_window
            and unpack_prefix(payload) == (0, length - 5)
        ):
            # Almost always: one whole message in the first frame.
            self._consumed += length
            stream.receive_window -= length
            stream.whole = False
            if flags:
                stream.state = _FROM_OPEN[states.DATA_END]
            self._message(stream, payload[5:])
            if flags and stream.state == states.HALF_CLOSED_REMOTE:
                self._peer_ended(stream)
            return
        self._any_data(stream, sid, flags, payload)

    def _any_data(self, stream: Stream | None, sid: int, flags: int, payload: bytes) -> None:
        """DATA of every kind; the connection's window has already been charged."""
        length = len(payload)
        if flags & frames.PADDED:
            payload = without_padding(payload)
        if stream is None:
            self._consumed += length
            self._no_stream(sid, states.DATA_END if flags & frames.END_STREAM else states.DATA)
            return
        stream.receive_window -= length
        if stream.receive_window < 0:
            self._consumed += length
            raise StreamFault(Code.FLOW_CONTROL_ERROR)
        stream.whole = False
        ended = flags & frames.END_STREAM
        if not payload and not ended:
            self._count(outbound.EMPTY_DATA, self._limits.empty_data, "empty DATA frames")
        state = TABLE[stream.state][states.DATA_END if ended else states.DATA]
        if state != stream.state:
            if state < 0:
                self._consumed += length
            self._move_to(stream, state)
        if stream.left is not None:
            stream.left -= len(payload)
            if stream.left < 0:
                self._consumed += length
                raise StreamFault(Code.PROTOCOL_ERROR)
        if state == states.OPEN or state == states.HALF_CLOSED_REMOTE:
            self._pieces(stream, payload, length)
            if ended and stream.state == states.HALF_CLOSED_REMOTE:
                self._peer_ended(stream)
        else:
            self._consumed += length
        if stream.receive_window < self._stream_window >> 1 and stream.state == states.OPEN:
            # What is held stays charged; padding and what was consumed do not, or a long message would wait for credit for ever.
            credit = self._stream_window - stream.receive_window - len(stream.buffer)
            if credit > self._stream_window >> 6:
                stream.receive_window += credit
                self._out.append(window_update(sid, credit))

    def _pieces(self, stream: Stream, payload: bytes, length: int) -> None:
        """A message in several frames, or several messages in one. Credit for a piece comes back when its message is complete."""
        held = len(stream.buffer)
        buffer: bytes | bytearray = payload
        if held:
            # A bytearray grows in place: a message in tiny frames is not copied for each of them.
            buffer = stream.buffer
            buffer += payload
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
            self._message(stream, bytes(buffer[position - size : position]))
        if not self._ending(stream):
            stream.buffer = buffer if held and not position else bytearray(buffer[position:])
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


def without_padding(payload: bytes) -> bytes:
    """The payload of a PADDED frame, behind whose first byte its padding is told."""
    if not payload or payload[0] >= len(payload):
        raise ConnectionFault(Code.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - payload[0]]
