"""Stream states: every transition of a server is in the table of this file, and nowhere else.

The rules (RFC 9113 section 5.1, and what Envoy needs):
* A stream that we do not hold is IDLE above the highest id that the peer has opened, CLOSED below it.
* After our early END_STREAM a stream is half-closed (local): the peer may still send, and what it sends is discarded and its credit
  returned. Envoy resets every such stream; that reset is free.
* A stream that we reset is RESET for a while: what was on its way when our RST_STREAM left is ignored.
* A peer's fault on one stream ends that stream (RST_STREAM) where RFC 9113 says "stream error", and the connection (GOAWAY) where it
  says "connection error".
"""

from __future__ import annotations

from typing import Final

from extproc.transport.native.errors import Code

IDLE: Final = 0
OPEN: Final = 1
HALF_CLOSED_REMOTE: Final = 2
"""The peer has ended its side."""
HALF_CLOSED_LOCAL: Final = 3
"""We have ended our side."""
RESET: Final = 4
CLOSED: Final = 5
STATES: Final = ("idle", "open", "half-closed (remote)", "half-closed (local)", "reset by us", "closed")

HEADERS: Final = 0
HEADERS_END: Final = 1
"""HEADERS with END_STREAM."""
DATA: Final = 2
DATA_END: Final = 3
RST_STREAM: Final = 4
WINDOW_UPDATE: Final = 5
WE_END: Final = 6
WE_RESET: Final = 7
EVENTS: Final = ("HEADERS", "HEADERS with END_STREAM", "DATA", "DATA with END_STREAM", "RST_STREAM", "WINDOW_UPDATE", "we end", "we reset")

STREAM_PROTOCOL: Final = -1
STREAM_CLOSED: Final = -2
CONNECTION_PROTOCOL: Final = -3
CONNECTION_CLOSED: Final = -4
NEVER: Final = -5
"""We do not do that."""
FAULTS: Final = {
    STREAM_PROTOCOL: (False, Code.PROTOCOL_ERROR),
    STREAM_CLOSED: (False, Code.STREAM_CLOSED),
    CONNECTION_PROTOCOL: (True, Code.PROTOCOL_ERROR),
    CONNECTION_CLOSED: (True, Code.STREAM_CLOSED),
}
"""Entry of the table -> (ends the connection, code)."""

# fmt: off
_HCR, _HCL = HALF_CLOSED_REMOTE, HALF_CLOSED_LOCAL
_SP, _SC, _CP, _CC = STREAM_PROTOCOL, STREAM_CLOSED, CONNECTION_PROTOCOL, CONNECTION_CLOSED
TABLE: Final = (
    # HEADERS  HEADERS_END  DATA   DATA_END  RST_STREAM  WINDOW_UPDATE  WE_END  WE_RESET
    (OPEN,     _HCR,        _CP,   _CP,      _CP,        _CP,           NEVER,  RESET),  # idle
    (_SP,      _HCR,        OPEN,  _HCR,     CLOSED,     OPEN,          _HCL,   RESET),  # open: HEADERS are trailers, which end it
    (_SC,      _SC,         _SC,   _SC,      CLOSED,     _HCR,          CLOSED, RESET),  # half-closed (remote)
    (_SP,      CLOSED,      _HCL,  CLOSED,   CLOSED,     _HCL,          NEVER,  RESET),  # half-closed (local)
    (RESET,    RESET,       RESET, RESET,    RESET,      RESET,         NEVER,  NEVER),  # reset by us
    (_CC,      _CC,         _CC,   _CC,      CLOSED,     CLOSED,        NEVER,  NEVER),  # closed
)
# fmt: on
"""TABLE[state][event] is the next state, or a negative entry of FAULTS."""
