"""What a worker that is behind need not decide: requests that their peer has given up before we have come to them.

A worker that stood still, or has too little of a CPU, finds requests and their resets in the same bytes: Envoy waits for
`message_timeout` and serves stable. To decide them would make everybody behind them late as well, until nothing is in time any more.

Pure: bytes in, bytes out. Only streams are left out of which everything is there and nothing else than the usual: HEADERS with a known
block, DATA, the empty DATA with which Envoy ends its side first (seen on 1.40), RST_STREAM. A known block is of no compression context,
so that what follows is read the same without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from extproc.transport.native import frames

_HEAD: Final = frames.HEAD
_RESET: Final = 4 << 8 | frames.RST_STREAM
"""First word of a RST_STREAM frame."""
_BEGIN: Final = ((frames.HEADERS, frames.END_HEADERS), (frames.DATA, 0))
_USUAL: Final = ((*_BEGIN, (frames.DATA, frames.END_STREAM), (frames.RST_STREAM, 0)), (*_BEGIN, (frames.RST_STREAM, 0)))
"""(type, flags) of the frames of a stream that was given up."""


def without_given_up(buffer: bytes, first: int, known: Callable[[bytes], bool]) -> tuple[bytes, list[int], int]:
    """The buffer without the streams above `first` that were given up in it; which ones, and the bytes of their DATA.

    `known`: whether a header block is a usual one. The buffer begins with a frame; an incomplete one at its end stays.
    """
    streams: dict[int, list[tuple[int, int, int, int]]] = {}
    given_up: list[int] = []
    position, last = 0, len(buffer) - _HEAD
    while position <= last:
        word, flags, sid = frames.unpack_head(buffer, position)
        end = position + _HEAD + (word >> 8)
        if end > len(buffer):
            break
        kind = word & 0xFF
        if kind == frames.CONTINUATION or (kind == frames.HEADERS and not flags & frames.END_HEADERS):
            # Nothing may come between the pieces of a header block, and that has to be seen.
            return buffer, [], 0
        if sid > first:
            streams.setdefault(sid, []).append((kind, flags, position, end))
            if word == _RESET:
                given_up.append(sid)
        position = end
    if list(streams) != sorted(streams):
        # Not what a peer may send: the usual way knows what to say.
        return buffer, [], 0
    left_out: list[tuple[int, int]] = []
    gone: list[int] = []
    size = 0
    for sid in given_up:
        found = streams[sid]
        if tuple(one[:2] for one in found) in _USUAL and sid & 1 and known(buffer[found[0][2] + _HEAD : found[0][3]]):
            left_out += [one[2:] for one in found]
            gone.append(sid)
            size += sum(end - start - _HEAD for kind, _, start, end in found if kind == frames.DATA)
    if not gone:
        return buffer, gone, 0
    left_out.sort()
    kept, begin = [], 0
    for start, end in left_out:
        kept.append(buffer[begin:start])
        begin = end
    kept.append(buffer[begin:])
    return b"".join(kept), gone, size
