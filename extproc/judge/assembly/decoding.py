"""A body as it was on the wire -> its bytes: gzip and deflate are undone, up to a bound.

br and zstd are not undone: Python 3.11 has neither. Strip `accept-encoding` where bodies are to be read, or let Envoy decompress.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Final

MOST_BYTES: Final = 8 << 20
"""Bytes of a body after decompression: a context of a million tokens takes about four."""
MOST_LAYERS: Final = 2
"""Codings on top of each other; real servers use one."""
_SLICE: Final = 4096
"""Bytes that are fed to the decompressor at a time: what is left after a member of a gzip file is copied, so that slices keep many
members linear."""
_GZIP: Final = 16 + zlib.MAX_WBITS
_RAW: Final = -zlib.MAX_WBITS


@dataclass(frozen=True, slots=True)
class Decoded:
    """A body, and what is wrong with it."""

    data: bytes
    cut: bool = False
    """MOST_BYTES were reached; the rest is left out."""
    ends_early: bool = False
    """The compressed data stops before its end."""
    problem: str = ""
    """Why it cannot be read; `data` is what came before."""


def decode(body: bytes, coding: str) -> Decoded:
    """Undo the codings that a `content-encoding` header names, the last one first."""
    names = [name for name in (part.strip().lower() for part in coding[:200].split(",")) if name not in ("", "identity")]
    if len(names) > MOST_LAYERS:
        return Decoded(b"", problem="more than two content codings")
    cut = ends_early = False
    for name in reversed(names):
        if name not in ("gzip", "x-gzip", "deflate"):
            return Decoded(b"", problem=f"content coding {name[:20] if name.isalnum() else 'unknown'} is not undone here")
        layer = _inflate(body, _RAW if name == "deflate" and not _has_zlib_head(body) else zlib.MAX_WBITS if name == "deflate" else _GZIP)
        if layer.problem:
            return layer
        body, cut, ends_early = layer.data, cut or layer.cut, ends_early or layer.ends_early
    return Decoded(body[:MOST_BYTES], cut or len(body) > MOST_BYTES, ends_early)


def _has_zlib_head(body: bytes) -> bool:
    """`deflate` means zlib's format; some servers send the bare one."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def _inflate(body: bytes, window: int) -> Decoded:
    out = bytearray()
    stream = zlib.decompressobj(window)
    for start in range(0, len(body), _SLICE):
        piece = body[start : start + _SLICE]
        while piece:
            if stream.eof:
                if window != _GZIP or not piece.strip(b"\0"):
                    return Decoded(bytes(out))
                stream = zlib.decompressobj(window)
            try:
                out += stream.decompress(piece, MOST_BYTES + 1 - len(out))
            except zlib.error:
                return Decoded(bytes(out), problem="the compressed data is damaged")
            if len(out) > MOST_BYTES:
                return Decoded(bytes(out[:MOST_BYTES]), cut=True)
            piece = stream.unused_data
    return Decoded(bytes(out), ends_early=bool(body) and not stream.eof)
