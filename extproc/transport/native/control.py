"""Frames that are about the connection, or about a stream as such: everything but HEADERS, CONTINUATION and DATA."""

from __future__ import annotations

from extproc.transport.native import frames, outbound, states
from extproc.transport.native.errors import Code, ConnectionFault, StreamFault
from extproc.transport.native.frames import frame
from extproc.transport.native.headers import HeaderReader
from extproc.transport.native.outbound import Outbound
from extproc.transport.native.streams import Shared

DEFAULT_TABLE = 4_096
"""Bytes of a dynamic table that nobody has spoken about (RFC 9113, 6.5.2)."""
DRAIN_PING = b"extproc\0"
"""Its answer tells that the peer has seen our GOAWAY."""


class Control(Outbound):
    """The handlers of those frames."""

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared)
        self._headers = HeaderReader(shared.limits)
        self._draining = False
        """We have said that we are going."""
        self._settled = False
        """The peer's first SETTINGS have come."""
        self._owes_size_update = False
        self._table_given_up = False
        self._owed_from = 0
        """Pieces of what is to be sent that come before the acknowledgement of those SETTINGS."""
        self._expecting = True
        """Only one kind of frame may come now: the first SETTINGS, or a CONTINUATION."""

    def _on_rst_stream(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        stream = self._streams.get(sid)
        if stream is None:
            self._no_stream(sid, states.RST_STREAM)
            return
        self._count(outbound.UNANSWERED, self._limits.unanswered_resets, "streams reset before their answer")
        self._forget(stream, states.CLOSED)

    def _on_window_update(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if len(payload) != 4:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        self._count(outbound.WINDOW_UPDATES, self._limits.window_updates, "WINDOW_UPDATE frames")
        credit = int.from_bytes(payload, "big") & 0x7FFFFFFF
        if not sid:
            if not credit or self._send_window + credit > frames.LARGEST_WINDOW:
                code = Code.FLOW_CONTROL_ERROR if credit else Code.PROTOCOL_ERROR
                raise ConnectionFault(code, "WINDOW_UPDATE of the connection out of range")
            self._send_window += credit
            self._unstall_all()
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
        if sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK and not self._settled:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "the first SETTINGS were an acknowledgement")
        self._settled = True
        self._expecting = False
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(Code.FRAME_SIZE_ERROR, "an acknowledgement carries nothing")
            self._headers.settings_acknowledged()
            return
        if len(payload) % 6:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "SETTINGS come in 6 bytes each")
        self._count(outbound.SETTINGS, self._limits.settings, "SETTINGS frames")
        for start in range(0, len(payload), 6):
            self._setting(int.from_bytes(payload[start : start + 2], "big"), int.from_bytes(payload[start + 2 : start + 6], "big"))
        self._out.append(frame(frames.SETTINGS, frames.ACK, 0))
        # Nothing is sent between two values of one frame (RFC 9113, 6.5.3): a window may grow in the first and shrink in the second.
        self._unstall_all()

    def _unstall_all(self) -> None:
        if self._stalled:
            for stream in [one for one in self._streams.values() if one.pending]:
                self._unstall(stream)

    def _setting(self, key: int, value: int) -> None:
        if key == frames.HEADER_TABLE_SIZE and value < DEFAULT_TABLE and not self._table_given_up:
            # We never index. Still, a peer that makes its table smaller must be told so in the next header block (RFC 9113, 4.3.1).
            self._table_given_up = self._owes_size_update = True
            self._owed_from = len(self._out)
        if key == frames.INITIAL_WINDOW_SIZE:
            if value > frames.LARGEST_WINDOW:
                raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "initial window too large")
            change, self._peer_window = value - self._peer_window, value
            for stream in list(self._streams.values()):
                if stream.send_window + change > frames.LARGEST_WINDOW:
                    raise ConnectionFault(Code.FLOW_CONTROL_ERROR, "a window became too large")
                stream.send_window += change
        elif key == frames.MAX_FRAME_SIZE:
            if not 16_384 <= value <= 16_777_215:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "frame size out of range")
            self._peer_frame = value
        elif key == frames.ENABLE_PUSH and value > 1:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        self._peer_room = min(self._peer_window, self._peer_frame)

    def _on_ping(self, sid: int, flags: int, payload: bytes) -> None:
        if sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "PING has 8 bytes")
        if flags & frames.ACK:
            if self._draining and payload == DRAIN_PING and self._final == frames.LARGEST_ID:
                self._final = self._highest
                self._out.append(frames.goaway(self._highest, Code.NO_ERROR, "drained"))
            return
        self._count(outbound.PINGS, self._limits.pings, "PING frames")
        self._out.append(frame(frames.PING, frames.ACK, 0, payload))

    def _on_priority(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if not sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "PRIORITY without a stream")
        self._count(outbound.OTHERS, self._limits.others, "PRIORITY frames")
        if len(payload) != 5 or int.from_bytes(payload[:4], "big") & 0x7FFFFFFF == sid:
            code = Code.FRAME_SIZE_ERROR if len(payload) != 5 else Code.PROTOCOL_ERROR
            if sid not in self._streams:
                # A stream that does not exist, or is over, cannot be reset.
                raise ConnectionFault(code, "malformed PRIORITY")
            raise StreamFault(code)

    def _on_unknown(self, sid: int, flags: int, payload: bytes) -> None:
        del sid, flags, payload
        self._count(outbound.OTHERS, self._limits.others, "unknown frames")

    def _on_push_promise(self, sid: int, flags: int, payload: bytes) -> None:
        del sid, flags, payload
        raise ConnectionFault(Code.PROTOCOL_ERROR, "a client does not push")

    def _on_goaway(self, sid: int, flags: int, payload: bytes) -> None:
        del flags
        if sid:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(Code.FRAME_SIZE_ERROR, "GOAWAY has 8 bytes or more")
