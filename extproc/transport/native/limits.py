"""What a peer may ask for, by name. Everything beyond is refused, and every limit has a test that goes beyond it.

Rates are per connection and second: the adapter calls `Connection.tick` once a second. They are wide for Envoy (which opens one stream
per HTTP request, answers included) and narrow for a flood.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one connection."""

    streams: int = 4096
    """Concurrent streams; advertised. Far more than the rendered Envoy lets wait (128 for each worker). Excess: REFUSED_STREAM."""
    frame: int = 16_384
    """Bytes of a frame's payload: the smallest that RFC 9113 allows to advertise. Excess: FRAME_SIZE_ERROR."""
    header_block: int = 32_768
    """Compressed bytes of one header block, CONTINUATION included. Excess: ENHANCE_YOUR_CALM."""
    continuations: int = 8
    """CONTINUATION frames of one header block. Excess: ENHANCE_YOUR_CALM."""
    header_list: int = 32_768
    """Decoded bytes of one header block, counted as RFC 9113 does (32 more per field); advertised. Excess: ENHANCE_YOUR_CALM."""
    message: int = 1 << 20
    """Bytes of one gRPC message. Excess: RESOURCE_EXHAUSTED."""
    stream_window: int = (1 << 20) + (1 << 16)
    """Bytes of a stream that may be on their way or in our buffer; more than `message`, or its end would wait for ever."""
    connection_window: int = 16 << 20
    """The same for all streams of a connection together: the bound of what a connection can make us hold. At least 65,535."""
    stalled: int = 1 << 20
    """Bytes of replies that wait for the peer's windows. Excess: ENHANCE_YOUR_CALM."""
    behind: int = 4_096
    """Bytes that are there at once from which we may be behind: a dozen requests. What their peer has given up is not decided."""
    half_closed: int = 1024
    """Streams that we have ended and the peer has not. Excess: the oldest is reset with NO_ERROR."""
    unanswered_resets: int = 500
    """Streams per second that the peer resets before it got its answer (rapid reset). Resets of answered streams are free: Envoy resets
    every one."""
    provoked_resets: int = 500
    """Streams per second that the peer makes us reset (MadeYouReset)."""
    pings: int = 200
    settings: int = 50
    empty_data: int = 1_000
    """DATA frames per second without payload that do not end their stream."""
    window_updates: int = 50_000
    others: int = 2_000
    """PRIORITY and unknown frames per second."""
    memo: int = 256
    memo_block: int = 1_024
    """Header blocks that are remembered, and how long they may be."""


DEFAULT = Limits()
